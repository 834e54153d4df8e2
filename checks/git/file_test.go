package git_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stanch-dev/stanch/checks/git"
)

func TestFiles(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		r := newRepo(t, "--object-format="+format)
		first := r.file("first", ".github/stanch.yml", "comment: true\n")
		r.write(".github/stanch.yml", "comment: false\n")
		if err := os.Symlink(".github/stanch.yml", filepath.Join(r.dir, "link")); err != nil {
			t.Fatal(err)
		}
		second := r.file("second", "we?rd*", "stars\n")
		source, err := git.Open(t.Context(), r.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []struct{ commit, path, text string }{
			{first, ".github/stanch.yml", "comment: true\n"}, {second, ".github/stanch.yml", "comment: false\n"}, {second, "we?rd*", "stars\n"},
		} {
			f, err := source.File(t.Context(), want.commit, want.path)
			if err != nil {
				t.Fatal(err)
			}
			text, err := source.Read(t.Context(), f, 100)
			if err != nil || string(text) != want.text {
				t.Errorf("%s of %s is %q, %v; want %q", want.path, want.commit, text, err, want.text)
			}
			if _, err := source.Read(t.Context(), f, 3); !errors.Is(err, git.ErrTooLarge) {
				t.Errorf("reading at most three bytes of %s: %v", want.path, err)
			}
		}
		for _, path := range []string{"no.txt", "we?rd?", "link/stanch.yml", ".github/stanch.yml/x", "../x", "-x", ":(glob)**", ""} {
			if _, err := source.File(t.Context(), second, path); err == nil {
				t.Errorf("there is a file %q", path)
			}
		}
		if _, err := source.File(t.Context(), second, "no.txt"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the error of a file that is not there is %v", err)
		}
		for _, path := range []string{"link", ".github"} {
			var odd *git.NotRegular
			if _, err := source.File(t.Context(), second, path); !errors.As(err, &odd) {
				t.Errorf("%s is read as a file: %v", path, err)
			}
		}
		if _, err := source.File(t.Context(), "HEAD", "link"); err == nil {
			t.Error("a name was taken for a commit")
		}
	}
}
