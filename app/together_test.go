package app_test

import (
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// TestTwoPeopleRotateByCommand is the whole way: the base branch's policy wants two
// people, a pull request leaks a live credential, one asks, another agrees, and the
// check is green when it is dead and out of the file.
func TestTwoPeopleRotateByCommand(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	w.person("erin", "write")
	g := w.seeded()
	w.judged(g, "two people", map[string]string{".github/stanch.yml": "people: {approvals: 1}\n"})
	leaked := w.token("two")
	head, number := w.pulled(g, "feature", "a.env", env(leaked))
	w.check(head, "is red with commands", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Text, "/stanch rotate")
	})
	for range 2 { // once more by the same person changes nothing
		w.say(number, "dana", "/stanch rotate")
	}
	w.check(head, "waits for a second person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && buttons(r) == "confirm_rotate revoke" && r.Title == "1 live credential, second person needed"
	})
	if !w.github.TokenLive(leaked) || w.stored("two") != leaked || w.audited("ask rotate") != 1 || w.audited("approve rotate") != 0 {
		t.Fatal("one person could have it rotated")
	}
	if got := w.say(number, "erin", "/stanch rotate 1 dana is right"); got != "eyes +1" {
		t.Errorf("reactions %q", got)
	}
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Title, "dead") && strings.Contains(r.Title, "remove it")
	})
	w.mustRotate("two", leaked)
	g.git("checkout", "--quiet", "feature")
	clean := g.commit("read it from the environment", map[string]string{"a.env": "REGION=eu\n"})
	g.push("feature")
	w.check(clean, "is green", func(r githubtest.CheckRun) bool {
		return completed("success")(r) && strings.Contains(r.Summary, "dead")
	})
	w.findNone(w.issued...)
}

// TestNobodyChoosesTheirJudge: a pull request into a branch whose policy wants less of
// people than the default branch's does not get less.
func TestNobodyChoosesTheirJudge(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	w.judged(g, "no bypass", map[string]string{".github/stanch.yml": "people: {bypass: false, approvals: 1}\n"})
	g.git("checkout", "--quiet", "-b", "lenient")
	base := g.commit("without a policy", map[string]string{".github/stanch.yml": ""})
	g.push("lenient")
	w.settled(base)
	head := w.leak(g, "topic", "a.env", unverifiable("DB"))
	s := &scene{world: w, tree: g}
	s.quiet() // the push is scanned before the pull request is
	number, err := w.github.OpenPull(w.repoName, "topic", "lenient", "Into another branch")
	w.must(err)
	s.quiet()
	w.check(head, "is red", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Text, "/stanch")
	})
	if got := w.say(number, "dana", "/stanch bypass it is urgent"); got != "eyes -1" {
		t.Errorf("reactions %q", got)
	}
	w.check(head, "is red", completed("failure"))
}

const passAll = "conclusion: {critical: success, high: success}\n"

// TestLostSideIsJudgedByItself: what a forced push takes away is not judged by what it
// puts there.
func TestLostSideIsJudgedByItself(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	w.silence()
	s := newScene(w, "lost")
	first := s.began()
	found := s.lose()
	lost := s.commit("leak", map[string]string{"lost.env": env(s.leak())})
	s.push("main")
	found()
	s.git("reset", "--quiet", "--hard", first)
	head := s.commit("weaken the judge", map[string]string{".github/stanch.yml": passAll, "new.env": env(s.leak())})
	s.push("--force", "main")
	s.expect(head, "failure", at(lost, "lost.env", 2), at(head, "new.env", 2))
	s.quiet()
	for _, run := range s.github.CheckRuns(s.repoName) {
		if strings.Contains(run.Summary, "Allowed") {
			t.Errorf("the new policy was heard:\n%s", run.Summary)
		}
	}
	// From now on it counts.
	next := s.commit("leak", map[string]string{"next.env": env(s.leak())})
	s.push("main")
	s.expect(next, "success", at(next, "next.env", 2))
}

// TestMergeGroupIsJudgedByItsBase: not by what the group brings, nor by what the
// default branch has become.
func TestMergeGroupIsJudgedByItsBase(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy(), cloud: true})
	w.silence()
	s := newScene(w, "group")
	base := s.began()
	weak := s.commit("weaken the judge", map[string]string{".github/stanch.yml": passAll})
	s.push("main")
	s.expect(weak, "success")
	s.git("checkout", "--quiet", "-b", "topic", base)
	head := s.commit("leak", map[string]string{".github/stanch.yml": passAll, "a.env": env(s.leak())})
	s.push("topic")
	s.expect(head, "success", at(head, "a.env", 2)) // a push, after what the default branch says
	_, err := s.github.Send(s.self.ID, s.repoName, "merge_group", map[string]any{
		"action": "checks_requested", "merge_group": map[string]any{"head_sha": head, "base_sha": base},
	})
	s.must(err)
	s.expect(head, "failure", at(head, "a.env", 2))
}

// TestBackfillIsJudgedByTheDefaultBranch: a branch that says otherwise is not heard.
func TestBackfillIsJudgedByTheDefaultBranch(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	w.silence()
	s := newScene(w, "unused")
	w.github.CreateOrganization("late")
	var err error
	w.repoName, err = w.github.CreateRepository("late", "old", githubtest.RepoOptions{Private: true})
	w.must(err)
	s.tree = w.clone()
	s.commit("policy", map[string]string{".github/stanch.yml": lenientDocs})
	main := s.commit("leak", map[string]string{"docs/a.env": env(s.leak())})
	s.git("checkout", "--quiet", "-b", "side")
	side := s.commit("weaken the judge", map[string]string{".github/stanch.yml": passAll, "src/b.env": env(s.leak())})
	s.push("main", "side")
	_, err = w.github.Install(w.self.ID, "late")
	w.must(err)
	s.expect(main, "neutral", at(main, "docs/a.env", 2))
	s.expect(side, "failure", at(side, "src/b.env", 2))
}

// TestAlertHearsTheRepository: where the operator lets repositories say what is done
// to credentials, they say it of GitHub's alerts too.
func TestAlertHearsTheRepository(t *testing.T) {
	p := automatic
	p.Repositories.May = []string{"remediation"}
	w := newWorld(t, worldOptions{policy: p})
	g := w.seeded()
	w.judged(g, "only report", map[string]string{".github/stanch.yml": "remediation: observe\n"})
	leaked := w.token("alert")
	_, err := w.github.FindSecret(w.repoName, "github_personal_access_token", leaked)
	w.must(err)
	w.eventually("the alert is taken over", func() bool { return w.audited("open incident") == 1 })
	w.judged(g, "next", map[string]string{"b.txt": "b\n"}) // a job later
	if !w.github.TokenLive(leaked) || w.audited("approve rotate") != 0 {
		t.Error("it was acted on")
	}
}
