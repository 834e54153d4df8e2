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

// everywhere puts a secret of its own at each place that git has, and returns what
// is to be found.
func everywhere(r *repo) []string {
	key := func(n byte) string { return token(r.t, n) }
	r.file("root", "main.txt", "nothing\n")
	r.file("added", "main.txt", "x\nkey = "+key(1)+"\n")
	r.file("removed", "main.txt", "x\n")
	r.git("checkout", "-q", "-b", "side", "HEAD~1")
	r.file("side", "side.txt", key(2)+"\n")
	r.git("checkout", "-q", "main")
	r.git("merge", "-q", "--no-commit", "--no-ff", "-X", "ours", "side")
	r.write("evil.txt", key(3)+"\n")
	r.commit("evil merge")
	r.git("checkout", "-q", "--orphan", "orphan")
	r.git("rm", "-rfq", ".")
	r.file("orphan", "orphan.txt", key(4)+"\n")
	r.git("checkout", "-q", "main")
	r.git("checkout", "-q", "--detach")
	r.file("only tagged", "tagged.txt", key(5)+"\n")
	r.git("tag", "-a", "v1", "-m", "release\n\nwith "+key(6))
	r.git("checkout", "-q", "main")
	r.git("notes", "add", "-m", "noted "+key(7), "HEAD")
	r.write("main.txt", "x\nolder stash "+key(8)+"\n")
	r.git("stash", "-q")
	r.write("main.txt", "x\nstash "+key(9)+"\n")
	r.write("untracked.txt", key(10)+"\n")
	r.git("stash", "-q", "--include-untracked")
	r.git("commit", "-q", "--allow-empty", "-m", "message\n\nwith "+key(11))
	if err := os.Symlink("/"+key(12), filepath.Join(r.dir, "link")); err != nil {
		r.t.Fatal(err)
	}
	r.write("new\nline \"quo\".txt", key(13)+"\n")
	r.write("wide.txt", "\xff\xfe"+spread("x\r\n"+key(14)+"\r\n"))
	r.write("binary", "\x00\x01 "+key(15)+" \x00\n")
	r.write("long.txt", strings.Repeat("x ", 3<<19)+key(16)+strings.Repeat(" y", 1<<10)+"\n")
	r.write("many.txt", strings.Repeat("line\n", 299_999)+key(17))
	r.commit("files")
	return []string{
		`added "main.txt":2`, `side "side.txt":1`, `evil merge "evil.txt":1`, `orphan "orphan.txt":1`,
		`only tagged "tagged.txt":1`, `only tagged "(message)":3`, `message "(message)":3`,
		`files "link":1`, `files "new\nline \"quo\".txt":1`, `files "wide.txt":2`, `files "binary":1`, `files "long.txt":1`, `files "many.txt":300000`,
	}
}

// spread is text in UTF-16, little-endian.
func spread(text string) string { return strings.Join(strings.Split(text, ""), "\x00") + "\x00" }

func TestHistoryIsComplete(t *testing.T) {
	r := newRepo(t)
	want := everywhere(r)
	for name, prepare := range map[string]func() string{
		"loose":  func() string { return r.dir },
		"packed": func() string { r.git("gc", "-q", "--prune=now"); return r.dir },
		"mirror": func() string {
			dir := filepath.Join(t.TempDir(), "mirror.git")
			r.git("clone", "-q", "--mirror", r.dir, dir)
			return dir
		},
		"borrowed": func() string {
			dir := filepath.Join(t.TempDir(), "borrowed.git")
			r.git("clone", "-q", "--mirror", "--shared", r.dir, dir)
			return dir
		},
		"worktree": func() string {
			dir := filepath.Join(t.TempDir(), "worktree")
			r.git("worktree", "add", "-q", "--detach", dir, "main~1")
			return dir
		},
	} {
		t.Run(name, func(t *testing.T) {
			result := r.history(prepare(), git.HistoryOptions{})
			if !result.Coverage.Complete() {
				t.Errorf("coverage %+v", result.Coverage)
			}
			got := r.brief(result.Findings)
			for i := range got {
				got[i] = strings.TrimSuffix(got[i], " tip")
			}
			expected := slices.Clone(want)
			stashes := 0
			got = slices.DeleteFunc(got, func(line string) bool {
				stash := strings.HasPrefix(line, "WIP on ") || strings.HasPrefix(line, "untracked files on ") || strings.HasPrefix(line, "index on ")
				if stash {
					stashes++
				}
				return stash || strings.HasPrefix(line, "Notes added by")
			})
			slices.Sort(got)
			slices.Sort(expected)
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if len(result.Findings)-len(got)-stashes != 1 {
				t.Errorf("the note is not found")
			}
			local := name == "loose" || name == "packed" || name == "worktree"
			if wanted := 2; local && stashes < wanted+1 || !local && stashes < wanted {
				t.Errorf("%d secrets are found in stashes", stashes)
			}
		})
	}
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
