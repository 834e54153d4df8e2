package secretstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/api"

	"github.com/stanch-dev/stanch/checks"
)

// History lists the versions of a secret, the newest first. Vault keeps one note of an
// operation for all of them, so none is named.
func (v *Vault) History(ctx context.Context, loc Location) ([]Past, error) {
	kv, path, err := v.open(ctx, loc)
	if err != nil {
		return nil, err
	}
	meta, err := kv.GetMetadata(ctx, path)
	if errors.Is(err, api.ErrSecretNotFound) {
		return nil, fmt.Errorf("history of %s: %w", loc, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", loc, lacking(err, loc, path, "metadata", "read"))
	}
	var past []Past
	for _, old := range meta.Versions {
		past = append(past, Past{Version: numbered(old.Version), Created: old.CreatedTime,
			Current: old.Version == meta.CurrentVersion, Gone: old.Destroyed || !old.DeletionTime.IsZero()})
	}
	sortPast(past)
	return past, nil
}

// Restore makes a field what it was in the version that loc names, in a new version,
// and returns where that is. Where the field is so already nothing is done.
func (v *Vault) Restore(ctx context.Context, loc Location, operation string) (Location, error) {
	n, err := loc.Version.number()
	if err != nil {
		return Location{}, fmt.Errorf("restore %s: %w", loc, err)
	}
	kv, path, err := v.open(ctx, loc)
	if err != nil {
		return Location{}, err
	}
	old, err := kv.GetVersion(ctx, path, n)
	switch {
	case errors.Is(err, api.ErrSecretNotFound):
		return Location{}, fmt.Errorf("restore %s: %w", loc, ErrNotFound)
	case err != nil:
		return Location{}, fmt.Errorf("restore %s: %w", loc, lacking(err, loc, path, "data", "read"))
	}
	text, ok := old.Data[loc.Field].(string)
	if !ok {
		return Location{}, fmt.Errorf("restore %s: %w: no such text field in that version, or it is destroyed", loc, ErrNotFound)
	}
	values := map[string]checks.Secret{loc.Field: checks.NewSecret(text)}
	now, err := v.Get(ctx, loc)
	switch {
	case err != nil:
		return Location{}, err
	case now.has(values):
		return loc.at(now.Version), nil
	}
	return v.Put(ctx, loc.at(now.Version), values, operation)
}
