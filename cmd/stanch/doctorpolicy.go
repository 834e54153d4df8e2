package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/secretstore"
)

// A door is somebody else's, behind which Stanch acts with an account of its own.
type door struct {
	name     string
	open     func(settings) bool // whether the settings have Stanch act there
	policies func(settings) []grants.Policy
}

// doors are all of them. The least that each needs is printed by stanch doctor --policy.
var doors = []door{
	{"aws", func(s settings) bool { return s.AWS == "on" }, func(s settings) []grants.Policy {
		if s.AWSRole == "" {
			return []grants.Policy{provider.AWSPolicy("*")}
		}
		return []grants.Policy{provider.AWSPolicy("*"), provider.AWSRolePolicy("*", s.AWSRole)}
	}},
	{"aws-secrets", func(s settings) bool { return len(s.AWSSecrets) > 0 }, func(s settings) []grants.Policy {
		return []grants.Policy{secretstore.AWSPolicy("*", or(s.AWSSecrets, "*")...)}
	}},
	{"github", func(s settings) bool { return s.AppID != 0 }, githubPolicies},
	{"vault", func(s settings) bool { return s.VaultAddr != "" }, vaultPolicies},
	{"kubernetes", func(s settings) bool { return s.KubernetesURL != "" }, func(s settings) []grants.Policy {
		return []grants.Policy{secretstore.KubernetesPolicy(s.KubernetesRestart)}
	}},
	{"postgres", func(s settings) bool { return s.administers("postgres", "postgresql") }, func(settings) []grants.Policy {
		return []grants.Policy{provider.PostgresPolicy()}
	}},
	{"mysql", func(s settings) bool { return s.administers("mysql", "mariadb") }, func(settings) []grants.Policy {
		return []grants.Policy{provider.MySQLPolicy(), provider.MariaDBPolicy()}
	}},
	{"redis", func(s settings) bool { return s.administers("redis", "rediss") }, func(settings) []grants.Policy {
		return []grants.Policy{provider.RedisPolicy()}
	}},
	{"mongodb", func(s settings) bool { return s.administers("mongodb") }, func(settings) []grants.Policy {
		return []grants.Policy{provider.MongoDBPolicy()}
	}},
	{"gcp", func(s settings) bool { return s.GoogleFile != "" || len(s.GCPProjects) > 0 }, func(settings) []grants.Policy {
		return []grants.Policy{provider.GoogleKeyPolicy(), provider.GoogleAPIKeyPolicy()}
	}},
	{"gcp-secrets", func(s settings) bool { return len(s.GCPProjects) > 0 }, func(settings) []grants.Policy {
		return []grants.Policy{secretstore.GCPPolicy()}
	}},
	{"azure", func(s settings) bool { return s.AzureClient != "" }, func(settings) []grants.Policy {
		return []grants.Policy{provider.AzureAppPolicy(), provider.AzureStoragePolicy()}
	}},
	{"azure-secrets", func(s settings) bool { return len(s.AzureVaults) > 0 }, func(settings) []grants.Policy {
		return []grants.Policy{secretstore.AzurePolicy()}
	}},
}

// or is what a setting lists, or else what it would be.
func or(listed []string, fallback ...string) []string {
	if len(listed) > 0 {
		return listed
	}
	return fallback
}

// vaultPolicies are what the settings have Stanch do in Vault, or, while they do not name
// one, all that it can do there, with the names of deploy/vault.
func vaultPolicies(s settings) []grants.Policy {
	if s.VaultAddr == "" {
		s.VaultIssueRole, s.VaultAuditDevice = "stanch-issue", "file"
		s.VaultDatabaseMounts, s.VaultAWSMounts = []string{"database"}, []string{"aws"}
		s.VaultPKIMounts, s.VaultTransitMounts, s.VaultSSHMounts = []string{"pki"}, []string{"transit"}, []string{"ssh"}
	}
	all := []grants.Policy{secretstore.VaultSelfPolicy()}
	add := func(mounts []string, policy func(mount string) grants.Policy) {
		for _, m := range mounts {
			all = append(all, policy(strings.Trim(m, "/")))
		}
	}
	add(or(s.VaultMounts, "secret"), secretstore.VaultPolicy)
	all = append(all, provider.VaultTokensPolicy(s.VaultIssueRole), provider.VaultAccessorsPolicy())
	add(or(s.VaultAppRoleMounts, "approle"), provider.VaultAppRolePolicy)
	add(s.VaultDatabaseMounts, provider.VaultDatabasePolicy)
	add(s.VaultAWSMounts, provider.VaultAWSPolicy)
	add(s.VaultPKIMounts, provider.VaultPKIPolicy)
	add(s.VaultSSHMounts, provider.VaultSSHPolicy)
	add(s.VaultTransitMounts, provider.VaultTransitPolicy)
	if s.VaultAuditDevice != "" {
		all = append(all, secretstore.VaultReadersPolicy(s.VaultAuditDevice))
	}
	return all
}

// githubPolicies are what the App needs for what the settings have it do, or, while there
// is none, for all that it can do. A copy that cannot be read is left out: that is said
// without --policy.
func githubPolicies(s settings) []grants.Policy {
	written, deployKeys := s.Copies, len(s.DeployKeys) > 0
	if s.AppID == 0 {
		written, deployKeys = []string{"OWNER/REPO:actions:NAME", "OWNER/REPO:dependabot:NAME", "OWNER/REPO:env/ENVIRONMENT:NAME", "ORGANISATION:actions:NAME"}, true
	}
	var names []github.SecretName
	for _, text := range written {
		to, _, _ := strings.Cut(strings.TrimSpace(text), "=")
		if name, err := github.ParseSecretName(to); err == nil {
			names = append(names, name)
		}
	}
	all := []grants.Policy{github.AppPolicy()}
	if len(names) > 0 {
		all = append(all, github.SecretPolicy(names))
	}
	if deployKeys {
		all = append(all, github.DeployKeyPolicy())
	}
	return all
}

// allDoors is the name that stands for every door.
const allDoors = "all"

// printPolicies prints what Stanch needs behind the doors of that name, or, without one,
// behind those that the settings open.
func printPolicies(w io.Writer, s settings, name string) error {
	var names []string
	printed := 0
	for _, d := range doors {
		names = append(names, d.name)
		if name != allDoors && name != d.name && (name != "" || !d.open(s)) {
			continue
		}
		for _, p := range d.policies(s) {
			if printed++; printed > 1 {
				fmt.Fprintln(w)
			}
			if err := p.Write(w); err != nil {
				return err
			}
		}
	}
	switch {
	case printed > 0:
		return nil
	case name == "" || slices.Contains(names, name):
		return fmt.Errorf("the environment has Stanch act nowhere by itself: --policy=all prints what each of %s needs", strings.Join(names, ", "))
	}
	return fmt.Errorf("--policy is %q: it must be %s or %s", name, strings.Join(names, ", "), allDoors)
}

// policyFlag is --policy, which may stand without a value.
type policyFlag struct {
	given bool
	name  string
}

func (*policyFlag) IsBoolFlag() bool { return true }
func (p *policyFlag) String() string { return p.name }

// Set takes a name, or nothing.
func (p *policyFlag) Set(name string) error {
	p.given, p.name = true, cmp.Or(name, allDoors)
	if name == "true" { // --policy alone
		p.name = ""
	}
	return nil
}
