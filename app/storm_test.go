package app_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// A storm is how many deliveries come from how many installations, and what of them
// is no news. GitHub fails as often as it says.
type storm struct {
	deliveries, duplicates, forged int
	installations                  int
	branches                       int // of each one's repository
	atOnce                         int
	limited, failing               float64 // of the answers of GitHub's API
}

// stormSize is the storm where somebody waits for the tests, and fullStorm in CI.
var (
	stormSize = storm{deliveries: 200, duplicates: 20, forged: 10, installations: 10, branches: 2, atOnce: 50, limited: 0.02, failing: 0.03}
	fullStorm = storm{deliveries: 5000, duplicates: 500, forged: 250, installations: 50, branches: 3, atOnce: 200, limited: 0.02, failing: 0.03}
)

const (
	// mostWait is how long GitHub waits for the answer to a delivery.
	mostWait = 10 * time.Second
	// stormShare is the part of the pushes that come from the first installation.
	stormShare = 3
	// stormLeaks is of how many pushes one leaks.
	stormLeaks = 40
)

// A stormPush is one push of the storm.
type stormPush struct {
	repository, ref, before, after string
	body                           []byte
	leaks                          bool
}

// A sending is one delivery on its way.
type sending struct {
	push   *stormPush
	guid   string
	forged bool
	status int
	took   time.Duration
}

// A town is an installation with one repository.
type town struct {
	name  string
	tips  map[string]string // last pushed commit, by ref
	first string            // the commit on which all is built
	ghost string            // a commit that only forged deliveries speak of
	ends  time.Time         // when its last push was checked
}

// TestWebhookStorm: many installations push at once, and GitHub has a bad day.
func TestWebhookStorm(t *testing.T) {
	size := stormSize
	if os.Getenv("STANCH_CI") != "" && !raced {
		size = fullStorm
	}
	w := newWorld(t, worldOptions{policy: observing, cloud: true})
	random := rand.New(rand.NewPCG(7, 11))
	pushes := size.deliveries - size.duplicates - size.forged
	towns, all := w.build(size, pushes, random)
	sendings := size.schedule(towns, all, random)
	w.misbehave(size)

	begun := time.Now()
	w.send(sendings, size.atOnce)
	sent := time.Since(begun)
	w.accepted(sendings)
	w.allChecked(all, begun)
	t.Logf("%d deliveries were sent in %s, and their %d pushes checked in %s: %.1f pushes a second",
		len(sendings), sent.Round(time.Millisecond), len(all), time.Since(begun).Round(time.Millisecond), float64(len(all))/time.Since(begun).Seconds())
	w.github.Limit(nil)
	w.await("nothing to be queued", func() bool {
		n, err := w.memory.Working(t.Context())
		w.must(err)
		return n == 0
	})
	w.oneRunEach(all, towns)
	w.inOrder(towns)
	w.noneStarved(towns, all, begun)
}

// build makes the installations with their repositories, which already have the commits
// that the storm will speak of, and lists the pushes, those of a ref in their order.
func (w *world) build(size storm, pushes int, random *rand.Rand) (towns []*town, all []*stormPush) {
	w.t.Helper()
	for n := range size.installations {
		login := fmt.Sprintf("town-%d", n)
		w.github.CreateOrganization(login)
		name, err := w.github.CreateRepository(login, "works", githubtest.RepoOptions{Private: true})
		w.must(err)
		town := &town{name: name, tips: map[string]string{}}
		w.populate(town)
		_, err = w.github.Install(w.self.ID, login)
		w.must(err)
		towns = append(towns, town)
	}
	w.must(w.github.WaitDeliveries(w.t.Context()))
	w.await("the first commits to be scanned", func() bool {
		n, err := w.memory.Working(w.t.Context())
		w.must(err)
		return n == 0
	})
	queues := [][]*stormPush{}
	heavy := pushes / stormShare
	for n, town := range towns {
		count := heavy
		if n > 0 {
			count = (pushes - heavy) / (size.installations - 1)
			if n <= (pushes-heavy)%(size.installations-1) {
				count++
			}
		}
		queues = append(queues, w.grow(town, size.branches, count)...)
	}
	for len(queues) > 0 { // mixed, in each ref's order
		n := random.IntN(len(queues))
		all = append(all, queues[n][0])
		if queues[n] = queues[n][1:]; len(queues[n]) == 0 {
			queues = slices.Delete(queues, n, n+1)
		}
	}
	return towns, all
}

// bare is a town's repository on GitHub itself.
func (w *world) bare(town *town) *tree {
	w.t.Helper()
	dir, err := w.github.RepositoryDir(town.name)
	w.must(err)
	return &tree{w: w, dir: dir}
}

// stormCommit is a commit in the form that git fast-import reads.
func stormCommit(ref, from, path, text string) string {
	if from != "" {
		from = "from " + from + "\n"
	}
	return fmt.Sprintf("commit %s\ncommitter Dana <dana@acme.example> 1700000000 +0000\ndata 4\npush\n%sM 100644 inline %s\ndata %d\n%s\n",
		ref, from, path, len(text), text)
}

// populate gives a town's repository a first commit, and one that nobody pushes.
func (w *world) populate(town *town) {
	w.t.Helper()
	bare := w.bare(town)
	bare.feed(stormCommit("refs/heads/main", "", "README.md", "# "+town.name+"\n")+
		stormCommit("refs/heads/ghost", "refs/heads/main", "ghost.txt", "boo\n"), "fast-import", "--quiet")
	town.first, town.ghost = bare.git("rev-parse", "main"), bare.git("rev-parse", "ghost")
	bare.git("update-ref", "-d", "refs/heads/ghost")
}

// grow gives a town's repository the commits that will be pushed, one each, as a line
// for each branch.
func (w *world) grow(town *town, branches, pushes int) (queues [][]*stormPush) {
	w.t.Helper()
	bare := w.bare(town)
	var stream strings.Builder
	leaks := map[string]bool{}
	for n := range pushes {
		ref, from := fmt.Sprintf("refs/heads/b%d", n%branches), ""
		if n < branches {
			from = "refs/heads/main"
		}
		text := fmt.Sprintf("change %d\n", n)
		if n%stormLeaks == stormLeaks/2 {
			token, err := w.github.IssueToken("bot", githubtest.ClassicToken)
			w.must(err)
			w.issued = append(w.issued, token)
			text = env(token)
			leaks[fmt.Sprint(ref, " ", n/branches)] = true
		}
		stream.WriteString(stormCommit(ref, from, fmt.Sprintf("%d.txt", n%7), text))
	}
	bare.feed(stream.String(), "fast-import", "--quiet")
	for b := range min(branches, pushes) {
		ref, before := fmt.Sprintf("refs/heads/b%d", b), town.first
		var queue []*stormPush
		for n, after := range strings.Fields(bare.git("rev-list", "--reverse", "main.."+ref)) {
			queue = append(queue, w.stormPush(town, ref, before, after, leaks[fmt.Sprint(ref, " ", n)]))
			before, town.tips[ref] = after, after
		}
		queues = append(queues, queue)
	}
	return queues
}

// stormPush is a push with the event that GitHub sends about it.
func (w *world) stormPush(town *town, ref, before, after string, leaks bool) *stormPush {
	w.t.Helper()
	login, name, _ := strings.Cut(town.name, "/")
	installation := w.github.Installed(w.self.ID, login)
	repos, err := w.memory.RepositoriesIn(w.t.Context(), installation)
	w.must(err)
	if len(repos) != 1 {
		w.t.Fatalf("%d repositories of %s are known", len(repos), login)
	}
	type object = map[string]any
	body, err := json.Marshal(object{
		"ref": ref, "before": before, "after": after, "created": false, "deleted": false, "forced": false,
		"head_commit": object{"id": after}, "commits": []any{}, "installation": object{"id": installation},
		"sender": object{"id": 1, "login": "dana", "type": "User"},
		"repository": object{
			"id": repos[0].ID, "name": name, "full_name": town.name, "private": true, "default_branch": "main",
			"owner": object{"id": 2, "login": login, "type": "Organization"},
		},
	})
	w.must(err)
	return &stormPush{repository: town.name, ref: ref, before: before, after: after, body: body, leaks: leaks}
}

// schedule is what is sent, in order: every push, some twice, and some forged.
func (size storm) schedule(towns []*town, all []*stormPush, random *rand.Rand) []*sending {
	ghosts := map[string]string{}
	for _, t := range towns {
		ghosts[t.name] = t.ghost
	}
	var list []*sending
	for _, p := range all {
		list = append(list, &sending{push: p, guid: uuid.NewString()})
	}
	firsts := slices.Clone(list)
	add := func(s sending) { list = slices.Insert(list, random.IntN(len(list)), &s) }
	for _, n := range random.Perm(len(all))[:size.duplicates] {
		add(*firsts[n])
	}
	for range size.forged {
		forged := *all[random.IntN(len(all))]
		forged.body = bytes.ReplaceAll(forged.body, []byte(forged.after), []byte(ghosts[forged.repository]))
		add(sending{push: &forged, guid: uuid.NewString(), forged: true})
	}
	return list
}

// misbehave has GitHub's API refuse, for a second, or fail, at random.
func (w *world) misbehave(size storm) {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(3, 5))
	w.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		mu.Lock()
		defer mu.Unlock()
		switch dice := random.Float64(); {
		case dice < size.limited:
			answer := githubtest.SecondaryLimit(time.Second)
			answer.Status = http.StatusTooManyRequests
			return answer
		case dice < size.limited+size.failing:
			return githubtest.BadGateway()
		}
		return nil
	})
}

// send posts all deliveries, so many at once.
func (w *world) send(list []*sending, atOnce int) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	defer client.CloseIdleConnections()
	next := make(chan *sending)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for s := range next {
				w.sendOne(client, s)
			}
		})
	}
	for _, s := range list {
		next <- s
	}
	close(next)
	wg.Wait()
}

func (w *world) sendOne(client *http.Client, s *sending) {
	body, secret := s.push.body, w.self.WebhookSecret
	if s.forged {
		secret = "not the secret"
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	req, err := http.NewRequest("POST", w.hook.URL+"/webhook", bytes.NewReader(body))
	if err != nil {
		w.t.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", "push")
	req.Header.Set("X-GitHub-Delivery", s.guid)
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	begun := time.Now()
	resp, err := client.Do(req)
	s.took = time.Since(begun)
	if err != nil {
		w.t.Error(err)
		return
	}
	resp.Body.Close()
	s.status = resp.StatusCode
}

// accepted fails unless every delivery was answered in time as it should be.
func (w *world) accepted(list []*sending) {
	w.t.Helper()
	var took []time.Duration
	statuses := map[string]int{}
	for _, s := range list {
		want := http.StatusAccepted
		if s.forged {
			want = http.StatusUnauthorized
		}
		if s.status != want {
			statuses[fmt.Sprintf("%d instead of %d", s.status, want)]++
		}
		took = append(took, s.took)
	}
	slices.Sort(took)
	at := func(part float64) time.Duration {
		return took[int(part*float64(len(took)-1))].Round(time.Millisecond)
	}
	w.t.Logf("answers to deliveries took %s (p50), %s (p99), %s at the most", at(0.5), at(0.99), at(1))
	if len(statuses) > 0 || at(1) > mostWait && !raced { // which makes everything slow, beside other tests
		w.t.Errorf("answers: %v; the last one took %s", statuses, at(1))
	}
}

// allChecked waits until every push has a completed check run.
func (w *world) allChecked(all []*stormPush, begun time.Time) {
	w.t.Helper()
	left := map[string]bool{}
	for _, p := range all {
		left[p.after] = true
	}
	const limit = 20 * time.Minute // a quiet machine with two processors takes three
	for seen := 0; len(left) > 0; time.Sleep(50 * time.Millisecond) {
		w.mu.Lock()
		fresh := w.events[seen:]
		seen = len(w.events)
		w.mu.Unlock()
		for _, e := range fresh {
			if e.Stage == app.Checked {
				delete(left, e.HeadSHA)
			}
		}
		if time.Since(begun) > limit {
			w.t.Fatalf("%d of %d pushes are not checked after %s\n%s", len(left), len(all), limit, w.logs)
		}
	}
}

// oneRunEach fails unless each push has one check run, which is completed and not green
// where it leaks; and nothing else has any.
func (w *world) oneRunEach(all []*stormPush, towns []*town) {
	w.t.Helper()
	runs := map[string][]githubtest.CheckRun{}
	for _, town := range towns {
		for _, run := range w.github.CheckRuns(town.name) {
			runs[run.HeadSHA] = append(runs[run.HeadSHA], run)
		}
		if len(runs[town.ghost]) > 0 {
			w.t.Errorf("a forged delivery was believed in %s", town.name)
		}
	}
	if len(runs) != len(all) {
		w.t.Errorf("%d commits have check runs, %d were pushed", len(runs), len(all))
	}
	for _, p := range all {
		got := runs[p.after]
		if len(got) != 1 || got[0].Status != "completed" || p.leaks && got[0].Conclusion != "failure" || got[0].Conclusion == "action_required" {
			w.t.Errorf("%s of %s has %d check runs: %+v", p.after, p.repository, len(got), got)
		}
	}
}

// inOrder fails unless each ref is remembered where its last push left it.
func (w *world) inOrder(towns []*town) {
	w.t.Helper()
	for _, town := range towns {
		login, _, _ := strings.Cut(town.name, "/")
		installation := w.github.Installed(w.self.ID, login)
		repos, err := w.memory.RepositoriesIn(w.t.Context(), installation)
		w.must(err)
		for ref, want := range town.tips {
			got, err := w.memory.Ref(w.t.Context(), installation, repos[0].ID, ref)
			if err != nil || got != want {
				w.t.Errorf("%s of %s was last scanned at %s, want %s: %v", ref, town.name, got, want, err)
			}
		}
	}
}

// noneStarved fails unless those who push little are done well before the one who
// pushes much.
func (w *world) noneStarved(towns []*town, all []*stormPush, begun time.Time) {
	w.t.Helper()
	byName := map[string]*town{}
	for _, t := range towns {
		byName[t.name] = t
	}
	w.mu.Lock()
	for _, e := range w.events {
		if t := byName[e.Repository]; t != nil && e.Stage == app.Checked && e.At.After(t.ends) {
			t.ends = e.At
		}
	}
	w.mu.Unlock()
	heavy := towns[0].ends.Sub(begun)
	var others []time.Duration
	for _, t := range towns[1:] {
		others = append(others, t.ends.Sub(begun))
	}
	slices.Sort(others)
	last := others[len(others)-1]
	w.t.Logf("the installation with a third of all pushes is done after %s, the others after %s to %s",
		heavy.Round(time.Millisecond), others[0].Round(time.Millisecond), last.Round(time.Millisecond))
	if len(all) >= 1000 && last > heavy {
		w.t.Errorf("an installation with few pushes waits %s, and the one with many %s", last, heavy)
	}
}
