package githubtest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Limits of the push event (Webhook events and payloads, "push").
const (
	// MaxPushCommits is how many commits the event lists.
	MaxPushCommits = 2048
	// MaxCommitFiles is how many changed files it lists of each.
	MaxCommitFiles = 3000
	// MaxPushTags is up to how many tags pushed at once make events.
	MaxPushTags = 3
	// MaxPushBranches is up to how many branches pushed at once make events.
	MaxPushBranches = 5000
)

// A Push is one ref that somebody changed. Before and After are zeros for a
// ref that was not there.
type Push struct {
	Repository string
	Ref        string
	Before     string
	After      string
	Pusher     string
	At         time.Time
}

// OnPush calls f after every change of a ref, before its webhook is delivered.
func (s *Server) OnPush(f func(Push)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onPush = append(s.onPush, f)
}

// Pushes lists every change of a ref so far, oldest first.
func (s *Server) Pushes() []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.latest)
}

// receive serves a push, sees what it changed, and tells everybody.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, repo *repository, pusher *account) {
	repo.writing.Lock()
	defer repo.writing.Unlock()
	before, err := s.git.refs(repo.dir)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.backend(w, r, repo)
	after, err := s.git.refs(repo.dir)
	if err != nil {
		s.log.Error("look at what a push changed", "repository", repo.fullName(), "error", err)
		return
	}
	pushes := s.changes(repo, pusher, before, after)
	s.mu.Lock()
	s.latest = append(s.latest, pushes...)
	listeners := slices.Clone(s.onPush)
	s.mu.Unlock()
	for _, p := range pushes {
		for _, f := range listeners {
			f(p)
		}
	}
	if err := s.announce(repo, pusher, before, pushes); err != nil {
		s.log.Error("announce a push", "repository", repo.fullName(), "error", err)
	}
}

// changes lists the refs that differ, branches before tags.
func (s *Server) changes(repo *repository, pusher *account, before, after map[string]string) []Push {
	var names []string
	for name := range before {
		if before[name] != after[name] {
			names = append(names, name)
		}
	}
	for name := range after {
		if before[name] == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	zero := zeros(before, after)
	at := s.now()
	return each(names, func(name string) Push {
		return Push{
			Repository: repo.fullName(), Ref: name, Pusher: pusher.login, At: at,
			Before: orElse(before[name], zero), After: orElse(after[name], zero),
		}
	})
}

// zeros is the name of no object, as long as the others.
func zeros(refs ...map[string]string) string {
	for _, set := range refs {
		for _, sha := range set {
			return strings.Repeat("0", len(sha))
		}
	}
	return strings.Repeat("0", 40)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func none(sha string) bool { return strings.Trim(sha, "0") == "" }

// announce sends the webhooks of a push, and brings pull requests up to date.
func (s *Server) announce(repo *repository, pusher *account, before map[string]string, pushes []Push) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(pushes) > 0 {
		repo.pushed = pushes[0].At
	}
	var errs []error
	for _, p := range eventful(pushes) {
		payload, err := s.pushPayload(repo, pusher, before, p)
		if err != nil {
			errs = append(errs, fmt.Errorf("describe the push of %s: %w", p.Ref, err))
			continue
		}
		s.sendAbout(repo, "push", payload)
	}
	for _, p := range pushes {
		errs = append(errs, s.synchronise(repo, pusher, p))
	}
	return errors.Join(errs...)
}

// eventful drops what GitHub sends no event for: too many tags or branches at
// once.
func eventful(pushes []Push) []Push {
	tags := 0
	for _, p := range pushes {
		if strings.HasPrefix(p.Ref, "refs/tags/") {
			tags++
		}
	}
	branches := len(pushes) - tags
	return slices.DeleteFunc(slices.Clone(pushes), func(p Push) bool {
		if strings.HasPrefix(p.Ref, "refs/tags/") {
			return tags > MaxPushTags
		}
		return branches > MaxPushBranches
	})
}

// pushPayload is the push event.
func (s *Server) pushPayload(repo *repository, pusher *account, before map[string]string, p Push) (object, error) {
	about := repo.json(s)
	about["created_at"], about["pushed_at"] = repo.created.Unix(), repo.pushed.Unix() // other events have text here
	payload := object{
		"ref": p.Ref, "before": p.Before, "after": p.After, "base_ref": nil,
		"created": none(p.Before), "deleted": none(p.After), "forced": s.forced(repo, p),
		"commits": []object{}, "head_commit": nil, "compare": s.compareURL(repo, p),
		"pusher": object{"name": pusher.login, "email": pusher.login + "@users.noreply.example.com"},
		"sender": pusher.simple(s), "repository": about,
	}
	if none(p.After) {
		return payload, nil
	}
	if none(p.Before) {
		payload["base_ref"] = baseRef(before, p)
	}
	if s.git.commit(repo.dir, p.After) == "" {
		return payload, nil // a tag of a folder or a file
	}
	commits, err := s.pushedCommits(repo, before, p)
	if err != nil {
		return nil, err
	}
	payload["commits"] = commits
	head, err := s.git.log(repo.dir, 1, p.After)
	if err != nil {
		return nil, err
	}
	if len(head) > 0 {
		payload["head_commit"] = head[0].json(s, repo, false)
		if len(commits) > 0 && commits[len(commits)-1]["id"] == head[0].id {
			payload["head_commit"] = commits[len(commits)-1]
		}
	}
	return payload, nil
}

// baseRef names a branch that was at the new ref's commit before, if any.
func baseRef(before map[string]string, p Push) any {
	names := make([]string, 0, 1)
	for name, sha := range before {
		if sha == p.After && strings.HasPrefix(name, "refs/heads/") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return slices.Min(names)
}

func (s *Server) forced(repo *repository, p Push) bool {
	switch {
	case none(p.Before), none(p.After):
		return false
	case strings.HasPrefix(p.Ref, "refs/tags/"):
		return true
	}
	return !s.git.ancestor(repo.dir, p.Before, p.After)
}

func (s *Server) compareURL(repo *repository, p Push) string {
	switch {
	case none(p.After):
		return s.web("/%s/compare/%.12s...000000000000", repo.fullName(), p.Before)
	case none(p.Before):
		name := strings.TrimPrefix(strings.TrimPrefix(p.Ref, "refs/heads/"), "refs/tags/")
		return s.web("/%s/compare/%s", repo.fullName(), name)
	}
	return s.web("/%s/compare/%.12s...%.12s", repo.fullName(), p.Before, p.After)
}

// pushedCommits lists what a push brought, oldest first: of a new ref what no
// other ref had, of an old one what is after and not before.
func (s *Server) pushedCommits(repo *repository, before map[string]string, p Push) ([]object, error) {
	elsewhere := make([]string, 0, len(before))
	for _, sha := range before {
		elsewhere = append(elsewhere, "^"+sha)
	}
	exclude := []string{"^" + p.Before}
	if none(p.Before) {
		exclude = elsewhere
	}
	list, err := s.git.log(repo.dir, MaxPushCommits, append([]string{p.After}, exclude...)...)
	if err != nil {
		return nil, err
	}
	fresh, err := s.git.list(repo.dir, append([]string{p.After}, elsewhere...)...)
	if err != nil {
		return nil, err
	}
	return each(list, func(c commit) object { return c.json(s, repo, fresh[c.id]) }), nil
}
