package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/store/postgrestest"
)

// start makes a store run countArgs jobs.
func start(t *testing.T, s *Store, work func(context.Context, *river.Job[countArgs]) error) {
	t.Helper()
	ws := river.NewWorkers()
	river.AddWorker(ws, river.WorkFunc(work))
	if err := s.Work(t.Context(), ws, map[string]int{river.QueueDefault: 4}, soon{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

// replicas opens one database several times.
func replicas(t *testing.T, n int) []*Store {
	t.Helper()
	at := postgrestest.URL(t)
	all := make([]*Store, n)
	var wg sync.WaitGroup
	for i := range all { // at once: one of them makes the tables
		wg.Go(func() {
			s, err := Open(t.Context(), at, newKeys(t, 1), quiet)
			if err != nil {
				t.Error(err)
				return
			}
			all[i] = s
			t.Cleanup(func() { s.Close() })
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// eventually waits for what must happen.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come true", what)
		}
	}
}

func count(t *testing.T, s *Store, query string, args ...any) (n int) {
	t.Helper()
	if err := s.q.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReplicasWriteOneChain: the audit log of several replicas is one unbroken chain,
// and a counter that all of them read and write back loses nothing.
func TestReplicasWriteOneChain(t *testing.T) {
	all := replicas(t, 3)
	if err := all[0].Alone(t.Context()); err != nil {
		t.Errorf("nobody runs jobs yet: %v", err)
	}
	const each = 20
	var wg sync.WaitGroup
	for _, s := range all {
		for range each {
			wg.Go(func() {
				inTx(t, s, func(tx *Tx) error {
					at, err := tx.Mark(t.Context(), "counter")
					if err != nil {
						return err
					}
					if at.IsZero() {
						at = time.Unix(0, 0)
					}
					return errors.Join(tx.SetMark(t.Context(), "counter", at.Add(time.Second)),
						tx.Audit(t.Context(), audit.Entry{At: time.Now(), Actor: "a", Verb: "v", Subject: "s"}))
				})
			})
		}
	}
	wg.Wait()
	last, err := all[0].keys.Audit.Verify(all[0].AuditLog(t.Context()))
	if want := int64(each * len(all)); err != nil || last.Seq != want {
		t.Errorf("Verify = %d, %v; want an unbroken chain of %d", last.Seq, err, want)
	}
	if at, err := all[0].Mark(t.Context(), "counter"); err != nil || at.Unix() != each*int64(len(all)) {
		t.Errorf("the counter is at %d, want %d: %v", at.Unix(), each*len(all), err)
	}
}

// TestJobsOfTheDeadRunAgain: a replica's running job is left to it while it lives, and
// runs elsewhere once it is not heard of.
func TestJobsOfTheDeadRunAgain(t *testing.T) {
	all := replicas(t, 2)
	ran := make(chan int, 10)
	start(t, all[0], func(_ context.Context, job *river.Job[countArgs]) error { ran <- job.Args.N; return nil })
	// A process that was killed a moment ago, as it would have left the database.
	inTx(t, all[1], func(tx *Tx) error {
		_, err := tx.q.ExecContext(t.Context(), `insert into replicas (id, heard) values ('killed', `+now+`)`)
		return errors.Join(err, tx.enqueueFor(t, all[0], countArgs{7}))
	})
	if <-ran != 7 {
		t.Fatal("another job ran")
	}
	eventually(t, "the job's end", func() bool { return count(t, all[0], `select count(*) from river_job where state = 'completed'`) == 1 })
	// It was heard of last when three seconds are left until it is dead.
	killed := time.Now()
	if _, err := all[1].db.ExecContext(t.Context(), `update replicas set heard = `+now+` - $1 where id = 'killed'`, (deadAfter - 3*heartbeat).Microseconds()); err != nil {
		t.Fatal(err)
	}
	if _, err := all[1].db.ExecContext(t.Context(), `update river_job set state = 'running', finalized_at = null, attempted_by = array['killed']`); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ran:
	case <-time.After(time.Minute):
		t.Fatal("nobody takes over the job of a replica that is dead")
	}
	took := time.Since(killed)
	t.Logf("a job ran again %s after its replica was heard of for the last time", (took + deadAfter - 3*heartbeat).Round(10*time.Millisecond))
	if took < 2*heartbeat {
		t.Errorf("a replica was taken for dead %s before its time", 3*heartbeat-took)
	}
}

// enqueueFor adds a job by way of a store whose queue runs.
func (tx *Tx) enqueueFor(t *testing.T, s *Store, job river.JobArgs) error {
	_, err := s.queue.Load().InsertTx(t.Context(), tx.tx, job, nil)
	return err
}

// TestTakenForDead: a replica that the others have given up can neither write for its
// jobs nor end them, and works again as a new one.
func TestTakenForDead(t *testing.T) {
	all := replicas(t, 2)
	slow, other := all[0], all[1]
	begun, goOn, wrote, release := make(chan string, 1), make(chan struct{}), make(chan error, 1), make(chan struct{})
	var first atomic.Bool
	var elsewhere atomic.Int64
	again := func(context.Context, *river.Job[countArgs]) error { elsewhere.Add(1); <-release; return nil }
	start(t, slow, func(ctx context.Context, job *river.Job[countArgs]) error {
		if !first.CompareAndSwap(false, true) {
			return again(ctx, job)
		}
		begun <- job.AttemptedBy[0]
		<-goOn // as if the machine stood still: the context ends, and nobody looks
		wrote <- slow.InTx(context.WithoutCancel(ctx), func(tx *Tx) error { return tx.SetMark(ctx, "written", time.Now()) })
		return nil
	})
	inTx(t, slow, func(tx *Tx) error { return tx.Enqueue(t.Context(), countArgs{1}) })
	out := <-begun
	start(t, other, again)
	if _, err := other.db.ExecContext(t.Context(), `delete from replicas where id = $1`, out); err != nil {
		t.Fatal(err)
	}
	inTx(t, other, func(tx *Tx) error { return tx.buryReplicas(t.Context()) })
	eventually(t, "a second run of the job", func() bool { return elsewhere.Load() == 1 })
	close(goOn)
	if err := <-wrote; !errors.Is(err, errTakenForDead) {
		t.Errorf("the job of a replica that is out writes: %v", err)
	}
	eventually(t, "a new replica", func() bool { return count(t, other, `select count(*) from replicas where id <> ?`, out) == 2 })
	time.Sleep(3 * heartbeat / 2) // in which the old queue would have ended the job
	if n := count(t, other, `select count(*) from river_job where state = 'running'`); n != 1 {
		t.Errorf("%d jobs run, want the one that was taken over", n)
	}
	close(release)
	eventually(t, "the job's end", func() bool { return count(t, other, `select count(*) from river_job where state = 'completed'`) == 1 })
}

// TestJobsWhoseEndWasNotToldRunAgain: the database says that a living replica runs a job,
// which the replica knows nothing of.
func TestJobsWhoseEndWasNotToldRunAgain(t *testing.T) {
	s := replicas(t, 1)[0]
	ran, goOn := make(chan int, 10), make(chan struct{})
	start(t, s, func(_ context.Context, job *river.Job[countArgs]) error {
		ran <- job.Args.N
		if job.Args.N == 2 {
			<-goOn
		}
		return nil
	})
	inTx(t, s, func(tx *Tx) error {
		return errors.Join(tx.Enqueue(t.Context(), countArgs{1}), tx.Enqueue(t.Context(), countArgs{2}))
	})
	<-ran
	<-ran
	if err := s.Alone(t.Context()); !errors.Is(err, ErrLocked) {
		t.Errorf("nobody works on the database: %v", err)
	}
	eventually(t, "the end of the first", func() bool { return count(t, s, `select count(*) from river_job where state = 'completed'`) == 1 })
	// Both began long ago; one has ended, of which the other column does not know.
	if _, err := s.db.ExecContext(t.Context(), `update river_job set state = 'running', finalized_at = null, attempted_at = now() - interval '1 hour';
		insert into river_job (args, kind, max_attempts, state, attempted_at, attempted_by) select '{"n": 3}', kind, max_attempts, state, attempted_at, attempted_by
			from river_job limit 1`); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-ran:
		if n != 3 {
			t.Errorf("job %d runs again", n)
		}
	case <-time.After(time.Minute):
		t.Error("the job does not run again")
	}
	close(goOn)
	if len(ran) > 0 {
		t.Errorf("job %d runs again too", <-ran)
	}
	if _, err := s.db.ExecContext(t.Context(), `update river_job set state = 'completed', finalized_at = now() where state = 'running'`); err != nil {
		t.Fatal(err)
	}
}

// TestHold: what one replica's job holds, no other one has.
func TestHold(t *testing.T) {
	all := replicas(t, 2)
	var inside, most, done atomic.Int64
	for _, s := range all {
		start(t, s, func(ctx context.Context, _ *river.Job[countArgs]) error {
			release, err := s.Hold(ctx, "one")
			if err != nil {
				return err
			}
			defer release()
			most.Store(max(most.Load(), inside.Add(1)))
			time.Sleep(5 * time.Millisecond)
			inside.Add(-1)
			done.Add(1)
			return nil
		})
	}
	for n := range 40 {
		inTx(t, all[0], func(tx *Tx) error { return tx.Enqueue(t.Context(), countArgs{n}) })
	}
	eventually(t, "the end of all jobs", func() bool { return done.Load() == 40 })
	if most.Load() != 1 {
		t.Errorf("%d held it at once", most.Load())
	}
	if _, err := all[0].Hold(t.Context(), "one"); err == nil {
		t.Error("who is no job holds something that replicas share")
	}
}

// TestPostgresRefuses: what is wrong with the database's URL is said, and never its
// password.
func TestPostgresRefuses(t *testing.T) {
	server := postgrestest.ServerURL(t)
	at := func(change func(*url.URL)) string {
		u := server
		change(&u)
		return u.String()
	}
	const wrong = "not-the-password"
	for given, want := range map[string]string{
		at(func(u *url.URL) { u.User = url.UserPassword("postgres", wrong) }):                           "refuses the password of postgres",
		at(func(u *url.URL) { u.Path = "/nowhere" }):                                                    "create database nowhere owner postgres",
		at(func(u *url.URL) { u.Host = "127.0.0.1:1" }):                                                 "cannot be reached",
		at(func(u *url.URL) { u.Host = "no-host.invalid:5432" }):                                        "host is not known",
		at(func(u *url.URL) { u.RawQuery = "sslmode=require" }):                                         "refused TLS",
		at(func(u *url.URL) { u.RawQuery = "sslmode=maybe" }):                                           "not of the form postgres://",
		at(func(u *url.URL) { u.RawQuery = "sslmode=disable&search_path=none" }):                        "no schema has been selected",
		strings.Replace(server.String(), "@127", "%zz@127", 1):                                          "not of the form postgres://",
		"postgres://" + fmt.Sprintf("stanch:%s@[::1]:5432:7/db", wrong):                                 "not of the form postgres://",
		at(func(u *url.URL) { u.RawQuery = "sslmode=disable&options=-c%20server_version_num%3D90000" }): "server_version_num",
	} {
		_, err := Open(t.Context(), given, newKeys(t, 1), quiet)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		password, _ := server.User.Password()
		if err != nil && (strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), password)) {
			t.Errorf("the password is told: %v", err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("an error of several lines: %v", err)
		}
	}
}
