package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/bradleyfalzon/ghinstallation/v2"
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

// An Installation is the App in one account. It is safe for concurrent use.
type Installation struct {
	app *App
	id  int64

	mu        sync.Mutex
	client    *client
	transport *ghinstallation.Transport
}

func newInstallation(a *App, id int64) *Installation {
	i := &Installation{app: a, id: id}
	i.renew()
	return i
}

// ID is the installation's number.
func (i *Installation) ID() int64 { return i.id }

// renew forgets the installation's token and what is known of its limits.
func (i *Installation) renew() {
	i.transport = ghinstallation.NewFromAppsTransport(i.app.appTransport(), i.id)
	// Without options it sends the body "null", which GitHub's description of
	// the request does not allow.
	i.transport.InstallationTokenOptions = &gh.InstallationTokenOptions{}
	i.client = newClient(i.transport, i.app.api)
}

// do makes a call as the installation. When GitHub refuses a token that should
// still be good, asking for another tells whether the App was removed.
func (i *Installation) do(ctx context.Context, call func(*gh.Client) error) error {
	i.mu.Lock()
	c := i.client
	i.mu.Unlock()
	err := c.do(call)
	if !errors.Is(err, ErrUnauthorized) {
		return err
	}
	i.mu.Lock()
	if i.client == c {
		i.renew()
	}
	tr := i.transport
	i.mu.Unlock()
	if _, tokenErr := tr.Token(ctx); tokenErr != nil {
		return classify(tokenErr)
	}
	return fmt.Errorf("the token was refused and a new one is ready; try again: %w", err)
}

// Renew has the installation ask for a new token, which has the permissions that
// the installation has now.
func (i *Installation) Renew() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.renew()
}

// Repositories lists what the installation may see.
func (i *Installation) Repositories(ctx context.Context) ([]Repository, error) {
	var all []Repository
	opts := &gh.ListOptions{PerPage: perPage, Page: 1}
	for range maxPages {
		var page *gh.ListRepositories
		var resp *gh.Response
		err := i.do(ctx, func(c *gh.Client) (err error) {
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
			all = append(all, repo)
		}
		if opts.Page = resp.NextPage; opts.Page == 0 {
			return all, nil
		}
	}
	return nil, fmt.Errorf("list the repositories of installation %d: more than %d pages", i.id, maxPages)
}

// GitToken returns a token with which git can read repo, and do nothing else.
// It lives for an hour.
func (i *Installation) GitToken(ctx context.Context, repo Repository) (checks.Secret, error) {
	opts := &gh.InstallationTokenOptions{
		Permissions: &gh.InstallationPermissions{Contents: gh.String("read")},
	}
	if repo.ID != 0 {
		opts.RepositoryIDs = []int64{repo.ID}
	} else {
		opts.Repositories = []string{repo.Name}
	}
	var token *gh.InstallationToken
	err := i.app.self.do(func(c *gh.Client) (err error) {
		token, _, err = c.Apps.CreateInstallationToken(ctx, i.id, opts)
		return err
	})
	if err != nil {
		return checks.Secret{}, fmt.Errorf("ask for a git token for %s: %w", repo.FullName(), tokenRefusal(err))
	}
	if token.GetToken() == "" {
		return checks.Secret{}, fmt.Errorf("ask for a git token for %s: GitHub's answer holds no token", repo.FullName())
	}
	return checks.NewSecret(token.GetToken()), nil
}

// tokenRefusal names why no token was issued: 404 and 403 speak of the
// installation, 422 of a repository or permission that it does not have.
func tokenRefusal(err error) error {
	var refused *gh.ErrorResponse
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrForbidden):
		return fmt.Errorf("%w: %w", ErrGone, err)
	case errors.As(err, &refused) && refused.Response.StatusCode == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
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
		err := i.do(ctx, func(c *gh.Client) (err error) {
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
