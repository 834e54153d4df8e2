package provider

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// fakeARM is Azure's Resource Manager, and Stanch's providers with an account there.
type fakeARM struct {
	*cloudtest.ARM
	t *testing.T
	p *Providers
}

func newFakeARM(t *testing.T) *fakeARM {
	azure, own := cloudtest.Azure(t)
	f := &fakeARM{ARM: cloudtest.NewARM(azure), t: t}
	account, err := cloud.NewAzure(cloud.AzureConfig{
		Tenant: cloudtest.AzureTenant, Client: cloudtest.AzureClient, Secret: checks.NewSecret(own.Secret), Authority: f.URL})
	if err != nil {
		t.Fatal(err)
	}
	f.p = newProviders(t, Config{BaseURLs: map[string]string{"azure": f.URL}, Azure: account, AzureSubscriptions: []string{cloudtest.AzureSubscription}})
	return f
}

// key is a key of an account as it leaks.
func (f *fakeARM) key(name string, n int) checks.Credential {
	return parts("azure-storage-key", map[string]string{"account": name, checks.PartSecret: f.Accounts[name][n-1]})
}

func (f *fakeARM) add(name string) {
	f.Insert(name, sample(f.t, "azure-storage-key").Secret().Expose(), sample(f.t, "azure-storage-key").Secret().Expose())
}

func TestAzureStorageRotation(t *testing.T) {
	f := newFakeARM(t)
	for _, name := range []string{"shop1", "shop", "shopx"} {
		f.add(name)
	}
	for n := 1; n <= 2; n++ {
		leaked, other := f.key("shop", n), f.key("shop", 3-n)
		verdict := ask(t, f.p, leaked, checks.Active, GradeA)
		if verdict.Evidence.Identity["key"] != fmt.Sprint("key", n) {
			t.Errorf("identity %v", verdict.Evidence.Identity)
		}
		fresh, r, err := operate(t, f.p, leaked, "op-1")
		if err != nil || fresh.Secret() != other.Secret() || fresh.Parts["account"] != leaked.Parts["account"] {
			t.Fatalf("%v; want the other key", err)
		}
		r.Again = true
		if again, err := f.p.Issue(t.Context(), r); err != nil || again.Secret() != fresh.Secret() {
			t.Errorf("asked again: %v", err)
		}
		target := Target{Credential: leaked, Identity: verdict.Evidence.Identity}
		f.Lose("POST /subscriptions/" + cloudtest.AzureSubscription + "/resourceGroups/shop/providers/Microsoft.Storage/storageAccounts/shop/regenerateKey")
		if _, err := f.p.Revoke(t.Context(), target); err == nil {
			t.Error("an answer that was lost is a success")
		}
		if got, err := f.p.Revoke(t.Context(), target); err != nil || got.Meaning != rules.MeansAlreadyDead {
			t.Errorf("%+v, %v", got, err)
		}
		wantValidity(t, f.p, leaked, checks.Inactive)
		wantValidity(t, f.p, fresh, checks.Active)
		if _, _, err := operate(t, f.p, leaked, "op-2"); !errors.Is(err, ErrCannotIssue) {
			t.Errorf("a dead key was replaced: %v", err)
		}
		f.add("shop")
	}
}

// Only the key that was verified as leaked is made anew.
func TestAzureStorageWrongVictims(t *testing.T) {
	f := newFakeARM(t)
	f.add("shop")
	f.add("shop2")
	one, two := f.key("shop", 1), f.key("shop", 2)
	for name, target := range map[string]Target{
		"a replacement that is discarded": {Credential: two},
		"verified as the other one":       {Credential: one, Identity: map[string]string{"key": "key2"}},
		"of an account nobody has":        {Credential: parts(one.Rule, map[string]string{"account": "sho", checks.PartSecret: one.Secret().Expose()}), Identity: map[string]string{"key": "key1"}},
		"of no account":                   {Credential: credential(one.Rule, one.Secret().Expose()), Identity: map[string]string{"key": "key1"}},
		"of a path":                       {Credential: parts(one.Rule, map[string]string{"account": "shop/x", checks.PartSecret: one.Secret().Expose()})},
	} {
		if _, err := f.p.Revoke(t.Context(), target); !errors.Is(err, ErrCannotRevoke) {
			t.Errorf("%s: %v, want ErrCannotRevoke", name, err)
		}
	}
	elsewhere := Target{Credential: parts(one.Rule, map[string]string{"account": "shop2", checks.PartSecret: one.Secret().Expose()}), Identity: map[string]string{"key": "key1"}}
	if got, err := f.p.Revoke(t.Context(), elsewhere); err != nil || got.Meaning != rules.MeansAlreadyDead {
		t.Errorf("another account's key: %+v, %v", got, err)
	}
	if f.key("shop", 1).Secret() != one.Secret() || f.key("shop", 2).Secret() != two.Secret() {
		t.Error("a key is another one")
	}
	ask(t, f.p, credential(one.Rule, one.Secret().Expose()), checks.Unknown, GradeC)
	f.Elsewhere = "https://arm.example.com/subscriptions"
	ask(t, f.p, f.key("shop2", 1), checks.Unknown, GradeC)
}

func TestAzureStoragePolicyIsSufficientAndMinimal(t *testing.T) {
	f := newFakeARM(t)
	checkPolicy(t, f.Cloud, AzureStoragePolicy(), func(action string) (err error) {
		f.add("shop")
		leaked := f.key("shop", 1)
		switch action {
		case "verify":
			v, err := f.p.VerifyAgain(t.Context(), leaked)
			if err == nil && v.Validity != checks.Active {
				return errors.New(v.Evidence.Answer)
			}
			return err
		case "issue":
			_, _, err = operate(t, f.p, leaked, "op")
		case "revoke":
			_, err = f.p.Revoke(t.Context(), Target{Credential: leaked, Identity: map[string]string{"key": "key1"}})
		}
		return err
	})
}
