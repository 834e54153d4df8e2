package git_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

// TestPointers: what a pointer of Git LFS stands for is skipped, where that is asked
// for; a submodule is named, and skips nothing.
func TestPointers(t *testing.T) {
	r := newRepo(t)
	base := r.file("base", "a.txt", "a\n")
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("4d", 32) + "\nsize 12345\n"
	r.write("spec.md", "A pointer looks like that:\n\n"+pointer)
	r.write("long.bin", pointer+strings.Repeat("x-longer 1\n", 100))
	first := r.file("pointer", "model.bin", pointer)
	r.git("update-index", "--add", "--cacheinfo", "160000,"+base+",vendor/lib")
	r.git("commit", "-q", "-m", "submodule")
	second := r.git("rev-parse", "HEAD")
	r.git("mv", "model.bin", "moved.bin")
	r.git("commit", "-q", "-m", "move")
	for _, strict := range []bool{false, true} {
		result, err := r.open().Scan(t.Context(), git.Range{Bases: []string{base}, Tip: "HEAD", Pointers: strict}, newScanner(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		want := []checks.Skip{}
		if strict {
			want = append(want, checks.Skip{Commit: first, Path: "model.bin",
				Reason: "it is a pointer of Git LFS; the file that it stands for is kept outside of the repository and was not scanned"})
		}
		if diff := cmp.Diff(want, result.Coverage.Skipped); diff != "" {
			t.Errorf("strict %v: skipped (-want +got):\n%s", strict, diff)
		}
		if diff := cmp.Diff([]checks.Skip{{Commit: second, Path: "vendor/lib", Reason: "a submodule"}}, result.Coverage.Elsewhere); diff != "" {
			t.Errorf("strict %v: elsewhere (-want +got):\n%s", strict, diff)
		}
	}
}
