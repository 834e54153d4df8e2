package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

const (
	// backfillChunk is how many commits of a branch's line are scanned before that
	// is recorded. A restart repeats no more than this.
	backfillChunk = 500
	// backfillTurn is how long one run of the job works before it makes room for
	// the backfill of another repository.
	backfillTurn = 5 * time.Minute
)

// errTurnOver ends one run of a backfill that goes on later.
var errTurnOver = errors.New("the backfill goes on later")

// backfillArgs is the job of scanning all that a repository had before the App saw
// it.
type backfillArgs struct {
	Repository   int64 `json:"repository"`
	Installation int64 `json:"installation,omitempty"`
}

func (backfillArgs) Kind() string { return "backfill" }

// InsertOpts puts backfills behind everything else.
func (backfillArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueBackfill, Priority: priorityBackground}
}

// Turn lets the installations take turns.
func (b backfillArgs) Turn() store.Turn {
	return store.Turn{Installation: b.Installation, Cost: backfillTurn}
}

type backfillWorker struct {
	river.WorkerDefaults[backfillArgs]
	app *App
}

// Work goes on where the last run ended. It ends when the App may not see the
// repository any more.
func (w backfillWorker) Work(ctx context.Context, job *river.Job[backfillArgs]) error {
	a, ctx := w.app, github.InBackground(ctx)
	b, err := a.store.Backfill(ctx, job.Args.Repository)
	if errors.Is(err, store.ErrNotFound) {
		return river.JobCancel(errRepositoryGone)
	}
	if err != nil || !b.Finished.IsZero() {
		return err
	}
	repo, err := a.store.Repository(ctx, b.Repository)
	if err != nil {
		return err
	}
	r := &backfill{app: a, repo: repo, Backfill: b, until: time.Now().Add(backfillTurn)}
	err = r.run(ctx)
	a.doubtToken(err, repo.Installation, repo.Repository)
	switch {
	case errors.Is(err, errTurnOver):
		return river.JobSnooze(0)
	case errors.Is(err, errRepositoryGone), errors.Is(err, github.ErrGone), errors.Is(err, store.ErrNotFound):
		return river.JobCancel(err)
	case errors.Is(err, github.ErrTooLarge):
		return errors.Join(r.finish(ctx, problemTooLarge), river.JobCancel(err))
	case err != nil:
		return a.postpone(err)
	}
	return nil
}

// A backfill is one run of the job.
type backfill struct {
	app     *App
	repo    store.Repository
	until   time.Time
	mirror  *github.Mirror
	judge   *Judge
	scanner *checks.Scanner
	store.Backfill
}

func (r *backfill) run(ctx context.Context) error {
	if r.repo.State != store.Active {
		return errRepositoryGone
	}
	refs, err := r.app.listRefs(ctx, r.repo)
	if err != nil {
		return err
	}
	if len(refs) == 0 {
		return r.finish(ctx, "")
	}
	names := slices.SortedFunc(maps.Keys(refs), byImportance("refs/heads/"+r.repo.DefaultBranch))
	remote, err := r.app.remote(ctx, r.repo.Installation, r.repo.Repository)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(r.app.cfg.Scratch, "scan-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	spec := github.FetchSpec{Tip: refs[names[0]]}
	for _, name := range names[1:] {
		spec.More = append(spec.More, refs[name])
	}
	if r.mirror, err = github.Fetch(ctx, remote, dir, spec, github.FetchLimits{}); err != nil {
		return err
	}
	if err := r.bringJudge(ctx); err != nil {
		return err
	}
	for _, name := range names {
		if err := r.ref(ctx, name, refs[name]); err != nil {
			return err
		}
	}
	return r.finish(ctx, "")
}

// bringJudge reads how the default branch, as it is, judges what is found.
func (r *backfill) bringJudge(ctx context.Context) (err error) {
	if r.judge, err = r.app.judge(ctx, r.scan("", "", ""), r.mirror); err != nil {
		return err
	}
	r.scanner, err = r.app.scannerFor(r.judge)
	return err
}

// scan is a scan of the backfill, which is named by where it ends.
func (r *backfill) scan(head, tip, end string) scanArgs {
	return scanArgs{
		Delivery: fmt.Sprintf("backfill %d %s", r.repo.ID, end), Received: r.app.now(), Backfill: true,
		Installation: r.repo.Installation, Repository: r.repo.Repository, Head: head, Tip: tip,
	}
}

// ref scans what a ref has and no ref before it had, in chunks.
func (r *backfill) ref(ctx context.Context, name, sha string) error {
	tip, err := r.mirror.Resolve(ctx, sha)
	if errors.Is(err, github.ErrMissing) {
		return r.scanLater(ctx, name, sha) // a tag of a folder or a file
	}
	if err != nil {
		return err
	}
	line, err := r.mirror.Line(ctx, tip, r.Reached)
	if err != nil {
		return err
	}
	present := presence(r.mirror, r.scanner, tip)
	before := ""
	for chunk := range slices.Chunk(line, backfillChunk) {
		if err := r.mayGoOn(ctx); err != nil {
			return err
		}
		end := chunk[len(chunk)-1]
		if err := r.chunk(ctx, tip, end, before, present); err != nil {
			return err
		}
		before = end
	}
	if err := r.message(ctx, name, sha, tip, present); err != nil {
		return err
	}
	return r.app.store.InTx(ctx, func(tx *store.Tx) error {
		// A push that came in the meantime knows more.
		return tx.MoveRef(ctx, store.Ref{Installation: r.repo.Installation, Repository: r.repo.ID, Name: name, SHA: sha})
	})
}

// mayGoOn says whether there is time left, and still somebody to work for.
func (r *backfill) mayGoOn(ctx context.Context) error {
	now, err := r.app.store.Repository(ctx, r.repo.ID)
	switch {
	case err != nil:
		return err
	case now.State != store.Active:
		return errRepositoryGone
	case time.Now().After(r.until):
		return errTurnOver
	}
	return nil
}

// scanLater has what a ref names scanned by a job of its own.
func (r *backfill) scanLater(ctx context.Context, name, sha string) error {
	return r.app.store.InTx(ctx, func(tx *store.Tx) error {
		return r.app.sweepTip(ctx, tx, r.repo, sha, []string{name}, nil)
	})
}

// chunk scans the commits up to end, and records what it found together with how
// far the backfill has come.
func (r *backfill) chunk(ctx context.Context, tip, end, before string, present presenceFunc) error {
	next := r.Backfill
	next.Reached = append(slices.DeleteFunc(slices.Clone(r.Reached), func(id string) bool { return id == before }), end)
	return r.look(ctx, r.scan(tip, tip, end), git.Range{Tip: end, Bases: r.Reached, Messages: true, Pointers: true}, next, present)
}

// message scans what the tag at a ref says, unless that is known.
func (r *backfill) message(ctx context.Context, name, tag, tip string, present presenceFunc) error {
	if tag == tip {
		return nil
	}
	known, err := r.app.store.Ref(ctx, r.repo.Installation, r.repo.ID, name)
	if known == tag || err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return r.look(ctx, r.scan(tip, tag, tag), git.Range{Tip: tip, Bases: []string{tip}, Messages: true, Tags: []string{tag}}, r.Backfill, present)
}

// look scans a range, and records what it found together with how far the backfill has
// come then.
func (r *backfill) look(ctx context.Context, s scanArgs, rng git.Range, next store.Backfill, present presenceFunc) error {
	found, err := r.mirror.Repository().Scan(ctx, rng, r.scanner, r.mirror.FetchBlobs)
	if err != nil {
		return err
	}
	if err := stillThere(ctx, found, present); err != nil {
		return err
	}
	next.Commits += found.Coverage.Commits
	err = r.app.recordChunk(ctx, s, sighting{found, r.judge, refMemory{backfill: &next}, part{last: true}})
	if err == nil {
		r.Backfill = next
		r.app.metrics.backfilled.Add(float64(found.Coverage.Commits))
	}
	return err
}

// recordChunk records a chunk. Where nothing is wrong, only how far it went.
func (a *App) recordChunk(ctx context.Context, s scanArgs, seen sighting) error {
	if len(seen.Findings) == 0 && len(seen.Coverage.Skipped) == 0 {
		return a.store.InTx(ctx, func(tx *store.Tx) error { return seen.memory.record(ctx, tx, s) })
	}
	if err := a.store.InTx(ctx, func(tx *store.Tx) error { return a.recordOccasion(ctx, tx, s, "backfill", "history") }); err != nil {
		return err
	}
	check, _, err := a.beginScan(ctx, s)
	if err != nil {
		return err
	}
	return a.conclude(ctx, s, check, seen, func() {})
}

// finish records that the history is scanned, or why it cannot be.
func (r *backfill) finish(ctx context.Context, problem string) error {
	r.Finished = r.app.now()
	verb := "finish backfill"
	if problem != "" {
		verb = "fail backfill"
		r.app.log.WarnContext(ctx, "the history of a repository cannot be scanned", "repository", r.repo.FullName(), "problem", problem)
	}
	return r.app.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.SaveBackfill(ctx, r.Backfill); err != nil {
			return err
		}
		return tx.Audit(ctx, audit.Entry{At: r.app.now(), Actor: "stanch", Verb: verb, Subject: r.repo.FullName(), Detail: map[string]string{
			"commits": fmt.Sprint(r.Commits), "problem": problem,
		}})
	})
}
