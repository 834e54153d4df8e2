package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

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
		return []grants.Policy{provider.AWSPolicy("*", s.AWSRole)}
	}},
	{"aws-secrets", func(s settings) bool { return len(s.AWSSecrets) > 0 }, func(s settings) []grants.Policy {
		return []grants.Policy{secretstore.AWSPolicy("*", s.AWSSecrets...)}
	}},
	{"postgres", func(s settings) bool { return s.administers("postgres", "postgresql") }, func(settings) []grants.Policy {
		return []grants.Policy{provider.PostgresPolicy()}
	}},
	{"mysql", func(s settings) bool { return s.administers("mysql", "mariadb") }, func(settings) []grants.Policy {
		return []grants.Policy{provider.MySQLPolicy()}
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
