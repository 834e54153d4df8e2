package app

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
)

// TestExpiry ends bypasses, and requests that nobody agreed to, at their time and not
// before.
func TestExpiry(t *testing.T) {
	keys, err := store.NewKeys(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	memory, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "a.db"), keys, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	now := time.Date(2026, 11, 10, 12, 0, 0, 0, time.UTC)
	worker := expireWorker{app: &App{store: memory, now: func() time.Time { return now }}}
	for n, test := range []struct {
		name                    string
		verb                    string
		asked, granted, expires time.Duration // before now; none when 0
		ends, waits             bool
	}{
		{"a request that is over", verbRotate, waitsFor, 0, 0, true, false},
		{"a request that is young", verbRotate, waitsFor - time.Minute, 0, 0, false, true},
		{"a rotation that was agreed to", verbRotate, waitsFor, time.Hour, 0, false, false},
		{"a bypass that nobody agreed to", verbBypass, waitsFor, 0, 0, true, false},
		{"a bypass that holds", verbBypass, waitsFor, time.Hour, -time.Hour, false, true},
		{"a bypass that is over", verbBypass, 2 * time.Hour, time.Hour, time.Minute, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r store.Request
			ago := func(d time.Duration) time.Time {
				if d == 0 {
					return time.Time{}
				}
				return now.Add(-d)
			}
			err := memory.InTx(t.Context(), func(tx *store.Tx) error {
				i, _, err := tx.OpenIncident(t.Context(), store.Incident{Incident: incident.Incident{Fingerprint: "f00d", Rule: "widget"}})
				if err != nil {
					return err
				}
				r, err = tx.AddRequest(t.Context(), store.Request{
					Incident: i.ID, Repository: int64(n), Verb: test.verb, Asker: github.Person{Login: "dana"}, Asked: ago(test.asked),
				})
				r.Granted, r.Expires = ago(test.granted), ago(test.expires)
				return errors.Join(err, tx.SaveRequest(t.Context(), r))
			})
			if err != nil {
				t.Fatal(err)
			}
			err = worker.Work(t.Context(), &river.Job[expireArgs]{Args: expireArgs{Request: r.ID}})
			if snoozed := new(river.JobSnoozeError); errors.As(err, &snoozed) != test.waits || err != nil && !test.waits {
				t.Errorf("the job ends with %v; it waits: %t", err, test.waits)
			}
			if got, err := memory.Request(t.Context(), r.ID); err != nil || got.Ended.IsZero() == test.ends {
				t.Errorf("the request is %+v, %v; it ends: %t", got, err, test.ends)
			}
		})
	}
	if err := worker.Work(t.Context(), &river.Job[expireArgs]{Args: expireArgs{Request: "erased"}}); err != nil {
		t.Errorf("a request that is not there: %v", err)
	}
}
