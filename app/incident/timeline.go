package incident

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Stage is a point on the way of a leak from its push to the proof that it is dead.
type Stage string

// The stages in their usual order.
const (
	StagePushed     Stage = "pushed"      // GitHub took the push, by its own clock and in whole seconds
	StageDelivered  Stage = "delivered"   // its delivery came in
	StageDetected   Stage = "detected"    // the credential was found
	StageVerified   Stage = "verified"    // the provider said whether it is live
	StageContained  Stage = "contained"   // the provider took its revocation
	StageRotated    Stage = "rotated"     // its replacement is in use
	StageProvedDead Stage = "proved_dead" // the provider refuses it
)

// Stages are all of them in their usual order.
var Stages = []Stage{StagePushed, StageDelivered, StageDetected, StageVerified, StageContained, StageRotated, StageProvedDead}

// words are the stages as a line of text names them.
var words = map[Stage]string{StageDetected: "found", StageProvedDead: "dead"}

// A Timeline is when a leak passed which stages, the first one first. It begins with
// the push or, where nobody told when that was, with the delivery.
type Timeline []Passed

// Passed is a stage with the time at which it was passed.
type Passed struct {
	Stage   Stage     `json:"stage"`
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"` // since the timeline's beginning
}

// NewTimeline puts stages in order. A zero time means that a stage was not passed.
func NewTimeline(at map[Stage]time.Time) Timeline {
	t := Timeline{}
	for _, s := range Stages {
		if !at[s].IsZero() {
			t = append(t, Passed{Stage: s, At: at[s]})
		}
	}
	slices.SortStableFunc(t, func(a, b Passed) int { return a.At.Compare(b.At) })
	for n := range t {
		t[n].Seconds = t[n].At.Sub(t[0].At).Seconds()
	}
	return t
}

// Of is when the timeline passed a stage, if it did.
func (t Timeline) Of(s Stage) (Passed, bool) {
	for _, p := range t {
		if p.Stage == s {
			return p, true
		}
	}
	return Passed{}, false
}

// Until is how long after its beginning the timeline passed a stage, if it did.
func (t Timeline) Until(s Stage) (time.Duration, bool) {
	p, ok := t.Of(s)
	if !ok {
		return 0, false
	}
	return p.At.Sub(t[0].At), true
}

// String is the timeline in one line: “pushed 12:00:01 UTC · delivered +0.2 s · …”.
func (t Timeline) String() string {
	var texts []string
	for n, p := range t {
		word, ok := words[p.Stage]
		if !ok {
			word = string(p.Stage)
		}
		if n == 0 {
			texts = append(texts, word+" "+p.At.UTC().Format("15:04:05 MST"))
			continue
		}
		texts = append(texts, word+" +"+span(p.At.Sub(t[0].At)))
	}
	return strings.Join(texts, " · ")
}

// span is a time span in the two units that matter.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 2*day:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days %d h", d/day, d%day/time.Hour)
}

// A Spread tells how some times are spread.
type Spread struct {
	Count    int
	P50, P95 time.Duration // so many per cent of the times are no longer
}

// SpreadOf sorts times and tells how they are spread.
func SpreadOf(times []time.Duration) Spread {
	if len(times) == 0 {
		return Spread{}
	}
	slices.Sort(times)
	within := func(percent int) time.Duration { return times[(len(times)*percent+99)/100-1] } // the nearest rank
	return Spread{len(times), within(50), within(95)}
}
