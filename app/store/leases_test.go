package store

import (
	"errors"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks"
)

func TestLeases(t *testing.T) { inStores(t, testLeases) }

func testLeases(t *testing.T, s *Store) {
	now := time.Unix(1000, 0).UTC()
	incidentOf := func(name string) Incident {
		t.Helper()
		var i Incident
		inTx(t, s, func(tx *Tx) (err error) {
			i, _, err = tx.OpenIncident(t.Context(), Incident{Incident: incident.Incident{Fingerprint: checks.Fingerprint(name), Rule: "r", Opened: now}})
			i.Verb = incident.Rotate
			return errors.Join(err, tx.SaveIncident(t.Context(), i))
		})
		return i
	}
	first, second := incidentOf("first"), incidentOf("second")
	lease := func(resource, id, want string) {
		t.Helper()
		inTx(t, s, func(tx *Tx) error {
			holder, err := tx.Lease(t.Context(), resource, id, now)
			if holder != want {
				t.Errorf("lease of %s for %s: held by %q, want %q", resource, id, holder, want)
			}
			return err
		})
	}
	save := func(i Incident) {
		t.Helper()
		inTx(t, s, func(tx *Tx) error { return tx.SaveIncident(t.Context(), i) })
	}
	lease("user", first.ID, "")
	lease("user", first.ID, "")
	lease("user", second.ID, first.ID)
	lease("another user", second.ID, "")
	first.Held = now.Add(time.Hour) // only waits
	save(first)
	lease("user", second.ID, "")
	first.Held = time.Time{}
	save(first)
	lease("user", first.ID, second.ID)
	second.Verb = "" // waits for a person
	save(second)
	lease("user", first.ID, "")
	first.Resolved = now
	save(first)
	second.Verb = incident.Revoke
	save(second)
	lease("user", second.ID, "")
}

func TestHalt(t *testing.T) { inStores(t, testHalt) }

func testHalt(t *testing.T, s *Store) {
	if h, err := s.Halted(t.Context()); h != nil || err != nil {
		t.Errorf("halted at first: %v, %v", h, err)
	}
	want := Halt{By: "api:dana", Reason: "a move", At: time.Unix(5, 0).UTC()}
	inTx(t, s, func(tx *Tx) error { return tx.SetHalt(t.Context(), Halt{By: "somebody else"}) })
	inTx(t, s, func(tx *Tx) error { return tx.SetHalt(t.Context(), want) })
	if h, err := s.Halted(t.Context()); err != nil || h == nil || *h != want {
		t.Errorf("halted by %v, %v", h, err)
	}
	inTx(t, s, func(tx *Tx) error { return tx.EndHalt(t.Context()) })
	if h, err := s.Halted(t.Context()); h != nil || err != nil {
		t.Errorf("still halted: %v, %v", h, err)
	}
}
