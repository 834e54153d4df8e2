package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

	// sweptMark names, in the store, when deliveries were last swept.
	sweptMark = "deliveries swept"
)

// A Sweep says how often to look for what GitHub did not tell. Zero is never.
type Sweep struct {
	Deliveries time.Duration // those that failed are asked for again
	Refs       time.Duration // those that moved unseen are scanned
	Verdicts   time.Duration // providers are asked again about what is live or unknown
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
	a, begun := w.app, w.app.now()
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

// sweepRefsArgs is the job of having all repositories looked at.
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
// have said, and makes a job for each repository.
func (w sweepRefsWorker) Work(ctx context.Context, _ *river.Job[sweepRefsArgs]) error {
	a := w.app
	installations, err := a.github.Installations(ctx)
	if err != nil {
		return a.postpone(err)
	}
	repos, err := a.store.ActiveRepositories(ctx)
	if err != nil {
		return err
	}
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		for _, id := range installations {
			if err := tx.EnqueueOnce(ctx, syncArgs{Installation: id}); err != nil {
				return err
			}
		}
		for _, r := range repos {
			if err := tx.EnqueueOnce(ctx, sweepRepositoryArgs{Repository: r.ID}); err != nil {
				return err
			}
		}
		return nil
	})
}

// sweepRepositoryArgs is the job of scanning the refs of a repository that moved
// unseen.
type sweepRepositoryArgs struct {
	Repository int64 `json:"repository" river:"unique"`
}

func (sweepRepositoryArgs) Kind() string { return "sweep_repository" }

func (sweepRepositoryArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueSweep, UniqueOpts: oneAtATime}
}

type sweepRepositoryWorker struct {
	river.WorkerDefaults[sweepRepositoryArgs]
	app *App
}

// Work compares the refs with what was last scanned of them. Before the backfill
// has ended, nothing is known of most, and it looks at all of them itself.
func (w sweepRepositoryWorker) Work(ctx context.Context, job *river.Job[sweepRepositoryArgs]) error {
	a := w.app
	repo, err := a.store.Repository(ctx, job.Args.Repository)
	if err != nil || repo.State != store.Active {
		return err
	}
	b, err := a.store.Backfill(ctx, repo.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && b.Finished.IsZero() {
		return nil
	}
	if err != nil {
		return err
	}
	refs, err := a.listRefs(ctx, repo)
	switch {
	case errors.Is(err, github.ErrGone), errors.Is(err, github.ErrNotFound):
		return river.JobCancel(err) // an event, or the next sweep, says what became of it
	case err != nil:
		return a.postpone(err)
	}
	var moved int
	err = a.store.InTx(ctx, func(tx *store.Tx) (err error) {
		moved, err = a.sweepRefs(ctx, tx, repo, refs)
		return err
	})
	if err == nil {
		a.metrics.swept("refs", moved)
	}
	return err
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
	return github.ListRefs(ctx, remote, dir)
}

// sweepRefs has the refs scanned that moved since they were last scanned, those at
// one commit together, and forgets those that are gone. What a delivery has queued
// is left to it.
func (a *App) sweepRefs(ctx context.Context, tx *store.Tx, repo store.Repository, refs map[string]string) (moved int, err error) {
	known, err := tx.Refs(ctx, repo.Installation, repo.ID)
	if err != nil {
		return 0, err
	}
	queued, err := tx.QueuedRefs(ctx, scanArgs{}.Kind(), repo.ID)
	if err != nil {
		return 0, err
	}
	groups := map[string][]string{} // names by what they point at
	for name, sha := range refs {
		if known[name] != sha && !queued[name] {
			groups[sha] = append(groups[sha], name)
		}
	}
	for sha, names := range groups {
		slices.SortFunc(names, byImportance("refs/heads/"+repo.DefaultBranch))
		if err := a.sweepTip(ctx, tx, repo, sha, names, known); err != nil {
			return 0, err
		}
		moved += len(names)
	}
	for name := range known {
		if refs[name] == "" {
			if err := tx.ForgetRef(ctx, repo.Installation, repo.ID, name); err != nil {
				return 0, err
			}
		}
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
