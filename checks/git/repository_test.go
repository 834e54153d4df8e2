package git_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks/git"
)

func TestOpen(t *testing.T) {
	r := newRepo(t)
	tip := r.file("one", "sub/folder/a.txt", "a\n")
	bare := &repo{t, t.TempDir()}
	bare.git("clone", "-q", "--bare", r.dir, ".")
	tree := filepath.Join(t.TempDir(), "tree")
	r.git("worktree", "add", "-q", "--detach", tree)

	for name, dir := range map[string]string{
		"work tree":        r.dir,
		"subfolder":        filepath.Join(r.dir, "sub", "folder"),
		"git directory":    filepath.Join(r.dir, ".git"),
		"bare":             bare.dir,
		"linked work tree": tree,
	} {
		t.Run(name, func(t *testing.T) {
			opened, err := git.Open(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			result, err := opened.Scan(t.Context(), git.Range{Tip: "HEAD"}, newScanner(t), nil)
			if err != nil || result.Coverage.Tip != tip || result.Coverage.Blobs != 1 {
				t.Errorf("coverage %+v, error %v", result.Coverage, err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := git.Open(t.Context(), t.TempDir()); !errors.Is(err, git.ErrNotRepository) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := git.Open(t.Context(), filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no folder: no error")
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := git.Open(t.Context(), "."); err == nil || !strings.Contains(err.Error(), "git is not installed") {
		t.Errorf("no git: %v", err)
	}
}

func TestOpenRefusesOldGit(t *testing.T) {
	bin := t.TempDir()
	script(t, filepath.Join(bin, "git"), "echo git version 2.17.1")
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	if _, err := git.Open(t.Context(), "."); err == nil || !strings.Contains(err.Error(), "git 2.17 is too old") {
		t.Errorf("error %v", err)
	}
}

// script writes an executable shell script.
func script(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestCommit(t *testing.T) {
	r := newRepo(t)
	one := r.file("one", "a.txt", "a\n")
	r.git("tag", "-a", "-m", "tag", "v1")
	r.git("tag", "-a", "-m", "tag of a tag", "v1-again", "v1")
	r.git("tag", "file", "HEAD:a.txt")
	repository := r.open()
	for _, rev := range []string{"HEAD", "main", "refs/heads/main", "v1", "v1-again", one, one[:10], "HEAD^0", r.git("rev-parse", "v1")} {
		if got, err := repository.Commit(t.Context(), rev); got != one || err != nil {
			t.Errorf("%s: %s, %v", rev, got, err)
		}
	}
	for _, rev := range []string{"", "none", "--all", "-h", "HEAD~1", "file", ":a.txt", "HEAD:a.txt", "main\nmain", "--end-of-options", strings.Repeat("0", 40), strings.Repeat("ab", 20)} {
		if got, err := repository.Commit(t.Context(), rev); !errors.Is(err, git.ErrNoCommit) {
			t.Errorf("%q: %q, %v", rev, got, err)
		}
	}
}

// TestCommits: many at once are looked up as each by itself.
func TestCommits(t *testing.T) {
	r := newRepo(t)
	one := r.file("one", "a.txt", "a\n")
	two := r.file("two", "a.txt", "b\n")
	r.git("tag", "-a", "-m", "tag", "v1", one)
	r.git("tag", "file", "HEAD:a.txt")
	bare := &repo{t, t.TempDir()}
	bare.git("clone", "-q", "--bare", r.dir, ".")
	repository, err := git.OpenBare(t.Context(), bare.dir, "sha1")
	if err != nil {
		t.Fatal(err)
	}
	asked := []string{one, "refs/heads/main", r.git("rev-parse", "v1"), "file", "none", strings.Repeat("ab", 20), r.git("rev-parse", "HEAD:a.txt")}
	got, err := repository.Commits(t.Context(), asked...)
	want := map[string]string{one: one, "refs/heads/main": two, asked[2]: one}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	for _, rev := range asked {
		if alone, err := repository.Commit(t.Context(), rev); alone != want[rev] || (err == nil) != (want[rev] != "") {
			t.Errorf("%s by itself: %q, %v", rev, alone, err)
		}
	}
	if _, err := repository.Commits(t.Context(), one, "main\nmain"); !errors.Is(err, git.ErrNoCommit) {
		t.Errorf("two lines: %v", err)
	}
	result, err := repository.Scan(t.Context(), git.Range{Bases: []string{one}, Tip: two}, newScanner(t), nil)
	if err != nil || result.Coverage.Commits != 1 || result.Coverage.Blobs != 1 {
		t.Errorf("coverage %+v, error %v", result.Coverage, err)
	}
}

func TestParseRange(t *testing.T) {
	r := newRepo(t)
	one := r.file("one", "a.txt", "1\n")
	r.git("checkout", "-q", "-b", "side")
	side := r.file("side", "b.txt", "2\n")
	r.git("checkout", "-q", "main")
	two := r.file("two", "c.txt", "3\n")
	r.git("checkout", "-q", "--orphan", "island")
	island := r.commit("island")
	r.git("checkout", "-q", "main")
	r.git("merge", "-q", "-m", "merge", "side")
	merge := r.git("rev-parse", "HEAD")

	for spec, want := range map[string]git.Range{
		"main..side":           {Bases: []string{merge}, Tip: side},
		one + "..":             {Bases: []string{one}, Tip: merge},
		"..side":               {Bases: []string{merge}, Tip: side},
		two + "...side":        {Bases: []string{one}, Tip: side},
		"side...island":        {Bases: []string{side}, Tip: island},
		"side":                 {Bases: []string{one}, Tip: side},
		"main":                 {Bases: []string{two, side}, Tip: merge},
		one:                    {Bases: []string{}, Tip: one},
		"HEAD~1..HEAD":         {Bases: []string{two}, Tip: merge},
		"refs/heads/side~1...": {Bases: []string{one}, Tip: merge},
	} {
		got, err := r.open().ParseRange(t.Context(), spec)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: error %v (-want +got):\n%s", spec, err, diff)
		}
	}
	for _, spec := range []string{"", "..", "...", "none", "none..main", "main..none", "main...none", "-x..main", "main....side"} {
		if got, err := r.open().ParseRange(t.Context(), spec); err == nil {
			t.Errorf("%q: %+v", spec, got)
		}
	}
}

// A repository's configuration names programs in many places. None may run.
func TestHostileRepository(t *testing.T) {
	r := newRepo(t)
	base := r.file("one", "a.txt", "a\n")
	r.write(".gitattributes", "* diff=evil filter=evil merge=evil textconv\n")
	r.file("two", "a.txt", token(t, 1)+"\n")
	r.git("tag", "-a", "-m", "tag", "v1")
	lost := r.git("hash-object", "-w", "--stdin")
	tip := r.git("commit-tree", r.input("100644 blob "+lost+"\tgone\n", "mktree"), "-p", "HEAD", "-m", "three")
	r.lose(lost)

	marker := filepath.Join(t.TempDir(), "ran")
	evil := filepath.Join(t.TempDir(), "evil")
	script(t, evil, "echo \"$0 $*\" >> '"+marker+"'")
	for _, hook := range []string{"reference-transaction", "post-index-change", "fsmonitor-watchman", "pre-auto-gc", "post-checkout"} {
		script(t, filepath.Join(r.dir, ".git", "hooks", hook), evil)
	}
	for key, value := range map[string]string{
		"core.fsmonitor": evil, "core.sshCommand": evil, "core.pager": evil, "core.editor": evil, "core.askPass": evil,
		"core.alternateRefsCommand": evil, "core.gitProxy": evil, "credential.helper": "!" + evil,
		"diff.external": evil, "diff.evil.command": evil, "diff.evil.textconv": evil, "filter.evil.smudge": evil, "filter.evil.clean": evil,
		"filter.evil.process": evil, "merge.evil.driver": evil, "gpg.program": evil, "log.showSignature": "true",
		"alias.rev-parse": "!" + evil, "alias.cat-file": "!" + evil, "pager.rev-list": evil, "pager.cat-file": evil,
		"core.repositoryFormatVersion": "1", "extensions.partialClone": "origin", "remote.origin.promisor": "true",
		"remote.origin.url": "ext::" + evil, "protocol.ext.allow": "always", "protocol.allow": "always",
		"remote.origin.uploadpack": evil, "uploadpack.packObjectsHook": evil,
	} {
		r.git("config", key, value)
	}
	ran := func() string {
		text, err := os.ReadFile(marker)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return string(text)
	}
	status := exec.Command("git", "-C", r.dir, "status", "--short")
	status.Run() // fails, after it has run the trap
	if ran() == "" {
		t.Fatal("the trap does not work: git status ran nothing")
	}
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}

	repository := r.open()
	for _, spec := range []string{base + "..v1", base + "...v1", "v1", "HEAD"} {
		if _, err := repository.ParseRange(t.Context(), spec); err != nil {
			t.Error(err)
		}
	}
	if _, err := repository.Commit(t.Context(), lost); err == nil {
		t.Error("a lost object is a commit")
	}
	result, err := repository.Scan(t.Context(), git.Range{Bases: []string{base}, Tip: tip}, newScanner(t), nil)
	if err != nil || len(result.Findings) != 1 || len(result.Coverage.Skipped) != 1 {
		t.Errorf("%d findings, coverage %+v, error %v", len(result.Findings), result.Coverage, err)
	}
	for _, unreachable := range []bool{false, true} {
		result, err := repository.History(t.Context(), newScanner(t), git.HistoryOptions{Unreachable: unreachable})
		if err != nil || len(result.Findings) != 1 {
			t.Errorf("history: %d findings, coverage %+v, error %v", len(result.Findings), result.Coverage, err)
		}
	}
	if programs := ran(); programs != "" {
		t.Errorf("the repository ran:\n%s", programs)
	}
}

// Command itself is a wall too, whatever the subcommand: each trap goes off under
// the user's git and not under Command.
func TestCommandRunsNothing(t *testing.T) {
	for name, trap := range map[string]func(r *repo, evil string) []string{
		"fsmonitor": func(r *repo, evil string) []string {
			r.git("config", "core.fsmonitor", evil)
			return []string{"status"}
		},
		"hook": func(r *repo, evil string) []string {
			script(r.t, filepath.Join(r.dir, ".git", "hooks", "reference-transaction"), evil)
			return []string{"update-ref", "refs/heads/other", "HEAD"}
		},
		"promised object": func(r *repo, evil string) []string {
			for key, value := range map[string]string{
				"core.repositoryFormatVersion": "1", "extensions.partialClone": "origin", "remote.origin.promisor": "true",
				"remote.origin.url": "ext::" + evil, "protocol.ext.allow": "always",
			} {
				r.git("config", key, value)
			}
			return []string{"cat-file", "-p", strings.Repeat("ab", 20)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			r.file("one", "a.txt", "a\n")
			marker, evil := filepath.Join(t.TempDir(), "ran"), filepath.Join(t.TempDir(), "evil")
			script(t, evil, "touch '"+marker+"'")
			args := trap(r, evil)
			git.Run(t.Context(), git.Command(t.Context(), r.dir, args...))
			if _, err := os.Stat(marker); err == nil {
				t.Error("the trap went off")
			}
			open := exec.Command("git", args...)
			open.Dir = r.dir
			open.Run()
			if _, err := os.Stat(marker); err != nil {
				t.Error("the trap does not work")
			}
		})
	}
}

// Replacements, grafts and a caller's GIT_ variables change what git sees.
func TestHistoryCannotBeHidden(t *testing.T) {
	r := newRepo(t)
	clean := r.file("one", "a.txt", "a\n")
	bad := r.file("two", "a.txt", token(t, 1)+"\n")
	tip := r.file("three", "a.txt", "b\n")
	r.git("replace", bad, clean)
	if err := os.WriteFile(filepath.Join(r.dir, ".git", "info", "grafts"), []byte(tip+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_DIR", filepath.Join(newRepo(t).dir, ".git"))
	t.Setenv("GIT_CONFIG_PARAMETERS", "'core.useReplaceRefs'='true'")
	opened, err := git.Open(t.Context(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	result, err := opened.Scan(t.Context(), git.Range{Tip: tip}, newScanner(t), nil)
	if err != nil || len(result.Findings) != 1 || result.Findings[0].Commit != bad || result.Coverage.Commits != 3 {
		t.Errorf("%d findings, coverage %+v, error %v", len(result.Findings), result.Coverage, err)
	}
	result, err = opened.History(t.Context(), newScanner(t), git.HistoryOptions{})
	if err != nil || len(result.Findings) != 1 || result.Findings[0].Commit != bad {
		t.Errorf("history: %d findings, coverage %+v, error %v", len(result.Findings), result.Coverage, err)
	}
}

// git's children die with it.
func TestCommandKillsItsGroup(t *testing.T) {
	bin := t.TempDir()
	alive := filepath.Join(bin, "alive")
	script(t, filepath.Join(bin, "git"), "(while :; do echo . >> '"+alive+"'; sleep 0.05; done) & wait")
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for _, err := os.Stat(alive); err != nil && ctx.Err() == nil; _, err = os.Stat(alive) {
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if _, err := git.Run(ctx, git.Command(ctx, "", "fetch")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
	size := func() int64 {
		info, err := os.Stat(alive)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before := size()
	time.Sleep(300 * time.Millisecond)
	if after := size(); after != before {
		t.Error("a child of git lives on")
	}
}

func TestErrorsCarryNoCredentials(t *testing.T) {
	bin := t.TempDir()
	script(t, filepath.Join(bin, "git"), `yes x | head -c 100000 >&2; printf '\nfatal: cannot read https://user:hunter2@host/x\033[31m\n' >&2; exit 1`)
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	_, err := git.Run(t.Context(), git.Command(t.Context(), "", "fetch"))
	if want := "git fetch: fatal: cannot read https://host/x [31m"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	var failed *git.CommandError
	if !errors.As(err, &failed) || len(failed.Stderr) > 4<<10 {
		t.Errorf("%T keeps too much", err)
	}
}

// TestParts: parts have no more commits than they may, and together all of the range.
func TestParts(t *testing.T) {
	r := newRepo(t)
	base := r.file("base", "a.txt", "a\n")
	for n := range 5 {
		r.git("checkout", "-q", "-b", fmt.Sprint("side", n), base)
		r.file("one", fmt.Sprint(n, ".txt"), "1\n")
		r.file("two", fmt.Sprint(n, ".txt"), "2\n")
		r.git("checkout", "-q", "main")
		r.git("merge", "-q", "--no-edit", "--no-ff", fmt.Sprint("side", n))
	}
	repository := r.open()
	for _, most := range []int{1, 2, 3, 7, 15, 100} {
		rng, seen := git.Range{Tip: r.git("rev-parse", "main"), Bases: []string{base}}, 0
		for seen < 15 {
			end, left, err := repository.Part(t.Context(), rng, most)
			if err != nil || left != 15-seen {
				t.Fatalf("%d commits are left after %d of 15: %v", left, seen, err)
			}
			part := strings.Fields(r.git(append([]string{"rev-list", end, "--not"}, rng.Bases...)...))
			if len(part) == 0 || len(part) > most {
				t.Fatalf("a part has %d commits, and may have %d", len(part), most)
			}
			seen += len(part)
			rng.Bases = append(rng.Bases, end)
		}
		if end, left, err := repository.Part(t.Context(), rng, most); end != rng.Tip || left != 0 || err != nil {
			t.Errorf("of nothing %s is left, %d commits: %v", end, left, err)
		}
	}
}
