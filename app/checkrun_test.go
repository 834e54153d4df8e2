package app_test

import (
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// shortLabels are GitHub's limits for a check run's buttons.
func shortLabels(t *testing.T, run githubtest.CheckRun) {
	t.Helper()
	if len(run.Actions) > 3 {
		t.Errorf("%d buttons", len(run.Actions))
	}
	for _, b := range run.Actions {
		if len(b.Label) > 20 || len(b.Description) > 40 || len(b.Identifier) > 20 {
			t.Errorf("too long: %+v", b)
		}
	}
}

// TestCheckRunSaysWhatToDo looks at the check run of a pull request as a person
// who has to act on it.
func TestCheckRunSaysWhatToDo(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	leaked := w.token("surface")
	head, _ := w.pulled(g, "surface", "a.env", env(leaked))
	run := w.check(head, "is red with buttons and commands", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && buttons(r) == "rotate revoke" && strings.Contains(r.Text, "/stanch rotate")
	})
	shortLabels(t, run)
	if run.Title != "1 live credential, decision needed" {
		t.Errorf("title %q", run.Title)
	}
	for _, want := range []string{"| 1 | GitHub personal access token", "`a.env:2` in `" + head[:7] + "`", "| active |", "acts as bot; may repo, workflow &#40;write&#41;", "Waiting for a decision", "Press a button"} {
		if !strings.Contains(run.Summary, want) {
			t.Errorf("the summary lacks %q:\n%s", want, run.Summary)
		}
	}
	if !strings.Contains(run.Text, `+2 './a.env'`) {
		t.Errorf("the text does not say how to take it out:\n%s", run.Text)
	}
}

// pulled pushes a file to a new branch with an open pull request, and returns the
// head commit and the number.
func (w *world) pulled(g *tree, branch, file, text string) (head string, number int) {
	w.t.Helper()
	head = w.leak(g, branch, file, text)
	number, err := w.github.OpenPull(w.repoName, branch, "main", branch)
	w.must(err)
	return head, number
}
