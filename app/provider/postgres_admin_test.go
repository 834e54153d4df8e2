package provider

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A pgWorld is a real server with an administrator who was granted what the policy says.
type pgWorld struct {
	t    *testing.T
	tls  servertest.Authority
	host string // and port
	p    *Providers
}

const (
	changerPassword = "ofThe4dministrator"
	leakedPassword  = "ofTheLe4kedUser"
	othersPassword  = "ofTheOth" + "3rUser"
)

func newPgWorld(t *testing.T) *pgWorld {
	tls := servertest.NewAuthority(t)
	w := &pgWorld{t: t, tls: tls, host: "localhost:" + servertest.Postgres(t, tls)}
	w.sql("CREATE ROLE stanch LOGIN PASSWORD '"+changerPassword+"'", "GRANT CONNECT ON DATABASE postgres TO stanch")
	for _, line := range PostgresPolicy().Lines {
		if !line.Optional {
			w.sql(line.Grant)
		}
	}
	w.p = w.providers()
	return w
}

func (w *pgWorld) providers() *Providers {
	admin := "postgres://stanch:" + changerPassword + "@" + w.host
	return newProviders(w.t, Config{VerifyHosts: []string{w.host}, VerifyRoots: w.tls.Roots, AdminURLs: []checks.Secret{checks.NewSecret(admin)}})
}

// sql does something as the superuser.
func (w *pgWorld) sql(statements ...string) {
	w.t.Helper()
	for _, s := range statements {
		if _, err := w.ask(s); err != nil {
			w.t.Fatalf("%s: %v", s, err)
		}
	}
}

func (w *pgWorld) ask(question string) (string, error) {
	conn, err := w.session("postgres", servertest.AdminPassword, "orders")
	if err != nil {
		return "", err
	}
	defer conn.Close(context.Background())
	return pgSays(conn, question)
}

func pgSays(conn *pgconn.PgConn, question string) (string, error) {
	results, err := conn.Exec(context.Background(), question).ReadAll()
	var all []string
	for _, r := range results {
		for _, row := range r.Rows {
			all = append(all, string(row[0]))
		}
	}
	return strings.Join(all, ","), err
}

func (w *pgWorld) session(user, password, database string) (*pgconn.PgConn, error) {
	name, port := splitPort(w.host)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	w.t.Cleanup(cancel)
	config, err := postgresConfig(login{endpoint: endpoint{name: name, port: port, roots: w.tls.Roots}, user: user, password: password, database: database})
	if err != nil {
		return nil, err
	}
	return pgconn.ConnectConfig(ctx, config)
}

func (w *pgWorld) open(user, password string) *pgconn.PgConn {
	w.t.Helper()
	conn, err := w.session(user, password, "orders")
	if err != nil {
		w.t.Fatalf("%s: %v", user, err)
	}
	w.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (w *pgWorld) cred(user, password string) checks.Credential {
	return parts("postgres-url", map[string]string{
		"user": url.User(user).String(), checks.PartSecret: password, "host": w.host, "database": "orders",
	})
}

// grant grants what is needed from version 16 on.
func (w *pgWorld) grant(user string) {
	w.t.Helper()
	if version, err := w.ask("SHOW server_version_num"); err != nil || version < "160000" {
		return
	}
	lines := PostgresPolicy().Lines
	w.sql(strings.Replace(lines[len(lines)-1].Grant, pgAnyRole, pgName(user), 1))
}

// leak makes a role whose password has leaked.
func (w *pgWorld) leak(user string) Target {
	w.t.Helper()
	w.sql("CREATE ROLE " + pgName(user) + " LOGIN PASSWORD '" + leakedPassword + "'")
	w.grant(user)
	return Target{Credential: w.cred(user, leakedPassword)}
}

func userOf(t *testing.T, target Target) string {
	t.Helper()
	user, err := url.PathUnescape(target.Parts["user"].Expose())
	if err != nil {
		t.Fatal(err)
	}
	return user
}

func (w *pgWorld) validity(cred checks.Credential, want checks.Validity) {
	w.t.Helper()
	v, err := w.p.VerifyAgain(context.Background(), cred)
	if err != nil || v.Validity != want {
		w.t.Errorf("%s is %s, want %s: %+v, %v", cred.Parts["user"].Expose(), v.Validity, want, v.Evidence, err)
	}
}

func (w *pgWorld) request(old Target, operation string) Request {
	w.t.Helper()
	prepared, err := w.p.Prepare(context.Background(), old, operation)
	if err != nil {
		w.t.Fatal(err)
	}
	return Request{Old: old, Operation: operation, Prepared: prepared}
}

func (w *pgWorld) issue(r Request) Target {
	w.t.Helper()
	fresh, err := w.p.Issue(context.Background(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return Target{Credential: fresh}
}

type command func(context.Context, Target) (Receipt, error)

func (w *pgWorld) does(do command, on Target, want rules.Meaning) {
	w.t.Helper()
	got, err := do(context.Background(), on)
	if err != nil || got.Meaning != want {
		w.t.Fatalf("%+v, %v; want %s", got, err, want)
	}
}

// Each line of the policy is needed, and no more than all of them.
func TestPostgresPolicy(t *testing.T) {
	w := newPgWorld(t)
	for n, undo := range []string{"ALTER ROLE stanch NOCREATEROLE", "REVOKE pg_signal_backend FROM stanch"} {
		line := PostgresPolicy().Lines[n]
		t.Run(undo, func(t *testing.T) {
			old := w.leak(fmt.Sprintf("line_%d", n))
			r := w.request(old, "op")
			thief := w.open(old.Parts["user"].Expose(), leakedPassword)
			w.sql(undo)
			_, err := w.p.Revoke(t.Context(), old)
			capability := strings.Fields(strings.TrimSuffix(line.Grant, ";"))
			if err == nil || !strings.Contains(err.Error(), capability[len(capability)-1]) && !strings.Contains(err.Error(), capability[1]) {
				t.Errorf("without %q: %v", line.Grant, err)
			}
			if strings.Contains(undo, "CREATEROLE") {
				w.validity(old.Credential, checks.Active)
				if _, err := w.p.Issue(t.Context(), r); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "CREATEROLE") {
					t.Errorf("issue without CREATEROLE: %v", err)
				}
			} else if errors.Is(err, ErrCannotRevoke) {
				t.Errorf("sessions that go on are no definite refusal: %v", err)
			}
			w.sql(line.Grant)
			w.does(w.p.Revoke, old, rules.MeansRevoked)
			if _, err := pgSays(thief, "SELECT 1"); err == nil {
				t.Error("a session goes on")
			}
		})
	}
}
