package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/incident"
)

// holding has a disabled credential deleted only after a day.
func (w *crashWorld) holding() {
	w.must(os.WriteFile(filepath.Join(w.dir, "policy.yml"), fmt.Appendf(nil, "remediation: automatic\norder: %s\nhold: 24h\n", w.order), 0o600))
}

// undo orders, with the command, that the remediation be taken back.
func (w *crashWorld) undo() {
	w.t.Helper()
	i, err := w.incident()
	w.must(err)
	if code, text := w.cli("undo", i.ID, "--reason", "the job needs it"); code != exitDone {
		w.t.Fatalf("exit status %d: %s\n%s", code, text, w.tail())
	}
}

// cli runs a command of “stanch incidents”, and returns its exit status and what it says.
func (w *crashWorld) cli(args ...string) (code int, text string) {
	return w.stanch("", append([]string{"incidents"}, args...)...)
}

// stanch runs a command that asks the process, with a standard input.
func (w *crashWorld) stanch(stdin string, args ...string) (code int, text string) {
	getenv := func(name string) string {
		return map[string]string{"STANCH_SERVER_URL": "http://" + w.addr, "STANCH_API_TOKEN": crashToken, "STANCH_CALLER": "ada"}[name]
	}
	var out, errs strings.Builder
	code = run(w.t.Context(), args, strings.NewReader(stdin), &out, &errs, getenv)
	return code, out.String() + errs.String()
}

// held waits until the leaked one is disabled and the hold has begun.
func (w *crashWorld) held() {
	w.t.Helper()
	w.eventually("the hold begins", func() error {
		i, err := w.incident()
		if err == nil && (i.Held.IsZero() || i.Stuck != "") {
			err = fmt.Errorf("it does not hold: %q", i.Stuck)
		}
		return err
	})
}

// TestUndoAtDatabases takes rotations back whose leaked passwords are only disabled: they
// work again and are in the store again, and the replacements are gone.
func TestUndoAtDatabases(t *testing.T) {
	for name, kind := range newCrashDatabases(t) {
		t.Run(name, func(t *testing.T) { undoes(t, kind, inFile{}) })
	}
}

// TestUndoAtGoogle takes rotations back whose leaked keys are only disabled, or deleted and
// can be brought back.
func TestUndoAtGoogle(t *testing.T) {
	google := newCrashGoogle(t)
	for name, kind := range map[string]crashKind{"service account key": serviceKeys{google}, "API key": googleAPIKeys{google}} {
		t.Run(name+" in a file", func(t *testing.T) { undoes(t, kind, inFile{}) })
		t.Run(name+" in Secret Manager", func(t *testing.T) { undoes(t, kind, inGoogle{google}) })
	}
}

func undoes(t *testing.T, kind crashKind, s crashStore) {
	w := newCrashWorld(t, kind, s, incident.ReplaceFirst)
	w.holding()
	w.start()
	g := w.guard()
	w.leak()
	w.held()
	replaced := w.place.fields()
	if w.kind.leakedWorks() || !w.kind.works(replaced) || maps.Equal(replaced, w.kind.stored()) {
		t.Fatalf("it was not replaced and disabled\n%s", w.tail())
	}
	w.undo()
	w.eventually("it is taken back", func() error {
		i, err := w.incident()
		if err == nil && !strings.Contains(i.Stuck, "took the remediation back") {
			err = errors.New("it is not: " + i.Stuck)
		}
		return err
	})
	w.reaper.kill()
	g.stop()
	switch {
	case g.lost > 0:
		t.Errorf("%d of %d times the store held nothing that works", g.lost, g.n)
	case !w.kind.leakedWorks():
		t.Error("the old one does not work again")
	case !maps.Equal(w.place.fields(), w.kind.stored()):
		t.Error("the store is not as it was")
	case w.kind.works(replaced):
		t.Error("the replacement works still")
	case w.kind.live() != 1:
		t.Errorf("%d work, want the old one", w.kind.live())
	}
}

// TestUsersAlternate leaks a user of PostgreSQL, and then the one who took over: each is
// dead after one rotation, while the other one works.
func TestUsersAlternate(t *testing.T) {
	for _, name := range []string{"PostgreSQL user", "PostgreSQL user in a URL"} {
		t.Run(name, func(t *testing.T) {
			w := newCrashWorld(t, newCrashDatabases(t, "PostgreSQL")[name], inFile{}, incident.ReplaceFirst)
			w.start()
			first := w.kind.(*databaseUser)
			second := w.alternates(first)
			if second.login == first.login || !strings.HasPrefix(second.login, first.login+"_") {
				t.Errorf("after %s comes %s", first.login, second.login)
			}
			third := w.alternates(second)
			if third.login != first.login || third.password == first.password {
				t.Errorf("after %s comes %s", second.login, third.login)
			}
			if first.leakedWorks() || second.leakedWorks() || !third.leakedWorks() || third.live() != 1 {
				t.Errorf("the first works: %t, the second: %t, the third: %t, of %d",
					first.leakedWorks(), second.leakedWorks(), third.leakedWorks(), third.live())
			}
		})
	}
}

// alternates leaks a user, and returns the one who is in the store then.
func (w *crashWorld) alternates(leaked *databaseUser) *databaseUser {
	w.t.Helper()
	w.kind = leaked
	g := w.guard()
	w.leak()
	w.eventually("the remediation ends", func() error {
		if over, stuck := w.over(); !over || stuck != "" {
			return fmt.Errorf("over %v, stuck %q", over, stuck)
		}
		return nil
	})
	if g.stop(); g.lost > 0 {
		w.t.Errorf("%d of %d times the store held nothing that works", g.lost, g.n)
	}
	next := *leaked
	next.login, next.password = next.read(w.place.fields())
	if leaked.leakedWorks() || !next.leakedWorks() {
		w.t.Fatalf("after its rotation %s works: %t, and %s: %t\n%s", leaked.login, leaked.leakedWorks(), next.login, next.leakedWorks(), w.tail())
	}
	return &next
}
