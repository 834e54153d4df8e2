package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestThousandsOfRefs: 5,001 refs, one more than GitHub tells of, are moved and
// forgotten, and nobody waits long for the database meanwhile.
func TestThousandsOfRefs(t *testing.T) { inStores(t, testThousandsOfRefs) }

func testThousandsOfRefs(t *testing.T, s *Store) {
	var names []string
	want := map[string]string{}
	for n := range 5001 {
		names = append(names, fmt.Sprintf("refs/heads/many/%d", n))
		want[names[n]] = "b"
	}
	var longest time.Duration
	batches := func(f func(tx *Tx, names []string) error) {
		for some := range slices.Chunk(names, RefBatch) {
			begun := time.Now()
			inTx(t, s, func(tx *Tx) error { return f(tx, some) })
			longest = max(longest, time.Since(begun))
		}
	}
	move := func(sha string, from ...string) {
		batches(func(tx *Tx, names []string) error {
			moved, err := tx.MoveRefs(t.Context(), Ref{Installation: 7, Repository: 9, SHA: sha}, names, from...)
			if err == nil && len(names)-moved > 1 {
				t.Errorf("%d of %d refs moved", moved, len(names))
			}
			return err
		})
	}
	move("a")
	inTx(t, s, func(tx *Tx) error {
		return tx.MoveRef(t.Context(), Ref{Installation: 7, Repository: 9, Name: names[17], SHA: "newer"}, "a")
	})
	want[names[17]] = "newer"
	move("b", "a", "other")
	got, err := s.Refs(t.Context(), 7, 9)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	inTx(t, s, func(tx *Tx) error { // a scan may be about no ref
		if moved, err := tx.MoveRefs(t.Context(), Ref{Installation: 7, Repository: 9, SHA: "c"}, nil); moved != 0 || err != nil {
			t.Errorf("%d of no refs moved: %v", moved, err)
		}
		return tx.ForgetRefs(t.Context(), 7, 9)
	})
	batches(func(tx *Tx, names []string) error { return tx.ForgetRefs(t.Context(), 7, 9, names...) })
	if got, err := s.Refs(t.Context(), 7, 9); err != nil || len(got) != 0 {
		t.Errorf("%d refs are left: %v", len(got), err)
	}
	t.Logf("the longest transaction took %s", longest)
	if longest > 2*time.Second {
		t.Errorf("one transaction took %s", longest)
	}
}
