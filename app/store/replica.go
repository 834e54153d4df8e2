package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Several processes, the replicas, may work on one PostgreSQL database. Each says in
// the database, from time to time, that it lives. Who is silent for long is taken for
// dead: his jobs are run by others. He may only be slow, or cut off, so that three
// things keep a job from being run by two: who cannot say that he lives stops by
// himself, before the others take over; the transactions of a job fail once its replica
// is out, and nothing is done outside that a transaction did not record before; and the
// queue of such a replica loses its connections, so that it cannot end a job that is
// another's by now.
const (
	heartbeat = time.Second
	// silentAfter is how long a replica goes on that cannot say that it lives.
	silentAfter = 5 * time.Second
	// deadAfter is after which silence the others take over.
	deadAfter = 10 * time.Second
	// forgetAfter is for how long a job that has ended may be said to run: its end is
	// written in batches, and tried a few times.
	forgetAfter = 30 * time.Second
)

// errTakenForDead ends what a replica does that the others have given up.
var errTakenForDead = errors.New("this replica was not heard of for a while, and others have taken over its jobs")

// now is the database's clock in microseconds, the one that all replicas share.
const now = `cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)`

// A replica is this process as one of those that run jobs, until it ends or loses touch.
type replica struct {
	store  *Store
	id     string
	conn   queueConn
	queue  *river.Client[*sql.Tx]
	ctx    context.Context // of its jobs
	cancel context.CancelFunc
	closed chan struct{} // once its queue can change nothing any more
	heard  time.Time
	// running has the ids of its jobs, also of those that ended a moment ago.
	running sync.Map
}

// workAsReplica runs jobs until the store is stopped, as one replica after another if
// touch is lost.
func (s *Store) workAsReplica(ctx context.Context, cfg river.Config) error {
	r, err := s.join(ctx, cfg)
	if err != nil {
		return err
	}
	joining, joinNoMore := context.WithCancel(ctx)
	beating, beatNoMore := context.WithCancel(context.WithoutCancel(ctx))
	var mu sync.Mutex // guards r
	var beats sync.WaitGroup
	beats.Go(func() {
		for sleep(beating, heartbeat) {
			mu.Lock()
			r = r.goOn(joining, cfg)
			mu.Unlock()
		}
	})
	s.stop = func(ctx context.Context) error {
		joinNoMore()
		mu.Lock()
		last := r.queue
		mu.Unlock()
		err := stopQueue(ctx, last) // whose replica lives meanwhile
		beatNoMore()
		beats.Wait()
		return errors.Join(err, r.resign())
	}
	return nil
}

// sleep waits for a while, or reports that ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// join makes this process a replica, and starts its queue.
func (s *Store) join(ctx context.Context, cfg river.Config) (*replica, error) {
	r := &replica{store: s, id: uuid.NewString(), closed: make(chan struct{}), heard: time.Now()}
	var err error
	if r.conn, err = openQueue(ctx, s.database.postgres); err != nil {
		return nil, err
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	err = s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.q.ExecContext(ctx, `insert into replicas (id, heard) values (?, `+now+`)`, r.id); err != nil {
			return err
		}
		return tx.buryReplicas(ctx)
	})
	if err == nil {
		cfg.ID = r.id
		cfg.Middleware = append([]rivertype.Middleware{river.WorkerMiddlewareFunc(r.work)}, cfg.Middleware...)
		r.queue, err = startQueue(r.ctx, r.conn.driver(), &cfg)
	}
	if err != nil {
		r.leave()
		return nil, fmt.Errorf("become a replica: %w", err)
	}
	s.queue.Store(r.queue)
	return r, nil
}

// goOn says that the replica lives. If that was not possible for too long, it leaves,
// and this process becomes a new one as soon as it can.
func (r *replica) goOn(ctx context.Context, cfg river.Config) *replica {
	s, begun := r.store, time.Now()
	if r.ctx.Err() == nil {
		switch err := r.beat(context.WithoutCancel(ctx)); {
		case err == nil:
			r.heard = begun
			if err := r.lookAround(context.WithoutCancel(ctx)); err != nil {
				s.log.WarnContext(ctx, "jobs that nobody runs were not looked for", "error", err)
			}
			return r
		case !errors.Is(err, errTakenForDead) && time.Since(r.heard) < silentAfter:
			return r
		default:
			s.log.ErrorContext(ctx, "this replica stops its jobs: it cannot say that it lives", "replica", r.id, "error", err)
			r.leave()
		}
	}
	if ctx.Err() != nil {
		return r // this process is being stopped
	}
	next, err := s.join(ctx, cfg)
	if err != nil {
		s.log.WarnContext(ctx, "this process does not run jobs; it will try again", "error", err)
		return r
	}
	s.log.InfoContext(ctx, "this process runs jobs again", "replica", next.id)
	return next
}

// beat says that the replica lives.
func (r *replica) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	res, err := r.store.q.ExecContext(ctx, `update replicas set heard = `+now+` where id = ?`, r.id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(errTakenForDead, err)
	}
	return nil
}

// lookAround has the jobs run that nobody runs.
func (r *replica) lookAround(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*heartbeat)
	defer cancel()
	s := r.store
	var dead bool
	err := s.q.QueryRowContext(ctx, `select exists (select 1 from replicas where heard < `+now+` - ?)`, deadAfter.Microseconds()).Scan(&dead)
	if err == nil && dead {
		err = s.InTx(ctx, func(tx *Tx) error { return tx.buryReplicas(ctx) })
	}
	return errors.Join(err, r.takeBack(ctx))
}

// buryReplicas takes out the replicas that are dead, with what they held, and has the
// jobs run that none of the others runs.
func (tx *Tx) buryReplicas(ctx context.Context) error {
	res, err := tx.q.ExecContext(ctx, `delete from replicas where heard < `+now+` - ?`, deadAfter.Microseconds())
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err == nil && n > 0 {
		tx.store.log.WarnContext(ctx, "replicas are not heard of any more; their jobs run again", "replicas", n)
	}
	return tx.reviveJobs(ctx, ` and not exists (select 1 from replicas where id = attempted_by[cardinality(attempted_by)])`)
}

// takeBack makes those jobs available again that are said to be run by this replica, and
// are not: the database was away when it should have been told how they ended.
func (r *replica) takeBack(ctx context.Context) error {
	const mine = `state = 'running' and attempted_by[cardinality(attempted_by)] = ?`
	ids, err := collect(r.store.queries, ctx, func(row scanner) (id int64, err error) {
		return id, row.Scan(&id)
	}, `select id from river_job where `+mine+` and attempted_at < clock_timestamp() - make_interval(secs => ?)`, r.id, forgetAfter.Seconds())
	for _, id := range ids {
		if _, runs := r.running.Load(id); runs || err != nil {
			continue
		}
		_, err = r.store.q.ExecContext(ctx, `update river_job set state = 'available' where `+mine+` and id = ?`, r.id, id)
	}
	return err
}

// Alone is ErrLocked when a replica works on the database. Of SQLite's, the lock file
// says so before.
func (s *Store) Alone(ctx context.Context) error {
	if !s.dialect.shared {
		return nil
	}
	var others bool
	err := s.q.QueryRowContext(ctx, `select exists (select 1 from replicas where heard >= `+now+` - ?)`, deadAfter.Microseconds()).Scan(&others)
	if err == nil && others {
		err = s.database.problem("open", ErrLocked)
	}
	return err
}

// leave stops a replica's jobs. Its queue must not say how they ended.
func (r *replica) leave() {
	r.cancel()
	r.conn.close()
	close(r.closed)
	if r.queue != nil {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			r.queue.StopAndCancel(ctx) // says again what is known
		}()
	}
}

// resign takes out a replica that has stopped.
func (r *replica) resign() error {
	if r.ctx.Err() != nil {
		return nil // it has left
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	err := r.store.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.q.ExecContext(ctx, `delete from replicas where id = ?`, r.id); err != nil {
			return err
		}
		return tx.buryReplicas(ctx)
	})
	r.cancel()
	close(r.closed)
	return errors.Join(err, r.conn.close())
}

// replicaKey is the key of a job's replica in its context.
type replicaKey struct{}

// work runs a job as the replica's.
func (r *replica) work(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) error {
	run := &job.Attempt // tells this run from a later one
	r.running.Store(job.ID, run)
	defer time.AfterFunc(forgetAfter, func() { r.running.CompareAndDelete(job.ID, run) })
	ctx, cancel := context.WithCancel(context.WithValue(ctx, replicaKey{}, r.id))
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	err := work(ctx)
	for r.store.mustLive(context.WithoutCancel(ctx), r.store.q) != nil && sleep(r.ctx, heartbeat/4) {
		// The replica is out, or the database does not answer: goOn finds out.
	}
	if r.ctx.Err() != nil {
		<-r.closed
	}
	return err
}

// mustLive is an error when the job of a context belongs to a replica that is out.
func (s *Store) mustLive(ctx context.Context, c conn) error {
	id, ok := ctx.Value(replicaKey{}).(string)
	if !ok {
		return nil
	}
	var alive bool
	if err := c.QueryRowContext(ctx, `select exists (select 1 from replicas where id = ?)`, id).Scan(&alive); err != nil {
		return err
	}
	if !alive {
		return errTakenForDead
	}
	return nil
}
