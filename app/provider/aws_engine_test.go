package provider

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A vaultAWS is the AWS engine of Vault, which acts at an AWS of its own.
type vaultAWS struct {
	*awsWorld
	bao *baotest.Server
}

func newVaultAWS(t *testing.T) *vaultAWS {
	t.Helper()
	return &vaultAWS{newAWSWorld(t), baotest.StartAWS(t)}
}

// mounted is the engine once more, with a user of its own at AWS.
func (v *vaultAWS) mounted(t *testing.T) (mount string, root checks.Credential) {
	t.Helper()
	v.under(t)
	mount = "aws-" + random(t)
	user := "vault-" + random(t)
	v.User(user)
	id, secret := v.Key(user)
	v.bao.Must("POST", "sys/mounts/"+mount, map[string]any{"type": baotest.AWSEngine})
	v.bao.Must("POST", mount+"/config/root", map[string]any{
		"access_key": id, "secret_key": secret, "region": "us-east-1", "iam_endpoint": v.URL, "sts_endpoint": v.URL, "sts_region": "us-east-1",
	})
	return mount, pair(id, secret, "")
}

// asked are providers that ask an engine first, with an account of Stanch's own at AWS
// or none.
func (v *vaultAWS) asked(t *testing.T, mount string, own bool) *Providers {
	t.Helper()
	cfg := Config{VaultAWSMounts: []string{mount}, BaseURLs: map[string]string{"aws": v.URL}}
	if own {
		cfg.AWS = v.caller()
	}
	p := holding(t, v.bao, written(VaultAWSPolicy(mount)), cfg)
	p.verifiers[driverAWS].(*amazon).pause, p.issuers[driverAWS].(*accessKeys).pause = time.Millisecond, time.Millisecond
	return p
}

// static makes a user with a static role, and returns the key that it gives out.
func (v *vaultAWS) static(t *testing.T, mount string) (user string, key checks.Credential) {
	t.Helper()
	user = "app-" + random(t)
	v.User(user)
	v.bao.Must("POST", mount+"/static-roles/"+user, map[string]any{"username": user, "rotation_period": "26h"})
	return user, v.given(mount, "static-creds/"+user)
}

func (v *vaultAWS) given(mount, path string) checks.Credential {
	v.t.Helper()
	data := v.bao.Must("GET", mount+"/"+path, nil)
	return pair(fmt.Sprint(data["access_key"]), fmt.Sprint(data["secret_key"]), "")
}

func (v *vaultAWS) lives(key checks.Credential) bool {
	return v.STS.Works(key.Parts["id"].Expose(), key.Secret().Expose())
}

func idOfKey(key checks.Credential) string { return key.Parts["id"].Expose() }

func TestVaultAWS(t *testing.T) {
	v := newVaultAWS(t) // which takes a while
	t.Run("root", v.testRoot)
	t.Run("static", v.testStatic)
	t.Run("dynamic", v.testDynamic)
	t.Run("policy", v.testPolicy)
}

func (v *vaultAWS) testRoot(t *testing.T) {
	mount, root := v.mounted(t)
	_, other := v.mounted(t) // which the providers do not know
	p := v.asked(t, mount, false)
	leaked := aimAt(t, p, root)
	if leaked.Identity[keptBy] != mount+"/config/root" || p.Reversible(leaked) {
		t.Errorf("kept by %q, reversible: %t", leaked.Identity[keptBy], p.Reversible(leaked))
	}
	if _, _, err := replace(p, leaked, "op"); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "what Vault itself acts with") {
		t.Errorf("%v; want that nobody gets the next one", err)
	}
	wantRevoked(t, p, leaked, rules.MeansRevoked, "nobody but Vault knows")
	if v.lives(root) || !v.lives(other) {
		t.Error("the wrong key died")
	}
	ask(t, p, root, checks.Inactive, GradeB)
	v.static(t, mount) // the engine goes on
	now := fmt.Sprint(v.bao.Must("GET", mount+"/config/root", nil)["access_key"])
	if _, err := p.Revoke(t.Context(), leaked); !errors.Is(err, ErrCannotRevoke) {
		t.Errorf("%v; the key is not the engine's any more, and Stanch does not act at AWS", err)
	}
	if again := fmt.Sprint(v.bao.Must("GET", mount+"/config/root", nil)["access_key"]); again != now {
		t.Error("asked twice, it rotated twice")
	}
}

func (v *vaultAWS) testStatic(t *testing.T) {
	t.Run("replaced", func(t *testing.T) {
		mount, _ := v.mounted(t)
		user, key := v.static(t, mount)
		id, secret := v.Key(user) // made by somebody else
		victim := pair(id, secret, "")
		p := v.asked(t, mount, false)
		leaked := aimAt(t, p, key)
		if leaked.Identity[keptBy] != mount+"/static-roles/"+user || p.Reversible(leaked) || p.Holds(leaked) != "vault "+mount+"/static-roles/"+user {
			t.Errorf("identity %v", leaked.Identity)
		}
		request, fresh, err := replace(p, leaked, "op")
		if err != nil {
			t.Fatal(err)
		}
		if idOfKey(fresh) != idOfKey(v.given(mount, "static-creds/"+user)) || !v.lives(fresh) || v.lives(key) || !v.lives(victim) {
			t.Error("not the leaked key alone is gone")
		}
		ask(t, p, fresh, checks.Active, GradeA)
		request.Again = true
		if again, err := p.Issue(t.Context(), request); err != nil || idOfKey(again) != idOfKey(fresh) {
			t.Errorf("asked again it is %s, want %s: %v", idOfKey(again), idOfKey(fresh), err)
		}
		if period := fmt.Sprint(v.bao.Must("GET", mount+"/static-roles/"+user, nil)["rotation_period"]); period != "93600" {
			t.Errorf("the role's period is %s now", period)
		}
	})
	t.Run("the older key is another's", func(t *testing.T) {
		mount, _ := v.mounted(t)
		user := "app-" + random(t)
		v.User(user)
		id, secret := v.Key(user)
		v.bao.Must("POST", mount+"/static-roles/"+user, map[string]any{"username": user, "rotation_period": "26h"})
		key := v.given(mount, "static-creds/"+user)
		p := v.asked(t, mount, false)
		wantRevoked(t, p, aimAt(t, p, key), rules.MeansRevoked, "")
		if v.lives(key) || !v.lives(pair(id, secret, "")) {
			t.Error("the engine's own rotation would have hit the other key; this one must not")
		}
	})
	t.Run("cut off in between", func(t *testing.T) {
		mount, _ := v.mounted(t)
		user, key := v.static(t, mount)
		p := v.asked(t, mount, false)
		request := prepared(t, p, aimAt(t, p, key), "op")
		v.bao.Must("DELETE", mount+"/static-roles/"+user, nil)
		request.Again = true
		fresh, err := p.Issue(t.Context(), request)
		if err != nil || !v.lives(fresh) || idOfKey(fresh) != idOfKey(v.given(mount, "static-creds/"+user)) {
			t.Errorf("the role is not back: %v", err)
		}
	})
	t.Run("cut off in between, revoked first", func(t *testing.T) {
		mount, _ := v.mounted(t)
		user, key := v.static(t, mount)
		p := v.asked(t, mount, false)
		leaked := aimAt(t, p, key)
		v.bao.Must("DELETE", mount+"/static-roles/"+user, nil)
		wantRevoked(t, p, leaked, rules.MeansAlreadyDead, `"rotation_period":93600`)
		_, fresh, err := replace(p, leaked, "op")
		if err != nil || !v.lives(fresh) || idOfKey(fresh) != idOfKey(v.given(mount, "static-creds/"+user)) {
			t.Errorf("the role is not back: %v", err)
		}
		delete(leaked.Identity, keptAs)
		v.bao.Must("DELETE", mount+"/static-roles/"+user, nil)
		if _, _, err := replace(p, leaked, "op"); !errors.Is(err, ErrCannotIssue) {
			t.Errorf("%v; nobody knows what it was", err)
		}
	})
	t.Run("gives out another one already", func(t *testing.T) {
		mount, _ := v.mounted(t)
		user, now := v.static(t, mount)
		id, secret := v.Key(user) // as the engine's own rotation leaves the one before
		key := pair(id, secret, "")
		p := v.asked(t, mount, true)
		leaked := aimAt(t, p, key)
		leaked.Identity[keptBy] = mount + "/static-roles/" + user // when it was verified
		_, fresh, err := replace(p, leaked, "op")
		if err != nil || idOfKey(fresh) != idOfKey(now) {
			t.Errorf("%s, %v; want what the role gives out", idOfKey(fresh), err)
		}
		wantRevoked(t, p, leaked, rules.MeansRevoked, "deleted")
		if v.lives(key) || !v.lives(now) {
			t.Error("the wrong key died")
		}
	})
	t.Run("of no role", func(t *testing.T) {
		mount, _ := v.mounted(t)
		user, now := v.static(t, mount)
		id, secret := v.Key(user)
		p := v.asked(t, mount, true)
		leaked := aimAt(t, p, pair(id, secret, ""))
		if leaked.Identity[keptBy] != "" || !p.Reversible(leaked) {
			t.Errorf("identity %v", leaked.Identity)
		}
		wantRevoked(t, p, leaked, rules.MeansRevoked, "deleted")
		if !v.lives(now) {
			t.Error("the role's key died")
		}
	})
}

func (v *vaultAWS) testDynamic(t *testing.T) {
	mount, _ := v.mounted(t)
	role := func(name string) checks.Credential {
		v.bao.Must("POST", mount+"/roles/"+name, map[string]any{
			"credential_type": "iam_user", "policy_document": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`,
		})
		return v.given(mount, "creds/"+name)
	}
	key, bystander := role("deploy"), role("reports")
	p := v.asked(t, mount, false)
	leaked := aimAt(t, p, key)
	if leaked.Identity[keptBy] != mount+"/creds" {
		t.Errorf("identity %v", leaked.Identity)
	}
	if _, _, err := replace(p, leaked, "op"); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), mount+"/creds/deploy") {
		t.Errorf("%v; want where its client gets the next one", err)
	}
	second := v.given(mount, "creds/deploy")
	if _, err := p.Revoke(t.Context(), leaked); !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), "2 leases may be its") || !v.lives(key) {
		t.Errorf("%v; want that a person tells them apart", err)
	}
	names, _ := v.bao.Must("LIST", "sys/leases/lookup/"+mount+"/creds/deploy", nil)["keys"].([]any)
	v.bao.Must("POST", "sys/leases/revoke", map[string]any{"lease_id": mount + "/creds/deploy/" + fmt.Sprint(names[0]), "sync": true})
	if !v.lives(key) {
		leaked, key = aimAt(t, p, second), second // that was the first one's
	}
	wantRevoked(t, p, leaked, rules.MeansRevoked, "")
	if v.lives(key) || !v.lives(bystander) {
		t.Error("the wrong user's lease ended")
	}
	wantRevoked(t, p, leaked, rules.MeansAlreadyDead, "")
}

func TestVaultAWSUsers(t *testing.T) {
	for name, want := range map[string][]string{
		"vault-token-deploy-1795826876-SnSBYjhXfXENx7kWzOPH": {"token-deploy", "1795826876"},
		"vault-deploy":            nil,
		"deploy-1795826876-SnSBY": nil,
	} {
		var got []string
		if m := awsMade.FindStringSubmatch(name); m != nil {
			got = m[1:]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func (v *vaultAWS) testPolicy(t *testing.T) {
	mount, _ := v.mounted(t)
	cfg := Config{VaultAWSMounts: []string{mount}, BaseURLs: map[string]string{"aws": v.URL}}
	revoke := func(t *testing.T, p *Providers, key checks.Credential) error {
		_, err := p.Revoke(t.Context(), aimAt(t, p, key))
		return err
	}
	v.bao.Must("POST", mount+"/roles/job", map[string]any{
		"credential_type": "iam_user", "policy_document": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`,
	})
	actions := map[string]func(*testing.T, *Providers) error{
		"rotate root": func(t *testing.T, p *Providers) error {
			user := "root-" + random(t)
			v.User(user)
			id, secret := v.Key(user)
			settings := maps.Clone(v.bao.Must("GET", mount+"/config/root", nil))
			v.bao.Must("POST", mount+"/config/root", map[string]any{
				"access_key": id, "secret_key": secret, "region": settings["region"], "iam_endpoint": v.URL, "sts_endpoint": v.URL, "sts_region": "us-east-1",
			})
			return revoke(t, p, pair(id, secret, ""))
		},
		"rotate": func(t *testing.T, p *Providers) error {
			_, key := v.static(t, mount)
			return revoke(t, p, key)
		},
		"end lease": func(t *testing.T, p *Providers) error {
			v.bao.Must("POST", "sys/leases/revoke-prefix/"+mount+"/creds/job", nil) // or there would be two
			return revoke(t, p, v.given(mount, "creds/job"))
		},
	}
	wantMinimal(t, v.bao, grants.Policy{}, VaultAWSPolicy(mount), cfg, actions)
}
