package store

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks"
)

type countArgs struct {
	N int `json:"n"`
}

func (countArgs) Kind() string { return "count" }

type uniqueArgs struct {
	N int `json:"n"`
}

func (uniqueArgs) Kind() string { return "unique" }
func (uniqueArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

type soon struct{}

func (soon) NextRetry(*rivertype.JobRow) time.Time { return time.Now() }

func TestQueue(t *testing.T) { inStores(t, testQueue) }

func testQueue(t *testing.T, s *Store) {
	var ran atomic.Int64
	release := make(chan struct{})
	ws := river.NewWorkers()
	river.AddWorker(ws, river.WorkFunc(func(context.Context, *river.Job[countArgs]) error { ran.Add(1); return nil }))
	river.AddWorker(ws, river.WorkFunc(func(context.Context, *river.Job[uniqueArgs]) error { <-release; return nil }))
	if err := s.InTx(t.Context(), func(tx *Tx) error { return tx.Enqueue(t.Context(), countArgs{}) }); err == nil {
		t.Error("enqueueing before the queue runs: no error")
	}
	if err := s.Work(t.Context(), ws, map[string]int{river.QueueDefault: 4}, soon{}); err != nil {
		t.Fatal(err)
	}
	// What is undone is not run.
	undone := errors.New("undone")
	if err := s.InTx(t.Context(), func(tx *Tx) error { return errors.Join(tx.Enqueue(t.Context(), countArgs{1}), undone) }); !errors.Is(err, undone) {
		t.Fatal(err)
	}
	inTx(t, s, func(tx *Tx) error { return tx.Enqueue(t.Context(), countArgs{2}) })
	inTx(t, s, func(tx *Tx) error { return tx.Enqueue(t.Context(), uniqueArgs{1}) })
	if err := s.InTx(t.Context(), func(tx *Tx) error { return tx.Enqueue(t.Context(), uniqueArgs{1}) }); err == nil {
		t.Error("a second unique job was silently dropped")
	}
	close(release)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ran.Load() == 0 && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if ran.Load() != 1 {
		t.Errorf("%d jobs ran, want 1", ran.Load())
	}
}

type textArgs struct {
	Text string `json:"text"`
}

func (textArgs) Kind() string { return "text" }

// TestJobsOfStrangersTexts: what nobody can store, or read as JSON, gets there as well
// as it can.
func TestJobsOfStrangersTexts(t *testing.T) { inStores(t, testJobsOfStrangersTexts) }

func testJobsOfStrangersTexts(t *testing.T, s *Store) {
	ran := make(chan string, 2)
	ws := river.NewWorkers()
	river.AddWorker(ws, river.WorkFunc(func(_ context.Context, job *river.Job[textArgs]) error {
		ran <- job.Args.Text
		if job.Attempt == 1 {
			return errors.New("no such file: \x00")
		}
		return nil
	}))
	if err := s.Work(t.Context(), ws, map[string]int{river.QueueDefault: 1}, soon{}); err != nil {
		t.Fatal(err)
	}
	inTx(t, s, func(tx *Tx) error { return tx.Enqueue(t.Context(), textArgs{"a\x00b\\u0000 \\\x00 \xff"}) })
	if got, want := <-ran, "a\uFFFDb\\u0000 \\\uFFFD \uFFFD"; got != want {
		t.Errorf("the job has %q, want %q", got, want)
	}
	<-ran // once more, for the error could be told
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	scanOf(t, s, "push", "abc")
	var i Incident
	inTx(t, s, func(tx *Tx) (err error) {
		i, _, err = tx.OpenIncident(t.Context(), Incident{Incident: incident.Incident{Fingerprint: "f"}})
		return errors.Join(err, tx.AddOccurrence(t.Context(), Occurrence{Incident: i.ID, Delivery: "push", Location: checks.Location{Path: "caf\xe9", Author: "\x00"}}))
	})
	if places, err := s.Places(t.Context(), i.ID, 9); err != nil || len(places) != 1 || !strings.HasPrefix(places[0].Path, "caf") {
		t.Errorf("places %+v: %v", places, err)
	}
}

// TestInterruptedJobsAreRevived is a process that dies in a job: the next one
// runs the job again at once.
func TestInterruptedJobsAreRevived(t *testing.T) { inStores(t, testInterruptedJobsAreRevived) }

func testInterruptedJobsAreRevived(t *testing.T, s *Store) {
	ran := make(chan int, 1)
	ws := river.NewWorkers()
	river.AddWorker(ws, river.WorkFunc(func(_ context.Context, job *river.Job[countArgs]) error { ran <- job.Args.N; return nil }))
	queues := map[string]int{river.QueueDefault: 1}
	if err := s.Work(t.Context(), ws, queues, soon{}); err != nil {
		t.Fatal(err)
	}
	inTx(t, s, func(tx *Tx) error { return tx.Enqueue(t.Context(), countArgs{4}) })
	<-ran
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Exec(`update river_job set state = 'running', finalized_at = null`); err != nil {
		t.Fatal(err)
	}
	if err := s.Work(t.Context(), ws, queues, soon{}); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-ran:
		if n != 4 {
			t.Errorf("ran job %d", n)
		}
	case <-time.After(time.Minute):
		t.Error("the interrupted job did not run again")
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}
