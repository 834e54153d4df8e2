package app_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// differentialRepositories is how many random repositories are made.
const differentialRepositories = 20

// TestThreePathsFindTheSame makes random repositories with secrets in known places,
// and has each scanned as its pushes come, as one pull request, and as a history.
// All three find every secret at its commit, path and line, and nothing else. Every
// other repository is scanned a few commits at a time.
func TestThreePathsFindTheSame(t *testing.T) {
	t.Parallel()
	worlds := []*world{newWorld(t, worldOptions{policy: observing}), newWorld(t, inParts(8))}
	repositories := differentialRepositories
	switch {
	case raced:
		repositories = 3
	case os.Getenv("STANCH_CI") == "":
		repositories = 5 // where somebody waits
	}
	for seed := range uint64(repositories) {
		w := worlds[seed%2]
		w.run(fmt.Sprintf("repository %d", seed), func(t *testing.T) {
			g := &garden{scene: newScene(w, fmt.Sprintf("pushed-%d", seed)), rand: rand.New(rand.NewPCG(seed, 0)), own: map[string][]string{}}
			g.grow()
			g.quiet()
			if len(g.kept) < 5 {
				t.Fatalf("only %d secrets were planted", len(g.kept))
			}
			g.found("the pushes", g.planted)

			t.Logf("%s commits, %d secrets, %d of them taken back by force", g.git("rev-list", "--count", "main"), len(g.planted), len(g.planted)-len(g.kept))
			g.openAsPull(fmt.Sprintf("pulled-%d", seed))
			g.quiet()
			g.found("the pull request", g.kept)

			g.keepAsHistory(fmt.Sprintf("kept-%d", seed))
			g.found("the history", g.kept)
		})
	}
}

// A garden is a repository in which things grow at random.
type garden struct {
	*scene
	rand    *rand.Rand
	root    string
	planted []string            // places of secrets in all that was pushed
	kept    []string            // those that the branches still lead to
	own     map[string][]string // files, by the branch on which alone they are
	n       int
}

// steps are what can happen. Those that do more often stand there more often.
var steps = []func(*garden){
	(*garden).harmless, (*garden).plant, (*garden).plant, (*garden).plant, (*garden).extend, (*garden).extend,
	(*garden).rename, (*garden).renameAndExtend, (*garden).remove, (*garden).revert,
	(*garden).branch, (*garden).merge, (*garden).octopus, (*garden).orphan, (*garden).force,
}

func (g *garden) grow() {
	g.root = g.commit("root", map[string]string{"README.md": "# garden\n"})
	g.push("main")
	g.expect(g.root, "success")
	for range 25 {
		steps[g.rand.IntN(len(steps))](g)
		if g.rand.IntN(4) == 0 {
			g.push("--all", "--force")
		}
	}
	g.gather()
	g.push("--all", "--force")
}

// on is the branch that the next step is about, which is checked out.
func (g *garden) on() string {
	branches := strings.Fields(g.git("for-each-ref", "--format=%(refname:short)", "refs/heads"))
	branch := branches[g.rand.IntN(len(branches))]
	g.git("checkout", "--quiet", branch)
	return branch
}

// name is a name that nothing else has.
func (g *garden) name(ending string) string {
	g.n++
	return fmt.Sprintf("d%d/f%d%s", g.rand.IntN(3), g.n, ending)
}

// note remembers that a commit brought a secret.
func (g *garden) note(commit, path string, line int) {
	g.planted = append(g.planted, at(commit, path, line))
	g.kept = append(g.kept, at(commit, path, line))
}

func (g *garden) secretLine() string { return "GITHUB_TOKEN=" + g.leak() + "\n" }

func (g *garden) harmless() {
	g.on()
	g.commit("harmless", map[string]string{g.name(".txt"): "nothing to see\n"})
}

// plant brings a new file with a secret, in one of many forms.
func (g *garden) plant() {
	branch := g.on()
	path, line, text := g.name(".env"), 2, "REGION=eu\n"+g.secretLine()
	switch g.rand.IntN(6) {
	case 0:
		text = strings.ReplaceAll(text, "\n", "\r\n")
	case 1:
		text = string(utf16LE(text))
	case 2:
		path = g.name(".bin")
		text = "\x00\x01\x02\xff\n" + g.secretLine() + "\x00\xfe\n"
	case 3:
		filler := strings.Repeat("the quick brown fox\n", 60_000)
		text, line = filler+g.secretLine()+filler, 60_001
	}
	g.note(g.commit("plant", map[string]string{path: text}), path, line)
	g.own[branch] = append(g.own[branch], path)
}

// pick takes a file out of those that are on this branch alone.
func (g *garden) pick(branch string) (path string, ok bool) {
	files := g.own[branch]
	if len(files) == 0 {
		return "", false
	}
	i := g.rand.IntN(len(files))
	path = files[i]
	g.own[branch] = slices.Delete(slices.Clone(files), i, i+1)
	return path, true
}

func (g *garden) read(path string) string {
	g.t.Helper()
	data, err := os.ReadFile(filepath.Join(g.tree.dir, path))
	g.must(err)
	return string(data)
}

// plain reports whether a secret can be added at the end of a text as it is.
func plain(text string) bool { return !strings.Contains(text, "\x00") }

// extend adds a secret to a file.
func (g *garden) extend() {
	branch := g.on()
	path, ok := g.pick(branch)
	if !ok || !plain(g.read(path)) {
		return
	}
	text := g.read(path) + g.secretLine()
	g.note(g.commit("extend", map[string]string{path: text}), path, strings.Count(text, "\n"))
	g.own[branch] = append(g.own[branch], path)
}

func (g *garden) rename() {
	branch := g.on()
	if path, ok := g.pick(branch); ok {
		to := g.name(filepath.Ext(path))
		g.commit("rename", map[string]string{to: g.read(path), path: ""})
		g.own[branch] = append(g.own[branch], to)
	}
}

func (g *garden) renameAndExtend() {
	branch := g.on()
	path, ok := g.pick(branch)
	if !ok || !plain(g.read(path)) {
		return
	}
	to, text := g.name(filepath.Ext(path)), g.read(path)+g.secretLine()
	g.note(g.commit("rename and extend", map[string]string{to: text, path: ""}), to, strings.Count(text, "\n"))
	g.own[branch] = append(g.own[branch], to)
}

func (g *garden) remove() {
	branch := g.on()
	if path, ok := g.pick(branch); ok {
		g.commit("remove", map[string]string{path: ""})
	}
}

// revert removes a file with a secret and takes that back: the secret comes again.
func (g *garden) revert() {
	g.on()
	path := g.name(".env")
	g.note(g.commit("plant", map[string]string{path: "REGION=eu\n" + g.secretLine()}), path, 2)
	g.commit("remove", map[string]string{path: ""})
	g.git("revert", "--no-edit", "HEAD")
	g.note(g.git("rev-parse", "HEAD"), path, 2)
}

// branch begins a branch. What was on one branch alone is on two now.
func (g *garden) branch() {
	from := g.on()
	g.n++
	g.git("checkout", "--quiet", "-b", fmt.Sprintf("b%d", g.n))
	g.own[from] = nil
}

// merge takes a branch into main, whose end that is.
func (g *garden) merge() {
	branch := g.on()
	if branch == "main" {
		return
	}
	g.git("checkout", "--quiet", "main")
	g.git("merge", "--quiet", "--no-ff", "--allow-unrelated-histories", "-m", "merge", branch)
	g.ends(branch)
}

func (g *garden) ends(branch string) {
	g.git("branch", "--quiet", "-D", branch)
	g.own["main"] = append(g.own["main"], g.own[branch]...)
	delete(g.own, branch)
}

// octopus merges three branches at once, each with a secret, and brings one itself.
func (g *garden) octopus() {
	g.git("checkout", "--quiet", "main")
	var arms []string
	for range 3 {
		g.n++
		arm := fmt.Sprintf("arm%d", g.n)
		arms = append(arms, arm)
		g.git("checkout", "--quiet", "-b", arm, "main")
		path := g.name(".env")
		g.note(g.commit("arm", map[string]string{path: env(g.leak())}), path, 2)
	}
	g.git("checkout", "--quiet", "main")
	g.git(append([]string{"merge", "--quiet", "--no-ff", "--no-commit"}, arms...)...)
	path := g.name(".env")
	g.note(g.commit("octopus", map[string]string{path: env(g.leak())}), path, 2)
	for _, arm := range arms {
		g.git("branch", "--quiet", "-D", arm)
	}
}

// orphan begins a branch without a past.
func (g *garden) orphan() {
	g.n++
	branch, path := fmt.Sprintf("orphan%d", g.n), g.name(".env")
	g.git("checkout", "--quiet", "--orphan", branch)
	g.git("rm", "-rfq", "--ignore-unmatch", ".")
	g.note(g.commit("orphan", map[string]string{path: env(g.leak())}), path, 2)
	g.own[branch] = []string{path}
}

// force pushes a commit with a secret and takes it back by force.
func (g *garden) force() {
	branch := g.on()
	before, path := g.git("rev-parse", "HEAD"), g.name(".env")
	lost := g.commit("lost", map[string]string{path: env(g.leak())})
	g.planted = append(g.planted, at(lost, path, 2))
	g.push("--all", "--force")
	g.git("reset", "--quiet", "--hard", before)
	g.push("--force", branch)
}

// gather merges all that is left into main, so that one pull request has it all.
func (g *garden) gather() {
	for _, branch := range strings.Fields(g.git("for-each-ref", "--format=%(refname:short)", "refs/heads")) {
		if branch != "main" {
			g.git("checkout", "--quiet", "main")
			g.git("merge", "--quiet", "--no-ff", "--allow-unrelated-histories", "-m", "gather", branch)
			g.ends(branch)
		}
	}
	g.git("checkout", "--quiet", "main")
}

// openAsPull opens what grew since the root as a pull request of another
// repository, of which no push tells.
func (g *garden) openAsPull(name string) {
	var err error
	g.repoName, err = g.github.CreateRepository("acme", name, githubtest.RepoOptions{Private: true})
	g.must(err)
	g.quiet()
	g.tree.url = g.github.CloneURL(g.repoName)
	g.github.DropDeliveries(func(d githubtest.Delivery) bool { return d.Event == "push" })
	g.push(g.root+":refs/heads/main", "main:refs/heads/topic")
	g.openPull("topic")
	g.must(g.github.WaitDeliveries(g.t.Context()))
	g.github.DropDeliveries(nil)
}

// keepAsHistory pushes all to an account where the App is installed only then.
func (g *garden) keepAsHistory(login string) {
	g.github.CreateOrganization(login)
	var err error
	g.repoName, err = g.github.CreateRepository(login, "old", githubtest.RepoOptions{Private: true})
	g.must(err)
	g.tree.url = g.github.CloneURL(g.repoName)
	g.push("main")
	_, err = g.github.Install(g.self.ID, login)
	g.must(err)
	g.await("the backfill to end", func() bool {
		_, repo := g.ids()
		b, err := g.memory.Backfill(g.t.Context(), repo)
		return err == nil && !b.Finished.IsZero()
	})
	g.quiet()
}

// found fails unless the repository's checks know these places and no others.
func (g *garden) found(path string, want []string) {
	g.t.Helper()
	want = slices.Clone(want)
	slices.Sort(want)
	var got []string
	for _, run := range g.github.CheckRuns(g.repoName) {
		got = append(got, g.places(run.HeadSHA)...)
		if run.Status != "completed" {
			g.t.Errorf("%s: the check run of %s is %s", path, run.HeadSHA, run.Status)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		g.t.Errorf("%s found other places than those of %d secrets (-want +got):\n%s", path, len(want), diff)
	}
}
