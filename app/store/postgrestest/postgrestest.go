// Package postgrestest is a real PostgreSQL server for tests, one for each test binary.
package postgrestest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stanch-dev/stanch/app/provider/servertest"
)

// debian is where Debian puts the server's programs.
const debian = "/usr/lib/postgresql/*/bin"

// supervise runs the server until the test binary ends, however it ends: its end of the
// pipe is closed then. All that the server wrote goes with it.
const supervise = `"$1" -D "$2/data" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c max_connections=300 >"$2/log" 2>&1 &
server=$!
read -r _
kill -QUIT $server
wait $server
rm -rf "$2"`

// A server is one that runs.
type server struct {
	url  url.URL
	pipe any // open as long as the server is to run
}

var (
	once    sync.Once
	running *server
	failure error
	schemas atomic.Int64
)

// URL is that of a database of the test's own, which is a schema in truth. Without a
// PostgreSQL on this machine the test is skipped, unless STANCH_CI=1 says that there
// has to be one.
func URL(t testing.TB) string {
	t.Helper()
	u := ServerURL(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := pgx.Connect(ctx, u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)
	schema := fmt.Sprintf("test_%d", schemas.Add(1))
	if _, err := db.Exec(ctx, "create schema "+schema); err != nil {
		t.Fatal(err)
	}
	u.RawQuery = url.Values{"search_path": {schema}, "sslmode": {"disable"}}.Encode()
	return u.String()
}

// ServerURL is that of the server's own database, for its administrator.
func ServerURL(t testing.TB) url.URL {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(debian, "initdb"))
	if len(found) == 0 {
		if os.Getenv("STANCH_CI") == "1" {
			t.Fatalf("there is no %s/initdb (Debian: postgresql), and STANCH_CI=1 wants the tests with a real server", debian)
		}
		t.Skipf("there is no %s/initdb (Debian: postgresql)", debian)
	}
	once.Do(func() { running, failure = start(filepath.Dir(found[len(found)-1]), servertest.FreePort(t)) })
	if failure != nil {
		t.Fatal(failure)
	}
	return running.url
}

func start(programs, port string) (*server, error) {
	dir, err := os.MkdirTemp("", "stanch-postgres")
	if err != nil {
		return nil, err
	}
	password, passwords := rand.Text(), filepath.Join(dir, "password")
	if err := os.WriteFile(passwords, []byte(password), 0o600); err != nil {
		return nil, err
	}
	initdb := exec.Command(filepath.Join(programs, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres",
		"-A", "scram-sha-256", "--pwfile", passwords, "--locale=C.UTF-8", "--encoding=UTF8", "--no-sync")
	if err := asPostgres(initdb, dir, passwords); err != nil {
		return nil, err
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", initdb, err, out)
	}
	cmd := exec.Command("/bin/sh", "-c", supervise, "sh", filepath.Join(programs, "postgres"), dir, port)
	cmd.Dir = dir
	if err := asPostgres(cmd); err != nil {
		return nil, err
	}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{pipe: pipe, url: url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", password), Host: "127.0.0.1:" + port, Path: "/postgres", RawQuery: "sslmode=disable",
	}}
	return s, s.await(filepath.Join(dir, "log"))
}

// await waits until the server answers.
func (s *server) await(log string) (err error) {
	for deadline := time.Now().Add(servertest.Patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var db *pgx.Conn
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if db, err = pgx.Connect(ctx, s.url.String()); err == nil {
			err = db.Close(ctx)
			cancel()
			return err
		}
		cancel()
	}
	said, _ := os.ReadFile(log)
	return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, said)
}

// asPostgres makes a command run as Debian's user of that name when the test is root,
// which the server refuses to be.
func asPostgres(cmd *exec.Cmd, owned ...string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	for _, path := range owned {
		if err := os.Chown(path, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

// Everything is all rows of all tables of a database, as text.
func Everything(t testing.TB, database string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)
	var all string
	if err := db.QueryRow(ctx, `select string_agg(query_to_xml(format('select * from %I', relname), true, false, '')::text, '')
		from pg_class where relkind = 'r' and relnamespace = current_schema()::regnamespace`).Scan(&all); err != nil {
		t.Fatal(err)
	}
	return []byte(all)
}
