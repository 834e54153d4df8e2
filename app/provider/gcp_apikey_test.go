package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const apiKeyParent = "projects/20000000001/locations/global"

// fakeAPIKeys is Google's API Keys API, and Stanch's providers with an account there.
type fakeAPIKeys struct {
	*cloudtest.APIKeys
	p *Providers
}

func newFakeAPIKeys(t *testing.T) *fakeAPIKeys {
	google, own := cloudtest.Google(t)
	f := &fakeAPIKeys{APIKeys: cloudtest.NewAPIKeys(google, func() string { return sample(t, "gcp-api-key").Secret().Expose() })}
	account, err := cloud.NewGoogle(own)
	if err != nil {
		t.Fatal(err)
	}
	f.p = newProviders(t, Config{BaseURLs: map[string]string{"gcp": f.URL}, Google: account})
	f.p.revokers[driverGCPAPIKey].(*googleAPIKeys).pause = 0
	return f
}

func (f *fakeAPIKeys) add(id string, cred checks.Credential) {
	f.Do(func() {
		f.Keys[id] = &cloudtest.APIKey{Text: cred.Secret().Expose(), Parent: apiKeyParent, Said: map[string]any{
			"displayName": "Maps of the shop, for customers in Europe and elsewhere (web)", "etag": "e-" + id,
			"restrictions": map[string]any{"apiTargets": []any{map[string]any{"service": "maps.googleapis.com"}}}}}
	})
}

func TestGoogleAPIKeyRotation(t *testing.T) {
	f := newFakeAPIKeys(t)
	leaked, alike := sample(t, "gcp-api-key"), sample(t, "gcp-api-key")
	text := leaked.Secret().Expose()
	nearly := credential("gcp-api-key", text[:len(text)-1]+string(text[len(text)-1]^1))
	f.add("web", leaked)
	f.add("web-2", alike)
	f.add("web-3", nearly)
	f.Lag = 3
	fresh, _, err := operate(t, f.p, leaked, "op-1")
	if err != nil {
		t.Fatal(err)
	}
	f.Do(func() {
		made := f.Keys[apiKeyID("op-1")]
		if diff := cmp.Diff(f.Keys["web"].Said["restrictions"], made.Said["restrictions"]); diff != "" {
			t.Errorf("restrictions (-old +new):\n%s", diff)
		}
		if fmt.Sprint(made.Said["annotations"]) != "map[stanch_operation:op-1]" {
			t.Errorf("the operation is not noted: %v", made.Said)
		}
	})
	wantValidity(t, f.p, fresh, checks.Active)
	wantValidity(t, f.p, leaked, checks.Active)
	target := Target{Credential: leaked}
	for _, want := range []rules.Meaning{rules.MeansRevoked, rules.MeansAlreadyDead} {
		if got, err := f.p.Disable(t.Context(), target); err != nil || got.Meaning != want {
			t.Errorf("%+v, %v; want %s", got, err, want)
		}
		wantValidity(t, f.p, leaked, checks.Inactive)
	}
	for range 2 {
		if _, err := f.p.Enable(t.Context(), target); err != nil {
			t.Error(err)
		}
		wantValidity(t, f.p, leaked, checks.Active)
	}
	for _, want := range []rules.Meaning{rules.MeansRevoked, rules.MeansAlreadyDead} {
		got, err := f.p.Revoke(t.Context(), target)
		if said, _ := json.Marshal(got); err != nil || got.Meaning != want || strings.Contains(string(said), text) {
			t.Errorf("%s, %v; want %s", said, err, want)
		}
	}
	for _, alive := range []checks.Credential{fresh, alike, nearly} {
		wantValidity(t, f.p, alive, checks.Active)
	}
	f.Do(func() { f.Keys["web"].Gone = true })
	if got, err := f.p.Revoke(t.Context(), target); err != nil || got.Meaning != rules.MeansAlreadyDead {
		t.Errorf("a purged key: %+v, %v", got, err)
	}
	if _, err := f.p.Enable(t.Context(), target); !errors.Is(err, ErrCannotDisable) {
		t.Errorf("a purged key came back: %v", err)
	}
	if _, _, err := operate(t, f.p, sample(t, "gcp-api-key"), "op-2"); !errors.Is(err, ErrCannotIssue) {
		t.Errorf("an unknown key was replaced: %v", err)
	}
}

func TestGoogleAPIKeyLostAnswers(t *testing.T) {
	for _, lag := range []int{0, 2, 15} {
		f := newFakeAPIKeys(t)
		leaked := sample(t, "gcp-api-key")
		f.add("web", leaked)
		f.Lag = lag
		f.Lose("POST /v2/" + apiKeyParent + "/keys")
		_, r, err := operate(t, f.p, leaked, "op-1")
		if err == nil || errors.Is(err, ErrCannotIssue) || strings.Contains(err.Error(), leaked.Secret().Expose()) {
			t.Fatalf("%v", err)
		}
		r.Again = true
		var fresh checks.Credential
		for range 3 {
			if fresh, err = f.p.Issue(t.Context(), r); err == nil {
				break
			}
		}
		if err != nil || len(f.Keys) != 2 {
			t.Fatalf("%v, %d keys", err, len(f.Keys))
		}
		wantValidity(t, f.p, fresh, checks.Active)
	}
}

func TestGoogleAPIKeyPolicyIsSufficientAndMinimal(t *testing.T) {
	f := newFakeAPIKeys(t)
	leaked := sample(t, "gcp-api-key")
	n := 0
	checkPolicy(t, f.Cloud, GoogleAPIKeyPolicy(), func(action string) (err error) {
		f.add("web", leaked)
		target := Target{Credential: leaked}
		switch n++; action {
		case "issue":
			_, _, err = operate(t, f.p, leaked, fmt.Sprint("op-", n))
		case "disable":
			_, err = f.p.Disable(t.Context(), target)
		case "enable":
			f.Do(func() { f.Keys["web"].Deleted = true })
			_, err = f.p.Enable(t.Context(), target)
		case "revoke":
			_, err = f.p.Revoke(t.Context(), target)
		}
		return err
	})
}
