package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver, without cgo
)

// A Database is where a Store is kept. As text it says so to people, without a password.
type Database struct {
	path     string          // SQLite's file
	postgres *pgx.ConnConfig // nil for SQLite
}

// ParseURL reads the URL of a database. Errors do not repeat it, for it may hold a
// password.
func ParseURL(databaseURL string) (Database, error) {
	kind, path, ok := strings.Cut(databaseURL, ":")
	switch {
	case ok && kind == "sqlite" && path != "":
		return Database{path: path}, nil
	case ok && (kind == "postgres" || kind == "postgresql"):
		cfg, err := postgresConfig(databaseURL)
		return Database{postgres: cfg}, err
	}
	return Database{}, errors.New("STANCH_DATABASE_URL is neither of the form sqlite:PATH, for instance sqlite:stanch.db, nor postgres://USER:PASSWORD@HOST:PORT/DATABASE")
}

// File is the database's file, or empty when a server keeps it.
func (d Database) File() string { return d.path }

func (d Database) String() string {
	if d.postgres != nil {
		return postgresName(d.postgres)
	}
	return d.path
}

// lock keeps other processes away from a database that is for one alone.
func (d Database) lock() (unlock func(), err error) {
	if d.postgres != nil {
		return func() {}, nil
	}
	return Lock(d.path + ".lock")
}

// connect opens the database, making SQLite's file if there is none.
func (d Database) connect(ctx context.Context) (*sql.DB, *dialect, error) {
	if d.postgres != nil {
		db, err := openPostgres(ctx, d.postgres)
		return db, &postgres, err
	}
	// The file is made here, not by SQLite, so that other users cannot read it.
	f, err := os.OpenFile(d.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	f.Close()

	// Write-ahead log: readers and the writer do not wait for each other.
	// Immediate transactions: a transaction that starts can also commit.
	// synchronous=full: what was answered with 202 survives a power cut.
	db, err := openSQLite(d.path, url.Values{
		"_pragma": {"journal_mode(wal)", "synchronous(full)", "busy_timeout(10000)", "foreign_keys(1)", "secure_delete(1)"},
		"_txlock": {"immediate"},
	})
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(maxConns)
	return db, &sqlite, nil
}

// view opens the database for reading. SQLite's file has to be there.
func (d Database) view(ctx context.Context) (*sql.DB, *dialect, error) {
	if d.postgres != nil {
		cfg := d.postgres.Copy()
		cfg.RuntimeParams["default_transaction_read_only"] = "on"
		db, err := openPostgres(ctx, cfg)
		return db, &postgres, err
	}
	db, err := openSQLite(d.path, url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(2000)", "query_only(1)"}})
	return db, &sqlite, err
}

func openSQLite(path string, params url.Values) (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+params.Encode())
}

func (d Database) newStore(db *sql.DB, speak *dialect, keys Keys) *Store {
	return &Store{
		queries: queries{conn{db, speak}, keys}, db: db, dialect: speak, database: d, keys: keys,
		unlock: func() {}, writer: make(chan struct{}, 1),
	}
}

// problem says what is wrong with the database.
func (d Database) problem(doing string, err error) error {
	if d.postgres != nil {
		err = postgresProblem(err, d.postgres)
	}
	return fmt.Errorf("%s database %s: %w", doing, d, err)
}
