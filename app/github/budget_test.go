package github

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestReserve: what nobody waits for stops when a fifth of the hour's requests is
// left, and goes on when they are renewed; all else goes on.
func TestReserve(t *testing.T) {
	s, app := newServer(t)
	remaining, resource, reset := 1001, "core", time.Now().Add(30*time.Minute)
	s.mux.HandleFunc("GET /repos/acme/shop/commits/"+testSHA+"/pulls", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Limit", "5000")
		w.Header().Set("X-RateLimit-Remaining", fmt.Sprint(remaining))
		w.Header().Set("X-RateLimit-Reset", fmt.Sprint(reset.Unix()))
		w.Header().Set("X-RateLimit-Resource", resource)
		writeJSON(w, 200, []object{})
	})
	ask := func(installation int64, background bool) error {
		ctx := t.Context()
		if background {
			ctx = InBackground(ctx)
		}
		_, err := app.Installation(installation).PullsFor(ctx, testRepo, testSHA)
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(ask(testInst, true)) // nothing is known
	must(ask(testInst, true)) // 1,001 are left
	remaining = 5
	resource = "search"
	must(ask(testInst, false))
	must(ask(testInst, true)) // that was another resource
	remaining, resource = 1000, "core"
	must(ask(testInst, false))
	sent := s.count("GET")
	checkLimited(t, ask(testInst, true), 30*time.Minute)
	if s.count("GET") != sent {
		t.Error("a background request was sent")
	}
	must(ask(testInst, false))
	must(ask(testInst+1, true)) // another installation has its own
	reset, remaining = time.Now().Add(time.Hour), 5000
	must(ask(testInst, false)) // renewed
	must(ask(testInst, true))
}

// TestOvertakenAnswer: of two answers about one hour the one with less left is newer.
func TestOvertakenAnswer(t *testing.T) {
	var b budget
	header := func(remaining int, reset time.Time) http.Header {
		h := http.Header{}
		h.Set("X-RateLimit-Limit", "5000")
		h.Set("X-RateLimit-Remaining", fmt.Sprint(remaining))
		h.Set("X-RateLimit-Reset", fmt.Sprint(reset.Unix()))
		return h
	}
	soon := time.Now().Add(10 * time.Minute)
	b.note(header(900, soon))
	b.note(header(1100, soon))
	if b.wait() == 0 {
		t.Error("an answer that was overtaken counts")
	}
	b.note(header(4999, soon.Add(time.Hour)))
	if got := b.wait(); got != 0 {
		t.Errorf("the next hour waits %s", got)
	}
	b.note(header(10, time.Now().Add(-time.Minute)))
	if got := b.wait(); got > 0 {
		t.Errorf("waits %s for what is past", got)
	}
}
