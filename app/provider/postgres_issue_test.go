package provider

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// One emergency rotation kills exactly the leaked user, the next one the other, and
// whatever they own stays theirs.
func TestPostgresUsersAlternate(t *testing.T) {
	w := newPgWorld(t)
	first := w.leak("clerk")
	w.sql("GRANT CREATE ON SCHEMA public TO clerk", "ALTER ROLE clerk SET search_path = public, \"$user\"", "ALTER ROLE clerk IN DATABASE orders SET statement_timeout = '7s'",
		"ALTER ROLE clerk CONNECTION LIMIT 9")
	thief, bystander := w.open("clerk", leakedPassword), w.open("shop", servertest.ShopPassword)
	if _, err := pgSays(thief, "CREATE TABLE ledger (n int)"); err != nil {
		t.Fatal(err)
	}
	r := w.request(first, "op-1")
	second := w.issue(r)
	r.Again = true
	if again := w.issue(r); again.Parts["user"] != second.Parts["user"] || again.Secret() != second.Secret() {
		t.Error("asked again, another replacement came")
	}
	other := second.Parts["user"].Expose()
	if other != otherName("clerk", "op-1") {
		t.Errorf("the other user is %s", other)
	}
	w.validity(first.Credential, checks.Active)
	w.validity(second.Credential, checks.Active)
	conn := w.open(other, second.Secret().Expose())
	for question, want := range map[string]string{
		"SELECT current_user": "clerk", "SHOW statement_timeout": "7s", "SHOW search_path": `public, "$user"`,
		"ALTER TABLE ledger ADD m int; SELECT tableowner FROM pg_tables WHERE tablename = 'ledger'":  "clerk",
		"CREATE TABLE journal (n int); SELECT tableowner FROM pg_tables WHERE tablename = 'journal'": "clerk",
		"SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user":                             "9",
		"SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = session_user":      pgMark + "clerk",
		"RESET ROLE; SELECT current_user": "clerk", "DISCARD ALL": "",
	} {
		if got, err := pgSays(conn, question); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", question, got, err, want)
		}
	}
	w.does(w.p.Disable, first, rules.MeansRevoked)
	w.does(w.p.Disable, first, rules.MeansRevoked)
	w.validity(first.Credential, checks.Inactive)
	w.validity(second.Credential, checks.Active)
	if _, err := pgSays(thief, "SELECT 1"); err == nil {
		t.Error("a session of the leaked user goes on")
	}
	for _, c := range []*pgconn.PgConn{bystander, conn} {
		if _, err := pgSays(c, "SELECT 1"); err != nil {
			t.Errorf("a session of somebody else ended: %v", err)
		}
	}
	w.does(w.p.Enable, first, rules.MeansAccepted)
	w.does(w.p.Enable, first, rules.MeansAccepted)
	w.validity(first.Credential, checks.Active)
	w.does(w.p.Revoke, first, rules.MeansRevoked)
	w.does(w.p.Revoke, first, rules.MeansAlreadyDead)
	w.validity(first.Credential, checks.Inactive)
	if _, err := w.p.Enable(t.Context(), first); !errors.Is(err, ErrCannotDisable) {
		t.Errorf("a revoked password was enabled: %v", err)
	}
	w.turns(first, second)
}

// turns rotates on, from the other user to the first one and back.
func (w *pgWorld) turns(first, second Target) {
	w.t.Helper()
	t, other := w.t, second.Parts["user"].Expose()
	third := w.issue(w.request(second, "op-2"))
	if got := third.Parts["user"].Expose(); got != "clerk" {
		t.Errorf("after the other user comes %s, not the first one", got)
	}
	w.validity(first.Credential, checks.Inactive)
	w.does(w.p.Revoke, second, rules.MeansRevoked)
	w.validity(second.Credential, checks.Inactive)
	w.validity(third.Credential, checks.Active)
	if got, err := pgSays(w.open("clerk", third.Secret().Expose()), "SELECT count(*) FROM ledger, journal"); err != nil || got != "0" {
		t.Errorf("%q, %v", got, err)
	}

	w.sql("ALTER ROLE clerk RESET ALL", "ALTER ROLE clerk SET work_mem = '3MB'")
	fourth := w.issue(w.request(third, "op-3"))
	if got := fourth.Parts["user"].Expose(); got != other {
		t.Errorf("the third rotation made another user, %s", got)
	}
	if got, _ := pgSays(w.open(other, fourth.Secret().Expose()), "SHOW work_mem; SELECT current_user; SELECT current_setting('search_path') LIKE 'public%'"); got != "3MB,clerk,f" {
		t.Errorf("settings %q", got)
	}
	// Those who are in use are not shut out: another one is made, which acts as the first.
	fifth := w.issue(w.request(fourth, "op-4"))
	sixth := w.issue(w.request(fourth, "op-5"))
	for operation, fresh := range map[string]Target{"op-4": fifth, "op-5": sixth} {
		if got := fresh.Parts["user"].Expose(); got != otherName("clerk", operation) {
			t.Errorf("while others are in use %s takes over", got)
		}
	}
	for _, living := range []Target{third, fourth, fifth, sixth} {
		w.validity(living.Credential, checks.Active)
	}
}

// In place the leaked password dies at once, with its sessions.
func TestPostgresInPlace(t *testing.T) {
	w := newPgWorld(t)
	for name, before := range map[string]command{"alive": nil, "shut out": w.p.Disable, "revoked first": w.p.Revoke} {
		t.Run(name, func(t *testing.T) {
			old := w.leak(strings.ReplaceAll(name, " ", "_"))
			thief := w.open(old.Parts["user"].Expose(), leakedPassword)
			r := w.request(old, "op")
			r.InPlace = true
			if before != nil {
				w.does(before, old, rules.MeansRevoked)
			}
			fresh := w.issue(r)
			r.Again = true
			if again := w.issue(r); again.Secret() != fresh.Secret() {
				t.Error("asked again, another password came")
			}
			if fresh.Parts["user"] != old.Parts["user"] {
				t.Error("the user is another one")
			}
			w.validity(fresh.Credential, checks.Active)
			w.validity(old.Credential, checks.Inactive)
			if _, err := pgSays(thief, "SELECT 1"); err == nil {
				t.Error("a session of the leaked password goes on")
			}
			w.does(w.p.Disable, old, rules.MeansAlreadyDead)
			w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
			w.validity(fresh.Credential, checks.Active)
			w.does(w.p.Revoke, fresh, rules.MeansRevoked)
			w.validity(fresh.Credential, checks.Inactive)
		})
	}
	t.Run("somebody was faster", func(t *testing.T) {
		old := w.leak("faster")
		r := w.request(old, "op")
		r.InPlace = true
		w.sql("ALTER ROLE faster PASSWORD 'ofTheOwn3r'")
		if _, err := w.p.Issue(t.Context(), r); !errors.Is(err, ErrCannotIssue) {
			t.Errorf("the owner's new password was replaced: %v", err)
		}
		w.validity(w.cred("faster", "ofTheOwn3r"), checks.Active)
	})
}

// Crashes: whatever of an earlier request came to pass, asked again the same comes out.
func TestPostgresAskedAgain(t *testing.T) {
	w := newPgWorld(t)
	old := w.leak("again")
	r := w.request(old, "op")
	r.Again = true // the request was never carried out
	fresh := w.issue(r)
	w.validity(fresh.Credential, checks.Active)
	w.does(w.p.Revoke, fresh, rules.MeansRevoked) // and the name is taken, by a role that nobody uses
	w.validity(w.issue(r).Credential, checks.Active)

	t.Run("the name is somebody else's", func(t *testing.T) {
		old := w.leak("taken")
		r := w.request(old, "op")
		name := r.Prepared.Seen[seenUser]
		for _, option := range []string{"NOLOGIN", "LOGIN PASSWORD 'ofS0mebody'"} {
			w.sql("CREATE ROLE " + name + " " + option)
			if _, err := w.p.Issue(t.Context(), r); !errors.Is(err, ErrCannotIssue) {
				t.Errorf("%s: %v", option, err)
			}
			w.sql("DROP ROLE " + name)
		}
	})
	t.Run("shut out, its password changed by its owner, before it was taken away", func(t *testing.T) {
		old := w.leak("owned")
		w.does(w.p.Disable, old, rules.MeansRevoked)
		w.sql("ALTER ROLE owned LOGIN PASSWORD 'ofTheOwn3r'")
		w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
		if _, err := w.p.Enable(t.Context(), old); !errors.Is(err, ErrCannotDisable) {
			t.Errorf("enabled: %v", err)
		}
		w.validity(w.cred("owned", "ofTheOwn3r"), checks.Active)
	})
}

// Whatever a role is called, it is that one and no other.
func TestPostgresWrongVictims(t *testing.T) {
	w := newPgWorld(t)
	names := []string{`a"b'; DROP TABLE x; --`, "Clerk", "clerk", "clerk_", "clerk_0123abcd", "ü" + strings.Repeat("é", 30), `back\slash'`, "$user", "public name"}
	var all []Target
	for _, name := range names {
		all = append(all, w.leak(name))
	}
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			fresh := w.issue(w.request(all[i], "op"))
			if got, err := pgSays(w.open(userOf(t, fresh), fresh.Secret().Expose()), "SELECT current_user"); err != nil || got != name {
				t.Errorf("acts as %q, %v", got, err)
			}
			w.does(w.p.Revoke, all[i], rules.MeansRevoked)
			w.validity(fresh.Credential, checks.Active)
			w.validity(all[i].Credential, checks.Inactive)
			for _, living := range all[i+1:] {
				w.open(userOf(t, living), leakedPassword).Close(t.Context())
			}
		})
	}
	if got, err := w.ask("SELECT count(*) FROM pg_roles WHERE rolname LIKE '%\\_________' AND rolcanlogin"); err != nil || got != fmt.Sprint(len(names)) {
		t.Errorf("%s roles were made, %v", got, err)
	}
}

func TestPostgresRefusals(t *testing.T) {
	w := newPgWorld(t)
	w.sql("CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'ofTheB0ss'", "CREATE ROLE copier REPLICATION LOGIN PASSWORD 'ofTheC0pier'")
	boss, own, copier := Target{Credential: w.cred("boss", "ofTheB0ss")}, Target{Credential: w.cred("stanch", changerPassword)}, Target{Credential: w.cred("copier", "ofTheC0pier")}
	open := Target{Credential: w.cred("open", "of0penUser")} // trusted by pg_hba.conf, whatever its password
	for name, target := range map[string]Target{"superuser": boss, "Stanch's own": own, "no password counts": open} {
		for verb, do := range map[error]command{ErrCannotRevoke: w.p.Revoke, ErrCannotDisable: w.p.Disable} {
			if _, err := do(t.Context(), target); !errors.Is(err, verb) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name, target := range map[string]Target{"superuser": boss, "replication": copier} {
		r := w.request(target, "op")
		if _, err := w.p.Issue(t.Context(), r); !errors.Is(err, ErrCannotIssue) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.p.Issue(t.Context(), w.request(own, "op")); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "Stanch") {
		t.Errorf("Stanch's own: %v", err)
	}
	w.validity(boss.Credential, checks.Active)
	t.Run("no database beside it", func(t *testing.T) {
		old := w.leak("homely")
		delete(old.Parts, "database")
		if got := w.issue(w.request(old, "op")).Parts["user"].Expose(); got != otherName("homely", "op") {
			t.Errorf("%s takes over", got)
		}
		w.sql("CREATE DATABASE homely")
		r := w.request(old, "op-2")
		if _, err := w.p.Issue(t.Context(), r); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "in place") {
			t.Errorf("the other user's database would be another one: %v", err)
		}
		r.InPlace = true
		w.validity(w.issue(r).Credential, checks.Active)
	})
	t.Run("no server like it", func(t *testing.T) {
		name, _ := splitPort(w.host)
		elsewhere := newProviders(t, Config{VerifyHosts: []string{w.host, name, "127.0.0.1"}, VerifyRoots: w.tls.Roots,
			AdminURLs: []checks.Secret{checks.NewSecret("postgres://stanch:" + changerPassword + "@" + name), checks.NewSecret("postgres://stanch:" + changerPassword + "@127.0.0.1")}})
		if _, err := elsewhere.Revoke(t.Context(), copier); !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), "names no administrator") {
			t.Errorf("at another port: %v", err)
		}
	})
	t.Run("pg_hba.conf names who may come", func(t *testing.T) {
		old := w.leak("listed")
		r := w.request(old, "op")
		r.Prepared.Seen[seenUser] = "outside" // pg_hba.conf rejects it
		w.sql("DROP ROLE outside")
		_, err := w.p.Issue(t.Context(), r)
		if !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "pg_hba.conf") {
			t.Errorf("%v", err)
		}
		if got, _ := w.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'outside'"); got != "0" {
			t.Error("a role that may not come was left")
		}
		w.validity(old.Credential, checks.Active)
	})
}

// Whoever acts as a role is of one family with it.
func TestPostgresHolds(t *testing.T) {
	p := newProviders(t, Config{VerifyHosts: []string{"db.example.net", "db2.example.net"}})
	long := strings.Repeat("é", 31)
	hold := func(user, host string) string {
		cred := account("postgres-url", host)
		cred.Parts["user"] = checks.NewSecret(url.User(user).String())
		return p.Holds(Target{Credential: cred})
	}
	for _, name := range []string{"shop", long} {
		if a, b := hold(name, "db.example.net"), hold(otherName(name, "op"), "db.example.net"); a != b || a == "" {
			t.Errorf("%q and %q", a, b)
		}
	}
	if a := hold("shop", "db.example.net"); a == hold("shop", "db2.example.net") || a == hold("clerk", "db.example.net") || hold("shop", "db3.example.net") != "" {
		t.Errorf("%q holds others", a)
	}
}
