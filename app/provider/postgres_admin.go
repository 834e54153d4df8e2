package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// postgres takes leaked passwords out of use, and hands out other users.
//
// A role has one password, so that the replacement of a password is another role: it
// logs in by itself and then acts as the first one, which goes on to own what it owns.
// The next rotation uses the first one again, and so forth. A role that was taken out of
// use stays, because it may own things; it has no password and may not log in.
type postgres struct{ administered }

// A knock is how a server takes a login.
type knock int

const (
	opens   knock = iota // the password is right
	isShut               // the password is right, and the role may not log in
	isWrong              // the password is wrong
	strange              // the server says something else
)

// pgTooManyOf begins what is said, after the password was looked at, of a role or a
// database that has as many sessions as it may.
const pgTooManyOf = "too many connections for "

// pgOwnPasswords are the ways of logging in by which it is the server's own password
// that counts, and not that of a directory behind it.
const pgOwnPasswords = "scram-sha-256,md5"

// knock tries a login, and says in words what came of it.
func (p *postgres) knock(ctx context.Context, l login) (knock, string, error) {
	config, err := postgresConfig(l)
	if err != nil {
		return strange, "", err
	}
	config.RequireAuth = pgOwnPasswords
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err == nil {
		conn.Close(ctx)
		return opens, "logged in", nil
	}
	var said *pgconn.PgError
	switch a := postgresRefusal(err); {
	case strings.Contains(err.Error(), "require_auth"):
		return strange, "the server does not look at a password of its own (trust, LDAP, PAM, RADIUS, a certificate) or wants it in the clear", nil
	case !errors.As(err, &said):
		return strange, "", fmt.Errorf("log in to PostgreSQL at %s: %s", l.address(), a.answer)
	case a.validity == checks.Active, strings.HasPrefix(said.Message, pgTooManyOf):
		return opens, a.answer, nil
	case a.validity == checks.Inactive && said.Code == pgNotAuthorized:
		return isShut, a.answer, nil
	case a.validity == checks.Inactive:
		return isWrong, a.answer, nil
	default:
		return strange, a.answer, nil
	}
}

// A pgAdmin is a session of the administrator.
type pgAdmin struct {
	*pgconn.PgConn
	at string
}

func (p *postgres) administrate(ctx context.Context, admin login) (*pgAdmin, error) {
	if admin.database == "" {
		admin.database = "postgres"
	}
	config, err := postgresConfig(admin)
	if err != nil {
		return nil, err
	}
	if admin.insecure {
		config.RequireAuth = pgOwnPasswords // whoever is there, he shall not hear the password
	}
	config.RuntimeParams["standard_conforming_strings"] = "on" // as quoted wants it
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("log in to PostgreSQL at %s as the administrator of STANCH_ADMIN_URLS: %s", admin.address(), postgresRefusal(err).answer)
	}
	return &pgAdmin{conn, admin.address()}, nil
}

// rows asks a question with parameters, which is answered in so many columns.
func (c *pgAdmin) rows(ctx context.Context, columns int, question string, args ...string) ([][]string, error) {
	values := make([][]byte, len(args))
	for i, arg := range args {
		values[i] = []byte(arg)
	}
	got := c.ExecParams(ctx, question, values, nil, nil, nil).Read()
	if got.Err != nil {
		return nil, c.complaint(got.Err)
	}
	var all [][]string
	for _, row := range got.Rows {
		if len(row) != columns {
			return nil, fmt.Errorf("PostgreSQL at %s gives an answer that is none", c.at)
		}
		texts := make([]string, len(row))
		for i, value := range row {
			texts[i] = string(value)
		}
		all = append(all, texts)
	}
	return all, nil
}

// do carries out statements, all of them or none.
func (c *pgAdmin) do(ctx context.Context, statements ...string) error {
	_, err := c.Exec(ctx, "BEGIN; "+strings.Join(statements, "; ")+"; COMMIT").ReadAll()
	return c.complaint(err)
}

// What PostgreSQL says of what it does not do, and never will.
const (
	pgReadOnly = "25006"
	pgExists   = "42710"
)

// complaint is an error of the server's. Its text holds no password: none is told to
// the server but by its verifier.
func (c *pgAdmin) complaint(err error) error {
	var said *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &said):
		return fmt.Errorf("PostgreSQL at %s: %s", c.at, noAnswer(err).answer)
	}
	text := fmt.Sprintf("PostgreSQL at %s says to its administrator of STANCH_ADMIN_URLS: %s %s", c.at, short(said.Code), short(said.Message))
	switch said.Code {
	case pgNoPrivilege:
		return refusal(text + "; see what it must be granted: CREATEROLE, and from version 16 on ADMIN OPTION of the role")
	case pgReadOnly:
		return refusal(text + "; name the primary in STANCH_ADMIN_URLS, passwords are not changed at a standby")
	case pgExists:
		return refusal(text)
	}
	return errors.New(text)
}

// A pgRole is what the server says of a role.
type pgRole struct {
	oid, limit, validUntil                     string
	superuser, replication, mayLogIn, outdated bool
}

const pgRoleOf = `SELECT oid::text, rolconnlimit::text, coalesce(rolvaliduntil::text, 'infinity'), rolsuper::text, rolreplication::text,
	rolcanlogin::text, coalesce(rolvaliduntil <= pg_catalog.now(), false)::text FROM pg_catalog.pg_roles WHERE rolname = $1`

// role looks a role up. No row is no error.
func (c *pgAdmin) role(ctx context.Context, name string) (role pgRole, exists bool, err error) {
	rows, err := c.rows(ctx, 7, pgRoleOf, name)
	if err != nil || len(rows) == 0 {
		return role, false, err
	}
	r := rows[0]
	return pgRole{r[0], r[1], r[2], r[3] == "true", r[4] == "true", r[5] == "true", r[6] == "true"}, true, nil
}

// plain looks a role up that is to be changed, and refuses those that are not for a
// program to change.
func (c *pgAdmin) plain(ctx context.Context, name string) (pgRole, error) {
	role, exists, err := c.role(ctx, name)
	switch {
	case err != nil:
		return role, err
	case !exists:
		return role, refusal("there is no role " + name + " any more")
	case role.superuser:
		return role, refusal(name + " is a superuser, whose password a person changes")
	}
	return role, nil
}

const (
	pgEnd      = `SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity WHERE usesysid = $1::oid`
	pgPatience = 5 * time.Second
)

// end ends the sessions that a role logged in for, and no others, until none is left.
func (c *pgAdmin) end(ctx context.Context, role pgRole) error {
	for until := time.Now().Add(pgPatience); ; {
		rows, err := c.rows(ctx, 1, pgEnd, role.oid)
		var r refusal
		switch {
		case errors.As(err, &r):
			return errors.New("its sessions go on, because nobody may end them: GRANT pg_signal_backend TO the administrator. " + string(r))
		case err != nil:
			return err
		case len(rows) == 1 && rows[0][0] == "0":
			return nil
		case time.Now().After(until):
			return fmt.Errorf("its sessions at %s do not end", c.at)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// pgName quotes a name, and pgText a text. Neither can hold a zero byte.
func pgName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
func pgText(text string) string { return `'` + strings.ReplaceAll(text, `'`, `''`) + `'` }

// pgAnyRole stands in the policy for a role.
const pgAnyRole = "name_of_the_role"

// PostgresPolicy is what the administrator must be granted. A superuser needs none of
// it, and is more than is needed.
func PostgresPolicy() grants.Policy {
	return grants.Policy{Name: "PostgreSQL", Syntax: "sql", Lines: []grants.Line{
		{Grant: "ALTER ROLE stanch CREATEROLE;", For: "disable, enable, revoke, issue"},
		{Grant: "GRANT pg_signal_backend TO stanch;", For: "disable, revoke: sessions end"},
		{Grant: "GRANT " + pgAnyRole + " TO stanch WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;", For: "the same from version 16 on, for each role whose password may leak", Optional: true},
	}}
}

func (p *postgres) tell(*rules.Rule) Calls {
	return Calls{
		Verify:  p.logIn(),
		Disable: "ALTER ROLE … NOLOGIN, and pg_terminate_backend for its sessions",
		Enable:  "ALTER ROLE … LOGIN",
		Revoke:  "ALTER ROLE … NOLOGIN, pg_terminate_backend for its sessions, and ALTER ROLE … PASSWORD NULL",
		Issue:   "CREATE or ALTER ROLE …, which acts as the old one, with a password; in place ALTER ROLE … PASSWORD",
	}
}

func (p *postgres) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := p.shut(ctx, t, true)
	return receipt, sentence(rule, "revoke", ErrCannotRevoke, err)
}

func (p *postgres) disable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := p.shut(ctx, t, false)
	return receipt, sentence(rule, "disable", ErrCannotDisable, err)
}
