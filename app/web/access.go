package web

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
)

const (
	// accessLife is how long GitHub's word on what somebody may see counts. What
	// somebody orders is asked about anew.
	accessLife = 30 * time.Second
	// maxAccess bounds what is remembered.
	maxAccess = 10_000
	// askAtOnce bounds the questions that one page has GitHub answer at a time.
	askAtOnce = 8
)

// A level is how much of a repository somebody sees.
type level int

const (
	nothing    level = iota
	progress         // how far incidents have come
	everything       // also what leaked, where, and what was found out
)

// access asks GitHub who may see what.
type access struct {
	github *github.App
	now    func() time.Time

	mu    sync.Mutex
	known map[string]knownLevel
}

type knownLevel struct {
	level level
	until time.Time
}

func newAccess(app *github.App, now func() time.Time) *access {
	return &access{github: app, now: now, known: map[string]knownLevel{}}
}

// of is how much of a repository a person sees. Everybody can read a public one, so
// that there only those who may write see anything.
func (a *access) of(ctx context.Context, who github.Person, repo store.Repository) (level, error) {
	if repo.State != store.Active {
		return nothing, nil
	}
	key := fmt.Sprintf("%d %s %d %d %s", who.ID, strings.ToLower(who.Login), repo.Installation, repo.ID, repo.FullName())
	a.mu.Lock()
	known, ok := a.known[key]
	a.mu.Unlock()
	if ok && a.now().Before(known.until) {
		return known.level.in(repo), nil
	}
	permission, err := a.github.Installation(repo.Installation).Permission(ctx, repo.Repository, who)
	switch {
	case errors.Is(err, github.ErrGone), errors.Is(err, github.ErrForbidden):
		return nothing, nil
	case err != nil:
		return nothing, err
	}
	allowed := levelOf(permission)
	a.remember(key, knownLevel{allowed, a.now().Add(accessLife)})
	return allowed.in(repo), nil
}

func levelOf(permission string) level {
	switch permission {
	case "admin", "maintain", "write":
		return everything
	case "read":
		return progress
	}
	return nothing
}

// in is what is left of a level in a repository that anybody can read.
func (l level) in(repo store.Repository) level {
	if l == progress && !repo.Private {
		return nothing
	}
	return l
}

func (a *access) remember(key string, l knownLevel) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= maxAccess {
		clear(a.known)
	}
	a.known[key] = l
}

// ofAll is what a person sees of several repositories, by their ids.
func (a *access) ofAll(ctx context.Context, who github.Person, repos []store.Repository) (map[int64]level, error) {
	levels := make(map[int64]level, len(repos))
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(askAtOnce)
	for _, repo := range repos {
		g.Go(func() error {
			l, err := a.of(ctx, who, repo)
			mu.Lock()
			defer mu.Unlock()
			levels[repo.ID] = l
			return err
		})
	}
	return levels, g.Wait()
}

// repository is a repository of which a person may see something.
func (s *server) repository(ctx context.Context, who github.Person, owner, name string) (store.Repository, level, error) {
	repo, err := s.Store.RepositoryNamed(ctx, owner, name)
	if err != nil {
		return repo, nothing, err
	}
	l, err := s.access.of(ctx, who, repo)
	if err == nil && l == nothing {
		err = errNotFound
	}
	return repo, l, err
}
