package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks"
)

func TestTimesToDead(t *testing.T) { inStores(t, testTimesToDead) }

func testTimesToDead(t *testing.T, s *Store) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
	for n, i := range []Incident{
		{Incident: incident.Incident{Rule: "token", Dead: at(1009)}, Pushed: at(1000), Received: at(1001)},
		{Incident: incident.Incident{Rule: "token", Dead: at(2005)}, Received: at(2001)}, // pushed nobody knows when
		{Incident: incident.Incident{Rule: "key", Dead: at(3000)}, Pushed: at(3001), Received: at(3002)},
		{Incident: incident.Incident{Rule: "token"}, Pushed: at(3000), Received: at(3001)},
		{Incident: incident.Incident{Rule: "token", Dead: at(999)}, Received: at(900)}, // too long ago
	} {
		i.Fingerprint = checks.Fingerprint(fmt.Sprint(n))
		inTx(t, s, func(tx *Tx) error {
			opened, _, err := tx.OpenIncident(t.Context(), i)
			if err != nil {
				return err
			}
			opened.Dead = i.Dead
			return tx.SaveIncident(t.Context(), opened)
		})
	}
	for most, want := range map[int]map[string][]time.Duration{
		10: {"token": {4 * time.Second, 9 * time.Second}, "key": {0}},
		2:  {"token": {4 * time.Second}, "key": {0}},
		0:  {},
	} {
		got, err := s.TimesToDead(t.Context(), at(1000), most)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("the last %d (-want +got):\n%s%v", most, diff, err)
		}
	}
}

func TestTimelineIsKept(t *testing.T) { inStores(t, testTimelineIsKept) }

func testTimelineIsKept(t *testing.T, s *Store) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
	var id string
	inTx(t, s, func(tx *Tx) error {
		i, _, err := tx.OpenIncident(t.Context(), Incident{
			Incident: incident.Incident{Fingerprint: "f", Rule: "token", Opened: at(9)},
			Pushed:   at(1), Received: at(2), Detected: at(3),
		})
		if err != nil {
			return err
		}
		id = i.ID
		i.Verified, i.Contained, i.Rotated, i.Dead = at(4), at(5), at(6), at(7)
		return tx.SaveIncident(t.Context(), i)
	})
	i, err := s.Incident(t.Context(), id)
	want := "pushed 00:00:01 UTC · delivered +1.0 s · found +2.0 s · verified +3.0 s · contained +4.0 s · rotated +5.0 s · dead +6.0 s"
	if got := i.Timeline().String(); got != want || err != nil {
		t.Errorf("%s, want %s: %v", got, want, err)
	}
}
