package github_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/github"
)

func TestRegistration(t *testing.T) {
	s := newStage(t)
	r, err := s.app.Registration(t.Context())
	s.must(err)
	if r.Slug != "stanch" || r.Installed != 1 || r.Permissions["checks"] != "write" || !slices.Contains(r.Events, "push") {
		t.Errorf("%+v", r)
	}
	if w := r.Webhook; !strings.HasPrefix(w.URL, "http://127.0.0.1") || w.ContentType != "json" || !w.Signed || w.Insecure {
		t.Errorf("the webhook is %+v", w)
	}
	if lacks := r.Lacks(); len(lacks) > 0 {
		t.Errorf("an App with everything lacks %+v", lacks)
	}
}

func TestRegistrationOfNobody(t *testing.T) {
	s := newStage(t)
	other, err := s.hub.CreateApp("Other")
	s.must(err)
	stranger, err := github.New(github.Config{AppID: s.appID, PrivateKey: []byte(other.PrivateKeyPEM), URL: s.hub.URL()})
	s.must(err)
	if _, err := stranger.Registration(t.Context()); !errors.Is(err, github.ErrUnauthorized) {
		t.Errorf("with another key: %v", err)
	}
}

// What an App lacks is named with what comes of it, one by one.
func TestLacks(t *testing.T) {
	permissions := map[string]string{
		"metadata": "read", "contents": "write", "checks": "write", "pull_requests": "write", "issues": "read", "merge_queues": "read", "secret_scanning_alerts": "write",
	}
	events := []string{"push", "pull_request", "repository", "merge_group", "issue_comment", "secret_scanning_alert"}
	if lacks := (github.Registration{Permissions: permissions, Events: events}).Lacks(); len(lacks) > 0 {
		t.Errorf("%+v", lacks)
	}
	for name := range permissions {
		less := maps.Clone(permissions)
		delete(less, name)
		lacks := (github.Registration{Permissions: less, Events: events}).Lacks()
		if len(lacks) != 1 || lacks[0].Permission != name || lacks[0].Without == "" {
			t.Errorf("without %s: %+v", name, lacks)
		}
	}
	for n, name := range events {
		lacks := (github.Registration{Permissions: permissions, Events: slices.Delete(slices.Clone(events), n, n+1)}).Lacks()
		if len(lacks) != 1 || lacks[0].Event != name || lacks[0].Without == "" {
			t.Errorf("without %s: %+v", name, lacks)
		}
	}
	permissions["checks"] = "read"
	if lacks := (github.Registration{Permissions: permissions, Events: events}).Lacks(); len(lacks) != 1 || lacks[0].Level != "write" || lacks[0].Optional {
		t.Errorf("with checks to read: %+v", lacks)
	}
}
