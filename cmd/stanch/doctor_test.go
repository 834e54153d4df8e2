package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/store/postgrestest"
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

// What the App lacks is said with what does not work without it.
func TestDoctorNamesWhatTheAppLacks(t *testing.T) {
	hub, err := githubtest.New(githubtest.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	self, err := hub.CreateApp("Stanch")
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{
		"/api/v3/app":             `{"slug":"stanch","installations_count":0,"permissions":{"metadata":"read","contents":"read","checks":"read"},"events":["push","repository"]}`,
		"/api/v3/app/hook/config": `{"url":"http://someone:hush@stanch.example.com/webhook?token=hush","content_type":"form","insecure_ssl":"1"}`,
	}
	little := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(answers[r.URL.Path]))
	}))
	t.Cleanup(little.Close)
	environment := map[string]string{
		"STANCH_GITHUB_URL": little.URL, "STANCH_GITHUB_APP_ID": strconv.FormatInt(self.ID, 10), "STANCH_GITHUB_PRIVATE_KEY": self.PrivateKeyPEM,
		"STANCH_GITHUB_WEBHOOK_SECRETS": "hush,", "STANCH_URL": "https://elsewhere.example.com",
	}
	code, r, text := diagnose(t, environment)
	for said, status := range map[string]string{
		`the permission "checks" (write): no check run`: statusProblem, `the permission "pull requests" (write): pull requests`: statusProblem,
		`the event "pull request": pull requests`: statusProblem, `the event "merge group": merge queues`: statusNote,
		`the permission "issues" (read): commands`: statusNote, "installed nowhere": statusNote, "sends forms": statusProblem,
		"has no secret": statusProblem, "look at the certificate": statusProblem,
	} {
		if found := r.say(aboutGitHub, said); len(found) != 1 || found[0].Status != status || (found[0].Next == "") != (status == statusNote) {
			t.Errorf("%q: %+v", said, found)
		}
	}
	if len(r.say(aboutSettings, "STANCH_GITHUB_WEBHOOK_SECRETS is empty")) != 1 || len(r.say(aboutGitHub, `"contents"`)) > 0 || code != exitFailed || strings.Contains(text, "hush") {
		t.Errorf("status %d\n%s", code, text)
	}
}

// A database is looked at while a server has it open, and its key must be its own.
func TestDoctorBesideAServer(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testDoctorBesideAServer(t, "sqlite:"+filepath.Join(t.TempDir(), "stanch.db")) })
	t.Run("postgres", func(t *testing.T) { testDoctorBesideAServer(t, postgrestest.URL(t)) })
}

func testDoctorBesideAServer(t *testing.T, at string) {
	key := func(n byte) (text string, keys store.Keys) {
		master := bytes.Repeat([]byte{n}, 32)
		keys, err := store.NewKeys(master)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(master), keys
	}
	own, keys := key(1)
	other, _ := key(2)
	if _, r, told := diagnose(t, map[string]string{"STANCH_DATABASE_URL": at, "STANCH_KEY": own}); len(r.say(aboutDatabase, "made at the first start")) != 1 {
		t.Errorf("before there is one:\n%s", told)
	}
	server, err := store.Open(t.Context(), at, keys, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for text, want := range map[string]string{own: statusOK, other: statusProblem} {
		_, r, told := diagnose(t, map[string]string{"STANCH_DATABASE_URL": at, "STANCH_KEY": text})
		if found := r.say(aboutDatabase, "key"); len(found) != 1 || found[0].Status != want || strings.Contains(told, text) {
			t.Errorf("want %s:\n%s", want, told)
		}
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
