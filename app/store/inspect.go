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
}

// Inspect looks at the database of a URL, and whether the keys fit, without changing
// anything: a server may have it open meanwhile.
func Inspect(ctx context.Context, databaseURL string, keys Keys) (state State, err error) {
	path, err := SQLitePath(databaseURL)
	if err != nil {
		return state, err
	}
	steps, err := schema()
	if err != nil {
		return state, err
	}
	state.Known = len(steps)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return state, fmt.Errorf("database %s: there is no folder for it", path)
		}
		return state, nil
	}
	state.Exists = true
	s, err := openView(path, keys)
	if err != nil {
		return state, err
	}
	defer s.Close()
	if state.Version, err = s.version(ctx); err != nil {
		return state, fmt.Errorf("read database %s: %w", path, err)
	}
	switch {
	case state.Version > state.Known:
		err = newer(state.Version, state.Known)
	case state.Version > 0:
		err = s.checkKey(ctx)
	}
	if err != nil {
		return state, fmt.Errorf("read database %s: %w", path, err)
	}
	return state, nil
}

// View opens the database of a URL for reading. It takes no lock: a server may have
// the database open meanwhile. A database that is not there, or whose tables are older
// or newer than this program's, is an error.
func View(ctx context.Context, databaseURL string, keys Keys) (*Store, error) {
	state, err := Inspect(ctx, databaseURL, keys)
	if err != nil {
		return nil, err
	}
	path, err := SQLitePath(databaseURL)
	switch {
	case err != nil:
		return nil, err
	case !state.Exists:
		return nil, fmt.Errorf("database %s: %w", path, fs.ErrNotExist)
	case state.Version < state.Known:
		return nil, fmt.Errorf("database %s: its tables are of version %d; the next start of stanch serve brings them to %d", path, state.Version, state.Known)
	}
	return openView(path, keys)
}

func openView(path string, keys Keys) (*Store, error) {
	params := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(2000)", "query_only(1)"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+params.Encode())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return &Store{queries: queries{db, keys}, db: db, keys: keys, unlock: func() {}}, nil
}
