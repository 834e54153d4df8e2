package provider

import (
	"errors"
	"slices"
	"testing"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// At the operator's own GitHub tokens are revoked by their values as well, as somebody
// whom the operator names.
func TestRevokeAtAGitHubEnterpriseServer(t *testing.T) {
	d, nameless := newRevocationDesk(t)
	own := sample(t, "github-pat")
	d.wants = "Bearer " + own.Secret().Expose()
	all := []checks.Credential{sample(t, "github-pat"), sample(t, "github-fine-grained-pat"), sample(t, "github-pat")}
	var unclear *AnswerError
	if _, err := nameless.Revoke(t.Context(), Target{Credential: all[0]}); !errors.As(err, &unclear) || unclear.Evidence.Status != 401 {
		t.Errorf("as nobody: %v", err)
	}
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	as := func(token checks.Secret) *Providers {
		t.Helper()
		p, err := New(Config{Catalogue: catalogue, BaseURLs: map[string]string{"github": d.URL}, GitHubRevoker: token})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if _, err := as(all[2].Secret()).Revoke(t.Context(), Target{Credential: all[0]}); !errors.As(err, &unclear) {
		t.Errorf("as somebody else: %v", err)
	}
	d.requests = nil
	p := as(own.Secret())
	for n, err := range revokeAll(t, p, all) {
		if err != nil {
			t.Errorf("%s: %v", all[n].Rule, err)
		}
	}
	var sent []string
	for _, r := range d.requests {
		sent = append(sent, r...)
	}
	for _, c := range all {
		if !slices.Contains(sent, c.Secret().Expose()) {
			t.Errorf("a %s was not revoked", c.Rule)
		}
	}
	if len(sent) != len(all) || slices.Contains(sent, own.Secret().Expose()) {
		t.Errorf("%d tokens were sent, want these %d", len(sent), len(all))
	}
	// What it does not take would spoil the request for the others.
	d.requests = nil
	if _, err := p.Revoke(t.Context(), Target{Credential: sample(t, "github-oauth-token")}); !errors.Is(err, ErrCannotRevoke) || len(d.requests) > 0 {
		t.Errorf("an OAuth token: %v, %d requests", err, len(d.requests))
	}
	if !p.Can("github-fine-grained-pat").Revoke || p.Can("github-oauth-token").Revoke || !p.Can("github-installation-token").Revoke || !nameless.Can("github-oauth-token").Revoke {
		t.Error("what can be revoked is told wrongly")
	}
}

// Who Stanch is at the operator's GitHub is nobody else's to know.
func TestRevokerIsToldToTheOperatorsGitHubAlone(t *testing.T) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	own := checks.NewSecret("own" + "-token")
	for _, base := range []map[string]string{nil, {"gitlab": "https://gitlab.example.com/api/v4"}} {
		p, err := New(Config{Catalogue: catalogue, BaseURLs: base, GitHubRevoker: own})
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range p.rules {
			if p.web.asksAsSomebody(rule) {
				t.Errorf("with %v: %s", base, rule.ID)
			}
		}
	}
	p, err := New(Config{Catalogue: catalogue, BaseURLs: map[string]string{"github": "https://github.example.com/api/v3"}, GitHubRevoker: own})
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range p.rules {
		if p.web.asksAsSomebody(rule) && rule.Provider.Name != "github" {
			t.Errorf("%s is told", rule.ID)
		}
	}
	request := p.rules["github-pat"].Revoke.Request
	f := &filler{parts: map[string]checks.Secret{}}
	if with := p.web.introduced(request, f); with.Header["Authorization"] == "" || request.Header["Authorization"] != "" {
		t.Error("the rule itself was changed")
	}
}
