package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"
)

// pollInterval is how often the queue looks for jobs that nobody announced.
// Announced ones start within about 50 ms.
const pollInterval = 500 * time.Millisecond

// jobTimeout bounds one run of one job: a fetch and scan of a large push.
const jobTimeout = 15 * time.Minute

// maxAttempts is how often a job is run before it is given up. With pauses of at
// most a minute, which is package app's schedule, that is a day of trying.
const maxAttempts = 1500

// maxInterruptions is how often a job may be running when the process is killed
// before it is taken for the cause.
const maxInterruptions = 5

// Work makes the store's queue run jobs. Each queue name has its number of
// concurrent jobs. Call Stop before Close.
// Periodic jobs are added from time to time by themselves.
func (s *Store) Work(ctx context.Context, workers *river.Workers, queues map[string]int, retry river.ClientRetryPolicy, periodic ...*river.PeriodicJob) error {
	configs := make(map[string]river.QueueConfig, len(queues))
	for name, n := range queues {
		configs[name] = river.QueueConfig{MaxWorkers: n}
	}
	cfg := river.Config{
		Queues:            configs,
		Workers:           workers,
		PeriodicJobs:      periodic,
		RetryPolicy:       retry,
		MaxAttempts:       maxAttempts,
		JobTimeout:        jobTimeout,
		FetchPollInterval: pollInterval,
		FetchCooldown:     20 * time.Millisecond,
		ErrorHandler:      errorLog{s.log},
		Hooks:             []rivertype.Hook{river.HookInsertBeginFunc(startNow), river.HookInsertBeginFunc(withoutNUL)},
		Middleware:        []rivertype.Middleware{river.WorkerMiddlewareFunc(s.catchPanic)},
		Logger:            s.quietLog(),
	}
	if s.dialect.shared {
		return s.workAsReplica(ctx, cfg)
	}
	// The lock file says that no other process can be running jobs.
	err := s.InTx(ctx, func(tx *Tx) error { return tx.reviveJobs(ctx, ``) })
	if err != nil {
		return fmt.Errorf("revive interrupted jobs: %w", err)
	}
	queue, err := startQueue(ctx, s.dialect.queue(s.db), &cfg)
	if err != nil {
		return err
	}
	s.queue.Store(queue)
	s.stop = func(ctx context.Context) error { return stopQueue(ctx, queue) }
	return nil
}

func startQueue(ctx context.Context, driver riverdriver.Driver[*sql.Tx], cfg *river.Config) (*river.Client[*sql.Tx], error) {
	queue, err := river.NewClient(driver, cfg)
	if err != nil {
		return nil, fmt.Errorf("make job queue: %w", err)
	}
	if err := queue.Start(ctx); err != nil {
		return nil, fmt.Errorf("start job queue: %w", err)
	}
	return queue, nil
}

// Stop waits for running jobs until ctx ends, then cancels them; an interrupted
// job runs again at the next start, or by another replica.
func (s *Store) Stop(ctx context.Context) error {
	if s.stop == nil {
		return nil
	}
	return s.stop(ctx)
}

func stopQueue(ctx context.Context, queue *river.Client[*sql.Tx]) error {
	if err := queue.Stop(ctx); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return queue.StopAndCancel(ctx)
	}
	return nil
}

// reviveJobs makes the jobs available that are said to be running, with a further
// condition, but are not: their process was killed. River does so after its rescue
// time, an hour. A job that is found like this again and again may be what kills the
// process: it is discarded. Its check run stays unfinished, not green.
func (tx *Tx) reviveJobs(ctx context.Context, condition string) error {
	res, err := tx.q.ExecContext(ctx, `update river_job set state = 'discarded', finalized_at = current_timestamp
		where state = 'running' and attempt - `+tx.store.dialect.failures+` > ?`+condition, maxInterruptions)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err == nil && n > 0 {
		tx.store.log.ErrorContext(ctx, "jobs were running at each of the last crashes and are discarded; push or re-run their checks", "jobs", n)
	}
	_, err = tx.q.ExecContext(ctx, `update river_job set state = 'available' where state = 'running'`+condition)
	return err
}

// ErrRunning reports a unique job that runs right now.
var ErrRunning = errors.New("one is still running")

// Enqueue adds a job when the transaction commits. A unique job that is there
// already is an error: what the new one was to see, the old one may have passed.
func (tx *Tx) Enqueue(ctx context.Context, job river.JobArgs) error {
	duplicate, err := tx.insert(ctx, job)
	if err != nil {
		return err
	}
	if duplicate {
		return fmt.Errorf("enqueue %s job: %w", job.Kind(), ErrRunning)
	}
	return nil
}

// EnqueueOnce adds a unique job when the transaction commits, unless one like it
// waits or runs already.
func (tx *Tx) EnqueueOnce(ctx context.Context, job river.JobArgs) error {
	_, err := tx.insert(ctx, job)
	return err
}

// Restart adds a unique job that begins with its first step when the transaction
// commits, in place of one like it that waits. One that runs is ErrRunning.
func (tx *Tx) Restart(ctx context.Context, job river.JobArgs) error {
	queue := tx.store.queue.Load()
	for {
		res, err := queue.InsertTx(ctx, tx.tx, job, nil)
		switch {
		case err != nil:
			return fmt.Errorf("enqueue %s job: %w", job.Kind(), err)
		case !res.UniqueSkippedAsDuplicate:
			return nil
		case res.Job.State == rivertype.JobStateRunning:
			return ErrRunning
		}
		if _, err := queue.JobCancelTx(ctx, tx.tx, res.Job.ID); err != nil {
			return fmt.Errorf("end the %s job that waits: %w", job.Kind(), err)
		}
	}
}

// insert adds a job where its turn is, and reports whether it is there already.
func (tx *Tx) insert(ctx context.Context, job river.JobArgs) (duplicate bool, err error) {
	queue := tx.store.queue.Load()
	if queue == nil {
		return false, errors.New("enqueue job: the queue is not running")
	}
	opts, err := tx.insertOpts(ctx, job)
	if err != nil {
		return false, fmt.Errorf("find the turn of a %s job: %w", job.Kind(), err)
	}
	res, err := queue.InsertTx(ctx, tx.tx, job, opts)
	if err != nil {
		return false, fmt.Errorf("enqueue %s job: %w", job.Kind(), err)
	}
	return res.UniqueSkippedAsDuplicate, nil
}

// FinishStep records in the transaction that the job's current resumable step
// is done, so that a crash right after the commit does not repeat it.
func FinishStep[T river.JobArgs](ctx context.Context, tx *Tx, job *river.Job[T]) error {
	_, err := river.ResumableSetStepTx[riverdriver.Driver[*sql.Tx]](ctx, tx.tx, job)
	return err
}

// errPanic is what a job that panicked ends with.
var errPanic = errors.New("the job panicked: Stanch's log has the trace; please report it")

// catchPanic turns a job's panic into an error. River would log and store the
// panic's value, which may hold anything; the trace only says where it was.
func (s *Store) catchPanic(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) (err error) {
	defer func() {
		if recover() != nil {
			s.log.ErrorContext(ctx, "job panicked", "job", job.ID, "kind", job.Kind, "trace", string(debug.Stack()))
			err = errPanic
		}
	}()
	err = work(ctx)
	if err != nil && strings.Contains(err.Error(), "\x00") {
		err = withoutNULs{err}
	}
	return err
}

// withoutNULs is an error whose text PostgreSQL can keep.
type withoutNULs struct{ error }

func (e withoutNULs) Error() string { return strings.ReplaceAll(e.error.Error(), "\x00", "\uFFFD") }
func (e withoutNULs) Unwrap() error { return e.error }

// errorLog logs what goes wrong in jobs. Errors hold no secrets.
type errorLog struct{ log *slog.Logger }

// HandleError implements river.ErrorHandler. A job that was cancelled has said in
// the store why, and is no fault.
func (l errorLog) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	level := slog.LevelWarn
	if cancelled := new(river.JobCancelError); errors.As(err, &cancelled) {
		level = slog.LevelInfo
	}
	l.log.Log(ctx, level, "job ended with an error", "job", job.ID, "kind", job.Kind, "attempt", job.Attempt, "error", err)
	return nil
}

// HandlePanic implements river.ErrorHandler; catchPanic leaves nothing for it.
func (errorLog) HandlePanic(context.Context, *rivertype.JobRow, any, string) *river.ErrorHandlerResult {
	return nil
}

// quietLog is for River, which tells of its own health at the lower levels.
func (s *Store) quietLog() *slog.Logger {
	return slog.New(minLevel{s.log.Handler(), slog.LevelWarn})
}

// minLevel hides what the queue says about its own health below a level.
type minLevel struct {
	slog.Handler
	level slog.Level
}

func (h minLevel) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

func (h minLevel) WithAttrs(a []slog.Attr) slog.Handler {
	return minLevel{h.Handler.WithAttrs(a), h.level}
}

func (h minLevel) WithGroup(name string) slog.Handler {
	return minLevel{h.Handler.WithGroup(name), h.level}
}

// Working counts the jobs that wait or run.
func (s *Store) Working(ctx context.Context) (n int, err error) {
	return n, s.q.QueryRowContext(ctx, `select count(*) from river_job
		where state in ('available', 'pending', 'running', 'retryable', 'scheduled')`).Scan(&n)
}
