package githubtest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Pull is a pull request.
type Pull struct {
	Repository string
	Number     int
	Title      string
	State      string // open or closed
	Head       string // "owner:branch"
	HeadSHA    string
	Base       string // the branch
	User       string
	URL        string // of its page
}

type pull struct {
	id      int64
	number  int
	title   string
	closed  time.Time
	user    *account
	base    *repository
	baseRef string
	head    *repository
	headRef string
	headSHA string
	created time.Time
	updated time.Time
	reviews []ReviewComment
}

// OpenPull opens a pull request, from a branch "branch" of the repository or
// "owner:branch" of a fork, and returns its number.
func (s *Server) OpenPull(repository, head, base, title string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return 0, err
	}
	from, branch, err := s.headOf(repo, head)
	if err != nil {
		return 0, err
	}
	sha := s.git.commit(from.dir, "refs/heads/"+branch)
	if sha == "" || s.git.commit(repo.dir, "refs/heads/"+base) == "" {
		return 0, fmt.Errorf("open a pull request of %s to %s: one of the branches does not exist", head, base)
	}
	repo.lastNumber++
	p := &pull{
		id: s.nextID(), number: repo.lastNumber, title: title, user: from.owner,
		base: repo, baseRef: base, head: from, headRef: branch, headSHA: sha,
		created: s.now(), updated: s.now(),
	}
	if err := s.git.fetch(repo.dir, from.dir, "refs/heads/"+branch, p.ref()); err != nil {
		return 0, err
	}
	repo.pulls = append(repo.pulls, p)
	return p.number, s.sendPull(p, p.user, "opened", nil)
}

func (s *Server) headOf(repo *repository, head string) (*repository, string, error) {
	owner, branch, cross := strings.Cut(head, ":")
	if !cross {
		return repo, head, nil
	}
	for _, r := range s.repositories {
		if key(r.owner.login) == key(owner) && (r == repo || r.parent == repo) {
			return r, branch, nil
		}
	}
	return nil, "", fmt.Errorf("open a pull request from %s: %s has no fork of %s", head, owner, repo.fullName())
}

func (p *pull) ref() string { return fmt.Sprintf("refs/pull/%d/head", p.number) }

// synchronise brings the pull requests up to date whose head was pushed to.
func (s *Server) synchronise(repo *repository, pusher *account, push Push) error {
	if none(push.After) {
		return nil
	}
	var errs []error
	for _, base := range s.repositories {
		for _, p := range base.pulls {
			if p.head != repo || "refs/heads/"+p.headRef != push.Ref || !p.closed.IsZero() {
				continue
			}
			errs = append(errs, s.moveHead(p, pusher, push))
		}
	}
	return errors.Join(errs...)
}

func (s *Server) moveHead(p *pull, pusher *account, push Push) error {
	if err := s.git.fetch(p.base.dir, p.head.dir, push.Ref, p.ref()); err != nil {
		return err
	}
	p.headSHA, p.updated = push.After, s.now()
	return s.sendPull(p, pusher, "synchronize", object{"before": push.Before, "after": push.After})
}

// ClosePull closes a pull request without merging it.
func (s *Server) ClosePull(repository string, number int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return err
	}
	p := repo.pull(number)
	if p == nil {
		return fmt.Errorf("close pull request %d of %s: there is no such one", number, repository)
	}
	p.closed, p.updated = s.now(), s.now()
	return s.sendPull(p, p.user, "closed", nil)
}

// Retarget has a pull request go to another base branch.
func (s *Server) Retarget(repository string, number int, base string) error {
	return s.changePull(repository, number, "edited", func(p *pull) object {
		from := object{"ref": object{"from": p.baseRef}, "sha": object{"from": s.git.commit(p.base.dir, "refs/heads/"+p.baseRef)}}
		p.baseRef = base
		return object{"changes": object{"base": from}}
	})
}

// Ready says that a draft is ready for review.
func (s *Server) Ready(repository string, number int) error {
	return s.changePull(repository, number, "ready_for_review", func(*pull) object { return nil })
}

// Reopen opens a pull request again that was closed.
func (s *Server) Reopen(repository string, number int) error {
	return s.changePull(repository, number, "reopened", func(p *pull) object {
		p.closed = time.Time{}
		// A closed pull request does not follow its branch.
		if err := s.git.fetch(p.base.dir, p.head.dir, "refs/heads/"+p.headRef, p.ref()); err != nil {
			s.log.Error("bring a reopened pull request up to date", "error", err)
			return nil
		}
		p.headSHA = s.git.commit(p.base.dir, p.ref())
		return nil
	})
}

func (s *Server) changePull(repository string, number int, action string, change func(*pull) object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return err
	}
	p := repo.pull(number)
	if p == nil {
		return fmt.Errorf("%s pull request %d of %s: there is no such one", action, number, repository)
	}
	more := change(p)
	p.updated = s.now()
	return s.sendPull(p, p.user, action, more)
}

func (s *Server) sendPull(p *pull, sender *account, action string, more object) error {
	shown, err := p.full(s)
	if err != nil {
		return err
	}
	payload := object{"action": action, "number": p.number, "pull_request": shown, "sender": sender.simple(s)}
	for field, value := range more {
		payload[field] = value
	}
	s.sendAbout(p.base, "pull_request", payload)
	return nil
}

// Pulls lists a repository's pull requests, oldest first.
func (s *Server) Pulls(repository string) []Pull {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return nil
	}
	return each(repo.pulls, func(p *pull) Pull { return p.export(s) })
}

func (p *pull) export(s *Server) Pull {
	return Pull{
		Repository: p.base.fullName(), Number: p.number, Title: p.title, State: p.state(),
		Head: p.head.owner.login + ":" + p.headRef, HeadSHA: p.headSHA, Base: p.baseRef,
		User: p.user.login, URL: p.html(s),
	}
}

func (p *pull) state() string {
	if p.closed.IsZero() {
		return "open"
	}
	return "closed"
}

func (p *pull) html(s *Server) string {
	return s.web("/%s/pull/%d", p.base.fullName(), p.number)
}

func (r *repository) pull(number int) *pull {
	for _, p := range r.pulls {
		if p.number == number {
			return p
		}
	}
	return nil
}

// json is the pull request as lists show it.
func (p *pull) json(s *Server) object {
	at := s.api("/repos/%s/pulls/%d", p.base.fullName(), p.number)
	issue := s.api("/repos/%s/issues/%d", p.base.fullName(), p.number)
	html := p.html(s)
	statuses := s.api("/repos/%s/statuses/%s", p.base.fullName(), p.headSHA)
	href := func(to string) object { return object{"href": to} }
	return object{
		"id": p.id, "node_id": fmt.Sprintf("PR_%d", p.id), "number": p.number, "state": p.state(),
		"url": at, "html_url": html, "diff_url": html + ".diff", "patch_url": html + ".patch",
		"issue_url": issue, "commits_url": at + "/commits", "review_comments_url": at + "/comments",
		"review_comment_url": s.api("/repos/%s/pulls/comments{/number}", p.base.fullName()),
		"comments_url":       issue + "/comments", "statuses_url": statuses,
		"locked": false, "title": p.title, "user": p.user.simple(s), "body": nil, "labels": []object{},
		"milestone": nil, "active_lock_reason": nil, "created_at": stamp(p.created),
		"updated_at": stamp(p.updated), "closed_at": stamp(p.closed), "merged_at": nil,
		"merge_commit_sha": nil, "assignee": nil, "assignees": []object{}, "requested_reviewers": []object{},
		"requested_teams": []object{}, "author_association": p.association(), "auto_merge": nil, "draft": false,
		"head": p.side(s, p.head, p.headRef, p.headSHA),
		"base": p.side(s, p.base, p.baseRef, s.git.commit(p.base.dir, "refs/heads/"+p.baseRef)),
		"_links": object{
			"self": href(at), "html": href(html), "issue": href(issue), "comments": href(issue + "/comments"),
			"review_comments": href(at + "/comments"), "commits": href(at + "/commits"), "statuses": href(statuses),
			"review_comment": href(s.api("/repos/%s/pulls/comments{/number}", p.base.fullName())),
		},
	}
}

func (p *pull) association() string {
	if p.user == p.base.owner {
		return "OWNER"
	}
	return "CONTRIBUTOR"
}

func (p *pull) side(s *Server, repo *repository, ref, sha string) object {
	if repo.deleted {
		return object{"label": repo.owner.login + ":" + ref, "ref": ref, "sha": sha, "user": repo.owner.simple(s), "repo": nil}
	}
	shown := repo.json(s)
	shown["allow_merge_commit"], shown["allow_squash_merge"], shown["allow_rebase_merge"] = true, true, true
	return object{
		"label": repo.owner.login + ":" + ref, "ref": ref, "sha": sha,
		"user": repo.owner.simple(s), "repo": shown,
	}
}

// full is the pull request by itself, with what has to be counted.
func (p *pull) full(s *Server) (object, error) {
	answer := p.json(s)
	base := p.base.dir
	from := s.git.mergeBase(base, "refs/heads/"+p.baseRef, p.headSHA)
	commits, err := s.git.count(base, from, p.headSHA)
	if err != nil {
		return nil, err
	}
	files, added, removed, err := s.git.stat(base, from, p.headSHA)
	if err != nil {
		return nil, err
	}
	for field, value := range (object{
		"merged": false, "mergeable": nil, "rebaseable": nil, "mergeable_state": "unknown", "merged_by": nil,
		"comments": len(s.commentsOn(p.base, p.number)), "review_comments": 0, "maintainer_can_modify": false,
		"commits": commits, "changed_files": files, "additions": added, "deletions": removed,
	}) {
		answer[field] = value
	}
	return answer, nil
}

func showPull(c *call) (int, any, error) {
	p := c.repo.pull(int(c.id("number")))
	if p == nil {
		return 0, nil, errNotFound
	}
	answer, err := p.full(c.Server)
	return http.StatusOK, answer, err
}

// listPulls answers with the pull requests, newest first, that the query's
// state, head and base leave.
func listPulls(c *call) (int, any, error) {
	query := c.query()
	state := orElse(query.Get("state"), "open")
	list := slices.DeleteFunc(slices.Clone(c.repo.pulls), func(p *pull) bool {
		return state != "all" && state != p.state() ||
			!fits(query.Get("base"), p.baseRef) ||
			!fits(query.Get("head"), p.head.owner.login+":"+p.headRef)
	})
	slices.Reverse(list)
	return http.StatusOK, each(page(c, list), func(p *pull) object { return p.json(c.Server) }), nil
}

func fits(want, got string) bool { return want == "" || want == got }

// commitRoutes answers what stands below a commit, whose name may have slashes.
func commitRoutes(c *call) (int, any, error) {
	rest := c.PathValue("rest")
	if ref, ok := strings.CutSuffix(rest, "/check-runs"); ok {
		if err := c.permit("checks:read"); err != nil {
			return 0, nil, err
		}
		return listCheckRuns(c, ref)
	}
	if sha, ok := strings.CutSuffix(rest, "/pulls"); ok {
		if err := c.permit("pull_requests:read"); err != nil {
			return 0, nil, err
		}
		return listCommitPulls(c, sha)
	}
	if strings.Contains(rest, "/") {
		return c.unknownRoute()
	}
	if err := c.permit("contents:read"); err != nil {
		return 0, nil, err
	}
	return showCommit(c, rest)
}

// listCommitPulls answers with the pull requests that a commit is part of.
func listCommitPulls(c *call, name string) (int, any, error) {
	sha := c.git.commit(c.repo.dir, name)
	if sha == "" {
		return 0, nil, invalid("No commit found for SHA: %s", name)
	}
	list := slices.DeleteFunc(slices.Clone(c.repo.pulls), func(p *pull) bool {
		return !c.git.ancestor(c.repo.dir, sha, p.headSHA) ||
			c.git.ancestor(c.repo.dir, sha, "refs/heads/"+p.baseRef)
	})
	return http.StatusOK, each(page(c, list), func(p *pull) object { return p.json(c.Server) }), nil
}
