package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/webhook"
)

// errRepositoryGone ends a job about a repository that the App may not see any
// more. Should it come back, the sweep of refs finds what was missed.
var errRepositoryGone = errors.New("the App may not see the repository any more, or not now")

// onInstallation follows what the App may see. Payloads leave long lists out, so
// what was added is asked of GitHub.
func onInstallation(d webhook.Delivery, e github.InstallationEvent) reaction {
	switch e.Action {
	case "created", "added", "unsuspend", "new_permissions_accepted":
		return do(syncArgs{Installation: e.Installation})
	case "removed":
		if len(e.Removed) == 0 {
			return do(syncArgs{Installation: e.Installation})
		}
		return do(eraseArgs{Installation: e.Installation, Repositories: ids(e.Removed), Why: "removed from the installation", Delivery: d.ID})
	case "deleted":
		return do(eraseArgs{Installation: e.Installation, All: true, Why: "the App was uninstalled", Delivery: d.ID})
	case "suspend":
		return reaction{reason: "the installation is suspended", record: func(ctx context.Context, tx *store.Tx) error {
			return tx.SuspendInstallation(ctx, e.Installation)
		}}
	}
	return ignored("nothing to do for this action")
}

func ids(repos []github.Repository) []int64 {
	all := make([]int64, len(repos))
	for n, r := range repos {
		all[n] = r.ID
	}
	return all
}

// onRepository follows what a repository is called, who sees it, and whether it is
// there.
func (a *App) onRepository(e github.RepositoryEvent) reaction {
	switch e.Action {
	case "renamed", "transferred", "edited", "privatized", "publicized", "unarchived":
		return reaction{reason: "recorded: " + e.Action, record: func(ctx context.Context, tx *store.Tx) error {
			return a.saveRepository(ctx, tx, e.Installation, e.Repository)
		}}
	case "created":
		return do(syncArgs{Installation: e.Installation})
	case "deleted":
		return do(eraseArgs{Installation: e.Installation, Repositories: []int64{e.Repository.ID}, Why: "the repository was deleted"})
	}
	return ignored("nothing to do for this action")
}

// saveRepository records how a repository is now. When another public reads along,
// or no longer, what is said of open incidents is said anew.
func (a *App) saveRepository(ctx context.Context, tx *store.Tx, installation int64, repo github.Repository) error {
	was, err := tx.Repository(ctx, repo.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	known := err == nil
	if err := tx.SaveRepository(ctx, store.Repository{Repository: repo, Installation: installation, State: store.Active}); err != nil {
		return err
	}
	if known && was.Installation != installation {
		if err := tx.HandOver(ctx, repo.ID, installation); err != nil {
			return err
		}
	}
	if known && was.State == store.Suspended {
		if err := tx.EnqueueOnce(ctx, sweepRepositoryArgs{Repository: repo.ID}); err != nil {
			return err
		}
	}
	if !known || was.Private == repo.Private && was.State == store.Active {
		return nil
	}
	checks, err := tx.OpenChecks(ctx, repo.ID)
	if err != nil {
		return err
	}
	for _, id := range checks {
		if err := tx.Enqueue(ctx, reportArgs{Check: id, Installation: installation}); err != nil {
			return err
		}
	}
	return nil
}

// current is a repository as it is known now: jobs remember what it was called when
// they were made. A repository that the App may not see ends the job.
func (a *App) current(ctx context.Context, installation int64, repo github.Repository) (int64, github.Repository, error) {
	now, err := a.store.Repository(ctx, repo.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return installation, repo, nil
	case err != nil:
		return 0, repo, err
	case now.State != store.Active:
		return 0, repo, river.JobCancel(fmt.Errorf("%s: %w", now.FullName(), errRepositoryGone))
	}
	if now.DefaultBranch == "" {
		now.DefaultBranch = repo.DefaultBranch
	}
	return now.Installation, now.Repository, nil
}

// syncArgs is the job of asking GitHub what an installation sees, and of having the
// history of what is new scanned.
type syncArgs struct {
	Installation int64 `json:"installation" river:"unique"`
	// Sweep has the repositories swept to which somebody pushed.
	Sweep bool `json:"sweep,omitempty" river:"unique"`
}

func (syncArgs) Kind() string { return "sync" }

// InsertOpts lets one sweep of an installation wait or run. What an event has to say
// always has a job of its own.
func (s syncArgs) InsertOpts() river.InsertOpts {
	opts := river.InsertOpts{Queue: queueSweep}
	if s.Sweep {
		opts.UniqueOpts = oneAtATime
	}
	return opts
}

type syncWorker struct {
	river.WorkerDefaults[syncArgs]
	app *App
}

// Work records the installation's repositories, erases what is kept of those that
// it does not see any more, and starts the backfills that were never started.
func (w syncWorker) Work(ctx context.Context, job *river.Job[syncArgs]) error {
	a, id := w.app, job.Args.Installation
	if job.Args.Sweep {
		ctx = github.InBackground(ctx)
	}
	a.github.Installation(id).Renew() // its tokens may lack permissions that it has by now
	repos, err := a.github.Installation(id).Repositories(ctx)
	if errors.Is(err, github.ErrGone) {
		return river.JobCancel(err)
	}
	if err != nil {
		return a.postpone(err)
	}
	for some := range slices.Chunk(repos, syncBatch) {
		if err := a.store.InTx(ctx, func(tx *store.Tx) error { return a.sync(ctx, tx, id, some) }); err != nil {
			return err
		}
	}
	if err := a.eraseUnseen(ctx, id, repos); err != nil || !job.Args.Sweep {
		return err
	}
	return a.sweepMoved(ctx, id, repos)
}

// syncBatch is how many repositories one transaction records.
const syncBatch = 100

// sync records repositories of an installation, and starts the backfills that were
// never started.
func (a *App) sync(ctx context.Context, tx *store.Tx, installation int64, repos []github.Listed) error {
	for _, r := range repos {
		if err := a.saveRepository(ctx, tx, installation, r.Repository); err != nil {
			return err
		}
		fresh, err := tx.StartBackfill(ctx, store.Backfill{Repository: r.ID, Installation: installation, Started: a.now()})
		if err != nil {
			return err
		}
		if !fresh {
			continue
		}
		if err := tx.Enqueue(ctx, backfillArgs{Repository: r.ID, Installation: installation}); err != nil {
			return err
		}
	}
	return nil
}

// eraseUnseen erases what is kept of the repositories that an installation does not
// see any more.
func (a *App) eraseUnseen(ctx context.Context, installation int64, seen []github.Listed) error {
	known, err := a.store.RepositoriesIn(ctx, installation)
	if err != nil {
		return err
	}
	there := map[int64]bool{}
	for _, r := range seen {
		there[r.ID] = true
	}
	for _, r := range known {
		if r.State == store.Gone || there[r.ID] {
			continue
		}
		if err := a.store.InTx(ctx, func(tx *store.Tx) error { return a.erase(ctx, tx, r.ID, "not among the installation's repositories") }); err != nil {
			return err
		}
	}
	return nil
}

// eraseArgs is the job of forgetting what is kept of repositories that the App may
// not see any more.
type eraseArgs struct {
	Installation int64   `json:"installation"`
	Repositories []int64 `json:"repositories,omitempty"`
	All          bool    `json:"all,omitempty"` // that the installation saw
	Why          string  `json:"why"`
	Delivery     string  `json:"delivery,omitempty"`
}

func (eraseArgs) Kind() string { return "erase" }

func (eraseArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: queueSweep} }

type eraseWorker struct {
	river.WorkerDefaults[eraseArgs]
	app *App
}

// Work erases one repository a transaction; what is interrupted is erased again.
func (w eraseWorker) Work(ctx context.Context, job *river.Job[eraseArgs]) error {
	a, e := w.app, job.Args
	repos, err := a.store.RepositoriesIn(ctx, e.Installation)
	if err != nil {
		return err
	}
	named := map[int64]bool{}
	for _, id := range e.Repositories {
		named[id] = true
	}
	for _, r := range repos {
		if r.State == store.Gone || !e.All && !named[r.ID] {
			continue
		}
		if err := a.store.InTx(ctx, func(tx *store.Tx) error { return a.erase(ctx, tx, r.ID, e.Why) }); err != nil {
			return err
		}
	}
	return nil
}

// erase forgets a repository and says so in the audit log.
func (a *App) erase(ctx context.Context, tx *store.Tx, id int64, why string) error {
	repo, err := tx.Repository(ctx, id)
	if err != nil {
		return err
	}
	erased, err := tx.EraseRepository(ctx, id)
	if err != nil {
		return err
	}
	return tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: "erase repository", Subject: repo.FullName(), Detail: map[string]string{
		"why": why, "checks": fmt.Sprint(erased.Checks), "credentials": fmt.Sprint(erased.Incidents),
		"kept until their remediation ends": fmt.Sprint(erased.Kept),
	}})
}
