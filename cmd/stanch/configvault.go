package main

import (
	"errors"

	"github.com/stanch-dev/stanch/app/provider"
)

// A VaultEngines is the part of the settings that says where Vault's engines are mounted
// that leaked credentials may come from.
type VaultEngines struct {
	VaultAppRoleMounts  []string `env:"STANCH_VAULT_APPROLE_MOUNTS" help:"where AppRole is mounted in Vault; default: approle"`
	VaultDatabaseMounts []string `env:"STANCH_VAULT_DATABASE_MOUNTS" help:"database engines of Vault, which then are asked whether they keep a leaked password of a database, and replace it"`
	VaultAWSMounts      []string `env:"STANCH_VAULT_AWS_MOUNTS" help:"AWS engines of Vault, which then are asked whether they keep a leaked access key, and replace it"`
	VaultPKIMounts      []string `env:"STANCH_VAULT_PKI_MOUNTS" help:"PKI engines of Vault, in which the certificates of leaked private keys are looked for, revoked and replaced"`
	VaultPKIRoles       []string `env:"STANCH_VAULT_PKI_ROLES" help:"roles there that certify the new keys, MOUNT/ROLE; without one the only role that can have certified the leaked one"`
	VaultSSHMounts      []string `env:"STANCH_VAULT_SSH_MOUNTS" help:"SSH engines of Vault, whose authorities are replaced and deleted when the key of one leaks"`
	SSHHosts            []string `env:"STANCH_SSH_HOSTS" help:"hosts that trust SSH authorities, which are asked whether they take a leaked one: root@web1.example.com=SHA256:…,… with the host's own fingerprint"`
	VaultTransitMounts  []string `env:"STANCH_VAULT_TRANSIT_MOUNTS" help:"transit engines of Vault, whose keys are replaced and ended when a backup of one leaks"`
	VaultAuditLog       string   `env:"STANCH_VAULT_AUDIT_LOG" help:"file of an audit device of Vault's, in which is looked who has read a leaked secret"`
	VaultAuditDevice    string   `env:"STANCH_VAULT_AUDIT_DEVICE" help:"name of that device, file: then Vault is asked who has read the leaked value"`
}

func (e VaultEngines) tell(cfg *provider.Config) {
	cfg.VaultAppRoleMounts, cfg.VaultDatabaseMounts = e.VaultAppRoleMounts, e.VaultDatabaseMounts
	cfg.VaultPKIMounts, cfg.VaultPKIRoles, cfg.VaultAWSMounts = e.VaultPKIMounts, e.VaultPKIRoles, e.VaultAWSMounts
	cfg.VaultTransitMounts, cfg.VaultSSHMounts, cfg.SSHHosts = e.VaultTransitMounts, e.VaultSSHMounts, e.SSHHosts
}

// check says what cannot be meant.
func (e VaultEngines) check(reachable bool) error {
	switch {
	case !reachable && e.any():
		return errors.New("a setting that begins with STANCH_VAULT is there: set VAULT_ADDR and VAULT_TOKEN too")
	case e.VaultAuditDevice != "" && e.VaultAuditLog == "":
		return errors.New("STANCH_VAULT_AUDIT_DEVICE is set: name its file in STANCH_VAULT_AUDIT_LOG too")
	}
	return nil
}

func (e VaultEngines) any() bool {
	return len(e.VaultAppRoleMounts)+len(e.VaultDatabaseMounts)+len(e.VaultPKIMounts)+len(e.VaultPKIRoles)+len(e.VaultAWSMounts)+len(e.VaultTransitMounts)+len(e.VaultSSHMounts)+len(e.VaultAuditLog)+len(e.VaultAuditDevice) > 0
}
