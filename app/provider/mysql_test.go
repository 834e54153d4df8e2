package provider

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
)

func TestMySQL(t *testing.T) {
	tls := servertest.NewAuthority(t)
	host := "localhost:" + servertest.MariaDB(t, tls)
	p := newProviders(t, Config{VerifyHosts: []string{host}, VerifyRoots: tls.Roots})
	url := func(user, password, database string) checks.Credential {
		escape := strings.NewReplacer("@", "%40", "/", "%2F", " ", "%20")
		return parts("mysql-url", map[string]string{"user": user, checks.PartSecret: escape.Replace(password), "host": host, "database": database})
	}
	t.Run("live", func(t *testing.T) {
		v := ask(t, p, url("shop", servertest.ShopPassword, "orders"), checks.Active, GradeA)
		if v.Evidence.Identity["user"] != "shop@%" || v.Evidence.Identity["database"] != "orders" {
			t.Errorf("identity %v", v.Evidence.Identity)
		}
		ask(t, p, url("shop", servertest.ShopPassword, ""), checks.Active, GradeA)
	})
	t.Run("live, in a data source name and in a JDBC URL", func(t *testing.T) {
		ask(t, p, parts("mysql-dsn", map[string]string{"host": host, "user": "shop", checks.PartSecret: servertest.ShopPassword}), checks.Active, GradeA)
		ask(t, p, parts("mysql-jdbc", map[string]string{
			"host": host, "database": "orders", "settings": "user=shop&useSSL=true&", checks.PartSecret: "p%40ss%2Fw0rd%20of%20shop",
		}), checks.Active, GradeA)
	})
	t.Run("dead", func(t *testing.T) {
		if v := ask(t, p, url("shop", "oldP4ssw0rd", "orders"), checks.Inactive, GradeB); !v.SelfHosted {
			t.Error("access denied to this machine counts as denied to all")
		}
		ask(t, p, url("nobody", "oldP4ssw0rd", "orders"), checks.Inactive, GradeB)
		ask(t, p, url("shut", servertest.ShutPassword, "orders"), checks.Inactive, GradeB)
	})
	t.Run("an account of another machine", func(t *testing.T) {
		if v := ask(t, p, url("elsewhere", servertest.ElsewherePassword, ""), checks.Inactive, GradeB); !v.SelfHosted {
			t.Error("access denied to this machine counts as denied to all")
		}
	})
	t.Run("no such database, no right to it, or expired", func(t *testing.T) {
		ask(t, p, url("shop", servertest.ShopPassword, "gone"), checks.Active, GradeB)
		for _, cred := range []checks.Credential{url("shop", servertest.ShopPassword, "staff"), url("old", servertest.OldPassword, "")} {
			if v := ask(t, p, cred, checks.Active, GradeB); !v.LacksScope {
				t.Errorf("no lack of scope: %+v", v.Evidence)
			}
		}
	})
	t.Run("a user who has no password", func(t *testing.T) {
		ask(t, p, url("open", "of0penUser", "orders"), checks.Inactive, GradeB)
	})
	t.Run("a certificate of nobody's", func(t *testing.T) {
		ask(t, newProviders(t, Config{VerifyHosts: []string{host}}), url("shop", servertest.ShopPassword, "orders"), checks.Unknown, GradeC)
		lax := newProviders(t, Config{VerifyHosts: []string{"insecure://" + host}})
		ask(t, lax, url("shop", servertest.ShopPassword, "orders"), checks.Active, GradeA)
	})
}

// handshake is the first packet of a server, and reply what it says to a login.
func handshake(replies ...[]byte) func(net.Conn) {
	greeting := []byte("\x0a8.4.0\x00\x01\x00\x00\x00abcdefgh\x00\xff\xf7\x08\x02\x00\xff\xdf\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00abcdefghijkl\x00mysql_native_password\x00")
	return func(c net.Conn) {
		c.Write(packet(0, greeting))
		b := make([]byte, 4096)
		for i, reply := range replies {
			if _, err := c.Read(b); err != nil {
				return
			}
			c.Write(packet(byte(2-min(i, 1)), reply))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func packet(sequence byte, payload []byte) []byte {
	n := len(payload)
	return append([]byte{byte(n), byte(n >> 8), byte(n >> 16), sequence}, payload...)
}

func mysqlError(number int, message string) []byte {
	return fmt.Appendf([]byte{0xff, byte(number), byte(number >> 8)}, "#HY000%s", message)
}

func TestMySQLLies(t *testing.T) {
	ok := []byte{0, 0, 0, 2, 0, 0, 0}
	for name, say := range noise {
		t.Run(name, func(t *testing.T) { t.Parallel(); liesTo(t, "mysql-url", say) })
	}
	secretFile := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(secretFile, []byte("a file of Stanch's"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, say := range map[string]func(net.Conn){
		"accepts everybody":    handshake(ok, mysqlError(1064, "no")),
		"knows no database":    handshake(mysqlError(myNoDatabase, "Unknown database")),
		"too many connections": func(c net.Conn) { c.Write(packet(0, mysqlError(1040, "Too many connections"))) },
		"host not allowed":     func(c net.Conn) { c.Write(packet(0, mysqlError(1130, "not allowed"))) },
		"no password account":  handshake(mysqlError(1698, "Access denied")),
		"wants a local file":   handshake(ok, append([]byte{0xfb}, secretFile...)),
		"wants it in clear":    handshake([]byte("\xfemysql_clear_password\x00"), ok),
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); liesTo(t, "mysql-url", say) })
	}
	t.Run("refuses everybody", func(t *testing.T) {
		t.Parallel()
		host := raw(t, handshake(mysqlError(myDenied, "Access denied")))
		p := newProviders(t, Config{VerifyHosts: []string{"insecure://" + host}})
		ask(t, p, account("mysql-url", host), checks.Inactive, GradeB)
	})
}
