package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks"
)

func TestSessions(t *testing.T) { inStores(t, testSessions) }

func testSessions(t *testing.T, s *Store) {
	now, who := time.Unix(1000, 0), github.Person{ID: 7, Login: "dana"}
	add := func(secret string, at time.Time) {
		inTx(t, s, func(tx *Tx) error { return tx.AddSession(t.Context(), secret, who, at, at.Add(time.Hour)) })
	}
	whose := func(secret string, at time.Time, want error) {
		t.Helper()
		got, err := s.Session(t.Context(), secret, at)
		if !errors.Is(err, want) || (err == nil) != (got == who) {
			t.Errorf("%q at %s: %+v, %v; want %v", secret, at, got, err, want)
		}
	}
	add("one", now)
	whose("one", now.Add(59*time.Minute), nil)
	whose("one", now.Add(time.Hour), ErrNotFound)
	whose("two", now, ErrNotFound)
	whose("", now, ErrNotFound)
	whose(sessionKey("one"), now, ErrNotFound) // who reads the database has nothing to sign in with
	add("two", now.Add(2*time.Hour))
	var kept int
	if err := s.db.QueryRow(`select count(*) from sessions`).Scan(&kept); err != nil || kept != 1 {
		t.Errorf("%d sessions are kept, want the one that lives: %v", kept, err)
	}
	inTx(t, s, func(tx *Tx) error { return tx.EndSession(t.Context(), "two") })
	whose("two", now.Add(2*time.Hour), ErrNotFound)
}

// TestListAgreesWithTheStates: each incident is in exactly one of the lists, but for the
// list of what is resolved, however that came.
func TestListAgreesWithTheStates(t *testing.T) { inStores(t, testListAgreesWithTheStates) }

func testListAgreesWithTheStates(t *testing.T, s *Store) {
	at := time.Unix(2000, 0)
	want := map[string]func(*Incident){
		"open":        func(i *Incident) { i.Validity = checks.Active },
		"stuck":       func(i *Incident) { i.Stuck, i.Validity, i.Contained = "do this", checks.Active, at },
		"contained":   func(i *Incident) { i.Contained = at },
		"rotated":     func(i *Incident) { i.Contained, i.Rotated = at, at },
		"proved_dead": func(i *Incident) { i.Contained, i.Dead = at, at },
		"dismissed":   func(i *Incident) { i.Resolved, i.Resolution = at, incident.ResolutionFalsePositive },
		"never_live":  func(i *Incident) { i.Validity = checks.Inactive },
	}
	ids := map[string]string{}
	for state, change := range want {
		inTx(t, s, func(tx *Tx) error {
			i, _, err := tx.OpenIncident(t.Context(), Incident{Incident: incident.Incident{Fingerprint: checks.Fingerprint(state), Rule: state, Validity: checks.Unknown}})
			if err != nil {
				return err
			}
			change(&i)
			ids[i.ID] = state
			return tx.SaveIncident(t.Context(), i)
		})
	}
	list := func(f Filter) (got []string) {
		t.Helper()
		all, err := s.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range all {
			got = append(got, ids[i.ID])
		}
		return got
	}
	for state := range want {
		if got := list(Filter{State: state, Limit: 10}); !slices.Equal(got, []string{state}) || !KnownState(state) {
			t.Errorf("%s: %v", state, got)
		}
		if got := list(Filter{Rule: state, Limit: 10}); !slices.Equal(got, []string{state}) {
			t.Errorf("rule %s: %v", state, got)
		}
	}
	all := list(Filter{Limit: 10})
	if len(all) != len(want) || len(stateConditions) != len(want)+2 || KnownState("' or true") {
		t.Errorf("%d incidents and %d states", len(all), len(stateConditions))
	}
	first, err := s.List(t.Context(), Filter{Limit: 3})
	if err != nil || len(first) != 3 {
		t.Fatalf("%d incidents: %v", len(first), err)
	}
	if rest := list(Filter{Before: first[2].ID, Limit: 10}); !slices.Equal(rest, all[3:]) {
		t.Errorf("behind the third come %v, want %v", rest, all[3:])
	}
}

// TestListsOfARepository finds what belongs to one repository and not what belongs to
// another.
func TestListsOfARepository(t *testing.T) { inStores(t, testListsOfARepository) }

func testListsOfARepository(t *testing.T, s *Store) {
	var i Incident
	inTx(t, s, func(tx *Tx) (err error) {
		if i, _, err = tx.OpenIncident(t.Context(), Incident{Incident: incident.Incident{Fingerprint: "fp", Rule: "r"}}); err != nil {
			return err
		}
		for n := range 4 {
			repo := github.Repository{ID: int64(1 + n%2), Owner: "Acme", Name: fmt.Sprintf("Shop%d", 1+n%2)}
			if err := tx.SaveRepository(t.Context(), Repository{Repository: repo, Installation: 7, State: Active}); err != nil {
				return err
			}
			c, err := tx.EnsureCheck(t.Context(), Check{Installation: 7, Repository: repo, HeadSHA: fmt.Sprint(n), Received: time.Unix(int64(n), 0)})
			if err != nil {
				return err
			}
			delivery := fmt.Sprint(n)
			if _, err := tx.RecordDelivery(t.Context(), Delivery{ID: delivery}); err != nil {
				return err
			}
			if err := tx.StartScan(t.Context(), Scan{Delivery: delivery, CheckID: c.ID}); err != nil {
				return err
			}
			place := checks.Location{Path: fmt.Sprintf("in-%d", repo.ID), Line: 3, Commit: "c"}
			if err := tx.AddOccurrence(t.Context(), Occurrence{Incident: i.ID, Delivery: delivery, Location: place, InTip: n == 2}); err != nil {
				return err
			}
		}
		return tx.Audit(t.Context(), audit.Entry{At: time.Unix(9, 0), Actor: "a", Verb: "v", Subject: i.ID})
	})
	repo, err := s.RepositoryNamed(t.Context(), "acme", "SHOP1")
	if err != nil || repo.ID != 1 {
		t.Fatalf("%+v: %v", repo, err)
	}
	if c, err := s.NewestCheckOf(t.Context(), i.ID, 1); err != nil || c.HeadSHA != "2" {
		t.Errorf("the newest check is %+v: %v", c, err)
	}
	if all, err := s.LatestChecks(t.Context(), 2, 10); err != nil || len(all) != 2 || all[0].HeadSHA != "3" {
		t.Errorf("the latest checks are %+v: %v", all, err)
	}
	if all, err := s.Places(t.Context(), i.ID, 1); err != nil || len(all) != 1 || all[0].Path != "in-1" || !all[0].InTip {
		t.Errorf("the places are %+v: %v", all, err)
	}
	for repository, want := range map[int64]int{1: 1, 2: 1, 3: 0} {
		if all, err := s.List(t.Context(), Filter{Repository: repository, Limit: 9}); err != nil || len(all) != want {
			t.Errorf("repository %d has %d incidents: %v", repository, len(all), err)
		}
	}
	if log, err := s.AuditOf(t.Context(), i.ID, 9); err != nil || len(log) != 1 || log[0].Verb != "v" {
		t.Errorf("the log is %+v: %v", log, err)
	}
	inTx(t, s, func(tx *Tx) error { return tx.SetRepositoryState(t.Context(), 1, Gone) })
	if _, err := s.RepositoryNamed(t.Context(), "acme", "shop1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a repository that is gone: %v", err)
	}
}
