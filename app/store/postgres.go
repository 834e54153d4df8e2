package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
)

// leastPostgres is the oldest version that is used: those before get no more fixes
// (https://www.postgresql.org/support/versioning/).
const leastPostgres = 14

// connectTimeout is how long one attempt to connect may take.
const connectTimeout = 10 * time.Second

// Transactions that write run one after another in PostgreSQL too, as they do in
// SQLite: each begins by taking one lock, which its end gives back. Nearly all of them
// append to the audit log, each of whose entries follows the one before, so that they
// would wait for one another anyway; and what a transaction reads is then what it
// changes, without a lock for each row or a second try. They are short, for nothing
// outside the database happens in them. The lock is that of the tables' schema.
var postgres = dialect{
	name:      "postgres",
	shared:    true,
	begin:     `select pg_advisory_xact_lock(hashtext('stanch writes ' || current_schema()))`,
	translate: func(query string, args []any) (string, []any) { return numbered(query), postgresArgs(args) },
	types: strings.NewReplacer(") strict;", ");", ") without rowid;", ");",
		" integer", " bigint", " blob", " bytea"),
	version:    postgresVersion,
	setVersion: `insert into meta (name, value) values ('version', '%d') on conflict (name) do update set value = excluded.value`,
	failures:   `coalesce(cardinality(errors), 0)`,
	queue:      func(db *sql.DB) riverdriver.Driver[*sql.Tx] { return riverdatabasesql.New(db) },
}

// migrationLock is held by the process that makes or changes the tables.
const migrationLock = `select pg_advisory_xact_lock(hashtext('stanch tables ' || current_schema()))`

func postgresVersion(ctx context.Context, c conn) (version int, err error) {
	var made bool
	if err := c.QueryRowContext(ctx, `select to_regclass('meta') is not null`).Scan(&made); err != nil || !made {
		return 0, err
	}
	return version, c.QueryRowContext(ctx, `select cast(value as integer) from meta where name = 'version'`).Scan(&version)
}

// postgresArgs makes of a query's arguments what the columns take. Truth is 0 and 1, as
// in SQLite. Text has to be UTF-8 without NUL: strangers' file names need not be.
func postgresArgs(args []any) []any {
	taken := make([]any, len(args))
	for n, arg := range args {
		switch arg := arg.(type) {
		case bool:
			taken[n] = 0
			if arg {
				taken[n] = 1
			}
		case string:
			taken[n] = strings.ToValidUTF8(strings.ReplaceAll(arg, "\x00", "\uFFFD"), "\uFFFD")
		default:
			taken[n] = arg
		}
	}
	return taken
}

// errPostgresURL does not repeat what was given, which may hold a password.
var errPostgresURL = errors.New("STANCH_DATABASE_URL is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE; special characters in the password are written %XX")

// postgresConfig is how the server of a URL is connected to.
func postgresConfig(databaseURL string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, errPostgresURL
	}
	if cfg.Database == "" {
		cfg.Database = cfg.User // as the server has it
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	// A transaction of a machine that has vanished would keep the others waiting for
	// hours: the server ends it.
	for name, value := range map[string]string{
		"application_name": "stanch", "idle_in_transaction_session_timeout": "10s",
		"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
	} {
		if _, given := cfg.RuntimeParams[name]; !given {
			cfg.RuntimeParams[name] = value
		}
	}
	return cfg, nil
}

// openPostgres connects to a server and looks whether it will do.
func openPostgres(ctx context.Context, cfg *pgx.ConnConfig) (*sql.DB, error) {
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	var version int
	err := db.QueryRowContext(ctx, `select cast(current_setting('server_version_num') as integer) / 10000`).Scan(&version)
	switch {
	case err != nil:
	case version < leastPostgres:
		err = fmt.Errorf("the server is PostgreSQL %d: Stanch needs %d or newer", version, leastPostgres)
	default:
		return db, nil
	}
	return nil, errors.Join(err, db.Close())
}

// postgresProblem says what keeps the server from being used, and never the password.
func postgresProblem(err error, cfg *pgx.ConnConfig) error {
	refusal := new(pgconn.PgError)
	if !errors.As(err, &refusal) {
		reason, unknown := new(net.OpError), new(net.DNSError)
		switch {
		case errors.As(err, &unknown):
			return fmt.Errorf("the server's host is not known: %w", unknown)
		case errors.As(err, &reason):
			return fmt.Errorf("the server cannot be reached (%w): see that it runs there and lets this machine in", reason)
		}
		return oneLine{err} // of pgx, which redacts
	}
	switch refusal.Code {
	case "28P01":
		return fmt.Errorf("the server refuses the password of %s: correct it in STANCH_DATABASE_URL", cfg.User)
	case "28000":
		return fmt.Errorf("the server does not let %s in (%s)", cfg.User, refusal.Message)
	case "3D000":
		return fmt.Errorf("there is no such database: make it with “create database %s owner %s”", cfg.Database, cfg.User)
	case "42501", "3F000":
		return fmt.Errorf("%s (%s): the user %s needs a schema that it may make tables in, for instance as owner of the database", refusal.Message, refusal.Code, cfg.User)
	case "53300":
		return fmt.Errorf("the server has no connection left (%s): raise its max_connections, each replica takes up to %d", refusal.Message, maxConns+maxQueueConns+1)
	}
	return oneLine{err}
}

// oneLine is an error whose text has no more lines than one.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e oneLine) Unwrap() error { return e.error }

// postgresName is how people know a server's database.
func postgresName(cfg *pgx.ConnConfig) string {
	return fmt.Sprintf("%s of PostgreSQL at %s", cfg.Database, net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))))
}

// A queueConn is how a replica's queue speaks to PostgreSQL: a pool of its own, which
// can be closed under it, and one connection that hears of new jobs.
type queueConn struct {
	db       *sql.DB
	listener *pgxpool.Pool
}

// maxQueueConns bounds the connections of the queue itself.
const maxQueueConns = 4

func openQueue(ctx context.Context, cfg *pgx.ConnConfig) (q queueConn, err error) {
	pool, err := pgxpool.ParseConfig(cfg.ConnString())
	if err != nil {
		return q, errPostgresURL
	}
	pool.ConnConfig, pool.MaxConns = cfg.Copy(), 1
	if q.listener, err = pgxpool.NewWithConfig(ctx, pool); err != nil {
		return q, err
	}
	q.db = stdlib.OpenDB(*cfg)
	q.db.SetMaxOpenConns(maxQueueConns)
	q.db.SetMaxIdleConns(maxQueueConns)
	return q, nil
}

func (q queueConn) driver() riverdriver.Driver[*sql.Tx] {
	return riverdatabasesql.NewWithPgxListener(q.db, q.listener)
}

// close lets the queue say nothing any more, and soon hear nothing.
func (q queueConn) close() error {
	go q.listener.Close() // waits for who is just connecting
	return q.db.Close()
}
