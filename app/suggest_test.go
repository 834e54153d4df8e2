package app_test

import (
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// TestSuggestions has a pull request whose secret stands in code, and has moved
// since the commit that added it.
func TestSuggestions(t *testing.T) {
	policy := app.DefaultPolicy()
	policy.Suggestions = true
	w := newWorld(t, worldOptions{policy: policy})
	g := w.seeded()
	leaked := w.token("suggest")
	line := "var token = \"" + leaked + "\"\n"
	g.git("checkout", "--quiet", "-b", "suggest", "main")
	g.commit("leak", map[string]string{"main.go": "package main\n\n" + line})
	head := g.commit("move it", map[string]string{"main.go": "package main\n\nimport \"os\"\n\n" + line + "\nfunc main() { os.Exit(0) }\n"})
	g.push("suggest")
	number, err := w.github.OpenPull(w.repoName, "suggest", "main", "suggest")
	w.must(err)
	w.eventually("there is a suggestion", func() bool { return len(w.github.ReviewComments(w.repoName, number)) > 0 })
	got := w.github.ReviewComments(w.repoName, number)
	if len(got) != 1 || got[0].Path != "main.go" || got[0].Line != 5 || !strings.Contains(got[0].Body, "```suggestion\nvar token = os.Getenv(\"TOKEN\")\n```") {
		t.Errorf("suggestions %+v", got)
	}
	if strings.Contains(string(w.github.Everything()), leaked) {
		t.Error("the suggestion repeats the secret")
	}
	// Scanned again, nothing is suggested twice.
	run := w.check(head, "is red", completed("failure"))
	scans := w.audited("scan")
	w.must(w.github.Rerequest(run.ID, "dana"))
	w.eventually("it is scanned again", func() bool { return w.audited("scan") >= scans+2 })
	w.check(head, "is red", func(r githubtest.CheckRun) bool { return completed("failure")(r) })
	if n := len(w.github.ReviewComments(w.repoName, number)); n != 1 {
		t.Errorf("%d suggestions after a re-run", n)
	}
}
