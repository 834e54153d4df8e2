package app_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/checks"
)

// TestRerunAfterTheMerge runs a check again when its commits have become part of
// the default branch: the range is what it was, and so is the verdict.
func TestRerunAfterTheMerge(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	leaked := w.token("merged")
	head := w.leak(g, "feature", "a.env", env(leaked))
	w.settled(head)
	before := w.check(head, "is red", completed("failure"))
	g.git("checkout", "--quiet", "main")
	g.git("merge", "--quiet", "--no-ff", "-m", "merge", "feature")
	g.push("main")
	scans := w.audited("scan")
	w.must(w.github.Rerequest(before.ID, "dana"))
	w.eventually("it is scanned again", func() bool { return w.audited("scan") > scans+1 }) // the merge's own, and the re-run
	run := w.check(head, "is completed", func(r githubtest.CheckRun) bool { return r.Status == "completed" })
	if run.Conclusion != "failure" || !strings.Contains(run.Summary, "a.env") {
		t.Errorf("after a re-run: %s, %s\n%s", run.Conclusion, run.Title, run.Summary)
	}
}

// TestNotGreenWhileMoreIsScanned opens a pull request with a wider range on a
// commit whose check run is green: it must not stay green meanwhile.
func TestNotGreenWhileMoreIsScanned(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	leaked := w.token("wide")
	g.push("main:refs/heads/release")
	guilty := w.leak(g, "guilty", "a.env", env(leaked))
	w.check(guilty, "is red", completed("failure"))
	// The narrow push range of this branch begins behind the guilty commit.
	g.git("checkout", "--quiet", "main")
	g.git("merge", "--quiet", "--ff-only", "guilty")
	g.push("main")
	w.must(w.github.WaitDeliveries(t.Context()))
	g.git("checkout", "--quiet", "-b", "f")
	head := g.commit("harmless", map[string]string{"f.txt": "f\n"})
	g.push("f")
	w.check(head, "is green", completed("success"))
	w.settled(head)

	release := make(chan struct{})
	w.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if strings.HasSuffix(r.URL.Path, "/access_tokens") {
			<-release // the scan of the pull request cannot fetch yet
		}
		return nil
	})
	_, err := w.github.OpenPull(w.repoName, "f", "release", "Wider")
	w.must(err)
	w.check(head, "is not green any more", func(r githubtest.CheckRun) bool { return r.Status == "in_progress" })
	close(release)
	w.check(head, "is red", completed("failure"))
}

// TestOwnersWereFaster: a credential that Stanch could not replace is killed by
// its owners and taken out of the file; the check passes.
func TestOwnersWereFaster(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.seeded()
	leaked, err := w.github.IssueToken("bot", githubtest.ClassicToken) // in no store
	w.must(err)
	g.git("checkout", "--quiet", "-b", "own", "main")
	g.commit("leak", map[string]string{"a.env": env(leaked)})
	head := g.commit("take it out", map[string]string{"a.env": "REGION=eu\n"})
	g.push("own")
	run := w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "No secret store")
	})
	w.github.KillToken(leaked)
	w.must(w.github.Rerequest(run.ID, "dana"))
	run = w.check(head, "is green", completed("success"))
	if strings.Contains(run.Title, "otated") {
		t.Errorf("nothing was rotated, and the title says %q", run.Title)
	}
}

// TestRevokedAfterAFailedRotation follows the advice of a rotation that could
// not go on.
func TestRevokedAfterAFailedRotation(t *testing.T) {
	for _, order := range []incident.Order{incident.ReplaceFirst, incident.RevokeFirst} {
		t.Run(string(order), func(t *testing.T) {
			broker := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "application/json")
				rw.WriteHeader(http.StatusUnprocessableEntity)
				rw.Write([]byte(`{"message":"no"}`))
			})
			w := newWorld(t, worldOptions{
				policy: app.Policy{Remedy: app.Remedy{Remediation: app.Automatic, Order: order, WithoutReplacement: app.Ask}},
				tamper: func(_ *world, c *app.Config) { c.Providers.BrokerURL = broker },
			})
			g := w.seeded()
			leaked := w.token("failed")
			head := w.leak(g, "failed", "a.env", env(leaked))
			run := w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
				return completed("failure")(r) && strings.Contains(buttons(r), "revoke")
			})
			w.must(w.github.PressButton(run.ID, "revoke", "dana"))
			run = w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool {
				return strings.Contains(r.Title, "dead") && buttons(r) == ""
			})
			if strings.Contains(run.Title, "otated") || w.github.TokenLive(leaked) {
				t.Errorf("title %q, live %v", run.Title, w.github.TokenLive(leaked))
			}
		})
	}
}

// TestReplacementOfAnAbandonedRotationDies: what was issued and could not be
// stored does not live on, owned by nobody.
func TestReplacementOfAnAbandonedRotationDies(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: func(_ *world, c *app.Config) {
		c.SecretStores[0] = &racingStore{SecretStore: c.SecretStores[0]}
	}})
	g := w.seeded()
	leaked := w.token("abandoned")
	head := w.leak(g, "abandoned", "a.env", env(leaked))
	run := w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "Somebody changed")
	})
	if n := w.github.LiveTokens("bot"); n != 2 {
		t.Fatalf("%d live tokens before, want the leaked one and its replacement", n)
	}
	w.must(w.github.PressButton(run.ID, "revoke", "dana"))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.eventually("both are dead", func() bool { return w.github.LiveTokens("bot") == 0 })
}

// TestStaleAnswerReopensNothing: a scan that asked before the proof of death, and
// records after it, must not undo it.
func TestStaleAnswerReopensNothing(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.seeded()
	leaked, slow := w.token("stale"), w.token("slow")
	release := make(chan struct{})
	w.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if r.Header.Get("Authorization") == "Bearer "+slow {
			<-release
		}
		return nil
	})
	g.git("checkout", "--quiet", "-b", "stale", "main")
	both := g.commit("both", map[string]string{"a.env": env(leaked), "b.env": env(slow)})
	g.push("stale")
	asked := func() bool {
		for _, r := range w.github.Requests() {
			if r.Method == "GET" && strings.HasSuffix(r.Path, "/user") {
				return true
			}
		}
		return false
	}
	w.eventually("the first is asked about", asked)
	head := w.leak(g, "quick", "a.env", env(leaked))
	w.settled(head)
	w.mustRotate("stale", leaked)
	issued := w.audited("done issue")
	close(release)
	w.settled(both)
	w.mustRotate("slow", slow)
	if n := w.audited("done issue"); n != issued+1 {
		t.Errorf("%d replacements after the stale answer, want 1", n-issued)
	}
	if n := w.audited("attempt put"); n != 2 {
		t.Errorf("%d attempts to store, want 2", n)
	}
}

// TestOneCommentForQuickPushes pushes twice at once to one pull request.
func TestOneCommentForQuickPushes(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.seeded()
	g.git("checkout", "--quiet", "-b", "quick", "main")
	g.commit("harmless", map[string]string{"h.txt": "h\n"})
	g.push("quick")
	number, err := w.github.OpenPull(w.repoName, "quick", "main", "Quick")
	w.must(err)
	w.github.PauseDeliveries()
	first := g.commit("leak", map[string]string{"a.env": env(w.token("q1"))})
	g.push("quick")
	second := g.commit("leak another", map[string]string{"b.env": env(w.token("q2"))})
	g.push("quick")
	w.github.ResumeDeliveries()
	w.settled(first)
	w.settled(second)
	w.oneComment(t, number, second[:7])
}

// TestDismissalNeedsNoProvider: what a provider can judge, a person cannot wave
// through while the provider is silent.
func TestDismissalNeedsNoProvider(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	leaked := w.token("silent")
	w.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if strings.HasSuffix(r.URL.Path, "/user") {
			return githubtest.BadGateway()
		}
		return nil
	})
	head := w.leak(g, "silent", "a.env", env(leaked))
	run := w.check(head, "is red", completed("failure"))
	if strings.Contains(buttons(run), "not_a_secret") {
		t.Errorf("buttons %q for a credential that may be live", buttons(run))
	}
}

// TestReplacementOfAnotherAccount: a replacement that works for somebody else is
// none.
func TestReplacementOfAnotherAccount(t *testing.T) {
	var w *world
	broker := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
		token, err := w.github.IssueToken("dana", githubtest.ClassicToken)
		if err != nil {
			t.Error(err)
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.Write([]byte(`{"parts":{"secret":"` + token + `"}}`))
	})
	w = newWorld(t, worldOptions{tamper: func(_ *world, c *app.Config) { c.Providers.BrokerURL = broker }})
	g := w.seeded()
	leaked := w.token("other")
	head := w.leak(g, "other", "a.env", env(leaked))
	w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "somebody else")
	})
	if !w.github.TokenLive(leaked) {
		t.Error("the leaked credential died, and its users have only somebody else's")
	}
}

// TestSelfHostedRefusalIsNoProof: an Enterprise Server does not know the tokens
// of github.com.
func TestSelfHostedRefusalIsNoProof(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: func(_ *world, c *app.Config) {
		c.Providers.SelfHosted = map[string]bool{"github": true}
	}})
	g := w.seeded()
	dead := w.token("elsewhere")
	w.github.KillToken(dead)
	head := w.leak(g, "elsewhere", "a.env", env(dead))
	w.settled(head)
	w.check(head, "is red", completed("failure"))
	// One that this very server took for live is dead when it refuses it.
	leaked := w.token("here")
	head = w.leak(g, "here", "b.env", env(leaked))
	w.settled(head)
	w.mustRotate("here", leaked)
}

// TestStoreThatFailsIsTriedAgain fails each call to the store once.
func TestStoreThatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: func(_ *world, c *app.Config) {
		c.SecretStores[0] = &shakyStore{SecretStore: c.SecretStores[0]}
	}})
	g := w.seeded()
	leaked := w.token("shaky")
	head := w.leak(g, "shaky", "a.env", env(leaked))
	w.settled(head)
	w.mustRotate("shaky", leaked)
	if n := w.github.LiveTokens("bot"); n != 1 {
		t.Errorf("%d live tokens, want the replacement alone", n)
	}
}

// shakyStore fails once in each of its methods with what a slow network says.
type shakyStore struct {
	app.SecretStore
	located, read, put, retired bool
}

func once(done *bool) error {
	if *done {
		return nil
	}
	*done = true
	return context.DeadlineExceeded
}

func (s *shakyStore) Locate(ctx context.Context, fp checks.Fingerprint) ([]secretstore.Location, error) {
	if err := once(&s.located); err != nil {
		return nil, err
	}
	return s.SecretStore.Locate(ctx, fp)
}

func (s *shakyStore) Get(ctx context.Context, at secretstore.Location) (secretstore.Content, error) {
	if err := once(&s.read); err != nil {
		return secretstore.Content{}, err
	}
	return s.SecretStore.Get(ctx, at)
}

// Put acts and then fails: its answer was lost.
func (s *shakyStore) Put(ctx context.Context, at secretstore.Location, values map[string]checks.Secret, operation string) (secretstore.Location, error) {
	put, err := s.SecretStore.Put(ctx, at, values, operation)
	if lost := once(&s.put); lost != nil {
		return secretstore.Location{}, lost
	}
	return put, err
}

func (s *shakyStore) Retire(ctx context.Context, at secretstore.Location) error {
	if err := once(&s.retired); err != nil {
		return err
	}
	return s.SecretStore.Retire(ctx, at)
}

// TestFetchThatTimesOutIsTriedAgain: a request that timed out is no scan that
// took too long.
func TestFetchThatTimesOutIsTriedAgain(t *testing.T) {
	var failed sync.Once
	w := newWorld(t, worldOptions{tamper: func(_ *world, c *app.Config) {
		c.GitHub.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			var err error
			if strings.HasSuffix(r.URL.Path, "/access_tokens") {
				failed.Do(func() { err = context.DeadlineExceeded })
			}
			if err != nil {
				return nil, err
			}
			return http.DefaultTransport.RoundTrip(r)
		})
	}})
	g := w.clone()
	head := g.commit("first", map[string]string{"a.env": env(w.token("slow"))})
	g.push("main")
	w.settled(head)
	w.check(head, "is red", completed("failure"))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestPolicyThatBecameAutomatic: a credential that waited is acted on when it is
// scanned again under a policy that allows it.
func TestPolicyThatBecameAutomatic(t *testing.T) {
	w := newWorld(t, worldOptions{policy: policyOf(app.Observe, app.Ask)})
	g := w.seeded()
	leaked := w.token("later")
	head := w.leak(g, "later", "a.env", env(leaked))
	w.settled(head)
	run := w.check(head, "is red", completed("failure"))
	w.restart(worldOptions{policy: automatic})
	w.must(w.github.Rerequest(run.ID, "dana"))
	w.eventually("it is rotated", func() bool { return !w.github.TokenLive(leaked) })
	w.eventually("and proved dead", func() bool { return w.audited("done prove_dead") == 1 })
	w.mustRotate("later", leaked)
}
