package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// A State is what Inspect sees of a database.
type State struct {
	Exists  bool
	Version int // of its tables
	Known   int // to this program

	path string
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
			state.path, state.Version, state.Known)
		return nil, errors.Join(err, s.Close())
	}
	return s, err
}

// inspect opens a database for reading and says how it is. Without an error there is
// one, whose keys fit.
func inspect(ctx context.Context, databaseURL string, keys Keys) (s *Store, state State, err error) {
	steps, err := schema()
	if err != nil {
		return nil, state, err
	}
	state.Known = len(steps)
	if state.path, err = SQLitePath(databaseURL); err != nil {
		return nil, state, err
	}
	if _, err := os.Stat(state.path); errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Stat(filepath.Dir(state.path)); err != nil || !info.IsDir() {
			return nil, state, fmt.Errorf("database %s: there is no folder for it", state.path)
		}
		return nil, state, fmt.Errorf("database %s: %w", state.path, fs.ErrNotExist)
	}
	state.Exists = true
	if s, err = openView(state.path, keys); err != nil {
		return nil, state, err
	}
	if state.Version, err = s.version(ctx); err == nil {
		switch {
		case state.Version > state.Known:
			err = newer(state.Version, state.Known)
		case state.Version > 0:
			err = s.checkKey(ctx)
		}
	}
	if err != nil {
		return nil, state, errors.Join(fmt.Errorf("read database %s: %w", state.path, err), s.Close())
	}
	return s, state, nil
}

func openView(path string, keys Keys) (*Store, error) {
	params := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(2000)", "query_only(1)"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+params.Encode())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return &Store{queries: queries{db, keys}, db: db, keys: keys, unlock: func() {}}, nil
}
