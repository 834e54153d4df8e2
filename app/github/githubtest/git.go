package githubtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// gitCommand runs git, deaf to the configuration of the machine and of whoever
// runs it.
type gitCommand struct {
	dir     string // where all the repositories live
	backend string // git http-backend
	// commits are what was found to be one, by repository: none is ever removed.
	commits *sync.Map
	able    *sync.Map // what git's server can do, by repository
}

func newGitCommand(dir string) (gitCommand, error) {
	g := gitCommand{dir: dir, commits: new(sync.Map), able: new(sync.Map)}
	path, err := g.run("", "--exec-path")
	if err != nil {
		return g, fmt.Errorf("look for git, which the simulated GitHub needs: %w", err)
	}
	g.backend = filepath.Join(strings.TrimSpace(path), "git-http-backend")
	if _, err := os.Stat(g.backend); err != nil {
		return g, fmt.Errorf("look for git's HTTP server: %w", err)
	}
	return g, nil
}

// environment is what git gets to know.
func (g gitCommand) environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + g.dir,
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_TERMINAL_PROMPT=0",
	}
}

// run runs git in dir and returns what it prints.
func (g gitCommand) run(dir string, args ...string) (string, error) {
	return g.feed(dir, "", args...)
}

func (g gitCommand) feed(dir, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(context.Background(), "git", args...)
	cmd.Dir, cmd.Env = dir, g.environment()
	cmd.Stdin = strings.NewReader(input)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(complaint.Bytes()))
	}
	return string(out), nil
}

// settings make a bare repository behave like one of GitHub's: any object can
// be fetched by its name, filters work, nothing is ever collected, and
// refs/pull belongs to the server.
var settings = [][2]string{
	{"http.receivepack", "true"},
	{"uploadpack.allowFilter", "true"},
	{"uploadpack.allowAnySHA1InWant", "true"},
	{"receive.hideRefs", "refs/pull"},
	{"receive.autogc", "false"},
	{"gc.auto", "0"},
}

func (g gitCommand) initialise(dir, branch string, sha256 bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a repository: %w", err)
	}
	format := "sha1"
	if sha256 {
		format = "sha256"
	}
	if _, err := g.run(dir, "init", "--quiet", "--bare", "--template=", "--initial-branch="+branch, "--object-format="+format); err != nil {
		return err
	}
	return g.configure(dir)
}

func (g gitCommand) configure(dir string) error {
	for _, setting := range settings {
		if _, err := g.run(dir, "config", setting[0], setting[1]); err != nil {
			return err
		}
	}
	return nil
}

// fork makes a bare repository that borrows parent's objects.
func (g gitCommand) fork(parent, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make a fork: %w", err)
	}
	if _, err := g.run(g.dir, "clone", "--quiet", "--bare", "--shared", "--template=", parent, dir); err != nil {
		return err
	}
	return g.configure(dir)
}

// refs maps the branches and tags of a repository to what they point at.
func (g gitCommand) refs(dir string) (map[string]string, error) {
	out, err := g.run(dir, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		sha, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		refs[name] = sha
	}
	return refs, nil
}

// commit resolves a name to a commit; "" when it names none.
func (g gitCommand) commit(dir, name string) string {
	if strings.HasPrefix(name, "-") {
		return ""
	}
	if _, known := g.commits.Load([2]string{dir, name}); known {
		return name
	}
	out, err := g.run(dir, "rev-parse", "--verify", "--quiet", name+"^{commit}")
	if err != nil {
		return ""
	}
	sha := strings.TrimSpace(out)
	g.commits.Store([2]string{dir, sha}, nil)
	return sha
}

// ancestor reports whether old is in the history of new.
func (g gitCommand) ancestor(dir, old, new string) bool {
	_, err := g.run(dir, "merge-base", "--is-ancestor", old, new)
	return err == nil
}

var errNoFile = errors.New("no such file")

// file reads a file of a commit, and its blob's name.
func (g gitCommand) file(dir, ref, path string) (sha string, data []byte, err error) {
	commit := g.commit(dir, ref)
	if commit == "" {
		return "", nil, errNoFile
	}
	out, err := g.run(dir, "ls-tree", "-z", commit, "--", path)
	if err != nil {
		return "", nil, err
	}
	fields := strings.Fields(strings.SplitN(out, "\t", 2)[0]) // mode, type, name
	if len(fields) != 3 || fields[1] != "blob" {
		return "", nil, errNoFile
	}
	text, err := g.run(dir, "cat-file", "blob", fields[2])
	return fields[2], []byte(text), err
}

// fetch copies a branch of another repository here, whatever was there.
func (g gitCommand) fetch(dir, from, source, target string) error {
	_, err := g.run(dir, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", from, "+"+source+":"+target)
	return err
}

// merge makes a commit that merges head into base, as a queue does.
func (g gitCommand) merge(dir, base, head string) (string, error) {
	tree, err := g.run(dir, "merge-tree", "--write-tree", base, head)
	if err != nil {
		return "", err
	}
	out, err := g.run(dir, "-c", "user.name=GitHub", "-c", "user.email=noreply@github.com",
		"commit-tree", "-p", base, "-p", head, "-m", "Merge pull request", strings.TrimSpace(tree))
	return strings.TrimSpace(out), err
}

// count counts the commits that are in head and not in base.
func (g gitCommand) count(dir, base, head string) (int, error) {
	out, err := g.run(dir, "rev-list", "--count", head, "^"+base)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(out))
}

// mergeBase is the best common ancestor of two commits; base itself when they
// have none.
func (g gitCommand) mergeBase(dir, base, head string) string {
	out, err := g.run(dir, "merge-base", base, head)
	if err != nil {
		return base
	}
	return strings.TrimSpace(out)
}

// stat counts the files and lines that differ between two commits.
func (g gitCommand) stat(dir, from, to string) (files, added, removed int, err error) {
	out, err := g.run(dir, "diff-tree", "-r", "--no-renames", "--numstat", from, to)
	if err != nil {
		return 0, 0, 0, err
	}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		files++
		added += number(fields[0])
		removed += number(fields[1])
	}
	return files, added, removed, nil
}

// number reads a count of lines; git writes "-" for a binary file.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}

// subject is the first line of a commit's message; "" of what is no commit.
func (g gitCommand) subject(dir, sha string) string {
	if none(sha) {
		return ""
	}
	out, err := g.run(dir, "log", "-1", "--format=%s", sha)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}
