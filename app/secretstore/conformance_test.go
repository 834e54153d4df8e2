package secretstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
)

// A store is what both stores can do.
type store interface {
	Name() string
	Locate(context.Context, checks.Fingerprint) ([]Location, error)
	Get(context.Context, Location) (Content, error)
	Put(context.Context, Location, map[string]checks.Secret, string) (Location, error)
	Retire(context.Context, Location) error
	History(context.Context, Location) ([]Past, error)
	Restore(context.Context, Location, string) (Location, error)
	Skipped() []string
}

var (
	_ store = (*File)(nil)
	_ store = (*Vault)(nil)
	_ store = (*AWS)(nil)
)

// A trait is what a store does differently from the others, and may.
type trait string

// previousOnly is of stores that keep the current version and the one before.
const (
	previousOnly trait = "keeps the previous version only"
	takesAll     trait = "takes whatever is set, without a condition" // Put looks afterwards
)

var testKey = checks.FingerprintKey("0123456789abcdef0123456789abcdef")

// fresh is a value that nobody has seen.
func fresh() checks.Secret { return checks.NewSecret("value-" + rand.Text()) }

func fingerprint(s checks.Secret) checks.Fingerprint { return s.Fingerprint(testKey) }

// putOne puts a value into the field that the location names.
func putOne(ctx context.Context, s store, loc Location, value checks.Secret, operation string) (Location, error) {
	return s.Put(ctx, loc, map[string]checks.Secret{loc.Field: value}, operation)
}

// testStore holds a store to the contract. Outside is the same store seen by
// somebody else; paths begin with root.
func testStore(t *testing.T, s, outside store, root string, traits ...trait) {
	// at is a place in a secret that does not exist yet, or at a version.
	at := func(path, field string, version Version) Location {
		return Location{Store: s.Name(), Path: root + path, Field: field, Version: version}
	}
	put := func(t *testing.T, by store, loc Location, value checks.Secret) Location {
		t.Helper()
		got, err := putOne(t.Context(), by, loc, value, "op-1")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	wantLocated := func(t *testing.T, value checks.Secret, want ...Location) {
		t.Helper()
		got, err := s.Locate(t.Context(), fingerprint(value))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("located (-want +got):\n%s", diff)
		}
	}
	wantValue := func(t *testing.T, loc Location, want checks.Secret) {
		t.Helper()
		got, err := s.Get(t.Context(), loc)
		if err != nil || got.Fields[loc.Field] != want || got.Version != loc.Version {
			t.Errorf("%s: version %s, %v; want the right value", loc, got.Version, err)
		}
	}

	t.Run("rotation", func(t *testing.T) {
		leaked, replacement, other := fresh(), fresh(), fresh()
		wantLocated(t, leaked)
		first := put(t, s, at("ci/rotate", "other", ""), other)
		old := put(t, s, at("ci/rotate", "token", first.Version), leaked)
		wantLocated(t, leaked, at("ci/rotate", "token", old.Version))
		wantLocated(t, other, at("ci/rotate", "other", old.Version))

		next := put(t, s, old, replacement)
		if diff := cmp.Diff(at("ci/rotate", "token", next.Version), next); diff != "" || next.Version == old.Version || old.Version == first.Version {
			t.Errorf("put (-want +got):\n%s", diff)
		}
		wantValue(t, next, replacement)
		wantValue(t, at("ci/rotate", "other", next.Version), other)
		wantLocated(t, replacement, next)
		superseded := old
		superseded.Superseded = true
		wantLocated(t, leaked, superseded)

		if err := s.Retire(t.Context(), next); err == nil {
			t.Error("the current version was retired")
		}
		for range 2 {
			if err := s.Retire(t.Context(), superseded); err != nil {
				t.Errorf("retire: %v", err)
			}
		}
		wantLocated(t, leaked)
		wantValue(t, next, replacement)
		if err := s.Retire(t.Context(), at("ci/never", "token", "1")); err != nil {
			t.Errorf("retire what is gone: %v", err)
		}
	})
	t.Run("several fields at once", func(t *testing.T) {
		old := put(t, s, at("ci/pair", "other", ""), fresh())
		pair := map[string]checks.Secret{"id": fresh(), "secret": fresh()}
		next, err := s.Put(t.Context(), old, pair, "op-pair")
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(t.Context(), next)
		if err != nil || len(got.Fields) != 3 || !got.has(pair) || got.Version != next.Version {
			t.Errorf("%d fields at %s, %v; want both new ones and the other", len(got.Fields), got.Version, err)
		}
		again, err := s.Put(t.Context(), old, pair, "op-pair")
		if err != nil || again != next {
			t.Errorf("the same put twice: %s, %v", again, err)
		}
	})
	t.Run("only the named version is retired", func(t *testing.T) {
		first, second, third := fresh(), fresh(), fresh()
		one := put(t, s, at("ci/three", "token", ""), first)
		two := put(t, s, one, second)
		three := put(t, s, two, third)
		if err := s.Retire(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		if one.Superseded = true; !slices.Contains(traits, previousOnly) {
			wantLocated(t, first, one)
		}
		wantLocated(t, second)
		wantLocated(t, third, three)
	})
	t.Run("conflict", func(t *testing.T) {
		old := put(t, s, at("ci/conflict", "token", ""), fresh())
		theirs := fresh()
		moved := put(t, outside, old, theirs)
		for name, loc := range map[string]Location{
			"moved": old, "exists": at("ci/conflict", "token", ""), "not yet": at("ci/conflict", "token", "9"), "nowhere": at("ci/nowhere", "token", "1"),
		} {
			if _, err := putOne(t.Context(), s, loc, fresh(), "op-2"); err == nil || (name != "nowhere" && !errors.Is(err, ErrConflict)) {
				t.Errorf("%s: %v, want ErrConflict", name, err)
			}
		}
		wantValue(t, moved, theirs)
	})
	t.Run("the same put twice", func(t *testing.T) {
		old := put(t, s, at("ci/twice", "token", ""), fresh())
		value := fresh()
		first := put(t, s, old, value)
		again := put(t, outside, old, value)
		if first != again {
			t.Errorf("first %s, then %s", first, again)
		}
		wantValue(t, first, value)
	})
	t.Run("one of many wins", func(t *testing.T) {
		if slices.Contains(traits, takesAll) {
			return
		}
		old := put(t, s, at("ci/race", "token", ""), fresh())
		values := make([]checks.Secret, 8)
		locs, errs := make([]Location, len(values)), make([]error, len(values))
		var wg sync.WaitGroup
		for i := range values {
			values[i] = fresh()
			by := s
			if i%2 == 1 {
				by = outside
			}
			wg.Go(func() { locs[i], errs[i] = putOne(context.Background(), by, old, values[i], fmt.Sprint("op-", i)) })
		}
		wg.Wait()
		won := 0
		for i, err := range errs {
			switch {
			case err == nil:
				won++
				wantValue(t, locs[i], values[i])
			case !errors.Is(err, ErrConflict):
				t.Errorf("%v, want ErrConflict", err)
			}
		}
		if won != 1 {
			t.Errorf("%d puts won, want 1", won)
		}
	})
	t.Run("what others change is seen", func(t *testing.T) {
		value := fresh()
		wantLocated(t, value)
		first := put(t, outside, at("ci/outside/deep/er", "token", ""), value)
		second := put(t, outside, at("ci/outside/b", "password", ""), value)
		wantLocated(t, value, second, first)
		put(t, outside, second, fresh())
		wantLocated(t, value, first)
	})
	t.Run("history and restore", func(t *testing.T) {
		first, second := fresh(), fresh()
		one := put(t, s, at("ci/history", "token", ""), first)
		two := put(t, s, one, second)
		past, err := s.History(t.Context(), two)
		if err != nil || len(past) != 2 {
			t.Fatalf("%+v, %v; want two versions", past, err)
		}
		if past[0].Version != two.Version || !past[0].Current || past[1].Version != one.Version || past[1].Current || past[1].Gone {
			t.Errorf("history %+v, the newest first", past)
		}
		three, err := s.Restore(t.Context(), one, "op-undo")
		if err != nil {
			t.Fatal(err)
		}
		wantValue(t, three, first)
		again, err := s.Restore(t.Context(), one, "op-undo")
		if err != nil || again != three {
			t.Errorf("restored twice: %s, %v; want %s", again, err, three)
		}
		two.Superseded = true
		if err := s.Retire(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Restore(t.Context(), two, "op-redo"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a destroyed version was restored: %v", err)
		}
		past, err = s.History(t.Context(), three)
		if err != nil || len(past) != 3 || !past[1].Gone {
			t.Errorf("history %+v, %v; the second is gone", past, err)
		}
		if _, err := s.History(t.Context(), at("ci/never-there", "token", "1")); !errors.Is(err, ErrNotFound) {
			t.Errorf("history of nothing: %v", err)
		}
	})
	t.Run("nothing there", func(t *testing.T) {
		some := put(t, s, at("ci/some", "token", ""), fresh())
		if _, err := s.Get(t.Context(), at("ci/none", "token", "1")); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v, want ErrNotFound", err)
		}
		for _, loc := range []Location{{Store: s.Name(), Field: "token"}} {
			if _, err := putOne(t.Context(), s, loc, fresh(), "op"); err == nil {
				t.Errorf("%s was written", loc)
			}
		}
		if _, err := putOne(t.Context(), s, some, checks.Secret{}, "op"); err == nil {
			t.Error("an empty value was written")
		}
	})
	t.Run("another key finds nothing", func(t *testing.T) {
		value := fresh()
		put(t, s, at("ci/key", "token", ""), value)
		got, err := s.Locate(t.Context(), value.Fingerprint(checks.FingerprintKey("another")))
		if err != nil || len(got) != 0 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestLocationMention(t *testing.T) {
	for place, want := range map[Location]string{
		{Store: "vault", Path: "secret/ci/deploy"}: "ci/deploy", {Store: "vault", Path: "secret/deploy"}: "secret/deploy",
		{Store: "aws", Path: "eu-west-1/ci/deploy"}: "ci/deploy", {Store: "aws", Path: "eu-west-1/deploy-key"}: "deploy-key",
		{Store: "gcp", Path: "projects/shop/secrets/deploy-key"}: "deploy-key", {Store: "azure", Path: "shop-vault/deploy-key"}: "deploy-key",
		{Store: "kubernetes", Path: "shop/deploy-key"}: "deploy-key", {Store: "file", Path: "ci/deploy"}: "ci/deploy",
	} {
		if got := place.Mention(); got != want {
			t.Errorf("%s: %q, want %q", place, got, want)
		}
	}
}

func TestLocationString(t *testing.T) {
	loc := Location{Store: "vault", Path: "secret/ci/deploy", Field: "token", Version: "4"}
	if got := loc.String(); got != "vault: secret/ci/deploy, field token, version 4" {
		t.Error(got)
	}
}
