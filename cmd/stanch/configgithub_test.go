package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// onGitHub is the environment of an App that a simulated GitHub knows.
func onGitHub(t *testing.T) (*githubtest.Server, githubtest.App, map[string]string) {
	t.Helper()
	hub, err := githubtest.New(githubtest.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	hub.Start()
	t.Cleanup(func() { hub.Close() })
	self, err := hub.CreateApp("Stanch")
	if err != nil {
		t.Fatal(err)
	}
	pem := filepath.Join(t.TempDir(), "app.pem")
	if err := os.WriteFile(pem, []byte(self.PrivateKeyPEM), 0o600); err != nil {
		t.Fatal(err)
	}
	return hub, self, map[string]string{
		"STANCH_GITHUB_URL": hub.URL(), "STANCH_GITHUB_APP_ID": strconv.FormatInt(self.ID, 10), "STANCH_GITHUB_PRIVATE_KEY_FILE": pem,
		"STANCH_GITHUB_WEBHOOK_SECRETS": "signed",
	}
}

// The permission to write copies is missed only where there are copies.
func TestDoctorNamesWhatCopiesNeed(t *testing.T) {
	hub, self, environment := onGitHub(t)
	const lacks = "the App lacks the permission"
	if _, r, text := diagnose(t, environment); len(r.say(aboutGitHub, lacks)) > 0 {
		t.Errorf("without copies\n%s", text)
	}
	environment["STANCH_GITHUB_COPIES"] = "acme/shop:actions:TOKEN=file:ci#token,acme/web:actions:TOKEN=file:ci#token,acme:actions:TOKEN=file:ci#token"
	code, r, text := diagnose(t, environment)
	found := r.say(aboutGitHub, lacks)
	if code != exitFailed || len(found) != 2 || !strings.Contains(found[0].Found, `"secrets" (write): Stanch cannot copy to acme/shop:actions:TOKEN`) ||
		!strings.Contains(found[1].Found, `"organization secrets" (write)`) {
		t.Errorf("status %d, %+v\n%s", code, found, text)
	}
	for _, permission := range []string{"secrets", "organization_secrets"} {
		if err := hub.Allow(self.ID, permission, "write"); err != nil {
			t.Fatal(err)
		}
	}
	if _, r, text := diagnose(t, environment); len(r.say(aboutGitHub, lacks)) > 0 {
		t.Errorf("with the permissions\n%s", text)
	}
	environment["STANCH_GITHUB_DEPLOY_KEYS"] = "acme/shop"
	if _, r, text := diagnose(t, environment); len(r.say(aboutGitHub, `"administration" (write): Stanch cannot verify, issue and revoke deploy keys`)) != 1 {
		t.Error(text)
	}
	environment["STANCH_GITHUB_COPIES"] = "acme/shop:actions:TOKEN=file:ci#token,acme/shop=file:ci"
	if _, r, text := diagnose(t, environment); len(r.say(aboutGitHub, "STANCH_GITHUB_COPIES, entry 2")) != 1 {
		t.Error(text)
	}
}

// Copies of what no store has are refused at the start.
func TestServeRefusesCopiesOfNothing(t *testing.T) {
	_, _, environment := onGitHub(t)
	dir := t.TempDir()
	environment["STANCH_DATABASE_URL"] = "sqlite:" + filepath.Join(dir, "stanch.db")
	environment["STANCH_GITHUB_COPIES"] = "acme/shop:actions:TOKEN=vault:secret/ci#token"
	var out, errs strings.Builder
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	code := run(ctx, []string{"serve"}, strings.NewReader(""), &out, &errs, func(name string) string { return environment[name] })
	if code != exitFailed || !strings.Contains(errs.String(), `no secret store "vault" is configured`) {
		t.Errorf("status %d: %s", code, errs.String())
	}
}

// The token by which leaked ones are revoked is for a GitHub of the operator's own, and is
// never revoked by itself.
func TestRevokeToken(t *testing.T) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	own := "own" + "-token"
	for url, fault := range map[string]string{"https://github.com": "names no GitHub Enterprise Server", "https://github.example.com": ""} {
		s := settings{GitHubOptions: GitHubOptions{RevokeToken: own}, Reach: Reach{GitHubURL: url}}
		cfg, err := s.providers(catalogue, nil)
		if (err != nil) != (fault != "") || err != nil && (!strings.Contains(err.Error(), fault) || strings.Contains(err.Error(), own)) {
			t.Errorf("%s: %v, want %q", url, err, fault)
		}
		if err == nil && cfg.GitHubRevoker != checks.NewSecret(own) {
			t.Errorf("%s: it is not handed on", url)
		}
	}
	cfg := app.Config{Keys: store.Keys{Fingerprint: make(checks.FingerprintKey, 32)}}
	GitHubOptions{}.addRevoker(&cfg)
	GitHubOptions{RevokeToken: own}.addRevoker(&cfg)
	if len(cfg.Own) != 1 || cfg.Own[0] != checks.NewSecret(own).Fingerprint(cfg.Keys.Fingerprint) {
		t.Errorf("own: %d", len(cfg.Own))
	}
}
