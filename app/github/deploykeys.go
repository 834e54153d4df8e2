package github

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v62/github"

	"github.com/stanch-dev/stanch/app/grants"
)

// A DeployKey is a public key with which git may read one repository, or write to it too.
type DeployKey struct {
	ID       int64  `json:"id"`
	Title    string `json:"title"`
	Key      string `json:"key"` // as in authorized_keys
	ReadOnly bool   `json:"read_only"`
	// LastUsed is the zero Time for never. How late GitHub notes a use is not documented.
	LastUsed time.Time `json:"last_used"`
}

// DeployKeys lists the keys of the repository OWNER/NAME.
func (a *App) DeployKeys(ctx context.Context, name string) ([]DeployKey, error) {
	i, repo, err := a.repositoryNamed(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("list the deploy keys of %s: %w", name, err)
	}
	var all []DeployKey
	for page := 1; page <= maxPages; page++ {
		var list []DeployKey
		var resp *gh.Response
		err := i.do(conditionally(ctx), readAdministration.in(repo), func(ctx context.Context, c *gh.Client) (err error) {
			resp, err = send(ctx, c, http.MethodGet, keysPath(repo)+"?per_page="+strconv.Itoa(perPage)+"&page="+strconv.Itoa(page), nil, &list)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list the deploy keys of %s: %w", name, err)
		}
		all = append(all, list...)
		if resp.NextPage == 0 {
			return all, nil
		}
	}
	return nil, fmt.Errorf("list the deploy keys of %s: more than %d pages", name, maxPages)
}

// AddDeployKey lets a key into a repository.
func (a *App) AddDeployKey(ctx context.Context, name string, key DeployKey) error {
	i, repo, err := a.repositoryNamed(ctx, name)
	if err == nil {
		body := map[string]any{"title": key.Title, "key": key.Key, "read_only": key.ReadOnly}
		err = i.do(ctx, writeAdministration.in(repo), func(ctx context.Context, c *gh.Client) error {
			_, err := send(ctx, c, http.MethodPost, keysPath(repo), body, nil)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("add a deploy key to %s: %w", name, err)
	}
	return nil
}

// RemoveDeployKey takes a key away from a repository.
func (a *App) RemoveDeployKey(ctx context.Context, name string, id int64) error {
	i, repo, err := a.repositoryNamed(ctx, name)
	if err == nil {
		err = i.do(ctx, writeAdministration.in(repo), func(ctx context.Context, c *gh.Client) error {
			_, err := send(ctx, c, http.MethodDelete, keysPath(repo)+"/"+strconv.FormatInt(id, 10), nil, nil)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("remove deploy key %d of %s: %w", id, name, err)
	}
	return nil
}

func keysPath(repo Repository) string { return "repos/" + repo.FullName() + "/keys" }

// repositoryNamed is the repository OWNER/NAME with the installation that has it.
func (a *App) repositoryNamed(ctx context.Context, name string) (*Installation, Repository, error) {
	owner, short, _ := strings.Cut(name, "/")
	repo := Repository{Owner: owner, Name: short}
	if err := checkPath(repo); err != nil {
		return nil, repo, err
	}
	i, err := a.installationAt(ctx, owner, short)
	return i, repo, err
}

// DeployKeyPolicy is what the App needs to replace deploy keys.
func DeployKeyPolicy() grants.Policy {
	return grants.Policy{Name: "Deploy keys at GitHub", Syntax: "github", Lines: []grants.Line{
		{Grant: writeAdministration.grant(), For: "verify, issue and revoke deploy keys"},
	}}
}
