package secretstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
)

// asStanch opens the store with a token that has deploy/vault/stanch.hcl alone.
func asStanch(t *testing.T, b *baotest.Server, cfg VaultConfig) *Vault {
	t.Helper()
	b.Policy("stanch", "@../../deploy/vault/stanch.hcl")
	own := b.Token(map[string]any{"policies": []string{"stanch"}, "no_default_policy": true, "ttl": "1h"})
	cfg.Addr, cfg.Token, cfg.Key = b.Addr, checks.NewSecret(own), testKey
	return openVault(t, cfg)
}

func openVault(t *testing.T, cfg VaultConfig) *Vault {
	t.Helper()
	v, err := NewVault(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVault(t *testing.T) {
	b := baotest.Start(t)
	root := openVault(t, VaultConfig{Addr: b.Addr, Token: checks.NewSecret(b.Root), Key: testKey})
	testStore(t, asStanch(t, b, VaultConfig{Mounts: []string{"secret/"}}), root, "secret/")
}

func TestVaultFindsItsMounts(t *testing.T) {
	b := baotest.Start(t)
	for mount, version := range map[string]string{"team/kv": "2", "old": "1"} {
		b.Must("POST", "sys/mounts/"+mount, map[string]any{"type": "kv", "options": map[string]string{"version": version}})
	}
	b.Policy("more", `path "team/kv/*" { capabilities = ["read", "list", "create", "update"] }
		path "old/*" { capabilities = ["read", "list"] }`)
	b.Policy("stanch", "@../../deploy/vault/stanch.hcl")
	own := b.Token(map[string]any{"policies": []string{"stanch", "more"}, "no_default_policy": true})
	v := openVault(t, VaultConfig{Addr: b.Addr, Token: checks.NewSecret(own), Key: testKey})
	value := fresh()
	if _, err := putOne(t.Context(), v, Location{Path: "team/kv/b", Field: "f"}, value, "op"); err != nil {
		t.Fatal(err)
	}
	found, err := v.Locate(t.Context(), fingerprint(value))
	if diff := cmp.Diff([]Location{{Store: "vault", Path: "team/kv/b", Field: "f", Version: "1"}}, found); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := v.Get(t.Context(), Location{Path: "elsewhere/x", Field: "f"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a path in no mount: %v", err)
	}
	none := b.Token(map[string]any{"policies": []string{"default"}})
	blind := openVault(t, VaultConfig{Addr: b.Addr, Token: checks.NewSecret(none), Key: testKey})
	if _, err := blind.Locate(t.Context(), fingerprint(value)); err == nil || !strings.Contains(err.Error(), "stanch.hcl") {
		t.Errorf("no mount to be seen: %v", err)
	}
}

func TestVaultKeepsWhatItDoesNotReplace(t *testing.T) {
	b := baotest.Start(t)
	v := asStanch(t, b, VaultConfig{Mounts: []string{"secret"}})
	value := fresh()
	data := map[string]any{
		"token": value.Expose(), "port": 12345678901, "on": true, "none": nil,
		"deep": map[string]any{"list": []any{"a", 1.5}},
	}
	b.Must("POST", "secret/data/mixed", map[string]any{"data": data})
	b.Must("POST", "secret/metadata/mixed", map[string]any{"custom_metadata": map[string]string{"owner": "ann"}})
	found, err := v.Locate(t.Context(), fingerprint(value))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	replacement := fresh()
	if _, err := putOne(t.Context(), v, found[0], replacement, "op-42"); err != nil {
		t.Fatal(err)
	}
	read := b.Must("GET", "secret/data/mixed", nil)
	data["token"], data["port"] = replacement.Expose(), 12345678901.0
	if diff := cmp.Diff(data, read["data"]); diff != "" {
		t.Error("the other fields have changed") // the difference holds values
	}
	meta := b.Must("GET", "secret/metadata/mixed", nil)["custom_metadata"]
	if diff := cmp.Diff(map[string]any{"owner": "ann", "stanch_operation": "op-42"}, meta); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
}

func TestVaultPaths(t *testing.T) {
	b := baotest.Start(t)
	v := asStanch(t, b, VaultConfig{Mounts: []string{"secret"}})
	value := fresh()
	odd := Location{Store: "vault", Path: "secret/o dd/100%/a?b#c+ü", Field: "f"}
	put, err := putOne(t.Context(), v, odd, value, "op")
	if err != nil {
		t.Fatal(err)
	}
	found, err := v.Locate(t.Context(), fingerprint(value))
	if diff := cmp.Diff([]Location{put}, found); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, path := range []string{"secret/../sys/x", "secret/a/../../b", "secret/", "secret", "/secret/a"} {
		if _, err := putOne(t.Context(), v, Location{Path: path, Field: "f"}, value, "op"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", path, err)
		}
	}
}

func TestVaultDeletedVersions(t *testing.T) {
	b := baotest.Start(t)
	v := asStanch(t, b, VaultConfig{Mounts: []string{"secret"}})
	value := fresh()
	locate := func(want int) {
		t.Helper()
		if found, err := v.Locate(t.Context(), fingerprint(value)); err != nil || len(found) != want {
			t.Errorf("%v, %v; want %d", found, err, want)
		}
	}
	b.Must("POST", "secret/metadata/soft", map[string]any{"delete_version_after": "1h"})
	b.Must("POST", "secret/data/soft", map[string]any{"data": map[string]any{"token": value.Expose()}})
	locate(1)
	b.Must("DELETE", "secret/data/soft", nil)
	locate(0)
	b.Must("POST", "secret/undelete/soft", map[string]any{"versions": []int{1}})
	locate(1)
	b.Must("DELETE", "secret/metadata/soft", nil)
	locate(0)
}

func TestVaultSaysWhereItCannotLook(t *testing.T) {
	b := baotest.Start(t)
	b.Policy("part", `path "secret/metadata/*" { capabilities = ["read", "list"] }
		path "secret/data/*" { capabilities = ["read"] }
		path "secret/metadata/closed/*" { capabilities = ["deny"] }
		path "secret/data/open/values" { capabilities = ["deny"] }`)
	own := b.Token(map[string]any{"policies": []string{"part"}})
	for _, path := range []string{"open/a", "open/values", "closed/b"} {
		b.Must("POST", "secret/data/"+path, map[string]any{"data": map[string]any{"token": "same-" + "value"}})
	}
	v := openVault(t, VaultConfig{Addr: b.Addr, Token: checks.NewSecret(own), Mounts: []string{"secret"}, Key: testKey})
	found, err := v.Locate(t.Context(), fingerprint(checks.NewSecret("same-"+"value")))
	if err != nil || len(found) != 1 || found[0].Path != "secret/open/a" {
		t.Errorf("%v, %v", found, err)
	}
	if diff := cmp.Diff([]string{"secret/closed/", "secret/open/values"}, v.Skipped()); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	if _, err := putOne(t.Context(), v, found[0], fresh(), "op"); err == nil || errors.Is(err, ErrConflict) {
		t.Errorf("a put that is not allowed: %v", err)
	}
}

func TestVaultIsNotSearchedWithoutEnd(t *testing.T) {
	b := baotest.Start(t)
	for i := range 4 {
		b.Must("POST", fmt.Sprint("secret/data/n/", i), map[string]any{"data": map[string]any{"token": "x"}})
	}
	v := asStanch(t, b, VaultConfig{Mounts: []string{"secret"}, MaxSecrets: 3})
	if found, err := v.Locate(t.Context(), "x"); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v, %v; want ErrTooMany", found, err)
	}
}

func TestVaultRemembersNoValues(t *testing.T) {
	b := baotest.Start(t)
	v := asStanch(t, b, VaultConfig{Mounts: []string{"secret"}})
	values := []checks.Secret{fresh(), fresh()}
	for version, value := range values {
		if _, err := putOne(t.Context(), v, Location{Path: "secret/p", Field: "f", Version: numbered(version)}, value, "op"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Locate(t.Context(), fingerprint(values[0])); err != nil {
		t.Fatal(err)
	}
	var dump strings.Builder
	for _, secret := range v.index {
		fmt.Fprintf(&dump, "%#v", *secret)
	}
	for _, value := range values {
		if strings.Contains(dump.String(), value.Expose()) || !strings.Contains(dump.String(), string(fingerprint(value))) {
			t.Error("the index must hold the fingerprint, and not the value")
		}
	}
}

// Stanch's policy is not a way to do more than Stanch does.
func TestPolicyAllowsNoMore(t *testing.T) {
	b := baotest.Start(t)
	v := asStanch(t, b, VaultConfig{Mounts: []string{"secret"}})
	b.Must("POST", "secret/data/p", map[string]any{"data": map[string]any{"f": "v"}})
	for _, request := range []string{
		"DELETE secret/metadata/p", "DELETE secret/data/p", "POST secret/metadata/p", "POST secret/delete/p", "POST secret/config",
		"GET sys/policies/acl/stanch", "PUT sys/policies/acl/stanch", "GET sys/auth", "LIST auth/token/accessors",
		"POST auth/token/create", "POST auth/token/create-orphan", "POST auth/token/revoke-orphan", "GET cubbyhole/x",
	} {
		method, path, _ := strings.Cut(request, " ")
		if status, _ := b.Do(v.client.Token(), method, path, map[string]any{"versions": []int{1}}); status != 403 {
			t.Errorf("%s: %d, want 403", request, status)
		}
	}
}

// What stands between Stanch and Vault may say anything, and is not quoted.
// TestVaultKeepsItsTokenAlive lives longer than its token would.
func TestVaultKeepsItsTokenAlive(t *testing.T) {
	t.Parallel() // it waits for renewals
	b := baotest.Start(t)
	b.Policy("self", `path "auth/token/renew-self" { capabilities = ["update"] }
		path "auth/token/lookup-self" { capabilities = ["read"] }`)
	for name, tt := range map[string]struct {
		token map[string]any
		want  error
	}{
		"periodic":      {map[string]any{"policies": []string{"self"}, "period": "12s", "no_parent": true}, nil},
		"not renewable": {map[string]any{"policies": []string{"self"}, "renewable": false, "ttl": "1h"}, ErrNotRenewable},
	} {
		t.Run(name, func(t *testing.T) {
			token := b.Token(tt.token)
			v := openVault(t, VaultConfig{Addr: b.Addr, Token: checks.NewSecret(token)})
			ctx, cancel := context.WithTimeout(t.Context(), 16*time.Second)
			defer cancel()
			if err := v.KeepAlive(ctx); !errors.Is(err, tt.want) {
				t.Errorf("KeepAlive = %v, want %v", err, tt.want)
			}
			if status, _ := b.Do(token, "GET", "auth/token/lookup-self", nil); status != 200 {
				t.Errorf("the token is answered with %d", status)
			}
		})
	}
}

func TestVaultErrorsQuoteNoPages(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<h1>blocked</h1> you sent %s", r.Header.Get("X-Vault-Token"))
	}))
	defer server.Close()
	v := openVault(t, VaultConfig{Addr: server.URL, Token: checks.NewSecret("own" + "-token"), Mounts: []string{"secret"}, Key: testKey})
	_, err := v.Locate(t.Context(), "x")
	if err == nil || strings.Contains(err.Error(), "blocked") || strings.Contains(err.Error(), "own-token") || len(v.Skipped()) != 0 {
		t.Errorf("%v, skipped %v", err, v.Skipped())
	}
	if _, err := putOne(t.Context(), v, Location{Path: "secret/p", Field: "f"}, fresh(), "op"); err == nil || strings.Contains(err.Error(), "own-token") {
		t.Error(err)
	}
	t.Setenv("VAULT_SKIP_VERIFY", "true")
	if _, err := NewVault(VaultConfig{Addr: server.URL}); err == nil {
		t.Error("VAULT_SKIP_VERIFY was accepted")
	}
}
