package secretstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
)

func TestVaultReaders(t *testing.T) {
	b, log := baotest.StartAudited(t)
	v := asStanch(t, b, VaultConfig{Mounts: []string{"secret"}, AuditLog: log, AuditDevice: "file"})
	leaked := fresh()
	at, err := putOne(t.Context(), v, Location{Path: "secret/ci/deploy", Field: "token"}, leaked, "op")
	if err != nil {
		t.Fatal(err)
	}
	b.Policy("ci", `path "secret/data/*" { capabilities = ["read"] }`)
	b.Must("POST", "sys/auth/approle", map[string]any{"type": "approle"})
	b.Must("POST", "auth/approle/role/shop", map[string]any{"token_policies": "ci"})
	role, _ := b.Must("GET", "auth/approle/role/shop/role-id", nil)["role_id"].(string)
	secret, _ := b.Must("POST", "auth/approle/role/shop/secret-id", nil)["secret_id"].(string)
	shop, _ := b.Must("POST", "auth/approle/login", map[string]any{"role_id": role, "secret_id": secret})["client_token"].(string)
	deploy := b.Token(map[string]any{"policies": []string{"ci"}, "display_name": "deploy"})
	nobody := b.Token(map[string]any{"policies": []string{"default"}, "display_name": "nobody"})
	for _, token := range []string{shop, shop, nobody} {
		b.Do(token, "GET", "secret/data/ci/deploy", nil)
	}
	if _, err := putOne(t.Context(), v, at, fresh(), "op-2"); err != nil {
		t.Fatal(err)
	}
	b.Do(deploy, "GET", "secret/data/ci/deploy", nil)         // the replacement
	b.Do(deploy, "GET", "secret/data/ci/deploy2", nil)        // nothing
	b.Do(deploy, "GET", "secret/metadata/ci/deploy", nil)     // no value
	b.Do(shop, "GET", "secret/data/ci/deploy?version=1", nil) // the old one again
	at.Superseded = true
	want := []Reader{
		{Name: "approle", Role: "shop", Address: "127.0.0.1", Times: 3, Leaked: true},
		{Name: "token-deploy", Address: "127.0.0.1", Times: 1},
	}
	ignore := cmpopts.IgnoreFields(Reader{}, "Last", "Entity")
	got, err := v.Readers(t.Context(), at)
	if diff := cmp.Diff(want, got, ignore); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if len(got) == 2 && (got[0].Last.IsZero() || got[0].Entity == "") {
		t.Errorf("%+v", got[0])
	}
	t.Run("without a device the secret's readers are known", func(t *testing.T) {
		byPath := asStanch(t, b, VaultConfig{Mounts: []string{"secret"}, AuditLog: log})
		got, err := byPath.Readers(t.Context(), at)
		if err != nil || len(got) < 2 || got[0].Leaked || got[1].Leaked {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("policy", func(t *testing.T) {
		b.Policy("less", written(VaultPolicy("secret"))+`path "auth/token/lookup-self" { capabilities = ["read"] }`)
		own := b.Token(map[string]any{"policies": []string{"less"}, "no_default_policy": true})
		v := openVault(t, VaultConfig{Addr: b.Addr, Token: checks.NewSecret(own), Mounts: []string{"secret"}, AuditLog: log, AuditDevice: "file", Key: testKey})
		if _, err := v.Readers(t.Context(), at); err == nil || !strings.Contains(err.Error(), `lacks "update" on sys/audit-hash/file`) {
			t.Errorf("without the line: %v", err)
		}
		b.Policy("less", written(VaultPolicy("secret"))+written(VaultReadersPolicy("file"))+`path "auth/token/lookup-self" { capabilities = ["read"] }`)
		if got, err := v.Readers(t.Context(), at); err != nil || !got[0].Leaked {
			t.Errorf("with it: %v, %v", got, err)
		}
	})
	t.Run("no log", func(t *testing.T) {
		v := asStanch(t, b, VaultConfig{Mounts: []string{"secret"}})
		if _, err := v.Readers(t.Context(), at); !errors.Is(err, ErrNoAuditLog) {
			t.Errorf("%v, want ErrNoAuditLog", err)
		}
		v = asStanch(t, b, VaultConfig{Mounts: []string{"secret"}, AuditLog: filepath.Join(t.TempDir(), "none")})
		if _, err := v.Readers(t.Context(), at); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v, want that it says there is none", err)
		}
	})
}

func TestAuditLogLines(t *testing.T) {
	text := "one\n" + strings.Repeat("x", 3*maxAuditLine) + "\nthree\nlast"
	var got []string
	if err := eachLine(t.Context(), strings.NewReader(text), func(line []byte) { got = append(got, strings.TrimSpace(string(line))) }); err != nil {
		t.Fatal(err)
	}
	for n, line := range got {
		got[n] = line[:min(len(line), 8)]
	}
	if diff := cmp.Diff([]string{"one", "three", "last"}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
