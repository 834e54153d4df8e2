package secretstore

import (
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/app/grants"
)

// VaultPolicy is what Stanch must be allowed in a mount of KV version 2. It stands in
// deploy/vault/stanch.hcl.
func VaultPolicy(mount string) grants.Policy {
	line := func(action, path string, optional bool, capabilities ...string) grants.Line {
		return grants.Line{For: action, Optional: optional, Grant: fmt.Sprintf(`path "%s/%s" { capabilities = ["%s"] }`, mount, path, strings.Join(capabilities, `", "`))}
	}
	return grants.Policy{Name: "Vault KV at " + mount, Syntax: "hcl", Lines: []grants.Line{
		line("locate", "metadata/*", false, "read", "list", "patch"),
		line("put", "data/*", false, "read", "create", "update"),
		line("retire", "destroy/*", false, "update"),
		line("locate", "detailed-metadata/*", true, "list"),
	}}
}

// VaultSelfPolicy is what Stanch must be allowed with its own token, which Vault's policy
// "default" allows too. It stands in deploy/vault/stanch.hcl.
func VaultSelfPolicy() grants.Policy {
	return grants.Policy{Name: "Stanch's own token of Vault", Syntax: "hcl", Lines: []grants.Line{
		{For: "keep it alive", Grant: `path "auth/token/renew-self" { capabilities = ["update"] }`},
		{For: "stanch doctor", Optional: true, Grant: `path "sys/capabilities-self" { capabilities = ["update"] }`},
	}}
}

// VaultReadersPolicy is what it takes to find in an audit log who has read a leaked
// value, and not only who has read the secret. It stands in deploy/vault/stanch.hcl.
func VaultReadersPolicy(device string) grants.Policy {
	return grants.Policy{Name: "Vault audit device " + device, Syntax: "hcl", Lines: []grants.Line{
		{For: "readers", Grant: fmt.Sprintf(`path "sys/audit-hash/%s" { capabilities = ["update"] }`, device)},
	}}
}

// lacking is an error of the client that says what is missing in the policy of Stanch's
// own token, if that is why Vault refused. Path is the location's within its mount, and
// part what was asked of the mount: "data".
func lacking(err error, loc Location, path, part, capability string) error {
	if !denied(err) {
		return tell(err)
	}
	return fmt.Errorf("%w: the policy of Stanch's own token lacks %q on %s", tell(err), capability, strings.TrimSuffix(loc.Path, path)+part+"/"+path)
}
