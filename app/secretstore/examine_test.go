package secretstore

import (
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
)

func TestVaultExamine(t *testing.T) {
	b := baotest.Start(t)
	v := asStanch(t, b, VaultConfig{})
	if _, err := putOne(t.Context(), v, Location{Path: "secret/team/deploy", Field: "f"}, fresh(), "op"); err != nil {
		t.Fatal(err)
	}
	e, err := v.Examine(t.Context())
	if err != nil || len(e.Lacks) > 0 || e.Unasked || strings.Join(e.Mounts, " ") != "secret" || strings.Join(e.Policies, " ") != "stanch" || e.Ends == 0 {
		t.Errorf("with the policy of deploy/vault: %+v, %v", e, err)
	}

	as := func(policy string) (Examination, error) {
		b.Policy("less", policy)
		own := b.Token(map[string]any{"policies": []string{"less"}, "no_default_policy": true})
		return openVault(t, VaultConfig{Addr: b.Addr, Token: checks.NewSecret(own), Key: testKey}).Examine(t.Context())
	}
	const asking = `path "sys/capabilities-self" { capabilities = ["update"] }
		path "auth/token/lookup-self" { capabilities = ["read"] }
		path "auth/token/lookup" { capabilities = ["update"] }
		path "auth/token/revoke" { capabilities = ["update"] }
		path "secret/metadata/*" { capabilities = ["read", "list", "patch"] }
		path "secret/detailed-metadata/*" { capabilities = ["list"] }
		path "secret/destroy/*" { capabilities = ["update"] }
		`
	e, err = as(asking + `path "secret/data/team/*" { capabilities = ["read", "create", "update"] }`)
	if err != nil || len(e.Lacks) > 0 {
		t.Errorf("by folder: %+v, %v", e, err)
	}
	e, err = as(asking + `path "secret/data/*" { capabilities = ["read"] }`)
	if err != nil || len(e.Lacks) != 1 || e.Lacks[0].Path != "secret/data/team/deploy" || e.Lacks[0].Capability != "update" || e.Lacks[0].Optional {
		t.Errorf("without update: %+v, %v", e, err)
	}
	e, err = as(strings.Replace(asking, "sys/capabilities-self", "sys/nothing", 1))
	if err != nil || !e.Unasked {
		t.Errorf("without leave to ask: %+v, %v", e, err)
	}

	root := openVault(t, VaultConfig{Addr: b.Addr, Token: checks.NewSecret(b.Root), Key: testKey})
	if e, err := root.Examine(t.Context()); err != nil || len(e.Lacks) > 0 || e.Ends != 0 {
		t.Errorf("root: %+v, %v", e, err)
	}
	stranger := openVault(t, VaultConfig{Addr: b.Addr, Token: fresh(), Key: testKey})
	if _, err := stranger.Examine(t.Context()); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("with no token of the server's: %v", err)
	}
}
