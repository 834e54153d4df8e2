package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/store"
)

// lostHour is what a repository looks like after an hour without webhooks.
type lostHour struct {
	*scene
	main, topic string // where the branches are now
	guilty      string // what main has on the way there
}

// loseHour pushes to several refs while every webhook is lost.
func loseHour(s *scene) lostHour {
	h := lostHour{scene: s}
	s.began()
	s.quiet()
	found := s.lose()
	h.guilty = s.commit("leak", map[string]string{"a.env": env(s.leak())})
	s.push("main")
	h.main = s.commit("remove it", map[string]string{"a.env": ""})
	s.push("main")
	s.git("checkout", "--quiet", "-b", "topic")
	h.topic = s.commit("another", map[string]string{"b.env": env(s.leak())})
	s.push("topic")
	found()
	return h
}

// sweepBy restarts the App with sweeps.
func (h lostHour) sweepBy(sweep app.Sweep) {
	h.restart(worldOptions{policy: observing, sweep: sweep})
}

// scannedOnce fails unless every branch's tip has its result, and nothing was
// scanned twice.
func (h lostHour) scannedOnce() {
	h.t.Helper()
	h.expect(h.topic, "failure", at(h.topic, "b.env", 2))
	h.expect(h.main, "failure", at(h.guilty, "a.env", 2))
	h.quiet()
	for name, want := range map[string]string{"refs/heads/main": h.main, "refs/heads/topic": h.topic} {
		if got := h.ref(name); got != want {
			h.t.Errorf("%s was last scanned at %s, want %s", name, got, want)
		}
	}
	scans := map[string]int{}
	for e, err := range h.memory.AuditLog(h.t.Context()) {
		h.must(err)
		if e.Verb == "scan" && e.Detail["commits"] != "0" { // a delivery that comes late finds all done
			scans[e.Detail["tip"]]++
		}
	}
	for sha, n := range scans {
		if n != 1 {
			h.t.Errorf("%s was scanned %d times", sha, n)
		}
	}
	if scans[h.main] != 1 || scans[h.topic] != 1 {
		h.t.Errorf("scans by tip: %v", scans)
	}
}

// often is short enough for tests, which wait for what comes of it.
const often = 200 * time.Millisecond

var sweepCases = []coverageCase{
	{"no event", "all deliveries of an hour are lost", "GitHub is asked for them again: every ref is scanned, once", false, nil, func(w *world) {
		lostHourCase(w, app.Sweep{Deliveries: time.Hour})
	}},
	{"no event", "all deliveries of an hour are lost for good", "the refs are compared with what was scanned: every one is scanned, once", false, nil, func(w *world) {
		lostHourCase(w, app.Sweep{Refs: time.Hour})
	}},
	{"no event", "more than 3 tags, and more than 5,000 branches at once", "GitHub does not tell; the refs are compared with what was scanned", false, nil, tooManyRefs},
	{"installation", "created, and Stanch is restarted meanwhile", "the backfill goes on where it was", false, nil, backfillResumes},
}

func lostHourCase(w *world, sweep app.Sweep) {
	w.withoutBackfill()
	h := loseHour(newScene(w, "hour"))
	h.sweepBy(sweep)
	h.await("the sweep to begin", func() bool { return h.ref("refs/heads/main") == h.main && h.ref("refs/heads/topic") == h.topic })
	h.scannedOnce()
	for range 2 { // and again: nothing is left to find
		h.sweepBy(app.Sweep{Deliveries: often, Refs: often})
		time.Sleep(2 * often)
		h.scannedOnce()
	}
}

// withoutBackfill has GitHub forget that the App's first event was not delivered.
func (w *world) withoutBackfill() {
	w.t.Helper()
	w.must(w.github.WaitDeliveries(w.t.Context()))
	for _, d := range w.github.Deliveries() {
		if d.Event == "installation" {
			w.must(w.github.Redeliver(d.GUID))
		}
	}
	w.must(w.github.WaitDeliveries(w.t.Context()))
}

// tooManyRefs pushes more tags and branches than GitHub tells of.
func tooManyRefs(w *world) {
	t, s := w.t, newScene(w, "many")
	s.began()
	s.quiet()
	deliveries := len(s.github.Deliveries())

	tags := make([]string, 0, githubtest.MaxPushTags+1)
	heads := map[string]string{} // by tag
	for n := range githubtest.MaxPushTags + 1 {
		s.git("checkout", "--quiet", "--detach", "main")
		name := fmt.Sprintf("v%d", n)
		heads[name] = s.commit("leak", map[string]string{"t.env": env(s.leak())})
		s.git("tag", name)
		tags = append(tags, name)
	}
	s.push(tags...)
	branch := s.branches(githubtest.MaxPushBranches + 1)
	s.push("refs/many/*:refs/heads/many/*")
	s.must(s.github.WaitDeliveries(t.Context()))
	if n := len(s.github.Deliveries()); n != deliveries {
		t.Fatalf("GitHub told of %d events", n-deliveries)
	}

	s.restart(worldOptions{policy: observing, sweep: app.Sweep{Refs: time.Hour}})
	for name, head := range heads {
		s.expect(head, "failure", at(head, "t.env", 2))
		if got := s.ref("refs/tags/" + name); got != head {
			t.Errorf("%s was last scanned at %s, want %s", name, got, head)
		}
	}
	s.expect(branch, "failure", at(branch, "b.env", 2))
	installation, repo := s.ids()
	var refs map[string]string
	want := 1 + len(tags) + githubtest.MaxPushBranches + 1
	s.await(fmt.Sprintf("%d refs to be remembered", want), func() (all bool) { // the last ones after the report
		var err error
		refs, err = s.memory.Refs(t.Context(), installation, repo)
		s.must(err)
		return len(refs) >= want
	})
	for name, sha := range refs {
		if strings.HasPrefix(name, "refs/heads/many/") && sha != branch {
			t.Errorf("%s was last scanned at %s, want %s", name, sha, branch)
		}
	}
	if len(refs) != want {
		t.Errorf("%d refs are remembered, want %d", len(refs), want)
	}
}

// branches makes n refs at a commit with a leak.
func (s *scene) branches(n int) string {
	s.t.Helper()
	s.git("checkout", "--quiet", "--detach", "main")
	head := s.commit("leak", map[string]string{"b.env": env(s.leak())})
	var commands strings.Builder
	for i := range n {
		fmt.Fprintf(&commands, "create refs/many/%d %s\n", i, head)
	}
	s.feed(commands.String(), "update-ref", "--stdin")
	return head
}

// backfillResumes stops the App in the middle of a history of several chunks.
func backfillResumes(w *world) {
	t := w.t
	w.github.DropDeliveries(func(githubtest.Delivery) bool { return true })
	s := newScene(w, "resumed")
	first := s.commit("leak", map[string]string{"first.env": env(s.leak())})
	s.importCommits(1200)
	s.git("checkout", "--quiet", "--force", "main")
	last := s.commit("leak", map[string]string{"last.env": env(s.leak())})
	found := s.lose()
	s.push("main")
	found()
	w.withoutBackfill() // which begins with it
	_, repo := int64(0), int64(0)
	s.await("the first chunk", func() bool {
		_, repo = s.ids()
		b, err := s.memory.Backfill(t.Context(), repo)
		return err == nil && b.Commits > 0
	})
	s.restart(worldOptions{policy: observing})
	s.await("the backfill to end", func() bool {
		b, err := s.memory.Backfill(t.Context(), repo)
		return err == nil && !b.Finished.IsZero()
	})
	s.expect(last, "failure", at(first, "first.env", 2), at(last, "last.env", 2))
	if b, err := s.memory.Backfill(t.Context(), repo); err != nil || b.Commits != 1202 {
		t.Errorf("%d commits were scanned, want 1202, each once: %v", b.Commits, err)
	}
	if got := s.ref("refs/heads/main"); got != last {
		t.Errorf("main was last scanned at %s, want %s", got, last)
	}
}

// TestSweepsAskLittle: where nobody pushed, neither a token nor the refs are asked for,
// and the list of repositories that says so is not sent again.
func TestSweepsAskLittle(t *testing.T) {
	o := worldOptions{policy: observing, sweep: app.Sweep{Refs: time.Hour}, tamper: func(_ *world, cfg *app.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(time.Hour) } // it is a while ago that somebody pushed
	}}
	s := newScene(newWorld(t, o), "calm")
	s.began()
	_, id := s.ids()
	s.await("the history to be scanned", func() bool {
		b, err := s.memory.Backfill(t.Context(), id)
		return err == nil && !b.Finished.IsZero()
	})
	swept := func() time.Time {
		r, err := s.memory.Repository(t.Context(), id)
		s.must(err)
		return r.Swept
	}
	asked := func(since int, path string, status int) (n int) {
		for _, r := range s.github.Requests()[since:] {
			if strings.HasSuffix(r.Path, path) && r.Status == status {
				n++
			}
		}
		return n
	}
	// sweep sweeps, and counts how often refs are asked for.
	sweep := func() int {
		before := len(s.github.Requests())
		s.restart(o)
		s.await("the sweep", func() bool { return asked(before, "/installation/repositories", http.StatusOK) > 0 })
		s.quiet()
		return asked(before, s.repoName+".git/info/refs", http.StatusOK)
	}
	sweep()
	s.await("the first sweep", func() bool { return !swept().IsZero() })
	first := swept()
	if refs := sweep(); refs != 0 || !swept().Equal(first) {
		t.Errorf("the refs were asked for %d times though nobody pushed", refs)
	}
	s.must(s.memory.InTx(t.Context(), func(tx *store.Tx) error { return tx.SetSwept(t.Context(), id, first.AddDate(0, 0, -1)) }))
	sweep()
	s.await("the daily sweep", func() bool { return !swept().Before(first) })

	before := len(s.github.Requests())
	o.sweep.Refs = often
	s.restart(o)
	s.await("a list that has not changed", func() bool { return asked(before, "/installation/repositories", http.StatusNotModified) > 2 })
	if refs := asked(before, s.repoName+".git/info/refs", http.StatusOK); refs != 0 {
		t.Errorf("the refs were asked for %d times", refs)
	}
}
