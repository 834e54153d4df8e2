package app_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

// inParts is a world in which a run of a scan takes few commits.
func inParts(commits int) worldOptions {
	return worldOptions{policy: observing, tamper: func(_ *world, c *app.Config) { c.Turn = app.Turn{Commits: commits} }}
}

// A diary is what the App wrote into check runs, in order.
type diary struct {
	mu      sync.Mutex
	entries []diaryEntry
}

type diaryEntry struct {
	Status, Conclusion string
	Output             struct{ Title, Summary string }
}

// diary begins to take down what the App writes into check runs. Each goes on when
// hold, which may be nil, returns.
func (w *world) diary(hold func(diaryEntry)) *diary {
	d := &diary{}
	w.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if r.Method != http.MethodPatch || !strings.Contains(r.URL.Path, "/check-runs/") {
			return nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return githubtest.BadGateway()
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var e diaryEntry
		if json.Unmarshal(body, &e) != nil {
			return githubtest.BadGateway()
		}
		d.mu.Lock()
		d.entries = append(d.entries, e)
		d.mu.Unlock()
		if hold != nil {
			hold(e)
		}
		return nil
	})
	return d
}

// half keeps a diary, and tells when six commits are scanned, three at a time.
func (w *world) half() (*diary, <-chan struct{}) {
	reached, once := make(chan struct{}), sync.Once{}
	return w.diary(func(e diaryEntry) {
		if strings.HasPrefix(e.Output.Title, "Scanning: 6 of ") {
			once.Do(func() { close(reached) })
		}
	}), reached
}

// titles are what was written, with the conclusion before the title.
func (d *diary) titles() (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.entries {
		all = append(all, strings.TrimSpace(e.Conclusion+" "+e.Output.Title))
	}
	return all
}

// longPush has one check run, in progress until all is scanned, red as soon as
// something is found, and complete in the end.
func longPush(w *world) {
	t := w.t
	w.restart(inParts(4))
	s := newScene(w, "long")
	first := s.began()
	d := w.diary(nil)
	s.importCommits(10)
	s.git("checkout", "--quiet", "--force", "main")
	guilty := s.commit("leak", map[string]string{"a.env": env(s.leak()), "kept.env": env(s.leak())})
	s.git("checkout", "--quiet", "-b", "side", "HEAD~6")
	side := s.commit("leak on the side", map[string]string{"side.env": env(s.leak())})
	s.git("checkout", "--quiet", "main")
	s.git("merge", "--quiet", "--no-edit", "side")
	s.commit("remove it", map[string]string{"a.env": ""})
	s.importCommits(5)
	head := s.git("rev-parse", "main")
	s.push("main")
	run := s.expect(head, "failure", at(guilty, "a.env", 2), at(guilty, "kept.env", 2), at(side, "side.env", 2))
	s.check(head, "is over", func(r githubtest.CheckRun) bool {
		return !strings.Contains(r.Summary, "goes on") && strings.Contains(r.Summary, "| 19 |")
	})
	s.quiet()
	titles := d.titles()
	if !strings.HasPrefix(titles[0], "Scanning: 4 of 19 commits") {
		t.Errorf("the check run was told %q; want progress first", titles)
	}
	for _, title := range titles {
		if strings.HasPrefix(title, "success") || strings.HasPrefix(title, "neutral") || strings.HasPrefix(title, "action_required") {
			t.Errorf("it was %q before all was scanned", title)
		}
	}
	inTip := map[string]bool{}
	found, err := w.memory.Occurrences(t.Context(), run.ExternalID)
	w.must(err)
	for _, o := range found {
		inTip[o.Path] = o.InTip
	}
	if inTip["a.env"] || !inTip["kept.env"] || !inTip["side.env"] {
		t.Errorf("in the tip: %v; want what was not removed", inTip)
	}
	if got := s.ref("refs/heads/main"); got != head {
		t.Errorf("main was last scanned at %s, want %s", got, head)
	}
	w.scannedAs(head, first, "19", "3")
}

// scannedAs fails unless the audit log tells of one scan of a tip, like that.
func (w *world) scannedAs(tip, base, commits, findings string) {
	w.t.Helper()
	var all []string
	for e, err := range w.memory.AuditLog(w.t.Context()) {
		w.must(err)
		if e.Verb == "scan" && e.Detail["tip"] == tip {
			all = append(all, fmt.Sprint(e.Detail["base"], e.Detail["commits"], e.Detail["findings"]))
		}
	}
	if len(all) != 1 || all[0] != fmt.Sprint(base, commits, findings) {
		w.t.Errorf("scans of %s: %v; want one from %s with %s commits and %s findings", tip, all, base, commits, findings)
	}
}

// TestLongPushGoesOnAfterARestart: a part is scanned once, and the check lets nothing
// pass before the last one.
func TestLongPushGoesOnAfterARestart(t *testing.T) {
	o := inParts(3)
	o.policy.Conclusion = map[rules.Severity]report.Conclusion{rules.Medium: report.Neutral, rules.High: report.Neutral}
	w := newWorld(t, o)
	s := newScene(w, "restarted")
	first := s.began()
	d, half := w.half()
	guilty := s.commit("leak", map[string]string{"a.env": unverifiable("DB")})
	s.importCommits(14)
	head := s.git("rev-parse", "main")
	s.push("main")
	<-half
	w.restart(o)
	s.expect(head, "neutral", at(guilty, "a.env", 1))
	s.quiet()
	titles := d.titles()
	for n, title := range titles {
		if n < len(titles)-1 && !strings.HasPrefix(title, "Scanning: ") {
			t.Errorf("it was %q before all was scanned", title)
		}
	}
	w.scannedAs(head, first, "15", "1")
}

// TestLongPushIsScannedAnew: who wants the check run again in the middle gets a whole
// one, and nothing twice.
func TestLongPushIsScannedAnew(t *testing.T) {
	w := newWorld(t, inParts(3))
	s := newScene(w, "anew")
	first := s.began()
	_, half := w.half()
	s.importCommits(14)
	s.git("checkout", "--quiet", "--force", "main")
	head := s.commit("leak", map[string]string{"a.env": env(s.leak())})
	s.push("main")
	<-half
	run := w.check(head, "is in progress", func(r githubtest.CheckRun) bool { return r.Status == "in_progress" })
	w.must(w.github.Rerequest(run.ID, "dana"))
	s.quiet()
	s.expect(head, "failure", at(head, "a.env", 2))
	w.scannedAs(head, first, "15", "1")
}

// slowGit stands before a GitHub whose git does not answer who wants more files than
// most at once.
func slowGit(t *testing.T, to string, most int) string {
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		plain := body
		if zipped, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			plain, _ = io.ReadAll(zipped)
		}
		if strings.HasSuffix(r.URL.Path, "/git-upload-pack") && bytes.Count(plain, []byte("want ")) > most {
			<-r.Context().Done()
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestSlowPushIsScannedInSmallerParts: what takes longer than one run of the job may
// is cut until it does not.
func TestSlowPushIsScannedInSmallerParts(t *testing.T) {
	t.Parallel() // it waits for what takes too long
	w := newWorld(t, worldOptions{policy: observing, tamper: func(w *world, c *app.Config) {
		c.Turn.Time = 10 * time.Second
		c.GitHub.URL = slowGit(w.t, w.github.URL(), 5)
	}})
	s := newScene(w, "slow")
	first := s.began()
	guilty := s.commit("leak", map[string]string{"a.env": env(s.leak())})
	s.importCommits(12)
	s.git("checkout", "--quiet", "--force", "main")
	head := s.commit("remove it", map[string]string{"a.env": ""})
	s.push("main")
	s.expect(head, "failure", at(guilty, "a.env", 2))
	s.quiet()
	s.expect(head, "failure", at(guilty, "a.env", 2))
	w.scannedAs(head, first, "14", "1")
}
