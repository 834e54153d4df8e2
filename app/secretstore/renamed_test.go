package secretstore

import (
	"context"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// renamed lets a store whose names have no slashes, and whose versions may have ids, be
// held to the contract of those with paths and numbers.
type renamed struct {
	store
	root     string                                                    // before the names
	numbered func(ctx context.Context, path string) ([]Version, error) // the oldest first; nil for numbers
}

func (r renamed) path(path string) string {
	name, ok := strings.CutPrefix(path, r.root)
	if !ok {
		return path
	}
	return r.root + strings.ReplaceAll(name, "/", "--")
}

func (r renamed) in(ctx context.Context, loc Location) Location {
	loc.Path = r.path(loc.Path)
	if r.numbered == nil || loc.Version == "" {
		return loc
	}
	n, _ := loc.Version.number()
	all, _ := r.numbered(ctx, loc.Path)
	if loc.Version = "none"; n <= len(all) {
		loc.Version = all[n-1]
	}
	return loc
}

func (r renamed) out(ctx context.Context, loc Location, err error) (Location, error) {
	if err != nil {
		return loc, err
	}
	version, err := r.number(ctx, loc.Path, loc.Version)
	loc.Version = version
	if name, ok := strings.CutPrefix(loc.Path, r.root); ok {
		loc.Path = r.root + strings.ReplaceAll(name, "--", "/")
	}
	return loc, err
}

func (r renamed) number(ctx context.Context, path string, version Version) (Version, error) {
	if r.numbered == nil {
		return version, nil
	}
	all, err := r.numbered(ctx, path)
	for n, v := range all {
		if v == version {
			return numbered(n + 1), nil
		}
	}
	return "", err
}

func (r renamed) Locate(ctx context.Context, fp checks.Fingerprint) ([]Location, error) {
	found, err := r.store.Locate(ctx, fp)
	for n := range found {
		if found[n], err = r.out(ctx, found[n], err); err != nil {
			return nil, err
		}
	}
	return found, err
}

func (r renamed) Get(ctx context.Context, loc Location) (Content, error) {
	c, err := r.store.Get(ctx, r.in(ctx, loc))
	if err == nil {
		c.Version, err = r.number(ctx, r.path(loc.Path), c.Version)
	}
	return c, err
}

func (r renamed) Put(ctx context.Context, loc Location, values map[string]checks.Secret, operation string) (Location, error) {
	put, err := r.store.Put(ctx, r.in(ctx, loc), values, operation)
	return r.out(ctx, put, err)
}

func (r renamed) Retire(ctx context.Context, loc Location) error {
	return r.store.Retire(ctx, r.in(ctx, loc))
}

func (r renamed) History(ctx context.Context, loc Location) ([]Past, error) {
	past, err := r.store.History(ctx, r.in(ctx, loc))
	for n := range past {
		if past[n].Version, err = r.number(ctx, r.path(loc.Path), past[n].Version); err != nil {
			return nil, err
		}
	}
	return past, err
}

func (r renamed) Restore(ctx context.Context, loc Location, operation string) (Location, error) {
	restored, err := r.store.Restore(ctx, r.in(ctx, loc), operation)
	return r.out(ctx, restored, err)
}
