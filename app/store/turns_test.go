package store

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
)

// turnArgs is a job of an installation; they are counted from 1 for each.
type turnArgs struct {
	Installation int64 `json:"installation"`
	N            int   `json:"n"`
	next         string
	queue        string
}

func (turnArgs) Kind() string { return "turn" }

func (a turnArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: a.queue} }

func (a turnArgs) Turn() Turn {
	return Turn{Installation: a.Installation, Cost: time.Second, Next: a.next}
}

func (a turnArgs) String() string { return fmt.Sprintf("%c%d", 'A'+rune(a.Installation)-1, a.N) }

// line runs jobs one after another, and says in which order it did.
type line struct {
	*Store
	ran     chan string
	release chan struct{}
	counts  map[int64]int
}

func newLine(t *testing.T, url string, queues map[string]int) *line {
	t.Helper()
	l := &line{openStore(t, url), make(chan string, 1000), make(chan struct{}), map[int64]int{}}
	t.Cleanup(func() { l.Close() })
	ws := river.NewWorkers()
	river.AddWorker(ws, river.WorkFunc(func(ctx context.Context, job *river.Job[turnArgs]) error {
		l.ran <- job.Args.String()
		select {
		case <-l.release:
		case <-ctx.Done():
		}
		return nil
	}))
	if err := l.Work(t.Context(), ws, queues, soon{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		l.Stop(ctx)
	})
	return l
}

// add queues n jobs of an installation.
func (l *line) add(t *testing.T, installation int64, n int, next string) {
	t.Helper()
	for range n {
		l.counts[installation]++
		job := turnArgs{Installation: installation, N: l.counts[installation], queue: "work", next: next}
		inTx(t, l.Store, func(tx *Tx) error { return tx.Enqueue(t.Context(), job) })
	}
}

// begun waits until one more job has begun.
func (l *line) begun(t *testing.T) string {
	t.Helper()
	select {
	case name := <-l.ran:
		return name
	case <-time.After(time.Minute):
		t.Fatal("no job begins")
		return ""
	}
}

// TestInstallationsTakeTurns: who comes late with one job waits for one job of those
// who came before with many, and each one's own order stays.
func TestInstallationsTakeTurns(t *testing.T) { onBoth(t, testInstallationsTakeTurns) }

func testInstallationsTakeTurns(t *testing.T, url string) {
	l := newLine(t, url, map[string]int{"work": 1})
	l.add(t, 1, 20, "") // A
	order := []string{l.begun(t)}
	next := func() {
		l.release <- struct{}{}
		order = append(order, l.begun(t))
	}
	for range 4 {
		next()
	}
	l.add(t, 2, 1, "") // B
	l.add(t, 3, 3, "") // C
	for range 7 {
		next()
	}
	l.add(t, 2, 2, "")
	for range 14 - 2 {
		next()
	}
	own := func(of string) (jobs []string) {
		for _, name := range order {
			if strings.HasPrefix(name, of) {
				jobs = append(jobs, name)
			}
		}
		return jobs
	}
	for _, c := range []struct {
		job  string
		last int // its place at the latest, from 0
	}{{"B1", 7}, {"C1", 7}, {"C2", 10}, {"B2", 14}, {"B3", 16}} {
		if got := slices.Index(order, c.job); got < 0 || got > c.last {
			t.Errorf("%s begins as job %d, want %d at the latest: %v", c.job, got, c.last, order)
		}
	}
	for of := range map[string]bool{"A": true, "B": true, "C": true} {
		for n, name := range own(of) {
			if want := fmt.Sprint(of, n+1); name != want {
				t.Errorf("%s begins where %s should: %v", name, want, order)
			}
		}
	}
}

// TestNobodyTakesAllWorkers: an installation's long jobs leave workers for others.
func TestNobodyTakesAllWorkers(t *testing.T) { onBoth(t, testNobodyTakesAllWorkers) }

func testNobodyTakesAllWorkers(t *testing.T, url string) {
	l := newLine(t, url, map[string]int{"work": 2, "next": 2})
	l.add(t, 1, 10, "next")
	begun := []string{l.begun(t), l.begun(t), l.begun(t)} // one and two more, which do not end
	l.add(t, 2, 1, "next")
	if name := l.begun(t); name != "B1" {
		t.Errorf("%s begins, want B1 beside %v", name, begun)
	}
}

// TestTurnsInTheDeep: behind very many jobs of one installation the time is now, and
// no later: nobody waits without need.
func TestTurnsInTheDeep(t *testing.T) { onBoth(t, testTurnsInTheDeep) }

func testTurnsInTheDeep(t *testing.T, url string) {
	l := newLine(t, url, map[string]int{"other": 1})
	l.add(t, 1, 1, "")
	soon := map[string]string{sqlite.name: `strftime('%Y-%m-%d %H:%M:%f', 'now', '+3 seconds')`, postgres.name: `now() + interval '3 seconds'`}
	present := map[string]string{sqlite.name: `strftime('%Y-%m-%d %H:%M:%f', 'now')`, postgres.name: `now()`}
	if _, err := l.db.ExecContext(t.Context(), `update river_job set scheduled_at = `+soon[l.dialect.name]); err != nil {
		t.Fatal(err)
	}
	l.add(t, 1, 1, "")
	l.add(t, 2, 1, "")
	var late int
	if err := l.db.QueryRowContext(t.Context(), `select count(*) from river_job where state <> 'available'
		or id > 1 and scheduled_at > `+present[l.dialect.name]).Scan(&late); err != nil || late != 0 {
		t.Errorf("%d jobs wait for a time to come: %v", late, err)
	}
}

// TestTurnsAreFound: with thousands of jobs waiting, one more is added at once.
// PostgreSQL plans by what is in the table.
func TestTurnsAreFound(t *testing.T) {
	s := newStore(t, filepath.Join(t.TempDir(), "a.db"))
	defer s.Close()
	for _, query := range []string{
		`select exists (select 1 from river_job where queue in ('a', 'b')
			and ` + jobInstallation + ` = 1 and state in ('available', 'running') and finalized_at is null)`,
		`select max(scheduled_at) from river_job where queue = 'a' and ` + jobInstallation + ` = 1
			and state = 'available' and finalized_at is null`,
	} {
		rows, err := s.db.QueryContext(t.Context(), `explain query plan `+query)
		if err != nil {
			t.Fatal(err)
		}
		var plan strings.Builder
		for rows.Next() {
			var a, b, c int
			var detail string
			if err := rows.Scan(&a, &b, &c, &detail); err != nil {
				t.Fatal(err)
			}
			plan.WriteString(detail + "\n")
		}
		rows.Close()
		if !strings.Contains(plan.String(), "river_job_installation") || strings.Contains(plan.String(), "SCAN river_job") {
			t.Errorf("no index serves %s:\n%s", query, plan.String())
		}
	}
}
