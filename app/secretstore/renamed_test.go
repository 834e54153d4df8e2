package secretstore

import (
	"context"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// renamed lets a store whose names have no slashes be held to the contract of those
// with paths.
type renamed struct {
	store
	root string // before the names
}

func (r renamed) in(loc Location) Location {
	if name, ok := strings.CutPrefix(loc.Path, r.root); ok {
		loc.Path = r.root + strings.ReplaceAll(name, "/", "--")
	}
	return loc
}

func (r renamed) out(loc Location) Location {
	if name, ok := strings.CutPrefix(loc.Path, r.root); ok {
		loc.Path = r.root + strings.ReplaceAll(name, "--", "/")
	}
	return loc
}

func (r renamed) Locate(ctx context.Context, fp checks.Fingerprint) ([]Location, error) {
	found, err := r.store.Locate(ctx, fp)
	for n := range found {
		found[n] = r.out(found[n])
	}
	return found, err
}

func (r renamed) Get(ctx context.Context, loc Location) (Content, error) {
	return r.store.Get(ctx, r.in(loc))
}

func (r renamed) Put(ctx context.Context, loc Location, values map[string]checks.Secret, operation string) (Location, error) {
	put, err := r.store.Put(ctx, r.in(loc), values, operation)
	return r.out(put), err
}

func (r renamed) Retire(ctx context.Context, loc Location) error {
	return r.store.Retire(ctx, r.in(loc))
}

func (r renamed) History(ctx context.Context, loc Location) ([]Past, error) {
	return r.store.History(ctx, r.in(loc))
}

func (r renamed) Restore(ctx context.Context, loc Location, operation string) (Location, error) {
	restored, err := r.store.Restore(ctx, r.in(loc), operation)
	return r.out(restored), err
}
