package provider

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// fakeEntra is Microsoft Graph, and Stanch's app there.
type fakeEntra struct {
	*cloudtest.Entra
	t   *testing.T
	own cloudtest.AzureAccount
}

func newFakeEntra(t *testing.T) *fakeEntra {
	azure, own := cloudtest.Azure(t)
	return &fakeEntra{cloudtest.NewEntra(azure, func() string { return sample(t, "azure-client-secret").Secret().Expose() }), t, own}
}

func (f *fakeEntra) providers() *Providers {
	f.t.Helper()
	account, err := cloud.NewAzure(cloud.AzureConfig{
		Tenant: cloudtest.AzureTenant, Client: cloudtest.AzureClient, Secret: checks.NewSecret(f.own.Secret), Authority: f.URL})
	if err != nil {
		f.t.Fatal(err)
	}
	return newProviders(f.t, Config{BaseURLs: map[string]string{"azure": f.URL}, Azure: account})
}

// add gives the app a secret, an hour ago.
func (f *fakeEntra) add(text string) (cred checks.Credential, keyID string) {
	f.Do(func() {
		s := f.Insert(entraTestApp, "by hand", text)
		s.Start, s.Hidden = time.Now().Add(-time.Hour), 0
		s.End = s.Start.Add(90 * 24 * time.Hour)
		keyID = s.KeyID
	})
	return parts("azure-client-secret", map[string]string{"tenant": entraTestTenant, "client": entraTestApp, checks.PartSecret: text}), keyID
}

func (f *fakeEntra) count() (n int) {
	f.Do(func() { n = len(f.Apps[entraTestApp]) })
	return n
}

// beginning makes a secret that begins so.
func beginning(t *testing.T, hint string) string {
	return hint + sample(t, "azure-client-secret").Secret().Expose()[3:]
}

func TestAzureSecretRotation(t *testing.T) {
	f := newFakeEntra(t)
	p := f.providers()
	other, _ := f.add(beginning(t, "aBc"))
	leaked, keyID := f.add(beginning(t, "abc"))
	f.add(beginning(t, "abC"))
	if can := p.Can(leaked.Rule); !can.Revoke || !can.Issue || can.Reversible {
		t.Fatalf("%+v", can)
	}
	f.Begin = []string{"abc", "abc"} // as the old one does: nobody could tell them apart
	fresh, _, err := operate(t, p, leaked, "op-1")
	if err != nil || strings.HasPrefix(fresh.Secret().Expose(), "abc") || f.count() != 4 {
		t.Fatalf("%v, %d secrets", err, f.count())
	}
	f.Do(func() {
		for _, s := range f.Apps[entraTestApp] {
			if s.Text == fresh.Secret().Expose() && (s.Name != "stanch op-1" || time.Until(s.End).Round(time.Hour) != 90*24*time.Hour) {
				t.Errorf("the new secret is %+v", s)
			}
		}
	})
	wantValidity(t, p, fresh, checks.Active)
	wantValidity(t, p, leaked, checks.Active)
	f.Late = []string{leaked.Secret().Expose()}
	for range 2 { // it works on for a while
		got, err := p.Revoke(t.Context(), Target{Credential: leaked})
		if err != nil || got.Meaning != rules.MeansAccepted || f.count() != 3 {
			t.Errorf("%+v, %v; %d secrets", got, err, f.count())
		}
	}
	f.Late = nil
	if got, err := p.Revoke(t.Context(), Target{Credential: leaked}); err != nil || got.Meaning != rules.MeansAlreadyDead {
		t.Errorf("%+v, %v", got, err)
	}
	f.Do(func() {
		if slices.ContainsFunc(f.Apps[entraTestApp], func(s *cloudtest.AppSecret) bool { return s.KeyID == keyID }) {
			t.Error("another secret was removed")
		}
	})
	wantValidity(t, p, fresh, checks.Active)
	wantValidity(t, p, other, checks.Active)
}

func TestAzureSecretLostAnswers(t *testing.T) {
	for _, lag := range []int{0, 1} {
		f := newFakeEntra(t)
		p := f.providers()
		leaked, _ := f.add(beginning(t, "abc"))
		f.Lag = lag
		f.Lose("POST /v1.0/applications(appId='" + entraTestApp + "')/addPassword")
		_, r, err := operate(t, p, leaked, "op-1")
		if err == nil || errors.Is(err, ErrCannotIssue) || f.count() != 2 {
			t.Fatalf("%v, %d secrets", err, f.count())
		}
		r.Again = true
		fresh, err := p.Issue(t.Context(), r)
		if err != nil || f.count() != 2 {
			t.Errorf("lag %d: %v, %d secrets; want the leaked one and the new one", lag, err, f.count())
		}
		wantValidity(t, p, fresh, checks.Active)
		wantValidity(t, p, leaked, checks.Active)
	}
}

func TestAzureSecretWrongVictims(t *testing.T) {
	f := newFakeEntra(t)
	p := f.providers()
	leaked, first := f.add(beginning(t, "abc"))
	_, second := f.add(beginning(t, "abc"))
	_, err := p.Revoke(t.Context(), Target{Credential: leaked})
	if !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), first) || !strings.Contains(err.Error(), second) || f.count() != 2 {
		t.Errorf("two that begin alike: %v", err)
	}
	// An expired one is not the leaked one, which works.
	f.Do(func() {
		for _, s := range f.Apps[entraTestApp] {
			if s.KeyID == second {
				s.End = time.Now().Add(-time.Minute)
			}
		}
	})
	if _, err := p.Revoke(t.Context(), Target{Credential: leaked}); err != nil || f.count() != 1 || f.Apps[entraTestApp][0].KeyID != second {
		t.Errorf("%v", err)
	}
	// A dead one must not take along another that begins as it does.
	dead := parts(leaked.Rule, map[string]string{"tenant": entraTestTenant, "client": entraTestApp, checks.PartSecret: beginning(t, "xyz")})
	live, _ := f.add(beginning(t, "xyz"))
	if got, err := p.Revoke(t.Context(), Target{Credential: dead}); err != nil || got.Meaning != rules.MeansAlreadyDead {
		t.Errorf("%+v, %v", got, err)
	}
	wantValidity(t, p, live, checks.Active)
	// A new one may be refused because it is new.
	f.Do(func() { f.Insert(entraTestApp, "young", beginning(t, "yng")) })
	dead.Parts[checks.PartSecret] = checks.NewSecret(beginning(t, "yng"))
	if _, err := p.Revoke(t.Context(), Target{Credential: dead}); err == nil || errors.Is(err, ErrCannotRevoke) {
		t.Errorf("%v; want that it is asked again", err)
	}
	for why, named := range map[string]map[string]string{
		"does not stand": {"tenant": entraTestTenant}, "is of another one": {"tenant": "22222222-2222-3333-4444-555555555555", "client": entraTestApp},
		"stand beside the secret": {"tenant": entraTestTenant, "client": entraTestApp + "')/x"},
	} {
		named[checks.PartSecret] = live.Secret().Expose()
		cred := parts(leaked.Rule, named)
		if _, err := p.Revoke(t.Context(), Target{Credential: cred}); !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %s", err, why)
		}
		if _, _, err := operate(t, p, cred, "op"); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %s", err, why)
		}
	}
	own := parts(leaked.Rule, map[string]string{"tenant": cloudtest.AzureTenant, "client": cloudtest.AzureClient, checks.PartSecret: f.own.Secret})
	if _, err := p.Revoke(t.Context(), Target{Credential: own}); !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), "itself") {
		t.Errorf("Stanch's own: %v", err)
	}
}

func TestAzureAppPolicyIsSufficientAndMinimal(t *testing.T) {
	f := newFakeEntra(t)
	p := f.providers()
	checkPolicy(t, f.Cloud, AzureAppPolicy(), func(action string) (err error) {
		f.Do(func() { clear(f.Apps) })
		leaked, _ := f.add(beginning(t, "abc"))
		if action == "issue" {
			_, _, err = operate(t, p, leaked, "op")
			return err
		}
		_, err = p.Revoke(t.Context(), Target{Credential: leaked})
		return err
	})
}
