package app_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// metrics is what Prometheus is told.
func (w *world) metrics() string {
	w.t.Helper()
	resp, err := http.Get(w.hook.URL + "/metrics")
	w.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	w.must(err)
	return string(text)
}

// TestTimelineIsTold: how long a leak took to die is told by the check run, the dashboard
// and the metrics, and counted once however often it is found.
func TestTimelineIsTold(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: withDashboard})
	w.person("stranger", "none")
	g := w.seeded()
	leaked := w.token("slow")
	head := w.leak(g, "leak", "a.env", env(leaked))
	w.settled(head)
	run := w.check(head, "tells of its death", func(r githubtest.CheckRun) bool { return strings.Contains(r.Summary, "· dead +") })
	const whole = `- ` + "`a.env:2`" + `: pushed \d\d:\d\d:\d\d UTC · delivered \+\d\.\d s · found \+\d+\.\d s · verified \+\d+\.\d s · contained \+\d+\.\d s · rotated \+\d+\.\d s · dead \+\d+\.\d s\n`
	if !regexp.MustCompile(whole).MatchString(run.Summary) {
		t.Errorf("the check run does not tell the timeline:\n%s", run.Summary)
	}
	again := w.leak(g, "again", "b.env", env(leaked))
	w.settled(again)

	page := w.metrics()
	for _, stage := range []string{"delivered", "detected", "verified", "contained", "rotated", "proved_dead"} {
		holds(t, page, `stanch_stage_seconds_count{rule="github-pat",stage="`+stage+`"} 1`)
	}
	b := w.browse("dana")
	holds(t, b.must("/incidents"), `href="/times"`)
	holds(t, b.must("/incidents/"+b.incident()), "<b>Pushed</b>", "Counted from the push")
	times := b.must("/times")
	holds(t, times, "<code>github-pat</code>", `data-label="Proved dead">1<`)
	holdsNot(t, times, "All kinds", leaked)
	if status, _ := w.browse("stranger").get("/times"); status != http.StatusNotFound {
		t.Errorf("a stranger gets %d", status)
	}
}

// TestPushIsNotKnown: what a pull request brings when it is opened was pushed some time
// before, so that time is counted from the delivery.
func TestPushIsNotKnown(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy(), tamper: withDashboard})
	g := w.seeded()
	g.git("checkout", "--quiet", "-b", "old")
	head := g.commit("leak", map[string]string{"a.env": env(w.token("old"))})
	bare, err := w.github.RepositoryDir(w.repoName)
	w.must(err)
	g.git("push", "--quiet", bare, "old") // nobody is told of it
	_, err = w.github.OpenPull(w.repoName, "old", "main", "old")
	w.must(err)
	run := w.check(head, "tells of it", func(r githubtest.CheckRun) bool { return strings.Contains(r.Summary, "· verified +") })
	if strings.Contains(run.Summary, "pushed") || !strings.Contains(run.Summary, ": delivered ") {
		t.Errorf("the time of the push is not known:\n%s", run.Summary)
	}
	b := w.browse("dana")
	page := b.must("/incidents/" + b.incident())
	holds(t, page, "Counted from the delivery")
	holdsNot(t, page, "<b>Pushed</b>")
}
