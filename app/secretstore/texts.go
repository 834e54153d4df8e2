package secretstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// A keeper is a cloud's service that keeps secrets, one text a version. Neither of the
// two takes a new version on the condition that nobody else has added one: see Put.
type keeper interface {
	// secrets visits all secrets, each with a mark that changes when its current version
	// does; an empty mark says that it may have changed.
	secrets(ctx context.Context, visit func(path, mark string) error) error
	// revisions lists a secret's versions. The first is what its readers get.
	revisions(ctx context.Context, path string) ([]revision, error)
	// read returns the text of a version that can be read.
	read(ctx context.Context, path string, version Version) (string, error)
	// claim says that an operation is about to add the version after one, and makes the
	// secret if there is none. It is ErrConflict when another one is.
	claim(ctx context.Context, path string, after Version, operation string) error
	add(ctx context.Context, path, text, operation string) (Version, error)
	// destroy makes a version unreadable, as far as the service can do that for good.
	destroy(ctx context.Context, path string, version Version) error
	// denied says whether an error means that Stanch's account may not look there.
	denied(err error) bool
	// checkPath refuses what is no path of a secret.
	checkPath(path string) error
}

// A revision is a version that a secret has or had.
type revision struct {
	version   Version
	created   time.Time
	operation string // that wrote it, where the service keeps that
	readable  bool
	gone      bool // for good
}

// texts is the store over a keeper.
type texts struct {
	keeper keeper
	name   string
	key    checks.FingerprintKey
	max    int
	log    *slog.Logger

	writing sync.Mutex // held by Put, of which the keeper cannot tell two apart

	mu        sync.Mutex // held while the index is refreshed or searched
	index     map[string]*kept
	refreshed time.Time
	skipped   []string
}

func newTexts(k keeper, name string, key checks.FingerprintKey, most int, log *slog.Logger) *texts {
	s := &texts{keeper: k, name: name, key: key, max: most, log: log, index: map[string]*kept{}}
	if s.max == 0 {
		s.max = defaultMaxSecrets
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Name is the store's name in locations.
func (s *texts) Name() string { return s.name }

// A snapshot is a secret at one moment.
type snapshot struct {
	revisions []revision
	text      string
	Content
}

// now reads a secret. Without a version that its readers get it is ErrNotFound, with
// what there is.
func (s *texts) now(ctx context.Context, path string) (n snapshot, err error) {
	if err := s.keeper.checkPath(path); err != nil {
		return n, err
	}
	if n.revisions, err = s.keeper.revisions(ctx, path); err != nil {
		return n, err
	}
	switch {
	case len(n.revisions) == 0:
		return n, ErrNotFound
	case !n.revisions[0].readable:
		n.Version = n.revisions[0].version
		return n, fmt.Errorf("%w: version %s, which its readers ask for, is disabled or destroyed", ErrNotFound, n.Version)
	}
	if n.text, err = s.keeper.read(ctx, path, n.revisions[0].version); err != nil {
		return n, err
	}
	n.Content = content(n.revisions[0].version, fieldsOf(n.text))
	return n, nil
}

// Get returns what a secret holds now.
func (s *texts) Get(ctx context.Context, loc Location) (Content, error) {
	n, err := s.now(ctx, loc.Path)
	if err != nil {
		return Content{}, fmt.Errorf("get %s: %w", loc, err)
	}
	return n.Content, nil
}

// Put replaces fields if the secret is still at loc.Version, and leaves the others.
// It returns where the new values are. Done twice it changes nothing more.
//
// The service adds a version whatever happened meanwhile. Whoever added another one
// between the look before and the look after gets his back as the current one, and
// ErrConflict is returned.
func (s *texts) Put(ctx context.Context, loc Location, values map[string]checks.Secret, operation string) (Location, error) {
	if err := checkPut(loc, values); err != nil {
		return Location{}, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	defer s.touch(loc.Path)
	put, err := s.put(ctx, loc, values, operation)
	if err != nil {
		return Location{}, fmt.Errorf("put %s: %w", loc, err)
	}
	return loc.at(put), nil
}

func (s *texts) put(ctx context.Context, loc Location, values map[string]checks.Secret, operation string) (Version, error) {
	n, err := s.now(ctx, loc.Path)
	switch {
	case errors.Is(err, ErrNotFound) && loc.Version == "" && n.Version == "":
	case err != nil:
		return "", err
	case n.Version != loc.Version && !n.has(values):
		return "", fmt.Errorf("%w: it is at version %s", ErrConflict, n.Version)
	case n.Version != loc.Version: // by this same Put, or by its twin
		return n.Version, s.settle(ctx, loc.Path, n.Version, true, newerThan(n.revisions, loc.Version), operation)
	}
	text, err := withFields(n.text, values)
	if err != nil {
		return "", err
	}
	if err := s.keeper.claim(ctx, loc.Path, loc.Version, operation); err != nil {
		return "", err
	}
	made, err := s.keeper.add(ctx, loc.Path, text, operation)
	if err != nil {
		return "", err
	}
	after, err := s.keeper.revisions(ctx, loc.Path)
	if err != nil {
		return "", err
	}
	before := func(r revision) bool {
		return slices.ContainsFunc(n.revisions, func(old revision) bool { return old.version == r.version })
	}
	current := len(after) > 0 && after[0].version == made
	return made, s.settle(ctx, loc.Path, made, current, slices.DeleteFunc(after, before), operation)
}

// newerThan returns the versions that came after one; all when that is none. Those of
// the same moment, of which nobody can tell, did not.
func newerThan(all []revision, version Version) []revision {
	n := slices.IndexFunc(all, func(r revision) bool { return r.version == version })
	if n < 0 {
		return slices.Clone(all)
	}
	return slices.DeleteFunc(slices.Clone(all[:n]), func(r revision) bool { return !r.created.After(all[n].created) })
}

// settle looks at the versions that came beside the one that was made, which may be the
// current one. Readers must not miss what somebody else put there, and they must get a
// version that can be read.
func (s *texts) settle(ctx context.Context, path string, made Version, current bool, fresh []revision, operation string) error {
	theirs := slices.DeleteFunc(fresh, func(r revision) bool { return r.version == made || !r.readable })
	if len(theirs) == 0 {
		return nil
	}
	if current {
		text, err := s.keeper.read(ctx, path, theirs[0].version)
		if err != nil {
			return fmt.Errorf("version %s came at the same time: %w", theirs[0].version, err)
		}
		if _, err := s.keeper.add(ctx, path, text, operation); err != nil {
			return fmt.Errorf("make version %s the current one again: %w", theirs[0].version, err)
		}
	}
	if err := s.keeper.destroy(ctx, path, made); err != nil {
		return fmt.Errorf("take version %s back: %w", made, err)
	}
	return fmt.Errorf("%w: version %s came at the same time, and is the current one", ErrConflict, theirs[0].version)
}

// Retire destroys the version that loc names, and no other. A version that is
// gone already is no error; the current one is.
func (s *texts) Retire(ctx context.Context, loc Location) error {
	if err := s.keeper.checkPath(loc.Path); err != nil {
		return fmt.Errorf("retire %s: %w", loc, err)
	}
	all, err := s.keeper.revisions(ctx, loc.Path)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("retire %s: %w", loc, err)
	}
	n := slices.IndexFunc(all, func(r revision) bool { return r.version == loc.Version })
	switch {
	case n == 0:
		return fmt.Errorf("retire %s: it is the current version; put a replacement first", loc)
	case n < 0 || all[n].gone:
		return nil
	}
	defer s.touch(loc.Path)
	if err := s.keeper.destroy(ctx, loc.Path, loc.Version); err != nil {
		return fmt.Errorf("retire %s: %w", loc, err)
	}
	return nil
}

// History lists the versions of a secret, the newest first.
func (s *texts) History(ctx context.Context, loc Location) ([]Past, error) {
	if err := s.keeper.checkPath(loc.Path); err != nil {
		return nil, fmt.Errorf("history of %s: %w", loc, err)
	}
	all, err := s.keeper.revisions(ctx, loc.Path)
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", loc, err)
	}
	var past []Past
	for n, r := range all {
		past = append(past, Past{Version: r.version, Created: r.created, Operation: r.operation, Current: n == 0, Gone: r.gone})
	}
	return past, nil
}

// Restore makes a field what it was in the version that loc names, in a new version,
// and returns where that is. Where the field is so already nothing is done.
func (s *texts) Restore(ctx context.Context, loc Location, operation string) (Location, error) {
	if err := s.keeper.checkPath(loc.Path); err != nil {
		return Location{}, fmt.Errorf("restore %s: %w", loc, err)
	}
	text, err := s.keeper.read(ctx, loc.Path, loc.Version)
	if err != nil {
		return Location{}, fmt.Errorf("restore %s: %w", loc, err)
	}
	value, ok := fieldsOf(text)[loc.Field]
	if !ok {
		return Location{}, fmt.Errorf("restore %s: %w: no such text field in that version", loc, ErrNotFound)
	}
	values := map[string]checks.Secret{loc.Field: checks.NewSecret(value)}
	now, err := s.Get(ctx, loc)
	switch {
	case err != nil:
		return Location{}, err
	case now.has(values):
		return loc.at(now.Version), nil
	}
	return s.Put(ctx, loc.at(now.Version), values, operation)
}
