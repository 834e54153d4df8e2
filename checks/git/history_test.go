package git_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks/git"
)

// history scans the whole history of the repository in dir.
func (r *repo) history(dir string, o git.HistoryOptions) git.Result {
	r.t.Helper()
	opened, err := git.Open(r.t.Context(), dir)
	if err != nil {
		r.t.Fatal(err)
	}
	result, err := opened.History(r.t.Context(), newScanner(r.t), o)
	if err != nil {
		r.t.Fatal(err)
	}
	return result
}

// TestHistoryTellsTheStories finds in the whole history of each story what a scan
// of the range of all its commits finds, loose and packed.
func TestHistoryTellsTheStories(t *testing.T) {
	for _, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			r := newRepo(t)
			story.build(r, token(t, 1), token(t, 2))
			want := r.brief(r.scan("").Findings)
			slices.Sort(want)
			for _, packed := range []bool{false, true} {
				if packed {
					r.git("repack", "-adfq", "--depth=50", "--window=50")
				}
				result := r.history(r.dir, git.HistoryOptions{})
				got := r.brief(slices.DeleteFunc(result.Findings, func(l git.Leak) bool { return !r.reaches(l.Commit) }))
				slices.Sort(got)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("packed %v: findings (-want +got):\n%s", packed, diff)
				}
				if !result.Coverage.Complete() || result.Coverage.Blobs == 0 || result.Coverage.Commits == 0 {
					t.Errorf("packed %v: coverage %+v", packed, result.Coverage)
				}
			}
		})
	}
}

// reaches reports whether HEAD has the commit: a story's other branches are not in
// the range that its test scans.
func (r *repo) reaches(commit string) bool {
	return exec.Command("git", "-C", r.dir, "merge-base", "--is-ancestor", commit, "HEAD").Run() == nil
}

// TestHistoryUnreachable finds what was amended away and what was only staged.
func TestHistoryUnreachable(t *testing.T) {
	r := newRepo(t)
	r.file("one", "a.txt", "nothing\n")
	r.file("mistake", "a.txt", token(t, 1)+"\n")
	r.git("reset", "-q", "--hard", "HEAD~1")
	r.write("staged.txt", token(t, 2)+"\n")
	r.git("add", "-A")
	r.git("reset", "-q", "--hard")
	if found := r.history(r.dir, git.HistoryOptions{}).Findings; len(found) != 0 {
		t.Errorf("found %v without being asked", r.brief(found))
	}
	found := r.history(r.dir, git.HistoryOptions{Unreachable: true}).Findings
	if len(found) != 2 || found[0].Path != "a.txt" || found[0].Author == "" || found[1].Commit != "" || !strings.Contains(found[1].Path, "in no commit") {
		t.Errorf("%d findings", len(found))
	}
}

// TestHistoryTellsWhatIsMissing scans a shallow and a partial clone.
func TestHistoryTellsWhatIsMissing(t *testing.T) {
	r := newRepo(t)
	r.file("one", "a.txt", token(t, 1)+"\n")
	r.file("two", "b.txt", "nothing\n")
	r.git("config", "uploadpack.allowFilter", "true")
	for _, args := range [][]string{{"--depth=1"}, {"--filter=blob:none", "--no-checkout"}} {
		dir := filepath.Join(t.TempDir(), "clone")
		r.git(append(append([]string{"clone", "-q"}, args...), "file://"+r.dir, dir)...)
		if result := r.history(dir, git.HistoryOptions{}); result.Coverage.Complete() {
			t.Errorf("%v: the coverage is said to be complete", args)
		}
	}
}

// TestHistoryOfDamagedPacks says what cannot be read, and never that all was.
func TestHistoryOfDamagedPacks(t *testing.T) {
	r := newRepo(t)
	for i := range byte(20) {
		r.file("commit", "a.txt", strings.Repeat("line\n", int(i))+token(t, i)+"\n")
	}
	r.git("repack", "-adfq")
	packs, err := filepath.Glob(filepath.Join(r.dir, ".git/objects/pack/*.pack"))
	if err != nil || len(packs) != 1 {
		t.Fatal(packs, err)
	}
	good, err := os.ReadFile(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(packs[0], 0o644); err != nil {
		t.Fatal(err)
	}
	for i := 12; i < len(good)-20; i += 131 {
		bad := slices.Clone(good)
		bad[i] ^= 0x55
		if err := os.WriteFile(packs[0], bad, 0o644); err != nil {
			t.Fatal(err)
		}
		opened, err := git.Open(context.Background(), r.dir)
		if err != nil {
			continue
		}
		result, err := opened.History(t.Context(), newScanner(t), git.HistoryOptions{})
		if err == nil && result.Coverage.Complete() && len(result.Findings) < 20 {
			t.Errorf("byte %d damaged: %d findings, and said to be complete", i, len(result.Findings))
		}
	}
}

func TestSHA256(t *testing.T) {
	r := newRepo(t, "--object-format=sha256")
	base := r.file("one", "a.txt", "a\n")
	if len(base) != 64 {
		t.Fatalf("commit %s is not SHA-256", base)
	}
	r.file("two", "a.txt", token(t, 1)+"\n")
	r.git("mv", "a.txt", "b.txt")
	r.commit("three")
	result := r.scan(base + "..HEAD")
	for how, found := range map[string]git.Result{"range": result, "history": r.history(r.dir, git.HistoryOptions{})} {
		if diff := cmp.Diff([]string{`two "a.txt":1 tip`}, r.brief(found.Findings)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", how, diff)
		}
	}
	r.git("repack", "-adfq")
	if found := r.history(r.dir, git.HistoryOptions{}); len(found.Findings) != 1 || !found.Coverage.Complete() {
		t.Errorf("packed: %d findings, coverage %+v", len(found.Findings), found.Coverage)
	}
}
