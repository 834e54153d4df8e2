package provider

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

func catalogue(t *testing.T) []*rules.Rule {
	t.Helper()
	all, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// catalogueRule returns a rule that the test may change.
func catalogueRule(t *testing.T, id string) *rules.Rule {
	t.Helper()
	for _, r := range catalogue(t) {
		if r.ID == id {
			return r
		}
	}
	t.Fatalf("no rule %s", id)
	return nil
}

// sample makes a random credential of a rule.
func sample(t *testing.T, rule string) checks.Credential {
	t.Helper()
	value, err := rules.Expand(catalogueRule(t, rule).Sample, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return credential(rule, value)
}

func credential(rule, value string) checks.Credential {
	return checks.Credential{Rule: rule, Parts: map[string]checks.Secret{checks.PartSecret: checks.NewSecret(value)}}
}

func newProviders(t *testing.T, cfg Config) *Providers {
	t.Helper()
	if cfg.Catalogue == nil {
		cfg.Catalogue = catalogue(t)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func answer(w http.ResponseWriter, status int, media, body string) {
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	io.WriteString(w, body)
}

const (
	whoIs   = `{"login":"octocat","id":12345678901}`
	badCred = `{"message":"Bad credentials"}`
)

// gitHub answers as api.github.com does about one live token.
func gitHub(live checks.Credential) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+live.Secret().Expose() {
			w.Header().Set("X-OAuth-Scopes", "repo")
			answer(w, 200, "application/json; charset=utf-8", whoIs)
			return
		}
		answer(w, 401, "application/json; charset=utf-8", badCred)
	}
}

func TestVerify(t *testing.T) {
	live, dead := sample(t, "github-pat"), sample(t, "github-pat")
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	server := serve(t, gitHub(live))
	p := newProviders(t, Config{
		BaseURLs: map[string]string{"github": server.URL + "/api/v3/"},
		Now:      func() time.Time { return at },
	})
	request, refused := "GET "+server.URL+"/api/v3/user", "refused a random value: 401 json: inactive"

	for name, test := range map[string]struct {
		cred checks.Credential
		want Verdict
	}{
		"live": {live, Verdict{Validity: checks.Active, Grade: GradeA, Evidence: Evidence{
			Request: request, Status: 200, Answer: "200 with identity", Control: refused, At: at,
			Identity: map[string]string{"login": "octocat", "id": "12345678901", "X-OAuth-Scopes": "repo"},
			Radius:   &Radius{Owner: "octocat", Permissions: []string{"repo"}, Access: rules.AccessWrite}}}},
		"dead": {dead, Verdict{Validity: checks.Inactive, Grade: GradeB, Evidence: Evidence{
			Request: request, Status: 401, Answer: "401 json: inactive", Control: refused, At: at}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := p.Verify(t.Context(), test.cred)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// A token that may not ask who it is lives all the same.
func TestVerifyWithoutScope(t *testing.T) {
	live := sample(t, "github-pat")
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("Authorization"), live.Secret().Expose()) {
			answer(w, 403, "application/json", `{"message":"Resource not accessible by personal access token"}`)
			return
		}
		answer(w, 401, "application/json", badCred)
	})
	p := newProviders(t, Config{BaseURLs: map[string]string{"github": server.URL}})
	v, err := p.Verify(t.Context(), live)
	if err != nil || v.Validity != checks.Active || !v.LacksScope || v.Grade != GradeB {
		t.Errorf("%+v, %v; want active of grade B, lacking scope", v, err)
	}
}

// Without a sample there is nothing to compare with, and no grade to act on.
func TestVerifyWithoutASample(t *testing.T) {
	live := credential("odd", "x")
	live.Parts["id"] = checks.NewSecret("1")
	rule := odd()
	rule.Sample = ""
	server := serve(t, always(200, "application/json", `{"user":{"name":"bot"}}`))
	p := newProviders(t, Config{Catalogue: []*rules.Rule{rule}, BaseURLs: map[string]string{"odd": server.URL}})
	v, err := p.Verify(t.Context(), live)
	if err != nil || v.Validity != checks.Active || v.Grade != GradeC || !strings.Contains(v.Evidence.Control, "no sample") {
		t.Errorf("%+v, %v; want active of grade C", v, err)
	}
	rule.Sample = "{nonsense"
	if v, err := newProviders(t, Config{Catalogue: []*rules.Rule{rule}, BaseURLs: map[string]string{"odd": server.URL}}).Verify(t.Context(), live); err == nil {
		t.Errorf("%+v; a broken sample is a mistake of the catalogue, and there was no error", v)
	}
}

func TestVerifyWithAForm(t *testing.T) {
	const secret = "a&b=c d"
	rule := odd()
	rule.Verify.Request = &rules.Request{Method: "POST", Path: "/me", Form: map[string]string{"token": "{secret}"}}
	rule.Verify.Answers = append(rule.Verify.Answers, rules.Answer{Status: 401, Empty: true, Means: rules.MeansInactive})
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("token") != secret || len(r.PostForm) != 1 {
			w.WriteHeader(401)
			return
		}
		answer(w, 200, "application/vnd.api+json", `{"user":{"name":"bot"}}`)
	})
	p := newProviders(t, Config{Catalogue: []*rules.Rule{rule}, BaseURLs: map[string]string{"odd": server.URL}})
	v, err := p.Verify(t.Context(), credential("odd", secret))
	if err != nil || v.Grade != GradeA {
		t.Errorf("%+v, %v; want grade A", v, err)
	}
	if v, err = p.Verify(t.Context(), credential("odd", "other")); err != nil || v.Validity != checks.Inactive || v.Grade != GradeB {
		t.Errorf("%+v, %v; want inactive of grade B", v, err)
	}
}

func TestVerifyWithoutAWay(t *testing.T) {
	p := newProviders(t, Config{})
	for rule, want := range map[string]string{
		"github-refresh-token": "no verification for this kind",
		"vault-service-token":  "no Vault address configured",
	} {
		got, err := p.Verify(t.Context(), sample(t, rule))
		if err != nil || got.Validity != checks.Unknown || got.Grade != GradeC || got.Evidence.Answer != want {
			t.Errorf("%s: %+v, %v; want unknown because %q", rule, got, err, want)
		}
	}
	if _, err := p.Verify(t.Context(), credential("nobody-knows-it", "x")); err == nil {
		t.Error("an unknown rule is a mistake of ours, and there was no error")
	}
	if _, err := p.Verify(t.Context(), checks.Credential{Rule: "github-pat"}); err == nil {
		t.Error("a credential without a secret is a mistake of ours, and there was no error")
	}
}

// Many incidents with one credential make one question.
func TestVerifyAsksOnce(t *testing.T) {
	live := sample(t, "github-pat")
	var asked atomic.Int32
	started, release := make(chan struct{}), make(chan struct{})
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("Authorization"), live.Secret().Expose()) {
			if asked.Add(1) == 1 {
				close(started)
			}
			<-release
		}
		gitHub(live)(w, r)
	})
	p := newProviders(t, Config{BaseURLs: map[string]string{"github": server.URL}})

	// The first caller gives up; those who wait for the same answer get it.
	first, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if v, err := p.Verify(first, live); err != nil || v.Evidence.Answer != "cancelled" {
			t.Errorf("cancelled question: %+v, %v", v, err)
		}
	})
	<-started
	cancel()
	for range 20 {
		wg.Go(func() {
			if v, err := p.Verify(t.Context(), live); err != nil || v.Grade != GradeA {
				t.Errorf("got %+v, %v; want grade A", v, err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond) // let them all come
	close(release)
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func TestControlIsRemembered(t *testing.T) {
	live := sample(t, "github-pat")
	var others atomic.Int32
	failing := atomic.Bool{}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.Header.Get("Authorization"), live.Secret().Expose()) {
			others.Add(1)
			if failing.Load() {
				answer(w, 403, "application/json", `{"message":"Come back later"}`)
				return
			}
		}
		gitHub(live)(w, r)
	})
	now := time.Now()
	p := newProviders(t, Config{
		BaseURLs: map[string]string{"github": server.URL},
		Now:      func() time.Time { return now },
	})
	verify := func(want Grade, controls int32) {
		t.Helper()
		v, err := p.VerifyAgain(t.Context(), live)
		if err != nil || v.Validity != checks.Active || v.Grade != want || others.Load() != controls {
			t.Fatalf("got %+v, %v after %d controls; want grade %s after %d", v, err, others.Load(), want, controls)
		}
	}
	failing.Store(true)
	verify(GradeC, 1)
	verify(GradeC, 1)
	failing.Store(false)
	now = now.Add(failedFor)
	verify(GradeA, 2)
	now = now.Add(passedFor - time.Second)
	verify(GradeA, 2)
	now = now.Add(time.Second)
	verify(GradeA, 3)
}

func TestRevoke(t *testing.T) {
	cred := sample(t, "github-pat")
	var status atomic.Int32
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Credentials []string }
		err := json.NewDecoder(r.Body).Decode(&body)
		if err != nil || r.Method != "POST" || r.URL.Path != "/credentials/revoke" || r.Header.Get("Authorization") != "" ||
			len(body.Credentials) != 1 || body.Credentials[0] != cred.Secret().Expose() {
			t.Errorf("%s %s with %d credentials, authorisation %t, %v", r.Method, r.URL.Path, len(body.Credentials),
				r.Header.Get("Authorization") != "", err)
		}
		w.WriteHeader(int(status.Load()))
	})
	p := newProviders(t, Config{BaseURLs: map[string]string{"github": server.URL}})

	status.Store(202)
	got, err := p.Revoke(t.Context(), Target{Credential: cred})
	if err != nil || got.Meaning != rules.MeansAccepted || got.Evidence.Status != 202 {
		t.Errorf("got %+v, %v; want accepted", got, err)
	}
	for _, s := range []int32{200, 302, 422, 500, 403} {
		status.Store(s)
		_, err := p.Revoke(t.Context(), Target{Credential: cred})
		var unfit *AnswerError
		if !errors.As(err, &unfit) || unfit.Evidence.Status != int(s) {
			t.Errorf("status %d: %v; want an AnswerError with it", s, err)
		}
	}
	if _, err := p.Revoke(t.Context(), Target{Credential: sample(t, "vault-batch-token")}); !errors.Is(err, ErrCannotRevoke) {
		t.Errorf("manual revocation: %v, want ErrCannotRevoke", err)
	}
}

func TestCan(t *testing.T) {
	full := Config{VaultAddr: "http://127.0.0.1:1", VaultToken: checks.NewSecret("x"), BrokerURL: "http://127.0.0.1:1"}
	for name, test := range map[string]struct {
		cfg  Config
		rule string
		want Abilities
	}{
		"github":            {full, "github-pat", Abilities{Verify: true, Revoke: true, Issue: true}},
		"github, no broker": {Config{}, "github-pat", Abilities{Verify: true, Revoke: true, Reason: "no broker configured to issue it"}},
		"vault":             {full, "vault-service-token", Abilities{Verify: true, Revoke: true, Issue: true}},
		"vault, no address": {Config{}, "vault-service-token", Abilities{Reason: "no Vault address configured"}},
		"vault, no token": {Config{VaultAddr: full.VaultAddr}, "vault-service-token",
			Abilities{Verify: true, Revoke: true, Reason: "no Vault token of Stanch's own configured"}},
		"unknown": {full, "nobody-knows-it", Abilities{Reason: "no such rule: nobody-knows-it"}},
	} {
		if diff := cmp.Diff(test.want, newProviders(t, test.cfg).Can(test.rule)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestNewRefusesConfiguration(t *testing.T) {
	secret := "hunter" + "2"
	for name, cfg := range map[string]Config{
		"base without host": {BaseURLs: map[string]string{"github": "/api"}},
		"base with user":    {BaseURLs: map[string]string{"github": "https://u:" + secret + "@host/"}},
		"base with query":   {BaseURLs: map[string]string{"github": "https://host/?t=" + secret}},
		"vault as socket":   {VaultAddr: "unix:///run/vault.sock"},
		"broker":            {BrokerURL: "ftp://host"},
		"broker token":      {BrokerURL: "https://host", BrokerToken: checks.NewSecret(secret + "\r\nX: y")},
		"catalogue in clear": {Catalogue: []*rules.Rule{{
			ID: "x", Provider: &rules.Provider{Name: "x", Base: "http://example.com"}}}},
	} {
		_, err := New(cfg)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	t.Setenv("VAULT_SKIP_VERIFY", "1")
	if _, err := New(Config{VaultAddr: "https://host"}); err == nil {
		t.Error("VAULT_SKIP_VERIFY was accepted")
	}
}
