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
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// request is a delivery as GitHub makes it; tests then spoil it.
func request(secret string, body []byte) *http.Request {
	r := httptest.NewRequest("POST", "/webhook", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	r.Header.Set("X-Hub-Signature-256", sign(secret, body))
	return r
}

func newHandler(t testing.TB, accept func(context.Context, Delivery) error, secrets ...string) *Handler {
	t.Helper()
	h, err := New(secrets, accept, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHandler(t *testing.T) {
	body := []byte(`{"ref":"refs/heads/main"}`)
	tests := []struct {
		name   string
		spoil  func(*http.Request)
		accept error
		want   int
	}{
		{"signed", func(*http.Request) {}, nil, 202},
		{"signed with the second secret", func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign("new", body)) }, nil, 202},
		{"charset", func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=utf-8") }, nil, 202},
		{"no signature", func(r *http.Request) { r.Header.Del("X-Hub-Signature-256") }, nil, 401},
		{"only the SHA-1 signature", func(r *http.Request) {
			r.Header.Set("X-Hub-Signature", r.Header.Get("X-Hub-Signature-256"))
			r.Header.Del("X-Hub-Signature-256")
		}, nil, 401},
		{"another secret", func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign("guess", body)) }, nil, 401},
		{"empty secret", func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign("", body)) }, nil, 401},
		{"another body", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"ref":"refs/heads/moon"}`)) }, nil, 401},
		{"half a signature", func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign("old", body)[:40]) }, nil, 401},
		{"not hex", func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", "sha256=zz") }, nil, 401},
		{"no prefix", func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign("old", body)[7:]) }, nil, 401},
		{"form", func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, nil, 415},
		{"no id", func(r *http.Request) { r.Header.Del("X-GitHub-Delivery") }, nil, 400},
		{"hostile id", func(r *http.Request) { r.Header.Set("X-GitHub-Delivery", "a' or 1=1") }, nil, 400},
		{"no event", func(r *http.Request) { r.Header.Del("X-GitHub-Event") }, nil, 400},
		{"malformed payload", func(*http.Request) {}, fmt.Errorf("push: %w", ErrMalformed), 400},
		{"not recorded", func(*http.Request) {}, errors.New("disk full at /var/lib"), 500},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			h := newHandler(t, func(_ context.Context, d Delivery) error {
				calls++
				if !bytes.Equal(d.Payload, body) || d.Event != "push" || d.ID == "" || d.Received.IsZero() {
					t.Errorf("accepted %+v", d)
				}
				return tt.accept
			}, "old", "new")
			r, w := request("old", body), httptest.NewRecorder()
			tt.spoil(r)
			h.ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("answer %d %q, want %d", w.Code, w.Body, tt.want)
			}
			if reached := tt.want == 202 || tt.accept != nil; reached != (calls == 1) {
				t.Errorf("accept was called %d times", calls)
			}
			if strings.Contains(w.Body.String(), "/var/lib") {
				t.Errorf("the answer tells strangers about the inside: %q", w.Body)
			}
		})
	}
}

// TestDocumentedSignature is GitHub's own test vector
// (docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries).
func TestDocumentedSignature(t *testing.T) {
	h := newHandler(t, nil, "It's a Secret to Everybody")
	if !h.signed([]byte("Hello, World!"), "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17") {
		t.Error("GitHub's documented signature does not match")
	}
}

func TestBodyLimit(t *testing.T) {
	accepted := 0
	h := newHandler(t, func(context.Context, Delivery) error { accepted++; return nil }, "s")
	for _, tt := range []struct {
		name    string
		size    int
		chunked bool
		want    int
	}{
		{"at the limit", MaxBody, false, 202},
		{"one over", MaxBody + 1, false, 413},
		{"26 MiB", 26 << 20, false, 413},
		{"26 MiB of unknown length", 26 << 20, true, 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, w := request("s", bytes.Repeat([]byte(" "), tt.size)), httptest.NewRecorder()
			if tt.chunked {
				r.ContentLength = -1
			}
			h.ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("answer %d, want %d", w.Code, tt.want)
			}
		})
	}
	if accepted != 1 {
		t.Errorf("%d deliveries accepted, want 1", accepted)
	}
	if !h.buffers.TryAcquire(maxBuffered) {
		t.Error("memory reserved for bodies was not given back")
	}
}

// TestAnnouncedBodiesHoldNobodyUp opens connections that promise large bodies and
// send nothing.
func TestAnnouncedBodiesHoldNobodyUp(t *testing.T) {
	server := httptest.NewServer(newHandler(t, func(context.Context, Delivery) error { return nil }, "s"))
	defer server.Close()
	for range 50 {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: d\r\n"+
			"X-Hub-Signature-256: sha256=00\r\nContent-Length: %d\r\n\r\n", MaxBody)
	}
	time.Sleep(100 * time.Millisecond) // until all of them are being read
	honest := request("s", []byte("{}"))
	honest.RequestURI, honest.URL.Scheme, honest.URL.Host = "", "http", server.Listener.Addr().String()
	resp, err := http.DefaultClient.Do(honest)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("an honest delivery was answered with %d", resp.StatusCode)
	}
}

func TestNewRefusesEmptySecrets(t *testing.T) {
	for _, secrets := range [][]string{nil, {""}, {"good", ""}} {
		if _, err := New(secrets, nil, time.Now, slog.Default()); err == nil {
			t.Errorf("New(%q): no error", secrets)
		}
	}
}

// FuzzHandler: what is not signed is refused, what is signed is handed on as it came,
// and no answer tells the secret.
func FuzzHandler(f *testing.F) {
	f.Add("push", "id", "sha256=00", false, []byte("{}"))
	f.Add("push", "72d3162e-cc78-11e3-81ab-4c9367dc0958", "", true, []byte(`{"ref":"refs/heads/main"}`))
	const secret = "a secret nobody guesses"
	var accepted *Delivery
	h := newHandler(f, func(_ context.Context, d Delivery) error { accepted = &d; return nil }, secret)
	f.Fuzz(func(t *testing.T, event, id, signature string, signed bool, body []byte) {
		if signed {
			signature = sign(secret, body)
		}
		accepted = nil
		r, w := httptest.NewRequest("POST", "/webhook", bytes.NewReader(body)), httptest.NewRecorder()
		r.Header["Content-Type"] = []string{"application/json"}
		r.Header["X-Github-Event"] = []string{event}
		r.Header["X-Github-Delivery"] = []string{id}
		r.Header["X-Hub-Signature-256"] = []string{signature}
		h.ServeHTTP(w, r)
		answer := w.Body.String()
		if strings.Contains(answer, secret) || strings.Contains(answer, sign(secret, body)) || len(answer) > 1000 {
			t.Errorf("answer %q", answer)
		}
		if !signed || !isName(event) || !isName(id) {
			if w.Code < 400 || w.Code >= 500 || accepted != nil {
				t.Errorf("answer %d, accepted %+v", w.Code, accepted)
			}
			return
		}
		if w.Code != http.StatusAccepted || accepted == nil || accepted.ID != id || accepted.Event != event || !bytes.Equal(accepted.Payload, body) {
			t.Errorf("answer %d, accepted %+v", w.Code, accepted)
		}
	})
}
