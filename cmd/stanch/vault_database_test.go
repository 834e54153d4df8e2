package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/app/store"
)

const databaseAdmin = "Admin0fThisTest"

// newDatabase starts a PostgreSQL server and returns its address.
func newDatabase(t *testing.T) (addr string) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 && os.Getenv("STANCH_CI") == "1" {
		t.Fatal("there is no PostgreSQL (Debian: postgresql), and STANCH_CI=1 wants the tests with a real server")
	}
	if len(found) == 0 {
		t.Skip("there is no PostgreSQL")
	}
	port := servertest.FreePort(t)
	addr = "127.0.0.1:" + port
	dir, err := os.MkdirTemp("", "stanch") // for a socket the test's own would be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(databaseAdmin), 0o600); err != nil {
		t.Fatal(err)
	}
	as := asPostgres(t, dir, password)
	program := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(found[len(found)-1], name), append([]string{"-D", filepath.Join(dir, "data")}, args...)...)
		cmd.SysProcAttr = as
		return cmd
	}
	if out, err := program("initdb", "-U", "postgres", "-A", "scram-sha-256", "--pwfile", password, "--locale=C", "-N").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	server := program("postgres", "-p", port, "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Signal(syscall.SIGQUIT); server.Wait() })
	for deadline := time.Now().Add(servertest.Patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = logIn(t.Context(), addr, "postgres", databaseAdmin, "SELECT 1"); err == nil {
			return addr
		}
	}
	t.Fatalf("PostgreSQL does not answer: %v", err)
	return ""
}

// asPostgres is the user that a server of PostgreSQL runs as where the test is root,
// which it refuses to.
func asPostgres(t *testing.T, owned ...string) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	for _, path := range owned {
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func logIn(ctx context.Context, addr, user, password, statement string) error {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: addr, Path: "/postgres", RawQuery: "sslmode=disable"}
	conn, err := pgx.Connect(ctx, u.String())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

// TestLeakedStaticRole leaks the URL of a database whose password a static role of
// Vault rotates, and which stands in KV as well.
func TestLeakedStaticRole(t *testing.T) {
	v, addr := newVault(t), newDatabase(t)
	if err := logIn(t.Context(), addr, "postgres", databaseAdmin, "CREATE ROLE shop LOGIN PASSWORD 'bef0reVault'"); err != nil {
		t.Fatal(err)
	}
	password := func() string {
		return v.must(t, "", "read", "-field=password", "database/static-creds/shop")
	}
	link := func(password string) string { return "postgres://shop:" + password + "@" + addr + "/postgres" }
	w := newServeWorld(t, func(w *serveWorld, keys store.Keys) {
		v.must(t, "", "secrets", "enable", "database")
		v.must(t, "", "write", "database/config/shop", "plugin_name=postgresql-database-plugin", "allowed_roles=*", "username=postgres",
			"password="+databaseAdmin, "connection_url=postgresql://{{username}}:{{password}}@"+addr+"/postgres?sslmode=disable")
		v.must(t, "", "write", "database/static-roles/shop", "db_name=shop", "username=shop", "rotation_period=24h")
		w.leaked = password()
		w.line = "DATABASE_URL=" + link(w.leaked)
		w.keepInVault(v, v.ownToken(t, "stanch", "stanch-database"), keys, "password")
		w.env = append(w.env, "STANCH_VAULT_DATABASE_MOUNTS=database", "STANCH_VERIFY_HOSTS=insecure://"+addr)
	})
	head := w.push()
	w.finish(func() error {
		now := w.stored()
		runs := w.github.CheckRuns("acme/shop")
		switch {
		case now == w.leaked:
			return fmt.Errorf("the leaked password is still in the store")
		case logIn(t.Context(), addr, "shop", w.leaked, "SELECT 1") == nil:
			return fmt.Errorf("the leaked password logs in")
		case now != password():
			return fmt.Errorf("the store has another password than the engine")
		case len(runs) != 1 || runs[0].HeadSHA != head || !strings.Contains(runs[0].Title, "dead"):
			return fmt.Errorf("the check run says %+v", runs)
		}
		return logIn(t.Context(), addr, "shop", now, "SELECT 1")
	})
	w.findNoSecret()
}
