package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// Where the action keeps the commits that it fetches, apart from the job's refs.
	actionRefs = "refs/stanch/"
	// How a shallow clone is deepened: by a few commits, and then by more. After the
	// last step all is fetched.
	deepenFirst, deepenFactor, deepenSteps = 32, 4, 4
	// gitWait is how long a git that was stopped may keep its pipes open.
	gitWait = 2 * time.Second
)

// A checkout is the repository that a workflow's job checked out. git runs with its
// configuration, where actions/checkout keeps the credentials.
type checkout struct {
	dir    string
	server string // "https://github.com"
	token  string // for when the checkout kept no credentials; may be empty
}

// git runs git in the checkout and returns its output.
func (c checkout) git(ctx context.Context, args ...string) ([]byte, error) {
	return c.gitWith(ctx, nil, nil, args...)
}

func (c checkout) gitWith(ctx context.Context, env []string, stdin []byte, args ...string) ([]byte, error) {
	// In a container the checkout belongs to another user, as a rule.
	own := []string{"-C", c.dir, "-c", "safe.directory=*", "-c", "gc.auto=0", "-c", "maintenance.auto=false"}
	cmd := exec.CommandContext(ctx, "git", append(own, args...)...)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.WaitDelay = gitWait
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("git %s: %w", args[0], ctx.Err())
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("git is not installed on this runner")
	}
	return nil, fmt.Errorf("git %s: %s", args[0], reason(stderr.String(), err))
}

// reason is the line in which git says why it failed, without the user names and
// passwords of URLs. Advice may follow it.
func reason(stderr string, err error) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	last := lines[len(lines)-1]
	for _, line := range lines {
		if strings.HasPrefix(line, "fatal: ") {
			last = line
			break
		}
	}
	if strings.TrimSpace(last) == "" {
		return err.Error()
	}
	return regexp.MustCompile(`://[^/@\s]*@`).ReplaceAllString(strings.TrimSpace(last), "://")
}

// has says whether a commit is here, without asking the server of a partial clone.
func (c checkout) has(ctx context.Context, commit string) bool {
	_, err := c.gitWith(ctx, []string{"GIT_NO_LAZY_FETCH=1"}, nil, "cat-file", "-e", commit+"^{commit}")
	return err == nil
}

// shallow lists the commits behind which the clone has nothing.
func (c checkout) shallow(ctx context.Context) ([]string, error) {
	out, err := c.git(ctx, "rev-parse", "--path-format=absolute", "--git-path", "shallow")
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(strings.TrimRight(string(out), "\n"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return strings.Fields(string(text)), err
}

// fetch fetches from origin, with the credentials that the checkout kept or else
// with the token.
func (c checkout) fetch(ctx context.Context, args ...string) error {
	env := c.credentials(ctx)
	options := []string{"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"}
	_, err := c.gitWith(ctx, env, nil, append(options, args...)...)
	return err
}

// credentials hands git the token by its environment, which no other program sees,
// unless the checkout has credentials of its own: GitHub refuses two.
func (c checkout) credentials(ctx context.Context) []string {
	remote, err := c.git(ctx, "remote", "get-url", "origin")
	if err != nil || c.token == "" || c.server == "" || !strings.HasPrefix(string(remote), c.server+"/") {
		return nil
	}
	if out, err := c.git(ctx, "config", "--get-urlmatch", "http.extraheader", c.server+"/"); err == nil && len(out) > 0 {
		return nil
	}
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + c.token))
	return []string{
		"GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=http." + c.server + "/.extraheader",
		"GIT_CONFIG_VALUE_0=AUTHORIZATION: basic " + basic,
	}
}

// prepare makes sure that the commits of a plan are here, with nothing missing
// between them, and returns the plan with its base resolved.
func (c checkout) prepare(ctx context.Context, plan actionPlan) (actionPlan, error) {
	if err := c.bring(ctx, plan.tip, plan.tipRef); err != nil {
		return plan, fmt.Errorf("fetch %s: %w", plan.tip, err)
	}
	if err := c.bringBase(ctx, &plan); err != nil {
		return plan, fmt.Errorf("fetch %s, which it is compared with: %w", cmp.Or(plan.base, plan.branch), err)
	}
	return plan, c.connect(ctx, plan)
}

// bringBase fetches what the range is compared with. What a forced push left behind
// may be gone: then more is scanned, and never less.
func (c checkout) bringBase(ctx context.Context, plan *actionPlan) error {
	if plan.base != "" {
		err := c.bring(ctx, plan.base, "")
		if err == nil || plan.judge {
			return err
		}
		plan.note = fmt.Sprintf("%.7s, where the ref was before, cannot be had any more (%v): more is scanned than was pushed", plan.base, err)
		plan.base = ""
	}
	if plan.branch == "" {
		return nil
	}
	if err := c.fetch(ctx, append(c.depth(ctx), "origin", "+"+plan.branch+":"+actionRefs+"base")...); err != nil {
		return err
	}
	out, err := c.git(ctx, "rev-parse", "--verify", actionRefs+"base^{commit}")
	plan.base = strings.TrimSpace(string(out))
	return err
}

// depth is what a fetch into a shallow clone begins with, so that it does not bring
// the whole history.
func (c checkout) depth(ctx context.Context) []string {
	if cuts, err := c.shallow(ctx); err == nil && len(cuts) > 0 {
		return []string{"--depth=1"}
	}
	return nil
}

// bring fetches a commit that is not here, by its id or else by a ref that has it.
func (c checkout) bring(ctx context.Context, commit, ref string) error {
	if c.has(ctx, commit) {
		return nil
	}
	depth := c.depth(ctx)
	err := c.fetch(ctx, append(depth, "origin", commit)...)
	if err != nil && ref != "" {
		err = c.fetch(ctx, append(depth, "origin", ref)...)
	}
	if err == nil && !c.has(ctx, commit) {
		err = errors.New("the server does not have it any more")
	}
	return err
}

// connect deepens a shallow clone until the range is whole.
func (c checkout) connect(ctx context.Context, plan actionPlan) error {
	ends := []string{plan.tip}
	if plan.base != "" {
		ends = append(ends, plan.base)
	}
	amount := deepenFirst
	for step := 0; ; step++ {
		cut, err := c.cut(ctx, plan)
		if err != nil || !cut {
			return err
		}
		how := fmt.Sprintf("--deepen=%d", amount)
		switch {
		case step == deepenSteps:
			how = "--unshallow"
		case step > deepenSteps:
			return nil // the scan says where the history is cut
		}
		if err := c.fetch(ctx, append([]string{how, "origin"}, ends...)...); err != nil {
			return fmt.Errorf("fetch the history that the shallow clone lacks: %w", err)
		}
		amount *= deepenFactor
	}
}

// cut reports whether the history of the range is cut: whether there is a commit,
// on the way from either end to what both have, whose parents are not here. Were
// only the tip's side looked at, commits of the base that lie behind its own cut
// would count as new.
func (c checkout) cut(ctx context.Context, plan actionPlan) (bool, error) {
	cuts, err := c.shallow(ctx)
	if err != nil || len(cuts) == 0 {
		return false, err
	}
	span := plan.tip
	if plan.base != "" {
		span += "..." + plan.base
	}
	out, err := c.git(ctx, "rev-list", span, "--")
	if err != nil {
		return false, err
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		if slices.Contains(cuts, lines.Text()) {
			return true, nil
		}
	}
	return false, lines.Err()
}

// everything fetches all branches and tags with all their history.
func (c checkout) everything(ctx context.Context) error {
	args := []string{"origin", "+refs/heads/*:" + actionRefs + "heads/*", "+refs/tags/*:" + actionRefs + "tags/*"}
	cuts, err := c.shallow(ctx)
	if err != nil {
		return err
	}
	if len(cuts) > 0 {
		args = append([]string{"--unshallow"}, args...)
	}
	if err := c.fetch(ctx, args...); err != nil {
		return fmt.Errorf("fetch all branches and tags: %w", err)
	}
	return nil
}

// missing brings the files that a partial clone does not have, as git itself would
// (git/promisor-remote.c).
func (c checkout) missing(ctx context.Context, objects []string) error {
	stdin := []byte(strings.Join(objects, "\n") + "\n")
	_, err := c.gitWith(ctx, c.credentials(ctx), stdin, "-c", "fetch.negotiationAlgorithm=noop",
		"fetch", "--quiet", "origin", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", "--filter=blob:none", "--stdin")
	return err
}

// tidy takes out the refs that prepare and everything made.
func (c checkout) tidy(ctx context.Context) {
	out, err := c.git(ctx, "for-each-ref", "--format=delete %(refname)", strings.TrimSuffix(actionRefs, "/"))
	if err == nil && len(out) > 0 {
		// What stays behind does no harm: nothing looks there but the next run.
		_, _ = c.gitWith(ctx, nil, out, "update-ref", "--stdin")
	}
}

// show reads a file as a commit has it; ok is false when it has none.
func (c checkout) show(ctx context.Context, commit, path string) (text []byte, ok bool) {
	text, err := c.gitWith(ctx, c.credentials(ctx), nil, "cat-file", "blob", commit+":"+path)
	return text, err == nil
}
