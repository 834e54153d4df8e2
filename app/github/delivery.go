package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	gh "github.com/google/go-github/v62/github"
)

// A Delivery is one attempt of GitHub to hand us an event.
type Delivery struct {
	ID           int64  // names the attempt; Redeliver takes it
	GUID         string // names the event; X-GitHub-Delivery of every attempt
	Event        string
	Action       string
	Installation int64
	Repository   int64
	DeliveredAt  time.Time
	Status       string // GitHub's words
	StatusCode   int    // our answer, 0 if there was none
}

// FailedDeliveries returns the events since then of which no attempt reached
// us, newest first, each with its last attempt. GitHub never tries again by
// itself; it can be asked to for 3 days, on Enterprise Server for 7.
// Source: https://docs.github.com/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
func (a *App) FailedDeliveries(ctx context.Context, since time.Time) ([]Delivery, error) {
	attempts, err := a.deliveries(ctx, since)
	if err != nil {
		return nil, err
	}
	settled := make(map[string]bool) // by GUID: delivered, or already in failed
	for _, d := range attempts {
		if d.succeeded() {
			settled[d.GUID] = true
		}
	}
	var failed []Delivery
	for _, d := range attempts {
		if !settled[d.GUID] {
			settled[d.GUID] = true
			failed = append(failed, d)
		}
	}
	return failed, nil
}

// succeeded goes by the status code first: GitHub's word is "OK" for any
// success, and a timeout has no code.
func (d Delivery) succeeded() bool {
	return d.StatusCode/100 == 2 || d.StatusCode == 0 && d.Status == "OK"
}

// deliveries lists all attempts since then, newest first.
func (a *App) deliveries(ctx context.Context, since time.Time) ([]Delivery, error) {
	ctx = conditionally(ctx)
	var all []Delivery
	opts := &gh.ListCursorOptions{PerPage: perPage}
	for range maxPages {
		var page []*gh.HookDelivery
		var resp *gh.Response
		err := a.self.do(ctx, func(c *gh.Client) (err error) {
			page, resp, err = c.Apps.ListHookDeliveries(ctx, opts)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list webhook deliveries: %w", err)
		}
		for _, d := range page {
			if d.GetDeliveredAt().Before(since) {
				return all, nil
			}
			all = append(all, delivery(d))
		}
		if opts.Cursor = resp.Cursor; opts.Cursor == "" {
			return all, nil
		}
	}
	// What was read is the newest and worth having; the rest waits for the
	// next sweep, when these have succeeded.
	a.log.Warn("more webhook deliveries than one sweep reads", "deliveries", len(all), "since", since)
	return all, nil
}

func delivery(d *gh.HookDelivery) Delivery {
	return Delivery{
		ID:           d.GetID(),
		GUID:         d.GetGUID(),
		Event:        d.GetEvent(),
		Action:       d.GetAction(),
		Installation: d.GetInstallationID(),
		Repository:   d.GetRepositoryID(),
		DeliveredAt:  d.GetDeliveredAt().Time,
		Status:       d.GetStatus(),
		StatusCode:   d.GetStatusCode(),
	}
}

// Redeliver asks GitHub to deliver once more what attempt id carried. GitHub
// answers before it does so. If the delivery is too old to be known, the error
// is ErrNotFound.
func (a *App) Redeliver(ctx context.Context, id int64) error {
	err := a.self.do(ctx, func(c *gh.Client) error {
		_, err := send(ctx, c, http.MethodPost, fmt.Sprintf("app/hook/deliveries/%d/attempts", id), nil, nil)
		// go-github holds the status 202, with which GitHub agrees, for an error.
		var accepted *gh.AcceptedError
		if errors.As(err, &accepted) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("ask GitHub to redeliver %d: %w", id, err)
	}
	return nil
}
