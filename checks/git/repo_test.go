package git_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/rules"
)

// A repo is a repository that a test builds with the real git.
type repo struct {
	t   testing.TB
	dir string
}

// newRepo makes an empty repository with a work tree.
func newRepo(t testing.TB, options ...string) *repo {
	t.Helper()
	r := &repo{t, t.TempDir()}
	r.git(append([]string{"init", "-q", "-b", "main"}, options...)...)
	return r
}

// git runs git as its user would, with the configuration of the repository.
func (r *repo) git(args ...string) string {
	r.t.Helper()
	return r.input("", args...)
}

func (r *repo) input(stdin string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Ada Lovelace", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE=1700000000 +0130",
		"GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.com", "GIT_COMMITTER_DATE=1700000000 +0000")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimSuffix(string(out), "\n")
}

func (r *repo) write(path, text string) {
	r.t.Helper()
	full := filepath.Join(r.dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// commit commits all of the work tree and returns the commit's id.
func (r *repo) commit(subject string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", subject)
	return r.git("rev-parse", "HEAD")
}

// file commits one file.
func (r *repo) file(subject, path, text string) string {
	r.t.Helper()
	r.write(path, text)
	return r.commit(subject)
}

func (r *repo) open() *git.Repository {
	r.t.Helper()
	opened, err := git.Open(r.t.Context(), r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	return opened
}

// scan scans what spec says.
func (r *repo) scan(spec string) git.Result {
	r.t.Helper()
	rng := git.Range{Tip: "HEAD"}
	if spec != "" {
		var err error
		if rng, err = r.open().ParseRange(r.t.Context(), spec); err != nil {
			r.t.Fatal(err)
		}
	}
	result, err := r.open().Scan(r.t.Context(), rng, newScanner(r.t), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return result
}

// brief gives a line for each finding: the commit's subject, path, line, and
// "tip" when the tip still has it.
func (r *repo) brief(leaks []git.Leak) []string {
	r.t.Helper()
	lines := []string{}
	for _, leak := range leaks {
		line := fmt.Sprintf("%s %q:%d", r.git("log", "-1", "--format=%s", leak.Commit), leak.Path, leak.Line)
		if leak.InTip {
			line += " tip"
		}
		lines = append(lines, line)
	}
	return lines
}

func newScanner(t testing.TB) *checks.Scanner {
	t.Helper()
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	s, err := checks.NewScanner(catalogue, bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// token is a token that is the same in every run.
func token(t testing.TB, seed byte) string {
	t.Helper()
	text, err := rules.Expand("ghp_{30:base62}{crc32}", rand.NewChaCha8([32]byte{seed}))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
