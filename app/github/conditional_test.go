package github

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tagged answers with bodies that have tags, and with 304 to who knows the tag.
func tagged(s *server, pattern string, body func() string) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		text := body()
		tag := fmt.Sprintf("W/\"%d-%.10s\"", len(text), text)
		w.Header().Set("ETag", tag)
		w.Header().Set("X-RateLimit-Remaining", fmt.Sprint(len(s.asked())))
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, text)
	})
}

// TestUnchangedAnswers: what was told before is not told again, and is heard all the
// same; what has changed is told.
func TestUnchangedAnswers(t *testing.T) {
	s, app := newServer(t)
	name := "shop"
	tagged(s, "GET /installation/repositories", func() string {
		return fmt.Sprintf(`{"total_count":1,"repositories":[{"id":9,"name":%q,"owner":{"login":"acme"},"pushed_at":"2026-11-01T10:00:00Z"}]}`, name)
	})
	names := func(installation int64) (got []string) {
		t.Helper()
		list, err := app.Installation(installation).Repositories(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			got = append(got, r.Name+" "+r.PushedAt.Format("2006-01-02"))
		}
		return got
	}
	for range 3 {
		if diff := cmp.Diff([]string{"shop 2026-11-01"}, names(testInst)); diff != "" {
			t.Error(diff)
		}
	}
	if s.requests[0].Header.Get("If-None-Match") != "" || s.requests[2].Header.Get("If-None-Match") == "" {
		t.Error("the second time it was not said what is known")
	}
	name = "renamed"
	if diff := cmp.Diff([]string{"renamed 2026-11-01"}, names(testInst)); diff != "" {
		t.Error(diff)
	}
	names(testInst + 1)
	if s.requests[4].Header.Get("If-None-Match") != "" {
		t.Error("another installation's answer was used")
	}
}

// TestAnswersAreNotKept: what may hold a secret, and what is large.
func TestAnswersAreNotKept(t *testing.T) {
	s, app := newServer(t)
	i := app.Installation(testInst)
	tagged(s, "GET /repos/acme/shop/secret-scanning/alerts/1", func() string { return `{"secret":"s","state":"open"}` })
	large := `{"type":"file","encoding":"base64","content":"` + strings.Repeat("YWFh", maxAnswer/4) + `"}`
	tagged(s, "GET /repos/acme/shop/contents/large", func() string { return large })
	for range 2 {
		if _, err := i.Alert(t.Context(), testRepo, 1); err != nil {
			t.Fatal(err)
		}
		text, err := i.File(t.Context(), testRepo, "large", testSHA)
		if err != nil || len(text) != maxAnswer/4*3 {
			t.Fatalf("%d bytes of a large file: %v", len(text), err)
		}
	}
	for _, r := range s.requests {
		if r.Header.Get("If-None-Match") != "" {
			t.Errorf("%s was kept", r.Path)
		}
	}
}

// TestAnswersAreBounded: those that were used last stay.
func TestAnswersAreBounded(t *testing.T) {
	kept := newAnswers()
	body := make([]byte, maxAnswer)
	name := func(n int) question { return question{url: fmt.Sprint(n)} }
	for n := range 20 {
		kept.put(&answer{name(n), nil, body})
		kept.get(name(0))
	}
	if kept.size != maxAnswers || kept.order.Len() != 16 || len(kept.by) != 16 {
		t.Errorf("%d answers of %d bytes are kept", kept.order.Len(), kept.size)
	}
	if kept.get(name(0)) == nil || kept.get(name(19)) == nil || kept.get(name(1)) != nil {
		t.Error("not those that were used last")
	}
	kept.put(&answer{name(0), nil, body})
	if kept.size != maxAnswers || len(kept.by) != 16 {
		t.Errorf("%d bytes after one was replaced", kept.size)
	}
}
