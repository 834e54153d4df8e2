package provider

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// repositories are a GitHub's deploy keys.
type repositories struct {
	keys    map[string][]DeployKey
	last    int64
	lose    bool // the next answer to a deed
	outage  bool
	removed []int64
}

var errLost = errors.New("the connection was lost")

func (r *repositories) DeployKeys(_ context.Context, repo string) ([]DeployKey, error) {
	if r.outage {
		return nil, errLost
	}
	return slices.Clone(r.keys[repo]), nil
}

func (r *repositories) done() error {
	if r.lose {
		r.lose = false
		return errLost
	}
	return nil
}

func (r *repositories) AddDeployKey(_ context.Context, repo string, k DeployKey) error {
	for _, all := range r.keys {
		if slices.ContainsFunc(all, func(o DeployKey) bool { return o.Key == k.Key }) {
			return ErrCannotIssue
		}
	}
	r.last++
	k.ID = r.last
	r.keys[repo] = append(r.keys[repo], k)
	return r.done()
}

func (r *repositories) RemoveDeployKey(_ context.Context, repo string, id int64) error {
	r.keys[repo] = slices.DeleteFunc(r.keys[repo], func(k DeployKey) bool { return k.ID == id })
	r.removed = append(r.removed, id)
	return r.done()
}

// deployed are providers that know of two repositories, and a leaked deploy key of the
// second among others.
func deployed(t *testing.T, readOnly bool) (*Providers, *repositories, Target) {
	t.Helper()
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	api := &repositories{keys: map[string][]DeployKey{}, last: 40}
	p, err := New(Config{Catalogue: catalogue, DeployKeys: api, DeployKeyRepos: []string{"acme/web", "acme/shop"}})
	if err != nil {
		t.Fatal(err)
	}
	private := newRSA(t)
	line := func(key any) string {
		return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signerOf(t, key).PublicKey())))
	}
	for _, k := range []struct {
		repo string
		key  DeployKey
	}{
		{"acme/web", DeployKey{Title: "deploy", Key: line(newEd25519(t))}}, {"acme/shop", DeployKey{Title: "deploy", Key: line(newRSA(t))}},
		{"acme/shop", DeployKey{Title: "deploy", Key: line(private), ReadOnly: readOnly}}, {"acme/shop", DeployKey{Title: "deploy", Key: line(newEd25519(t))}},
		{"acme/shop", DeployKey{Title: "broken", Key: "ssh-rsa !"}}, {"acme/elsewhere", DeployKey{Title: "not named", Key: line(newEd25519(t))}},
	} {
		if err := api.AddDeployKey(t.Context(), k.repo, k.key); err != nil {
			t.Fatal(err)
		}
	}
	return p, api, targetOf(t, p, pkcs8(t, private))
}

// targetOf is a leaked key with what is said of it.
func targetOf(t *testing.T, p *Providers, private string) Target {
	t.Helper()
	cred := checks.Credential{Rule: "private-key", Parts: map[string]checks.Secret{checks.PartSecret: checks.NewSecret(private)}}
	v, err := p.VerifyAgain(t.Context(), cred)
	if err != nil {
		t.Fatal(err)
	}
	return Target{Credential: cred, Identity: v.Evidence.Identity}
}

func mustBe(t *testing.T, p *Providers, cred checks.Credential, want checks.Validity) {
	t.Helper()
	v, err := p.VerifyAgain(t.Context(), cred)
	if err != nil || v.Validity != want || want == checks.Active && v.Grade != GradeA {
		t.Errorf("%s of grade %s, %v; want %s: %s", v.Validity, v.Grade, err, want, v.Evidence.Answer)
	}
}

func TestDeployKeyIsReplaced(t *testing.T) {
	for _, readOnly := range []bool{true, false} {
		p, api, old := deployed(t, readOnly)
		if old.Identity[keyRepository] != "acme/shop" || old.Identity[keyID] != "43" {
			t.Fatalf("identity %v", old.Identity)
		}
		mustBe(t, p, old.Credential, checks.Active)
		prepared, err := p.Prepare(t.Context(), old, "op-1")
		if err != nil {
			t.Fatal(err)
		}
		mustBe(t, p, prepared.Draft, checks.Inactive)
		request := Request{Old: old, Operation: "op-1", Prepared: prepared}
		api.lose = true
		fresh, err := p.Issue(t.Context(), request)
		if err != nil {
			t.Fatalf("the answer was lost, and a look tells: %v", err)
		}
		request.Again = true
		again, err := p.Issue(t.Context(), request)
		if err != nil || again.Secret() != fresh.Secret() || len(api.keys["acme/shop"]) != 5 {
			t.Errorf("again: %v; %d keys", err, len(api.keys["acme/shop"]))
		}
		added := api.keys["acme/shop"][4]
		if added.Title != "Stanch op-1" || added.ReadOnly != readOnly || strings.HasSuffix(fresh.Secret().Expose(), "\n") {
			t.Errorf("added %q, read only: %t", added.Title, added.ReadOnly)
		}
		mustBe(t, p, fresh, checks.Active)
		mustBe(t, p, old.Credential, checks.Active) // both, until the old one goes
		for n, want := range []rules.Meaning{rules.MeansRevoked, rules.MeansAlreadyDead} {
			receipt, err := p.Revoke(t.Context(), old)
			if err != nil || receipt.Meaning != want {
				t.Errorf("revoked %d times: %s, %v", n+1, receipt.Meaning, err)
			}
		}
		mustBe(t, p, old.Credential, checks.Inactive)
		mustBe(t, p, fresh, checks.Active)
		if !slices.Equal(api.removed, []int64{43}) {
			t.Errorf("removed %v, want 43 alone", api.removed)
		}
		// A replacement that was never stored is discarded, and once more.
		for range 2 {
			if _, err := p.Revoke(t.Context(), Target{Credential: fresh}); err != nil {
				t.Errorf("discard: %v", err)
			}
		}
		mustBe(t, p, fresh, checks.Inactive)
	}
}

// TestDeployKeyRevokedFirst: the replacement may do what the old one could.
func TestDeployKeyRevokedFirst(t *testing.T) {
	p, api, old := deployed(t, true)
	prepared, err := p.Prepare(t.Context(), old, "op-1")
	if err != nil {
		t.Fatal(err)
	}
	api.lose = true
	if _, err := p.Revoke(t.Context(), old); !errors.Is(err, errLost) {
		t.Errorf("%v, want the lost answer", err)
	}
	if receipt, err := p.Revoke(t.Context(), old); err != nil || receipt.Meaning != rules.MeansAlreadyDead {
		t.Errorf("%s, %v", receipt.Meaning, err)
	}
	fresh, err := p.Issue(t.Context(), Request{Old: old, Operation: "op-1", Prepared: prepared})
	if err != nil || !api.keys["acme/shop"][3].ReadOnly {
		t.Fatalf("%v, %+v", err, api.keys["acme/shop"])
	}
	mustBe(t, p, fresh, checks.Active)
}

// TestDeployKeyOfNobody: what is not certain is not touched.
func TestDeployKeyOfNobody(t *testing.T) {
	p, api, old := deployed(t, false)
	stranger := targetOf(t, p, openssh(t, newEd25519(t), ""))
	mustBe(t, p, stranger.Credential, checks.Inactive) // but only there, where it never was
	request := prepared(t, p, old, "op")
	if _, err := p.Prepare(t.Context(), stranger, "op"); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "STANCH_GITHUB_DEPLOY_KEYS") {
		t.Errorf("%v, want ErrCannotIssue", err)
	}
	if _, err := p.Revoke(t.Context(), stranger); !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), "STANCH_GITHUB_DEPLOY_KEYS") {
		t.Errorf("%v, want ErrCannotRevoke", err)
	}
	api.keys["acme/web"] = append(api.keys["acme/web"], DeployKey{ID: 99, Key: api.keys["acme/shop"][1].Key})
	if _, err := p.Revoke(t.Context(), old); err == nil || !strings.Contains(err.Error(), "a person must look") {
		t.Errorf("there twice: %v", err)
	}
	api.outage = true
	mustBe(t, p, old.Credential, checks.Unknown)
	if _, err := p.Revoke(t.Context(), old); !errors.Is(err, errLost) || errors.Is(err, ErrCannotRevoke) {
		t.Errorf("during an outage: %v", err)
	}
	if _, err := p.Issue(t.Context(), request); !errors.Is(err, errLost) || errors.Is(err, ErrCannotIssue) {
		t.Errorf("during an outage: %v", err)
	}
	if len(api.removed) > 0 {
		t.Errorf("removed %v", api.removed)
	}
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Config{{DeployKeyRepos: []string{"acme/shop"}}, {DeployKeys: api}} {
		cfg.Catalogue = catalogue
		off, err := New(cfg)
		if err != nil || off.Can("private-key").Revoke || off.Can("private-key").Issue {
			t.Errorf("%+v, %v", off.Can("private-key"), err)
		}
	}
	if _, err := New(Config{DeployKeyRepos: []string{"acme"}}); err == nil {
		t.Error("a repository without a name was accepted")
	}
}

// The last use is told of exactly this key, and is nothing from which follows that nobody
// uses it.
func TestDeployKeyWasUsed(t *testing.T) {
	p, api, old := deployed(t, true)
	use, known, err := p.LastUse(t.Context(), old)
	if err != nil || !known || !use.At.IsZero() {
		t.Errorf("never used: %+v, %t, %v", use, known, err)
	}
	at := time.Date(2026, 11, 3, 4, 5, 6, 0, time.UTC)
	for n := range api.keys["acme/shop"] {
		api.keys["acme/shop"][n].LastUsed = at.Add(time.Duration(api.keys["acme/shop"][n].ID-43) * time.Hour)
	}
	if use, known, err = p.LastUse(t.Context(), old); err != nil || !known || !use.At.Equal(at) || use.Partial == "" || use.Evidence.Request != "look for deploy key 43 of acme/shop" {
		t.Errorf("%+v, %t, %v", use, known, err)
	}
	stranger := targetOf(t, p, pkcs8(t, newEd25519(t)))
	if _, known, err = p.LastUse(t.Context(), stranger); known || err != nil {
		t.Errorf("a key that is nobody's: %t, %v", known, err)
	}
	api.outage = true
	if _, known, err = p.LastUse(t.Context(), old); known || !errors.Is(err, errLost) {
		t.Errorf("an outage: %t, %v", known, err)
	}
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	none, err := New(Config{Catalogue: catalogue})
	if err != nil {
		t.Fatal(err)
	}
	if _, known, err = none.LastUse(t.Context(), old); known || err != nil {
		t.Errorf("without repositories: %t, %v", known, err)
	}
}
