package github

import (
	"context"
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/checks/git"
)

// taggedFile is the path under which the content of a tagged file is scanned: a
// tag of a file says what is in it, and not what it is called.
const taggedFile = "(tagged file)"

// wrap makes a commit of the folder or the file that a tag names, so that it can be
// scanned as every other one. The commit never leaves the mirror.
func (m *Mirror) wrap(ctx context.Context, rev string) (commit string, err error) {
	object, err := m.output(ctx, "", "rev-parse", "--verify", "--end-of-options", rev+"^{}")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	kind, err := m.output(ctx, "", "cat-file", "-t", object)
	if err != nil {
		// What a tag names and did not come along is a file: the fetch brings none.
		kind = "blob"
	}
	if kind == "blob" {
		object, err = m.output(ctx, "100644 blob "+object+"\t"+taggedFile+"\n", "mktree", "--missing")
		if err != nil {
			return "", err
		}
	}
	return m.output(ctx, "", "commit-tree", "-m", "what a tag names", object)
}

// output runs git in the mirror and returns its one line.
func (m *Mirror) output(ctx context.Context, input string, args ...string) (string, error) {
	cmd := git.Command(ctx, m.dir, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(cmd.Env, "GIT_AUTHOR_NAME=nobody", "GIT_AUTHOR_EMAIL=nobody", "GIT_AUTHOR_DATE=@0 +0000",
		"GIT_COMMITTER_NAME=nobody", "GIT_COMMITTER_EMAIL=nobody", "GIT_COMMITTER_DATE=@0 +0000")
	out, err := git.Run(ctx, cmd)
	return strings.TrimSpace(string(out)), err
}
