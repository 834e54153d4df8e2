package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/provider"
)

// deployKeys asks GitHub as the App, for package provider.
type deployKeys struct{ app *github.App }

// DeployKeys implements provider.DeployKeys.
func (d deployKeys) DeployKeys(ctx context.Context, repository string) ([]provider.DeployKey, error) {
	list, err := d.app.DeployKeys(ctx, repository)
	var keys []provider.DeployKey
	for _, k := range list {
		keys = append(keys, provider.DeployKey(k))
	}
	return keys, err
}

// AddDeployKey implements provider.DeployKeys.
func (d deployKeys) AddDeployKey(ctx context.Context, repository string, key provider.DeployKey) error {
	return definitely(provider.ErrCannotIssue, d.app.AddDeployKey(ctx, repository, github.DeployKey(key)))
}

// RemoveDeployKey implements provider.DeployKeys.
func (d deployKeys) RemoveDeployKey(ctx context.Context, repository string, id int64) error {
	err := d.app.RemoveDeployKey(ctx, repository, id)
	if !errors.Is(err, github.ErrNotFound) {
		return definitely(provider.ErrCannotRevoke, err)
	}
	// Gone, or the repository cannot be seen any more.
	left, err := d.app.DeployKeys(ctx, repository)
	for _, k := range left {
		if k.ID == id {
			return fmt.Errorf("deploy key %d of %s is still there, and GitHub says that it is not: try again", id, repository)
		}
	}
	return err
}

// definitely says of GitHub's clear refusals that nothing has changed.
func definitely(what, err error) error {
	for _, refused := range []error{github.ErrForbidden, github.ErrNotFound, github.ErrInvalid, github.ErrGone} {
		if errors.Is(err, refused) {
			return fmt.Errorf("%w: %w", what, err)
		}
	}
	return err
}
