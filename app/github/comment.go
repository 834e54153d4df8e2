package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v62/github"
)

// comment is what is needed of an issue comment. go-github's type lacks the
// App that wrote it.
type comment struct {
	ID   int64  `json:"id,omitzero"`
	Body string `json:"body"`
	App  *struct {
		ID int64 `json:"id"`
	} `json:"performed_via_github_app,omitempty"`
}

// UpsertComment sees that pull request pull has one comment of ours with
// marker, and that it says body. It edits in place if it must and creates a
// comment if there is none; calls for one pull request must not overlap.
//
// Marker is an HTML comment that body contains. That alone proves nothing,
// since anybody can write it: a comment is ours if GitHub says that our App
// made it.
func (i *Installation) UpsertComment(ctx context.Context, repo Repository, pull int, marker, body string) (created bool, err error) {
	found, err := i.EditComment(ctx, repo, pull, marker, body)
	if found || err != nil {
		return false, err
	}
	path := fmt.Sprintf("repos/%s/%s/issues/%d/comments", repo.Owner, repo.Name, pull)
	err = i.writeComment(ctx, repo, http.MethodPost, path, body)
	if err != nil {
		return false, fmt.Errorf("comment on %s#%d: %w", repo.FullName(), pull, err)
	}
	return true, nil
}

// EditComment makes our comment with marker say body, if there is one. It
// never creates one.
func (i *Installation) EditComment(ctx context.Context, repo Repository, pull int, marker, body string) (found bool, err error) {
	if err := checkPath(repo); err != nil {
		return false, err
	}
	if pull <= 0 || marker == "" || !strings.Contains(body, marker) {
		return false, fmt.Errorf("comment on %s#%d: the body must contain its marker, and the number be positive", repo.FullName(), pull)
	}
	old, err := i.findComment(ctx, repo, pull, marker)
	if err != nil {
		return false, fmt.Errorf("look for our comment on %s#%d: %w", repo.FullName(), pull, err)
	}
	if old == nil {
		return false, nil
	}
	if normalize(old.Body) == normalize(body) {
		return true, nil
	}
	path := fmt.Sprintf("repos/%s/%s/issues/comments/%d", repo.Owner, repo.Name, old.ID)
	if err := i.writeComment(ctx, repo, http.MethodPatch, path, body); err != nil {
		return true, fmt.Errorf("edit our comment on %s#%d: %w", repo.FullName(), pull, err)
	}
	return true, nil
}

// normalize undoes what GitHub may do to a body on its way in.
func normalize(body string) string {
	return strings.TrimSpace(strings.ReplaceAll(body, "\r\n", "\n"))
}

// findComment returns our first comment with marker, nil if there is none.
func (i *Installation) findComment(ctx context.Context, repo Repository, pull int, marker string) (*comment, error) {
	next := 1
	for range maxPages {
		path := fmt.Sprintf("repos/%s/%s/issues/%d/comments?per_page=%d&page=%d", repo.Owner, repo.Name, pull, perPage, next)
		var page []comment
		var resp *gh.Response
		err := i.do(ctx, writePulls.in(repo), func(ctx context.Context, c *gh.Client) (err error) {
			resp, err = send(ctx, c, http.MethodGet, path, nil, &page)
			return err
		})
		if err != nil {
			return nil, closed(err)
		}
		for _, c := range page {
			if c.App != nil && c.App.ID == i.app.id && strings.Contains(c.Body, marker) {
				return &c, nil
			}
		}
		if next = resp.NextPage; next == 0 {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("more than %d comments", maxPages*perPage)
}

func (i *Installation) writeComment(ctx context.Context, repo Repository, method, path, body string) error {
	return closed(i.do(ctx, writePulls.in(repo), func(ctx context.Context, c *gh.Client) error {
		_, err := send(ctx, c, method, path, comment{Body: body}, nil)
		return err
	}))
}

// closed recognises that nobody may comment: 410 when comments are disabled,
// 403 that speaks of a lock when the conversation is locked.
func closed(err error) error {
	var refused *gh.ErrorResponse
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Response.StatusCode {
	case http.StatusGone:
		return fmt.Errorf("%w: %w", ErrCommentsClosed, err)
	case http.StatusForbidden:
		if strings.Contains(refused.Message, "locked") {
			return fmt.Errorf("%w: %w", ErrCommentsClosed, err)
		}
	}
	return err
}
