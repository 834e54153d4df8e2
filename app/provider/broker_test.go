package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
)

// brokering is a broker as the contract wants it.
func brokering(t *testing.T, token string, issued map[string]string) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		want := map[string]any{"rule": "github-pat", "provider": "github", "reason": "leaked",
			"operation": r.Header.Get("Idempotency-Key"), "identity": map[string]any{"login": "octocat"}}
		if diff := cmp.Diff(want, body); diff != "" || r.Method != "POST" || r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("%s request (-want +got):\n%s", r.Method, diff)
		}
		key := r.Header.Get("Idempotency-Key")
		if issued[key] == "" {
			issued[key] = sample(t, "github-pat").Secret().Expose()
		}
		answer(w, 201, "application/json", fmt.Sprintf(`{"parts":{"secret":%q}}`, issued[key]))
	}
}

func TestBrokerIssues(t *testing.T) {
	issued := map[string]string{}
	server := serve(t, brokering(t, "let-me-in", issued))
	p := newProviders(t, Config{BrokerURL: server.URL + "/broker", BrokerToken: checks.NewSecret("let-me-in")})
	old, identity := sample(t, "github-pat"), map[string]string{"login": "octocat"}
	issue := func(operation string) checks.Credential {
		t.Helper()
		cred, err := p.Issue(t.Context(), Request{Old: Target{old, identity}, Operation: operation})
		if err != nil || cred.Rule != "github-pat" {
			t.Fatalf("issue: %v", err)
		}
		return cred
	}
	first, again, other := issue("op-1"), issue("op-1"), issue("op-2")
	if first.Secret() != again.Secret() || first.Secret() == other.Secret() || len(issued) != 2 {
		t.Error("an operation must get one credential, and another operation another")
	}
	if first.Secret().Expose() != issued["op-1"] {
		t.Error("the credential is not the one that was issued")
	}
}

func TestBrokerFails(t *testing.T) {
	old := sample(t, "github-pat")
	for name, test := range map[string]struct {
		handler  http.HandlerFunc
		definite bool
		says     string
	}{
		"no such user":      {always(422, "application/json", `{"message":"octocat has left\u0007"}`), true, "octocat has left"},
		"not found":         {always(404, "application/json", `{"message":"no"}`), true, "no"},
		"not let in":        {always(401, "application/json", `{}`), true, "401"},
		"portal":            {always(404, "text/html", portal), false, "html"},
		"broken":            {always(500, "application/json", `{}`), false, "500"},
		"busy":              {always(429, "application/json", `{}`), false, "429"},
		"redirect":          {always(307, "application/json", `{}`), false, "307"},
		"conflict":          {always(409, "application/json", `{}`), false, "409"},
		"nothing":           {always(200, "application/json", `{"parts":{}}`), false, "no usable credential"},
		"empty secret":      {always(200, "application/json", `{"parts":{"secret":""}}`), false, "no usable credential"},
		"a part of numbers": {always(200, "application/json", `{"parts":{"secret":"x","id":1}}`), false, "no usable credential"},
		"huge":              {always(200, "application/json", `{"parts":{"secret":"`+strings.Repeat("x", maxPart+1)+`"}}`), false, "no usable"},
		"text":              {always(200, "text/plain", `{"parts":{"secret":"x"}}`), false, "not json"},
		"hangs up":          {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false, "broken"},
		"the leaked one":    {always(200, "application/json", `{"parts":{"secret":"`+old.Secret().Expose()+`"}}`), false, "leaked credential itself"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, test.handler)
			p := newProviders(t, Config{BrokerURL: server.URL, BrokerToken: checks.NewSecret("let" + "-me-in")})
			_, err := p.Issue(t.Context(), Request{Old: Target{Credential: old}, Operation: "op"})
			if err == nil || errors.Is(err, ErrCannotIssue) != test.definite || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v; want definite %t, and %q", err, test.definite, test.says)
			}
			if strings.Contains(err.Error(), old.Secret().Expose()) || strings.Contains(err.Error(), "let-me-in") {
				t.Error("the error tells a secret")
			}
		})
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	p := newProviders(t, Config{BrokerURL: closed.URL})
	if _, err := p.Issue(t.Context(), Request{Old: Target{Credential: old}, Operation: "op"}); !errors.Is(err, ErrCannotIssue) {
		t.Errorf("nobody there: %v; nothing was sent, so nothing was issued", err)
	}
	if _, err := newProviders(t, Config{}).Issue(t.Context(), Request{Old: Target{Credential: old}, Operation: "op"}); !errors.Is(err, ErrCannotIssue) {
		t.Errorf("no broker: %v", err)
	}
}
