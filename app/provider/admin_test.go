package provider

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/checks"
)

func TestParseAdmins(t *testing.T) {
	hosts, err := parseHosts([]string{"db.example.net", "insecure://10.0.0.0/8"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	secrets := func(urls ...string) (all []checks.Secret) {
		for _, u := range urls {
			all = append(all, checks.NewSecret(u))
		}
		return all
	}
	password := "ofTh%40Admin"
	good, err := parseAdmins(secrets("postgres://stanch:"+password+"@DB.example.net./orders", " postgresql://stanch:"+password+"@10.1.2.3:5432"), hosts)
	if err != nil {
		t.Fatal(err)
	}
	l := good[driverPostgres]["db.example.net:5432"]
	if l.user != "stanch" || l.password != "ofTh@Admin" || l.database != "orders" || l.insecure {
		t.Errorf("%s at %s, %s", l.user, l.address(), l.database)
	}
	if !good[driverPostgres]["10.1.2.3:5432"].insecure {
		t.Error("the host need not prove who it is, and its administrator wants it to")
	}
	p := newProviders(t, Config{VerifyHosts: []string{"db.example.net"}, AdminURLs: secrets("postgres://a:"+password+"@db.example.net", "mysql://a:"+password+"@db.example.net", "redis://:"+password+"@db.example.net", "mongodb://a:"+password+"@db.example.net")})
	for _, rule := range []string{"postgres-url", "mysql-dsn", "redis-url", "mongodb-url"} {
		calls := p.Calls(rule)
		for _, call := range []string{calls.Verify, calls.Disable, calls.Enable, calls.Revoke, calls.Issue} {
			if call == "" || strings.HasPrefix(call, "the driver") {
				t.Errorf("%s: %+v", rule, calls)
			}
		}
	}
	for name, urls := range map[string][]string{
		"no URL":            {"postgres://stanch:" + password + "@db.example.net:port"},
		"no such protocol":  {"http://stanch:" + password + "@db.example.net"},
		"no password":       {"postgres://stanch@db.example.net"},
		"no user":           {"postgres://:" + password + "@db.example.net"},
		"no host":           {"postgres://stanch:" + password + "@/orders"},
		"settings":          {"postgres://stanch:" + password + "@db.example.net/orders?sslmode=disable"},
		"twice":             {"postgres://stanch:" + password + "@db.example.net", "postgres://other:" + password + "@db.example.net:5432"},
		"not to be asked":   {"postgres://stanch:" + password + "@db.example.net:5433"},
		"of somebody else":  {"postgres://stanch:" + password + "@db.example.org"},
		"empty in the list": {""},
	} {
		_, err := parseAdmins(secrets(urls...), hosts)
		if err == nil || !strings.Contains(err.Error(), "of STANCH_ADMIN_URLS") || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReplacement(t *testing.T) {
	for _, test := range []struct{ rule, part, was, want string }{
		{"postgres-url", "user", "shop", "a%22b%3Ac"},
		{"postgres-dsn", "settings", "host=db user=shop dbname=orders", `host=db user=a"b:c dbname=orders`},
		{"postgres-jdbc", "settings", "ssl=true&amp;user=shop&", "ssl=true&amp;user=a%22b%3Ac&"},
		{"postgres-jdbc", "settings", "superuser=x&user=shop&", "superuser=x&user=a%22b%3Ac&"},
	} {
		old := parts(test.rule, map[string]string{test.part: test.was, checks.PartSecret: "old"})
		fresh := replacement(old, `a"b:c`, checks.NewSecret("new"))
		if got := fresh.Parts[test.part].Expose(); got != test.want || fresh.Secret().Expose() != "new" || fresh.Rule != test.rule {
			t.Errorf("%s: %s, want %s", test.rule, got, test.want)
		}
		if old.Parts[test.part].Expose() != test.was || old.Secret().Expose() != "old" {
			t.Errorf("%s: the old credential was changed", test.rule)
		}
	}
}

// What people read that Stanch must be granted is what the tests take away line by line.
func TestDocumentedGrants(t *testing.T) {
	text, err := os.ReadFile("../../docs/databases.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []grants.Policy{PostgresPolicy(), MySQLPolicy(), RedisPolicy(), MongoDBPolicy()} {
		for _, line := range policy.Lines {
			if !strings.Contains(string(text), "\n    "+line.Grant) {
				t.Errorf("docs/databases.md lacks %q", line.Grant)
			}
		}
	}
}

// What is no server says nothing, and hears nothing that it could tell.
func TestAdminsAmongLiars(t *testing.T) {
	for _, rule := range []string{"postgres", "mysql", "redis", "mongodb"} {
		for name, say := range noise {
			t.Run(rule+" "+name, func(t *testing.T) {
				t.Parallel()
				revokeAt(t, rule, raw(t, say))
			})
		}
	}
	ok := []byte{0, 0, 0, 2, 0, 0, 0}
	for name, say := range map[string]func(net.Conn){
		"accepts everybody":         handshake(ok, mysqlError(1064, "no")),
		"answers with nothing":      handshake(ok, ok, ok, ok),
		"forbids with the question": handshake(ok, mysqlError(myPrivilege, strings.Repeat("x", 4096))),
	} {
		t.Run("mysql "+name, func(t *testing.T) { t.Parallel(); revokeAt(t, "mysql", raw(t, say)) })
	}
}

func revokeAt(t *testing.T, scheme, host string) {
	t.Helper()
	admin := scheme + "://stanch:" + changerPassword + "@" + host
	p := newProviders(t, Config{VerifyHosts: []string{"insecure://" + host}, AdminURLs: []checks.Secret{checks.NewSecret(admin)}})
	p.changeWithin = time.Second
	began := time.Now()
	target := Target{Credential: account(scheme+"-url", host)}
	for _, do := range []command{p.Revoke, p.Disable, p.Enable} {
		_, err := do(t.Context(), target)
		if err == nil || errors.Is(err, ErrCannotRevoke) && strings.Contains(err.Error(), "no administrator") {
			t.Errorf("%v", err)
		} else if strings.Contains(err.Error(), changerPassword) || strings.Contains(err.Error(), target.Secret().Expose()) || len(err.Error()) > 1000 {
			t.Errorf("tells too much: %v", err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

// TestReversible: what Vault's engine keeps does not come back, whoever administers the
// database too.
func TestReversible(t *testing.T) {
	admin := "postgres://boss:" + "changeme@db.acme.example:5432/orders"
	p := newProviders(t, Config{VerifyHosts: []string{"db.acme.example"}, AdminURLs: []checks.Secret{checks.NewSecret(admin)}})
	target := Target{Credential: checks.Credential{Rule: "postgres-url"}}
	if !p.Reversible(target) {
		t.Errorf("a user of a database is not disabled first: %s", p.Can("postgres-url").Reason)
	}
	target.Identity = map[string]string{keptBy: "database/static-roles/shop"}
	if p.Reversible(target) {
		t.Error("a password that Vault's engine keeps could be taken back")
	}
}
