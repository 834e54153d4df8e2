// Package git reads git objects as a source for scans: every line that a range
// of commits adds, merges and second parents included, with a manifest of what
// was covered.
//
// It runs the installed git on a local repository and opens no connection. The
// repository may be hostile. Its configuration is read only to find the names of
// commits, by a git that is kept from running anything (see Command). The
// objects are then read through an empty git directory of our own, so that no
// configuration, attribute, graft, replacement or promised object of the
// repository has a say in what is scanned.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// The oldest git that is good enough: the first that can be told to ignore the
// user's configuration by GIT_CONFIG_GLOBAL (git's RelNotes/2.32.0).
const minMajor, minMinor = 2, 32

// Errors that callers tell apart.
var (
	// ErrNotRepository means that there is no git repository at that path.
	ErrNotRepository = errors.New("not a git repository")
	// ErrNoCommit means that a revision names no commit that is there.
	ErrNoCommit = errors.New("no such commit")
)

// A Repository is a local git repository.
type Repository struct {
	dir    string // its git directory
	common string // the git directory that holds objects and refs, shared by worktrees
	format string // its object format: sha1 or sha256

	commits sync.Map // ids that were found to be commits', which they stay
}

// Open finds the repository that dir belongs to: a work tree, a folder in one,
// or a bare repository.
func Open(ctx context.Context, dir string) (*Repository, error) {
	if err := checkVersion(ctx); err != nil {
		return nil, err
	}
	switch info, err := os.Stat(dir); {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("open repository %s: there is no such folder", dir)
	case err == nil && !info.IsDir():
		return nil, fmt.Errorf("open repository %s: it is a file; name the folder that it is in", dir)
	}
	answer, err := line(ctx, dir, "rev-parse", "--path-format=absolute", "--show-object-format", "--absolute-git-dir", "--git-common-dir")
	if failed := (*CommandError)(nil); errors.As(err, &failed) && strings.Contains(failed.Stderr, "not a git repository") {
		return nil, fmt.Errorf("open %s: %w", dir, ErrNotRepository)
	}
	if err != nil {
		return nil, fmt.Errorf("open repository %s: %w", dir, err)
	}
	parts := strings.Split(answer, "\n")
	if len(parts) != 3 {
		return nil, fmt.Errorf("open repository %s: its path has an end of line in it: rename the folder", dir)
	}
	return &Repository{format: parts[0], dir: parts[1], common: parts[2]}, nil
}

// OpenBare is Open for a bare repository that the caller made, in an object format.
func OpenBare(ctx context.Context, dir, format string) (*Repository, error) {
	if err := checkVersion(ctx); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	return &Repository{format: format, dir: dir, common: dir}, err
}

// Dir is the repository's git directory.
func (r *Repository) Dir() string { return r.dir }

// Commit returns the full id of the commit that rev names, annotated tags
// followed. The error is ErrNoCommit when there is none.
func (r *Repository) Commit(ctx context.Context, rev string) (string, error) {
	if err := validRevision(rev); err != nil {
		return "", err
	}
	if _, known := r.commits.Load(rev); known {
		return rev, nil
	}
	id, err := line(ctx, r.dir, "rev-parse", "--verify", "--end-of-options", rev+"^{commit}")
	if failed := (*CommandError)(nil); errors.As(err, &failed) {
		return "", fmt.Errorf("revision %q: %w", rev, ErrNoCommit)
	}
	if err != nil {
		return "", fmt.Errorf("revision %q: %w", rev, err)
	}
	if _, err := parseObjectID(id); err != nil {
		return "", fmt.Errorf("revision %q: git answered with %w", rev, err)
	}
	r.commits.Store(id, nil)
	return id, nil
}

// Commits looks up many revisions at once, each as Commit does. Those that name no
// commit are not in the answer.
func (r *Repository) Commits(ctx context.Context, revs ...string) (map[string]string, error) {
	var asked strings.Builder
	for _, rev := range revs {
		if err := validRevision(rev); err != nil {
			return nil, err
		}
		asked.WriteString(rev + "^{commit}\n")
	}
	cmd := Command(ctx, r.dir, "cat-file", "--batch-check=%(objectname)")
	cmd.Stdin = strings.NewReader(asked.String())
	out, err := Run(ctx, cmd)
	if err != nil {
		return nil, fmt.Errorf("look up %d revisions: %w", len(revs), err)
	}
	answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != len(revs) {
		return nil, fmt.Errorf("look up %d revisions: git answered with %d lines", len(revs), len(answers))
	}
	found := map[string]string{}
	for n, id := range answers {
		if _, err := parseObjectID(id); err == nil {
			found[revs[n]] = id
			r.commits.Store(id, nil)
		}
	}
	return found, nil
}

// validRevision refuses what cannot be a revision or would make git look into
// the index (":path").
func validRevision(rev string) error {
	if rev == "" || rev[0] == '-' || rev[0] == ':' || strings.ContainsAny(rev, "\x00\n\r") {
		return fmt.Errorf("revision %q: %w: write a branch, a tag or a commit id", rev, ErrNoCommit)
	}
	return nil
}

// line runs git and returns its output without the line's end.
func line(ctx context.Context, dir string, args ...string) (string, error) {
	out, err := Run(ctx, Command(ctx, dir, args...))
	return string(bytes.TrimSuffix(out, []byte("\n"))), err
}

// checkVersion reports a git that is missing or too old.
func checkVersion(ctx context.Context) error {
	path, err := exec.LookPath("git")
	if _, known := goodGits.Load(path); known && err == nil {
		return nil
	}
	out, err := line(ctx, "", "version")
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("git is not installed, or not in PATH: install git %d.%d or later", minMajor, minMinor)
	}
	if err != nil {
		return err
	}
	if err := goodVersion(out); err != nil {
		return err
	}
	goodGits.Store(path, nil)
	return nil
}

// goodGits are the programs whose version was asked, and is good.
var goodGits sync.Map

// goodVersion judges the answer of "git version".
func goodVersion(answer string) error {
	m := regexp.MustCompile(`^git version (\d+)\.(\d+)`).FindStringSubmatch(answer)
	if m == nil {
		return fmt.Errorf("git version: cannot read its answer %q", answer)
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	if major < minMajor || major == minMajor && minor < minMinor {
		return fmt.Errorf("git %d.%d is too old: install git %d.%d or later", major, minor, minMajor, minMinor)
	}
	return nil
}
