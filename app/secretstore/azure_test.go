package secretstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
)

var _ store = (*Azure)(nil)

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
		v := f.insert("deploy", value.Expose())
		v.contentType, v.tags = "text/plain", map[string]string{"owner": "ann"}
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
		v := f.secrets["deploy"][1]
		if diff := cmp.Diff(map[string]string{"owner": "ann", "stanch_operation": "op-42"}, v.tags); diff != "" || v.contentType != "text/plain" {
			t.Errorf("%s, tags (-want +got):\n%s", v.contentType, diff)
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
			f.insert(fmt.Sprint("s", n), fresh().Expose())
		}
		f.insert("deploy", value.Expose())
		f.insert("certificate", "managed")
		f.managed = "certificate"
	})
	locate := func(value checks.Secret, want int) (calls int) {
		t.Helper()
		before := f.calls()
		if found, err := s.Locate(t.Context(), fingerprint(value)); err != nil || len(found) != want {
			t.Fatalf("%v, %v", found, err)
		}
		return f.calls() - before
	}
	if n := locate(value, 1); n != 4+6+6 {
		t.Errorf("%d calls for four pages and six secrets", n)
	}
	if n := locate(value, 1); n != 4 {
		t.Errorf("%d calls when nothing has changed", n)
	}
	f.Do(func() { f.insert("s1", value.Expose()) })
	if n := locate(value, 2); n != 4+2 {
		t.Errorf("%d calls when one secret has changed", n)
	}
	// Twice within the second that lists tell.
	f.Do(func() {
		f.clock, f.tick = time.Now().Unix(), 0
		f.insert("s2", fresh().Expose())
	})
	locate(value, 2)
	f.Do(func() { f.insert("s2", value.Expose()) })
	locate(value, 3)
	locate(checks.NewSecret("managed"), 0)
}

// Of several versions of one second the one that readers get is the current one.
func TestAzureVersionsOfOneSecond(t *testing.T) {
	f := newFakeKeyVault(t)
	s := f.open()
	f.Do(func() { f.tick = 0 })
	values := []checks.Secret{fresh(), fresh(), fresh()}
	f.Do(func() { f.insert("deploy", values[0].Expose()) })
	for n := range 2 {
		at := vaultDeploy(f.versions("deploy")[n], WholeText)
		for range 2 { // the second time as after a crash
			put, err := putOne(t.Context(), s, at, values[n+1], "op")
			if err != nil || put.Version != f.versions("deploy")[n+1] || len(f.versions("deploy")) != n+2 {
				t.Fatalf("%s, %v; %d versions", put, err, len(f.versions("deploy")))
			}
		}
	}
	if f.text("deploy") != values[2].Expose() {
		t.Error("readers get another version")
	}
	last := f.versions("deploy")[2]
	if err := s.Retire(t.Context(), vaultDeploy(last, WholeText)); err == nil {
		t.Error("the current version was retired")
	}
	f.Do(func() { f.secrets["deploy"][2].enabled = false })
	if _, err := s.Get(t.Context(), vaultDeploy(last, WholeText)); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "disabled") {
		t.Errorf("%v; want that it is disabled", err)
	}
}

func TestAzureConflictIsDetected(t *testing.T) {
	f := newFakeKeyVault(t)
	s := f.open()
	leaked, theirs, ours := fresh(), fresh(), fresh()
	f.Do(func() {
		f.insert("deploy", leaked.Expose())
		f.beforeSet = func(name string) { f.insert(name, theirs.Expose()) }
	})
	if _, err := putOne(t.Context(), s, vaultDeploy(f.versions("deploy")[0], WholeText), ours, "op-1"); !errors.Is(err, ErrConflict) {
		t.Errorf("%v, want ErrConflict", err)
	}
	if f.text("deploy") != theirs.Expose() {
		t.Error("readers do not get what somebody else put")
	}
	if found, err := s.Locate(t.Context(), fingerprint(ours)); err != nil || len(found) != 0 {
		t.Errorf("ours is left at %v, %v", found, err)
	}
}

func TestAzureLostAnswers(t *testing.T) {
	f := newFakeKeyVault(t)
	s := f.open()
	f.Do(func() { f.insert("deploy", "leaked") })
	at, value := vaultDeploy(f.versions("deploy")[0], WholeText), fresh()
	f.Lose("PUT /shop-vault/secrets/deploy")
	if _, err := putOne(t.Context(), s, at, value, "op-1"); err == nil || errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	put, err := putOne(t.Context(), f.open(), at, value, "op-1")
	if err != nil || f.text("deploy") != value.Expose() || len(f.versions("deploy")) != 2 {
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
	f.Do(func() { f.insert("deploy", "value"); f.insert("closed", "value"); f.closed = "closed" })
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
			f.names, f.secrets = nil, map[string][]*fakeAzureVersion{}
			f.insert("deploy", "first")
			f.insert("deploy", "second")
		})
		versions := f.versions("deploy")
		return actOn(t, f.open(), vaultDeploy, versions[0], versions[1], action)
	})
}
