package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks"
)

// keep records an incident, with its sealed credential, in the repositories named.
func keep(t *testing.T, s *Store, name string, running bool, repositories ...int64) Incident {
	t.Helper()
	var i Incident
	inTx(t, s, func(tx *Tx) (err error) {
		i, _, err = tx.OpenIncident(t.Context(), Incident{Incident: incident.Incident{Fingerprint: checks.Fingerprint(name), Rule: "r", Opened: time.Now()}})
		if err != nil {
			return err
		}
		for _, id := range repositories {
			delivery := fmt.Sprintf("%s-%d", name, id)
			if _, err := tx.RecordDelivery(t.Context(), Delivery{ID: delivery}); err != nil {
				return err
			}
			c, err := tx.EnsureCheck(t.Context(), Check{Installation: 7, Repository: github.Repository{ID: id, Owner: "acme", Name: "shop"}, HeadSHA: name})
			if err != nil {
				return err
			}
			if err := tx.StartScan(t.Context(), Scan{Delivery: delivery, CheckID: c.ID}); err != nil {
				return err
			}
			if err := tx.AddOccurrence(t.Context(), Occurrence{Incident: i.ID, Delivery: delivery}); err != nil {
				return err
			}
		}
		if running {
			i.Verb = incident.Rotate
		}
		if err := tx.SaveIncident(t.Context(), i); err != nil {
			return err
		}
		return tx.Seal(t.Context(), i.ID, Leaked, checks.Credential{Rule: "r"})
	})
	return i
}

// say records that people of a repository allow an incident's credential, and ask for
// a bypass.
func say(t *testing.T, s *Store, i Incident, repository int64) {
	t.Helper()
	inTx(t, s, func(tx *Tx) error {
		_, err := tx.AddRequest(t.Context(), Request{Incident: i.ID, Repository: repository, Verb: "bypass", Asker: github.Person{ID: 3, Login: "dana"}})
		return errors.Join(err, tx.Allow(t.Context(), Allowance{
			Installation: 7, Repository: repository, Fingerprint: i.Fingerprint, Reason: "an example", Owner: "@dana", Made: time.UnixMicro(1), Expires: time.UnixMicro(2),
		}))
	})
}

// said counts what is left of what say recorded; it fails when that is but a half.
func said(t *testing.T, s *Store, installation int64, i Incident, repository int64) int {
	t.Helper()
	allowed, err := s.Allowances(t.Context(), installation, repository)
	open, err2 := s.OpenRequests(t.Context(), i.ID, repository)
	if err := errors.Join(err, err2); err != nil || len(allowed) != len(open) {
		t.Errorf("%d allowances and %d requests: %v", len(allowed), len(open), err)
	}
	return len(open)
}

// What people said stays with the repository when it goes to another installation.
func TestHandOverOfWhatPeopleSaid(t *testing.T) { inStores(t, testHandOverOfWhatPeopleSaid) }

func testHandOverOfWhatPeopleSaid(t *testing.T, s *Store) {
	i := keep(t, s, "moved", false, 1)
	say(t, s, i, 1)
	inTx(t, s, func(tx *Tx) error { return tx.HandOver(t.Context(), 1, 8) })
	if n := said(t, s, 8, i, 1); n != 1 {
		t.Errorf("%d went along, want 1", n)
	}
}

func TestEraseRepository(t *testing.T) { inStores(t, testEraseRepository) }

func testEraseRepository(t *testing.T, s *Store) {
	inTx(t, s, func(tx *Tx) error {
		return errors.Join(tx.MeetRepository(t.Context(), 7, github.Repository{ID: 1, Owner: "acme", Name: "shop"}),
			tx.MoveRef(t.Context(), Ref{Installation: 7, Repository: 1, Name: "refs/heads/main", SHA: "a"}))
	})
	own := keep(t, s, "own", false, 1)
	shared := keep(t, s, "shared", false, 1, 2)
	running := keep(t, s, "running", true, 1)
	for _, repository := range []int64{1, 2} {
		say(t, s, shared, repository)
	}

	inTx(t, s, func(tx *Tx) error {
		erased, err := tx.EraseRepository(t.Context(), 1)
		if want := (Erased{Checks: 3, Incidents: 1, Kept: 1}); erased != want {
			t.Errorf("erased %+v, want %+v", erased, want)
		}
		return err
	})
	for _, test := range []struct {
		name string
		i    Incident
		want error
	}{{"of this repository alone", own, ErrErased}, {"of another one too", shared, nil}, {"that is being replaced", running, nil}} {
		if _, err := s.Unseal(t.Context(), test.i.ID, Leaked); !errors.Is(err, test.want) {
			t.Errorf("a credential %s: %v, want %v", test.name, err, test.want)
		}
	}
	if ids, err := s.ChecksOf(t.Context(), shared.ID); err != nil || len(ids) != 1 {
		t.Errorf("%d checks show the shared incident, want that of the other repository: %v", len(ids), err)
	}
	if refs, err := s.Refs(t.Context(), 7, 1); err != nil || len(refs) != 0 {
		t.Errorf("refs %v are left: %v", refs, err)
	}
	for repository, want := range map[int64]int{1: 0, 2: 1} {
		if n := said(t, s, 7, shared, repository); n != want {
			t.Errorf("%d of what people of repository %d said are left, want %d", n, repository, want)
		}
	}
	if r, err := s.Repository(t.Context(), 1); err != nil || r.State != Gone {
		t.Errorf("the repository is %+v: %v", r, err)
	}
}

func TestBackfillThatWasErasedIsNotSaved(t *testing.T) {
	inStores(t, testBackfillThatWasErasedIsNotSaved)
}

func testBackfillThatWasErasedIsNotSaved(t *testing.T, s *Store) {
	begin := func(at time.Time) Backfill {
		b := Backfill{Repository: 1, Installation: 7, Started: at}
		inTx(t, s, func(tx *Tx) error {
			if err := tx.MeetRepository(t.Context(), 7, github.Repository{ID: 1}); err != nil {
				return err
			}
			fresh, err := tx.StartBackfill(t.Context(), b)
			if !fresh {
				t.Error("the backfill was there already")
			}
			return err
		})
		return b
	}
	old := begin(time.UnixMicro(100))
	inTx(t, s, func(tx *Tx) error {
		_, err := tx.EraseRepository(t.Context(), 1)
		return err
	})
	begin(time.UnixMicro(200))
	old.Reached = []string{"a"}
	if err := s.InTx(t.Context(), func(tx *Tx) error { return tx.SaveBackfill(t.Context(), old) }); !errors.Is(err, ErrNotFound) {
		t.Errorf("saving the erased backfill: %v", err)
	}
	if b, err := s.Backfill(t.Context(), 1); err != nil || len(b.Reached) != 0 {
		t.Errorf("the new backfill has reached %v: %v", b.Reached, err)
	}
}
