package secretstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
)

var _ store = (*Azure)(nil)

// fakeKeyVault is a Key Vault, and Stanch's app there.
type fakeKeyVault struct {
	*cloudtest.KeyVault
	t   *testing.T
	own cloudtest.AzureAccount
}

func newFakeKeyVault(t *testing.T) *fakeKeyVault {
	azure, own := cloudtest.Azure(t)
	return &fakeKeyVault{cloudtest.NewKeyVault(azure), t, own}
}

func (f *fakeKeyVault) open() *Azure {
	f.t.Helper()
	account, err := cloud.NewAzure(cloud.AzureConfig{
		Tenant: cloudtest.AzureTenant, Client: cloudtest.AzureClient, Secret: checks.NewSecret(f.own.Secret), Authority: f.URL})
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := NewAzure(AzureConfig{Account: account, Vaults: []string{"shop-vault"}, Key: testKey, BaseURL: f.URL + "/{vault}"})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// versions are the ids of a secret's versions, the oldest first.
func (f *fakeKeyVault) versions(name string) (all []Version) {
	f.Do(func() {
		for _, v := range f.Secrets[name] {
			all = append(all, Version(v.ID))
		}
	})
	return all
}

func vaultDeploy(version Version, field string) Location {
	return Location{Store: "azure", Path: "shop-vault/deploy", Field: field, Version: version}
}

func TestAzure(t *testing.T) {
	f := newFakeKeyVault(t)
	const root = "shop-vault/"
	testStore(t, renamed{f.open(), root}, renamed{f.open(), root}, root, takesAll)
}

// What is beside the value goes along, and the operation is noted there.
func TestAzureKeepsWhatItDoesNotReplace(t *testing.T) {
	f := newFakeKeyVault(t)
	s := f.open()
	value := fresh()
	f.Do(func() {
		v := f.Insert("deploy", value.Expose())
		v.ContentType, v.Tags = "text/plain", map[string]string{"owner": "ann"}
	})
	found, err := s.Locate(t.Context(), fingerprint(value))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	put, err := putOne(t.Context(), s, found[0], fresh(), "op-42")
	if err != nil {
		t.Fatal(err)
	}
	f.Do(func() {
		v := f.Secrets["deploy"][1]
		if diff := cmp.Diff(map[string]string{"owner": "ann", "stanch_operation": "op-42"}, v.Tags); diff != "" || v.ContentType != "text/plain" {
			t.Errorf("%s, tags (-want +got):\n%s", v.ContentType, diff)
		}
	})
	past, err := s.History(t.Context(), put)
	if err != nil || len(past) != 2 || past[0].Operation != "op-42" || past[1].Operation != "" {
		t.Errorf("%+v, %v", past, err)
	}
}

// Only what has changed is asked about, and what changed this minute may have again.
func TestAzureReadsWhatHasChanged(t *testing.T) {
	f := newFakeKeyVault(t)
	s := f.open()
	value := fresh()
	f.Do(func() {
		for n := range 5 {
			f.Insert(fmt.Sprint("s", n), fresh().Expose())
		}
		f.Insert("deploy", value.Expose())
		f.Insert("certificate", "managed")
		f.Managed = "certificate"
	})
	locate := func(value checks.Secret, want int) (calls int) {
		t.Helper()
		before := f.Count("")
		if found, err := s.Locate(t.Context(), fingerprint(value)); err != nil || len(found) != want {
			t.Fatalf("%v, %v", found, err)
		}
		return f.Count("") - before
	}
	if n := locate(value, 1); n != 4+6+6 {
		t.Errorf("%d calls for four pages and six secrets", n)
	}
	if n := locate(value, 1); n != 4 {
		t.Errorf("%d calls when nothing has changed", n)
	}
	f.Do(func() { f.Insert("s1", value.Expose()) })
	if n := locate(value, 2); n != 4+2 {
		t.Errorf("%d calls when one secret has changed", n)
	}
	// Twice within the second that lists tell.
	f.Do(func() {
		f.Clock, f.Tick = time.Now().Unix(), 0
		f.Insert("s2", fresh().Expose())
	})
	locate(value, 2)
	f.Do(func() { f.Insert("s2", value.Expose()) })
	locate(value, 3)
	locate(checks.NewSecret("managed"), 0)
}

// Of several versions of one second the one that readers get is the current one.
func TestAzureVersionsOfOneSecond(t *testing.T) {
	f := newFakeKeyVault(t)
	s := f.open()
	f.Do(func() { f.Tick = 0 })
	values := []checks.Secret{fresh(), fresh(), fresh()}
	f.Do(func() { f.Insert("deploy", values[0].Expose()) })
	for n := range 2 {
		at := vaultDeploy(f.versions("deploy")[n], WholeText)
		for range 2 { // the second time as after a crash
			put, err := putOne(t.Context(), s, at, values[n+1], "op")
			if err != nil || put.Version != f.versions("deploy")[n+1] || len(f.versions("deploy")) != n+2 {
				t.Fatalf("%s, %v; %d versions", put, err, len(f.versions("deploy")))
			}
		}
	}
	if f.Text("deploy") != values[2].Expose() {
		t.Error("readers get another version")
	}
	last := f.versions("deploy")[2]
	if err := s.Retire(t.Context(), vaultDeploy(last, WholeText)); err == nil {
		t.Error("the current version was retired")
	}
	f.Do(func() { f.Secrets["deploy"][2].Enabled = false })
	if _, err := s.Get(t.Context(), vaultDeploy(last, WholeText)); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "disabled") {
		t.Errorf("%v; want that it is disabled", err)
	}
}

func TestAzureConflictIsDetected(t *testing.T) {
	f := newFakeKeyVault(t)
	s := f.open()
	leaked, theirs, ours := fresh(), fresh(), fresh()
	f.Do(func() {
		f.Insert("deploy", leaked.Expose())
		f.BeforeSet = func(name string) { f.Insert(name, theirs.Expose()) }
	})
	if _, err := putOne(t.Context(), s, vaultDeploy(f.versions("deploy")[0], WholeText), ours, "op-1"); !errors.Is(err, ErrConflict) {
		t.Errorf("%v, want ErrConflict", err)
	}
	if f.Text("deploy") != theirs.Expose() {
		t.Error("readers do not get what somebody else put")
	}
	if found, err := s.Locate(t.Context(), fingerprint(ours)); err != nil || len(found) != 0 {
		t.Errorf("ours is left at %v, %v", found, err)
	}
}

func TestAzureLostAnswers(t *testing.T) {
	f := newFakeKeyVault(t)
	s := f.open()
	f.Do(func() { f.Insert("deploy", "leaked") })
	at, value := vaultDeploy(f.versions("deploy")[0], WholeText), fresh()
	f.Lose("PUT /shop-vault/secrets/deploy")
	if _, err := putOne(t.Context(), s, at, value, "op-1"); err == nil || errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	put, err := putOne(t.Context(), f.open(), at, value, "op-1")
	if err != nil || f.Text("deploy") != value.Expose() || len(f.versions("deploy")) != 2 {
		t.Errorf("%s, %v", put, err)
	}
	f.Lose("PATCH /shop-vault/secrets/deploy")
	if err := s.Retire(t.Context(), at); err == nil {
		t.Error("an answer that was lost is a success")
	}
	if err := s.Retire(t.Context(), at); err != nil {
		t.Error(err)
	}
}

func TestAzureSaysWhereItCannotLook(t *testing.T) {
	f := newFakeKeyVault(t)
	s := f.open()
	f.Do(func() { f.Insert("deploy", "value"); f.Insert("closed", "value"); f.Closed = "closed" })
	found, err := s.Locate(t.Context(), fingerprint(checks.NewSecret("value")))
	if err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	if diff := cmp.Diff([]string{"shop-vault/closed"}, s.Skipped()); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	for _, path := range []string{"other-vault/deploy", "shop-vault/../deploy", "shop-vault/deploy/versions", "deploy", ""} {
		if _, err := s.Get(t.Context(), Location{Path: path}); !errors.Is(err, ErrNotFound) {
			t.Errorf("get %q: %v", path, err)
		}
		if err := s.Retire(t.Context(), Location{Path: path, Version: "1"}); err == nil {
			t.Errorf("retire %q was taken", path)
		}
	}
	if _, err := s.Restore(t.Context(), vaultDeploy("../other", WholeText), "op"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a version that is a path: %v", err)
	}
}

func TestAzurePolicyIsSufficientAndMinimal(t *testing.T) {
	f := newFakeKeyVault(t)
	checkPolicy(t, f.Cloud, AzurePolicy(), "shop-vault/", func(action string) error {
		f.Do(func() {
			f.Empty()
			f.Insert("deploy", "first")
			f.Insert("deploy", "second")
		})
		versions := f.versions("deploy")
		return actOn(t, f.open(), vaultDeploy, versions[0], versions[1], action)
	})
}
