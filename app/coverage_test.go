package app_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
)

var update = flag.Bool("update", false, "write docs/coverage.md anew")

// A coverageCase is something that happens on GitHub, and what must come of it.
type coverageCase struct {
	event  string // that GitHub sends, or "content" for what a push brings
	name   string
	comes  string // what comes of it, for the document
	absent bool   // an Enterprise Server does not have it
	run    func(*scene)
	alone  func(*world) // instead of run, for what needs an App of its own
}

// coverageCases are all that TestCoverage plays and docs/coverage.md lists.
func coverageCases() []coverageCase {
	return slices.Concat(pushCases, pullCases, lifecycleCases, sweepCases, contentCases)
}

// observing reports and does nothing else, so that both GitHubs show the same.
var observing = app.Policy{Remedy: app.Remedy{Remediation: app.Observe, Order: incident.ReplaceFirst, WithoutReplacement: app.Ask}}

// TestCoverage plays every case on github.com and on an Enterprise Server, by real
// git, each in a repository of its own. When all were played well, -update writes
// docs/coverage.md.
func TestCoverage(t *testing.T) {
	t.Parallel()
	var played, all atomic.Int32
	t.Cleanup(func() {
		if *update && !t.Failed() && played.Load() == all.Load() {
			if err := os.WriteFile(coveragePath, coverageDocument(), 0o644); err != nil {
				t.Error(err)
			}
		}
	})
	for _, server := range []bool{false, true} {
		if raced && server {
			break
		}
		t.Run(map[bool]string{false: "github.com", true: "enterprise server"}[server], func(t *testing.T) {
			t.Parallel() // mostly they wait
			world := func(t *testing.T) *world {
				return newWorld(t, worldOptions{policy: observing, cloud: !server, sim: githubtest.Config{Enterprise: server, Ping: true}})
			}
			w := world(t)
			for n, c := range coverageCases() {
				if server && c.absent {
					continue
				}
				if raced && c.event != "push" && c.event != "pull_request" {
					continue // what waits for sweeps and restarts waits too long there
				}
				all.Add(1)
				w.run(c.event+": "+c.name, func(t *testing.T) {
					if c.alone != nil {
						c.alone(world(t))
					} else {
						c.run(newScene(w, fmt.Sprintf("case-%d", n)))
					}
					played.Add(1)
				})
			}
			w.findNone(w.issued...)
		})
	}
}

const coveragePath = "../docs/coverage.md"

// TestCoverageDocument fails when docs/coverage.md does not say what TestCoverage
// plays.
func TestCoverageDocument(t *testing.T) {
	if got, err := os.ReadFile(coveragePath); err != nil || !bytes.Equal(got, coverageDocument()) {
		t.Errorf("docs/coverage.md is stale (%v): go test ./app -run 'TestCoverage$' -update", err)
	}
}

// coverageDocument is docs/coverage.md.
func coverageDocument() []byte {
	var b bytes.Buffer
	b.WriteString(`# What is scanned, and when

Every line of this table is a test, played by real git against a simulated GitHub, in
both ways in which GitHub comes: github.com, and GitHub Enterprise Server. The table is
written by that test (` + "`go test ./app -run 'TestCoverage$' -update`" + `), and another
one fails when the two differ.

A check run always says what it covers: the commits from where to where, how many
commits and files, how many bytes, and what was skipped with the reason. What was
skipped makes its conclusion ` + "`action_required`" + `, and the reason is in its first line.

| What happens | Case | What comes of it | github.com | Enterprise Server |
|---|---|---|---|---|
`)
	for _, c := range coverageCases() {
		server := "yes"
		if c.absent {
			server = "not there"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | yes | %s |\n", c.event, c.name, c.comes, server)
	}
	return b.Bytes()
}

// A scene is a repository in which one case is played.
type scene struct {
	*world
	*tree
}

func newScene(w *world, name string, o ...githubtest.RepoOptions) *scene {
	w.t.Helper()
	option := githubtest.RepoOptions{Private: true}
	if len(o) > 0 {
		option = o[0]
	}
	var err error
	w.repoName, err = w.github.CreateRepository("acme", name, option)
	w.must(err)
	s := &scene{world: w}
	if option.SHA256 {
		s.tree = w.clone("--object-format=sha256")
	} else {
		s.tree = w.clone()
	}
	s.quiet() // the backfill of an empty repository
	return s
}

// began pushes and awaits a first commit on main.
func (s *scene) began() string {
	s.t.Helper()
	head := s.commit("first", map[string]string{"README.md": "# shop\n", "a.txt": "a\n"})
	s.push("main")
	s.expect(head, "success")
	return head
}

// leak is a live token. Nobody keeps it.
func (s *scene) leak() string {
	s.t.Helper()
	token, err := s.github.IssueToken("bot", githubtest.ClassicToken)
	s.must(err)
	s.issued = append(s.issued, token)
	return token
}

// at is a place as expect compares it.
func at(commit, path string, line int) string { return fmt.Sprintf("%s %s:%d", commit, path, line) }

// expect waits for the check run of a commit, and fails unless its conclusion and
// all the places that it knows are those. It returns the run.
func (s *scene) expect(head, conclusion string, places ...string) githubtest.CheckRun {
	s.t.Helper()
	var got []string
	slices.Sort(places)
	run := s.check(head, "is "+conclusion+" with "+fmt.Sprint(places), func(r githubtest.CheckRun) bool {
		got = s.places(head)
		return completed(conclusion)(r) && slices.Equal(got, places)
	})
	if diff := cmp.Diff(places, got); diff != "" {
		s.t.Errorf("places (-want +got):\n%s", diff)
	}
	return run
}

// places lists where the scans of a commit found something.
func (s *scene) places(head string) (places []string) {
	s.t.Helper()
	for _, run := range s.github.CheckRuns(s.repoName) {
		if run.HeadSHA != head {
			continue
		}
		found, err := s.memory.Occurrences(s.t.Context(), run.ExternalID)
		s.must(err)
		for _, o := range found {
			places = append(places, at(o.Commit, o.Path, o.Line))
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// quiet waits until nothing is on its way or being worked on.
func (s *scene) quiet() {
	s.t.Helper()
	s.must(s.github.WaitDeliveries(s.t.Context()))
	s.await("nothing to be queued", func() bool {
		n, err := s.memory.Working(s.t.Context())
		s.must(err)
		return n == 0
	})
}

// await waits until something is so.
func (w *world) await(what string, so func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if so() {
			return
		}
	}
	w.t.Fatalf("waited in vain for %s\n%s", what, w.logs)
}

// runs counts the check runs of the repository.
func (s *scene) runs() int { return len(s.github.CheckRuns(s.repoName)) }

// lose has the next pushes' webhooks lost until the returned function is called.
func (s *scene) lose() (found func()) {
	s.github.DropDeliveries(func(githubtest.Delivery) bool { return true })
	return func() {
		s.must(s.github.WaitDeliveries(s.t.Context()))
		s.github.DropDeliveries(nil)
	}
}

// ref is what was last scanned of a branch.
func (s *scene) ref(name string) string {
	s.t.Helper()
	installation, repo := s.ids()
	sha, err := s.memory.Ref(s.t.Context(), installation, repo, name)
	if err != nil {
		return ""
	}
	return sha
}

// ids are the numbers of the repository and of what sees it.
func (s *scene) ids() (installation, repository int64) {
	s.t.Helper()
	owner, _, _ := strings.Cut(s.repoName, "/")
	repos, err := s.memory.RepositoriesIn(s.t.Context(), s.github.Installed(s.self.ID, owner))
	s.must(err)
	for _, r := range repos {
		if r.State == store.Active && strings.EqualFold(r.FullName(), s.repoName) {
			return r.Installation, r.ID
		}
	}
	return 0, 0
}
