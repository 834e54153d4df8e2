package main

import "github.com/stanch-dev/stanch/app/provider"

// A VaultEngines is the part of the settings that says where Vault's engines are mounted
// that leaked credentials may come from.
type VaultEngines struct {
	VaultAppRoleMounts  []string `env:"STANCH_VAULT_APPROLE_MOUNTS" help:"where AppRole is mounted in Vault; default: approle"`
	VaultDatabaseMounts []string `env:"STANCH_VAULT_DATABASE_MOUNTS" help:"database engines of Vault, which then are asked whether they keep a leaked password of a database, and replace it"`
}

func (e VaultEngines) tell(cfg *provider.Config) {
	cfg.VaultAppRoleMounts, cfg.VaultDatabaseMounts = e.VaultAppRoleMounts, e.VaultDatabaseMounts
}

func (e VaultEngines) any() bool { return len(e.VaultAppRoleMounts)+len(e.VaultDatabaseMounts) > 0 }
