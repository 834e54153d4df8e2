package provider

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
)

func TestPostgres(t *testing.T) {
	tls := servertest.NewAuthority(t)
	port := servertest.Postgres(t, tls)
	p := newProviders(t, Config{VerifyHosts: []string{"localhost:" + port}, VerifyRoots: tls.Roots})
	url := func(user, password, database string) checks.Credential {
		escape := strings.NewReplacer("@", "%40", "/", "%2F", " ", "%20")
		return parts("postgres-url", map[string]string{
			"user": user, checks.PartSecret: escape.Replace(password), "host": "localhost:" + port, "database": database,
		})
	}
	t.Run("live", func(t *testing.T) {
		v := ask(t, p, url("shop", servertest.ShopPassword, "orders"), checks.Active, GradeA)
		want := map[string]string{
			"user": "shop", "database": "orders", "superuser": "false", "create_role": "false", "create_database": "true", "replication": "false",
		}
		if got := fmt.Sprint(v.Evidence.Identity); got != fmt.Sprint(want) {
			t.Errorf("identity %s", got)
		}
	})
	t.Run("live, in a connection string and in a JDBC URL", func(t *testing.T) {
		ask(t, p, parts("postgres-dsn", map[string]string{
			"settings": "dbname=orders user=postgres host=localhost port=" + port, checks.PartSecret: servertest.AdminPassword,
		}), checks.Active, GradeA)
		ask(t, p, parts("postgres-jdbc", map[string]string{
			"host": "localhost:" + port, "database": "orders", "settings": "ssl=true&amp;user=postgres&", checks.PartSecret: servertest.AdminPassword,
		}), checks.Active, GradeA)
	})
	t.Run("dead", func(t *testing.T) {
		ask(t, p, url("shop", "oldP4ssw0rd", "orders"), checks.Inactive, GradeB)
		ask(t, p, url("nobody", "oldP4ssw0rd", "orders"), checks.Inactive, GradeB)
		ask(t, p, url("old", servertest.OldPassword, "orders"), checks.Inactive, GradeB)
		ask(t, p, url("shut", servertest.ShutPassword, "orders"), checks.Inactive, GradeB)
	})
	t.Run("no such database, or no right to it", func(t *testing.T) {
		ask(t, p, url("shop", servertest.ShopPassword, "gone"), checks.Active, GradeB)
		if v := ask(t, p, url("shop", servertest.ShopPassword, "postgres"), checks.Active, GradeB); !v.LacksScope {
			t.Error("no right to the database is no lack of scope")
		}
	})
	t.Run("a user who needs no password", func(t *testing.T) {
		ask(t, p, url("open", "of0penUser", "orders"), checks.Unknown, GradeC)
		ask(t, p, url("open", "an0therOne", "orders"), checks.Unknown, GradeC)
	})
	t.Run("a user who may not come from here", func(t *testing.T) {
		ask(t, p, url("outside", "of0utsideUser", "orders"), checks.Unknown, GradeC)
	})
	t.Run("a certificate of nobody's", func(t *testing.T) {
		strict := newProviders(t, Config{VerifyHosts: []string{"localhost:" + port}})
		ask(t, strict, url("shop", servertest.ShopPassword, "orders"), checks.Unknown, GradeC)
		lax := newProviders(t, Config{VerifyHosts: []string{"insecure://localhost:" + port}})
		ask(t, lax, url("shop", servertest.ShopPassword, "orders"), checks.Active, GradeA)
		ask(t, lax, url("shop", "oldP4ssw0rd", "orders"), checks.Inactive, GradeB)
	})
	t.Run("not in the clear unless allowed", func(t *testing.T) {
		heard := make(chan int, 1)
		plain := raw(t, func(c net.Conn) {
			b := make([]byte, 8) // the request for TLS
			io.ReadFull(c, b)
			c.Write([]byte("N"))
			n, _ := c.Read(b)
			heard <- n
		})
		p := newProviders(t, Config{VerifyHosts: []string{plain}})
		cred := url("shop", servertest.ShopPassword, "orders")
		cred.Parts["host"] = checks.NewSecret(plain)
		v := ask(t, p, cred, checks.Unknown, GradeC)
		if n := <-heard; n > 0 || !strings.HasPrefix(v.Evidence.Answer, "tls: the server has none") {
			t.Errorf("%d bytes in the clear, answer %q", n, v.Evidence.Answer)
		}
	})
}

// liar speaks PostgreSQL and says the same to everybody.
func liar(then func(*pgproto3.Backend)) func(net.Conn) {
	return func(c net.Conn) {
		b := pgproto3.NewBackend(c, c)
		for {
			m, err := b.ReceiveStartupMessage()
			if err != nil {
				return
			}
			if _, ok := m.(*pgproto3.StartupMessage); ok {
				then(b)
				b.Flush()
				time.Sleep(100 * time.Millisecond)
				return
			}
			c.Write([]byte("N"))
		}
	}
}

func TestPostgresLies(t *testing.T) {
	says := func(code, message string) func(net.Conn) {
		return liar(func(b *pgproto3.Backend) {
			b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: message})
		})
	}
	accept := func(b *pgproto3.Backend) {
		b.Send(&pgproto3.AuthenticationOk{})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		names := make([]pgproto3.FieldDescription, len(whoPostgresNames))
		values := make([][]byte, len(whoPostgresNames))
		for i, name := range whoPostgresNames {
			names[i], values[i] = pgproto3.FieldDescription{Name: []byte(name)}, []byte("shop")
		}
		b.Send(&pgproto3.RowDescription{Fields: names})
		for range 100 {
			b.Send(&pgproto3.DataRow{Values: values})
		}
	}
	for name, say := range noise {
		t.Run(name, func(t *testing.T) { t.Parallel(); liesTo(t, "postgres-url", say) })
	}
	for name, say := range map[string]func(net.Conn){
		"accepts everybody":       liar(accept),
		"knows no database":       says(pgNoDatabase, "database does not exist"),
		"too many connections":    says("53300", "sorry, too many clients already"),
		"starting":                says("57P03", "the database system is starting up"),
		"no entry for this host":  says(pgNotAuthorized, `no pg_hba.conf entry for host "127.0.0.1"`),
		"a code of nobody's":      says("\x1b[31m", "?"),
		"a proxy that is sorry":   says("08P01", "server login has been failing"),
		"wants a strange message": liar(func(b *pgproto3.Backend) { b.Send(&pgproto3.AuthenticationGSS{}) }),
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); liesTo(t, "postgres-url", say) })
	}
	t.Run("refuses everybody", func(t *testing.T) {
		t.Parallel()
		host := raw(t, says(pgInvalidPassword, "password authentication failed"))
		p := newProviders(t, Config{VerifyHosts: []string{"insecure://" + host}})
		ask(t, p, account("postgres-url", host), checks.Inactive, GradeB)
	})
}

// account is somebody's account at a server.
func account(rule, host string) checks.Credential {
	return parts(rule, map[string]string{"user": "shop", checks.PartSecret: "oldP4ssw0rd", "host": host, "database": "orders"})
}

// liesTo checks that nothing is believed of a server.
func liesTo(t *testing.T, rule string, say func(net.Conn)) {
	t.Helper()
	host := raw(t, say)
	p := newProviders(t, Config{VerifyHosts: []string{"insecure://" + host}})
	p.within = time.Second
	began := time.Now()
	v := ask(t, p, account(rule, host), checks.Unknown, GradeC)
	if took := time.Since(began); took > silence/2 {
		t.Errorf("took %s", took)
	}
	if v.Evidence.Identity != nil || v.Evidence.Answer == "" {
		t.Errorf("evidence %+v", v.Evidence)
	}
}

// Nobody is asked at a server that the operator did not name, however it is written.
func TestDatabasesOfStrangersAreNotDialled(t *testing.T) {
	var reached atomic.Int32
	port := strings.TrimPrefix(raw(t, func(net.Conn) { reached.Add(1) }), "127.0.0.1:")
	allowed := []string{"db.example.net", "db.example.net:" + port, "10.0.0.0/8", "[::1]:5432", "localhost:1"}
	p := newProviders(t, Config{VerifyHosts: allowed})
	for _, host := range []string{
		"127.0.0.1:" + port, "localhost:" + port, "[::ffff:127.0.0.1]:" + port, "2130706433:" + port, "0x7f000001:" + port, "127.1:" + port,
		"0:" + port, "[::1]:" + port, "localhost.:" + port, "10.0.0.1:" + port, "10.0.0.1@127.0.0.1:" + port, "db.example.net.localhost:" + port,
		"", ":", ":" + port, "[", "169.254.169.254:80", "localhost:01", "db.example.net%00:" + port,
	} {
		for _, rule := range []string{"postgres-url", "mysql-url", "redis-url", "mongodb-url"} {
			v, err := p.Verify(context.Background(), account(rule, host))
			if err != nil || v.Validity != checks.Unknown || v.Evidence.Answer != notAllowed {
				t.Errorf("%s: %v, %+v", host, err, v)
			}
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d connections", n)
	}
	nobody := newProviders(t, Config{})
	if v := ask(t, nobody, account("postgres-url", "127.0.0.1:"+port), checks.Unknown, GradeC); v.Evidence.Answer != notAllowed || reached.Load() > 0 {
		t.Errorf("%+v", v)
	}
}

// A password without its user says nothing, whatever the server would say to nobody;
// Redis alone has passwords of no user.
func TestDatabasesWantAUser(t *testing.T) {
	var reached atomic.Int32
	address := raw(t, func(net.Conn) { reached.Add(1) })
	p := newProviders(t, Config{VerifyHosts: []string{"insecure://" + address}})
	for _, rule := range []string{
		"postgres-url", "postgres-dsn", "postgres-jdbc", "mysql-url", "mysql-jdbc", "mongodb-url", "redis-url",
	} {
		if p.rules[rule] == nil {
			t.Fatalf("there is no rule %s", rule)
		}
		cred := account(rule, address)
		delete(cred.Parts, "user")
		before := reached.Load()
		v := ask(t, p, cred, checks.Unknown, GradeC)
		asked := reached.Load() > before
		if alone := rule == "redis-url"; asked != alone || (v.Evidence.Answer == noUser) == alone {
			t.Errorf("%s: asked = %t, %+v", rule, asked, v)
		}
	}
}

func TestParseHosts(t *testing.T) {
	all, err := parseHosts([]string{"DB.example.net.", "insecure://db2.example.net:6432", "10.0.0.0/8", "[2001:db8::1]:5432", "2001:db8::2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"db.example.net": "db.example.net:5432", "db.Example.net.:5432": "db.example.net:5432", "db2.example.net:6432": "db2.example.net:6432",
		"other,db2.example.net:6432": "db2.example.net:6432", "10.1.2.3": "10.1.2.3:5432", "[2001:db8::1]": "[2001:db8::1]:5432",
		"2001:db8::2": "[2001:db8::2]:5432", "db2.example.net": "", "db.example.net:5433": "", "11.0.0.1": "", "10.1.2": "",
	} {
		found, ok := all.find(host, "5432")
		if ok != (want != "") || ok && found.address() != want {
			t.Errorf("%s: %v %v, want %q", host, found, ok, want)
		}
	}
	for _, wrong := range []string{"", ":5432", "db:0x50", "db:70000", "10.0.0.0/33", "postgres://db", "user@db", "*.example.net", "a,b"} {
		if _, err := parseHosts([]string{wrong}, nil); err == nil {
			t.Errorf("%q is taken for a host", wrong)
		}
	}
}
