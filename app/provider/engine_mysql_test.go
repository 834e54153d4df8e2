package provider

import (
	"context"
	"database/sql"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// The names of MariaDB's users are cut short before the time, and its connections are
// written in another way than PostgreSQL's.
func TestEngineMySQL(t *testing.T) {
	tls := servertest.NewAuthority(t)
	port := servertest.MariaDB(t, tls)
	b := baotest.Start(t)
	vaultAdmin(t, "127.0.0.1:"+port)
	b.Must("POST", "sys/mounts/database", map[string]any{"type": "database"})
	b.Must("POST", "database/config/orders", map[string]any{
		"plugin_name": "mysql-database-plugin", "allowed_roles": "*", "username": "vaultroot", "password": vaultrootPassword,
		"connection_url": "{{username}}:{{password}}@tcp(localhost:" + port + ")/",
	})
	b.Must("POST", "database/static-roles/shop", map[string]any{"db_name": "orders", "username": "shop", "rotation_period": "24h"})
	b.Must("POST", "database/roles/reader", map[string]any{"db_name": "orders", "default_ttl": "1h",
		"creation_statements": []string{"CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'"}})
	p := holding(t, b, written(VaultDatabasePolicy("database")), Config{
		VaultDatabaseMounts: []string{"database"}, VerifyHosts: []string{"localhost:" + port}, VerifyRoots: tls.Roots})
	link := func(user, password any) checks.Credential {
		return parts("mysql-url", map[string]string{"user": user.(string), checks.PartSecret: escapeInURL(password.(string)), "host": "localhost:" + port})
	}
	t.Run("static role", func(t *testing.T) {
		leaked := aimAt(t, p, link("shop", b.Must("GET", "database/static-creds/shop", nil)["password"]))
		fresh, err := p.Issue(t.Context(), prepared(t, p, leaked, "op"))
		if err != nil {
			t.Fatal(err)
		}
		ask(t, p, fresh, checks.Active, GradeA)
		ask(t, p, leaked.Credential, checks.Inactive, GradeB)
		wantRevoked(t, p, leaked, rules.MeansAlreadyDead, "")
	})
	t.Run("lease", func(t *testing.T) {
		creds := b.Must("GET", "database/creds/reader", nil)
		leaked := aimAt(t, p, link(creds["username"], creds["password"]))
		wantRevoked(t, p, leaked, rules.MeansRevoked, "")
		ask(t, p, leaked.Credential, checks.Inactive, GradeB)
		wantRevoked(t, p, leaked, rules.MeansAlreadyDead, "")
		// Of one that nobody saw live here a refusal says nothing.
		if _, err := p.Revoke(t.Context(), Target{Credential: leaked.Credential}); err == nil {
			t.Error("a password that may work from elsewhere is taken for dead")
		}
	})
	t.Run("root", func(t *testing.T) {
		leaked := aimAt(t, p, link("vaultroot", vaultrootPassword))
		wantRevoked(t, p, leaked, rules.MeansRevoked, "nobody but Vault knows")
		ask(t, p, leaked.Credential, checks.Inactive, GradeB)
	})
}

// vaultAdmin makes the user that the engine logs in as.
func vaultAdmin(t *testing.T, address string) {
	t.Helper()
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr = "root", "tcp", address
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	for _, statement := range []string{
		"CREATE USER vaultroot IDENTIFIED BY '" + vaultrootPassword + "'", "GRANT ALL ON *.* TO vaultroot WITH GRANT OPTION",
	} {
		if _, err := db.ExecContext(context.Background(), statement); err != nil {
			t.Fatal(err)
		}
	}
}
