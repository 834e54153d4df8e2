package provider

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/stanch-dev/stanch/checks"
)

// What PostgreSQL says of a login:
// https://www.postgresql.org/docs/current/errcodes-appendix.html
// The codes that are not here say nothing: 53300, too many connections, comes before
// the password is looked at, and 28000 from a server that does not let this machine
// in, whatever the password.
const (
	pgInvalidPassword = "28P01"
	pgNotAuthorized   = "28000"
	pgNoDatabase      = "3D000" // the password was taken before
	pgNoPrivilege     = "42501" // likewise
)

// pgNoLogin ends what PostgreSQL says of a role that was shut out, which is how an
// administrator kills a password that he does not want to lose.
const pgNoLogin = "is not permitted to log in"

// whoPostgres asks who is logged in, where, and with which rights.
const whoPostgres = `SELECT current_user, current_database(), rolsuper::text, rolcreaterole::text, rolcreatedb::text,
	rolreplication::text, coalesce(rolvaliduntil::text, '') FROM pg_catalog.pg_roles WHERE rolname = current_user`

var whoPostgresNames = []string{"user", "database", "superuser", "create_role", "create_database", "replication", "valid_until"}

// tryPostgres logs in at a PostgreSQL server, or at what speaks its protocol.
func tryPostgres(ctx context.Context, l login) attempt {
	config, err := postgresConfig(l)
	if err != nil {
		return unclear(ReasonNotAsked, "the variables that begin with PG in Stanch's environment are no configuration")
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return postgresRefusal(err)
	}
	defer conn.Close(ctx)
	a := attempt{validity: checks.Active, answer: "logged in"}
	rows := conn.ExecParams(ctx, whoPostgres, nil, nil, nil, nil)
	if rows.NextRow() && len(rows.Values()) == len(whoPostgresNames) {
		a.answer, a.identity = "logged in, with identity", map[string]string{}
		for i, value := range rows.Values() {
			a.identity[whoPostgresNames[i]] = string(value)
		}
	}
	return a
}

// postgresConfig takes nothing over from the environment, which may hold the
// settings of Stanch's own database. A configuration can only be made by parsing
// one; the text that is parsed holds nothing of the login.
func postgresConfig(l login) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig("host=localhost user=nobody password=none dbname=none sslmode=disable target_session_attrs=any")
	if err != nil {
		return nil, err
	}
	config.Host, config.Port, config.Fallbacks = l.name, 0, nil
	config.User, config.Password, config.Database = l.user, l.password, l.database
	config.RuntimeParams = map[string]string{"application_name": "stanch", "client_encoding": "UTF8"}
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{l.name}, nil }
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) }
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		f := pgproto3.NewFrontend(r, w)
		f.SetMaxBodyLen(maxBody)
		return f
	}
	config.TLSConfig = l.tls()
	if l.insecure {
		config.Fallbacks = []*pgconn.FallbackConfig{{Host: l.name, TLSConfig: nil}}
	}
	return config, nil
}

func postgresRefusal(err error) attempt {
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return noAnswer(err)
	}
	code := short(said.Code)
	switch {
	case code == pgInvalidPassword:
		return attempt{validity: checks.Inactive, answer: code + " password refused"}
	case code == pgNotAuthorized && strings.HasSuffix(said.Message, pgNoLogin):
		return attempt{validity: checks.Inactive, answer: code + " the role may not log in"}
	case code == pgNoDatabase:
		return attempt{validity: checks.Active, answer: code + " password taken, there is no such database"}
	case code == pgNoPrivilege:
		return attempt{validity: checks.Active, lacksScope: true, answer: code + " password taken, no right to this database"}
	}
	return unclear(ReasonUnfit, code+" which says nothing about the password")
}
