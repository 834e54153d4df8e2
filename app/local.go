package app

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/store"
)

// Local serves the API about incidents to the process that it runs in, for somebody at
// this machine who may open the database anyway. The audit log names them cli:NAME.
func (a *App) Local(name string) http.Handler {
	next := a.incidentsAPI()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, "cli:"+strings.ToLower(name))))
	})
}

// localWorkers are the concurrent jobs of an App that only carries out orders.
var localWorkers = map[string]int{queueLocal: workers[queueLocal]}

// job is the job of carrying out an incident's remediation, for who was ordered to.
func (a *App) job(id string) remediateArgs {
	return remediateArgs{Incident: id, Local: a.cfg.WithoutGitHub}
}

// takeOver has this process go on with a remediation that another one began, unless that
// one is at it right now.
func (a *App) takeOver(ctx context.Context, tx *store.Tx, id string) error {
	if !a.cfg.WithoutGitHub {
		return nil // servers work off all queues
	}
	if err := tx.Restart(ctx, a.job(id)); !errors.Is(err, store.ErrRunning) {
		return err
	}
	return nil
}

// StartLocal makes the App carry out the remediations that are ordered of this process,
// and nothing else that waits in the database: that is the server's, with the server's
// environment. Call StopLocal to end it; what is not done then goes on when it is ordered
// again, or when a server starts.
func (a *App) StartLocal(ctx context.Context) error {
	ws := a.otherWorkers()
	river.AddWorker(ws, orderedWorker{remediateWorker{app: a}})
	return a.store.Work(ctx, ws, localWorkers, retryPolicy{})
}

// StopLocal lets the steps that are under way come to their end, and begins no others.
func (a *App) StopLocal(ctx context.Context) error {
	a.ending.Store(true)
	return a.Stop(ctx)
}

// notOurs is how long a remediation that is not this process's is left alone.
const notOurs = time.Second

// orderedWorker carries out what was ordered of this process.
type orderedWorker struct{ remediateWorker }

func (w orderedWorker) Work(ctx context.Context, job *river.Job[remediateArgs]) error {
	if _, ours := w.app.ordered.Load(job.Args.Incident); !ours {
		return river.JobSnooze(notOurs)
	}
	return w.remediateWorker.Work(ctx, job)
}
