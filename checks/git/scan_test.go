package git_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

// stories are histories and what is found in them: the commit that added each
// secret, and where.
var stories = []struct {
	name  string
	build func(r *repo, k, k2 string) (spec string)
	want  []string
}{
	{"linear", func(r *repo, k, _ string) string {
		r.file("one", "a.txt", "nothing\n")
		r.file("two", "a.txt", "nothing\nkey = "+k+"\n")
		r.file("three", "a.txt", "nothing\nkey = "+k+"\nmore\n")
		return ""
	}, []string{`two "a.txt":2 tip`}},

	{"added then removed", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", "nothing\n")
		r.file("two", "a.txt", k+"\n")
		r.file("three", "a.txt", "nothing\n")
		return base + "..HEAD"
	}, []string{`two "a.txt":1`}},

	{"added again", func(r *repo, k, _ string) string {
		r.file("one", "a.txt", k+"\n")
		r.file("two", "a.txt", "\n")
		r.file("three", "a.txt", "x\n"+k+"\n")
		return ""
	}, []string{`one "a.txt":1 tip`, `three "a.txt":2 tip`}},

	{"older than the range", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", k+"\n")
		r.file("two", "a.txt", "x\n"+k+"\n")
		return base + "..HEAD"
	}, []string{}},

	{"root commit", func(r *repo, k, _ string) string {
		r.file("one", "a.txt", k+"\n")
		return "HEAD"
	}, []string{`one "a.txt":1 tip`}},

	{"orphan merged", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", "a\n")
		r.git("checkout", "-q", "--orphan", "side")
		r.git("rm", "-rfq", ".")
		r.file("island", "b.txt", k+"\n")
		r.git("checkout", "-q", "main")
		r.git("merge", "-q", "--allow-unrelated-histories", "-m", "merge", "side")
		return base + "..HEAD"
	}, []string{`island "b.txt":1 tip`}},

	{"second parent", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", "a\n")
		r.git("checkout", "-q", "-b", "side")
		r.file("side", "b.txt", k+"\n")
		r.git("checkout", "-q", "main")
		r.file("two", "c.txt", "c\n")
		r.git("merge", "-q", "-m", "merge", "side")
		return base + "..HEAD"
	}, []string{`side "b.txt":1 tip`}},

	{"evil merge", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", "a\n")
		r.git("checkout", "-q", "-b", "side")
		r.file("side", "b.txt", "b\n")
		r.git("checkout", "-q", "main")
		r.file("two", "c.txt", "c\n")
		r.git("merge", "-q", "--no-commit", "side")
		r.write("b.txt", "b\n"+k+"\n")
		r.write("new.txt", k+"\n")
		r.commit("merge")
		return base + "..HEAD"
	}, []string{`merge "b.txt":2 tip`, `merge "new.txt":1 tip`}},

	{"merge keeps both sides", func(r *repo, k, k2 string) string {
		middle := "1\n2\n3\n4\n5\n6\n"
		base := r.file("one", "a.txt", middle)
		r.git("checkout", "-q", "-b", "side")
		r.file("side", "a.txt", middle+k+"\n")
		r.git("checkout", "-q", "main")
		r.file("two", "a.txt", k2+"\n"+middle)
		r.git("merge", "-q", "-m", "merge", "side")
		return base + "..HEAD"
	}, []string{`side "a.txt":7 tip`, `two "a.txt":1 tip`}},

	{"merge doubles what both sides have", func(r *repo, k, _ string) string {
		r.file("one", "a.txt", "a\n"+k+"\nz\n")
		r.git("checkout", "-q", "-b", "side")
		r.file("side", "a.txt", "aa\n"+k+"\nz\n")
		r.git("checkout", "-q", "main")
		r.file("two", "a.txt", "a\n"+k+"\nzz\n")
		r.git("merge", "-q", "--no-commit", "side")
		r.write("a.txt", "aa\n"+k+"\nzz\n"+k+"\n")
		r.commit("merge")
		return "HEAD~1..HEAD"
	}, []string{`merge "a.txt":4 tip`}},

	{"octopus", func(r *repo, k, k2 string) string {
		base := r.file("one", "a.txt", "a\n")
		tree := r.git("rev-parse", "HEAD^{tree}")
		var sides []string
		for _, name := range []string{"x", "y", "z"} {
			sides = append(sides, "-p", r.git("commit-tree", tree, "-p", base, "-m", name))
		}
		r.file("y2", "b.txt", k2+"\n")
		sides = append(sides, "-p", "HEAD")
		r.write("a.txt", k+"\n")
		r.git("add", "-A")
		merge := r.git(append([]string{"commit-tree", r.git("write-tree"), "-m", "octopus"}, sides...)...)
		r.git("reset", "-q", "--hard", merge)
		return base + "..HEAD"
	}, []string{`y2 "b.txt":1 tip`, `octopus "a.txt":1 tip`}},

	{"rename", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", k+"\n")
		r.git("mv", "a.txt", "b.txt")
		r.commit("two")
		return base + "..HEAD"
	}, []string{}},

	{"rename and copy", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", k+"\n")
		r.git("mv", "a.txt", "b.txt")
		r.file("two", "c.txt", k+"\n")
		return base + "..HEAD"
	}, []string{`two "c.txt":1 tip`}},

	{"indented", func(r *repo, k, k2 string) string {
		base := r.file("one", "a.yml", "key: "+k+"\nold: "+k2+"\n")
		r.file("two", "a.yml", "all:\n  key: "+k+"  \n\told: "+k2+"\n")
		return base + "..HEAD"
	}, []string{}},

	{"rename with edit", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", k+"\n")
		r.git("mv", "a.txt", "b.txt")
		r.file("two", "b.txt", "edited\n"+k+"\n")
		return base + "..HEAD"
	}, []string{}},

	{"moved to another file", func(r *repo, k, _ string) string {
		r.write("b.txt", "kept\n")
		base := r.file("one", "a.txt", "first\n"+k+"\n")
		r.write("a.txt", "first\n")
		r.file("two", "b.txt", "kept\n"+k+"\n")
		return base + "..HEAD"
	}, []string{}},

	{"copied where it also was edited", func(r *repo, k, _ string) string {
		r.write("b.txt", "kept\n")
		base := r.file("one", "a.txt", "first\n"+k+"\n")
		r.write("a.txt", "second\n"+k+"\n")
		r.file("two", "b.txt", "kept\n"+k+"\n")
		return base + "..HEAD"
	}, []string{`two "b.txt":2 tip`}},

	{"copy", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", k+"\n")
		r.file("two", "b.txt", k+"\n")
		return base + "..HEAD"
	}, []string{`two "b.txt":1 tip`}},

	{"one content at two paths", func(r *repo, k, _ string) string {
		r.write("b.txt", k+"\n")
		r.file("one", "a.txt", k+"\n")
		return ""
	}, []string{`one "a.txt":1 tip`, `one "b.txt":1 tip`}},

	{"mode change", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", k+"\n")
		r.git("update-index", "--chmod=+x", "a.txt")
		r.git("commit", "-q", "-m", "two")
		return base + "..HEAD"
	}, []string{}},

	{"symlink", func(r *repo, k, _ string) string {
		if err := os.Symlink("/keys/"+k, filepath.Join(r.dir, "link")); err != nil {
			r.t.Fatal(err)
		}
		r.commit("one")
		return ""
	}, []string{`one "link":1 tip`}},

	{"submodule", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", "a\n")
		r.git("update-index", "--add", "--cacheinfo", "160000,"+base+",sub")
		r.git("commit", "-q", "-m", "two")
		r.git("rm", "-q", "--cached", "sub")
		r.file("three", "sub", k+"\n")
		return base + "..HEAD"
	}, []string{`three "sub":1 tip`}},

	{"line moved", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", k+"\nb\nc\n")
		r.file("two", "a.txt", "b\nc\n"+k+"\n")
		return base + "..HEAD"
	}, []string{}},

	{"line edited", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", "key = "+k+"\n")
		r.file("two", "a.txt", "key: "+k+"\n")
		return base + "..HEAD"
	}, []string{`two "a.txt":1 tip`}},

	{"other line edited", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", "x\nkey = "+k+"\n")
		r.file("two", "a.txt", "y\nkey = "+k+"\n")
		return base + "..HEAD"
	}, []string{}},

	{"second copy", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", k+"\n")
		r.file("two", "a.txt", k+"\n\n"+k+"\n")
		return base + "..HEAD"
	}, []string{`two "a.txt":3 tip`}},

	{"another secret on the line", func(r *repo, k, k2 string) string {
		base := r.file("one", "a.txt", k+"\n")
		r.file("two", "a.txt", k2+"\n")
		return base + "..HEAD"
	}, []string{`two "a.txt":1 tip`}},

	{"line ends change", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", "x\nkey = "+k+"\ny\n")
		r.file("two", "a.txt", "x\r\nkey = "+k+"\r\ny\r\n")
		return base + "..HEAD"
	}, []string{}},

	{"CRLF", func(r *repo, k, _ string) string {
		r.file("one", "a.txt", "x\r\nkey = "+k+"\r\n")
		return ""
	}, []string{`one "a.txt":2 tip`}},

	{"no end of line", func(r *repo, k, _ string) string {
		base := r.file("one", "a.txt", "x\nkey = "+k)
		r.file("two", "a.txt", "x\nkey = "+k+"\n")
		return base + "..HEAD"
	}, []string{}},

	{"binary", func(r *repo, k, _ string) string {
		r.file("one", "a.bin", "\x00\x01\n\xff "+k+" \x00")
		return ""
	}, []string{`one "a.bin":2 tip`}},

	{"odd names", func(r *repo, k, _ string) string {
		for _, name := range []string{"a b", "new\nline", `quo"te`, "tab\there", ":colon", "bad\xffutf8", "-dash", "*"} {
			r.write(name, k+"\n")
		}
		r.commit("one")
		return ""
	}, []string{
		`one "*":1 tip`, `one "-dash":1 tip`, `one ":colon":1 tip`, `one "a b":1 tip`, `one "bad\xffutf8":1 tip`,
		`one "new\nline":1 tip`, `one "quo\"te":1 tip`, `one "tab\there":1 tip`,
	}},
}

func TestStories(t *testing.T) {
	for _, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			r := newRepo(t)
			spec := story.build(r, token(t, 1), token(t, 2))
			result := r.scan(spec)
			got := r.brief(result.Findings)
			if story.name == "merge keeps both sides" {
				slices.Sort(got) // commits of one second on two branches have no order
			}
			if diff := cmp.Diff(story.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if !result.Coverage.Complete() {
				t.Errorf("coverage is not complete: %+v", result.Coverage)
			}
		})
	}
}

func TestManyFilesInOneCommit(t *testing.T) {
	r := newRepo(t)
	base := r.commit("base")
	const files = 301 // one more than GitHub's comparison lists
	for i := range files {
		r.write(fmt.Sprintf("dir%d/f%03d", i%7, i), fmt.Sprintf("file %d\nkey = %s\n", i, token(t, byte(i))))
	}
	tip := r.commit("many")
	result := r.scan(base + "..HEAD")
	if len(result.Findings) != files {
		t.Errorf("found %d secrets, want %d", len(result.Findings), files)
	}
	want := checks.Coverage{Base: base, Tip: tip, Commits: 1, Blobs: files, Bytes: result.Coverage.Bytes, Skipped: []checks.Skip{}}
	if diff := cmp.Diff(want, result.Coverage); diff != "" {
		t.Errorf("coverage (-want +got):\n%s", diff)
	}
}

// What only moves or changes its mode is no new content to read.
func TestNothingNewToRead(t *testing.T) {
	r := newRepo(t)
	r.write("b.txt", "b\n")
	base := r.file("one", "a.txt", token(t, 1)+"\n")
	r.git("mv", "a.txt", "c.txt")
	r.git("update-index", "--chmod=+x", "b.txt")
	r.git("commit", "-q", "-m", "two")
	r.git("rm", "-q", "-f", "c.txt")
	tip := r.commit("three")
	want := checks.Coverage{Base: base, Tip: tip, Commits: 2, Skipped: []checks.Skip{}}
	if diff := cmp.Diff(want, r.scan(base+"..HEAD").Coverage); diff != "" {
		t.Errorf("coverage (-want +got):\n%s", diff)
	}
}

func TestFindingIsSigned(t *testing.T) {
	r := newRepo(t)
	commit := r.file("one", "a.txt", "key = "+token(t, 1)+"\n")
	result := r.scan("")
	if len(result.Findings) != 1 {
		t.Fatalf("%d findings, want 1", len(result.Findings))
	}
	got := result.Findings[0].Location
	want := checks.Location{
		Path: "a.txt", Line: 1, Column: 7, EndLine: 1, EndColumn: 47, CharColumn: 7, EndCharColumn: 47,
		Commit: commit, Author: "Ada Lovelace <ada@example.com>",
		Date: time.Unix(1700000000, 0).In(time.FixedZone("", 90*60)),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("location (-want +got):\n%s", diff)
	}
	if result.Findings[0].Date.Format(time.RFC3339) != "2023-11-14T23:43:20+01:30" {
		t.Errorf("date %s", result.Findings[0].Date)
	}
}

// An author's name is whatever its owner configured.
func TestSecretInAuthorName(t *testing.T) {
	r := newRepo(t)
	k := token(t, 1)
	r.write("a.txt", "key = "+token(t, 2)+"\n")
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "one", "--author", "bob "+k+" <"+k+"@example.com>")
	found := r.scan("").Findings
	if len(found) != 1 || found[0].Author != "bob [redacted] <[redacted]@example.com>" {
		t.Errorf("%d findings, or the author shows a secret", len(found))
	}
}

func TestFileWithTooManySecrets(t *testing.T) {
	r := newRepo(t)
	k := token(t, 1)
	commit := r.file("one", "keys/"+k+".txt", strings.Repeat("key = "+k+"\n", checks.MaxFindings+1))
	result := r.scan("")
	if len(result.Findings) != checks.MaxFindings {
		t.Errorf("%d findings, want %d", len(result.Findings), checks.MaxFindings)
	}
	want := []checks.Skip{{Commit: commit, Path: "keys/[redacted].txt", Reason: "it holds more than 1000 credentials: only the first are listed"}}
	if diff := cmp.Diff(want, result.Coverage.Skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
}

func TestRangeWithTooManySecrets(t *testing.T) {
	r := newRepo(t)
	text := strings.Repeat("key = "+token(t, 1)+"\n", checks.MaxFindings)
	for i := range git.MaxLeaks/checks.MaxFindings + 1 {
		r.write(fmt.Sprintf("%d.txt", i), text)
	}
	tip := r.commit("one")
	result := r.scan("")
	if len(result.Findings) != git.MaxLeaks {
		t.Errorf("%d findings, want %d", len(result.Findings), git.MaxLeaks)
	}
	want := []checks.Skip{{Commit: tip, Reason: "there are more than 10000 findings; the rest is not listed"}}
	if diff := cmp.Diff(want, result.Coverage.Skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
}

func TestSecretInFileName(t *testing.T) {
	r := newRepo(t)
	k := token(t, 1)
	r.write("a.txt", "key = "+token(t, 2)+"\n")
	r.file("one", "keys/"+k+".txt", "key = "+token(t, 2)+"\n")
	found := r.scan("").Findings
	if len(found) != 2 {
		t.Errorf("%d findings, want 2", len(found))
	}
	for _, leak := range found {
		if strings.Contains(leak.Path, k) {
			t.Error("a finding's path shows a secret")
		}
	}
}

func TestEmptyRange(t *testing.T) {
	r := newRepo(t)
	tip := r.file("one", "a.txt", token(t, 1)+"\n")
	result := r.scan("HEAD..HEAD")
	want := git.Result{Coverage: checks.Coverage{Base: tip, Tip: tip, Skipped: []checks.Skip{}}}
	if diff := cmp.Diff(want, result); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if !result.Coverage.Complete() {
		t.Error("an empty range is not covered")
	}
}

func TestSeveralBases(t *testing.T) {
	r := newRepo(t)
	r.file("one", "a.txt", "a\n")
	r.git("checkout", "-q", "-b", "side")
	r.file("side", "b.txt", token(t, 1)+"\n")
	r.git("checkout", "-q", "main")
	r.file("two", "c.txt", token(t, 2)+"\n")
	r.git("merge", "-q", "-m", "merge", "side")
	result, err := r.open().Scan(t.Context(), git.Range{Bases: []string{"main^1", "side"}, Tip: "main"}, newScanner(t), nil)
	if err != nil || len(result.Findings) != 0 || result.Coverage.Commits != 1 {
		t.Errorf("findings %v, coverage %+v, error %v", r.brief(result.Findings), result.Coverage, err)
	}
}
