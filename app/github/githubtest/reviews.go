package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A ReviewComment is a remark on a line of a pull request.
type ReviewComment struct {
	ID   int64
	Path string
	Line int
	Body string
	User string

	review  int64
	commit  string
	user    *account
	created time.Time
}

// ReviewComments lists the remarks on a pull request's lines, oldest first.
func (s *Server) ReviewComments(repository string, number int) []ReviewComment {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil || repo.pull(number) == nil {
		return nil
	}
	return slices.Clone(repo.pull(number).reviews)
}

// createReview takes a review with comments on lines that the pull request adds.
func createReview(c *call) (int, any, error) {
	p := c.repo.pull(int(c.id("number")))
	if p == nil {
		return 0, nil, errNotFound
	}
	var ask struct {
		CommitID string `json:"commit_id"`
		Event    string `json:"event"`
		Body     string `json:"body"`
		Comments []struct {
			Path string `json:"path"`
			Line int    `json:"line"`
			Side string `json:"side"`
			Body string `json:"body"`
		} `json:"comments"`
	}
	if err := c.decode(&ask); err != nil {
		return 0, nil, err
	}
	if ask.Event == "COMMENT" && ask.Body == "" {
		return 0, nil, invalid("Body is required for this event")
	}
	user := c.token.user
	if c.app != nil {
		user = c.app.bot
	}
	review, now := c.nextID(), c.now()
	var made []ReviewComment
	for _, one := range ask.Comments {
		if in, err := c.added(p, one.Path, one.Line); err != nil || !in || one.Side != "RIGHT" {
			return 0, nil, invalid("Unprocessable Entity: Line could not be resolved")
		}
		made = append(made, ReviewComment{
			ID: c.nextID(), Path: one.Path, Line: one.Line, Body: one.Body, User: user.login, review: review, commit: ask.CommitID, user: user, created: now,
		})
	}
	p.reviews = append(p.reviews, made...)
	html := fmt.Sprintf("%s#pullrequestreview-%d", p.html(c.Server), review)
	at := c.api("/repos/%s/pulls/%d", p.base.fullName(), p.number)
	return http.StatusOK, object{
		"id": review, "node_id": fmt.Sprintf("PRR_%d", review), "user": user.simple(c.Server), "body": ask.Body, "state": "COMMENTED",
		"html_url": html, "pull_request_url": at, "commit_id": ask.CommitID, "submitted_at": stamp(now), "author_association": "NONE",
		"_links": object{"html": object{"href": html}, "pull_request": object{"href": at}},
	}, nil
}

// added reports whether a pull request adds the line to the file.
func (c *call) added(p *pull, path string, line int) (bool, error) {
	dir := p.base.dir
	from := c.git.mergeBase(dir, "refs/heads/"+p.baseRef, p.headSHA)
	out, err := c.git.feed(dir, "", "diff", "--unified=0", "--no-color", from, p.headSHA, "--", path)
	if err != nil {
		return false, err
	}
	for text := range strings.Lines(out) {
		var start, count int
		_, hunk, is := strings.Cut(text, " +")
		if !is || !strings.HasPrefix(text, "@@ ") {
			continue
		}
		if n, _ := fmt.Sscanf(hunk, "%d,%d", &start, &count); n < 2 {
			count = 1
		}
		if line >= start && line < start+count {
			return true, nil
		}
	}
	return false, nil
}

func listReviewComments(c *call) (int, any, error) {
	p := c.repo.pull(int(c.id("number")))
	if p == nil {
		return 0, nil, errNotFound
	}
	return http.StatusOK, each(page(c, p.reviews), func(r ReviewComment) object { return r.json(c.Server, p) }), nil
}

func (r ReviewComment) json(s *Server, p *pull) object {
	at := s.api("/repos/%s/pulls/comments/%d", p.base.fullName(), r.ID)
	html := fmt.Sprintf("%s#discussion_r%d", p.html(s), r.ID)
	pull := s.api("/repos/%s/pulls/%d", p.base.fullName(), p.number)
	return object{
		"id": r.ID, "node_id": fmt.Sprintf("PRRC_%d", r.ID), "url": at, "html_url": html, "pull_request_url": pull,
		"pull_request_review_id": r.review, "diff_hunk": "", "path": r.Path, "line": r.Line, "side": "RIGHT",
		"commit_id": r.commit, "original_commit_id": r.commit, "user": r.user.simple(s), "body": r.Body,
		"created_at": stamp(r.created), "updated_at": stamp(r.created), "author_association": "NONE",
		"_links": object{"self": object{"href": at}, "html": object{"href": html}, "pull_request": object{"href": pull}},
	}
}
