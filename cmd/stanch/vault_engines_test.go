package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/store"
)

// TestKill9WhileVaultIssuesIsSettled is TestKill9WhileVaultIssues where Stanch may look
// through the tokens: it finds the one of which nobody knows the value, revokes it, and
// goes on without a person.
func TestKill9WhileVaultIssuesIsSettled(t *testing.T) {
	v := newVault(t)
	w := newServeWorld(t, func(w *serveWorld, keys store.Keys) {
		withVaultToken(w, v, keys, "stanch-tokens")
		w.env[0] = "VAULT_ADDR=" + w.newProxy(v.addr).URL
	})
	w.killWhen(true, func(r request) bool { return r.path == "/v1/auth/token/create/stanch-issue" })
	w.push()
	w.mustDie()
	w.serve()
	w.finish(func() error {
		if now := w.stored(); now == w.leaked || !v.live(t, now) || v.live(t, w.leaked) {
			return fmt.Errorf("not rotated")
		}
		return nil
	})
	issued := 0
	for _, accessor := range strings.Fields(v.must(t, "", "list", "-format=yaml", "auth/token/accessors")) {
		if meta, err := v.run(t.Context(), "", "token", "lookup", "-accessor", "-format=json", accessor); err == nil && strings.Contains(meta, "stanch_operation") {
			issued++
		}
	}
	if issued != 1 {
		t.Errorf("%d tokens that Stanch issued are live, want the replacement alone", issued)
	}
}

// TestLeakedSecretID leaks a secret id of AppRole that KV keeps.
func TestLeakedSecretID(t *testing.T) {
	v := newVault(t)
	var role string
	login := func(secretID string) bool {
		_, err := v.run(t.Context(), "", "write", "auth/approle/login", "role_id="+role, "secret_id="+secretID)
		return err == nil
	}
	w := newServeWorld(t, func(w *serveWorld, keys store.Keys) {
		v.must(t, "", "auth", "enable", "approle")
		v.must(t, "", "write", "auth/approle/role/shop", "secret_id_ttl=1h", "token_ttl=10m")
		role = v.must(t, "", "read", "-field=role_id", "auth/approle/role/shop/role-id")
		w.leaked = v.must(t, "", "write", "-f", "-field=secret_id", "auth/approle/role/shop/secret-id")
		w.line = "VAULT_SECRET_ID=" + w.leaked
		w.keepInVault(v, v.ownToken(t, "stanch", "stanch-approle", "stanch-tokens"), keys, "secret_id")
	})
	head := w.push()
	w.finish(func() error {
		now := w.stored()
		runs := w.github.CheckRuns("acme/shop")
		switch {
		case now == w.leaked:
			return fmt.Errorf("the leaked secret id is still in the store")
		case login(w.leaked):
			return fmt.Errorf("the leaked secret id logs in")
		case !login(now):
			return fmt.Errorf("the replacement does not log in")
		case len(runs) != 1 || runs[0].HeadSHA != head || !strings.Contains(runs[0].Title, "dead"):
			return fmt.Errorf("the check run says %+v", runs)
		}
		return nil
	})
	w.findNoSecret()
}
