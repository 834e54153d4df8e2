package provider

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
)

// written is a policy as Vault reads it.
func written(p grants.Policy) string {
	var text strings.Builder
	for _, l := range p.Lines {
		text.WriteString(l.Grant + "\n")
	}
	return text.String()
}

// holding returns providers whose own token has a policy alone.
func holding(t *testing.T, b *baotest.Server, text string, cfg Config) *Providers {
	t.Helper()
	name := "policy-" + random(t)
	b.Policy(name, text)
	cfg.VaultAddr = b.Addr
	cfg.VaultToken = checks.NewSecret(b.Token(map[string]any{"policies": []string{name}, "no_default_policy": true, "ttl": "1h"}))
	return newProviders(t, cfg)
}

var grantedPath = regexp.MustCompile(`^path "([^"]+)" \{ capabilities = \["([a-z]+)"`)

// wantMinimal checks that a policy is enough for each of its actions, and that without
// any one of its lines that line's action fails with an error that names what is
// missing. An action sets up what it needs by itself; the base is what it needs besides
// the policy.
func wantMinimal(t *testing.T, b *baotest.Server, base, policy grants.Policy, cfg Config, actions map[string]func(*testing.T, *Providers) error) {
	for name, do := range actions {
		t.Run(name, func(t *testing.T) {
			if err := do(t, holding(t, b, written(base)+written(policy), cfg)); err != nil {
				t.Errorf("with the whole policy: %v", err)
			}
		})
	}
	for n, line := range policy.Lines {
		t.Run("without "+line.Grant, func(t *testing.T) {
			m := grantedPath.FindStringSubmatch(line.Grant)
			do := actions[line.For]
			if m == nil || do == nil {
				t.Fatalf("no such line or action: %+v", line)
			}
			path := strings.NewReplacer(`\+`, `[^/\s]+`, `\*`, `\S*`).Replace(regexp.QuoteMeta(m[1]))
			named := regexp.MustCompile(`lacks "` + m[2] + `" on ` + path)
			err := do(t, holding(t, b, written(base)+written(policy.Without(n)), cfg))
			if err == nil || !named.MatchString(err.Error()) {
				t.Errorf("%v; want an error that names %s and %q", err, m[1], m[2])
			}
		})
	}
}

// The files that operators write into Vault hold exactly what the code says it needs.
func TestPoliciesAreTheDeployedOnes(t *testing.T) {
	files, err := filepath.Glob("../../deploy/vault/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	deployed := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.Join(strings.Fields(line), " "); strings.HasPrefix(line, "path ") {
				deployed[line] = true
			}
		}
	}
	for _, p := range enginePolicies() {
		var missing []string
		for _, l := range p.Lines {
			if !deployed[l.Grant] {
				missing = append(missing, l.Grant)
			}
		}
		if diff := cmp.Diff([]string(nil), missing); diff != "" {
			t.Errorf("%s: lines that no file of deploy/vault has (+):\n%s", p.Name, diff)
		}
	}
	for _, file := range []string{"stanch-tokens.hcl", "stanch-issue.hcl"} {
		if !slices.ContainsFunc(files, func(f string) bool { return filepath.Base(f) == file }) {
			t.Errorf("there is no %s", file)
		}
	}
}

func enginePolicies() []grants.Policy {
	return []grants.Policy{VaultTokensPolicy("stanch-issue"), VaultAccessorsPolicy(), VaultAppRolePolicy("approle"), VaultDatabasePolicy("database"), VaultPKIPolicy("pki"), VaultAWSPolicy("aws"), VaultTransitPolicy("transit"), VaultSSHPolicy("ssh")}
}
