package provider

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// An engineTest is a PostgreSQL server, and a database engine that keeps users there.
type engineTest struct {
	t    *testing.T
	b    *baotest.Server
	tls  servertest.Authority
	port string
}

func startEngine(t *testing.T) engineTest {
	t.Helper()
	e := engineTest{t: t, b: baotest.Start(t), tls: servertest.NewAuthority(t)}
	e.port = servertest.Postgres(t, e.tls)
	e.sql("CREATE ROLE vaultroot SUPERUSER LOGIN PASSWORD '" + vaultrootPassword + "'")
	e.b.Must("POST", "sys/mounts/database", map[string]any{"type": "database"})
	e.connect("orders", "localhost", "vaultroot", vaultrootPassword)
	return e
}

// role makes a role that nobody else uses, with statements that end its users.
func (e engineTest) role(revocation ...string) (name string) {
	e.t.Helper()
	name = random(e.t)
	e.b.Must("POST", "database/roles/"+name, map[string]any{
		"db_name": "orders", "default_ttl": "1h", "revocation_statements": revocation,
		"creation_statements": []string{`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`},
	})
	return name
}

const vaultrootPassword = "ofVault0Root"

func (e engineTest) sql(statement string) {
	e.t.Helper()
	conn, err := pgconn.Connect(e.t.Context(), fmt.Sprintf("host=localhost port=%s user=postgres password=%s dbname=postgres sslmode=disable", e.port, servertest.AdminPassword))
	if err != nil {
		e.t.Fatal(err)
	}
	defer conn.Close(e.t.Context())
	if _, err := conn.Exec(e.t.Context(), statement).ReadAll(); err != nil {
		e.t.Fatal(err)
	}
}

func (e engineTest) connect(name, host, user, password string) {
	e.t.Helper()
	e.b.Must("POST", "database/config/"+name, map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": user, "password": password,
		"connection_url": "postgresql://{{username}}:{{password}}@" + host + ":" + e.port + "/orders?sslmode=disable",
	})
}

// keep makes a user in the database, and a static role that rotates its password.
func (e engineTest) keep(user string) (path string) {
	e.t.Helper()
	e.sql("CREATE ROLE " + user + " LOGIN PASSWORD 'bef0reVault'")
	path = "static-roles/of-" + user
	e.b.Must("POST", "database/"+path, map[string]any{"db_name": "orders", "username": user, "rotation_period": "24h"})
	return "database/" + path
}

// password is what a static role has now.
func (e engineTest) password(user string) string {
	e.t.Helper()
	password, _ := e.b.Must("GET", "database/static-creds/of-"+user, nil)["password"].(string)
	return password
}

// made has the engine make a user.
func (e engineTest) made(role string) checks.Credential {
	e.t.Helper()
	creds := e.b.Must("GET", "database/creds/"+role, nil)
	return e.url(fmt.Sprint(creds["username"]), fmt.Sprint(creds["password"]))
}

func (e engineTest) url(user, password string) checks.Credential {
	return parts("postgres-url", map[string]string{"user": user, checks.PartSecret: escapeInURL(password), "host": "localhost:" + e.port, "database": "orders"})
}

// providers are those whose own token has a policy alone.
func (e engineTest) providers(policy grants.Policy) *Providers {
	e.t.Helper()
	return holding(e.t, e.b, written(policy)+`path "auth/token/lookup-self" { capabilities = ["read"] }`, e.config())
}

func (e engineTest) config() Config {
	return Config{VaultDatabaseMounts: []string{"database/"}, VerifyHosts: []string{"localhost:" + e.port}, VerifyRoots: e.tls.Roots}
}

// TestEngine has one server, because starting it takes longest.
func TestEngine(t *testing.T) {
	e := startEngine(t)
	for name, test := range map[string]func(*testing.T, engineTest){
		"static role": testStaticRole, "lease": testLease, "lease times": testLeaseTimes, "policy": testDatabasePolicy,
	} {
		t.Run(name, func(t *testing.T) { e.t = t; test(t, e) })
	}
	t.Run("root", func(t *testing.T) { e.t = t; testRoot(t, e) }) // after which nobody knows its password
}

func testStaticRole(t *testing.T, e engineTest) {
	p := e.providers(VaultDatabasePolicy("database"))
	t.Run("replaced", func(t *testing.T) {
		path := e.keep("app")
		e.keep("other")
		other := e.password("other")
		leaked := aimAt(t, p, e.url("app", e.password("app")))
		if leaked.Identity[keptBy] != path || p.Holds(leaked) != "vault "+path {
			t.Errorf("identity %v, holds %q", leaked.Identity, p.Holds(leaked))
		}
		request := prepared(t, p, leaked, "op-1")
		fresh, err := p.Issue(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		request.Again = true
		if again, err := p.Issue(t.Context(), request); err != nil || again.Secret() != fresh.Secret() {
			t.Errorf("asked again: %v; want the same password, and not another one", err)
		}
		ask(t, p, leaked.Credential, checks.Inactive, GradeB)
		ask(t, p, fresh, checks.Active, GradeA)
		wantRevoked(t, p, leaked, rules.MeansAlreadyDead, "password refused")
		if e.password("app") != fresh.Secret().Expose() || e.password("other") != other {
			t.Error("the replacement, or another role's password, was rotated")
		}
		late := prepared(t, p, leaked, "op-2") // of an incident that begins after it is dead
		if now, err := p.Issue(t.Context(), late); err != nil || now.Secret() != fresh.Secret() {
			t.Errorf("a password that was rotated long ago: %v; want the one that it is now", err)
		}
	})
	t.Run("revoked without a replacement", func(t *testing.T) {
		e.keep("gone")
		leaked := aimAt(t, p, e.url("gone", e.password("gone")))
		wantRevoked(t, p, leaked, rules.MeansRevoked, "")
		ask(t, p, leaked.Credential, checks.Inactive, GradeB)
		ask(t, p, e.url("gone", e.password("gone")), checks.Active, GradeA)
		wantRevoked(t, p, leaked, rules.MeansAlreadyDead, "")
	})
	t.Run("set behind Vault's back", func(t *testing.T) {
		e.keep("hand")
		e.sql("ALTER ROLE hand PASSWORD 'setBy0Hand'")
		leaked := aimAt(t, p, e.url("hand", "setBy0Hand"))
		wantRevoked(t, p, leaked, rules.MeansRevoked, "")
		ask(t, p, leaked.Credential, checks.Inactive, GradeB)
		ask(t, p, e.url("hand", e.password("hand")), checks.Active, GradeA)
	})
	t.Run("the user of the same name at another server", func(t *testing.T) {
		second := engineTest{t: t, port: servertest.Postgres(t, servertest.NewAuthority(t))}
		second.sql("CREATE ROLE twin LOGIN PASSWORD 'ofTheOther1'")
		e.keep("twin")
		was := e.password("twin")
		cfg := e.config()
		cfg.VerifyHosts, cfg.VerifyRoots = []string{"insecure://localhost:" + second.port}, nil
		cfg.VaultAddr, cfg.VaultToken = e.b.Addr, checks.NewSecret(e.b.Root)
		elsewhere := newProviders(t, cfg)
		leaked := aimAt(t, elsewhere, second.url("twin", "ofTheOther1"))
		if leaked.Identity[keptBy] != "" {
			t.Errorf("identity %v", leaked.Identity)
		}
		_, err := elsewhere.Revoke(t.Context(), leaked)
		_, issued := elsewhere.Issue(t.Context(), prepared(t, elsewhere, leaked, "op"))
		if !errors.Is(err, ErrCannotRevoke) || !errors.Is(issued, ErrCannotIssue) || e.password("twin") != was {
			t.Errorf("%v, %v; want that nothing is done to the wrong user", err, issued)
		}
	})
	t.Run("the answer to the rotation was lost", func(t *testing.T) {
		e.keep("lost")
		leaked := aimAt(t, p, e.url("lost", e.password("lost")))
		addr := deaf(t, e.b, func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/rotate-role/") })
		cfg := e.config()
		cfg.VaultAddr, cfg.VaultToken = addr, p.vault.own
		request := prepared(t, p, leaked, "op-1")
		if _, err := newProviders(t, cfg).Issue(t.Context(), request); err == nil || errors.Is(err, ErrCannotIssue) {
			t.Errorf("%v; want an error that is not definite", err)
		}
		now := e.password("lost")
		request.Again = true
		if fresh, err := p.Issue(t.Context(), request); err != nil || fresh.Secret().Expose() != now {
			t.Errorf("asked again: %v; want the password of the first rotation", err)
		}
	})
	t.Run("Vault is away", func(t *testing.T) {
		e.keep("away")
		leaked := e.url("away", e.password("away"))
		sealed := httptest.NewServer(always(503, "application/json", `{"errors":["Vault is sealed"]}`))
		defer sealed.Close()
		cfg := e.config()
		cfg.VaultAddr, cfg.VaultToken = sealed.URL, checks.NewSecret("own")
		without := newProviders(t, cfg)
		target := aimAt(t, without, leaked) // the database answers
		if _, err := without.Revoke(t.Context(), target); err == nil || errors.Is(err, ErrCannotRevoke) {
			t.Errorf("%v; want that it is tried again", err)
		}
	})
}

func testRoot(t *testing.T, e engineTest) {
	p := e.providers(VaultDatabasePolicy("database"))
	leaked := aimAt(t, p, e.url("vaultroot", vaultrootPassword))
	if leaked.Identity[keptBy] != "database/config/orders" {
		t.Errorf("identity %v", leaked.Identity)
	}
	if _, err := p.Issue(t.Context(), prepared(t, p, leaked, "op")); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "a user of their own") {
		t.Errorf("issue: %v", err)
	}
	for range 2 {
		wantRevoked(t, p, leaked, rules.MeansRevoked, "nobody but Vault knows")
		ask(t, p, leaked.Credential, checks.Inactive, GradeB)
	}
	ask(t, p, e.made(e.role()), checks.Active, GradeA) // Vault knows it
	e.connect("aliased", "127.0.0.1", "postgres", servertest.AdminPassword)
	admin := aimAt(t, p, e.url("postgres", servertest.AdminPassword))
	if _, err := p.Revoke(t.Context(), admin); !errors.Is(err, ErrCannotRevoke) {
		t.Errorf("the user of a connection to a server of another name: %v", err)
	}
	ask(t, p, admin.Credential, checks.Active, GradeA)
}

func TestEngineServers(t *testing.T) {
	l := login{endpoint: endpoint{name: "db.acme.net", port: "5432"}}
	for text, want := range map[string]bool{
		"postgresql://{{username}}:{{password}}@db.acme.net:5432/orders": true,
		"postgresql://{{username}}:{{password}}@DB.acme.net./orders":     true,
		"postgresql://{{username}}:{{password}}@a.net,db.acme.net/x":     true,
		"{{username}}:{{password}}@tcp(db.acme.net:5432)/":               true,
		"host=db.acme.net port=5432 user={{username}}":                   true,
		"host=db.acme.net user={{username}}":                             true,
		"postgresql://{{username}}:{{password}}@db.acme.net:5433/orders": false,
		"postgresql://{{username}}:{{password}}@db.acme.net.evil.org/x":  false,
		"postgresql://{{username}}:{{password}}@xdb.acme.net/x":          false,
		"host=db.acme.net port=6432":                                     false,
		"":                                                               false,
	} {
		config := map[string]any{"connection_details": map[string]any{"connection_url": text}}
		if got := leadsTo(config, l, "5432"); got != want {
			t.Errorf("%q leads there: %t, want %t", text, got, want)
		}
	}
}
