package githubtest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Limits of webhooks (Webhooks, "Best practices", "Webhook events and
// payloads").
const (
	// DeliveryTimeout is how long a receiver has to answer.
	DeliveryTimeout = 10 * time.Second
	// MaxPayload is the size above which an event is not delivered at all.
	MaxPayload = 25 << 20
)

// maxAnswer is how much of a receiver's answer is kept.
const maxAnswer = 64 << 10

// A hook is an App's webhook.
type hook struct {
	id     int64
	url    string
	secret string
	queue  []*delivery
}

// A Delivery is one webhook on its way, or arrived.
type Delivery struct {
	ID         int64
	GUID       string
	AppID      int64
	Event      string
	Action     string
	Redelivery bool
	Status     string // "OK", or what went wrong; "pending" before it is sent
	StatusCode int    // 0 when nobody answered
	At         time.Time
	Duration   time.Duration
	Header     http.Header // that it was sent with
	Payload    []byte
	Answer     string // what the receiver said
}

type delivery struct {
	Delivery
	app          *app
	installation int64
	repository   int64
	url          string
	done         bool
	answerHeader http.Header
}

// A gate holds deliveries back, or loses them.
type gate struct {
	changed *sync.Cond
	mu      *sync.Mutex
	paused  bool
	closing bool
	drop    func(Delivery) bool
}

func newGate() gate {
	mu := new(sync.Mutex)
	return gate{mu: mu, changed: sync.NewCond(mu)}
}

// SetWebhook says where an App's webhooks go, and, unless it is empty, the
// secret that signs them.
func (s *Server) SetWebhook(appID int64, url, secret string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[appID]
	if a == nil {
		return fmt.Errorf("set the webhook of App %d: there is no such App", appID)
	}
	a.hook.url = url
	if secret != "" {
		a.hook.secret = secret
	}
	if s.cfg.Ping {
		s.send(a, nil, nil, "ping", a.ping(s))
	}
	return nil
}

func (a *app) ping(s *Server) object {
	return object{"zen": "Keep it logically awesome.", "hook_id": a.hook.id, "hook": object{
		"type": "App", "id": a.hook.id, "name": "web", "active": true, "events": appEvents, "app_id": a.id,
		"config":     a.hook.config(),
		"created_at": stamp(a.created), "updated_at": stamp(s.now()),
		"deliveries_url": s.api("/app/hook/deliveries"),
	}}
}

// config is a webhook's as the API shows it, which never shows the secret.
func (h *hook) config() object {
	return object{"content_type": "json", "insecure_ssl": "0", "url": h.url, "secret": "********"}
}

func showHookConfig(c *call) (int, any, error) { return http.StatusOK, c.app.hook.config(), nil }

// PauseDeliveries holds webhooks back until ResumeDeliveries.
func (s *Server) PauseDeliveries() { s.gate.set(func(g *gate) { g.paused = true }) }

// ResumeDeliveries lets webhooks go again, in their order.
func (s *Server) ResumeDeliveries() { s.gate.set(func(g *gate) { g.paused = false }) }

// DropDeliveries loses the webhooks for which f returns true: they are
// recorded as failed and never sent. A nil f ends that.
func (s *Server) DropDeliveries(f func(Delivery) bool) { s.gate.set(func(g *gate) { g.drop = f }) }

func (g *gate) set(f func(*gate)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g)
	g.changed.Broadcast()
}

func (g *gate) open() { g.set(func(g *gate) { g.closing = true }) }

// Send delivers any event to an App, about a repository where it is installed
// when one is named: the payload gets the repository and the installation that
// it lacks. It returns the delivery's GUID.
func (s *Server) Send(appID int64, repository, event string, payload map[string]any) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[appID]
	if a == nil {
		return "", fmt.Errorf("send %s to App %d: there is no such App", event, appID)
	}
	if repository == "" {
		return s.send(a, nil, nil, event, payload).GUID, nil
	}
	repo, err := s.repository(repository)
	if err != nil {
		return "", err
	}
	return s.send(a, a.installedAt(repo), repo, event, payload).GUID, nil
}

// sendAbout delivers an event to every App that is installed on a repository.
func (s *Server) sendAbout(repo *repository, event string, payload object) {
	for _, id := range slices.Sorted(maps.Keys(s.apps)) {
		if i := s.apps[id].installedAt(repo); i != nil {
			s.send(s.apps[id], i, repo, event, payload)
		}
	}
}

// send puts an event into an App's queue.
func (s *Server) send(a *app, i *installation, repo *repository, event string, payload object) *delivery {
	whole := maps.Clone(payload)
	d := &delivery{app: a, url: a.hook.url}
	if i != nil {
		d.installation = i.id
		addMissing(whole, "installation", object{"id": i.id, "node_id": fmt.Sprintf("I_%d", i.id)})
	}
	if repo != nil {
		d.repository = repo.id
		addMissing(whole, "repository", repo.json(s))
		addMissing(whole, "sender", repo.owner.simple(s))
		if organization := repo.owner.organization(s); organization != nil {
			addMissing(whole, "organization", organization)
		}
	}
	body, err := json.Marshal(whole)
	if err != nil { // only a payload that a test made up can do this
		s.log.Error("encode a webhook", "event", event, "error", err)
	}
	action, _ := payload["action"].(string)
	d.Delivery = Delivery{
		ID: s.nextID(), GUID: newGUID(), AppID: a.id, Event: event, Action: action,
		Status: "pending", At: s.now(), Payload: body,
	}
	s.enqueue(d)
	return d
}

func addMissing(payload object, field string, value any) {
	if _, ok := payload[field]; !ok {
		payload[field] = value
	}
}

func (s *Server) enqueue(d *delivery) {
	s.deliveries = append(s.deliveries, d)
	s.gate.set(func(*gate) { d.app.hook.queue = append(d.app.hook.queue, d) })
}

// newGUID is a random UUID, of version 4.
func newGUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand stops the program instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// deliverAll delivers an App's webhooks one after another until the server
// closes.
func (s *Server) deliverAll(a *app) {
	for {
		d, drop := s.gate.next(a)
		if d == nil {
			return
		}
		if drop != nil && drop(d.Delivery) {
			s.finish(d, Delivery{Status: "failed to connect to host"}, nil)
			continue
		}
		s.deliver(d)
	}
}

// next waits for an App's next delivery; nil when the server closes.
func (g *gate) next(a *app) (*delivery, func(Delivery) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.closing && (g.paused || len(a.hook.queue) == 0) {
		g.changed.Wait()
	}
	if g.closing {
		return nil, nil
	}
	d := a.hook.queue[0]
	a.hook.queue = a.hook.queue[1:]
	return d, g.drop
}

// deliver sends one webhook and records what came of it.
func (s *Server) deliver(d *delivery) {
	if d.url == "" {
		s.finish(d, Delivery{Status: "no webhook URL"}, nil)
		return
	}
	if len(d.Payload) > MaxPayload {
		s.finish(d, Delivery{Status: "payload too large"}, nil)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DeliveryTimeout)
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	header := s.hookHeader(d)
	started := time.Now()
	response, answer, err := post(ctx, d.url, header, d.Payload)
	result := Delivery{Status: "OK", Header: header, Answer: answer, Duration: time.Since(started)}
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		result.Status = "timed out"
	case err != nil:
		result.Status = "failed to connect to host"
	default:
		result.StatusCode = response.StatusCode
		if response.StatusCode >= 400 {
			result.Status = "Invalid HTTP Response: " + strconv.Itoa(response.StatusCode)
		}
	}
	s.finish(d, result, response)
}

func (s *Server) finish(d *delivery, result Delivery, response *http.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Status, d.StatusCode, d.Duration = result.Status, result.StatusCode, result.Duration
	d.Delivery.Header, d.Answer, d.done = result.Header, result.Answer, true
	if response != nil {
		d.answerHeader = response.Header
	}
	if d.Status != "OK" {
		s.log.Warn("webhook not delivered", "event", d.Event, "delivery", d.GUID, "status", d.Status)
	}
}

// hookHeader is what GitHub sends a webhook with.
func (s *Server) hookHeader(d *delivery) http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "GitHub-Hookshot/5717d3c")
	h.Set("X-GitHub-Event", d.Event)
	if s.cfg.Enterprise {
		h.Set("X-GitHub-Enterprise-Version", "3.19.0")
		h.Set("X-GitHub-Enterprise-Host", s.listener.Addr().String())
	}
	h.Set("X-GitHub-Delivery", d.GUID)
	h.Set("X-GitHub-Hook-ID", strconv.FormatInt(d.app.hook.id, 10))
	h.Set("X-GitHub-Hook-Installation-Target-ID", strconv.FormatInt(d.app.id, 10))
	h.Set("X-GitHub-Hook-Installation-Target-Type", "integration")
	h.Set("X-Hub-Signature", "sha1="+sign(sha1.New, d.app.hook.secret, d.Payload))
	h.Set("X-Hub-Signature-256", "sha256="+sign(sha256.New, d.app.hook.secret, d.Payload))
	return h
}

func sign(hash func() hash.Hash, secret string, payload []byte) string {
	mac := hmac.New(hash, []byte(secret))
	mac.Write(payload)
	return hex.EncodeToString(mac.Sum(nil))
}

// post sends a webhook. Redirects are not followed.
func post(ctx context.Context, url string, header http.Header, payload []byte) (*http.Response, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(payload))
	if err != nil {
		return nil, "", err
	}
	request.Header = header.Clone()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response, string(answer), err
}
