package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"
)

// MaxComment is how many characters a comment may have ("Body is too long
// (maximum is 65536 characters)").
const MaxComment = 65536

// A Comment is a comment on a pull request.
type Comment struct {
	ID         int64
	Repository string
	Number     int    // of the pull request
	User       string // "slug[bot]" when an App wrote it
	AppID      int64  // 0 when a person wrote it
	Body       string
	Reactions  []Reaction // oldest first
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

type comment struct {
	Comment
	repo *repository
	user *account
	app  *app
}

// Comments lists the comments on a pull request, oldest first.
func (s *Server) Comments(repository string, number int) []Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return nil
	}
	return each(s.commentsOn(repo, number), (*comment).export)
}

func (c *comment) export() Comment {
	shown := c.Comment
	shown.Reactions = slices.Clone(c.Reactions)
	return shown
}

func (s *Server) commentsOn(repo *repository, number int) []*comment {
	var list []*comment
	for _, c := range s.comments {
		if c.repo == repo && c.Number == number {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *comment) int { return int(a.ID - b.ID) })
	return list
}

// Comment writes a comment as a person does, who may be a stranger.
func (s *Server) Comment(repository string, number int, login, body string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return 0, err
	}
	if repo.pull(number) == nil {
		return 0, fmt.Errorf("comment on pull request %d of %s: there is no such one", number, repository)
	}
	return s.write(repo, number, s.account(login, "User"), nil, body).ID, nil
}

// EditComment changes a comment as its author does.
func (s *Server) EditComment(id int64, body string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.comments[id]
	if found == nil {
		return fmt.Errorf("edit comment %d: there is no such one", id)
	}
	s.edit(found, body)
	return nil
}

func (s *Server) edit(c *comment, body string) {
	was := c.Body
	c.Body, c.UpdatedAt = body, s.now()
	s.sendComment(c, "edited", object{"changes": object{"body": object{"from": was}}})
}

// write makes a comment and tells the Apps of it.
func (s *Server) write(repo *repository, number int, user *account, a *app, body string) *comment {
	made, now := &comment{repo: repo, user: user, app: a}, s.now()
	made.Comment = Comment{
		ID: s.nextID(), Repository: repo.fullName(), Number: number, User: user.login, Body: body,
		CreatedAt: now, UpdatedAt: now,
	}
	if a != nil {
		made.AppID = a.id
	}
	s.comments[made.ID] = made
	s.sendComment(made, "created", nil)
	return made
}

func (s *Server) sendComment(c *comment, action string, more object) {
	payload := object{
		"action": action, "comment": c.json(s), "issue": c.issue(s), "sender": c.user.simple(s),
	}
	for field, value := range more {
		payload[field] = value
	}
	s.sendAbout(c.repo, "issue_comment", payload)
}

// commentRoutes answers GET …/issues/{number}/comments and
// …/issues/comments/{id}, which http.ServeMux cannot tell apart.
func commentRoutes(c *call) (int, any, error) {
	switch {
	case c.PathValue("number") == "comments":
		return showComment(c)
	case c.PathValue("id") == "comments":
		return listComments(c)
	}
	return c.unknownRoute()
}

func listComments(c *call) (int, any, error) {
	number := int(c.id("number"))
	if c.repo.pull(number) == nil {
		return 0, nil, errNotFound
	}
	list := c.commentsOn(c.repo, number)
	if since, err := time.Parse(time.RFC3339, c.query().Get("since")); err == nil {
		list = slices.DeleteFunc(list, func(c *comment) bool { return c.UpdatedAt.Before(since) })
	}
	return http.StatusOK, each(page(c, list), func(shown *comment) object { return shown.json(c.Server) }), nil
}

// commentBody is the text that a request brings.
func (c *call) commentBody() (string, error) {
	var ask struct {
		Body string `json:"body"`
	}
	if err := c.decode(&ask); err != nil {
		return "", err
	}
	switch {
	case ask.Body == "":
		return "", invalidField("IssueComment", "body", "body can't be blank")
	case utf8.RuneCountInString(ask.Body) > MaxComment:
		return "", invalidField("IssueComment", "body", "Body is too long (maximum is 65536 characters)")
	}
	return ask.Body, nil
}

func createComment(c *call) (int, any, error) {
	number := int(c.id("number"))
	if c.repo.pull(number) == nil {
		return 0, nil, errNotFound
	}
	body, err := c.commentBody()
	if err != nil {
		return 0, nil, err
	}
	user := c.token.user
	if c.app != nil {
		user = c.app.bot
	}
	return http.StatusCreated, c.write(c.repo, number, user, c.app, body).json(c.Server), nil
}

func (c *call) comment() (*comment, error) {
	found := c.comments[c.id("id")]
	if found == nil || found.repo != c.repo {
		return nil, errNotFound
	}
	return found, nil
}

// ownComment is the comment that the path names, if the caller may change it:
// an App its own, a person his own and, with write permission, every one.
func (c *call) ownComment() (*comment, error) {
	found, err := c.comment()
	if err != nil {
		return nil, err
	}
	if c.app != nil && found.app != c.app {
		return nil, errNotAccessible
	}
	if user := c.token.user; user != nil && user != found.user {
		switch c.repo.permissionOf(user.login) {
		case "admin", "write":
		default:
			return nil, &apiError{Status: http.StatusForbidden, Message: "Must have write access to this comment."}
		}
	}
	return found, nil
}

func showComment(c *call) (int, any, error) {
	found, err := c.comment()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, found.json(c.Server), nil
}

func updateComment(c *call) (int, any, error) {
	found, err := c.ownComment()
	if err != nil {
		return 0, nil, err
	}
	body, err := c.commentBody()
	if err != nil {
		return 0, nil, err
	}
	c.edit(found, body)
	return http.StatusOK, found.json(c.Server), nil
}

func deleteComment(c *call) (int, any, error) {
	found, err := c.ownComment()
	if err != nil {
		return 0, nil, err
	}
	delete(c.comments, found.ID)
	c.sendComment(found, "deleted", nil)
	return http.StatusNoContent, nil, nil
}

func (c *comment) json(s *Server) object {
	var by any
	if c.app != nil {
		by = c.app.json(s)
	}
	at := s.api("/repos/%s/issues/comments/%d", c.Repository, c.ID)
	return object{
		"id": c.ID, "node_id": fmt.Sprintf("IC_%d", c.ID), "url": at, "body": c.Body,
		"html_url":  s.web("/%s/pull/%d#issuecomment-%d", c.Repository, c.Number, c.ID),
		"issue_url": s.api("/repos/%s/issues/%d", c.Repository, c.Number),
		"user":      c.user.simple(s), "author_association": c.association(),
		"created_at": stamp(c.CreatedAt), "updated_at": stamp(c.UpdatedAt),
		"performed_via_github_app": by, "reactions": c.reactions(at + "/reactions"),
	}
}

func (c *comment) association() string {
	switch permission := c.repo.permissionOf(c.user.login); {
	case c.user == c.repo.owner:
		return "OWNER"
	case permission == "write" || permission == "admin":
		return "COLLABORATOR"
	}
	return "NONE"
}

// issue is the pull request as the issue that it also is, in webhooks.
func (c *comment) issue(s *Server) object {
	p := c.repo.pull(c.Number)
	at := s.api("/repos/%s/issues/%d", c.Repository, c.Number)
	html := p.html(s)
	return object{
		"id": p.id + 1<<32, "node_id": fmt.Sprintf("PR_%d", p.id), "number": p.number, "title": p.title,
		"url": at, "repository_url": s.api("/repos/%s", c.Repository), "labels_url": at + "/labels{/name}",
		"comments_url": at + "/comments", "events_url": at + "/events", "html_url": html,
		"user": p.user.simple(s), "state": p.state(), "locked": false, "labels": []object{},
		"assignee": nil, "assignees": []object{}, "milestone": nil, "comments": len(s.commentsOn(c.repo, c.Number)),
		"created_at": stamp(p.created), "updated_at": stamp(p.updated), "closed_at": stamp(p.closed),
		"author_association": p.association(), "active_lock_reason": nil, "body": nil, "draft": false,
		"performed_via_github_app": nil, "state_reason": nil, "reactions": reactions(at + "/reactions"),
		"timeline_url": at + "/timeline",
		"pull_request": object{
			"url":      s.api("/repos/%s/pulls/%d", c.Repository, c.Number),
			"html_url": html, "diff_url": html + ".diff", "patch_url": html + ".patch", "merged_at": nil,
		},
	}
}
