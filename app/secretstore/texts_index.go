package secretstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/checks"
)

// kept is what is remembered of one secret: the fingerprints of the versions that have
// been read. The text of a version never changes, so it is read once.
type kept struct {
	mark      string
	revisions []revision
	versions  map[Version]fields
	denied    bool
}

// Locate returns the places that hold a value now or, when there are none, those of
// superseded versions that still hold it.
func (s *texts) Locate(ctx context.Context, fp checks.Fingerprint) ([]Location, error) {
	asked := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.refreshed.After(asked) { // else somebody else's refresh began after this question
		if err := s.refresh(ctx); err != nil {
			return nil, fmt.Errorf("search %s: %w", s.name, err)
		}
	}
	found := s.search(fp, false)
	if len(found) == 0 {
		if err := s.readEach(ctx, s.index, func(k *kept) []revision { return k.revisions }); err != nil {
			return nil, fmt.Errorf("search %s's old versions: %w", s.name, err)
		}
		found = s.search(fp, true)
	}
	return found, nil
}

// Skipped lists what the last search could not look into, because Stanch's account may
// not. A value there is not found.
func (s *texts) Skipped() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.skipped)
}

// touch has the next search look at a secret again.
func (s *texts) touch(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.index[path]; ok {
		k.mark = ""
	}
}

func (s *texts) search(fp checks.Fingerprint, superseded bool) []Location {
	var found []Location
	for path, k := range s.index {
		for n, r := range k.revisions {
			if (n > 0) != superseded {
				continue
			}
			for _, field := range k.versions[r.version][fp] {
				found = append(found, Location{Store: s.name, Path: path, Field: field, Version: r.version, Superseded: superseded})
			}
		}
	}
	sortLocations(found)
	return found
}

// refresh makes the index equal to the store.
func (s *texts) refresh(ctx context.Context) error {
	began := time.Now()
	index := map[string]*kept{}
	err := s.keeper.secrets(ctx, func(path, mark string) error {
		if len(index) >= s.max {
			return fmt.Errorf("%w: over %d", ErrTooMany, s.max)
		}
		index[path] = s.known(path, mark)
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.list(ctx, index); err != nil {
		return err
	}
	if err := s.readEach(ctx, index, func(k *kept) []revision { return k.revisions[:min(1, len(k.revisions))] }); err != nil {
		return err
	}
	var skipped []string
	for path, k := range index {
		if k.denied {
			skipped = append(skipped, path)
			delete(index, path)
		}
	}
	slices.Sort(skipped)
	if len(skipped) > 0 && !slices.Equal(skipped, s.skipped) {
		s.log.LogAttrs(ctx, slog.LevelWarn, "Stanch may not search everywhere; leaked values there are not found",
			slog.String("store", s.name), slog.Any("skipped", skipped))
	}
	s.index, s.skipped, s.refreshed = index, skipped, began
	return nil
}

// known is what is remembered of a secret; of one that may have changed, what was read.
func (s *texts) known(path, mark string) *kept {
	k := &kept{mark: mark, versions: map[Version]fields{}}
	if old, ok := s.index[path]; ok {
		k.versions = maps.Clone(old.versions)
		if mark != "" && mark == old.mark {
			k.revisions = old.revisions
		}
	}
	return k
}

// list learns which versions there are of secrets that may have changed, and forgets
// those that cannot be read any more.
func (s *texts) list(ctx context.Context, index map[string]*kept) error {
	return s.forEach(ctx, index, func(ctx context.Context, path string, k *kept) (err error) {
		if k.revisions == nil {
			if k.revisions, err = s.keeper.revisions(ctx, path); errors.Is(err, ErrNotFound) {
				err = nil // deleted since it was listed
			}
		}
		maps.DeleteFunc(k.versions, func(version Version, _ fields) bool {
			return !slices.ContainsFunc(k.revisions, func(r revision) bool { return r.version == version && r.readable })
		})
		return err
	})
}

// readEach reads of each secret those versions that have not been read yet, and drops
// their values.
func (s *texts) readEach(ctx context.Context, index map[string]*kept, which func(*kept) []revision) error {
	return s.forEach(ctx, index, func(ctx context.Context, path string, k *kept) error {
		for _, r := range which(k) {
			if _, known := k.versions[r.version]; known || !r.readable {
				continue
			}
			text, err := s.keeper.read(ctx, path, r.version)
			if errors.Is(err, ErrNotFound) {
				continue // destroyed meanwhile
			}
			if err != nil {
				return err
			}
			k.versions[r.version] = fingerprints(s.key, fieldsOf(text))
		}
		return nil
	})
}

// forEach does something for all secrets, a few at a time. Those that Stanch's account may
// not look into are marked.
func (s *texts) forEach(ctx context.Context, index map[string]*kept, do func(context.Context, string, *kept) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for path, k := range index {
		if k.denied {
			continue
		}
		group.Go(func() error {
			err := do(ctx, path, k)
			if err != nil && s.keeper.denied(err) {
				k.denied = true
				return nil
			}
			return err
		})
	}
	return group.Wait()
}
