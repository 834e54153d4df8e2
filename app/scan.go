package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

// scanTimeout bounds the fetch and scan of one range.
const scanTimeout = 10 * time.Minute

// confessAfter is the attempt after which a check run says that the range could
// not be scanned so far. Until then it shows that work is in progress; and it is
// tried again afterwards all the same.
const confessAfter = 4

// scanArgs is the job of examining the commits that one delivery brought.
type scanArgs struct {
	Delivery     string            `json:"delivery"`
	Received     time.Time         `json:"received"`
	Installation int64             `json:"installation"`
	Repository   github.Repository `json:"repository"`
	Head         string            `json:"head"`           // the commit that the check run stands on
	Tip          string            `json:"tip"`            // what was pushed: a commit or an annotated tag
	Base         string            `json:"base,omitempty"` // what was there before; empty for a new ref
	Pull         int               `json:"pull,omitempty"`
	// WholeHistory says that without a Base everything reachable is new: the
	// ref is the default branch. Other new refs start from the default branch.
	WholeHistory bool `json:"whole_history,omitempty"`
}

func (scanArgs) Kind() string { return "scan" }

// InsertOpts puts scans into their own queue, so that they wait neither for
// remediations nor for reports.
func (scanArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: queueScan} }

type scanWorker struct {
	river.WorkerDefaults[scanArgs]
	app *App
}

// Work examines a range: the check run is in progress; the lines that the
// commits add are scanned; what is found is verified; all of it is recorded,
// together with the jobs that report it and act on it.
func (w scanWorker) Work(ctx context.Context, job *river.Job[scanArgs]) error {
	a, s := w.app, job.Args
	check, scan, err := a.beginScan(ctx, s)
	if err != nil {
		return err
	}
	if !scan.Finished.IsZero() {
		return nil // a crash after the last transaction: the report job is in the queue
	}
	if err := a.showProgress(ctx, check.ID); err != nil {
		return a.postpone(err)
	}
	found, err := a.examine(ctx, s)
	if problem := couldNotScan(err); problem != "" {
		return a.recordScan(ctx, s, check, git.Result{}, nil, problem)
	}
	if err != nil {
		if job.Attempt == confessAfter {
			err = errors.Join(err, a.confess(ctx, s, check))
		}
		return a.postpone(err)
	}
	a.observeLeaks(Detected, s, found.Findings, nil)
	verdicts, err := a.verify(ctx, found.Findings)
	if err != nil {
		return err
	}
	a.observeLeaks(Verified, s, found.Findings, verdicts)
	return a.recordScan(ctx, s, check, found, verdicts, "")
}

// beginScan makes, or finds again, the rows of the check and the scan.
func (a *App) beginScan(ctx context.Context, s scanArgs) (check store.Check, scan store.Scan, err error) {
	args, err := json.Marshal(s)
	if err != nil {
		return check, scan, err
	}
	err = a.store.InTx(ctx, func(tx *store.Tx) error {
		c := store.Check{Installation: s.Installation, Repository: s.Repository, HeadSHA: s.Head, Received: s.Received}
		if s.Pull != 0 {
			c.Pulls = []int{s.Pull}
		}
		if check, err = tx.EnsureCheck(ctx, c); err != nil {
			return err
		}
		if err = tx.StartScan(ctx, store.Scan{Delivery: s.Delivery, CheckID: check.ID, Job: args}); err != nil {
			return err
		}
		scan, err = tx.Scan(ctx, s.Delivery)
		return err
	})
	return check, scan, err
}

// showProgress makes sure that the check run exists. It is asked for by its
// external id first, so that a crash does not make a second one; and two
// deliveries of one commit do so one after the other.
func (a *App) showProgress(ctx context.Context, id string) error {
	unlock := a.checks.lock(id)
	defer unlock()
	check, err := a.store.Check(ctx, id)
	if err != nil || check.RunID != 0 {
		return err
	}
	run, err := a.github.Installation(check.Installation).EnsureCheck(ctx, check.Repository, check.HeadSHA, check.ID, "")
	if err != nil {
		return fmt.Errorf("start check run: %w", err)
	}
	return a.store.InTx(ctx, func(tx *store.Tx) error { return tx.SetCheckRun(ctx, check.ID, run) })
}

// examine fetches the range into a directory of its own, which it removes, and
// scans it.
func (a *App) examine(ctx context.Context, s scanArgs) (git.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	token, err := a.github.Installation(s.Installation).GitToken(ctx, s.Repository)
	if err != nil {
		return git.Result{}, fmt.Errorf("get a token to fetch with: %w", err)
	}
	dir, err := os.MkdirTemp(a.cfg.Scratch, "scan-")
	if err != nil {
		return git.Result{}, err
	}
	defer os.RemoveAll(dir)

	mirror, err := a.fetch(ctx, s, github.Remote{URL: a.github.CloneURL(s.Repository), Token: token}, dir)
	if err != nil {
		return git.Result{}, err
	}
	return mirror.Repository().Scan(ctx, mirror.Range(), a.scanner, mirror.FetchBlobs)
}

// recordScan records in one transaction what was found, what is to be done about
// it, and the jobs that do and report it.
func (a *App) recordScan(ctx context.Context, s scanArgs, check store.Check, found git.Result, verdicts map[checks.Fingerprint]provider.Verdict, problem string) error {
	now := a.now()
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.DropOccurrences(ctx, s.Delivery); err != nil {
			return err
		}
		for _, leak := range found.Findings {
			i, err := a.openIncident(ctx, tx, s, leak, verdicts[leak.Fingerprint])
			if err != nil {
				return err
			}
			if err := tx.AddOccurrence(ctx, store.Occurrence{
				Incident: i.ID, Delivery: s.Delivery, Location: leak.Location, InTip: leak.InTip,
			}); err != nil {
				return err
			}
		}
		if err := tx.FinishScan(ctx, s.Delivery, found.Coverage, problem, now); err != nil {
			return err
		}
		if err := tx.Audit(ctx, audit.Entry{At: now, Actor: "stanch", Verb: "scan", Subject: s.Delivery, Detail: map[string]string{
			"repository": s.Repository.FullName(), "tip": s.Tip, "base": s.Base, "problem": problem,
			"commits": fmt.Sprint(found.Coverage.Commits), "blobs": fmt.Sprint(found.Coverage.Blobs),
			"bytes": fmt.Sprint(found.Coverage.Bytes), "findings": fmt.Sprint(len(found.Findings)),
		}}); err != nil {
			return err
		}
		return tx.Enqueue(ctx, reportArgs{Check: check.ID})
	})
}

// confess makes the check run say that the range could not be scanned so far.
// The scan stays unfinished: it is tried again, and success overwrites this.
func (a *App) confess(ctx context.Context, s scanArgs, check store.Check) error {
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.FinishScan(ctx, s.Delivery, checks.Coverage{}, problemTransient, time.Time{}); err != nil {
			return err
		}
		return tx.Enqueue(ctx, reportArgs{Check: check.ID})
	})
}

// rescan makes a scan run again.
func (a *App) rescan(ctx context.Context, tx *store.Tx, s store.Scan) error {
	var args scanArgs
	if err := json.Unmarshal(s.Job, &args); err != nil {
		return fmt.Errorf("scan %s: %w", s.Delivery, err)
	}
	if err := tx.ReopenScan(ctx, s.Delivery); err != nil {
		return err
	}
	return tx.Enqueue(ctx, args)
}

func (a *App) observeLeaks(stage Stage, s scanArgs, leaks []git.Leak, verdicts map[checks.Fingerprint]provider.Verdict) {
	for _, leak := range leaks {
		a.observe(Event{Stage: stage, At: a.now(), Repository: s.Repository.FullName(), HeadSHA: s.Head, Commit: leak.Commit,
			Rule: leak.Rule.ID, File: leak.Path, Line: leak.Line, Validity: verdicts[leak.Fingerprint].Validity})
	}
}
