package provider

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const robot = "robot@shop.iam.gserviceaccount.com"

// fakeIAM is Google's IAM, and Stanch's key file there.
type fakeIAM struct {
	*cloudtest.IAM
	t   *testing.T
	own []byte
}

func newFakeIAM(t *testing.T) *fakeIAM {
	google, own := cloudtest.Google(t)
	return &fakeIAM{cloudtest.NewIAM(google), t, own}
}

// providers are Stanch's, with its account there.
func (f *fakeIAM) providers() *Providers {
	f.t.Helper()
	account, err := cloud.NewGoogle(f.own)
	if err != nil {
		f.t.Fatal(err)
	}
	return newProviders(f.t, Config{BaseURLs: map[string]string{"gcp": f.URL}, Google: account})
}

// add makes a key of an account, and returns its file.
func (f *fakeIAM) add(email string, key *rsa.PrivateKey, kind string) (id string, file checks.Credential) {
	f.Do(func() { id = f.Insert(email, certificateOf(f.t, key), kind).ID })
	return id, parts("gcp-service-account-key", map[string]string{
		"email": email, "id": id, "project": "shop", checks.PartSecret: strings.ReplaceAll(pkcs8(f.t, key), "\n", `\n`),
	})
}

// rsaPool are keys that tests share: making one takes a while.
var rsaPool = sync.OnceValue(func() (keys [4]*rsa.PrivateKey) {
	for n := range keys {
		keys[n], _ = rsa.GenerateKey(rand.Reader, 2048) // never fails: see crypto/rand
	}
	return keys
})

func pooledRSA(n int) *rsa.PrivateKey { return rsaPool()[n] }

// operate prepares and issues, as one remediation does.
func operate(t *testing.T, p *Providers, old checks.Credential, operation string) (checks.Credential, Request, error) {
	t.Helper()
	prepared, err := p.Prepare(t.Context(), Target{Credential: old}, operation)
	if err != nil {
		return checks.Credential{}, Request{}, err
	}
	r := Request{Old: Target{Credential: old}, Operation: operation, Prepared: prepared}
	fresh, err := p.Issue(t.Context(), r)
	return fresh, r, err
}

// wantValidity asks now.
func wantValidity(t *testing.T, p *Providers, cred checks.Credential, want checks.Validity) {
	t.Helper()
	v, err := p.VerifyAgain(t.Context(), cred)
	if err != nil || v.Validity != want {
		t.Errorf("%s (%s), %v; want %s", v.Validity, v.Evidence.Answer, err, want)
	}
}

func TestGoogleKeyRotation(t *testing.T) {
	f := newFakeIAM(t)
	p := f.providers()
	_, other := f.add(robot, pooledRSA(0), "USER_MANAGED")
	f.add(robot, pooledRSA(1), "SYSTEM_MANAGED")
	_, leaked := f.add(robot, pooledRSA(2), "USER_MANAGED")
	if can := p.Can(leaked.Rule); !can.Verify || !can.Revoke || !can.Issue || !can.Reversible {
		t.Fatalf("%+v", can)
	}
	fresh, _, err := operate(t, p, leaked, "op-1")
	if err != nil {
		t.Fatal(err)
	}
	if fresh.Parts["id"] == leaked.Parts["id"] || fresh.Parts["email"] != leaked.Parts["email"] || fresh.Parts["project"] != leaked.Parts["project"] ||
		strings.Contains(fresh.Secret().Expose(), "\n") || !strings.HasSuffix(fresh.Secret().Expose(), `-----\n`) {
		t.Error("the new key file is not written as the old one")
	}
	wantValidity(t, p, fresh, checks.Active)
	wantValidity(t, p, leaked, checks.Active)
	target := Target{Credential: leaked}
	for range 2 {
		if _, err := p.Disable(t.Context(), target); err != nil {
			t.Fatal(err)
		}
		wantValidity(t, p, leaked, checks.Inactive)
	}
	for range 2 {
		if _, err := p.Enable(t.Context(), target); err != nil {
			t.Fatal(err)
		}
		wantValidity(t, p, leaked, checks.Active)
	}
	for _, want := range []rules.Meaning{rules.MeansRevoked, rules.MeansAlreadyDead} {
		if got, err := p.Revoke(t.Context(), target); err != nil || got.Meaning != want {
			t.Errorf("%+v, %v; want %s", got, err, want)
		}
		wantValidity(t, p, leaked, checks.Inactive)
	}
	wantValidity(t, p, fresh, checks.Active)
	wantValidity(t, p, other, checks.Active)
	if n := f.Keys(robot); n != 3 {
		t.Errorf("%d keys are left, want 3", n)
	}
}

// The answer to an upload that was done does not come. It is asked for again, while
// lists do not show the new key yet, or do.
func TestGoogleKeyLostAnswers(t *testing.T) {
	for _, lag := range []int{0, 1, 5} {
		f := newFakeIAM(t)
		p := f.providers()
		_, leaked := f.add(robot, pooledRSA(0), "USER_MANAGED")
		f.Lag = lag
		f.Lose("POST /v1/projects/-/serviceAccounts/" + robot + "/keys:upload")
		_, r, err := operate(t, p, leaked, "op-2")
		if err == nil || errors.Is(err, ErrCannotIssue) || errors.As(err, new(*UnsettledError)) {
			t.Fatalf("%v; want that it may be asked for again", err)
		}
		r.Again = true
		fresh, err := p.Issue(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		wantValidity(t, p, fresh, checks.Active)
		f.Do(func() {
			for _, k := range f.Accounts[robot] {
				k.Hidden = 0
			}
		})
		last, err := p.Issue(t.Context(), r)
		if err != nil || last.Secret() != fresh.Secret() {
			t.Errorf("asked for once more: %v", err)
		}
		if n := f.Keys(robot); n != 2 {
			t.Errorf("lag %d: %d keys, want the leaked one and one more", lag, n)
		}
		if _, err := p.Revoke(t.Context(), Target{Credential: last}); err != nil || f.Keys(robot) != 1 {
			t.Errorf("revoked: %v, %d keys", err, f.Keys(robot))
		}
	}
}

func TestGoogleKeyPolicies(t *testing.T) {
	f := newFakeIAM(t)
	p := f.providers()
	_, leaked := f.add(robot, pooledRSA(0), "USER_MANAGED")
	f.Forbidden = []string{"iam.disableServiceAccountKeyUpload"}
	fresh, _, err := operate(t, p, leaked, "op-3")
	if err != nil {
		t.Fatal(err)
	}
	wantValidity(t, p, fresh, checks.Active)
	f.Lose("POST /v1/projects/-/serviceAccounts/" + robot + "/keys")
	_, r, err := operate(t, p, leaked, "op-4")
	if err == nil {
		t.Fatal("an upload without an answer was taken for a refusal")
	}
	r.Again = true
	var unsettled *UnsettledError
	if _, err = p.Issue(t.Context(), r); !errors.As(err, &unsettled) || f.Keys(robot) != 2 {
		t.Errorf("%v, %d keys", err, f.Keys(robot))
	}
	prepared := r.Prepared
	id, _ := f.add(robot, pooledRSA(1), "USER_MANAGED")
	r.Prepared = prepared
	if _, err = p.Issue(t.Context(), r); !errors.As(err, &unsettled) || !strings.Contains(err.Error(), id) || f.Keys(robot) != 3 {
		t.Errorf("%v, %d keys; want the new key named, and none made", err, f.Keys(robot))
	}
	f.Forbidden = append(f.Forbidden, "iam.managed.disableServiceAccountKeyCreation")
	if _, _, err = operate(t, p, leaked, "op-5"); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "needs no key") {
		t.Errorf("%v", err)
	}
	f.Forbidden = nil
	for filler := pooledRSA(2); f.Keys(robot) < 10; {
		f.add(robot, filler, "USER_MANAGED")
	}
	if _, _, err = operate(t, p, leaked, "op-6"); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "10 keys") {
		t.Errorf("%v", err)
	}
}

// No other key than the leaked one may die, whatever stands beside it.
func TestGoogleKeyWrongVictims(t *testing.T) {
	f := newFakeIAM(t)
	p := f.providers()
	key := pooledRSA(0)
	otherID, other := f.add(robot, pooledRSA(1), "USER_MANAGED")
	_, leaked := f.add(robot, key, "USER_MANAGED")
	mixed := parts(leaked.Rule, map[string]string{"email": robot, "id": otherID, checks.PartSecret: leaked.Secret().Expose()})
	nearly := parts(leaked.Rule, map[string]string{"email": robot, "id": leaked.Parts["id"].Expose()[:39], checks.PartSecret: other.Secret().Expose()})
	for name, do := range map[string]func(Target) error{
		"disable": func(t2 Target) error { _, err := p.Disable(t.Context(), t2); return err },
		"enable":  func(t2 Target) error { _, err := p.Enable(t.Context(), t2); return err },
		"revoke":  func(t2 Target) error { _, err := p.Revoke(t.Context(), t2); return err },
	} {
		if err := do(Target{Credential: mixed}); !errors.Is(err, errMixed) {
			t.Errorf("%s: %v", name, err)
		}
		for _, email := range []string{"", "../../x", "robot@example.com", "robot@shop.iam.gserviceaccount.com/keys/" + otherID} {
			cred := parts(leaked.Rule, map[string]string{"email": email, checks.PartSecret: leaked.Secret().Expose()})
			if err := do(Target{Credential: cred}); err == nil {
				t.Errorf("%s %q was taken", name, email)
			}
		}
	}
	if f.Keys(robot) != 2 {
		t.Fatal("a key is gone")
	}
	wantValidity(t, p, other, checks.Active)
	wantValidity(t, p, leaked, checks.Active)
	// The same key once more, under another id: both open the account.
	again, _ := f.add(robot, key, "USER_MANAGED")
	got, err := p.Revoke(t.Context(), Target{Credential: leaked})
	if err != nil || !strings.Contains(got.Evidence.Answer, again) || f.Keys(robot) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	// An id that is none of the account's hides no key.
	if _, err := p.Revoke(t.Context(), Target{Credential: nearly}); err != nil || f.Keys(robot) != 0 {
		t.Errorf("%v", err)
	}
}

// Where the id of the old key is not known, nobody knows where that of the new one belongs.
func TestGoogleKeyWithoutItsFile(t *testing.T) {
	f := newFakeIAM(t)
	p := f.providers()
	_, leaked := f.add(robot, pooledRSA(0), "USER_MANAGED")
	delete(leaked.Parts, "id")
	if _, _, err := operate(t, p, leaked, "op-1"); !errors.Is(err, ErrCannotIssue) || f.Keys(robot) != 1 {
		t.Errorf("%v", err)
	}
	leaked.Parts["id"] = checks.NewSecret("1a")
	leaked.Parts["email"] = checks.NewSecret("nobody@shop.iam.gserviceaccount.com")
	if _, _, err := operate(t, p, leaked, "op-2"); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), mayListKeys) {
		t.Errorf("%v", err)
	}
}

// What Google disabled because it leaked, no undo enables.
func TestGoogleKeyThatGoogleDisabled(t *testing.T) {
	f := newFakeIAM(t)
	p := f.providers()
	f.add(robot, pooledRSA(0), "SYSTEM_MANAGED")
	id, leaked := f.add(robot, pooledRSA(1), "USER_MANAGED")
	f.Do(func() {
		k := f.Key(robot, id)
		k.Disabled, k.Reason = true, "SERVICE_ACCOUNT_KEY_DISABLE_REASON_EXPOSED"
	})
	target := Target{Credential: leaked}
	if got, err := p.Disable(t.Context(), target); err != nil || !strings.Contains(got.Evidence.Answer, "already") {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := p.Enable(t.Context(), target); !errors.Is(err, ErrCannotDisable) || !strings.Contains(err.Error(), "Google found") {
		t.Errorf("%v", err)
	}
	wantValidity(t, p, leaked, checks.Inactive)
}

func TestGoogleOwnKeyIsNotRevoked(t *testing.T) {
	f := newFakeIAM(t)
	p := f.providers()
	own := parts("gcp-service-account-key", map[string]string{"email": cloudtest.GoogleEmail, checks.PartSecret: p.revokers[driverGCP].(*google).account.Key.Expose()})
	if _, err := p.Revoke(t.Context(), Target{Credential: own}); !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), "itself") {
		t.Errorf("%v", err)
	}
}

func TestGoogleKeyPolicyIsSufficientAndMinimal(t *testing.T) {
	f := newFakeIAM(t)
	policy, key := GoogleKeyPolicy(), pooledRSA(0)
	p, analyzer := f.providers(), cloudtest.NewKeyUse(f.IAM, time.Now())
	try := map[string]func(*Providers, checks.Credential) error{
		"issue": func(p *Providers, c checks.Credential) error { _, _, err := operate(t, p, c, "op"); return err },
		"disable": func(p *Providers, c checks.Credential) error {
			_, err := p.Disable(t.Context(), Target{Credential: c})
			return err
		},
		"enable": func(p *Providers, c checks.Credential) error {
			f.Do(func() {
				for _, k := range f.Accounts[robot] {
					k.Disabled = true
				}
			})
			_, err := p.Enable(t.Context(), Target{Credential: c})
			return err
		},
		"revoke": func(p *Providers, c checks.Credential) error {
			_, err := p.Revoke(t.Context(), Target{Credential: c})
			return err
		},
		"last use": func(p *Providers, c checks.Credential) error {
			f.Do(func() { analyzer.Used[c.Parts["id"].Expose()] = time.Now() })
			use, known, err := p.LastUse(t.Context(), Target{Credential: c})
			if err == nil && !known {
				return errors.New(use.Evidence.Answer)
			}
			return err
		},
	}
	checkPolicy(t, f.Cloud, policy, func(action string) error {
		f.Do(func() { f.Accounts[robot] = nil })
		_, leaked := f.add(robot, key, "USER_MANAGED")
		return try[action](p, leaked)
	})
	if !slices.ContainsFunc(f.Calls, func(c string) bool { return strings.HasPrefix(c, "DELETE") }) {
		t.Error("nothing was deleted")
	}
}
