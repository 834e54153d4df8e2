package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/rules"
)

// sampleOf makes up a value of a kind, with the text around it that the kind needs.
func sampleOf(t *testing.T, rule string) string {
	t.Helper()
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range catalogue {
		if r.ID == rule {
			value, err := rules.Expand(r.Sample, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("the catalogue has no rule %s", rule)
	return ""
}

// A gitRepo is a repository of a test.
type gitRepo struct {
	t   *testing.T
	dir string
}

// isolateGit keeps git away from the configuration of whoever runs the tests.
func isolateGit(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "XDG_CONFIG_HOME": t.TempDir(),
		"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org",
		"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org",
	} {
		t.Setenv(name, value)
	}
}

func newGitRepo(t *testing.T) gitRepo {
	t.Helper()
	r := gitRepo{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

// git runs git in the repository and returns what it printed.
func (r gitRepo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"--literal-pathspecs"}, args...)...)
	cmd.Dir = r.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %s: %v: %s", args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// commit writes a file, or removes it when the text is empty, and commits it.
func (r gitRepo) commit(path, text string) string {
	r.t.Helper()
	name := filepath.Join(r.dir, path)
	if text == "" {
		r.git("rm", "-q", "--", path)
	} else {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
		r.git("add", "--", path)
	}
	r.git("commit", "-q", "-m", "change "+filepath.Base(path))
	return r.git("rev-parse", "HEAD")
}

// checkout makes a clone as actions/checkout does: of one ref, of so many commits.
// A depth of 0 means all history of all branches.
func (r gitRepo) checkout(ref, depth string) gitRepo {
	r.t.Helper()
	c := gitRepo{r.t, r.t.TempDir()}
	c.git("init", "-q")
	c.git("remote", "add", "origin", "file://"+r.dir)
	if depth == "0" {
		c.git("fetch", "-q", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*", "+"+ref+":refs/remotes/checkout")
	} else {
		c.git("fetch", "-q", "--no-tags", "--depth="+depth, "origin", "+"+ref+":refs/remotes/checkout")
	}
	c.git("checkout", "-q", "--detach", "refs/remotes/checkout")
	return c
}
