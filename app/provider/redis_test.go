package provider

import (
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
)

// startRedis starts a real server and returns its ports without and with TLS.
func startRedis(t *testing.T, a servertest.Authority) (plain, secured string) {
	t.Helper()
	plain, secured = servertest.FreePort(t), servertest.FreePort(t)
	cmd := exec.Command(servertest.Program(t, "redis-server", "redis-server"), "--port", plain, "--bind", "127.0.0.1", "--dir", servertest.Scratch(t), "--save", "",
		"--tls-port", secured, "--tls-cert-file", a.CertFile, "--tls-key-file", a.KeyFile, "--tls-ca-cert-file", a.CertFile, "--tls-auth-clients", "no",
		"--requirepass", servertest.AdminPassword)
	say := func(command string) string {
		conn, err := net.Dial("tcp", "127.0.0.1:"+plain)
		if err != nil {
			return ""
		}
		defer conn.Close()
		io.WriteString(conn, "AUTH "+servertest.AdminPassword+"\r\n"+command+"\r\nQUIT\r\n")
		all, _ := io.ReadAll(conn)
		return string(all)
	}
	servertest.Start(t, cmd, func() bool { return strings.HasPrefix(say("PING"), "+OK\r\n+PONG") })
	for _, user := range []string{
		"shop on '>" + servertest.ShopPassword + "' +acl|whoami", "mute on >ofMuteUser -@all", "open on nopass +@all", "shut off >" + servertest.ShutPassword + " +@all",
	} {
		if said := say("ACL SETUSER " + user); !strings.HasPrefix(said, "+OK\r\n+OK") {
			t.Fatalf("%s: %q", user, said)
		}
	}
	return plain, secured
}

func TestRedis(t *testing.T) {
	a := servertest.NewAuthority(t)
	plain, secured := startRedis(t, a)
	url := func(port, user, password string) checks.Credential {
		escape := strings.NewReplacer("@", "%40", "/", "%2F", " ", "%20")
		scheme := map[string]string{plain: "redis", secured: "rediss"}[port]
		return parts("redis-url", map[string]string{"scheme": scheme, "user": user, checks.PartSecret: escape.Replace(password), "host": "localhost:" + port, "database": "0"})
	}
	p := newProviders(t, Config{VerifyHosts: []string{"localhost:" + secured}, VerifyRoots: a.Roots})
	t.Run("live", func(t *testing.T) {
		v := ask(t, p, url(secured, "shop", servertest.ShopPassword), checks.Active, GradeA)
		if v.Evidence.Identity["user"] != "shop" {
			t.Errorf("identity %v", v.Evidence.Identity)
		}
		ask(t, p, url(secured, "", servertest.AdminPassword), checks.Active, GradeA)
		if v := ask(t, p, url(secured, "mute", "ofMuteUser"), checks.Active, GradeB); !v.LacksScope {
			t.Error("a user who may nothing lacks no scope")
		}
	})
	t.Run("dead", func(t *testing.T) {
		ask(t, p, url(secured, "shop", "oldP4ssw0rd"), checks.Inactive, GradeB)
		ask(t, p, url(secured, "", "oldP4ssw0rd"), checks.Inactive, GradeB)
		ask(t, p, url(secured, "nobody", "oldP4ssw0rd"), checks.Inactive, GradeB)
		ask(t, p, url(secured, "shut", servertest.ShutPassword), checks.Inactive, GradeB)
	})
	t.Run("a user who needs no password", func(t *testing.T) {
		ask(t, p, url(secured, "open", "of0penUser"), checks.Unknown, GradeC)
	})
	t.Run("without TLS", func(t *testing.T) {
		strict := newProviders(t, Config{VerifyHosts: []string{"localhost:" + plain}, VerifyRoots: a.Roots})
		strict.within = time.Second // the server waits for the end of a line that never comes
		ask(t, strict, url(plain, "shop", servertest.ShopPassword), checks.Unknown, GradeC)
		lax := newProviders(t, Config{VerifyHosts: []string{"insecure://localhost:" + plain, "insecure://localhost:" + secured}})
		ask(t, lax, url(plain, "shop", servertest.ShopPassword), checks.Active, GradeA)
		ask(t, lax, url(plain, "shop", "oldP4ssw0rd"), checks.Inactive, GradeB)
		ask(t, lax, url(secured, "shop", servertest.ShopPassword), checks.Active, GradeA)
	})
	t.Run("a certificate of nobody's", func(t *testing.T) {
		strict := newProviders(t, Config{VerifyHosts: []string{"localhost:" + secured}})
		if v := ask(t, strict, url(secured, "shop", servertest.ShopPassword), checks.Unknown, GradeC); v.Evidence.Answer != "tls" {
			t.Errorf("answer %q", v.Evidence.Answer)
		}
	})
}

// chorus answers each command with the next of its lines.
func chorus(lines ...string) func(net.Conn) {
	return func(c net.Conn) {
		b := make([]byte, 4096)
		for _, line := range lines {
			if _, err := c.Read(b); err != nil {
				return
			}
			io.WriteString(c, line)
		}
		c.Read(b) // until it is closed
	}
}

func TestRedisLies(t *testing.T) {
	for name, say := range noise {
		t.Run(name, func(t *testing.T) { t.Parallel(); liesTo(t, "redis-url", say) })
	}
	for name, lines := range map[string][]string{
		"accepts everybody":      {"+OK\r\n", "$4\r\nshop\r\n"},
		"needs no password":      {"-ERR AUTH <password> called without any password configured for the default user.\r\n"},
		"protected mode":         {"-DENIED Redis is running in protected mode\r\n"},
		"loading":                {"-LOADING Redis is loading the dataset in memory\r\n"},
		"half a line":            {"+O"},
		"line without its end":   {"+OK\n"},
		"no reply":               {"\r\n"},
		"a reply without an end": {"+" + strings.Repeat("O", 64<<10)},
		"a name without an end":  {"+OK\r\n", "$999999999\r\n" + strings.Repeat("a", 64<<10)},
		"a negative name":        {"+OK\r\n", "$-1\r\n"},
		"an array":               {"*1\r\n$2\r\nOK\r\n"},
		"repeats the password":   {"+OK\r\n", "$11\r\noldP4ssw0rd\r\n"},
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); liesTo(t, "redis-url", chorus(lines...)) })
	}
	for name, lines := range map[string][]string{
		"refuses everybody": {"-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
		"of before users":   {"-ERR wrong number of arguments for 'auth' command\r\n", "-ERR invalid password\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := raw(t, chorus(lines...))
			p := newProviders(t, Config{VerifyHosts: []string{"insecure://" + host}})
			ask(t, p, account("redis-url", host), checks.Inactive, GradeB)
		})
	}
}
