package githubtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Deliveries lists every webhook so far, oldest first.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return each(s.deliveries, func(d *delivery) Delivery { return d.Delivery })
}

// Redeliver sends the webhook with that GUID again, as the button in GitHub's
// settings does.
func (s *Server) Redeliver(guid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deliveries {
		if d.GUID == guid {
			s.again(d)
			return nil
		}
	}
	return fmt.Errorf("redeliver %s: there is no such delivery", guid)
}

// again queues a delivery's event once more, under the same GUID.
func (s *Server) again(d *delivery) {
	s.enqueue(&delivery{
		Delivery: Delivery{
			ID: s.nextID(), GUID: d.GUID, AppID: d.AppID, Event: d.Event, Action: d.Action,
			Redelivery: true, Status: "pending", At: s.now(), Payload: d.Payload,
		},
		app: d.app, installation: d.installation, repository: d.repository, url: d.app.hook.url,
	})
}

// WaitDeliveries waits until no webhook is on its way.
func (s *Server) WaitDeliveries(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.idle() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for webhooks to be delivered: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (s *Server) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.deliveries, func(d *delivery) bool { return !d.done })
}

// listDeliveries answers with an App's deliveries, newest first.
func listDeliveries(c *call) (int, any, error) {
	list := c.delivered()
	if from := c.query().Get("cursor"); from != "" {
		id, err := strconv.ParseInt(from, 10, 64)
		if err != nil {
			return 0, nil, &apiError{Status: http.StatusBadRequest, Message: "Invalid cursor"}
		}
		list = slices.DeleteFunc(list, func(d *delivery) bool { return d.ID > id })
	}
	if size := c.perPage(); len(list) > size {
		query := c.query()
		query.Set("cursor", strconv.FormatInt(list[size].ID, 10))
		c.header.Set("Link", c.link(query, "next"))
		list = list[:size]
	}
	return http.StatusOK, each(list, (*delivery).item), nil
}

// delivered lists the calling App's finished deliveries, newest first, that the
// query's status leaves.
func (c *call) delivered() []*delivery {
	status := c.query().Get("status")
	var list []*delivery
	for _, d := range slices.Backward(c.deliveries) {
		if d.app != c.app || !d.done {
			continue
		}
		success := d.StatusCode >= 200 && d.StatusCode < 400
		failure := d.StatusCode >= 400 && d.StatusCode < 600
		if status == "" || status == "success" && success || status == "failure" && failure {
			list = append(list, d)
		}
	}
	return list
}

func (d *delivery) item() object {
	return object{
		"id": d.ID, "guid": d.GUID, "delivered_at": stamp(d.At), "redelivery": d.Redelivery,
		"duration": d.Duration.Seconds(), "status": d.Status, "status_code": d.StatusCode,
		"event": d.Event, "action": nullable(d.Action), "installation_id": nullID(d.installation),
		"repository_id": nullID(d.repository), "throttled_at": nil,
	}
}

func nullID(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

// ownDelivery is the calling App's delivery that the path names.
func (c *call) ownDelivery() (*delivery, error) {
	for _, d := range c.deliveries {
		if d.ID == c.id("id") && d.app == c.app {
			return d, nil
		}
	}
	return nil, errNotFound
}

func showDelivery(c *call) (int, any, error) {
	d, err := c.ownDelivery()
	if err != nil {
		return 0, nil, err
	}
	answer := d.item()
	answer["url"] = d.url
	answer["request"] = object{"headers": flat(d.Delivery.Header), "payload": json.RawMessage(d.Payload)}
	answer["response"] = object{"headers": flat(d.answerHeader), "payload": d.Answer}
	return http.StatusOK, answer, nil
}

// flat is a header with one value a field, as the API shows it.
func flat(header http.Header) object {
	fields := object{}
	for name := range header {
		fields[name] = header.Get(name)
	}
	return fields
}

// redeliver answers POST /app/hook/deliveries/{id}/attempts.
func redeliver(c *call) (int, any, error) {
	d, err := c.ownDelivery()
	if err != nil {
		return 0, nil, err
	}
	c.again(d)
	return http.StatusAccepted, object{}, nil
}
