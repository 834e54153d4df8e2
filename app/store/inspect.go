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
	params := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(2000)", "query_only(1)"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+params.Encode())
	if err != nil {
		return state, fmt.Errorf("open database %s: %w", path, err)
	}
	defer db.Close()
	s := &Store{queries: queries{db, keys}, db: db, keys: keys}
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
