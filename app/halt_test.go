package app_test

import (
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// TestHalt stops everything before a leak: nothing is done, the check says who stopped
// it, and what waits goes on afterwards.
func TestHalt(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.seeded()
	w.must(w.app.Halt(t.Context(), "api:dana", "the vault is being moved"))
	leaked := w.token("halt")
	head := w.leak(g, "halt", "a.env", env(leaked))
	run := w.check(head, "says that all is halted", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "halted all remediations")
	})
	if !strings.Contains(run.Summary, "dana halted") || !strings.Contains(run.Summary, "the vault is being moved") || !strings.Contains(run.Summary, "stanch incidents resume") {
		t.Errorf("who halted it, why, and how it goes on is not told:\n%s", run.Summary)
	}
	if !w.github.TokenLive(leaked) || w.stored("halt") != leaked || w.audited("attempt issue") != 0 {
		t.Fatal("something was done while all was halted")
	}
	w.must(w.app.Resume(t.Context(), "api:dana", "it is moved"))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.mustRotate("halt", leaked)
	if w.audited("halt") != 1 || w.audited("resume") != 1 {
		t.Error("the audit log does not tell who halted and resumed")
	}
}

// TestTooManyAtOnce leaks more live credentials in an hour than may be replaced by
// themselves: what is over waits for a person, who can have it done.
func TestTooManyAtOnce(t *testing.T) {
	few := automatic
	few.AutomaticPerHour = 1
	w := newWorld(t, worldOptions{policy: few})
	g := w.seeded()
	first, second := w.token("first"), w.token("second")
	head := w.leak(g, "first", "a.env", env(first))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.mustRotate("first", first)
	head = w.leak(g, "second", "a.env", env(second))
	run := w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "as many as the policy allows") && buttons(r) == "rotate revoke"
	})
	if !w.github.TokenLive(second) || w.stored("second") != second || w.audited("leave remediation") != 1 {
		t.Fatal("more was done than the policy allows")
	}
	w.must(w.github.PressButton(run.ID, "rotate", "dana"))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.mustRotate("second", second)
}

// TestOrdersThatFitNothing are refused, and change nothing.
func TestOrdersThatFitNothing(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.seeded()
	leaked := w.token("done")
	head := w.leak(g, "done", "a.env", env(leaked))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.eventually("it is retired", func() bool { return w.audited("done retire") == 1 })
	id := w.incidentOf(leaked).ID
	for name, err := range map[string]error{
		"undo":     w.app.Undo(t.Context(), id, "api:dana", "I need it"),
		"end hold": w.app.EndHold(t.Context(), id, "api:dana", "now"),
		"confirm":  w.app.Confirm(t.Context(), id, "api:dana", "nobody"),
		"nothing":  w.app.Undo(t.Context(), "no-such-incident", "api:dana", "I need it"),
	} {
		if err == nil {
			t.Errorf("%s was carried out", name)
		}
	}
	if w.github.TokenLive(leaked) || w.audited("approve undo") != 0 {
		t.Error("a refused order has left traces")
	}
}
