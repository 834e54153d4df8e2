package secretstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/api"
)

// renewRetry is how long KeepAlive waits after Vault could not be asked.
const renewRetry = 10 * time.Second

// ErrNotRenewable means that the store's own token ends on a fixed date.
var ErrNotRenewable = errors.New("the token cannot be renewed: create it with -period")

// KeepAlive renews the store's own token until ctx ends. It returns before that
// only if the token cannot be renewed: a root token needs no renewal, and any
// other one will end, which ErrNotRenewable says.
func (v *Vault) KeepAlive(ctx context.Context) error {
	for ctx.Err() == nil {
		secret, err := v.client.Auth().Token().RenewSelfWithContext(ctx, 0)
		switch {
		case err == nil && secret.Auth != nil && secret.Auth.Renewable:
			err = v.watch(ctx, secret)
		case err == nil:
			return ErrNotRenewable
		case v.endless(ctx):
			return nil
		}
		if err != nil {
			v.log.WarnContext(ctx, "Stanch's own Vault token could not be renewed; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(renewRetry):
		}
	}
	return nil
}

// watch renews in time until that fails.
func (v *Vault) watch(ctx context.Context, secret *api.Secret) error {
	w, err := v.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: secret})
	if err != nil {
		return fmt.Errorf("watch the token: %w", err)
	}
	go w.Start()
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.DoneCh():
			return err
		case <-w.RenewCh():
		}
	}
}

// endless reports whether the token has no end, as root tokens do.
func (v *Vault) endless(ctx context.Context) bool {
	secret, err := v.client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return false
	}
	ttl, err := secret.TokenTTL()
	return err == nil && ttl == 0
}
