package git_test

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

// lose takes an object out of the repository and returns how to put it back.
func (r *repo) lose(id string) (restore func()) {
	r.t.Helper()
	path := filepath.Join(r.dir, ".git", "objects", id[:2], id[2:])
	if err := os.Rename(path, path+".lost"); err != nil {
		r.t.Fatal(err)
	}
	return func() { os.Rename(path+".lost", path) }
}

// threeFiles commits a.txt, b.txt and c.txt, each with a secret, and loses b.txt.
func threeFiles(t *testing.T) (r *repo, lost string, restore func()) {
	t.Helper()
	r = newRepo(t)
	for i, name := range []string{"a.txt", "b.txt", "c.txt"} {
		r.write(name, token(t, byte(i))+"\n")
	}
	r.commit("one")
	lost = r.git("rev-parse", "HEAD:b.txt")
	return r, lost, r.lose(lost)
}

func TestMissingBlobIsSkipped(t *testing.T) {
	r, _, _ := threeFiles(t)
	result := r.scan("")
	if diff := cmp.Diff([]string{`one "a.txt":1 tip`, `one "c.txt":1 tip`}, r.brief(result.Findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	want := []checks.Skip{{Commit: r.git("rev-parse", "HEAD"), Path: "b.txt", Reason: "the file's content is missing from the repository"}}
	if diff := cmp.Diff(want, result.Coverage.Skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	if result.Coverage.Blobs != 2 {
		t.Errorf("%d blobs counted, want 2", result.Coverage.Blobs)
	}
}

func TestFetcherBringsBlobs(t *testing.T) {
	r, lost, restore := threeFiles(t)
	var asked [][]string
	fetch := func(_ context.Context, objects []string) error {
		asked = append(asked, objects)
		restore()
		return nil
	}
	result, err := r.open().Scan(t.Context(), git.Range{Tip: "HEAD"}, newScanner(t), fetch)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{lost}}, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	if len(result.Findings) != 3 || !result.Coverage.Complete() {
		t.Errorf("findings %v, coverage %+v", r.brief(result.Findings), result.Coverage)
	}
}

// Only where something was found is fetched what was there before, in the file and
// in the commit's other files, from where it may have moved.
func TestParentsAreFetchedOnDemand(t *testing.T) {
	r := newRepo(t)
	r.write("clean.txt", "old\n")
	base := r.file("one", "a.txt", "old "+token(t, 1)+"\n")
	r.file("clean", "clean.txt", "new\n")
	r.file("two", "a.txt", "old "+token(t, 1)+"\n"+token(t, 2)+"\n")
	var restores []func()
	for _, name := range []string{base + ":a.txt", base + ":clean.txt"} {
		restores = append(restores, r.lose(r.git("rev-parse", name)))
	}
	var asked []string
	fetch := func(_ context.Context, objects []string) error {
		asked = append(asked, objects...)
		restores[0]()
		return nil
	}
	result, err := r.open().Scan(t.Context(), git.Range{Bases: []string{base}, Tip: "HEAD"}, newScanner(t), fetch)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{r.git("rev-parse", base+":a.txt")}, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`two "a.txt":2 tip`}, r.brief(result.Findings)); diff != "" || !result.Coverage.Complete() {
		t.Errorf("coverage %+v, findings (-want +got):\n%s", result.Coverage, diff)
	}
}

// Without the parent's content a finding counts as new: more, never less.
func TestMissingParentReportsMore(t *testing.T) {
	r := newRepo(t)
	base := r.file("one", "a.txt", token(t, 1)+"\n")
	r.file("two", "a.txt", token(t, 1)+"\nmore\n")
	r.lose(r.git("rev-parse", base+":a.txt"))
	if got := r.brief(r.scan(base + "..HEAD").Findings); !slices.Equal(got, []string{`two "a.txt":1 tip`}) {
		t.Errorf("findings %v", got)
	}
}

func TestFetcherFails(t *testing.T) {
	r, _, _ := threeFiles(t)
	down := errors.New("the server is down")
	fetch := func(context.Context, []string) error { return down }
	result, err := r.open().Scan(t.Context(), git.Range{Tip: "HEAD"}, newScanner(t), fetch)
	if !errors.Is(err, down) {
		t.Errorf("error %v, want the fetcher's", err)
	}
	if len(result.Findings) != 2 || result.Coverage.Complete() {
		t.Errorf("findings %v, coverage %+v", r.brief(result.Findings), result.Coverage)
	}
}

func TestMissingTreeIsAnError(t *testing.T) {
	r := newRepo(t)
	r.file("one", "dir/a.txt", token(t, 1)+"\n")
	r.lose(r.git("rev-parse", "HEAD:dir"))
	result, err := r.open().Scan(t.Context(), git.Range{Tip: "HEAD"}, newScanner(t), nil)
	if err == nil || result.Coverage.Complete() {
		t.Errorf("error %v, coverage %+v", err, result.Coverage)
	}
}

func TestMissingCommitIsAnError(t *testing.T) {
	r := newRepo(t)
	lost := r.file("one", "a.txt", token(t, 1)+"\n")
	r.file("two", "a.txt", "\n")
	r.lose(lost)
	if _, err := r.open().Scan(t.Context(), git.Range{Tip: "HEAD"}, newScanner(t), nil); err == nil {
		t.Error("no error")
	}
}

func TestTooLargeIsSkipped(t *testing.T) {
	r := newRepo(t)
	path := filepath.Join(r.dir, "big")
	if err := os.WriteFile(path, []byte(token(t, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, git.MaxBlob+1); err != nil {
		t.Fatal(err)
	}
	r.git("config", "core.compression", "1")
	r.commit("one")
	result := r.scan("")
	if len(result.Findings) != 0 || result.Coverage.Blobs != 0 || len(result.Coverage.Skipped) != 1 {
		t.Fatalf("findings %v, coverage %+v", r.brief(result.Findings), result.Coverage)
	}
	if skip := result.Coverage.Skipped[0]; skip.Path != "big" || !strings.Contains(skip.Reason, "104857601 bytes") {
		t.Errorf("skipped %+v", skip)
	}
}

// A tree may call a commit a file.
func TestMislabelledObjectIsSkipped(t *testing.T) {
	r := newRepo(t)
	commit := r.file("one", "a.txt", "a\n")
	id, err := hex.DecodeString(commit)
	if err != nil {
		t.Fatal(err)
	}
	tree := r.input("100644 fake\x00"+string(id), "hash-object", "-t", "tree", "-w", "--stdin")
	tip := r.git("commit-tree", tree, "-m", "two")
	result, err := r.open().Scan(t.Context(), git.Range{Tip: tip}, newScanner(t), nil)
	if err != nil || len(result.Coverage.Skipped) != 1 || result.Coverage.Skipped[0].Path != "fake" {
		t.Errorf("coverage %+v, error %v", result.Coverage, err)
	}
}

func TestShallowCloneIsNotComplete(t *testing.T) {
	r := newRepo(t)
	r.file("one", "a.txt", token(t, 1)+"\n")
	r.file("two", "b.txt", token(t, 2)+"\n")
	cut := r.file("three", "c.txt", "c\n")
	r.file("four", "d.txt", token(t, 3)+"\n")
	clone := &repo{t, t.TempDir()}
	clone.git("clone", "-q", "--depth=2", "file://"+r.dir, ".")

	if result := clone.scan("HEAD^..HEAD"); !result.Coverage.Complete() || len(result.Findings) != 1 {
		t.Errorf("the last commit: findings %v, coverage %+v", clone.brief(result.Findings), result.Coverage)
	}
	result := clone.scan("")
	if len(result.Coverage.Skipped) != 1 || result.Coverage.Skipped[0].Commit != cut {
		t.Errorf("skipped %+v, want the commit at which history is cut", result.Coverage.Skipped)
	}
	if len(result.Findings) != 3 {
		t.Errorf("findings %v, want 3", clone.brief(result.Findings))
	}
}

// In a partial clone git would fetch each file by a connection of its own.
func TestPartialCloneFetchesNothing(t *testing.T) {
	r := newRepo(t)
	r.file("one", "a.txt", token(t, 1)+"\n")
	r.git("config", "uploadpack.allowFilter", "true")
	clone := &repo{t, t.TempDir()}
	clone.git("clone", "-q", "--bare", "--filter=blob:none", "file://"+r.dir, ".")
	result := clone.scan("")
	if len(result.Coverage.Skipped) != 1 || result.Coverage.Skipped[0].Path != "a.txt" {
		t.Errorf("coverage %+v, want a.txt skipped", result.Coverage)
	}
}

func TestScanEndsWithItsContext(t *testing.T) {
	r, _, _ := threeFiles(t)
	ctx, cancel := context.WithCancel(t.Context())
	stop := errors.New("enough")
	fetch := func(context.Context, []string) error { cancel(); return stop }
	_, err := r.open().Scan(ctx, git.Range{Tip: "HEAD"}, newScanner(t), fetch)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestScanLeavesNothingBehind(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	r, _, _ := threeFiles(t)
	before := r.git("status", "--porcelain=v2", "--ignored")
	r.scan("")
	left, err := filepath.Glob(filepath.Join(temp, "stanch-git-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
	if after := r.git("status", "--porcelain=v2", "--ignored"); after != before {
		t.Errorf("the work tree changed: %s", after)
	}
}
