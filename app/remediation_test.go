package app_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/checks"
)

func policyOf(remediation, withoutReplacement app.Mode) app.Policy {
	return app.Policy{Remedy: app.Remedy{Remediation: remediation, Order: incident.ReplaceFirst, WithoutReplacement: withoutReplacement}}
}

// leak pushes a file to a new branch and returns its commit.
func (w *world) leak(g *tree, branch, file, text string) string {
	w.t.Helper()
	g.git("checkout", "--quiet", "-b", branch, "main")
	head := g.commit("leak", map[string]string{file: text})
	g.push(branch)
	return head
}

// audited counts the audit entries with a verb.
func (w *world) audited(verb string) (n int) {
	w.t.Helper()
	for e, err := range w.memory.AuditLog(w.t.Context()) {
		w.must(err)
		if e.Verb == verb {
			n++
		}
	}
	return n
}

// eventually waits until f holds.
func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	w.t.Fatalf("%s: not after %s\n%s", what, patience, w.logs)
}

func buttons(r githubtest.CheckRun) string {
	var ids []string
	for _, a := range r.Actions {
		ids = append(ids, a.Identifier)
	}
	return strings.Join(ids, " ")
}

func TestAskedBeforeItActs(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	leaked := w.token("ask")
	head := w.leak(g, "ask", "a.env", env(leaked))
	run := w.check(head, "is red with buttons", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && buttons(r) == "rotate revoke"
	})
	w.settled(head)
	if !w.github.TokenLive(leaked) || w.stored("ask") != leaked {
		t.Fatal("it acted without being asked")
	}

	w.github.CreateUser("visitor")
	w.must(w.github.SetPermission(w.repoName, "visitor", "read"))
	w.must(w.github.PressButton(run.ID, "rotate", "visitor"))
	w.eventually("the visitor is refused", func() bool { return w.audited("refuse rotate") == 1 })
	if !w.github.TokenLive(leaked) {
		t.Fatal("a visitor could have it rotated")
	}

	w.must(w.github.PressButton(run.ID, "rotate", "dana"))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Title, "dead") && buttons(r) == ""
	})
	w.mustRotate("ask", leaked)
	if n := w.audited("press rotate"); n != 1 {
		t.Errorf("%d presses in the audit log, want 1", n)
	}
}

func TestWithoutReplacement(t *testing.T) {
	t.Run("asks", func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		g := w.seeded()
		leaked, err := w.github.IssueToken("bot", githubtest.ClassicToken) // in no store
		w.must(err)
		head := w.leak(g, "lost", "a.env", env(leaked))
		run := w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
			return completed("failure")(r) && strings.Contains(r.Summary, "No secret store") && strings.Contains(buttons(r), "revoke")
		})
		if !w.github.TokenLive(leaked) {
			t.Fatal("it was revoked although nobody has another")
		}
		w.must(w.github.PressButton(run.ID, "revoke", "dana"))
		w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
		if w.github.TokenLive(leaked) {
			t.Error("it is still live")
		}
	})
	t.Run("revokes anyway", func(t *testing.T) {
		w := newWorld(t, worldOptions{policy: policyOf(app.Automatic, app.RevokeAnyway)})
		g := w.seeded()
		leaked, err := w.github.IssueToken("bot", githubtest.FineGrainedToken)
		w.must(err)
		head := w.leak(g, "lost", "a.env", env(leaked))
		w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
		if w.github.TokenLive(leaked) {
			t.Error("it is still live")
		}
	})
}

func TestObserveChangesNothing(t *testing.T) {
	w := newWorld(t, worldOptions{policy: policyOf(app.Observe, app.Ask)})
	g := w.seeded()
	leaked := w.token("observe")
	head := w.leak(g, "observe", "a.env", env(leaked))
	run := w.check(head, "is red", completed("failure"))
	w.settled(head)
	if buttons(run) != "" || !w.github.TokenLive(leaked) || w.stored("observe") != leaked {
		t.Errorf("buttons %q, live %v: want nothing done and nothing offered", buttons(run), w.github.TokenLive(leaked))
	}
}

// TestPublicRepositoriesDoNotHelpThieves reads every state that the check run
// was ever in: none tells that the token is live.
func TestPublicRepositoriesDoNotHelpThieves(t *testing.T) {
	w := newWorld(t, worldOptions{public: true, policy: app.DefaultPolicy()})
	g := w.seeded()
	leaked := w.token("public")
	g.git("checkout", "--quiet", "-b", "public", "main")
	g.commit("harmless", map[string]string{"h.txt": "h\n"})
	g.push("public")
	number, err := w.github.OpenPull(w.repoName, "public", "main", "Public")
	w.must(err)
	head := g.commit("leak", map[string]string{"a.env": env(leaked)})
	g.push("public")
	run := w.check(head, "is red", completed("failure"))
	w.settled(head)
	told := strings.ToLower(run.Title + run.Summary + run.Text)
	if strings.Contains(told, "live") || strings.Contains(told, "active") || len(w.github.Comments(w.repoName, number)) > 0 {
		t.Errorf("a thief learns that it works: %q, %d comments", told, len(w.github.Comments(w.repoName, number)))
	}
	w.must(w.github.PressButton(run.ID, "rotate", "dana"))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.oneComment(t, number, "dead")
}

func TestWhatIsNoSecretCanBeDismissed(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.seeded()
	leaked := w.token("both")
	head := w.leak(g, "dismiss", "a.env", "DB_PASSWORD"+" = \"kX9-fq27-LLw3-pZ81\"\n")
	run := w.check(head, "is red with a button", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && buttons(r) == "not_a_secret bypass"
	})
	w.must(w.github.PressButton(run.ID, "not_a_secret", "dana"))
	w.check(head, "is green", completed("success"))

	// A live credential is none that a person could dismiss.
	head = w.leak(g, "live", "b.env", env(leaked))
	w.settled(head)
	if run = w.check(head, "is red", completed("failure")); strings.Contains(buttons(run), "not_a_secret") {
		t.Errorf("buttons %q for a live credential", buttons(run))
	}
}

func TestRerun(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.seeded()
	leaked := w.token("rerun")
	head := w.leak(g, "rerun", "a.env", env(leaked))
	w.settled(head)
	before := w.check(head, "is red", completed("failure"))
	scans := w.audited("scan")
	w.must(w.github.Rerequest(before.ID, "dana"))
	w.eventually("it is scanned again", func() bool { return w.audited("scan") == scans+1 })
	after := w.check(head, "is red", completed("failure"))
	if len(after.Annotations) != 1 || w.github.TokenLive(leaked) {
		t.Errorf("%d annotations after a re-run, want 1", len(after.Annotations))
	}
}

// TestBrokerRefuses is an issuer that will not issue: nothing is lost, and a
// person is told.
func TestBrokerRefuses(t *testing.T) {
	var calls atomic.Int64
	broker := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusUnprocessableEntity)
		rw.Write([]byte(`{"message":"this account may not have tokens"}`))
	})
	w := newWorld(t, worldOptions{tamper: func(_ *world, c *app.Config) { c.Providers.BrokerURL = broker }})
	g := w.seeded()
	leaked := w.token("refused")
	head := w.leak(g, "refused", "a.env", env(leaked))
	w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "refused to make a replacement")
	})
	if calls.Load() != 1 || !w.github.TokenLive(leaked) || w.stored("refused") != leaked {
		t.Errorf("%d calls; the credential must live and stay where it is", calls.Load())
	}
}

// TestSomebodyElseChangedTheStore is an owner who was faster than Stanch.
func TestSomebodyElseChangedTheStore(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: func(_ *world, c *app.Config) {
		c.SecretStores[0] = &racingStore{SecretStore: c.SecretStores[0]}
	}})
	g := w.seeded()
	leaked := w.token("race")
	head := w.leak(g, "race", "a.env", env(leaked))
	w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "Somebody changed")
	})
	if got := w.stored("race"); got != "the owner's own new value" {
		t.Error("the owner's new value was overwritten")
	}
	if !w.github.TokenLive(leaked) {
		t.Error("the leaked credential was revoked although nobody had looked")
	}
}

// racingStore is a store whose owner writes just before Stanch reads.
type racingStore struct {
	app.SecretStore
	done bool
}

func (s *racingStore) Get(ctx context.Context, at secretstore.Location) (secretstore.Content, error) {
	if !s.done {
		s.done = true
		if _, err := s.Put(ctx, at, map[string]checks.Secret{at.Field: checks.NewSecret("the owner's own new value")}, "owner"); err != nil {
			return secretstore.Content{}, err
		}
	}
	return s.SecretStore.Get(ctx, at)
}

// TestGitHubHasABadDay answers with limits and gateway errors; in the end the
// check run is completed, once.
func TestGitHubHasABadDay(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.seeded()
	leaked := w.token("bad")
	var n atomic.Int64
	w.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if !strings.Contains(r.URL.Path, "/check-runs") {
			return nil
		}
		switch n.Add(1) {
		case 1, 4:
			return githubtest.BadGateway()
		case 2:
			return githubtest.SecondaryLimit(time.Second)
		case 6:
			return githubtest.PrimaryLimit(time.Now().Add(time.Second), true)
		}
		return nil
	})
	head := w.leak(g, "bad", "a.env", env(leaked))
	w.settled(head)
	run := w.check(head, "is red", completed("failure"))
	if len(run.Annotations) != 1 {
		t.Errorf("%d annotations, want 1", len(run.Annotations))
	}
	w.mustRotate("bad", leaked)
}

// TestAProxyIsNoProvider puts a page of somebody else where the provider should
// answer: nothing is concluded and nothing is done.
func TestAProxyIsNoProvider(t *testing.T) {
	portal := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		rw.Write([]byte("<html>Please sign in</html>"))
	})
	w := newWorld(t, worldOptions{tamper: func(_ *world, c *app.Config) { c.Providers.BaseURLs["github"] = portal }})
	g := w.seeded()
	leaked := w.token("portal")
	head := w.leak(g, "portal", "a.env", env(leaked))
	w.check(head, "is red", completed("failure"))
	w.settled(head)
	if !w.github.TokenLive(leaked) || w.stored("portal") != leaked {
		t.Error("it acted on a portal's page")
	}
}

// TestOwnCredentialIsNotKilled leaks a credential that Stanch itself lives on.
func TestOwnCredentialIsNotKilled(t *testing.T) {
	var own string
	w := newWorld(t, worldOptions{tamper: func(w *world, c *app.Config) {
		own = w.token("own")
		c.Own = append(c.Own, checks.NewSecret(own).Fingerprint(c.Keys.Fingerprint))
	}})
	g := w.seeded()
	head := w.leak(g, "own", "a.env", env(own))
	w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "own credential")
	})
	if !w.github.TokenLive(own) {
		t.Error("Stanch killed what it lives on")
	}
}

// serve runs a handler and returns its address.
func serve(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}
