package incident

import (
	"encoding/json"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 4, 12, 0, 1, 0, time.UTC)

// after are stages passed at milliseconds after noon.
func after(ms map[Stage]int) map[Stage]time.Time {
	at := map[Stage]time.Time{}
	for s, n := range ms {
		at[s] = noon.Add(time.Duration(n) * time.Millisecond)
	}
	return at
}

func TestTimelineText(t *testing.T) {
	for name, test := range map[string]struct {
		at   map[Stage]int
		want string
	}{
		"whole": {
			map[Stage]int{StagePushed: 0, StageDelivered: 200, StageDetected: 500, StageVerified: 900, StageContained: 1400, StageRotated: 1600, StageProvedDead: 1849},
			"pushed 12:00:01 UTC · delivered +0.2 s · found +0.5 s · verified +0.9 s · contained +1.4 s · rotated +1.6 s · dead +1.8 s",
		},
		"the push is not known": {
			map[Stage]int{StageDelivered: 0, StageDetected: 300},
			"delivered 12:00:01 UTC · found +0.3 s",
		},
		"dead before it was replaced": {
			map[Stage]int{StagePushed: 0, StageContained: 1000, StageProvedDead: 2000, StageRotated: 3000},
			"pushed 12:00:01 UTC · contained +1.0 s · dead +2.0 s · rotated +3.0 s",
		},
		"slow": {
			map[Stage]int{StagePushed: 0, StageDelivered: 61_000, StageVerified: 3_660_000, StageProvedDead: 50 * 3_600_000},
			"pushed 12:00:01 UTC · delivered +1 min 1 s · verified +1 h 1 min · dead +2 days 2 h",
		},
		"nothing": {nil, ""},
	} {
		if got := NewTimeline(after(test.at)).String(); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestTimelineJSON(t *testing.T) {
	got, err := json.Marshal(NewTimeline(after(map[Stage]int{StageProvedDead: 1500, StagePushed: 0})))
	want := `[{"stage":"pushed","at":"2026-03-04T12:00:01Z","seconds":0},{"stage":"proved_dead","at":"2026-03-04T12:00:02.5Z","seconds":1.5}]`
	if err != nil || string(got) != want {
		t.Errorf("%s, want %s: %v", got, want, err)
	}
	if got, err := json.Marshal(NewTimeline(nil)); err != nil || string(got) != "[]" {
		t.Errorf("without stages: %s, want an empty array: %v", got, err)
	}
}

func TestTimelineUntil(t *testing.T) {
	timeline := NewTimeline(after(map[Stage]int{StageProvedDead: 1500, StageDelivered: 0}))
	if got, ok := timeline.Until(StageProvedDead); !ok || got != 1500*time.Millisecond {
		t.Errorf("%s, %t until the proof, want 1.5 s", got, ok)
	}
	if got, ok := timeline.Until(StageRotated); ok {
		t.Errorf("%s until a stage that was not passed", got)
	}
}

func TestSpread(t *testing.T) {
	var hundred []time.Duration
	for n := range time.Duration(100) {
		hundred = append(hundred, 100-n)
	}
	for name, test := range map[string]struct {
		times []time.Duration
		want  Spread
	}{
		"none":    {nil, Spread{}},
		"one":     {[]time.Duration{7}, Spread{1, 7, 7}},
		"three":   {[]time.Duration{9, 1, 5}, Spread{3, 5, 9}},
		"hundred": {hundred, Spread{100, 50, 95}},
	} {
		if got := SpreadOf(test.times); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
