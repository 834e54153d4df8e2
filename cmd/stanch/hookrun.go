package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/report"
)

// runHookNow does what an installed hook asks for. All that it says goes to
// standard error: what calls git may read its standard output.
func (env *environment) runHookNow(ctx context.Context, args []string) int {
	var files []string
	f := flag.NewFlagSet("hook run", flag.ContinueOnError)
	f.Func("rules", "use the rules in `FILE` too; may be repeated", listOf(&files))
	args, err := env.parseFlags(f, hookUsage, args)
	if err != nil {
		return env.exit(err)
	}
	if len(args) == 0 {
		return env.fail(errors.New("which hook? write “stanch hook run pre-commit” or “stanch hook run pre-push”"))
	}
	var scan func(*hookRun) (scanned, error)
	switch name, rest := args[0], args[1:]; name {
	case preCommit:
		scan = func(h *hookRun) (scanned, error) { return h.staged(ctx) }
	case prePush:
		scan = func(h *hookRun) (scanned, error) { return h.pushed(ctx, rest) }
	default:
		return env.fail(unknown("hook", name, []string{preCommit, prePush}, "stanch hook --help"))
	}
	h, err := env.newHookRun(ctx, args[0], files)
	if err != nil {
		return env.fail(err)
	}
	found, err := scan(h)
	if err != nil {
		return env.fail(errors.New(h.session.hide(err.Error())))
	}
	return h.conclude(ctx, found)
}

// A hookRun is one run of a hook.
type hookRun struct {
	env        *environment
	name       string
	session    *session
	top        string // the work tree's top folder; empty in a bare repository
	repository *git.Repository
}

func (env *environment) newHookRun(ctx context.Context, name string, files []string) (*hookRun, error) {
	s, err := env.newSession(files)
	if err != nil {
		return nil, err
	}
	dir, err := userGit(ctx, "rev-parse", "--absolute-git-dir")
	if err != nil {
		return nil, err
	}
	h := &hookRun{env: env, name: name, session: s}
	h.top, _ = userGit(ctx, "rev-parse", "--show-toplevel") // none in a bare repository
	h.repository, err = git.Open(ctx, dir)
	return h, err
}

// A pushedRef is a line that git gives pre-push on standard input (githooks(5)).
type pushedRef struct{ localRef, tip, remoteRef, old string }

func readPushed(r io.Reader) ([]pushedRef, error) {
	var all []pushedRef
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 0 {
			continue
		}
		if len(f) != 4 {
			return nil, errors.New("standard input must have lines of “LOCAL-REF LOCAL-ID REMOTE-REF REMOTE-ID”, as git gives them to pre-push")
		}
		all = append(all, pushedRef{f[0], f[1], f[2], f[3]})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read what is pushed: %w", err)
	}
	return all, nil
}

// pushed scans the commits that a push brings to the remote, each once.
func (h *hookRun) pushed(ctx context.Context, args []string) (scanned, error) {
	refs, remote, err := h.refs(args)
	if err != nil {
		return scanned{}, err
	}
	// What the remote has, as far as it is known here, and what was scanned already.
	known := []string{"--remotes=" + remote}
	all := scanned{what: "nothing: the push brings no commits"}
	var coverage checks.Coverage
	for _, ref := range refs {
		if zeroID(ref.tip) {
			continue // the push deletes it
		}
		span, empty, err := h.span(ctx, ref, known)
		if err != nil {
			return scanned{}, err
		}
		if empty {
			continue
		}
		result, err := h.repository.Scan(ctx, span, h.session.scanner, nil)
		if err != nil {
			return scanned{}, err
		}
		found := scannedGit(result)
		all.findings = append(all.findings, found.findings...)
		all.problems = append(all.problems, found.problems...)
		all.bytes += found.bytes
		coverage.Commits += result.Coverage.Commits
		coverage.Blobs += result.Coverage.Blobs
		all.what = report.Count(coverage.Commits, "commit") + ", " + report.Count(coverage.Blobs, "file")
		known = append(known, ref.tip)
	}
	return all, nil
}

// refs are what is pushed, and the remote that it goes to. The pre-commit framework
// tells by its environment: a range, or for a new branch its name alone, or nothing
// when somebody runs it by hand.
func (h *hookRun) refs(args []string) (refs []pushedRef, remote string, err error) {
	env := h.env.getenv
	if env("PRE_COMMIT") == "1" {
		name := cmp.Or(env("PRE_COMMIT_LOCAL_BRANCH"), "HEAD")
		return []pushedRef{{name, cmp.Or(env("PRE_COMMIT_TO_REF"), name), env("PRE_COMMIT_REMOTE_BRANCH"), env("PRE_COMMIT_FROM_REF")}},
			cmp.Or(env("PRE_COMMIT_REMOTE_NAME"), "*"), nil
	}
	if len(args) == 0 {
		return nil, "", errors.New("pre-push wants the remote's name, and on standard input what is pushed: git gives both to .git/hooks/pre-push")
	}
	refs, err = readPushed(h.env.stdin)
	return refs, args[0], err
}

// span is the range of commits that pushing ref brings. The remote has what its
// branches were when they were last looked at, and what the ref is there now; what
// it is there may not be here.
func (h *hookRun) span(ctx context.Context, ref pushedRef, known []string) (git.Range, bool, error) {
	tip, err := h.repository.Commit(ctx, ref.tip)
	if err != nil {
		return git.Range{}, false, fmt.Errorf("%s is no commit, and so cannot be scanned: %w", ref.localRef, err)
	}
	args := append([]string{"rev-list", "--boundary", tip, "--not"}, known...)
	if !zeroID(ref.old) {
		if old, err := h.repository.Commit(ctx, ref.old); err == nil {
			args = append(args, old)
		}
	}
	out, err := userGit(ctx, append(args, "--")...)
	if err != nil {
		return git.Range{}, false, fmt.Errorf("list the commits of %s: %w", ref.localRef, err)
	}
	// The commits on the boundary tell all that the remote has, in few words.
	span, empty := git.Range{Tip: tip}, true
	for line := range strings.Lines(out) {
		if base, found := strings.CutPrefix(strings.TrimSpace(line), "-"); found {
			span.Bases = append(span.Bases, base)
		} else {
			empty = false
		}
	}
	return span, empty, nil
}

// conclude tells what was found and what to do about it.
func (h *hookRun) conclude(ctx context.Context, found scanned) int {
	found.hide(h.session.scanner)
	found.pardon(nil)
	if err := h.forgive(ctx, &found); err != nil {
		return h.env.fail(err)
	}
	if err := report.Text(h.env.stderr, found.findings, false); err != nil {
		return h.env.fail(err)
	}
	for _, problem := range found.problems {
		fmt.Fprintf(h.env.stderr, "stanch: not scanned: %s\n", report.Printable(problem))
	}
	switch {
	case len(found.findings) > 0:
		fmt.Fprint(h.env.stderr, h.advice(len(found.findings)))
		return exitFound
	case len(found.problems) > 0:
		fmt.Fprintf(h.env.stderr, "stanch: the %s was stopped, because not everything could be scanned. To go on all the same: git %[1]s --no-verify\n", h.verb())
		return exitFailed
	}
	return exitDone
}

// forgive takes out what the repository's baseline knows.
func (h *hookRun) forgive(ctx context.Context, found *scanned) error {
	if !h.hasBaseline() || len(found.findings) == 0 {
		return nil
	}
	b, err := readBaseline(filepath.Join(h.top, baselineDefault))
	if err != nil {
		return err
	}
	c, err := b.compare(ctx, found.findings)
	if err != nil {
		return err
	}
	found.findings = unknownOf(c, found.findings)
	return nil
}

// hasBaseline says whether the repository has a baseline.
func (h *hookRun) hasBaseline() bool {
	_, err := os.Stat(filepath.Join(h.top, baselineDefault))
	return err == nil && h.top != ""
}

// verb is what git was asked to do.
func (h *hookRun) verb() string { return strings.TrimPrefix(h.name, "pre-") }

// advice says what to do, the best thing first and the way round it last.
func (h *hookRun) advice(n int) string {
	write := "create"
	if h.hasBaseline() {
		write = "update"
	}
	those, them := "this secret", "it"
	if n > 1 {
		those, them = "these secrets", "them"
	}
	if h.name == preCommit {
		return fmt.Sprintf(`stanch: the commit was stopped, and nothing is lost: it would record %s for ever. Now:
  - take %[2]s out of the file, read %[2]s from the environment or a secret store, “git add” the file and commit again;
  - if anybody else may have seen %[2]s, replace %[2]s: “next” above says how;
  - if it is no secret: write “stanch:allow” in a comment on its line, or
    stanch baseline %[4]s --staged && git add %[3]s, and commit again.
If all else fails: git commit --no-verify
`, those, them, baselineDefault, write)
	}
	return fmt.Sprintf(`stanch: the push was stopped, and nothing is lost: it would show %s to everybody who reads the remote. Now:
  - take %[2]s out of the commits that are not pushed yet: git rebase -i, or git reset --soft to before them and commit again;
  - if anybody else may have seen %[2]s, replace %[2]s: “next” above says how;
  - if it is no secret: stanch baseline %[4]s --git RANGE, commit %[3]s, and push again.
If all else fails: git push --no-verify
`, those, them, baselineDefault, write)
}

// zeroID reports whether an id stands for no commit: zeros, as many as the
// repository's ids have digits.
func zeroID(id string) bool { return strings.Trim(id, "0") == "" }
