//go:build !race

package main

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/incident"
)

// TestCrashUndo takes remediations back while the old credential is only disabled, and
// kills the server at each step of that: in the end what was leaked works again and is in
// the store, the replacement is gone, and a working one was in the store all the time.
func TestCrashUndo(t *testing.T) {
	aws, google := newCrashAWS(t), newCrashGoogle(t)
	for name, pair := range map[string]struct {
		kind crashKind
		s    crashStore
	}{
		"AWS access key in encrypted file":             {awsKeys{aws}, inFile{}},
		"AWS access key in AWS Secrets Manager":        {awsKeys{aws}, inAWS{aws}},
		"Google service account key in Secret Manager": {serviceKeys{google}, inGoogle{google}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newHeldWorld(t, pair.kind, pair.s)
			w.reaper.seen = nil
			w.undoOverAPI()
			w.undone()
			w.reaper.kill()
			steps := 0
			for _, point := range w.reaper.seen {
				step, moment, _ := strings.Cut(point, "/")
				if moment != "begun" {
					continue
				}
				steps++
				for _, p := range pointsOf(step, w.reaper.counts[step]) {
					t.Run(fmt.Sprintf("%s, %s, answer %d", step, p.moment, p.answer), func(t *testing.T) {
						crashUndoAt(t, pair.kind, pair.s, step+"/"+p.moment, p.answer)
					})
				}
			}
			if steps != 4 {
				t.Errorf("the steps were %q", w.reaper.seen)
			}
		})
	}
}

// newHeldWorld is a world in which the remediation waits for the end of its hold.
func newHeldWorld(t *testing.T, kind crashKind, s crashStore) *crashWorld {
	t.Helper()
	w := newCrashWorld(t, kind, s, incident.ReplaceFirst)
	w.holding()
	w.start()
	w.leak()
	w.held()
	if w.kind.leakedWorks() || !w.working() {
		t.Fatalf("while it is held the leaked one works, or its replacement does not\n%s", w.tail())
	}
	return w
}

func (w *crashWorld) undoOverAPI() {
	w.t.Helper()
	w.command("undo", `{"reason":"the old job still runs"}`)
}

// undone waits for the end, and fails if it is another than that all is as it was.
func (w *crashWorld) undone() {
	w.t.Helper()
	w.eventually("all is as it was", func() error {
		i, err := w.incident()
		if err == nil && !strings.Contains(i.Stuck, "took the remediation back") {
			err = fmt.Errorf("it goes on: %q", i.Stuck)
		}
		return err
	})
	if now := w.place.fields(); !w.kind.leakedWorks() || w.kind.live() != 1 || !maps.Equal(now, w.kind.stored()) {
		w.t.Errorf("the leaked one works: %t, %d live, and in the store it is: %t\n%s",
			w.kind.leakedWorks(), w.kind.live(), maps.Equal(now, w.kind.stored()), w.tail())
	}
}

func crashUndoAt(t *testing.T, kind crashKind, s crashStore, point string, answer int) {
	w := newHeldWorld(t, kind, s)
	g := w.guard()
	w.reaper.at(point, answer)
	w.undoOverAPI()
	if died := w.dies(); !died && answer == 0 {
		t.Fatalf("it was not killed at %s", point)
	}
	if !w.working() {
		t.Errorf("after the crash the store holds nothing that works\n%s", w.tail())
	}
	w.start()
	w.undone()
	w.reaper.kill()
	g.stop()
	if g.lost > 0 {
		t.Errorf("%d of %d times the store held nothing that works\n%s", g.lost, g.n, w.tail())
	}
}
