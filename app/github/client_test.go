package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const anyComment = "POST /repos/acme/shop/issues/1/comments"

func TestHeaders(t *testing.T) {
	s, app := newServer(t)
	s.answer(anyComment, http.StatusCreated, object{"id": 1})
	if err := ping(app); err != nil {
		t.Fatal(err)
	}
	for _, r := range append(s.requests, s.tokens...) {
		if got := r.Header.Get("X-GitHub-Api-Version"); got != "2022-11-28" {
			t.Errorf("%s %s: API version %q", r.Method, r.Path, got)
		}
		if got := r.Header.Get("User-Agent"); !strings.HasPrefix(got, "stanch/") {
			t.Errorf("%s %s: user agent %q", r.Method, r.Path, got)
		}
	}
	if got := s.requests[0].Header.Get("Authorization"); got != "token token-1" {
		t.Errorf("the installation's token was not used: %q", got)
	}
	if got := s.tokens[0].Header.Get("Authorization"); strings.Count(got, ".") != 2 || !strings.HasPrefix(got, "Bearer ") {
		t.Error("the token was not asked for with a JSON web token")
	}
}

const (
	secondaryBody = `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.","documentation_url":"https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`
	oldAbuseBody  = `{"message":"You have triggered an abuse detection mechanism.","documentation_url":"https://docs.github.com/rest/overview/resources-in-the-rest-api#abuse-rate-limits"}`
	suffixBody    = `{"message":"Slow down.","documentation_url":"https://docs.github.com/free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`
	primaryBody   = `{"message":"API rate limit exceeded for installation ID 5.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api"}`
)

var limitTests = []struct {
	name   string
	status int
	header map[string]string // "+N" and "-N" become a time N seconds from now
	body   string
	want   time.Duration
}{
	{"429 with Retry-After", 429, map[string]string{"Retry-After": "7"}, secondaryBody, 7 * time.Second},
	{"429 bare", 429, nil, "slow down", time.Minute},
	{"429 secondary with a primary reset", 429, map[string]string{"X-RateLimit-Remaining": "4000", "X-RateLimit-Reset": "+3000"}, secondaryBody, time.Minute},
	{"429 primary", 429, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "+1800", "X-RateLimit-Resource": "core"}, primaryBody, 30 * time.Minute},
	{"429 primary of an unknown resource", 429, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "+1800"}, primaryBody, 30 * time.Minute},
	{"403 primary", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "+1800", "X-RateLimit-Resource": "core"}, primaryBody, 30 * time.Minute},
	{"403 primary of an unknown resource", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "+1800", "X-RateLimit-Resource": "new"}, primaryBody, 30 * time.Minute},
	{"403 primary without a reset", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Resource": "core"}, primaryBody, time.Minute},
	{"403 primary with Retry-After", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "+1800", "X-RateLimit-Resource": "core", "Retry-After": "90"}, primaryBody, 90 * time.Second},
	{"403 secondary with Retry-After", 403, map[string]string{"Retry-After": "30", "X-RateLimit-Remaining": "4000", "X-RateLimit-Reset": "+3000"}, secondaryBody, 30 * time.Second},
	{"403 secondary without Retry-After", 403, map[string]string{"X-RateLimit-Remaining": "4000", "X-RateLimit-Reset": "+3000"}, secondaryBody, time.Minute},
	{"403 secondary with a reset that is past", 403, map[string]string{"X-RateLimit-Remaining": "4000", "X-RateLimit-Reset": "-10"}, secondaryBody, time.Minute},
	{"403 secondary, Retry-After unreadable", 403, map[string]string{"Retry-After": "soon", "X-RateLimit-Reset": "-10"}, secondaryBody, time.Minute},
	{"403 secondary, Retry-After zero", 403, map[string]string{"Retry-After": "0"}, secondaryBody, time.Minute},
	{"403 secondary by its link", 403, nil, suffixBody, time.Minute},
	{"403 abuse", 403, nil, oldAbuseBody, time.Minute},
	{"403 with Retry-After alone", 403, map[string]string{"Retry-After": "12"}, `{}`, 12 * time.Second},
	{"429 for a day", 429, map[string]string{"Retry-After": "86400"}, secondaryBody, time.Hour},
}

// refuse answers with a status, headers and a body.
func refuse(status int, header map[string]string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for key, value := range header {
			var seconds int64
			if n, _ := fmt.Sscanf(value, "+%d", &seconds); n == 0 {
				fmt.Sscanf(value, "-%d", &seconds)
				seconds = -seconds
			}
			if seconds != 0 && key == "X-RateLimit-Reset" {
				value = fmt.Sprint(time.Now().Unix() + seconds)
			}
			w.Header().Set(key, value)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// checkLimited checks that err says to wait about want, of which a part may have passed.
func checkLimited(t *testing.T, err error, want time.Duration) {
	t.Helper()
	var limited *RateLimited
	if !errors.As(err, &limited) {
		t.Fatalf("got %v, want a rate limit", err)
	}
	if got := limited.RetryAfter; got > want || got < want-min(want/2, 10*time.Second) {
		t.Errorf("wait %s, want %s", got, want)
	}
}

func TestRateLimits(t *testing.T) {
	for _, tt := range limitTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, app := newServer(t)
			s.mux.HandleFunc(anyComment, refuse(tt.status, tt.header, tt.body))
			checkLimited(t, ping(app), tt.want)
			checkLimited(t, ping(app), tt.want)
			if got := s.count("POST"); got != 1 {
				t.Errorf("%d requests were sent: one was sent again, or during the limit", got)
			}
		})
	}
}

func TestRateLimitOfTokens(t *testing.T) {
	for _, tt := range limitTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, app := newServer(t)
			s.refuseToken = refuse(tt.status, tt.header, tt.body)
			checkLimited(t, ping(app), tt.want)
			if len(s.requests) != 0 || len(s.tokens) != 1 {
				t.Errorf("%d requests and %d for tokens were sent", len(s.requests), len(s.tokens))
			}
			_, err := app.Installation(6).GitToken(context.Background(), testRepo)
			checkLimited(t, err, tt.want)
		})
	}
}

func TestRateLimitIsOneInstallations(t *testing.T) {
	s, app := newServer(t)
	s.mux.HandleFunc(anyComment, refuse(429, nil, ""))
	s.answer("GET /repos/acme/shop/commits/"+testSHA+"/pulls", 200, []object{})
	checkLimited(t, ping(app), time.Minute)
	if _, err := app.Installation(testInst+1).PullsFor(context.Background(), testRepo, testSHA); err != nil {
		t.Errorf("another installation is limited too: %v", err)
	}
	if _, err := app.Installation(testInst).PullsFor(context.Background(), testRepo, testSHA); err == nil {
		t.Error("the installation is no longer limited")
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   error // nil for an error that is none of ours
	}{
		{"no permission", 403, `{"message":"Resource not accessible by integration"}`, ErrForbidden},
		{"suspended", 403, `{"message":"This installation has been suspended"}`, ErrGone},
		{"locked", 403, `{"message":"Unable to create comment because issue is locked."}`, ErrCommentsClosed},
		{"disabled", 410, `{"message":"Issues are disabled for this repo"}`, ErrCommentsClosed},
		{"not found", 404, `{"message":"Not Found"}`, ErrNotFound},
		{"bad gateway", 502, `<html>oops</html>`, nil},
		{"unavailable", 503, ``, nil},
		{"invalid", 422, `{"message":"Validation Failed"}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, app := newServer(t)
			s.mux.HandleFunc(anyComment, refuse(tt.status, nil, tt.body))
			err := ping(app)
			if err == nil {
				t.Fatal("no error")
			}
			for _, sentinel := range []error{ErrForbidden, ErrGone, ErrCommentsClosed, ErrNotFound, ErrUnauthorized} {
				// A locked conversation is also a refusal; what counts is that
				// it can be told from one.
				if sentinel == ErrForbidden && tt.want == ErrCommentsClosed {
					continue
				}
				if got := errors.Is(err, sentinel); got != (sentinel == tt.want) {
					t.Errorf("is %q: %v, in %v", sentinel, got, err)
				}
			}
			if strings.Contains(err.Error(), "hello") {
				t.Errorf("the error quotes what was sent: %v", err)
			}
		})
	}
}

func TestInstallationGone(t *testing.T) {
	for _, status := range []int{403, 404} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s, app := newServer(t)
			s.refuseToken = refuse(status, nil, `{"message":"no"}`)
			if err := ping(app); !errors.Is(err, ErrGone) {
				t.Errorf("got %v", err)
			}
			if _, err := app.Installation(testInst).GitToken(context.Background(), testRepo); !errors.Is(err, ErrGone) {
				t.Errorf("git token: got %v", err)
			}
		})
	}
}

// A token that dies early means that the App was removed, or only that a new
// token is needed.
func TestTokenRefused(t *testing.T) {
	s, app := newServer(t)
	s.mux.HandleFunc(anyComment, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "token token-1" {
			writeJSON(w, 401, object{"message": "Bad credentials"})
			return
		}
		writeJSON(w, 201, object{"id": 1})
	})
	err := ping(app)
	if !errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrGone) {
		t.Fatalf("got %v", err)
	}
	if err := ping(app); err != nil {
		t.Fatalf("the new token was not used: %v", err)
	}
}

func TestTokenRefusedForGood(t *testing.T) {
	s, app := newServer(t)
	s.mux.HandleFunc(anyComment, func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		s.refuseToken = refuse(404, nil, `{"message":"Not Found"}`)
		s.mu.Unlock()
		writeJSON(w, 401, object{"message": "Bad credentials"})
	})
	if err := ping(app); !errors.Is(err, ErrGone) {
		t.Fatalf("got %v", err)
	}
}

func TestWrongKey(t *testing.T) {
	s, app := newServer(t)
	s.refuseToken = refuse(401, nil, `{"message":"A JSON web token could not be decoded"}`)
	if err := ping(app); !errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrGone) {
		t.Fatalf("got %v", err)
	}
}

func TestRedirects(t *testing.T) {
	stolen := false
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stolen = true
		writeJSON(w, 200, []object{})
	}))
	defer thief.Close()
	s, app := newServer(t)
	s.mux.Handle("GET /repos/acme/shop/commits/"+testSHA+"/pulls", http.RedirectHandler("/api/v3/repositories/9/pulls", http.StatusMovedPermanently))
	s.answer("GET /repositories/9/pulls", 200, []object{{"number": 4, "state": "open", "head": object{"sha": testSHA}}})
	s.mux.Handle("GET /repos/acme/evil/commits/"+testSHA+"/pulls", http.RedirectHandler(thief.URL, http.StatusMovedPermanently))
	s.mux.Handle(anyComment, http.RedirectHandler("/api/v3/repositories/9/pulls", http.StatusMovedPermanently))

	i := app.Installation(testInst)
	if got, err := i.PullsFor(t.Context(), testRepo, testSHA); err != nil || len(got) != 1 {
		t.Errorf("a renamed repository was not followed: %v, %v", got, err)
	}
	if _, err := i.PullsFor(t.Context(), Repository{Owner: "acme", Name: "evil"}, testSHA); err == nil || stolen {
		t.Errorf("went to another host: %v", err)
	}
	if err := ping(app); err == nil {
		t.Error("a POST became a GET and nobody noticed")
	}
}
