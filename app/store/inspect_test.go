package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/store/postgrestest"
)

// TestInspect looks at a database while a server has it open, and when none has.
func TestInspect(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a b%3F.db")
	look := func() State {
		t.Helper()
		state, err := Inspect(t.Context(), "sqlite:"+path, newKeys(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	if state := look(); state.Exists || state.Known == 0 {
		t.Errorf("before it is made: %+v", state)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("looking left %v: %v", left, err)
	}
	s := newStore(t, path)
	if state := look(); !state.Exists || state.Version != state.Known {
		t.Errorf("while it is open: %+v", state)
	}
	err := s.InTx(t.Context(), func(tx *Tx) error {
		look() // beside a transaction that writes
		return tx.EndSession(t.Context(), "none")
	})
	if err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	look()
	if _, err := Inspect(t.Context(), "sqlite:"+path, newKeys(t, 2)); err == nil || !strings.Contains(err.Error(), "another master key") {
		t.Errorf("with another key: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("looking changed the database (%v)", err)
	}
	if err := newStore(t, path).Close(); err != nil { // nothing is in the way
		t.Error(err)
	}
}

func TestInspectBroken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database. ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"sqlite:" + path: "not a database", "sqlite:" + filepath.Join(dir, "none", "a.db"): "there is no folder", "postgres://127.0.0.1:1/db": "cannot be reached",
	} {
		if _, err := Inspect(t.Context(), url, newKeys(t, 1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	versionOne(t, filepath.Join(dir, "old.db"))
	state, err := Inspect(t.Context(), "sqlite:"+filepath.Join(dir, "old.db"), newKeys(t, 1))
	if err != nil || state.Version != 1 || state.Known < 2 {
		t.Errorf("an old one: %+v, %v", state, err)
	}
}

// TestInspectPostgres: a database in which nothing was made is none yet, and looking
// makes nothing.
func TestInspectPostgres(t *testing.T) {
	at := postgrestest.URL(t)
	for range 2 {
		if state, err := Inspect(t.Context(), at, newKeys(t, 1)); err != nil || state.Exists || state.Known == 0 {
			t.Errorf("an empty database: %+v, %v", state, err)
		}
	}
	if _, err := View(t.Context(), at, newKeys(t, 1)); err == nil || !strings.Contains(err.Error(), "of version 0") {
		t.Errorf("reading an empty database: %v", err)
	}
	s := openStore(t, at)
	defer s.Close()
	if state, err := Inspect(t.Context(), at, newKeys(t, 1)); err != nil || !state.Exists || state.Version != state.Known {
		t.Errorf("beside a server: %+v, %v", state, err)
	}
	if _, err := Inspect(t.Context(), at, newKeys(t, 2)); err == nil || !strings.Contains(err.Error(), "another master key") {
		t.Errorf("with another key: %v", err)
	}
	view, err := View(t.Context(), at, newKeys(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	if err := view.InTx(t.Context(), func(tx *Tx) error { return tx.SetMark(t.Context(), "x", time.Now()) }); err == nil {
		t.Error("what was opened for reading writes")
	}
}
