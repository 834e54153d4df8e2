package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks"
)

// TestAccounts: further accounts of an incident are due once that is over, the one that
// waits longest first, and go with their repository.
func TestAccounts(t *testing.T) { inStores(t, testAccounts) }

func testAccounts(t *testing.T, s *Store) {
	now := time.Now()
	i, kept := keep(t, s, "fp", true, 5), keep(t, s, "fp2", true, 6)
	cred := func(user string) checks.Credential {
		return checks.Credential{Rule: "r", Parts: map[string]checks.Secret{"user": checks.NewSecret(user)}}
	}
	inTx(t, s, func(tx *Tx) error {
		return errors.Join(tx.KeepAccount(t.Context(), i.ID, "web", cred("older")), tx.KeepAccount(t.Context(), i.ID, "web", cred("web")),
			tx.KeepAccount(t.Context(), i.ID, "job", cred("job")), tx.KeepAccount(t.Context(), kept.ID, "job", cred("job")))
	})
	due := func(want ...string) {
		t.Helper()
		if got, err := s.DueIncidents(t.Context(), now, 10); err != nil || !slices.Equal(got, want) {
			t.Errorf("due %q, want %q: %v", got, want, err)
		}
	}
	next := func(want string) {
		t.Helper()
		account, c, err := s.NextAccount(t.Context(), i.ID)
		if want == "" {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("another account: %q, %v", account, err)
			}
			return
		}
		if err != nil || account != want || c.Parts["user"].Expose() != want || c.Rule != "r" {
			t.Errorf("next is %q, want %q: %v", account, want, err)
		}
	}
	due() // the first one is not over
	i.Verb, i.Resolved, i.Resolution = "", now, incident.ResolutionRotated
	inTx(t, s, func(tx *Tx) error { return tx.SaveIncident(t.Context(), i) })
	due(i.ID)
	next("job")
	inTx(t, s, func(tx *Tx) error { return tx.PostponeAccount(t.Context(), i.ID, "job", now.Add(time.Hour)) })
	next("web")
	due(i.ID)
	inTx(t, s, func(tx *Tx) error { return tx.DropAccount(t.Context(), i.ID, "web") })
	due()
	next("job")
	inTx(t, s, func(tx *Tx) error {
		_, err := tx.EraseRepository(t.Context(), 5)
		return err
	})
	next("")
	if all, err := s.Accounts(t.Context(), kept.ID); err != nil || !slices.Equal(all, []string{"job"}) {
		t.Errorf("another repository's: %q, %v", all, err)
	}
}
