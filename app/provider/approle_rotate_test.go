package provider

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const secretIDRule = "vault-approle-secret-id"

// An approle is a role of a test's server.
type approle struct {
	t         *testing.T
	b         *baotest.Server
	path      string
	id        string
	mount     string
	roleNamed string
}

func newRole(t *testing.T, b *baotest.Server, mount, name string, options map[string]any) approle {
	t.Helper()
	b.Do(b.Root, "POST", "sys/auth/"+mount, map[string]any{"type": "approle"})
	r := approle{t: t, b: b, path: "auth/" + mount + "/role/" + name, mount: mount, roleNamed: name}
	b.Must("POST", r.path, options)
	r.id, _ = b.Must("GET", r.path+"/role-id", nil)["role_id"].(string)
	return r
}

func (r approle) secretID(options map[string]any) checks.Credential {
	r.t.Helper()
	id, _ := r.b.Must("POST", r.path+"/secret-id", options)["secret_id"].(string)
	return credential(secretIDRule, id)
}

// login returns the token that a secret id gets, empty when it gets none.
func (r approle) login(cred checks.Credential) string {
	r.t.Helper()
	_, auth := r.b.Do("", "POST", "auth/"+r.mount+"/login", map[string]any{"role_id": r.id, "secret_id": cred.Secret().Expose()})
	token, _ := auth["client_token"].(string)
	return token
}

func (r approle) lookup(cred checks.Credential) map[string]any {
	r.t.Helper()
	return r.b.Must("POST", r.path+"/secret-id/lookup", map[string]any{"secret_id": cred.Secret().Expose()})
}

func alive(b *baotest.Server, token string) bool {
	status, _ := b.Do(b.Root, "POST", "auth/token/lookup", map[string]any{"token": token})
	return status == 200
}

// aimAt verifies a credential and aims at it.
func aimAt(t *testing.T, p *Providers, cred checks.Credential) Target {
	t.Helper()
	v, err := p.VerifyAgain(t.Context(), cred)
	if err != nil || v.Validity != checks.Active {
		t.Fatalf("%+v, %v; want it live", v, err)
	}
	return Target{cred, v.Evidence.Identity}
}

func wantRevoked(t *testing.T, p *Providers, target Target, want rules.Meaning, says string) {
	t.Helper()
	got, err := p.Revoke(t.Context(), target)
	if err != nil || got.Meaning != want || !strings.Contains(got.Evidence.Answer, says) {
		t.Errorf("%+v, %v; want %s, and that says %q", got, err, want, says)
	}
}

func prepared(t *testing.T, p *Providers, old Target, operation string) Request {
	t.Helper()
	got, err := p.Prepare(t.Context(), old, operation)
	if err != nil {
		t.Fatal(err)
	}
	return Request{Old: old, Operation: operation, Prepared: got}
}

func asAppRoleKeeper(t *testing.T, b *baotest.Server, cfg Config) *Providers {
	t.Helper()
	text := written(VaultAppRolePolicy("approle")) + written(VaultAppRolePolicy("team/approle")) + written(VaultAccessorsPolicy())
	return holding(t, b, text, cfg)
}

func TestAppRoleIsRotated(t *testing.T) {
	b := baotest.Start(t)
	p := asAppRoleKeeper(t, b, Config{VaultAppRoleMounts: []string{"approle", "team/approle/"}})
	newRole(t, b, "approle", "other", nil).secretID(nil)
	for mount, options := range map[string]map[string]any{
		"approle":      nil,
		"team/approle": {"cidr_list": []string{"127.0.0.0/8", "10.0.0.0/8"}, "token_bound_cidrs": []string{"127.0.0.1/32"}, "num_uses": 5, "ttl": "20m"},
	} {
		t.Run(mount, func(t *testing.T) {
			shop := newRole(t, b, mount, "shop", map[string]any{"secret_id_ttl": "1h", "token_ttl": "10m"})
			leaked, bystander := shop.secretID(options), shop.secretID(options)
			target := aimAt(t, p, leaked)
			request := prepared(t, p, target, "op-"+random(t))
			fresh, err := p.Issue(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			request.Again = true
			if again, err := p.Issue(t.Context(), request); err != nil || again.Secret() != fresh.Secret() {
				t.Errorf("asked again: %v; want the same", err)
			}
			was, is := shop.lookup(leaked), shop.lookup(fresh)
			for _, name := range []string{"cidr_list", "token_bound_cidrs", "secret_id_num_uses", "secret_id_ttl"} {
				if diff := cmp.Diff(was[name], is[name]); diff != "" {
					t.Errorf("%s (-old +new):\n%s", name, diff)
				}
			}
			if shop.login(leaked) == "" || shop.login(fresh) == "" {
				t.Error("both must work before the leaked one is revoked")
			}
			wantRevoked(t, p, target, rules.MeansRevoked, "may be made by it or by another")
			wantRevoked(t, p, target, rules.MeansAlreadyDead, "")
			if shop.login(leaked) != "" || shop.login(fresh) == "" || shop.login(bystander) == "" {
				t.Error("exactly the leaked one must be dead")
			}
		})
	}
}

// The tokens of a secret id that Stanch issued are known by its metadata, and die with
// it; others are left alone, and told of.
func TestAppRoleTokens(t *testing.T) {
	b := baotest.Start(t)
	p := asAppRoleKeeper(t, b, Config{})
	shop := newRole(t, b, "approle", "shop", map[string]any{"secret_id_ttl": "1h", "token_ttl": "10m"})
	unmarked := shop.secretID(nil)
	theirs := shop.login(unmarked)
	request := prepared(t, p, aimAt(t, p, unmarked), "op-"+random(t))
	leaked, err := p.Issue(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	made := []string{shop.login(leaked), shop.login(leaked)}
	target := aimAt(t, p, leaked)
	blind := holding(t, b, written(VaultAppRolePolicy("approle")), Config{})
	wantRevoked(t, blind, target, rules.MeansRevoked, `lacks "list" on auth/token/accessors`)
	if shop.login(leaked) != "" || !alive(b, made[0]) {
		t.Error("without the right to look for them the tokens live, and the secret id is dead")
	}
	// Gone already, its tokens are still found by what was known of it.
	wantRevoked(t, p, target, rules.MeansAlreadyDead, "2 tokens that it made are revoked")
	wantRevoked(t, p, target, rules.MeansAlreadyDead, "no token that lives")
	if alive(b, made[0]) || alive(b, made[1]) || !alive(b, theirs) {
		t.Error("exactly the tokens of the leaked secret id must be dead")
	}
	wantRevoked(t, p, aimAt(t, p, unmarked), rules.MeansRevoked, "1 tokens of role shop may be")
	if !alive(b, theirs) {
		t.Error("a token that may be somebody else's was revoked")
	}
}

func TestAppRoleLostAnswers(t *testing.T) {
	b := baotest.Start(t)
	p := asAppRoleKeeper(t, b, Config{})
	shop := newRole(t, b, "approle", "shop", map[string]any{"secret_id_ttl": "1h"})
	leaked := shop.secretID(nil)
	addr := deaf(t, b, func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/custom-secret-id") })
	down := false
	gone := serve(t, func(w http.ResponseWriter, r *http.Request) {
		down = true
		w.WriteHeader(http.StatusServiceUnavailable)
	}).URL
	for name, addr := range map[string]string{"the answer": addr, "the request": gone} {
		losing := newProviders(t, Config{VaultAddr: addr, VaultToken: p.vault.own})
		request := prepared(t, p, aimAt(t, p, leaked), "op-"+random(t))
		fresh, err := losing.Issue(t.Context(), request)
		if lostRequest := addr == gone; (err != nil) != lostRequest || errors.Is(err, ErrCannotIssue) {
			t.Errorf("%s was lost: %v", name, err)
		}
		request.Again = true
		again, err := p.Issue(t.Context(), request)
		if err != nil || again.Secret() != request.Prepared.Draft.Secret() || (fresh.Secret().Len() > 0 && fresh.Secret() != again.Secret()) {
			t.Errorf("%s was lost, and asked again: %v", name, err)
		}
	}
	accessors, _ := b.Must("LIST", shop.path+"/secret-id", nil)["keys"].([]any)
	if len(accessors) != 3 || !down {
		t.Errorf("%d secret ids, want the old one and two new ones", len(accessors))
	}
}

func TestAppRoleRefusals(t *testing.T) {
	b := baotest.Start(t)
	p := asAppRoleKeeper(t, b, Config{})
	shop := newRole(t, b, "approle", "shop", map[string]any{"secret_id_ttl": "2h"})
	old := aimAt(t, p, shop.secretID(nil))
	b.Must("POST", shop.path, map[string]any{"secret_id_ttl": "1h"})
	for why, old := range map[string]Target{
		"no role knows the old one":                            {Credential: sample(t, secretIDRule)},
		"ttl cannot be longer than the role's secret_id_ttl":   old,
		"bound to more addresses":                              {sample(t, secretIDRule), map[string]string{"mount": "approle", "role": "shop", "cidr_list": tooManyAddresses}},
		`lacks "update" on auth/other/role/x/custom-secret-id`: {sample(t, secretIDRule), map[string]string{"mount": "other", "role": "x"}},
	} {
		fresh, err := p.Issue(t.Context(), prepared(t, p, old, "op-1"))
		if !errors.Is(err, ErrCannotIssue) || !strings.Contains(fmt.Sprint(err), why) || len(fresh.Parts) > 0 {
			t.Errorf("%v; want ErrCannotIssue that says %q", err, why)
		}
	}
}

func TestAppRolePolicy(t *testing.T) {
	b := baotest.Start(t)
	shop := newRole(t, b, "approle", "shop", map[string]any{"secret_id_ttl": "1h"})
	verify := func(t *testing.T, p *Providers) (Target, error) {
		cred := shop.secretID(nil)
		v, err := p.VerifyAgain(t.Context(), cred)
		if err == nil && v.Validity != checks.Active {
			err = errors.New(v.Evidence.Answer)
		}
		return Target{cred, v.Evidence.Identity}, err
	}
	wantMinimal(t, b, grants.Policy{}, VaultAppRolePolicy("approle"), Config{}, map[string]func(*testing.T, *Providers) error{
		"verify": func(t *testing.T, p *Providers) error { _, err := verify(t, p); return err },
		"revoke": func(t *testing.T, p *Providers) error {
			target, err := verify(t, p)
			if err == nil {
				_, err = p.Revoke(t.Context(), target)
			}
			return err
		},
		"issue": func(t *testing.T, p *Providers) error {
			target, err := verify(t, p)
			if err == nil {
				_, err = p.Issue(t.Context(), prepared(t, p, target, "op-1"))
			}
			return err
		},
	})
}
