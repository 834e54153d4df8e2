package app

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/riverqueue/river"
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
var localWorkers = map[string]int{queueRemediate: 4}

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
