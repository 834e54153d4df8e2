package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A State is what Inspect sees of a database.
type State struct {
	Exists  bool
	Version int // of its tables
	Known   int // to this program
}

// Inspect looks at the database of a URL, and whether the keys fit, without changing
// anything: a server may have it open meanwhile.
func Inspect(ctx context.Context, databaseURL string, keys Keys) (State, error) {
	s, state, err := inspect(ctx, databaseURL, keys)
	switch {
	case s != nil:
		err = s.Close()
	case !state.Exists && errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	return state, err
}

// View opens the database of a URL for reading. It takes no lock: a server may have
// the database open meanwhile. A database that is not there, or whose tables are older
// or newer than this program's, is an error.
func View(ctx context.Context, databaseURL string, keys Keys) (*Store, error) {
	s, state, err := inspect(ctx, databaseURL, keys)
	if err == nil && state.Version < state.Known {
		err = fmt.Errorf("database %s: its tables are of version %d; the next start of stanch serve brings them to %d",
			s.database, state.Version, state.Known)
		return nil, errors.Join(err, s.Close())
	}
	return s, err
}

// inspect opens a database for reading and says how it is. Without an error there is
// one, whose keys fit.
func inspect(ctx context.Context, databaseURL string, keys Keys) (s *Store, state State, err error) {
	d, err := ParseURL(databaseURL)
	if err != nil {
		return nil, state, err
	}
	if state.Known, err = known(); err != nil {
		return nil, state, err
	}
	if err := d.thereIs(); err != nil {
		return nil, state, err
	}
	db, speak, err := d.view(ctx)
	if err != nil {
		return nil, state, d.problem("read", err)
	}
	s = d.newStore(db, speak, keys)
	if state.Version, err = s.version(ctx); err == nil {
		switch {
		case state.Version > state.Known:
			err = newer(state.Version, state.Known)
		case state.Version > 0:
			err = s.checkKey(ctx)
		}
	}
	state.Exists = state.Version > 0 || d.File() != ""
	if err != nil {
		return nil, state, errors.Join(d.problem("read", err), s.Close())
	}
	return s, state, nil
}

// thereIs reports whether there is a file to be read. Of a server's database its own
// answer tells.
func (d Database) thereIs() error {
	if d.File() == "" {
		return nil
	}
	if _, err := os.Stat(d.path); errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Stat(filepath.Dir(d.path)); err != nil || !info.IsDir() {
			return fmt.Errorf("database %s: there is no folder for it", d.path)
		}
		return fmt.Errorf("database %s: %w", d.path, fs.ErrNotExist)
	}
	return nil
}
