package store

import (
	"errors"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/incident"
)

func TestRequests(t *testing.T) { inStores(t, testRequests) }

func testRequests(t *testing.T, s *Store) {
	var id string
	inTx(t, s, func(tx *Tx) error {
		i, _, err := tx.OpenIncident(t.Context(), Incident{Incident: incident.Incident{Fingerprint: "f00d", Rule: "widget"}})
		id = i.ID
		return err
	})
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	want := Request{Incident: id, Repository: 7, Verb: "bypass", Reason: "a demo", Asker: github.Person{ID: 3, Login: "dana"}, Asked: now}
	inTx(t, s, func(tx *Tx) (err error) {
		want, err = tx.AddRequest(t.Context(), want)
		return err
	})
	err := s.InTx(t.Context(), func(tx *Tx) error {
		_, err := tx.AddRequest(t.Context(), want)
		return err
	})
	if err == nil {
		t.Error("two open requests for one verb")
	}
	if other, err := s.OpenRequests(t.Context(), id, 8); err != nil || len(other) != 0 {
		t.Errorf("another repository has %v, %v", other, err)
	}
	want.Approver, want.Granted, want.Expires = github.Person{ID: 4, Login: "erin"}, now.Add(time.Hour), now.Add(2*time.Hour)
	inTx(t, s, func(tx *Tx) error { return tx.SaveRequest(t.Context(), want) })
	open, err := s.OpenRequests(t.Context(), id, 7)
	if err != nil || len(open) != 1 || open[0] != want {
		t.Errorf("got %+v, %v, want %+v", open, err, want)
	}
	inTx(t, s, func(tx *Tx) error { return tx.EndRequests(t.Context(), id, now, "rotate", "bypass") })
	if open, err = s.OpenRequests(t.Context(), id, 7); err != nil || len(open) != 0 {
		t.Errorf("ended, and still open: %v, %v", open, err)
	}
	if got, err := s.Request(t.Context(), want.ID); err != nil || !got.Ended.Equal(now) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := s.Request(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
}
