package app

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/webhook"
)

// TestForcedPushWaitsForBothScans: a check has the scans of both sides of a forced push
// from the moment at which it is accepted, so that it does not pass when one of them
// ends before the other has begun.
func TestForcedPushWaitsForBothScans(t *testing.T) {
	keys, err := store.NewKeys(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	memory, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "a.db"), keys, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	a := &App{store: memory, now: time.Now}
	workers := river.NewWorkers()
	river.AddWorker(workers, scanWorker{app: a})
	if err := memory.Work(t.Context(), workers, map[string]int{queueSweep: 1}, retryPolicy{}); err != nil { // and not the scans
		t.Fatal(err)
	}
	defer memory.Stop(t.Context())

	push := github.Push{
		Ref: "refs/heads/force", Before: strings.Repeat("a", 40), After: strings.Repeat("b", 40), HeadCommit: strings.Repeat("b", 40),
		Forced: true, Repository: github.Repository{ID: 9, Owner: "acme", Name: "shop"}, Installation: 7,
	}
	d := webhook.Delivery{ID: "guid", Event: "push", Received: time.Now()}
	err = memory.InTx(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.RecordDelivery(t.Context(), store.Delivery{ID: d.ID}); err != nil {
			return err
		}
		return a.begin(t.Context(), tx, push, onPush(d, push))
	})
	if err != nil {
		t.Fatal(err)
	}
	check, err := memory.CheckOf(t.Context(), 7, 9, push.After)
	if err != nil {
		t.Fatal(err)
	}
	scans, err := memory.Scans(t.Context(), check)
	if err != nil || len(scans) != 2 || !scans[0].Finished.IsZero() || !scans[1].Finished.IsZero() {
		t.Errorf("the check has %+v, want two scans to wait for: %v", scans, err)
	}
}
