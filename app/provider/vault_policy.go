package provider

import (
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/app/grants"
)

// hcl is a line of a policy of Vault or OpenBao.
func hcl(action, path string, capabilities ...string) grants.Line {
	return grants.Line{For: action, Grant: fmt.Sprintf(`path "%s" { capabilities = ["%s"] }`, path, strings.Join(capabilities, `", "`))}
}

// VaultTokensPolicy is what it takes to verify, revoke and replace leaked tokens of
// Vault, with the token role that says which policies Stanch may hand out; without one it
// replaces none. It stands in stanch.hcl and stanch-issue.hcl of deploy/vault.
func VaultTokensPolicy(role string) grants.Policy {
	p := grants.Policy{Name: "Vault tokens", Syntax: "hcl", Lines: []grants.Line{
		hcl("verify", "auth/token/lookup", "update"),
		hcl("prove dead", "auth/token/lookup-self", "read"),
		hcl("revoke", "auth/token/revoke", "update"),
	}}
	if role != "" {
		p.Lines = append(p.Lines, hcl("issue", "auth/token/create/"+role, "update"))
	}
	return p
}

// VaultAccessorsPolicy is what it takes, besides, to find out what came of a request
// for a token whose answer was lost, and which tokens a secret id of AppRole made. It
// stands in stanch-tokens.hcl.
func VaultAccessorsPolicy() grants.Policy {
	return grants.Policy{Name: "Vault tokens by accessor", Syntax: "hcl", Lines: []grants.Line{
		hcl("settle", "auth/token/accessors", "list", "sudo"),
		hcl("settle", "auth/token/lookup-accessor", "update"),
		hcl("settle", "auth/token/revoke-accessor", "update"),
	}}
}

// VaultAppRolePolicy is what it takes to verify, destroy and replace leaked secret ids
// of AppRole at a mount. It stands in stanch.hcl and stanch-approle.hcl; which tokens
// they made is found with VaultAccessorsPolicy.
func VaultAppRolePolicy(mount string) grants.Policy {
	role := "auth/" + mount + "/role"
	return grants.Policy{Name: "Vault AppRole at " + mount, Syntax: "hcl", Lines: []grants.Line{
		hcl("verify", role, "list"),
		hcl("verify", role+"/+/secret-id/lookup", "update"),
		hcl("revoke", role+"/+/secret-id/destroy", "update"),
		hcl("issue", role+"/+/custom-secret-id", "update"),
	}}
}

// VaultDatabasePolicy is what it takes to find out whether the database engine at a
// mount keeps a leaked password, and to change it there. It stands in
// stanch-database.hcl.
func VaultDatabasePolicy(mount string) grants.Policy {
	return grants.Policy{Name: "Vault database engine at " + mount, Syntax: "hcl", Lines: []grants.Line{
		hcl("rotate", mount+"/static-roles", "list"),
		hcl("rotate", mount+"/static-roles/+", "read"),
		hcl("rotate", mount+"/static-creds/+", "read"),
		hcl("rotate", mount+"/rotate-role/+", "update"),
		hcl("end lease", mount+"/roles", "list"),
		hcl("end lease", "sys/leases/lookup/"+mount+"/creds/+", "list", "sudo"),
		hcl("end lease", "sys/leases/lookup", "update"),
		hcl("end lease", "sys/leases/revoke", "update"),
		hcl("rotate root", mount+"/config", "list"),
		hcl("rotate root", mount+"/config/+", "read"),
		hcl("rotate root", mount+"/rotate-root/+", "update"),
	}}
}

// VaultAWSPolicy is what it takes to find out whether the AWS engine at a mount keeps a
// leaked access key, and to change it there. It stands in stanch-aws.hcl.
func VaultAWSPolicy(mount string) grants.Policy {
	return grants.Policy{Name: "Vault AWS engine at " + mount, Syntax: "hcl", Lines: []grants.Line{
		hcl("rotate root", mount+"/config/root", "read"),
		hcl("rotate root", mount+"/config/rotate-root", "update"),
		hcl("rotate", mount+"/static-roles", "list"),
		hcl("rotate", mount+"/static-creds/+", "read"),
		hcl("rotate", mount+"/static-roles/+", "read", "create", "update", "delete"),
		hcl("end lease", mount+"/roles", "list"),
		hcl("end lease", "sys/leases/lookup/"+mount+"/creds/+", "list", "sudo"),
		hcl("end lease", "sys/leases/lookup", "update"),
		hcl("end lease", "sys/leases/revoke", "update"),
	}}
}

// VaultPKIPolicy is what it takes to find the certificates that a PKI engine made for a
// leaked key, to revoke them, and to have a new key certified by a role. Anybody may read
// certificates and issuers. It stands in stanch-pki.hcl.
func VaultPKIPolicy(mount string) grants.Policy {
	return grants.Policy{Name: "Vault PKI at " + mount, Syntax: "hcl", Lines: []grants.Line{
		hcl("find", mount+"/certs", "list"),
		hcl("revoke", mount+"/revoke-with-key", "update"),
		hcl("issue", mount+"/roles", "list"),
		hcl("issue", mount+"/roles/+", "read"),
		hcl("issue", mount+"/sign/+", "update"),
	}}
}

// VaultTransitPolicy is what it takes to recognise a leaked key of a transit engine, and
// to have it replaced, refused and, on a person's word, destroyed. Of a key's settings it
// may change the two limits alone. It stands in stanch-transit.hcl.
func VaultTransitPolicy(mount string) grants.Policy {
	limits := grants.Line{For: "disable", Grant: fmt.Sprintf(
		`path "%s/keys/+/config" { capabilities = ["update"], allowed_parameters = { "min_decryption_version" = [], "min_encryption_version" = [] } }`, mount)}
	return grants.Policy{Name: "Vault transit at " + mount, Syntax: "hcl", Lines: []grants.Line{
		hcl("verify", mount+"/verify/+", "update"),
		hcl("verify", mount+"/keys/+", "read"),
		hcl("issue", mount+"/keys/+/rotate", "update"),
		limits,
		hcl("trim", mount+"/keys/+/trim", "update"),
	}}
}

// VaultSSHPolicy is what it takes to recognise the leaked key of an SSH engine, to have
// another one made there, and to delete it. Nothing in it lets Stanch sign. It stands in
// stanch-ssh.hcl.
func VaultSSHPolicy(mount string) grants.Policy {
	return grants.Policy{Name: "Vault SSH at " + mount, Syntax: "hcl", Lines: []grants.Line{
		hcl("verify", mount+"/issuers", "list"),
		{For: "issue", Grant: fmt.Sprintf(`path "%s/issuers/import/+" { capabilities = ["update"], denied_parameters = { "private_key" = [] } }`, mount)},
		hcl("revoke", mount+"/roles", "list"),
		hcl("revoke", mount+"/issuer/+", "delete"),
	}}
}
