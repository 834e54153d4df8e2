package provider

import (
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
)

func TestAppRole(t *testing.T) {
	b := baotest.Start(t)
	b.Must("POST", "sys/auth/approle", map[string]any{"type": "approle"})
	secretID := func(role string, options map[string]any) checks.Credential {
		b.Must("POST", "auth/approle/role/"+role, options)
		id, _ := b.Must("POST", "auth/approle/role/"+role+"/secret-id", map[string]any{})["secret_id"].(string)
		return credential("vault-approle-secret-id", id)
	}
	p := asStanch(t, b)
	ask(t, p, sample(t, "vault-approle-secret-id"), checks.Unknown, GradeC) // there is no role to ask
	secretID("other", map[string]any{"secret_id_ttl": "1h"})
	live := secretID("shop", map[string]any{"secret_id_ttl": "1h", "secret_id_num_uses": 1})
	for range 3 { // asking does not use it up
		v := ask(t, p, live, checks.Active, GradeA)
		if got := v.Evidence.Identity; got["role"] != "shop" || got["secret_id_accessor"] == "" || !strings.HasPrefix(got["expires"], "20") || got["num_uses"] != "1" {
			t.Errorf("identity %v", got)
		}
	}
	ask(t, p, sample(t, "vault-approle-secret-id"), checks.Inactive, GradeB)
	later := newProviders(t, Config{VaultAddr: b.Addr, VaultToken: checks.NewSecret(b.Root), Now: func() time.Time { return time.Now().Add(2 * time.Hour) }})
	ask(t, later, live, checks.Inactive, GradeB)
	b.Must("POST", "auth/approle/role/shop/secret-id/destroy", map[string]any{"secret_id": live.Secret().Expose()})
	ask(t, p, live, checks.Inactive, GradeB)
	ask(t, newProviders(t, Config{VaultAddr: b.Addr, VaultToken: checks.NewSecret(b.Token(map[string]any{"policies": []string{"default"}}))}), live, checks.Unknown, GradeC)
	ask(t, newProviders(t, Config{VaultAddr: b.Addr}), live, checks.Unknown, GradeC)
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProviders(t, Config{VaultAddr: serve(t, lie.handler).URL, VaultToken: checks.NewSecret("own")})
			p.within = time.Second
			ask(t, p, live, checks.Unknown, GradeC)
		})
	}
}
