// Package webhook is the door in: it takes GitHub's deliveries, believes only
// the signed ones, hands each on to be recorded, and answers 202. No work is done
// in the request.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
)

// MaxBody is the largest body that is read. GitHub caps payloads at 25 MB and
// does not deliver larger ones
// (docs.github.com/webhooks/webhook-events-and-payloads).
const MaxBody = 25 << 20

const (
	// maxBuffered bounds the bodies held in memory at once, so that unsigned
	// bodies cannot exhaust it. What is not sent yet does not count.
	maxBuffered = 8 * MaxBody
	// bufferStep is how much more of a body is asked for at a time.
	bufferStep = 64 << 10
	// bufferWait is how long a delivery waits for its turn, and bodyTimeout how
	// long its body may take. GitHub gives up after 10 s and records the delivery
	// as failed, to be asked for again.
	bufferWait  = 5 * time.Second
	bodyTimeout = 10 * time.Second
	// maxName bounds the headers that name a delivery and its event.
	maxName = 100
)

// A Delivery is one signed webhook delivery.
type Delivery struct {
	ID       string // X-GitHub-Delivery; a redelivery has the id of the original
	Event    string // X-GitHub-Event
	Payload  []byte // the JSON body, as signed
	Received time.Time
}

// ErrMalformed is wrapped by Accept's errors about payloads that can never be
// understood: the answer is 400 instead of 500.
var ErrMalformed = errors.New("malformed payload")

// A Handler serves POST /webhook.
type Handler struct {
	secrets [][]byte
	accept  func(context.Context, Delivery) error
	log     *slog.Logger
	now     func() time.Time
	buffers *semaphore.Weighted
}

// New returns a Handler that believes deliveries signed with any of the secrets
// (more than one while the secret is being rotated; none may be empty) and hands
// them to accept, which must have recorded a delivery durably when it returns nil.
func New(secrets []string, accept func(context.Context, Delivery) error, now func() time.Time, log *slog.Logger) (*Handler, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no webhook secret: set STANCH_GITHUB_WEBHOOK_SECRETS to the secret of the GitHub App's webhook")
	}
	h := &Handler{accept: accept, log: log, now: now, buffers: semaphore.NewWeighted(maxBuffered)}
	for n, s := range secrets {
		if s == "" {
			return nil, fmt.Errorf("webhook secret %d of %d is empty: anybody could sign with it", n+1, len(secrets))
		}
		h.secrets = append(h.secrets, []byte(s))
	}
	return h, nil
}

// ServeHTTP answers 202 when the delivery is recorded. A refusal says why in one
// line: GitHub shows it in the App's list of deliveries.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, err := h.serve(w, r)
	if err == nil {
		w.WriteHeader(status)
		return
	}
	h.log.LogAttrs(r.Context(), level(status), "webhook refused", slog.Int("status", status),
		slog.String("delivery", clip(r.Header.Get("X-GitHub-Delivery"))), slog.Any("error", err))
	if status == http.StatusInternalServerError {
		err = errors.New("the delivery could not be recorded; redeliver it") // the log has the reason
	}
	http.Error(w, err.Error(), status)
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) (int, error) {
	d := Delivery{ID: r.Header.Get("X-GitHub-Delivery"), Event: r.Header.Get("X-GitHub-Event"), Received: h.now()}
	if status, err := h.checkHeaders(r, d); err != nil {
		return status, err
	}
	body, held, err := h.read(w, r)
	defer h.buffers.Release(held)
	switch tooLarge := new(http.MaxBytesError); {
	case errors.Is(err, errBusy):
		return http.StatusServiceUnavailable, err
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge, fmt.Errorf("the body has more than %d bytes", MaxBody)
	case err != nil:
		return http.StatusBadRequest, errors.New("the body ended early, or took too long")
	}
	d.Payload = body
	if !h.signed(d.Payload, r.Header.Get("X-Hub-Signature-256")) {
		return http.StatusUnauthorized, errors.New("X-Hub-Signature-256 does not match the body under any of the webhook secrets: " +
			"compare STANCH_GITHUB_WEBHOOK_SECRETS with the secret in the GitHub App's settings")
	}
	switch err := h.accept(r.Context(), d); {
	case errors.Is(err, ErrMalformed):
		return http.StatusBadRequest, err
	case err != nil:
		return http.StatusInternalServerError, err
	}
	return http.StatusAccepted, nil
}

func (h *Handler) checkHeaders(r *http.Request, d Delivery) (int, error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.ContentLength > MaxBody:
		return http.StatusRequestEntityTooLarge, fmt.Errorf("the body has more than %d bytes", MaxBody)
	case kind != "application/json":
		return http.StatusUnsupportedMediaType, errors.New("the content type is not application/json: set it in the GitHub App's webhook settings")
	case r.Header.Get("X-Hub-Signature-256") == "":
		return http.StatusUnauthorized, errors.New("X-Hub-Signature-256 is missing: set a webhook secret in the GitHub App's settings")
	case !isName(d.ID):
		return http.StatusBadRequest, errors.New("X-GitHub-Delivery is missing or is not an id")
	case !isName(d.Event):
		return http.StatusBadRequest, errors.New("X-GitHub-Event is missing or is not an event's name")
	}
	return 0, nil
}

// errBusy says that there is no memory for this body now.
var errBusy = errors.New("too many deliveries at once; redeliver this one later")

// read reads the body, and takes the memory for it step by step as it arrives:
// who only announces a large body holds up nobody. It returns what it holds, to
// be released whatever the error.
func (h *Handler) read(w http.ResponseWriter, r *http.Request) (_ []byte, held int64, err error) {
	// Not every ResponseWriter can do this; the server's own timeout is behind it.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	body := http.MaxBytesReader(w, r.Body, MaxBody)
	var b bytes.Buffer
	for {
		if err := h.hold(r.Context()); err != nil {
			return nil, held, err
		}
		held += bufferStep
		switch _, err := io.CopyN(&b, body, bufferStep); {
		case errors.Is(err, io.EOF):
			return b.Bytes(), held, nil
		case err != nil:
			return nil, held, err
		}
	}
}

// hold takes one step of memory.
func (h *Handler) hold(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bufferWait)
	defer cancel()
	if h.buffers.Acquire(ctx, bufferStep) != nil {
		return errBusy
	}
	return nil
}

// signed compares in constant time, and with every secret, so that neither the
// time nor the order of the secrets tells anything.
func (h *Handler) signed(body []byte, header string) bool {
	digest, ok := strings.CutPrefix(header, "sha256=")
	given, err := hex.DecodeString(digest)
	if !ok || err != nil {
		return false
	}
	match := false
	for _, secret := range h.secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		match = hmac.Equal(given, mac.Sum(nil)) || match
	}
	return match
}

// isName accepts what GitHub sends as ids and event names.
func isName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

func clip(s string) string {
	if isName(s) {
		return s
	}
	return "(none)"
}

// level keeps strangers from filling the log with errors.
func level(status int) slog.Level {
	if status >= http.StatusInternalServerError {
		return slog.LevelError
	}
	return slog.LevelWarn
}
