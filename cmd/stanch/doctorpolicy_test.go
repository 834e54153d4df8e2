package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/secretstore/kubetest"
	"github.com/stanch-dev/stanch/app/store"
)

// TestPolicies prints what each door needs: every line says for what.
func TestPolicies(t *testing.T) {
	var s settings
	for _, d := range doors {
		for _, p := range d.policies(s) {
			if p.Name == "" || p.Syntax == "" || len(p.Lines) == 0 {
				t.Errorf("%s: %+v", d.name, p)
			}
			for _, l := range p.Lines {
				if strings.TrimSpace(l.Grant) == "" || l.For == "" {
					t.Errorf("%s: a line without a grant, or without what it is for: %+v", d.name, l)
				}
			}
		}
		var out bytes.Buffer
		if err := printPolicies(&out, s, d.name); err != nil || !strings.Contains(out.String(), grantOf(d.policies(s)[0])) {
			t.Errorf("%s: %v, %q", d.name, err, out.String())
		}
	}
	var none, all bytes.Buffer
	if err := printPolicies(&none, s, ""); err == nil || !strings.Contains(err.Error(), "--policy=all") || none.Len() > 0 {
		t.Errorf("nothing is switched on: %v, %q", err, none.String())
	}
	if err := printPolicies(&none, s, "nowhere"); err == nil || !strings.Contains(err.Error(), "aws-secrets") {
		t.Errorf("an unknown name: %v", err)
	}
	if err := printPolicies(&all, s, allDoors); err != nil {
		t.Fatal(err)
	}
	for _, d := range doors {
		if !strings.Contains(all.String(), grantOf(d.policies(s)[0])) {
			t.Errorf("%s is not among all", d.name)
		}
	}
}

// grantOf is what a policy grants first, without the bracket before which AWS has an id.
func grantOf(p grants.Policy) string { return strings.TrimPrefix(p.Lines[0].Grant, "{") }

// printed is what stanch doctor --policy=NAME prints in an environment.
func printed(t *testing.T, name string, environment map[string]string) string {
	t.Helper()
	var out, errs strings.Builder
	code := run(t.Context(), []string{"doctor", "--policy=" + name}, strings.NewReader(""), &out, &errs, func(v string) string { return environment[v] })
	if code != exitDone || errs.Len() > 0 {
		t.Fatalf("status %d: %s", code, errs.String())
	}
	return out.String()
}

// What is printed for Vault can be written into a real server as it is, and a server of
// Stanch with nothing else finds a leaked token there, replaces it and proves it dead.
func TestPrintedVaultPolicyIsEnough(t *testing.T) {
	v := newVault(t)
	v.must(t, printed(t, "vault", nil), "policy", "write", "everything", "-")
	if all := v.must(t, "", "policy", "read", "everything"); !strings.Contains(all, "pki/revoke-with-key") || !strings.Contains(all, "aws/static-roles/") ||
		!strings.Contains(all, "transit/verify/") || !strings.Contains(all, "ssh/issuers/import/") || !strings.Contains(all, "sys/audit-hash/file") {
		t.Errorf("without an environment: %s", all)
	}
	w := newServeWorld(t, func(w *serveWorld, keys store.Keys) {
		withVaultToken(w, v, keys)
		policy := printed(t, "vault", map[string]string{"VAULT_ADDR": v.addr, "STANCH_VAULT_MOUNTS": "secret/", "STANCH_VAULT_ISSUE_ROLE": "stanch-issue"})
		if strings.Contains(policy, "pki") || strings.Contains(policy, "database") {
			t.Errorf("more than the environment asks for:\n%s", policy)
		}
		v.must(t, policy, "policy", "write", "printed", "-")
		own := v.must(t, "", "token", "create", "-orphan", "-no-default-policy", "-policy=printed", "-period=1h", "-field=token")
		w.keepInVault(v, own, keys, "token")
		w.env = append(w.env, "STANCH_VAULT_ISSUE_ROLE=stanch-issue")
	})
	w.push()
	w.finish(func() error {
		if now := w.stored(); now == w.leaked || !v.live(t, now) || v.live(t, w.leaked) {
			return fmt.Errorf("not rotated")
		}
		meta, err := v.run(t.Context(), "", "kv", "metadata", "get", "-format=json", "secret/ci/vault")
		if err == nil && !strings.Contains(strings.Join(strings.Fields(meta), ""), `"destroyed":true`) {
			err = fmt.Errorf("no version is destroyed: %s", meta)
		}
		return err
	})
}

// What is printed for Kubernetes is a role, and restarts are in it only if they are asked
// for.
func TestPrintedKubernetesRole(t *testing.T) {
	for text, restart := range map[string]bool{"true": true, "": false} {
		var role struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string `yaml:"kind"`
			Metadata   struct{ Name string }
			Rules      []kubetest.Rule `yaml:"rules"`
		}
		if err := yaml.Unmarshal([]byte(printed(t, "kubernetes", map[string]string{"STANCH_KUBERNETES_RESTART": text})), &role); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(kubetest.RulesOf(t, secretstore.KubernetesPolicy(restart)), role.Rules); diff != "" ||
			role.APIVersion != "rbac.authorization.k8s.io/v1" || role.Kind != "ClusterRole" || role.Metadata.Name == "" {
			t.Errorf("restart %t: %+v (-policy +printed):\n%s", restart, role, diff)
		}
	}
}

// What is printed for AWS are documents of policies whose statements have ids of their own.
func TestPrintedAWSPolicies(t *testing.T) {
	text := printed(t, "aws", map[string]string{"STANCH_AWS": "on", "STANCH_AWS_ROLE": "stanch"}) + printed(t, "aws-secrets", nil)
	documents := json.NewDecoder(strings.NewReader(text))
	for n := range 3 {
		var document struct {
			Version   string
			Statement []struct {
				Sid, Effect string
				Resource    any
			}
		}
		if err := documents.Decode(&document); err != nil || document.Version != "2012-10-17" || len(document.Statement) == 0 {
			t.Fatalf("document %d: %v\n%s", n, err, text)
		}
		ids := map[string]bool{}
		for _, s := range document.Statement {
			ids[s.Sid] = true
			if places, list := s.Resource.([]any); s.Effect != "Allow" || list && len(places) == 0 {
				t.Errorf("%+v", s)
			}
		}
		if ids[""] || len(ids) != len(document.Statement) {
			t.Errorf("ids %v of %d statements", ids, len(document.Statement))
		}
	}
}

// What is printed for GitHub are the permissions that the settings ask for.
func TestPrintedGitHubPermissions(t *testing.T) {
	environment := map[string]string{"STANCH_GITHUB_APP_ID": "7"}
	if text := printed(t, "github", environment); !strings.Contains(text, "checks: write\n") || !strings.Contains(text, "event: push\n") || strings.Contains(text, "administration") {
		t.Error(text)
	}
	environment["STANCH_GITHUB_COPIES"] = "acme:actions:NPM_TOKEN=file:npm#token,acme=nothing"
	environment["STANCH_GITHUB_DEPLOY_KEYS"] = "acme/shop"
	text := printed(t, "github", environment)
	if !strings.Contains(text, "# copy to acme:actions:NPM_TOKEN\norganization_secrets: write\n") || !strings.Contains(text, "administration: write\n") || strings.Contains(text, "dependabot") {
		t.Error(text)
	}
}
