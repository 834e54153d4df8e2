package main

import (
	"strings"
	"testing"
)

func TestVaultEnginesAreChecked(t *testing.T) {
	for name, test := range map[string]struct {
		set       VaultEngines
		reachable bool
		want      string
	}{
		"nothing":                {VaultEngines{}, false, ""},
		"all":                    {VaultEngines{VaultAppRoleMounts: []string{"a"}, VaultDatabaseMounts: []string{"d"}, VaultAuditLog: "l", VaultAuditDevice: "f"}, true, ""},
		"no server":              {VaultEngines{VaultDatabaseMounts: []string{"d"}}, false, "VAULT_ADDR and VAULT_TOKEN"},
		"a device without a log": {VaultEngines{VaultAuditDevice: "file"}, true, "STANCH_VAULT_AUDIT_LOG"},
	} {
		err := test.set.check(test.reachable)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
