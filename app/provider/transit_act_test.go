package provider

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// encrypted is what the engine makes of a text now.
func encrypted(b *baotest.Server, mount, name string) string {
	text, _ := b.Must("POST", mount+"/encrypt/"+name, map[string]any{"plaintext": base64.StdEncoding.EncodeToString([]byte("order 7"))})["ciphertext"].(string)
	return text
}

func rewrapped(b *baotest.Server, mount, name, old string) string {
	text, _ := b.Must("POST", mount+"/rewrap/"+name, map[string]any{"ciphertext": old})["ciphertext"].(string)
	return text
}

// issued has a replacement issued, and checks that it is live.
func issued(t *testing.T, p *Providers, old Target) Target {
	t.Helper()
	fresh, err := p.Issue(t.Context(), prepared(t, p, old, "op"))
	if err != nil {
		t.Fatal(err)
	}
	return aimAt(t, p, fresh)
}

func TestTransitLife(t *testing.T) {
	b, p := startTransit(t)
	path := "team/transit/keys/orders"
	makeKey(t, b, path, "aes256-gcm96", 3)
	leaked := backedUp(t, b, "team/transit", "orders")
	old := encrypted(b, "team/transit", "orders")
	target := aimAt(t, p, leaked)
	if moves := p.Moves(target, checks.Credential{}); !strings.Contains(moves, "up to 3 of "+path) || !strings.Contains(moves, "team/transit/rewrap/orders") {
		t.Errorf("what is to be moved: %s", moves)
	}
	if got := p.Holds(target); got != "vault "+path {
		t.Errorf("holds %q", got)
	}
	fresh := issued(t, p, target)
	if fresh.Secret().Expose() != path+" version 4" || fresh.Identity["version"] != "4" {
		t.Errorf("the replacement is %s, %v", fresh.Secret().Expose(), fresh.Identity)
	}
	for range 2 { // nothing is made twice
		again, err := p.Issue(t.Context(), Request{Old: target, Operation: "op", Again: true})
		if err != nil || again.Secret() != fresh.Secret() || limit(b, path, "latest_version") != 4 {
			t.Errorf("issued again: %v, %d versions", err, limit(b, path, "latest_version"))
		}
	}
	ask(t, p, leaked, checks.Active, GradeA)
	if !decrypts(b, "team/transit", "orders", old) {
		t.Error("the old data is lost by a new version")
	}
	moved := rewrapped(b, "team/transit", "orders", old)
	for range 2 {
		if r, err := p.Disable(t.Context(), target); err != nil || r.Evidence.Request == "" {
			t.Errorf("%+v, %v", r, err)
		}
		ask(t, p, leaked, checks.Inactive, GradeB)
		if decrypts(b, "team/transit", "orders", sealed(t, leaked, 3, aesGCM)) || decrypts(b, "team/transit", "orders", old) {
			t.Error("a leaked version decrypts")
		}
		if !decrypts(b, "team/transit", "orders", moved) {
			t.Error("the new version does not decrypt")
		}
		ask(t, p, fresh.Credential, checks.Active, GradeA)
	}
	for range 2 {
		if _, err := p.Enable(t.Context(), target); err != nil {
			t.Error(err)
		}
		ask(t, p, leaked, checks.Active, GradeA)
		if limit(b, path, "min_decryption_version") != 1 || !decrypts(b, "team/transit", "orders", old) {
			t.Error("it is not as it was")
		}
	}
	if _, err := p.Revoke(t.Context(), target); !errors.Is(err, ErrCannotRevoke) || limit(b, path, "min_available_version") != 0 {
		t.Errorf("versions that work are destroyed: %v", err)
	}
	if _, err := p.Disable(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	wantRevoked(t, p, target, rules.MeansRevoked, "versions up to 3 are destroyed")
	wantRevoked(t, p, target, rules.MeansAlreadyDead, "")
	if _, err := p.Enable(t.Context(), target); !errors.Is(err, ErrCannotDisable) || !strings.Contains(err.Error(), "trimmed") {
		t.Errorf("%v", err)
	}
	if limit(b, path, "min_available_version") != 4 || !decrypts(b, "team/transit", "orders", moved) {
		t.Errorf("%v", b.Must("GET", path, nil))
	}
}

func TestCutTransit(t *testing.T) {
	for path, want := range map[string][2]string{
		"transit/keys/orders": {"transit", "orders"}, "team/keys/transit/keys/orders": {"team/keys/transit", "orders"}, "": {"", ""}, "orders": {"", "orders"},
	} {
		if mount, name := cutTransit(path); [2]string{mount, name} != want {
			t.Errorf("%q: %q, %q", path, mount, name)
		}
	}
}

// Whichever answer is lost, one new version comes into being.
func TestTransitLostAnswers(t *testing.T) {
	b, _ := startTransit(t)
	l := newLink(t, strings.TrimPrefix(b.Addr, "http://"))
	p := newProviders(t, Config{VaultAddr: "http://" + l.address, VaultToken: checks.NewSecret(b.Root), VaultTransitMounts: []string{"transit"}})
	makeKey(t, b, "transit/keys/orders", "aes256-gcm96", 1)
	leaked := backedUp(t, b, "transit", "orders")
	thief := sealed(t, leaked, 1, aesGCM)
	losesAnswers(t, l, p, aimAt(t, p, leaked), func(target Target, want checks.Validity) {
		t.Helper()
		if v, err := p.VerifyAgain(t.Context(), target.Credential); err != nil || v.Validity != want {
			t.Errorf("%s: %v, %+v", want, err, v)
		}
	}, func() bool { return decrypts(b, "transit", "orders", thief) })
	if n := limit(b, "transit/keys/orders", "latest_version"); n != 2 {
		t.Errorf("%d versions, want 2", n)
	}
}

// A version that its owners have made meanwhile will do, and what they set stays.
func TestTransitOwnersAreFaster(t *testing.T) {
	b, p := startTransit(t)
	path := "transit/keys/orders"
	makeKey(t, b, path, "aes256-gcm96", 2)
	target := aimAt(t, p, backedUp(t, b, "transit", "orders"))
	makeKey(t, b, path, "aes256-gcm96", 3) // two more
	setLimits(b, path, map[string]any{"min_decryption_version": 2, "min_encryption_version": 4})
	issued(t, p, target)
	if limit(b, path, "latest_version") != 4 || limit(b, path, "min_encryption_version") != 4 {
		t.Errorf("%v", b.Must("GET", path, nil))
	}
	setLimits(b, path, map[string]any{"min_decryption_version": 4})
	if r, err := p.Disable(t.Context(), target); err != nil || r.Meaning != rules.MeansAlreadyDead || limit(b, path, "min_decryption_version") != 4 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := p.Enable(t.Context(), target); !errors.Is(err, ErrCannotDisable) || !strings.Contains(err.Error(), "somebody has changed it") {
		t.Errorf("what its owners set is taken back: %v", err)
	}
}

// Deleted, and made anew under its name, it is not the one that leaked.
func TestTransitMadeAnew(t *testing.T) {
	b, p := startTransit(t)
	path := "transit/keys/orders"
	makeKey(t, b, path, "aes256-gcm96", 1)
	target := aimAt(t, p, backedUp(t, b, "transit", "orders"))
	if _, err := p.Disable(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	setLimits(b, path, map[string]any{"deletion_allowed": true})
	b.Must("DELETE", path, nil)
	wantRevoked(t, p, target, rules.MeansAlreadyDead, "")
	if _, err := p.Enable(t.Context(), target); !errors.Is(err, ErrCannotDisable) || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("%v", err)
	}
	makeKey(t, b, path, "aes256-gcm96", 2)
	wantRevoked(t, p, target, rules.MeansAlreadyDead, "")
	if limit(b, path, "min_available_version") != 0 || limit(b, path, "min_decryption_version") != 1 {
		t.Errorf("the new one was changed: %v", b.Must("GET", path, nil))
	}
}

// What the engine does not want is a definite refusal.
func TestTransitRefuses(t *testing.T) {
	b, p := startTransit(t)
	makeKey(t, b, "transit/keys/orders", "aes256-gcm96", 1)
	target := aimAt(t, p, backedUp(t, b, "transit", "orders"))
	b.Policy("read-only", fmt.Sprint(`path "transit/verify/+" { capabilities = ["update"] }`, "\n", `path "transit/keys/+" { capabilities = ["read"] }`))
	reader := newProviders(t, Config{VaultAddr: b.Addr, VaultTransitMounts: []string{"transit"}, VaultToken: checks.NewSecret(b.Token(map[string]any{"policies": []string{"read-only"}}))})
	if _, err := reader.Issue(t.Context(), Request{Old: target}); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), `lacks "update" on transit/keys/orders/rotate`) {
		t.Errorf("%v", err)
	}
	if _, err := reader.Disable(t.Context(), target); err == nil || !strings.Contains(err.Error(), `lacks "update" on transit/keys/orders/rotate`) {
		t.Errorf("%v", err)
	}
	b.Must("DELETE", "sys/mounts/transit", nil)
	if _, err := p.Issue(t.Context(), Request{Old: target}); err == nil || errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "no handler for route") {
		t.Errorf("%v", err)
	}
}
