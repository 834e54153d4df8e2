package store

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// turnsAhead is how many jobs of one installation have turns of their own. What
// comes behind them takes its turn together.
const turnsAhead = 3600

// A Turn says how a job queues up, so that an installation with many jobs delays
// the others' no more than one with a few.
//
// River runs the jobs of a queue in the order of their scheduled_at, which may lie
// in the past. The turns are times there: an installation's next job comes Cost
// behind its last one that waits, and not before the job that is next in the
// queue. So the installations take turns, and nobody who waits is passed by more
// than one job of each. This is start-time fair queuing (Goyal, Vin and Cheng,
// SIGCOMM 1996).
type Turn struct {
	Installation int64
	// Cost is about how long a job takes, compared with others in its queue.
	Cost time.Duration
	// Next is the queue for jobs of an installation that has one waiting or running
	// already: it takes a queue's workers with one job and no more. Empty is the
	// same queue.
	Next string
}

// A TurnTaker is a job that queues up by installation. Its arguments name that as
// "installation".
type TurnTaker interface {
	river.JobArgsWithInsertOpts
	Turn() Turn
}

// turnsIndex finds an installation's jobs. It is made at every start: River's own
// migrations make the table anew.
const turnsIndex = `create index if not exists river_job_installation on river_job
	(queue, (` + jobInstallation + `), state, scheduled_at) where finalized_at is null`

// The installation and the repository that a job's arguments name.
const (
	jobInstallation = `cast(args ->> 'installation' as bigint)`
	jobRepository   = `cast(args -> 'repository' ->> 'id' as bigint)`
)

// insertOpts is where a job stands in its queue; nil where River itself decides.
func (tx *Tx) insertOpts(ctx context.Context, job river.JobArgs) (*river.InsertOpts, error) {
	taker, ok := job.(TurnTaker)
	if !ok {
		return nil, nil
	}
	opts, turn := taker.InsertOpts(), taker.Turn()
	if turn.Next != "" {
		busy, err := tx.busy(ctx, turn.Installation, opts.Queue, turn.Next)
		if err != nil {
			return nil, err
		}
		if busy {
			opts.Queue = turn.Next
		}
	}
	at, err := tx.turn(ctx, opts, turn, time.Now())
	opts.ScheduledAt = at
	return &opts, err
}

// busy reports whether a job of an installation waits or runs in one of two queues.
func (tx *Tx) busy(ctx context.Context, installation int64, queue, next string) (busy bool, err error) {
	return busy, tx.q.QueryRowContext(ctx, `select exists (select 1 from river_job where queue in (?, ?)
		and `+jobInstallation+` = ? and state in ('available', 'running') and finalized_at is null)`,
		queue, next, installation).Scan(&busy)
}

// turn is when it is the turn of an installation's next job.
func (tx *Tx) turn(ctx context.Context, opts river.InsertOpts, t Turn, now time.Time) (time.Time, error) {
	var first, last sql.NullString
	if err := tx.q.QueryRowContext(ctx, `select
		(select scheduled_at from river_job where state = 'available' and queue = ?1 and priority = ?2 order by scheduled_at limit 1),
		(select max(scheduled_at) from river_job where queue = ?1 and `+jobInstallation+` = ?3
			and state = 'available' and finalized_at is null)`,
		opts.Queue, max(opts.Priority, river.PriorityDefault), t.Installation).Scan(&first, &last); err != nil {
		return now, err
	}
	at := now.Add(-turnsAhead * t.Cost)
	for _, bound := range []struct {
		text sql.NullString
		more time.Duration
	}{{first, 0}, {last, t.Cost}} {
		if !bound.text.Valid {
			continue
		}
		b, err := parseTime(bound.text.String)
		if err != nil {
			return now, err
		}
		if b = b.Add(bound.more); b.After(at) {
			at = b
		}
	}
	if at.After(now) { // later than now is not yet
		at = now
	}
	return at, nil
}

// escaped is a backslash or a NUL in JSON.
var escaped = regexp.MustCompile(`\\\\|\\u0000`)

// withoutNUL takes the NULs out of a job's arguments: PostgreSQL's JSON has none, and
// strangers' texts may.
func withoutNUL(_ context.Context, job *rivertype.JobInsertParams) error {
	job.EncodedArgs = escaped.ReplaceAllFunc(job.EncodedArgs, func(found []byte) []byte {
		if len(found) == 2 {
			return found // a backslash, whatever follows
		}
		return []byte(`\ufffd`)
	})
	return nil
}

// startNow makes a job available whose time has come. River would let it wait for
// the next look at what is scheduled, seconds away.
func startNow(_ context.Context, job *rivertype.JobInsertParams) error {
	if job.State == rivertype.JobStateScheduled && !job.ScheduledAt.After(time.Now()) {
		job.State = rivertype.JobStateAvailable
	}
	return nil
}

// parseTime reads a time as River keeps it in SQLite.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04:05.999", time.RFC3339Nano} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("a job's time cannot be read: %q", text)
}
