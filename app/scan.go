package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

// confessAfter is the attempt from which on a check run says that the range could
// not be scanned so far. Until then it shows that work is in progress; and it is
// tried again afterwards all the same.
const confessAfter = 4

// maxFindings bounds what is recorded of one scan. More than this is no accident,
// and the check run says that there is more.
const maxFindings = 500

// errScanTime is the cause of a fetch or scan that took too long.
var errScanTime = errors.New("the scan took too long")

// scanArgs is the job of examining the commits that one delivery brought.
type scanArgs struct {
	Delivery     string            `json:"delivery"`
	Received     time.Time         `json:"received"`
	Pushed       time.Time         `json:"pushed,omitzero"` // as GitHub says; zero when it was not just now, or is not known
	Installation int64             `json:"installation"`
	Repository   github.Repository `json:"repository"`
	Head         string            `json:"head"`               // the commit that the check run stands on
	Tip          string            `json:"tip"`                // what was pushed: a commit or an annotated tag
	Base         string            `json:"base,omitempty"`     // what was there before; empty for a new ref
	BaseRef      string            `json:"base_ref,omitempty"` // the branch that a pull request or a group goes to
	Pull         int               `json:"pull,omitempty"`
	By           github.Person     `json:"by,omitzero"`     // who pushed it, or opened the pull request
	Group        bool              `json:"group,omitempty"` // Head is what a merge queue made
	// Refs are the branches and tags that point at Tip, of which that is remembered
	// when the scan is done.
	Refs []string `json:"refs,omitempty"`
	// Lost says that Tip is what a forced push took away, and Base what replaced it.
	Lost bool `json:"lost,omitempty"`
	// Backfill says that the range is a part of what there was before the App came.
	Backfill bool `json:"backfill,omitempty"`
	// Pinned says that Bases are where the range began when it was scanned before.
	// Scanned again, it begins there again, wherever branches have moved since.
	Pinned bool     `json:"pinned,omitempty"`
	Bases  []string `json:"bases,omitempty"`
	// Parts is how far the scan has come, of a range that is scanned in parts.
	Parts *parts `json:"parts,omitempty"`
	// WholeHistory says that without a Base everything reachable is new: the
	// ref is the default branch. Other new refs start from the default branch.
	WholeHistory bool `json:"whole_history,omitempty"`
}

func (scanArgs) Kind() string { return "scan" }

// InsertOpts puts scans into their own queue, so that they wait neither for
// remediations nor for reports.
func (scanArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: queueScan} }

// Turn lets the installations take turns. The next jobs of one that has a scan
// waiting or running have workers of their own: however long those take, whoever
// has no scan yet finds a worker.
//
// In which order the pushes of a ref are scanned decides nothing: see refMemory.
func (s scanArgs) Turn() store.Turn {
	return store.Turn{Installation: s.Installation, Cost: time.Second, Next: queueScanNext}
}

type scanWorker struct {
	river.WorkerDefaults[scanArgs]
	app *App
}

// Work shows that the commit is being looked at, and scans the range. What cannot
// be scanned is said on the check run; it is never green.
func (w scanWorker) Work(ctx context.Context, job *river.Job[scanArgs]) error {
	a, s := w.app, job.Args
	var err error
	if s.Installation, s.Repository, err = a.current(ctx, s.Installation, s.Repository); err != nil {
		return err
	}
	check, scan, err := a.beginScan(ctx, s)
	if err != nil {
		return err
	}
	if !scan.Finished.IsZero() {
		return nil // a crash after the last transaction: the report job is in the queue
	}
	if s, err = resumed(s, scan); err != nil {
		return err
	}
	// What a part of the range has found stays to be seen.
	progress := a.showMeanwhile(ctx, check.ID, job.Attempt < confessAfter && !s.begun())
	last, err := a.scan(ctx, s, check, progress)
	progress()
	slow := errPartTime{}
	switch problem := couldNotScan(err, job.Attempt); {
	case err == nil && !last:
		return river.JobSnooze(0) // others come in between
	case err == nil:
		return nil
	case errors.Is(err, errOvertaken):
		return river.JobCancel(err)
	case errors.As(err, &slow) && slow.commits > 1:
		a.log.InfoContext(ctx, "a range is scanned in smaller parts", "delivery", s.Delivery, "error", err)
		return a.narrow(ctx, s, slow.commits)
	case errors.Is(err, github.ErrGone):
		// Nobody can be told. Should the App come back, the sweep of refs finds this.
		return river.JobCancel(err)
	case problem != "":
		a.log.WarnContext(ctx, "a range cannot be scanned", "delivery", s.Delivery, "error", err)
		return a.failScan(ctx, s, check, problem, a.now())
	case job.Attempt >= confessAfter:
		err = errors.Join(err, a.failScan(ctx, s, check, problemTransient, noTime))
	}
	return a.postpone(err)
}

// scan scans the lines that the commits of a range add, or of a part of it, verifies
// what it finds, and records all of it together with the jobs that report it and act
// on it, once the check run has shown progress: that must not come after the report. It
// reports whether nothing of the range is left.
func (a *App) scan(ctx context.Context, s scanArgs, check store.Check, progress func()) (last bool, err error) {
	seen, err := a.look(ctx, s)
	if err != nil {
		return false, err
	}
	return seen.part.last, a.conclude(ctx, s, check, seen, progress)
}

// A sighting is what a scan saw.
type sighting struct {
	git.Result
	judge  *Judge // nil when there was nothing to look at
	memory refMemory
	part   part
}

// conclude judges and verifies what a scan saw, and records it.
func (a *App) conclude(ctx context.Context, s scanArgs, check store.Check, seen sighting, progress func()) error {
	shown, allowed := a.sift(&seen, s)
	a.observeLeaks(Detected, s, shown, provider.NobodyAsked)
	verdict, at, err := a.verify(ctx, slices.Concat(shown, allowed), s.Received)
	if err != nil {
		return err
	}
	live, counts := overrule(allowed, verdict)
	shown = append(shown, live...)
	a.observeLeaks(Verified, s, shown, verdict)
	progress()
	if err := a.recordScan(ctx, s, check, outcome{seen, shown, verdict, counts, at}); err != nil {
		return err
	}
	return a.recordRest(ctx, seen.memory, s)
}

// An outcome is what a scan saw and what is thought of it.
type outcome struct {
	sighting
	leaks   []judged
	verdict provider.VerdictOf
	allowed map[excuse]int // how many are not shown, by who allows them
	moments
}

// beginScan makes, or finds again, the rows of the check and the scan.
func (a *App) beginScan(ctx context.Context, s scanArgs) (check store.Check, scan store.Scan, err error) {
	err = a.store.InTx(ctx, func(tx *store.Tx) error {
		if check, err = startScan(ctx, tx, s); err != nil {
			return err
		}
		scan, err = tx.Scan(ctx, s.Delivery)
		return err
	})
	return check, scan, err
}

// startScan records that a range is to be scanned for a check, which does not pass
// until it is.
func startScan(ctx context.Context, tx *store.Tx, s scanArgs) (store.Check, error) {
	args, err := json.Marshal(s)
	if err != nil {
		return store.Check{}, err
	}
	c := store.Check{Installation: s.Installation, Repository: s.Repository, HeadSHA: s.Head, Received: s.Received}
	if s.Pull != 0 {
		c.Pulls = []int{s.Pull}
	}
	check, err := tx.EnsureCheck(ctx, c)
	if err != nil {
		return check, err
	}
	return check, tx.StartScan(ctx, store.Scan{Delivery: s.Delivery, CheckID: check.ID, Job: args})
}

// showMeanwhile shows progress while something else is done: GitHub takes its time, and
// somebody's key may be live. What it returns waits until that is over.
func (a *App) showMeanwhile(ctx context.Context, id string, reopen bool) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.showProgress(ctx, id, reopen); err != nil {
			a.log.WarnContext(ctx, "the check run could not be started", "check", id, "error", err)
		}
	}()
	return func() { <-done }
}

// showProgress makes sure that the check run exists, and, if reopen, that it does
// not show the conclusion of an earlier scan while there is more to scan. The run
// is asked for by its external id first, so that a crash does not make a second
// one; and two deliveries of one commit do so one after the other.
func (a *App) showProgress(ctx context.Context, id string, reopen bool) error {
	release, err := a.store.Hold(ctx, holdCheck(id))
	if err != nil {
		return err
	}
	defer release()
	check, err := a.store.Check(ctx, id)
	if err != nil {
		return err
	}
	inst := a.github.Installation(check.Installation)
	switch {
	case check.RunID == 0:
		if check.RunID, err = inst.EnsureCheck(ctx, check.Repository, check.HeadSHA, check.ID, a.detailsURL(check)); err != nil {
			return fmt.Errorf("start check run: %w", err)
		}
		return a.store.InTx(ctx, func(tx *store.Tx) error { return tx.SetCheckRun(ctx, id, check.RunID) })
	case check.Reported != "" && reopen:
		if err := inst.ReopenCheck(ctx, check.Repository, check.RunID); err != nil {
			return fmt.Errorf("reopen check run: %w", err)
		}
		return a.store.InTx(ctx, func(tx *store.Tx) error { return tx.SetReported(ctx, id, "") })
	}
	return nil
}

// examine fetches the range into a directory of its own, which it removes, and
// scans it.
func (a *App) examine(ctx context.Context, s scanArgs, memory refMemory) (_ sighting, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, a.cfg.Turn.time(), errScanTime)
	defer cancel()
	defer func() {
		a.doubtToken(err, s.Installation, s.Repository)
		if err != nil && errors.Is(context.Cause(ctx), errScanTime) {
			err = errors.Join(errScanTime, err)
		}
	}()
	remote, err := a.remote(ctx, s.Installation, s.Repository)
	if err != nil {
		return sighting{}, err
	}
	dir, err := os.MkdirTemp(a.cfg.Scratch, "scan-")
	if err != nil {
		return sighting{}, err
	}
	defer os.RemoveAll(dir)

	mirror, err := a.fetch(ctx, s, memory.last, remote, dir)
	if err != nil {
		return sighting{}, err
	}
	judge, err := a.judge(ctx, s, mirror)
	if err != nil {
		return sighting{}, err
	}
	scanner, err := a.scannerFor(judge)
	if err != nil {
		return sighting{}, err
	}
	if !s.begun() {
		if err := memory.compare(ctx, s, mirror); err != nil {
			return sighting{}, err
		}
	}
	found, part, err := a.scanPart(ctx, s, mirror, scanner)
	if mirror.Wrapped() {
		found = unwrap(found, s.Tip)
	}
	return sighting{found, judge, memory, part}, err
}

// unwrap names the tag where a scan names the commit that was made up around what
// the tag names.
func unwrap(found git.Result, tag string) git.Result {
	for n := range found.Findings {
		found.Findings[n].Commit = tag
	}
	for n := range found.Coverage.Skipped {
		found.Coverage.Skipped[n].Commit = tag
	}
	found.Coverage.Tip = tag
	return found
}

// recordScan records in one transaction what was found, what is to be done about
// it, and the jobs that do and report it.
func (a *App) recordScan(ctx context.Context, s scanArgs, check store.Check, o outcome) error {
	var opened []store.Incident
	err := a.store.InTx(ctx, func(tx *store.Tx) error {
		row, err := mustBeNext(ctx, tx, s)
		if err != nil {
			return err
		}
		if opened, err = a.recordLeaks(ctx, tx, s, o); err != nil {
			return err
		}
		next := s.after(o, row.Coverage.Commits)
		if !s.begun() {
			row.Coverage, row.Judgement = checks.Coverage{}, nil
		}
		if row.Judgement, err = a.judgementOf(o, row.Judgement); err != nil {
			return err
		}
		if row.Job, err = json.Marshal(next); err != nil {
			return err
		}
		row.Coverage = joined(row.Coverage, o.Coverage)
		if o.part.last {
			row.Finished = a.now()
			err = a.recordEnd(ctx, tx, s, check, o, row.Coverage)
		}
		if err := errors.Join(err, tx.FinishScan(ctx, row)); err != nil {
			return err
		}
		return tx.Enqueue(ctx, reportArgs{Check: check.ID, Installation: s.Installation, Background: s.Backfill})
	})
	if err == nil {
		a.metrics.opened(opened)
	}
	return err
}

// recordEnd records that nothing of a range is left to scan.
func (a *App) recordEnd(ctx context.Context, tx *store.Tx, s scanArgs, check store.Check, o outcome, coverage checks.Coverage) error {
	if err := o.memory.record(ctx, tx, s); err != nil {
		return err
	}
	findings := len(o.leaks)
	if s.Parts != nil {
		findings += s.Parts.Findings
	}
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: "scan", Subject: s.Delivery, Detail: map[string]string{
		"repository": s.Repository.FullName(), "tip": coverage.Tip, "base": coverage.Base,
		"commits": fmt.Sprint(coverage.Commits), "blobs": fmt.Sprint(coverage.Blobs),
		"bytes": fmt.Sprint(coverage.Bytes), "skipped": fmt.Sprint(len(coverage.Skipped)), "findings": fmt.Sprint(findings),
	}}); err != nil {
		return err
	}
	if s.Pull != 0 && findings > 0 && o.judge.Policy.Suggestions {
		return tx.Enqueue(ctx, suggestArgs{Check: check.ID, Pull: s.Pull})
	}
	return nil
}

// recordLeaks replaces what an earlier scan of the range found by what this one
// did, and adds what a further part of it did. Incidents go on; those that are new are
// returned.
func (a *App) recordLeaks(ctx context.Context, tx *store.Tx, s scanArgs, o outcome) (opened []store.Incident, err error) {
	incidents := make([]store.Incident, len(o.leaks))
	for n, leak := range o.leaks {
		fresh := false
		if incidents[n], fresh, err = a.openIncident(ctx, tx, s, leak.Leak, o.verdict(leak.Finding), o.judge.Policy, o.moments); err != nil {
			return nil, err
		}
		if fresh {
			opened = append(opened, incidents[n])
		}
	}
	if !s.begun() {
		if err := tx.DropOccurrences(ctx, s.Delivery); err != nil {
			return nil, err
		}
	}
	for n, leak := range o.leaks {
		if err := tx.AddOccurrence(ctx, store.Occurrence{
			Incident: incidents[n].ID, Delivery: s.Delivery, Location: leak.Location, InTip: leak.InTip,
			Conclusion: string(leak.Conclusion), Why: leak.Why,
		}); err != nil {
			return nil, err
		}
	}
	return opened, nil
}

// failScan makes the check run say that the range could not be scanned. With a
// zero time it is still being tried, and success overwrites this.
func (a *App) failScan(ctx context.Context, s scanArgs, check store.Check, problem string, at time.Time) error {
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.FailScan(ctx, s.Delivery, problem, at); err != nil {
			return err
		}
		if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: "fail scan", Subject: s.Delivery, Detail: map[string]string{
			"repository": s.Repository.FullName(), "tip": s.Tip, "base": s.Base, "problem": problem,
		}}); err != nil {
			return err
		}
		return tx.Enqueue(ctx, reportArgs{Check: check.ID, Installation: s.Installation, Background: s.Backfill})
	})
}

// rescan makes a scan run again, from its beginning.
func (a *App) rescan(ctx context.Context, tx *store.Tx, s store.Scan) error {
	var args scanArgs
	err := json.Unmarshal(s.Job, &args)
	args.Parts = nil
	job, encodeErr := json.Marshal(args)
	if err := errors.Join(err, encodeErr); err != nil {
		return fmt.Errorf("scan %s: %w", s.Delivery, err)
	}
	if err := tx.ReopenScan(ctx, s.Delivery, job); err != nil {
		return err
	}
	return tx.Enqueue(ctx, args)
}
