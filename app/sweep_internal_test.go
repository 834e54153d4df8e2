package app

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/rules"
)

// TestSweepSince looks as far back as GitHub can deliver again, and no further than
// the last sweep leaves to do.
func TestSweepSince(t *testing.T) {
	sim, err := githubtest.New(githubtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	sim.Start()
	defer sim.Close()
	made, err := sim.CreateApp("Stanch")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := store.NewKeys(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	memory, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "a.db"), keys, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	now := time.Date(2026, 11, 10, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name, url string
		last      time.Time
		want      time.Time
	}{
		{"github.com, the first sweep", "", time.Time{}, now.AddDate(0, 0, -3)},
		{"Enterprise Server, the first sweep", sim.URL(), time.Time{}, now.AddDate(0, 0, -7)},
		{"github.com, an hour ago", "", now.Add(-time.Hour), now.Add(-time.Hour - sweepOverlap)},
		{"github.com, after a long pause", "", now.AddDate(0, 0, -5), now.AddDate(0, 0, -3)},
		{"Enterprise Server, after a long pause", sim.URL(), now.AddDate(0, 0, -5), now.AddDate(0, 0, -5).Add(-sweepOverlap)},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, err := New(Config{
				Catalogue: catalogue, Keys: keys, Policy: DefaultPolicy(), Logger: quiet,
				GitHub: github.Config{AppID: made.ID, PrivateKey: []byte(made.PrivateKeyPEM), URL: test.url},
			}, memory)
			if err != nil {
				t.Fatal(err)
			}
			if !test.last.IsZero() {
				if err := memory.InTx(t.Context(), func(tx *store.Tx) error { return tx.SetMark(t.Context(), sweptMark, test.last) }); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := a.sweepSince(t.Context(), now); err != nil || !got.Equal(test.want) {
				t.Errorf("deliveries are looked at since %s, want %s: %v", got, test.want, err)
			}
		})
	}
}

// TestSweepDue: a repository is looked at unless it is known that nobody pushed since
// it was, and at the latest a day after that.
func TestSweepDue(t *testing.T) {
	now := time.Date(2026, 11, 10, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name          string
		pushed, swept time.Time
		want          bool
	}{
		{"never swept", now.AddDate(-1, 0, 0), time.Time{}, true},
		{"pushed to since", now.Add(-time.Minute), now.Add(-time.Hour), true},
		{"pushed to at about that time", now.Add(-time.Hour), now.Add(-time.Hour + sweepOverlap), true},
		{"not pushed to since", now.Add(-2 * time.Hour), now.Add(-time.Hour), false},
		{"not pushed to, a day ago", now.AddDate(-1, 0, 0), now.Add(-sweepAnyway), true},
		{"GitHub does not say", time.Time{}, now.Add(-time.Hour), true},
	} {
		if got := sweepDue(test.pushed, test.swept, now); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
