package app_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
)

const (
	// backfilledCommits is the history that one installation brings.
	backfilledCommits = 10_000
	// mostSlower is by how much the pushes of another may be slower meanwhile. On a
	// quiet machine it is less than twice; but tests run beside others.
	mostSlower = 4
)

// TestBackfillDelaysNobody compares how long a push waits for its check run while
// another installation's history is scanned with how long it waits otherwise.
func TestBackfillDelaysNobody(t *testing.T) {
	history := backfilledCommits
	if raced { // which makes everything as slow
		history /= 10
	}
	w := newWorld(t, worldOptions{policy: observing, cloud: true})
	s := newScene(w, "small")
	s.began()
	s.quiet()
	n := 0
	push := func() time.Duration {
		n++
		head := s.commit("change", map[string]string{"a.txt": fmt.Sprintln("change", n)})
		begun := time.Now()
		s.push("main")
		s.check(head, "is green", completed("success"))
		return time.Since(begun)
	}
	var alone, beside []time.Duration
	for range 12 {
		alone = append(alone, push())
	}
	s.quiet()

	w.github.CreateOrganization("giant")
	name, err := w.github.CreateRepository("giant", "mono", githubtest.RepoOptions{Private: true})
	w.must(err)
	giant := &scene{world: w, tree: w.clone()}
	giant.url = w.github.CloneURL(name)
	giant.commit("first", map[string]string{"README.md": "# mono\n"})
	giant.importHistory(history - 1)
	giant.push("main")
	_, err = w.github.Install(w.self.ID, "giant")
	w.must(err)
	installation := w.github.Installed(w.self.ID, "giant")
	progress := func() (commits int, finished bool) {
		repos, err := w.memory.RepositoriesIn(t.Context(), installation)
		w.must(err)
		for _, r := range repos {
			b, err := w.memory.Backfill(t.Context(), r.ID)
			w.must(err)
			return b.Commits, !b.Finished.IsZero()
		}
		return 0, false
	}
	w.await("the backfill to begin", func() bool { commits, _ := progress(); return commits > 0 })
	begun := time.Now()
	for _, finished := progress(); !finished; _, finished = progress() {
		beside = append(beside, push())
	}
	commits, _ := progress()
	if commits != history {
		t.Errorf("the backfill scanned %d commits, want %d", commits, history)
	}
	if raced {
		return
	}
	if len(beside) < 3 {
		t.Fatalf("only %d pushes were checked during the backfill", len(beside))
	}
	beside = beside[:len(beside)-1] // it ended during the last one
	a, b := middle(alone), middle(beside)
	ratio := b.Seconds() / a.Seconds()
	t.Logf("push to check: %s alone (of %d), %s while %d commits were backfilled in %s (of %d): %.2f times",
		a.Round(time.Millisecond), len(alone), b.Round(time.Millisecond), commits, time.Since(begun).Round(time.Millisecond), len(beside), ratio)
	if ratio > mostSlower {
		t.Errorf("a backfill makes others wait %.1f times as long", ratio)
	}
}

// importHistory adds n commits to main that change three files each.
func (s *scene) importHistory(n int) {
	s.t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	var stream strings.Builder
	from := "from " + s.git("rev-parse", "main") + "\n"
	for i := range n {
		fmt.Fprintf(&stream, "commit refs/heads/main\ncommitter Dana <dana@acme.example> %d +0000\ndata 1\nx\n%s", 1700000000+i, from)
		for file := range 3 {
			var text strings.Builder
			for range 40 {
				fmt.Fprintf(&text, "const value%d = lookup(%d, %q)\n", random.IntN(1000), random.IntN(1e6), "a name")
			}
			fmt.Fprintf(&stream, "M 100644 inline src/%d/%d.js\ndata %d\n%s\n", i%50, file, text.Len(), text.String())
		}
		from = ""
	}
	s.feed(stream.String(), "fast-import", "--quiet", "--force")
}

// middle is the median.
func middle(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// TestPushesInAnyOrder: in which order the pushes of a ref are handled decides nothing.
// Whatever comes first, every leak is on the check of the push that brought it, nothing
// else is reported, and the last push is what is remembered of the ref.
func TestPushesInAnyOrder(t *testing.T) {
	w := newWorld(t, worldOptions{policy: observing, cloud: true})
	orders := 4
	if raced {
		orders = 1
	}
	for seed := range uint64(orders) {
		w.run(fmt.Sprintf("order %d", seed), func(t *testing.T) {
			s := newScene(w, fmt.Sprintf("order-%d", seed))
			s.began()
			s.quiet()
			delivered := len(s.github.Deliveries())
			found := s.lose()
			var heads []string
			own := map[string]string{} // places, by the push that brought the leak
			for n := range 8 {
				files := map[string]string{"a.txt": fmt.Sprintln("push", n)}
				path := fmt.Sprintf("%d.env", n)
				if n%3 != 2 {
					files[path] = env(s.leak())
				}
				head := s.commit("push", files)
				s.push("main")
				heads = append(heads, head)
				if n%3 != 2 {
					own[head] = at(head, path, 2)
				}
			}
			found()
			lost := s.github.Deliveries()[delivered:]
			if len(lost) != len(heads) {
				t.Fatalf("%d deliveries of %d pushes", len(lost), len(heads))
			}
			for _, n := range rand.New(rand.NewPCG(seed, 5)).Perm(len(lost)) {
				s.must(s.github.Redeliver(lost[n].GUID))
			}
			s.quiet()
			all := slices.Sorted(maps.Values(own))
			for _, head := range heads {
				want := "success"
				places := s.places(head)
				if len(places) > 0 {
					want = "failure"
				}
				s.check(head, "is "+want, completed(want))
				if own[head] != "" && !slices.Contains(places, own[head]) {
					t.Errorf("%s does not show its own leak, but %q", head, places)
				}
				for _, place := range places {
					if _, ok := slices.BinarySearch(all, place); !ok {
						t.Errorf("%s shows %s, where nothing is", head, place)
					}
				}
			}
			if got := s.ref("refs/heads/main"); got != heads[len(heads)-1] {
				t.Errorf("main was last scanned at %s, want %s", got, heads[len(heads)-1])
			}
		})
	}
}

// TestReserveIsLeftToPushes: when little is left of an installation's requests, sweeps
// wait and pushes are checked.
func TestReserveIsLeftToPushes(t *testing.T) {
	w := newWorld(t, worldOptions{policy: observing, cloud: true, sweep: app.Sweep{Refs: often}})
	s := newScene(w, "poor")
	s.commit("first", map[string]string{"a.txt": "first\n"})
	push := func(text string) {
		head := s.commit("change", map[string]string{"a.txt": text})
		s.push("main")
		s.check(head, "is green", completed("success"))
	}
	lists := func() (n int) {
		for _, r := range s.github.Requests() {
			if strings.HasSuffix(r.Path, "/installation/repositories") {
				n++
			}
		}
		return n
	}
	push("rich\n")
	before := lists()
	s.await("sweeps", func() bool { return lists() > before+2 })
	s.github.UseUp(s.github.Installed(s.self.ID, "acme"), 900)
	push("poor\n")
	s.await("a sweep that waits", func() bool {
		resp, err := http.Get(s.hook.URL + "/metrics")
		s.must(err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		s.must(err)
		return bytes.Contains(text, []byte(`stanch_postponed_total{why="reserved"} 1`))
	})
	before = lists()
	push("still poor\n")
	time.Sleep(5 * often)
	if got := lists(); got != before {
		t.Errorf("sweeps asked %d times more", got-before)
	}
}
