package provider

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const portal = "<!doctype html><title>Sign in to the guest network</title>"

// always answers everybody the same.
func always(status int, media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, status, media, body) }
}

// packed is 16 MiB of a JSON string in some kilobytes.
var packed = sync.OnceValue(func() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(`{"id":1,"login":"` + strings.Repeat("a", 16<<20) + `"}`))
	z.Close()
	return b.String()
})

func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	answer(w, 200, "application/json", packed())
}

func drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	for _, b := range []byte(whoIs) {
		w.Write([]byte{b})
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// A lie is what networks say in place of an answer.
type lie struct {
	handler http.HandlerFunc
	// exact lies fool a rule that does not look at the words of a refusal.
	exact bool
	// toAll lies are found out by the control alone.
	toAll bool
}

var lies = map[string]lie{
	"captive portal":           {handler: always(200, "text/html", portal)},
	"portal that claims json":  {handler: always(200, "application/json", portal)},
	"firewall 403":             {handler: always(403, "text/html; charset=utf-8", portal)},
	"firewall claims json":     {handler: always(403, "application/json", portal)},
	"proxy 401":                {handler: always(401, "text/html", portal)},
	"anybody is octocat":       {handler: always(200, "application/json", whoIs), toAll: true},
	"identity as text":         {handler: always(200, "text/plain", whoIs)},
	"identity as html":         {handler: always(200, "text/html", whoIs)},
	"identity without a type":  {handler: always(200, "", whoIs)},
	"refusal as text":          {handler: always(401, "text/plain", badCred)},
	"refusal in other words":   {handler: always(401, "application/json", `{"message":"Log in to the proxy"}`), exact: true},
	"half an identity":         {handler: always(200, "application/json", `{"login":"octocat"}`)},
	"null identity":            {handler: always(200, "application/json", `{"login":null,"id":null}`)},
	"empty identity":           {handler: always(200, "application/json", `{"login":"","id":1}`)},
	"identity of objects":      {handler: always(200, "application/json", `{"login":{},"id":[]}`)},
	"list":                     {handler: always(200, "application/json", `[`+whoIs+`]`)},
	"broken json":              {handler: always(200, "application/json", whoIs[:20])},
	"two answers":              {handler: always(200, "application/json", whoIs+whoIs)},
	"empty 200":                {handler: always(200, "application/json", "")},
	"empty 401":                {handler: always(401, "application/json", "")},
	"server error":             {handler: always(500, "application/json", badCred)},
	"unavailable":              {handler: always(503, "application/json", whoIs)},
	"rate limit":               {handler: always(429, "application/json", badCred)},
	"forbidden for being fast": {handler: always(403, "application/json", `{"message":"You have exceeded a secondary rate limit"}`), exact: true},
	"too large":                {handler: always(200, "application/json", whoIs+strings.Repeat(" ", maxBody))},
	"gzip bomb":                {handler: bomb},
	"slow drip":                {handler: drip},
	"hangs up":                 {handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	"repeats what it is told": {handler: func(w http.ResponseWriter, r *http.Request) {
		said, _ := json.Marshal(map[string]string{"login": strings.Repeat("x", maxText-10) + r.Header.Get("Authorization"), "id": "1"})
		answer(w, 200, "application/json", string(said))
	}},
}

// Nothing of what networks do in place of answering may count as an answer: not
// when everybody is told it, and not when the control gets an honest refusal.
func TestLies(t *testing.T) {
	lax := catalogueRule(t, "github-pat")
	lax.Verify.Answers = []rules.Answer{{Status: 200, Identity: []string{"login", "id"}, Means: rules.MeansActive}}
	for _, status := range []int{302, 401, 403, 429, 500, 503} {
		lax.Verify.Answers = append(lax.Verify.Answers, rules.Answer{Status: status, Means: rules.MeansInactive})
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cred := sample(t, "github-pat")
			toOne := func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.Header.Get("Authorization"), cred.Secret().Expose()) {
					lie.handler(w, r)
					return
				}
				answer(w, 401, "application/json", badCred)
			}
			wantUnknown(t, catalogueRule(t, "github-pat"), cred, serve(t, lie.handler).URL)
			if !lie.toAll {
				wantUnknown(t, catalogueRule(t, "github-pat"), cred, serve(t, toOne).URL)
				if !lie.exact {
					wantUnknown(t, lax, cred, serve(t, toOne).URL)
				}
			}
		})
	}
}

func TestNoAnswers(t *testing.T) {
	rule, cred := catalogueRule(t, "github-pat"), sample(t, "github-pat")
	t.Run("unknown certificate", func(t *testing.T) {
		server := httptest.NewTLSServer(always(200, "application/json", whoIs))
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		defer server.Close()
		if v := wantUnknown(t, rule, cred, server.URL); v.Evidence.Answer != "tls" {
			t.Errorf("answer %q, want tls", v.Evidence.Answer)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		server := httptest.NewServer(nil)
		server.Close()
		wantUnknown(t, rule, cred, server.URL)
	})
	t.Run("redirect", func(t *testing.T) {
		var reached atomic.Int32
		other := serve(t, func(w http.ResponseWriter, r *http.Request) {
			reached.Add(1)
			answer(w, 200, "application/json", whoIs)
		})
		for _, status := range []int{301, 302, 303, 307, 308} {
			server := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
			wantUnknown(t, rule, cred, server.URL)
		}
		if reached.Load() != 0 {
			t.Error("a redirect was followed")
		}
	})
}

func wantUnknown(t *testing.T, rule *rules.Rule, cred checks.Credential, base string) Verdict {
	t.Helper()
	p := newProviders(t, Config{Catalogue: []*rules.Rule{rule}, BaseURLs: map[string]string{"github": base}})
	p.within = 500 * time.Millisecond
	v, err := p.Verify(t.Context(), cred)
	if err != nil {
		t.Fatal(err)
	}
	if v.Validity != checks.Unknown || v.Grade != GradeC || len(v.Evidence.Identity) > 0 || v.Evidence.Answer == "" {
		t.Errorf("verdict %+v, want unknown, grade C, and why", v)
	}
	all, err := json.Marshal(v)
	if err != nil || strings.Contains(string(all), cred.Secret().Expose()) {
		t.Errorf("the evidence holds the secret, or cannot be stored: %v", err)
	}
	return v
}

// odd is a rule with the secret in every place that a request has.
func odd() *rules.Rule {
	return &rules.Rule{
		ID: "odd", Sample: "x{12:base62}", Provider: &rules.Provider{Name: "odd"},
		Verify: rules.Action{
			Request: &rules.Request{
				Method: "POST", Path: "/bot{secret}/me?key={secret}&id={id}",
				Header: map[string]string{"X-Key": "k {secret}"},
				JSON:   map[string]any{"list": []any{"<{secret}>", 7}, "deep": map[string]any{"id": "{id}"}},
			},
			Answers: []rules.Answer{{Status: 200, Identity: []string{"user.name"}, Means: rules.MeansActive}},
		},
	}
}

func oddCredential(secret string) checks.Credential {
	cred := credential("odd", secret)
	cred.Parts["id"] = checks.NewSecret(`i"d&x=1`)
	return cred
}

func TestPlaceholdersAreEscapedWhereTheyStand(t *testing.T) {
	const secret = `a/../b?c=d&e#f%2F "quoted"@host`
	var asked atomic.Int32
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var body struct {
			List []any
			Deep struct{ ID string }
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		if strings.Contains(r.RequestURI, "x{12") || r.URL.Path == "/botx" || body.Deep.ID != `i"d&x=1` || body.List[1] != 7.0 {
			t.Errorf("request %q", r.RequestURI)
		}
		if asked.Load() == 1 && (r.URL.Path != "/bot"+secret+"/me" || r.URL.Query().Get("key") != secret ||
			len(r.URL.Query()) != 2 || r.Header.Get("X-Key") != "k "+secret || body.List[0] != "<"+secret+">") {
			t.Errorf("path %q, query %q, header %q, body %v", r.URL.Path, r.URL.RawQuery, r.Header.Get("X-Key"), body)
		}
		answer(w, 200, "application/json", `{"user":{"name":"bot"}}`)
	})
	p := newProviders(t, Config{Catalogue: []*rules.Rule{odd()}, BaseURLs: map[string]string{"odd": server.URL}})
	v, err := p.Verify(t.Context(), oddCredential(secret))
	if err != nil || v.Validity != checks.Unknown || asked.Load() != 2 {
		t.Errorf("%+v, %v after %d requests; want unknown, as the random value was accepted too", v, err, asked.Load())
	}
	want := "POST " + server.URL + "/bot{secret}/me?key={secret}&id={id}"
	if v.Evidence.Request != want {
		t.Errorf("evidence of %q, want %q", v.Evidence.Request, want)
	}
}

// A secret that has a place in the URL must not come out through the errors of
// net/http, which quote the URL.
func TestSecretsStayOutOfEvidence(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	for secret, unfit := range map[string]bool{
		"sesame" + "OpenPlease": false, "with\r\nnew: line": true, "%zz\x7f": true, "..": true, "bad\xffutf8": true,
	} {
		p := newProviders(t, Config{Catalogue: []*rules.Rule{odd()}, BaseURLs: map[string]string{"odd": closed.URL}})
		v, err := p.Verify(t.Context(), oddCredential(secret))
		if err != nil || v.Validity != checks.Unknown {
			t.Errorf("%q: %+v, %v; want unknown", secret, v, err)
		}
		if cannot := v.Evidence.Answer == "the part secret cannot stand in the request"; cannot != unfit {
			t.Errorf("%q: answer %q", secret, v.Evidence.Answer)
		}
		if told, _ := json.Marshal(v); secret != ".." && strings.Contains(string(told), secret) {
			t.Errorf("the evidence tells the secret: %s", told)
		}
	}
	p := newProviders(t, Config{Catalogue: []*rules.Rule{odd()}, BaseURLs: map[string]string{"odd": closed.URL}})
	v, err := p.Verify(t.Context(), credential("odd", "x"))
	if err != nil || v.Evidence.Answer != "the credential has no part id" {
		t.Errorf("%+v, %v; want a word about the missing part", v, err)
	}
}

// A path without its slash could name another host.
func TestRequestPathCannotChangeTheHost(t *testing.T) {
	rule := odd()
	rule.Verify.Request.Path = "{secret}.example.com/"
	p := newProviders(t, Config{Catalogue: []*rules.Rule{rule}, BaseURLs: map[string]string{"odd": "http://127.0.0.1:1"}})
	if v, err := p.Verify(t.Context(), oddCredential("@evil")); err == nil {
		t.Errorf("got %+v, want an error", v)
	}
}
