package secretstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/stanch-dev/stanch/checks"
)

// keepVersions is how many versions of a secret the file keeps, as many as
// Vault's KV keeps by default.
const keepVersions = 10

// A File is a store in one file, encrypted with age (https://age-encryption.org)
// to the identity in a key file. Several processes may use it at the same time.
type File struct {
	path     string
	identity *age.X25519Identity
	key      checks.FingerprintKey
	lock     *lockedfile.Mutex

	beforeRename func() // for tests that crash there
}

// contents is what the file holds once decrypted. Nothing of it outlives the
// call that read it.
type contents struct {
	Format  int                `json:"format"`
	Secrets map[string]*secret `json:"secrets"`
}

type secret struct {
	Current  int              `json:"current"`
	Versions map[int]*version `json:"versions"`
}

type version struct {
	Fields    map[string]string `json:"fields,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	Created   time.Time         `json:"created"`
	Destroyed bool              `json:"destroyed,omitempty"`
}

// OpenFile opens the store at path, which need not exist yet, with the identity
// in keyPath. The key file is made on first use, readable by its owner alone. Who
// has both files has the secrets: keep the key file elsewhere in backups.
func OpenFile(path, keyPath string, key checks.FingerprintKey) (*File, error) {
	f := &File{path: path, key: key, lock: lockedfile.MutexAt(path + ".lock"), beforeRename: func() {}}
	unlock, err := f.lock.Lock()
	if err != nil {
		return nil, fmt.Errorf("lock secret store %s: %w", path, err)
	}
	defer unlock()
	if f.identity, err = openKey(keyPath, path); err != nil {
		return nil, err
	}
	if _, err := f.read(); err != nil {
		return nil, err
	}
	f.sweep()
	return f, nil
}

// Name is "file".
func (*File) Name() string { return "file" }

// Locate returns the places that hold a value now or, when there are none, those
// of superseded versions that still hold it.
func (f *File) Locate(_ context.Context, fp checks.Fingerprint) ([]Location, error) {
	var current, old []Location
	err := f.view(func(c *contents) error {
		for path, s := range c.Secrets {
			for n, v := range s.Versions {
				for _, field := range fingerprints(f.key, v.Fields)[fp] {
					loc := Location{Store: f.Name(), Path: path, Field: field, Version: numbered(n), Superseded: n != s.Current}
					if loc.Superseded {
						old = append(old, loc)
					} else {
						current = append(current, loc)
					}
				}
			}
		}
		return nil
	})
	if len(current) == 0 {
		current = old
	}
	sortLocations(current)
	return current, err
}

// Get returns what a secret holds now.
func (f *File) Get(_ context.Context, loc Location) (now Content, err error) {
	err = f.view(func(c *contents) error {
		s, ok := c.Secrets[loc.Path]
		if !ok {
			return fmt.Errorf("get %s: %w", loc, ErrNotFound)
		}
		now = content(numbered(s.Current), s.Versions[s.Current].Fields)
		return nil
	})
	return now, err
}

// Put replaces fields if the secret is still at loc.Version, and leaves the others.
// It returns where the new values are. Done twice it changes nothing more.
func (f *File) Put(_ context.Context, loc Location, values map[string]checks.Secret, operation string) (Location, error) {
	if err := checkPut(loc, values); err != nil {
		return Location{}, err
	}
	was, err := loc.Version.number()
	if err != nil {
		return Location{}, fmt.Errorf("put %s: %w", loc, err)
	}
	err = f.update(func(c *contents) (bool, error) {
		s := c.Secrets[loc.Path]
		if s == nil {
			s = &secret{Versions: map[int]*version{0: {}}}
		}
		if s.Current != was {
			if s.Current == was+1 && content("", s.Versions[s.Current].Fields).has(values) {
				return false, nil // it was this very Put
			}
			return false, fmt.Errorf("put %s: %w: it is at version %d", loc, ErrConflict, s.Current)
		}
		c.Secrets[loc.Path] = s
		s.add(values, operation)
		return true, nil
	})
	if err != nil {
		return Location{}, err
	}
	return loc.at(numbered(was + 1)), nil
}

// add makes a new version in which some fields are different, and drops what is
// older than the versions that are kept.
func (s *secret) add(values map[string]checks.Secret, operation string) {
	next := &version{
		Fields:   map[string]string{},
		Metadata: map[string]string{operationKey: operation},
		Created:  time.Now().UTC(),
	}
	maps.Copy(next.Fields, s.Versions[s.Current].Fields)
	for field, value := range values {
		next.Fields[field] = value.Expose()
	}
	s.Current++
	s.Versions[s.Current] = next
	maps.DeleteFunc(s.Versions, func(n int, _ *version) bool { return n == 0 || n <= s.Current-keepVersions })
}

// Retire destroys the version that loc names, and no other. A version that is
// gone already is no error; the current one is.
func (f *File) Retire(_ context.Context, loc Location) error {
	n, err := loc.Version.number()
	if err != nil {
		return fmt.Errorf("retire %s: %w", loc, err)
	}
	return f.update(func(c *contents) (bool, error) {
		s, ok := c.Secrets[loc.Path]
		if !ok {
			return false, nil
		}
		if n == s.Current {
			return false, fmt.Errorf("retire %s: it is the current version; put a replacement first", loc)
		}
		v, ok := s.Versions[n]
		if !ok || v.Destroyed {
			return false, nil
		}
		v.Fields, v.Destroyed = nil, true
		return true, nil
	})
}

// History lists the versions of a secret, the newest first.
func (f *File) History(_ context.Context, loc Location) (past []Past, err error) {
	err = f.view(func(c *contents) error {
		s, ok := c.Secrets[loc.Path]
		if !ok {
			return fmt.Errorf("history of %s: %w", loc, ErrNotFound)
		}
		for n, v := range s.Versions {
			past = append(past, Past{Version: numbered(n), Created: v.Created, Operation: v.Metadata[operationKey], Current: n == s.Current, Gone: v.Destroyed})
		}
		return nil
	})
	sortPast(past)
	return past, err
}

// Restore makes a field what it was in the version that loc names, in a new version,
// and returns where that is. Where the field is so already nothing is done.
func (f *File) Restore(_ context.Context, loc Location, operation string) (Location, error) {
	n, err := loc.Version.number()
	if err != nil {
		return Location{}, fmt.Errorf("restore %s: %w", loc, err)
	}
	var now Location
	err = f.update(func(c *contents) (bool, error) {
		s, ok := c.Secrets[loc.Path]
		if !ok || s.Versions[n] == nil || s.Versions[n].Destroyed {
			return false, fmt.Errorf("restore %s: %w", loc, ErrNotFound)
		}
		text, ok := s.Versions[n].Fields[loc.Field]
		if !ok {
			return false, fmt.Errorf("restore %s: %w: no such field in that version", loc, ErrNotFound)
		}
		changes := s.Versions[s.Current].Fields[loc.Field] != text
		if changes {
			s.add(map[string]checks.Secret{loc.Field: checks.NewSecret(text)}, operation)
		}
		now = loc.at(numbered(s.Current))
		return changes, nil
	})
	return now, err
}

// Skipped is empty: who can open the file can read all of it.
func (*File) Skipped() []string { return nil }

// Paths lists the secrets.
func (f *File) Paths() ([]string, error) {
	var paths []string
	err := f.view(func(c *contents) error {
		paths = slices.Sorted(maps.Keys(c.Secrets))
		return nil
	})
	return paths, err
}
