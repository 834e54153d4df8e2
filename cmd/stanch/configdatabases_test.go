package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// Stanch's own logins at databases are handed on whole, their passwords are known as
// Stanch's own, and none is repeated where a URL is wrong.
func TestAdminURLs(t *testing.T) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	password := "ofThe" + "4dmin%2C"
	urls := "postgres://stanch:" + password + "@db.example.net/postgres,\n redis://:" + password + "@cache.example.net\n"
	var s settings
	s.GitHubURL, s.AdminURLs, s.VerifyHosts = "https://github.com", urls, []string{"db.example.net", "cache.example.net"}
	cfg, err := s.providers(catalogue, nil)
	if err != nil || len(cfg.AdminURLs) != 2 {
		t.Fatalf("%d URLs, %v", len(cfg.AdminURLs), err)
	}
	p, err := provider.New(withCatalogue(cfg, catalogue))
	if err != nil {
		t.Fatal(err)
	}
	for rule, want := range map[string]bool{"postgres-url": true, "redis-url": true, "mysql-url": false, "mongodb-url": false} {
		if can := p.Can(rule); can.Revoke != want || can.Issue != want || can.Reversible != want {
			t.Errorf("%s: %+v", rule, can)
		}
	}
	wantPolicies(t, s, map[string]bool{"-- PostgreSQL": true, "CREATEROLE": true, "Redis": true, "MariaDB": false, "MySQL": false, password: false})
	s.AdminURLs = "mysql://stanch:" + password + "@db.example.net" // whose scheme does not tell which of them it is
	wantPolicies(t, s, map[string]bool{"-- MySQL": true, "-- MariaDB": true, "PostgreSQL": false, password: false})
	s.AdminURLs = urls
	keys, err := store.NewKeys(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	own := app.Config{Keys: keys}
	s.addOwn(&own)
	if want := checks.NewSecret("ofThe4dmin,").Fingerprint(keys.Fingerprint); len(own.Own) != 2 || !slices.Contains(own.Own, want) {
		t.Error("the administrator's password is not known as Stanch's own")
	}
	for _, wrong := range []string{"mongodb+srv://stanch:" + password + "@db.example.net", "postgres://stanch:" + password + "@elsewhere.example.net", password} {
		s.AdminURLs = wrong
		if cfg, err = s.providers(catalogue, nil); err == nil {
			_, err = provider.New(withCatalogue(cfg, catalogue))
		}
		if err == nil || strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "STANCH_ADMIN_URLS") {
			t.Errorf("%v", err)
		}
	}
}

func withCatalogue(cfg provider.Config, catalogue []*rules.Rule) provider.Config {
	cfg.Catalogue = catalogue
	return cfg
}

// wantPolicies tells which texts are among the policies that are printed, and which are
// not.
func wantPolicies(t *testing.T, s settings, texts map[string]bool) {
	t.Helper()
	var printed strings.Builder
	if err := printPolicies(&printed, s, ""); err != nil {
		t.Fatal(err)
	}
	for text, want := range texts {
		if strings.Contains(printed.String(), text) != want {
			t.Errorf("%q in the policies: %t", text, !want)
		}
	}
}
