// Package store is Stanch's memory: deliveries, the commits it reports on, the
// incidents, the audit log, and River's job queue, in one database, so that a
// delivery and its job, or a step and its record, are written together or not at
// all. It is the only package that speaks SQL.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/riverqueue/river"
	_ "modernc.org/sqlite" // the driver, without cgo
)

// maxConns bounds the database connections. SQLite has one writer at a time;
// the others read.
const maxConns = 8

// A Store is an open database. It is safe for concurrent use.
type Store struct {
	queries
	db     *sql.DB
	keys   Keys
	unlock func()
	log    *slog.Logger
	// writer is held by the transaction that runs. SQLite has one writer at a time:
	// who waits here gets his turn, and in SQLite itself he would try again and again.
	writer chan struct{}

	queue *river.Client[*sql.Tx] // set by Work
}

// A Tx is a transaction of a Store.
type Tx struct {
	queries
	tx    *sql.Tx
	store *Store
}

// ErrLocked means that another process has the database open for serving.
var ErrLocked = errors.New("another stanch has it open: stop that one first")

// Open opens the database at a URL, "sqlite:PATH", and brings its tables up to
// date. One process at a time may have a SQLite database open for serving.
func Open(ctx context.Context, databaseURL string, keys Keys, log *slog.Logger) (*Store, error) {
	path, err := SQLitePath(databaseURL)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	s, err := open(ctx, path, keys, log)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	s.unlock = unlock
	return s, nil
}

// SQLitePath is the file that a database URL names. Errors do not repeat the
// URL, which may hold a password.
func SQLitePath(databaseURL string) (string, error) {
	kind, path, ok := strings.Cut(databaseURL, ":")
	switch {
	case ok && kind == "sqlite" && path != "":
		return path, nil
	case kind == "postgres" || kind == "postgresql":
		return "", errors.New("STANCH_DATABASE_URL names PostgreSQL, which this version cannot use yet: use sqlite:PATH")
	}
	return "", errors.New("STANCH_DATABASE_URL is not of the form sqlite:PATH, for instance sqlite:stanch.db")
}

func open(ctx context.Context, path string, keys Keys, log *slog.Logger) (*Store, error) {
	// The file is made here, not by SQLite, so that other users cannot read it.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	f.Close()

	// Write-ahead log: readers and the writer do not wait for each other.
	// Immediate transactions: a transaction that starts can also commit.
	// synchronous=full: what was answered with 202 survives a power cut.
	params := url.Values{
		"_pragma": {"journal_mode(wal)", "synchronous(full)", "busy_timeout(10000)", "foreign_keys(1)", "secure_delete(1)"},
		"_txlock": {"immediate"},
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+params.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxConns)
	s := &Store{queries: queries{db, keys}, db: db, keys: keys, unlock: func() {}, log: log, writer: make(chan struct{}, 1)}
	if err := s.migrate(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the database. Stop the queue first.
func (s *Store) Close() error {
	defer s.unlock()
	return s.db.Close()
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.db.PingContext(ctx) }

// InTx runs f in a transaction, which it commits when f returns nil and undoes
// otherwise.
func (s *Store) InTx(ctx context.Context, f func(*Tx) error) error {
	select {
	case s.writer <- struct{}{}:
		defer func() { <-s.writer }()
	case <-ctx.Done():
		return fmt.Errorf("begin transaction: %w", ctx.Err())
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer tx.Rollback() // does nothing after Commit
	if err := f(&Tx{queries{tx, s.keys}, tx, s}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

func (s *Store) checkKey(ctx context.Context) error {
	var check string
	if err := s.db.QueryRowContext(ctx, `select value from meta where name = 'key'`).Scan(&check); err != nil {
		return err
	}
	if check != s.keys.check() {
		return errors.New("it was made with another master key: point STANCH_KEY or STANCH_KEY_FILE at the key that belongs to it")
	}
	return nil
}

// queries are the questions that can be asked inside and outside transactions.
type queries struct {
	q interface {
		QueryContext(context.Context, string, ...any) (*sql.Rows, error)
		QueryRowContext(context.Context, string, ...any) *sql.Row
		ExecContext(context.Context, string, ...any) (sql.Result, error)
	}
	keys Keys
}

// ErrNotFound reports that there is no such row.
var ErrNotFound = errors.New("not found")

func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// micros and fromMicros turn times into what the tables hold, and back.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
