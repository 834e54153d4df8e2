package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A revocationDesk is GitHub's endpoint for it.
type revocationDesk struct {
	*httptest.Server
	mu       sync.Mutex
	requests [][]string
	dislikes string
	wants    string // in the Authorization header
	limited  bool
}

func newRevocationDesk(t *testing.T) (*revocationDesk, *Providers) {
	t.Helper()
	d := &revocationDesk{}
	d.Server = httptest.NewServer(d)
	t.Cleanup(d.Close)
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{Catalogue: catalogue, BaseURLs: map[string]string{"github": d.URL}})
	if err != nil {
		t.Fatal(err)
	}
	return d, p
}

func (d *revocationDesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Credentials []string `json:"credentials"`
	}
	err := json.NewDecoder(r.Body).Decode(&ask)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests = append(d.requests, ask.Credentials)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Header.Get("Authorization") != d.wants:
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"message":"Bad credentials"}`)
	case err != nil || r.URL.Path != "/credentials/revoke" || len(ask.Credentials) > 1000:
		w.WriteHeader(http.StatusBadRequest)
	case d.limited:
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"message":"API rate limit exceeded for 127.0.0.1."}`)
	case d.dislikes != "" && slices.Contains(ask.Credentials, d.dislikes):
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"message":"Validation Failed"}`)
	default:
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, `{}`)
	}
}

// leakedToken is a token of one of the kinds that are revoked there.
func leakedToken(t *testing.T, n int) checks.Credential {
	t.Helper()
	return sample(t, []string{"github-pat", "github-fine-grained-pat", "github-oauth-token"}[n%3])
}

// revokeAll revokes credentials at the same time.
func revokeAll(t *testing.T, p *Providers, all []checks.Credential) []error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for n, c := range all {
		wg.Go(func() {
			receipt, err := p.Revoke(t.Context(), Target{Credential: c})
			if errs[n] = err; err == nil && receipt.Meaning != rules.MeansAccepted {
				errs[n] = fmt.Errorf("meaning %s", receipt.Meaning)
			}
		})
	}
	wg.Wait()
	return errs
}

// TestRevokedTogether: tokens of several kinds that leak at the same time are revoked by
// few requests, each of them once.
func TestRevokedTogether(t *testing.T) {
	d, p := newRevocationDesk(t)
	all := make([]checks.Credential, 200)
	for n := range all {
		all[n] = leakedToken(t, n)
	}
	for n, err := range revokeAll(t, p, slices.Concat(slices.Repeat(all[:1], 9), all)) {
		if err != nil {
			t.Errorf("%d: %v", n, err)
		}
	}
	told := slices.Concat(d.requests...)
	if len(d.requests) > 20 || len(told) < 200 {
		t.Errorf("%d requests for %d tokens", len(d.requests), len(told))
	}
	for _, asked := range d.requests {
		if slices.Sort(asked); len(slices.Compact(asked)) < len(asked) {
			t.Error("a token is named twice in a request")
		}
	}
	for n, c := range all {
		if !slices.Contains(told, c.Secret().Expose()) {
			t.Errorf("token %d was not revoked", n)
		}
	}
}

// TestOneSpoilsNoBatch: of many only the token that GitHub does not like fails.
func TestOneSpoilsNoBatch(t *testing.T) {
	d, p := newRevocationDesk(t)
	all := make([]checks.Credential, 16)
	for n := range all {
		all[n] = leakedToken(t, n)
	}
	d.dislikes = all[5].Secret().Expose()
	for n, err := range revokeAll(t, p, all) {
		if answer := new(AnswerError); (n == 5) != errors.As(err, &answer) || n != 5 && err != nil || n == 5 && strings.Contains(err.Error(), d.dislikes) {
			t.Errorf("%d: %v", n, err)
		}
	}
	if len(d.requests) > 12 {
		t.Errorf("%d requests", len(d.requests))
	}
}

// TestRevocationsKeepTheRate: half of what is allowed goes out at once, the rest is
// spread, and after a limit nothing is sent.
func TestRevocationsKeepTheRate(t *testing.T) {
	d, p := newRevocationDesk(t)
	sent := func() int {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.requests)
	}
	b, err := p.web.batcher(p.rules["github-pat"])
	if err != nil {
		t.Fatal(err)
	}
	b.times = 60 // as at the public host
	one := func() error { return revokeAll(t, p, []checks.Credential{leakedToken(t, sent())})[0] }
	for n := range 30 {
		if err := one(); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
	}
	if err := one(); err == nil || !strings.Contains(err.Error(), "60 such requests") || sent() != 30 {
		t.Errorf("the 31st within a moment: %v; %d were sent", err, sent())
	}
	later := func(d time.Duration) { b.now = func() time.Time { return time.Now().Add(d) } }
	if later(61 * time.Second); one() != nil || one() == nil || sent() != 31 {
		t.Errorf("after a minute there is one more: %d were sent", sent())
	}
	for range 29 { // to the last of the hour
		b.sent = append(b.sent, b.now())
	}
	if later(50 * time.Minute); one() == nil || sent() != 31 {
		t.Errorf("all of the hour's are used up: %d were sent", sent())
	}
	d.limited = true
	if later(3 * time.Hour); one() == nil || sent() != 32 {
		t.Errorf("a limit is no error, %d were sent", sent())
	}
	d.limited = false
	if err := one(); err == nil || !strings.Contains(err.Error(), "not sent") || sent() != 32 {
		t.Errorf("after a limit: %v; %d were sent", err, sent())
	}
	if later(3*time.Hour + limitedFor); one() != nil || sent() != 33 {
		t.Errorf("after its end: %d were sent", sent())
	}
}
