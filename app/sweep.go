package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
)

const (
	// redeliveryDays and redeliveryDaysServer are how long GitHub and an Enterprise
	// Server can deliver an event again.
	// Source: https://docs.github.com/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
	redeliveryDays       = 3
	redeliveryDaysServer = 7

	// sweepOverlap is by how much a sweep of deliveries looks behind the last one:
	// a delivery shows in GitHub's list when its receiver had its time, which is 30
	// seconds at most.
	sweepOverlap = 5 * time.Minute

	// sweepAnyway is after how long a repository's refs are looked at though nobody is
	// said to have pushed: "pushed_at" is not documented to the last case.
	sweepAnyway = 24 * time.Hour

	// sweepBatch is how many tips one transaction takes up.
	sweepBatch = 50

	// sweepSettle is for how long pushes that overtook one another are left alone.
	sweepSettle = 5 * time.Second

	// sweptMark names, in the store, when deliveries were last swept.
	sweptMark = "deliveries swept"
)

// A Sweep says how often to look for what GitHub did not tell. Zero is never.
type Sweep struct {
	Deliveries time.Duration // those that failed are asked for again
	Refs       time.Duration // those that moved unseen are scanned
	Verdicts   time.Duration // providers are asked again about what is live or unknown
	Schedule   time.Duration // what the policy has rotated from time to time is looked at
}

// jobs are the sweeps as periodic jobs. The first ones run at the start: there may
// have been nobody to tell.
func (s Sweep) jobs() []*river.PeriodicJob {
	var jobs []*river.PeriodicJob
	add := func(every time.Duration, args river.JobArgs) {
		if every > 0 {
			jobs = append(jobs, river.NewPeriodicJob(river.PeriodicInterval(every),
				func() (river.JobArgs, *river.InsertOpts) { return args, nil }, &river.PeriodicJobOpts{RunOnStart: true}))
		}
	}
	add(s.Deliveries, sweepDeliveriesArgs{})
	add(s.Refs, sweepRefsArgs{})
	add(s.Verdicts, sweepVerdictsArgs{})
	add(s.Schedule, sweepScheduleArgs{})
	return jobs
}

// sweepDeliveriesArgs is the job of asking GitHub for the deliveries that failed.
type sweepDeliveriesArgs struct{}

func (sweepDeliveriesArgs) Kind() string { return "sweep_deliveries" }

func (sweepDeliveriesArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueSweep, UniqueOpts: oneAtATime}
}

type sweepDeliveriesWorker struct {
	river.WorkerDefaults[sweepDeliveriesArgs]
	app *App
}

// Work asks GitHub to deliver again what never arrived and was never recorded. The
// mark moves when all was asked for; what a crash leaves is asked for once more,
// and whatever arrives twice is recorded once.
func (w sweepDeliveriesWorker) Work(ctx context.Context, _ *river.Job[sweepDeliveriesArgs]) error {
	a, begun, ctx := w.app, w.app.now(), github.InBackground(ctx)
	since, err := a.sweepSince(ctx, begun)
	if err != nil {
		return err
	}
	failed, err := a.github.FailedDeliveries(ctx, since)
	if err != nil {
		return a.postpone(err)
	}
	asked := 0
	for _, d := range slices.Backward(failed) { // in the order in which things happened
		_, err := a.store.Delivery(ctx, d.GUID)
		if err == nil {
			continue
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		switch err := a.github.Redeliver(ctx, d.ID); {
		case errors.Is(err, github.ErrNotFound):
			a.log.WarnContext(ctx, "a delivery that failed is too old to be delivered again; the sweep of refs finds what it spoke of", "delivery", d.GUID, "event", d.Event)
			continue
		case err != nil:
			return a.postpone(err)
		}
		asked++
	}
	a.metrics.swept("deliveries", asked)
	if asked > 0 {
		a.log.InfoContext(ctx, "deliveries that failed were asked for again", "deliveries", asked, "since", since)
	}
	return a.store.InTx(ctx, func(tx *store.Tx) error { return tx.SetMark(ctx, sweptMark, begun) })
}

// sweepSince is from when on deliveries are looked at.
func (a *App) sweepSince(ctx context.Context, now time.Time) (time.Time, error) {
	days := redeliveryDays
	if a.github.IsServer() {
		days = redeliveryDaysServer
	}
	earliest := now.AddDate(0, 0, -days)
	last, err := a.store.Mark(ctx, sweptMark)
	if err != nil || last.Add(-sweepOverlap).Before(earliest) {
		return earliest, err
	}
	return last.Add(-sweepOverlap), nil
}

// sweepRefsArgs is the job of having all installations looked at.
type sweepRefsArgs struct{}

func (sweepRefsArgs) Kind() string { return "sweep_refs" }

func (sweepRefsArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueSweep, UniqueOpts: oneAtATime}
}

type sweepRefsWorker struct {
	river.WorkerDefaults[sweepRefsArgs]
	app *App
}

// Work asks which installations there are, which says what events about them would
// have said, and makes a job for each.
func (w sweepRefsWorker) Work(ctx context.Context, _ *river.Job[sweepRefsArgs]) error {
	a, ctx := w.app, github.InBackground(ctx)
	installations, err := a.github.Installations(ctx)
	if err != nil {
		return a.postpone(err)
	}
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		for _, id := range installations {
			if err := tx.EnqueueOnce(ctx, syncArgs{Installation: id, Sweep: true}); err != nil {
				return err
			}
		}
		return nil
	})
}

// sweepMoved has those repositories swept to which somebody may have pushed since they
// were swept last. GitHub said so of all in one list.
func (a *App) sweepMoved(ctx context.Context, installation int64, listed []github.Listed) error {
	known, err := a.store.RepositoriesIn(ctx, installation)
	if err != nil {
		return err
	}
	swept := map[int64]time.Time{}
	for _, r := range known {
		swept[r.ID] = r.Swept
	}
	due := slices.DeleteFunc(listed, func(r github.Listed) bool { return !sweepDue(r.PushedAt, swept[r.ID], a.now()) })
	for some := range slices.Chunk(due, syncBatch) {
		err := a.store.InTx(ctx, func(tx *store.Tx) error {
			for _, r := range some {
				if err := tx.EnqueueOnce(ctx, sweepRepositoryArgs{Repository: r.ID}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepDue reports whether a repository's refs may have moved since they were swept.
// GitHub's clock may differ, and its list lag behind.
func sweepDue(pushed, swept, now time.Time) bool {
	return pushed.IsZero() || !pushed.Add(sweepOverlap).Before(swept) || now.Sub(swept) >= sweepAnyway
}

// sweepRepositoryArgs is the job of scanning the refs of a repository that moved
// unseen.
type sweepRepositoryArgs struct {
	Repository int64 `json:"repository" river:"unique"`
	// Settle says that pushes are being scanned, for which the sweep waits a little.
	Settle bool `json:"settle,omitempty"`
}

func (sweepRepositoryArgs) Kind() string { return "sweep_repository" }

func (s sweepRepositoryArgs) InsertOpts() river.InsertOpts {
	opts := river.InsertOpts{Queue: queueSweep, UniqueOpts: oneAtATime}
	if s.Settle {
		opts.ScheduledAt = time.Now().Add(sweepSettle)
	}
	return opts
}

type sweepRepositoryWorker struct {
	river.WorkerDefaults[sweepRepositoryArgs]
	app *App
}

// Work compares the refs with what was last scanned of them. Before the backfill
// has ended, nothing is known of most, and it looks at all of them itself.
func (w sweepRepositoryWorker) Work(ctx context.Context, job *river.Job[sweepRepositoryArgs]) error {
	a, begun, ctx := w.app, w.app.now(), github.InBackground(ctx)
	repo, err := a.store.Repository(ctx, job.Args.Repository)
	if err != nil || repo.State != store.Active {
		return err
	}
	if ready, err := a.readyToSweep(ctx, repo, job.Args.Settle); !ready {
		return err
	}
	refs, err := a.listRefs(ctx, repo)
	switch {
	case errors.Is(err, github.ErrGone), errors.Is(err, github.ErrNotFound):
		return river.JobCancel(err) // an event, or the next sweep, says what became of it
	case err != nil:
		return a.postpone(err)
	}
	moved, err := a.sweepRefs(ctx, repo, refs)
	if err != nil {
		return err
	}
	a.metrics.swept("refs", moved)
	return a.store.InTx(ctx, func(tx *store.Tx) error { return tx.SetSwept(ctx, repo.ID, begun) })
}

// readyToSweep reports whether a repository's backfill has ended and, where pushes are
// to settle, their scans too. The error says what to do when not.
func (a *App) readyToSweep(ctx context.Context, repo store.Repository, settle bool) (bool, error) {
	b, err := a.store.Backfill(ctx, repo.ID)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && b.Finished.IsZero():
		return false, nil
	case err != nil || !settle:
		return err == nil, err
	}
	scanning, err := a.store.Scanning(ctx, repo.Installation, repo.ID, queueScan, queueScanNext)
	if scanning {
		err = river.JobSnooze(sweepSettle)
	}
	return err == nil, err
}

// listRefs asks GitHub what the branches and tags of a repository point at.
func (a *App) listRefs(ctx context.Context, repo store.Repository) (map[string]string, error) {
	remote, err := a.remote(ctx, repo.Installation, repo.Repository)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(a.cfg.Scratch, "scan-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	refs, err := github.ListRefs(ctx, remote, dir)
	a.doubtToken(err, repo.Installation, repo.Repository)
	return refs, err
}

// sweepRefs has the refs scanned that moved since they were last scanned, those at
// one commit together, and forgets those that are gone. It does a part at a time:
// what an error or a crash leaves, it finds again.
func (a *App) sweepRefs(ctx context.Context, repo store.Repository, refs map[string]string) (moved int, err error) {
	known, err := a.store.Refs(ctx, repo.Installation, repo.ID)
	if err != nil {
		return 0, err
	}
	tips := map[string][]string{} // names by what they point at
	for name, sha := range refs {
		if known[name] != sha {
			tips[sha] = append(tips[sha], name)
		}
	}
	for some := range slices.Chunk(slices.Sorted(maps.Keys(tips)), sweepBatch) {
		err := a.store.InTx(ctx, func(tx *store.Tx) error {
			n, err := a.sweepTips(ctx, tx, repo, some, tips, known)
			moved += n
			return err
		})
		if err != nil {
			return moved, err
		}
	}
	gone := slices.DeleteFunc(slices.Collect(maps.Keys(known)), func(name string) bool { return refs[name] != "" })
	for names := range slices.Chunk(gone, store.RefBatch) {
		err := a.store.InTx(ctx, func(tx *store.Tx) error { return tx.ForgetRefs(ctx, repo.Installation, repo.ID, names...) })
		if err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// sweepTips has some tips scanned. What a delivery has queued is left to it.
func (a *App) sweepTips(ctx context.Context, tx *store.Tx, repo store.Repository, some []string, tips map[string][]string, known map[string]string) (moved int, err error) {
	queued, err := tx.QueuedRefs(ctx, scanArgs{}.Kind(), repo.ID)
	if err != nil {
		return 0, err
	}
	for _, sha := range some {
		names := slices.DeleteFunc(tips[sha], func(name string) bool { return queued[name] })
		if len(names) == 0 {
			continue
		}
		slices.SortFunc(names, byImportance("refs/heads/"+repo.DefaultBranch))
		if err := a.sweepTip(ctx, tx, repo, sha, names, known); err != nil {
			return 0, err
		}
		moved += len(names)
	}
	return moved, nil
}

// byImportance orders refs by name, one of them before all others.
func byImportance(first string) func(a, b string) int {
	return func(a, b string) int {
		switch {
		case a == b:
			return 0
		case a == first:
			return -1
		case b == first:
			return 1
		}
		return strings.Compare(a, b)
	}
}

// sweepTip has what some refs point at scanned, unless that was done.
func (a *App) sweepTip(ctx context.Context, tx *store.Tx, repo store.Repository, sha string, names []string, known map[string]string) error {
	s := scanArgs{
		Delivery: fmt.Sprintf("sweep %d %s %s", repo.ID, names[0], sha), Received: a.now(),
		Installation: repo.Installation, Repository: repo.Repository, Head: sha, Tip: sha, Base: known[names[0]], Refs: names,
		WholeHistory: names[0] == "refs/heads/"+repo.DefaultBranch,
	}
	scanned, err := tx.Scanned(ctx, repo.Installation, repo.ID, sha)
	if err != nil {
		return err
	}
	if scanned {
		return a.moveRefs(ctx, tx, s, known)
	}
	before, err := tx.Scan(ctx, s.Delivery)
	switch {
	case err == nil && before.Finished.IsZero():
		return nil // it is being tried
	case err == nil:
		return a.rescan(ctx, tx, before)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	if err := a.recordOccasion(ctx, tx, s, "sweep", "ref moved"); err != nil {
		return err
	}
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: "find moved refs", Subject: s.Delivery, Detail: map[string]string{
		"repository": repo.FullName(), "ref": names[0], "refs": fmt.Sprint(len(names)), "tip": sha, "last": cmp.Or(s.Base, "none"),
	}}); err != nil {
		return err
	}
	return tx.Enqueue(ctx, s)
}

// moveRefs remembers that what refs point at was scanned, as the head of something
// else.
func (a *App) moveRefs(ctx context.Context, tx *store.Tx, s scanArgs, known map[string]string) error {
	for _, name := range s.Refs {
		ref := store.Ref{Installation: s.Installation, Repository: s.Repository.ID, Name: name, SHA: s.Tip}
		if err := tx.MoveRef(ctx, ref, known[name]); err != nil {
			return err
		}
	}
	return nil
}
