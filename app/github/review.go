package github

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v62/github"
)

// A ReviewComment is a remark on a line of a pull request's head commit, which the
// pull request must have added or be near to.
type ReviewComment struct {
	Path string `json:"path"`
	Line int    `json:"line"`
	Side string `json:"side"` // always RIGHT: the new file
	Body string `json:"body"`
}

// Review puts comments on a pull request in one review, which is one notification.
// Those that it has already, by the hidden marker that a comment begins with, are
// left out, so that calling it again after a crash doubles nothing. Calls for one
// pull request must not overlap.
func (i *Installation) Review(ctx context.Context, repo Repository, pull int, sha, body string, comments []ReviewComment) error {
	if err := checkPath(repo, sha); err != nil {
		return err
	}
	old, err := i.reviewComments(ctx, repo, pull)
	if err != nil {
		return err
	}
	var fresh []ReviewComment
	for _, c := range comments {
		marker, _, _ := strings.Cut(c.Body, "\n")
		if !old[marker] {
			fresh = append(fresh, c)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	path := fmt.Sprintf("repos/%s/%s/pulls/%d/reviews", repo.Owner, repo.Name, pull)
	review := map[string]any{"commit_id": sha, "event": "COMMENT", "body": body, "comments": fresh}
	err = i.do(ctx, writePulls.in(repo), func(ctx context.Context, c *gh.Client) error {
		_, err := send(ctx, c, http.MethodPost, path, review, nil)
		return closed(err)
	})
	if err != nil {
		return fmt.Errorf("review %s#%d: %w", repo.FullName(), pull, err)
	}
	return nil
}

// reviewComments are the first lines of the App's own comments in reviews.
func (i *Installation) reviewComments(ctx context.Context, repo Repository, pull int) (map[string]bool, error) {
	first := map[string]bool{}
	next := 1
	for range maxPages {
		path := fmt.Sprintf("repos/%s/%s/pulls/%d/comments?per_page=%d&page=%d", repo.Owner, repo.Name, pull, perPage, next)
		var page []struct {
			Body string `json:"body"`
			User struct {
				Type string `json:"type"`
			} `json:"user"`
		}
		var resp *gh.Response
		err := i.do(ctx, writePulls.in(repo), func(ctx context.Context, c *gh.Client) (err error) {
			resp, err = send(ctx, c, http.MethodGet, path, nil, &page)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list review comments of %s#%d: %w", repo.FullName(), pull, err)
		}
		for _, c := range page {
			if c.User.Type == "Bot" {
				line, _, _ := strings.Cut(strings.ReplaceAll(c.Body, "\r", ""), "\n")
				first[line] = true
			}
		}
		if next = resp.NextPage; next == 0 {
			return first, nil
		}
	}
	return nil, fmt.Errorf("list review comments of %s#%d: more than %d pages", repo.FullName(), pull, maxPages)
}
