package main

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/stanch-dev/stanch/app/provider/servertest"
)

// newVaultEngines returns kinds of what other engines than the tokens' give out, by their
// names.
func newVaultEngines(t *testing.T, v *crashVault) map[string]crashKind {
	_, database := startCrashPostgres(t, servertest.NewAuthority(t))
	v.Must("POST", "sys/mounts/database", map[string]any{"type": "database"})
	v.Must("POST", "database/config/orders", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": "postgres", "password": servertest.AdminPassword,
		"connection_url": "postgresql://{{username}}:{{password}}@" + database.(crashPostgres).addr + "/" + crashDatabaseName + "?sslmode=disable",
	})
	v.Must("POST", "sys/mounts/transit", map[string]any{"type": "transit"})
	return map[string]crashKind{transitKeyName: transitKeys{v}, sshAuthorityName: sshKeys{v}, "AppRole secret id": secretIDs{v}, "Vault database static role": staticRoles{v, database.(crashPostgres)}, "TLS key of Vault PKI": tlsKeys{v}}
}

// secretIDs are of AppRole.
type secretIDs struct{ *crashVault }

func (k secretIDs) begin(t *testing.T) crashCase {
	c := &secretID{vault: k.crashVault, mount: fmt.Sprintf("approle%d", k.n.Add(1))} // of its own: no other case's roles are asked
	k.Must("POST", "sys/auth/"+c.mount, map[string]any{"type": "approle"})
	t.Cleanup(func() { k.Do(k.Root, "DELETE", "sys/auth/"+c.mount, nil) })
	c.path = "auth/" + c.mount + "/role/job"
	k.Must("POST", c.path, map[string]any{"secret_id_ttl": "1h", "token_ttl": "10m"})
	c.role, _ = k.Must("GET", c.path+"/role-id", nil)["role_id"].(string)
	c.id, _ = k.Must("POST", c.path+"/secret-id", nil)["secret_id"].(string)
	return c
}

type secretID struct {
	vault                 *crashVault
	mount, path, role, id string
}

func (c *secretID) stored() map[string]string {
	return map[string]string{"role_id": c.role, "secret_id": c.id}
}
func (c *secretID) rule() string      { return "vault-approle-secret-id" }
func (c *secretID) secret() string    { return c.id }
func (c *secretID) leak() string      { return "VAULT_SECRET_ID=" + c.id }
func (c *secretID) leakedWorks() bool { return c.known(c.id) }

func (c *secretID) works(fields map[string]string) bool {
	return fields["role_id"] == c.role && c.known(fields["secret_id"])
}

// known asks the role, as a login would make a token each time.
func (c *secretID) known(id string) bool {
	status, _ := c.vault.Do(c.vault.Root, "POST", c.path+"/secret-id/lookup", map[string]any{"secret_id": id})
	return status == http.StatusOK
}

func (c *secretID) live() int {
	_, data := c.vault.Do(c.vault.Root, "LIST", c.path+"/secret-id", nil)
	keys, _ := data["keys"].([]any)
	return len(keys)
}

func (c *secretID) env(via func(string) string) []string {
	return append(c.vault.env(via), "STANCH_VAULT_APPROLE_MOUNTS="+c.mount)
}

// staticRoles are users of a database whose passwords Vault rotates.
type staticRoles struct {
	*crashVault
	database crashPostgres
}

func (k staticRoles) begin(t *testing.T) crashCase {
	c := &staticRole{staticRoles: k, user: fmt.Sprintf("job%d", k.n.Add(1))}
	if err := k.database.create(c.user); err != nil {
		t.Fatal(err)
	}
	role := "database/static-roles/" + c.user
	k.Must("POST", role, map[string]any{"db_name": "orders", "username": c.user, "rotation_period": "24h"})
	t.Cleanup(func() { k.Do(k.Root, "DELETE", role, nil) }) // or all would be asked
	c.leaked = c.password()
	return c
}

type staticRole struct {
	staticRoles
	user, leaked string
	seen         string // the address by which Stanch knows the database
}

// password is the one that the role has now.
func (c *staticRole) password() string {
	_, given := c.Do(c.Root, "GET", "database/static-creds/"+c.user, nil) // refused while it is rotated
	password, _ := given["password"].(string)
	return password
}

func (c *staticRole) stored() map[string]string {
	return map[string]string{"user": c.user, "password": c.leaked}
}
func (c *staticRole) rule() string      { return "postgres-url" }
func (c *staticRole) secret() string    { return c.leaked }
func (c *staticRole) leakedWorks() bool { return c.database.logsIn(c.user, c.leaked) }

func (c *staticRole) leak() string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(c.user, c.leaked), Host: c.seen, Path: "/" + crashDatabaseName}
	return "DATABASE_URL=" + u.String()
}

func (c *staticRole) works(fields map[string]string) bool {
	return fields["user"] == c.user && fields["password"] == c.password() && c.database.logsIn(c.user, fields["password"])
}

// live is one: the user has one password.
func (c *staticRole) live() int {
	if c.leakedWorks() && c.leaked != c.password() {
		return 2 // somebody set it behind Vault's back
	}
	return 1
}

func (*staticRole) gap() string { return "the user has one password" }

func (c *staticRole) env(via func(string) string) []string {
	c.seen = via(c.database.addr)
	return append(c.crashVault.env(via), "STANCH_VERIFY_HOSTS=insecure://"+c.seen, "STANCH_VAULT_DATABASE_MOUNTS=database")
}
