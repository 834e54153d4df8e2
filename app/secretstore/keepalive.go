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
		over, err := v.renew(ctx)
		if over {
			return err
		}
		if err != nil && ctx.Err() == nil {
			v.log.WarnContext(ctx, "Stanch's own Vault token could not be renewed; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(renewRetry):
		}
	}
	return nil
}

// renew keeps the token alive until that fails. It is over when nothing can, or
// need, be renewed.
func (v *Vault) renew(ctx context.Context) (over bool, err error) {
	self, err := v.client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return false, err
	}
	ttl, err := self.TokenTTL()
	if err != nil {
		return false, err
	}
	renewable, err := self.TokenIsRenewable()
	switch {
	case err != nil:
		return false, err
	case ttl == 0:
		return true, nil // a root token has no end
	case !renewable:
		return true, ErrNotRenewable
	}
	secret, err := v.client.Auth().Token().RenewSelfWithContext(ctx, 0)
	if err != nil {
		return false, err
	}
	return false, v.watch(ctx, secret)
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
