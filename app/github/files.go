package github

import (
	"context"
	"errors"
	"fmt"

	gh "github.com/google/go-github/v62/github"
)

// ErrNoFile means that a path of a repository leads to something that is no regular
// file, or to one that GitHub does not send in one answer: more than a megabyte
// (docs.github.com/rest/repos/contents).
var ErrNoFile = errors.New("not a regular file of at most one megabyte")

// File returns a file by its path from the root, as a commit has it; without one, as
// the default branch has it.
func (i *Installation) File(ctx context.Context, repo Repository, path, commit string) ([]byte, error) {
	if err := checkPath(repo); err != nil {
		return nil, err
	}
	ctx = conditionally(ctx)
	opts := &gh.RepositoryContentGetOptions{Ref: commit}
	var file *gh.RepositoryContent
	err := i.do(ctx, readContents.in(repo), func(ctx context.Context, c *gh.Client) (err error) {
		file, _, _, err = c.Repositories.GetContents(ctx, repo.Owner, repo.Name, path, opts)
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s of %s: %w", path, repo.FullName(), err)
	case file == nil || file.GetType() != "file" || file.GetEncoding() == "none":
		return nil, fmt.Errorf("read %s of %s: %w", path, repo.FullName(), ErrNoFile)
	}
	text, err := file.GetContent()
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: GitHub's answer holds no content: %w", path, repo.FullName(), err)
	}
	return []byte(text), nil
}

// Bring returns the commit that a full object id or the full name of a ref names,
// fetched if it did not come with the range, or ErrMissing.
func (m *Mirror) Bring(ctx context.Context, rev string) (string, error) { return m.base(ctx, rev) }
