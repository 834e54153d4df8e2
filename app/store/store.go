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
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
)

// maxConns bounds the database connections. There is one writer at a time; the
// others read.
const maxConns = 8

// A Store is an open database. It is safe for concurrent use.
type Store struct {
	queries
	db       *sql.DB
	dialect  *dialect
	database Database
	keys     Keys
	unlock   func()
	log      *slog.Logger
	// writer is held by the transaction that runs, of which there is one at a time:
	// who waits here gets his turn. In SQLite itself he would try again and again, and
	// in PostgreSQL he would keep a connection.
	writer chan struct{}
	held   keyedMutex // of what Hold holds in this process

	queue atomic.Pointer[river.Client[*sql.Tx]] // nil until Work
	stop  func(context.Context) error           // set by Work
}

// A Tx is a transaction of a Store.
type Tx struct {
	queries
	tx    *sql.Tx
	store *Store
}

// ErrLocked means that another process has the database open for serving.
var ErrLocked = errors.New("another stanch has it open: stop that one first")

// Open opens the database at a URL, "sqlite:PATH" or "postgres://…", and brings its
// tables up to date. One process at a time may have a SQLite database open for
// serving, and many a PostgreSQL database.
func Open(ctx context.Context, databaseURL string, keys Keys, log *slog.Logger) (*Store, error) {
	d, err := ParseURL(databaseURL)
	if err != nil {
		return nil, err
	}
	unlock, err := d.lock()
	if err != nil {
		return nil, d.problem("open", err)
	}
	s, err := open(ctx, d, keys, log)
	if err != nil {
		unlock()
		return nil, d.problem("open", err)
	}
	s.unlock = unlock
	return s, nil
}

func open(ctx context.Context, d Database, keys Keys, log *slog.Logger) (*Store, error) {
	db, speak, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	s := d.newStore(db, speak, keys)
	s.log = log
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
// otherwise. Transactions run one after another, in whatever process.
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
	speaking := conn{tx, s.dialect}
	if err := s.begin(ctx, speaking); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	if err := f(&Tx{queries{speaking, s.keys}, tx, s}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

// begin waits for the turn of a transaction, and ends the transactions of a job whose
// replica was taken for dead: somebody else has that job.
func (s *Store) begin(ctx context.Context, tx conn) error {
	if s.dialect.begin == "" {
		return nil
	}
	if _, err := tx.ExecContext(ctx, s.dialect.begin); err != nil {
		return err
	}
	return s.mustLive(ctx, tx)
}

func (s *Store) checkKey(ctx context.Context) error {
	var check string
	if err := s.q.QueryRowContext(ctx, `select value from meta where name = 'key'`).Scan(&check); err != nil {
		return err
	}
	if check != s.keys.check() {
		return errors.New("it was made with another master key: point STANCH_KEY or STANCH_KEY_FILE at the key that belongs to it")
	}
	return nil
}

// queries are the questions that can be asked inside and outside transactions.
type queries struct {
	q    conn
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
