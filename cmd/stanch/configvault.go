package main

import "github.com/stanch-dev/stanch/app/provider"

// A VaultEngines is the part of the settings that says where Vault's engines are mounted
// that leaked credentials may come from.
type VaultEngines struct {
	VaultAppRoleMounts []string `env:"STANCH_VAULT_APPROLE_MOUNTS" help:"where AppRole is mounted in Vault; default: approle"`
}

func (e VaultEngines) tell(cfg *provider.Config) {
	cfg.VaultAppRoleMounts = e.VaultAppRoleMounts
}
