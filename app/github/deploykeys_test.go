package github_test

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// authorizedKey is a new public key, as in authorized_keys.
func authorizedKey(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func TestDeployKeys(t *testing.T) {
	s := newSecretStage(t)
	const repo = "acme/shop"
	if _, err := s.app.DeployKeys(t.Context(), repo); !errors.Is(err, github.ErrForbidden) {
		t.Errorf("without the permission: %v", err)
	}
	s.must(s.hub.Allow(s.appID, "administration", "read"))
	used := map[int]time.Time{7: time.Date(2026, 11, 3, 4, 5, 6, 0, time.UTC)}
	for n := range 101 { // more than a page
		_, err := s.hub.SetDeployKey(repo, githubtest.DeployKey{Title: "by hand", Key: authorizedKey(t), ReadOnly: n > 0, LastUsed: used[n]})
		s.must(err)
	}
	before, err := s.app.DeployKeys(t.Context(), repo)
	s.must(err)
	if len(before) != 101 || before[0].ReadOnly || !before[100].ReadOnly || before[100].Title != "by hand" || before[7].Key != s.hub.DeployKeys(repo)[7].Key ||
		!before[7].LastUsed.Equal(used[7]) || !before[8].LastUsed.IsZero() {
		t.Fatalf("%d keys, %+v …", len(before), before[0])
	}
	fresh := github.DeployKey{Title: "Stanch", Key: authorizedKey(t), ReadOnly: true}
	if err := s.app.AddDeployKey(t.Context(), repo, fresh); !errors.Is(err, github.ErrForbidden) {
		t.Errorf("with the permission to read: %v", err)
	}
	if err := s.app.RemoveDeployKey(t.Context(), repo, before[0].ID); !errors.Is(err, github.ErrForbidden) {
		t.Errorf("with the permission to read: %v", err)
	}
	s.must(s.hub.Allow(s.appID, "administration", "write"))
	s.must(s.app.AddDeployKey(t.Context(), repo, fresh))
	if err := s.app.AddDeployKey(t.Context(), repo, fresh); !errors.Is(err, github.ErrInvalid) {
		t.Errorf("added twice: %v", err)
	}
	s.must(s.app.RemoveDeployKey(t.Context(), repo, before[50].ID))
	if err := s.app.RemoveDeployKey(t.Context(), repo, before[50].ID); !errors.Is(err, github.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	after, err := s.app.DeployKeys(t.Context(), repo)
	s.must(err)
	if len(after) != 101 || slices.Contains(after, before[50]) || after[100].Key != fresh.Key || !after[100].ReadOnly || after[100].Title != "Stanch" {
		t.Errorf("%d keys, the last %+v", len(after), after[len(after)-1])
	}
	for _, name := range []string{"acme/gone", "acme", "acme/../x", "/"} {
		if _, err := s.app.DeployKeys(t.Context(), name); err == nil {
			t.Errorf("%q has deploy keys", name)
		}
	}
}
