package github

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	gh "github.com/google/go-github/v62/github"

	"github.com/stanch-dev/stanch/checks"
)

// A Repository is what is needed to act on a repository. It travels in job
// arguments.
type Repository struct {
	ID            int64  `json:"id"`
	Owner         string `json:"owner"`
	Name          string `json:"name"`
	Private       bool   `json:"private"`
	DefaultBranch string `json:"default_branch"`
}

// FullName is "owner/name", and empty of no repository.
func (r Repository) FullName() string { return strings.Trim(r.Owner+"/"+r.Name, "/") }

// A Listed repository is one as an installation sees it.
type Listed struct {
	Repository
	PushedAt time.Time // when somebody last pushed to it
}

// An Installation is the App in one account. It is safe for concurrent use.
type Installation struct {
	app    *App
	id     int64
	client *client
	// searches is who searches: searches have a limit of their own, which is soon
	// reached, and nothing else may wait for it.
	searches *client
	tokens   *tokens
}

func newInstallation(a *App, id int64) *Installation {
	t := &tokens{app: a, id: id, kept: map[scope]keptToken{}}
	return &Installation{app: a, id: id, tokens: t, client: newClient(t, a.api, a.answers, id), searches: newClient(t, a.api, a.answers, id)}
}

// ID is the installation's number.
func (i *Installation) ID() int64 { return i.id }

// do makes a call as the installation, with a token for a scope. When GitHub refuses
// a token that should still be good, asking for another tells whether the App was
// removed.
func (i *Installation) do(ctx context.Context, s scope, call func(context.Context, *gh.Client) error) error {
	return i.by(ctx, i.client, s, call)
}

func (i *Installation) by(ctx context.Context, by *client, s scope, call func(context.Context, *gh.Client) error) error {
	ctx = context.WithValue(ctx, scopeKey{}, s)
	used := i.tokens.of(s)
	err := by.do(ctx, func(c *gh.Client) error { return call(ctx, c) })
	if !errors.Is(err, ErrUnauthorized) {
		return err
	}
	i.tokens.forget(s, used)
	if _, tokenErr := i.tokens.of(s).Token(ctx); tokenErr != nil {
		return classify(tokenErr)
	}
	return fmt.Errorf("the token was refused and a new one is ready; try again: %w", err)
}

// Renew has the installation ask for new tokens, which can have the permissions that
// the installation has now.
func (i *Installation) Renew() { i.tokens.forgetAll() }

// Repositories lists what the installation may see.
func (i *Installation) Repositories(ctx context.Context) ([]Listed, error) {
	ctx = conditionally(ctx)
	var all []Listed
	opts := &gh.ListOptions{PerPage: perPage, Page: 1}
	for range maxPages {
		var page *gh.ListRepositories
		var resp *gh.Response
		err := i.do(ctx, readMetadata.everywhere(), func(ctx context.Context, c *gh.Client) (err error) {
			page, resp, err = c.Apps.ListRepos(ctx, opts)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list the repositories of installation %d: %w", i.id, err)
		}
		for _, r := range page.Repositories {
			repo := Repository{ID: r.GetID(), Owner: r.GetOwner().GetLogin(), Name: r.GetName(), Private: r.GetPrivate(), DefaultBranch: r.GetDefaultBranch()}
			if err := checkPath(repo); err != nil {
				return nil, err
			}
			all = append(all, Listed{repo, r.GetPushedAt().Time})
		}
		if opts.Page = resp.NextPage; opts.Page == 0 {
			return all, nil
		}
	}
	return nil, fmt.Errorf("list the repositories of installation %d: more than %d pages", i.id, maxPages)
}

// GitToken returns a token with which git can read repo, and do nothing else. It is
// good for a scan.
func (i *Installation) GitToken(ctx context.Context, repo Repository) (checks.Secret, error) {
	var token string
	// It is the App that asks: what the installation may ask for is not touched.
	err := i.app.self.do(ctx, func(*gh.Client) (err error) {
		token, err = i.tokens.of(readContents.in(repo)).Token(ctx)
		return err
	})
	if err != nil {
		return checks.Secret{}, fmt.Errorf("ask for a git token for %s: %w", repo.FullName(), err)
	}
	if token == "" {
		return checks.Secret{}, fmt.Errorf("ask for a git token for %s: GitHub's answer holds no token", repo.FullName())
	}
	return checks.NewSecret(token), nil
}

// DoubtGitToken gives up the token with which git was refused: the next attempt asks
// for another, and learns whether the App was removed.
func (i *Installation) DoubtGitToken(repo Repository) {
	s := readContents.in(repo)
	i.tokens.forget(s, i.tokens.of(s))
}

// PullsFor returns the numbers of the open pull requests whose head is sha.
// It finds those from forks too, which check events do not name.
func (i *Installation) PullsFor(ctx context.Context, repo Repository, sha string) ([]int, error) {
	if err := checkPath(repo, sha); err != nil {
		return nil, err
	}
	var numbers []int
	opts := &gh.ListOptions{PerPage: perPage, Page: 1}
	for range maxPages {
		var pulls []*gh.PullRequest
		var resp *gh.Response
		err := i.do(ctx, readPulls.in(repo), func(ctx context.Context, c *gh.Client) (err error) {
			pulls, resp, err = c.PullRequests.ListPullRequestsWithCommit(ctx, repo.Owner, repo.Name, sha, opts)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list pull requests of %s@%s: %w", repo.FullName(), sha, err)
		}
		for _, p := range pulls {
			if p.GetState() == "open" && p.GetHead().GetSHA() == sha {
				numbers = append(numbers, p.GetNumber())
			}
		}
		if opts.Page = resp.NextPage; opts.Page == 0 {
			return numbers, nil
		}
	}
	return nil, fmt.Errorf("list pull requests of %s@%s: more than %d pages", repo.FullName(), sha, maxPages)
}

// pathElement is what GitHub allows in the names of accounts and repositories,
// and all that may become an element of a request's path.
var pathElement = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// checkPath guards against names that would turn a request into another one:
// go-github puts them into the URL as they are.
func checkPath(repo Repository, more ...string) error {
	for _, name := range append([]string{repo.Owner, repo.Name}, more...) {
		if !pathElement.MatchString(name) || name == "." || name == ".." {
			return fmt.Errorf("%q is no name or commit on GitHub", name)
		}
	}
	return nil
}
