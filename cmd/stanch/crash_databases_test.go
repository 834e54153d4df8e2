package main

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/provider/servertest"
)

const (
	crashAdminPassword = "ofThe4dministrator"
	crashLeaked        = "ofTheLe4kedUser"
)

// A crashDatabase is a real server of databases, at which Stanch has a login with what
// docs/databases.md grants it, and whose users leak.
type crashDatabase struct {
	scheme, rule string
	addr         string
	asURL        bool // stores keep the URL, not the user and the password each by itself
	n            *atomic.Int64
	engine       databaseServer
}

// A databaseServer is what the tests do at one.
type databaseServer interface {
	// create makes a user with the leaked password.
	create(user string) error
	logsIn(user, password string) bool
	// passwords counts those of the user, and of whoever acts in his name, that log in.
	passwords(user string) (int, error)
}

func (k crashDatabase) begin(t *testing.T) crashCase {
	c := &databaseUser{crashDatabase: k, user: fmt.Sprintf("job%d", k.n.Add(1)), password: crashLeaked}
	c.login = c.user
	if err := k.engine.create(c.user); err != nil {
		t.Fatal(err)
	}
	return c
}

type databaseUser struct {
	crashDatabase
	user            string // who acts, whoever logs in
	login, password string // which leak
	seen            string // the address by which Stanch knows the server
}

func (c *databaseUser) link(addr string) string {
	u := url.URL{Scheme: c.scheme, User: url.UserPassword(c.login, c.password), Host: addr, Path: "/" + crashDatabaseName}
	return u.String()
}

// crashDatabaseName is the database that all users use.
const crashDatabaseName = "orders"

func (c *databaseUser) stored() map[string]string {
	if c.asURL {
		return map[string]string{"url": c.link(c.addr), "note": "of the nightly job"}
	}
	return map[string]string{"username": c.login, "password": c.password, "database": c.user, "host": c.addr}
}

func (c *databaseUser) rule() string      { return c.crashDatabase.rule }
func (c *databaseUser) secret() string    { return c.password }
func (c *databaseUser) leak() string      { return "DATABASE_URL=" + c.link(c.seen) }
func (c *databaseUser) leakedWorks() bool { return c.engine.logsIn(c.login, c.password) }

// works asks that what is not of the credential is as it was, too.
func (c *databaseUser) works(fields map[string]string) bool {
	login, password := c.read(fields)
	return c.engine.logsIn(login, password)
}

// read takes apart what a store holds.
func (c *databaseUser) read(fields map[string]string) (login, password string) {
	if !c.asURL {
		if fields["database"] != c.user {
			return "", ""
		}
		return fields["username"], fields["password"]
	}
	u, err := url.Parse(fields["url"])
	if err != nil || u.User == nil || u.Host != c.addr || u.Path != "/"+crashDatabaseName {
		return "", ""
	}
	password, _ = u.User.Password()
	return u.User.Username(), password
}

func (c *databaseUser) live() int {
	n, err := c.engine.passwords(c.user)
	if err != nil {
		return -1
	}
	return n
}

func (c *databaseUser) env(via func(string) string) []string {
	c.seen = via(c.addr)
	admin := url.URL{Scheme: c.scheme, User: url.UserPassword("stanch", crashAdminPassword), Host: c.seen}
	if c.scheme == "postgres" {
		admin.Path = "/" + crashDatabaseName
	}
	return []string{"STANCH_VERIFY_HOSTS=insecure://" + c.seen + ",insecure://" + c.addr, "STANCH_ADMIN_URLS=" + admin.String()}
}

// newCrashDatabases starts the servers of some products, or all, and returns kinds of
// them by their names.
func newCrashDatabases(t *testing.T, products ...string) map[string]crashKind {
	tls := servertest.NewAuthority(t)
	kinds := map[string]crashKind{}
	users := &atomic.Int64{} // of all servers: one name at two of them would be one user's, at the same server perhaps
	for _, d := range []struct {
		name, scheme, rule string
		start              func(*testing.T, servertest.Authority) (string, databaseServer)
	}{
		{"PostgreSQL user", "postgres", "postgres-url", startCrashPostgres},
		{"MariaDB user", "mysql", "mysql-url", startCrashMariaDB},
		{"MySQL user", "mysql", "mysql-url", startCrashMySQL},
		{"Redis user", "redis", "redis-url", startCrashRedis},
		{"MongoDB user", "mongodb", "mongodb-url", startCrashMongoDB},
	} {
		product, _, _ := strings.Cut(d.name, " ")
		if len(products) > 0 && !slices.Contains(products, product) || product == "MySQL" && !servertest.WantsMySQL() {
			continue
		}
		addr, engine := d.start(t, tls)
		k := crashDatabase{scheme: d.scheme, rule: d.rule, addr: addr, n: users, engine: engine}
		kinds[d.name] = k
		k.asURL = true
		kinds[d.name+" in a URL"] = k
	}
	return kinds
}

// required are the lines of a policy that are not optional.
func required(p grants.Policy) (lines []string) {
	for _, line := range p.Lines {
		if !line.Optional {
			lines = append(lines, line.Grant)
		}
	}
	return lines
}

// crashPostgres is a PostgreSQL server.
type crashPostgres struct{ addr string }

func startCrashPostgres(t *testing.T, tls servertest.Authority) (string, databaseServer) {
	s := crashPostgres{"127.0.0.1:" + servertest.Postgres(t, tls)}
	made := []string{"CREATE ROLE stanch LOGIN PASSWORD '" + crashAdminPassword + "'"}
	for _, statement := range append(made, required(provider.PostgresPolicy())...) {
		if err := s.do(statement); err != nil {
			t.Fatal(err)
		}
	}
	return s.addr, s
}

func (s crashPostgres) connect(ctx context.Context, user, password string) (*pgx.Conn, error) {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: s.addr, Path: "/" + crashDatabaseName, RawQuery: "sslmode=disable"}
	return pgx.Connect(ctx, u.String())
}

func (s crashPostgres) do(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := s.connect(ctx, "postgres", servertest.AdminPassword)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

func (s crashPostgres) create(user string) error {
	if err := s.do("CREATE ROLE " + user + " LOGIN PASSWORD '" + crashLeaked + "'"); err != nil {
		return err
	}
	// Needed from version 16 on; before, it is more than is needed.
	return s.do("GRANT " + user + " TO stanch WITH ADMIN OPTION")
}

func (s crashPostgres) logsIn(user, password string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := s.connect(ctx, user, password)
	if err != nil {
		return false
	}
	return conn.Close(ctx) == nil
}

func (s crashPostgres) passwords(user string) (n int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := s.connect(ctx, "postgres", servertest.AdminPassword)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, `SELECT count(*) FROM pg_authid WHERE (rolname = $1 OR rolname LIKE $1 || '\_%') AND rolcanlogin AND rolpassword IS NOT NULL`, user).Scan(&n)
	return n, err
}

// crashMariaDB is a MariaDB server.
type crashMariaDB struct{ addr string }

func startCrashMariaDB(t *testing.T, tls servertest.Authority) (string, databaseServer) {
	s := crashMariaDB{"127.0.0.1:" + servertest.MariaDB(t, tls)}
	s.grant(t, provider.MariaDBPolicy())
	return s.addr, s
}

// grant makes Stanch's own login.
func (s crashMariaDB) grant(t *testing.T, policy grants.Policy) {
	made := []string{"CREATE USER stanch IDENTIFIED BY '" + crashAdminPassword + "'"}
	for _, statement := range append(made, required(policy)...) {
		if err := s.do(statement); err != nil {
			t.Fatal(err)
		}
	}
}

func (s crashMariaDB) open(user, password, database string) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.DBName, cfg.Timeout = user, password, "tcp", s.addr, database, 10*time.Second
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func (s crashMariaDB) do(statement string) error {
	db, err := s.open("boss", servertest.AdminPassword, "")
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(statement)
	return err
}

func (s crashMariaDB) create(user string) error {
	if err := s.do("CREATE USER " + user + " IDENTIFIED BY '" + crashLeaked + "'"); err != nil {
		return err
	}
	return s.do("GRANT SELECT ON " + crashDatabaseName + ".* TO " + user)
}

func (s crashMariaDB) logsIn(user, password string) bool {
	db, err := s.open(user, password, crashDatabaseName)
	if err != nil {
		return false
	}
	defer db.Close()
	return db.Ping() == nil
}

// passwords counts the hashes of an account: each would do.
func (s crashMariaDB) passwords(user string) (n int, err error) {
	db, err := s.open("boss", servertest.AdminPassword, "mysql")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	var private string
	err = db.QueryRow("SELECT Priv FROM mysql.global_priv WHERE User = ?", user).Scan(&private)
	return strings.Count(private, `"*`), err
}

// crashMySQL is a MySQL server, spoken to like MariaDB.
type crashMySQL struct{ crashMariaDB }

func startCrashMySQL(t *testing.T, _ servertest.Authority) (string, databaseServer) {
	s := crashMySQL{crashMariaDB{"127.0.0.1:" + servertest.MySQL(t)}}
	s.grant(t, provider.MySQLPolicy())
	return s.addr, s
}

// passwords counts an account's own and the retained one, if that is another.
func (s crashMySQL) passwords(user string) (n int, err error) {
	db, err := s.open("boss", servertest.AdminPassword, "mysql")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRow("SELECT 1 + IFNULL(User_attributes->>'$.additional_password' <> authentication_string, 0) FROM mysql.user WHERE User = ?", user).Scan(&n)
	return n, err
}

// crashRedis is a Redis server whose users are in a file.
type crashRedis struct{ addr string }

func startCrashRedis(t *testing.T, _ servertest.Authority) (string, databaseServer) {
	dir, port := servertest.Scratch(t), servertest.FreePort(t)
	users, s := filepath.Join(dir, "users.acl"), crashRedis{"127.0.0.1:" + port}
	text := "user default off\nuser boss on >" + servertest.AdminPassword + " ~* &* +@all\nuser stanch on >" + crashAdminPassword + "\n"
	if err := os.WriteFile(users, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(servertest.Program(t, "redis-server", "redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir, "--aclfile", users)
	servertest.Start(t, cmd, func() bool { return s.logsIn("boss", servertest.AdminPassword) })
	for _, line := range required(provider.RedisPolicy()) {
		if _, err := s.do(line); err != nil {
			t.Fatal(err)
		}
	}
	return s.addr, s
}

// say has one user say commands, and reads the answers to the end.
func (s crashRedis) say(user, password, command string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.addr, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "AUTH %s %s\r\n%s\r\nQUIT\r\n", user, password, command); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	said, err := r.ReadString('\n')
	if err != nil || said != "+OK\r\n" {
		return "", fmt.Errorf("%s does not log in: %s%w", user, said, err)
	}
	rest, err := io.ReadAll(r)
	if err == nil && strings.HasPrefix(string(rest), "-") {
		err = fmt.Errorf("%s: %s", command, rest)
	}
	return string(rest), err
}

func (s crashRedis) do(command string) (string, error) {
	return s.say("boss", servertest.AdminPassword, command)
}

func (s crashRedis) create(user string) error {
	_, err := s.do("ACL SETUSER " + user + " on >" + crashLeaked + " ~* +ping +acl|whoami")
	return err
}

func (s crashRedis) logsIn(user, password string) bool {
	_, err := s.say(user, password, "PING")
	return err == nil
}

// passwords counts the hashes of a user: each would do.
func (s crashRedis) passwords(user string) (int, error) {
	all, err := s.do("ACL LIST")
	for line := range strings.Lines(all) {
		if strings.HasPrefix(line, "user "+user+" ") {
			return strings.Count(line, " #"), err
		}
	}
	return 0, err
}
