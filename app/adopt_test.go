package app_test

import (
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/checks"
)

// TestAdopt leaks a credential that no store holds: its replacement goes where the
// policy says, and the check tells its owner where that is.
func TestAdopt(t *testing.T) {
	policy := automatic
	policy.WithoutReplacement, policy.Adopt = app.Adopt, "file:adopted"
	w := newWorld(t, worldOptions{policy: policy})
	g := w.seeded()
	leaked, err := w.github.IssueToken("bot", githubtest.ClassicToken) // in no store
	w.must(err)
	head := w.leak(g, "lost", "a.env", env(leaked))
	w.eventually("it is over", func() bool { return w.audited("done retire") == 1 })
	i := w.incidentOf(leaked)
	path := "adopted/github-pat/" + i.ID
	now, err := w.secrets.Get(t.Context(), secretstore.Location{Path: path})
	w.must(err)
	if fresh := now.Fields["secret"].Expose(); !w.github.TokenLive(fresh) || w.github.TokenLive(leaked) || w.github.LiveTokens("bot") != 1 {
		t.Errorf("the replacement lives: %v, the leaked one: %v", w.github.TokenLive(fresh), w.github.TokenLive(leaked))
	}
	w.issued = append(w.issued, leaked, now.Fields["secret"].Expose())
	w.check(head, "tells where the new one is", func(r githubtest.CheckRun) bool {
		return strings.Contains(r.Title, "dead") && strings.Contains(r.Summary, path)
	})
}

// TestAdoptNowhere has a policy that adopts into a store that is not configured.
func TestAdoptNowhere(t *testing.T) {
	policy := automatic
	policy.WithoutReplacement, policy.Adopt = app.Adopt, "vault:secret/adopted"
	w := newWorld(t, worldOptions{policy: policy})
	g := w.seeded()
	leaked, err := w.github.IssueToken("bot", githubtest.ClassicToken)
	w.must(err)
	head := w.leak(g, "nowhere", "a.env", env(leaked))
	w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "secret store vault is not configured")
	})
	if !w.github.TokenLive(leaked) || w.audited("attempt issue") != 0 {
		t.Error("something was done")
	}
}

// TestOwnersHaveReplacedIt leaks a token that its owners have replaced in the store and
// not killed: it is killed, and what they use stays.
func TestOwnersHaveReplacedIt(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.seeded()
	leaked := w.token("own")
	fresh, err := w.github.IssueToken("bot", githubtest.ClassicToken)
	w.must(err)
	at := secretstore.Location{Path: "own", Field: "token", Version: "1"}
	_, err = w.secrets.Put(t.Context(), at, map[string]checks.Secret{"token": checks.NewSecret(fresh)}, "owner")
	w.must(err)
	head := w.leak(g, "own", "a.env", env(leaked))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	if w.github.TokenLive(leaked) || !w.github.TokenLive(fresh) || w.stored("own") != fresh || w.audited("attempt issue") != 0 {
		t.Errorf("leaked live %v, the owners' live %v", w.github.TokenLive(leaked), w.github.TokenLive(fresh))
	}
	w.issued = append(w.issued, fresh)
}

// TestOwnersHaveReplacedItWithSomethingElse is the same with a value that does not work:
// a person is asked before the last one that works dies.
func TestOwnersHaveReplacedItWithSomethingElse(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.seeded()
	leaked := w.token("else")
	at := secretstore.Location{Path: "else", Field: "token", Version: "1"}
	_, err := w.secrets.Put(t.Context(), at, map[string]checks.Secret{"token": checks.NewSecret("to be filled in")}, "owner")
	w.must(err)
	head := w.leak(g, "else", "a.env", env(leaked))
	w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "only a superseded version is left")
	})
	if !w.github.TokenLive(leaked) {
		t.Error("the last one that works was killed")
	}
}
