package servertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const debianPostgres = "/usr/lib/postgresql/*/bin"

// The passwords of the servers' administrators, "postgres" and "boss", and of users there.
const (
	AdminPassword = "Admin0fThisTest"
	ShopPassword  = "p@ss/w0rd of shop"

	ShutPassword, OldPassword, ElsewherePassword = "changeme-shut", "changeme-old", "changeme-elsewhere"
)

// Postgres starts a real server and returns its port.
func Postgres(t *testing.T, tls Authority) (port string) {
	t.Helper()
	initdb := Program(t, "initdb", "postgresql", debianPostgres)
	server, psql := filepath.Join(filepath.Dir(initdb), "postgres"), Program(t, "psql", "postgresql-client")
	dir := Scratch(t)
	data, passwords := filepath.Join(dir, "data"), filepath.Join(dir, "password")
	if err := os.WriteFile(passwords, []byte(AdminPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", passwords, "--locale=C", "-N")
	RunAs(t, "postgres", cmd, dir, passwords)
	Run(t, cmd)
	access := "host all open all trust\nhost all outside all reject\nhost all all all scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(access), 0o600); err != nil {
		t.Fatal(err)
	}
	port = FreePort(t)
	cmd = exec.Command(server, "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", dir,
		"-c", "ssl=on", "-c", "ssl_cert_file="+tls.CertFile, "-c", "ssl_key_file="+tls.KeyFile)
	RunAs(t, "postgres", cmd, tls.CertFile, tls.KeyFile, filepath.Dir(tls.KeyFile))
	sql := func(text string) *exec.Cmd {
		c := exec.Command(psql, "-v", "ON_ERROR_STOP=1", "-qAt", "-c", text)
		c.Env = append(os.Environ(), "PGHOST=127.0.0.1", "PGPORT="+port, "PGUSER=postgres", "PGPASSWORD="+AdminPassword, "PGDATABASE=postgres")
		return c
	}
	Start(t, cmd, func() bool { return sql("SELECT 1").Run() == nil })
	for _, statement := range []string{
		"CREATE DATABASE orders", "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
		"CREATE ROLE shop LOGIN CREATEDB PASSWORD '" + ShopPassword + "'",
		"CREATE ROLE open LOGIN PASSWORD '" + ShutPassword + "'", "CREATE ROLE outside LOGIN PASSWORD '" + ElsewherePassword + "'",
		"CREATE ROLE shut NOLOGIN PASSWORD '" + ShutPassword + "'", "CREATE ROLE old LOGIN PASSWORD '" + OldPassword + "' VALID UNTIL '2001-01-01'",
	} {
		Run(t, sql(statement))
	}
	return port
}

// MariaDB starts a real server and returns its port.
func MariaDB(t *testing.T, tls Authority) (port string) {
	t.Helper()
	server := Program(t, "mariadbd", "mariadb-server", "/usr/sbin")
	install := Program(t, "mariadb-install-db", "mariadb-server")
	dir := Scratch(t)
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "socket")
	cmd := exec.Command(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	// Each server begins by deleting what others have in a folder for temporary files.
	temporary := "TMPDIR=" + dir
	RunAs(t, "mysql", cmd, dir)
	cmd.Dir, cmd.Env = dir, append(cmd.Environ(), temporary)
	Run(t, cmd)
	port = FreePort(t)
	cmd = exec.Command(server, "--no-defaults", "--datadir="+data, "--socket="+socket, "--port="+port, "--bind-address=127.0.0.1",
		"--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=8M",
		"--ssl-cert="+tls.CertFile, "--ssl-key="+tls.KeyFile)
	RunAs(t, "mysql", cmd, tls.CertFile, tls.KeyFile, filepath.Dir(tls.KeyFile))
	cmd.Dir, cmd.Env = dir, append(cmd.Environ(), temporary)
	startMySQL(t, cmd, socket)
	return port
}

// startMySQL starts a server of MariaDB's or MySQL's and makes its databases and users.
func startMySQL(t *testing.T, cmd *exec.Cmd, socket string) {
	t.Helper()
	client := Program(t, "mariadb", "mariadb-client")
	sql := func(text string) *exec.Cmd {
		return exec.Command(client, "--no-defaults", "--socket="+socket, "--user=root", "-e", text)
	}
	Start(t, cmd, func() bool { return sql("SELECT 1").Run() == nil })
	for _, statement := range []string{
		"CREATE DATABASE orders", "CREATE DATABASE staff",
		"CREATE USER boss IDENTIFIED BY '" + AdminPassword + "'", "GRANT ALL ON *.* TO boss WITH GRANT OPTION",
		"CREATE USER shop IDENTIFIED BY '" + ShopPassword + "'", "GRANT SELECT ON orders.* TO shop",
		"CREATE USER open", "GRANT SELECT ON orders.* TO open",
		"CREATE USER elsewhere@'10.9.8.7' IDENTIFIED BY '" + ElsewherePassword + "'",
		"CREATE USER shut IDENTIFIED BY '" + ShutPassword + "' ACCOUNT LOCK",
		"CREATE USER old IDENTIFIED BY '" + OldPassword + "' PASSWORD EXPIRE",
	} {
		Run(t, sql(statement))
	}
}

// mysqlHome is the variable that names the folder of a MySQL server from version 8.0.14
// on, with bin/mysqld: what is called so in PATH may be MariaDB's.
const mysqlHome = "STANCH_MYSQL"

// WantsMySQL tells whether MySQL starts a server, or has the test fail: what tries many
// kinds of servers does without it where it would be skipped.
func WantsMySQL() bool { return os.Getenv(mysqlHome) != "" || os.Getenv("STANCH_CI") == "1" }

// MySQL starts a real server and returns its port. Of older ones TLS cannot be had: they
// know only ways to agree on a key that Go has given up.
func MySQL(t *testing.T) (port string) {
	t.Helper()
	home := os.Getenv(mysqlHome)
	switch {
	case !WantsMySQL():
		t.Skipf("%s names no MySQL server", mysqlHome)
	case home == "":
		t.Fatalf("%s names no MySQL server, and STANCH_CI=1 wants the tests with a real one", mysqlHome)
	}
	dir := Scratch(t)
	socket := filepath.Join(dir, "socket")
	server := func(options ...string) *exec.Cmd {
		// Nothing that was written has to outlast the test. It may be root, since another
		// user may not reach the folder.
		options = append([]string{"--no-defaults", "--user=root", "--basedir=" + home, "--datadir=" + filepath.Join(dir, "data"), "--secure-file-priv=NULL",
			"--skip-log-bin", "--innodb-buffer-pool-size=8M", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0"}, options...)
		cmd := exec.Command(filepath.Join(home, "bin", "mysqld"), options...)
		cmd.Dir, cmd.Env = dir, append(cmd.Environ(), "TMPDIR="+dir)
		return cmd
	}
	Run(t, server("--initialize-insecure"))
	port = FreePort(t)
	startMySQL(t, server("--socket="+socket, "--pid-file="+filepath.Join(dir, "pid"), "--port="+port, "--bind-address=127.0.0.1",
		"--mysqlx=OFF", "--skip-name-resolve", "--loose-skip-ssl"), socket)
	return port
}
