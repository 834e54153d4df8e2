package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
)

// githubApp is githubapp [WEBHOOK-PATH]: it starts a simulated GitHub with an App that is
// installed, whose webhook leads to that path, and sets the environment of stanch serve.
// The file webhook.secret holds the webhook's secret, and app.pem the App's key.
func githubApp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: githubapp [WEBHOOK-PATH]")
	}
	hub, err := githubtest.New(githubtest.Config{Dir: ts.MkAbs("hub")})
	ts.Check(err)
	hub.Start()
	ts.Defer(func() { hub.Close() })
	self, err := hub.CreateApp("Stanch")
	ts.Check(err)
	hub.CreateOrganization("acme")
	if len(args) > 0 {
		ts.Check(hub.SetWebhook(self.ID, "http://127.0.0.1:1"+args[0], self.WebhookSecret))
	}
	_, err = hub.Install(self.ID, "acme")
	ts.Check(err)
	for name, text := range map[string]string{"app.pem": self.PrivateKeyPEM, "webhook.secret": self.WebhookSecret} {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
	ts.Setenv("STANCH_GITHUB_URL", hub.URL())
	ts.Setenv("STANCH_GITHUB_APP_ID", strconv.FormatInt(self.ID, 10))
	ts.Setenv("STANCH_GITHUB_PRIVATE_KEY_FILE", ts.MkAbs("app.pem"))
	ts.Setenv("STANCH_GITHUB_WEBHOOK_SECRETS_FILE", ts.MkAbs("webhook.secret"))
}

// diagnose runs stanch doctor in an environment.
func diagnose(t *testing.T, environment map[string]string, args ...string) (code int, r doctorReport, text string) {
	t.Helper()
	t.Chdir(t.TempDir())
	var out, errs strings.Builder
	getenv := func(name string) string { return environment[name] }
	code = run(t.Context(), append([]string{"doctor", "--format", "json"}, args...), strings.NewReader(""), &out, &errs, getenv)
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("status %d, %v\n%s%s", code, err, out.String(), errs.String())
	}
	return code, r, out.String() + errs.String()
}

// say returns the diagnoses about a subject that hold a text.
func (r doctorReport) say(subject, text string) (found []diagnosis) {
	for _, one := range r.Checks {
		if one.Subject == subject && strings.Contains(one.Found, text) {
			found = append(found, one)
		}
	}
	return found
}

// A host that takes everything is found out.
func TestDoctorFindsWhoTakesAnything(t *testing.T) {
	var sent []string
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Header.Get("PRIVATE-TOKEN"))
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"id":42,"user_id":7,"name":"deploy","active":true,"revoked":false,"scopes":["api"]}`))
	}))
	t.Cleanup(gateway.Close)
	environment := map[string]string{"STANCH_PROVIDER_URLS": "gitlab:" + gateway.URL}
	if _, r, text := diagnose(t, environment); len(sent) > 0 || len(r.say(aboutVerify, "no provider was asked")) != 1 {
		t.Errorf("unasked: %d requests\n%s", len(sent), text)
	}
	code, r, text := diagnose(t, environment, "--provider", "gitlab")
	held := r.say(aboutVerify, "gitlab-pat: GET "+gateway.URL+"/personal_access_tokens/self")
	if code != exitFailed || len(held) != 1 || held[0].Status != statusProblem || !strings.Contains(held[0].Found, "it takes anything") || held[0].Next == "" {
		t.Errorf("status %d\n%s", code, text)
	}
	for _, token := range sent {
		if token != "" && strings.Contains(text, token) {
			t.Error("a value that was sent is printed")
		}
	}
	if len(sent) == 0 {
		t.Error("nothing was asked")
	}
}

// A real server says what Stanch's token may do there.
func TestDoctorAsksVault(t *testing.T) {
	b := baotest.Start(t)
	b.Policy("stanch", "@../../deploy/vault/stanch.hcl")
	b.Policy("narrow", `path "auth/token/lookup-self" { capabilities = ["read"] }
		path "sys/capabilities-self" { capabilities = ["update"] }
		path "secret/metadata/*" { capabilities = ["read", "list"] }
		path "secret/data/*" { capabilities = ["read"] }`)
	for policy, problems := range map[string]int{"stanch": 0, "narrow": 3} { // no update, no destroy, and it ends
		token := b.Token(map[string]any{"policies": []string{policy}, "no_default_policy": true, "ttl": "1h", "renewable": policy == "stanch"})
		_, r, text := diagnose(t, map[string]string{"VAULT_ADDR": b.Addr, "VAULT_TOKEN": token})
		if n := count(r.say(aboutVault, ""), func(one diagnosis) bool { return one.Status == statusProblem }); n != problems {
			t.Errorf("%s: %d problems, want %d\n%s", policy, n, problems, text)
		}
		if len(r.say(aboutVault, "searched: secret")) != 1 || strings.Contains(text, token) {
			t.Errorf("%s:\n%s", policy, text)
		}
	}
	_, r, text := diagnose(t, map[string]string{"VAULT_ADDR": b.Addr, "VAULT_TOKEN": "no-token-of-this-server"})
	if found := r.say(aboutVault, "Vault answered 403"); len(found) != 1 || found[0].Status != statusProblem {
		t.Error(text)
	}
}
