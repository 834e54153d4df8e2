package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/webhook"
)

// A reaction is what a delivery leads to.
type reaction struct {
	jobs   []river.JobArgs
	reason string // why there is no job
	// record notes in the delivery's transaction what is known by it; nil for nothing.
	record func(context.Context, *store.Tx) error
}

func ignored(reason string) reaction { return reaction{reason: reason} }

func do(jobs ...river.JobArgs) reaction { return reaction{jobs: jobs} }

// Accept records a delivery and the jobs that it asks for, in one transaction.
// A delivery that was accepted before changes nothing. What asks for no job is
// recorded with the reason.
func (a *App) Accept(ctx context.Context, d webhook.Delivery) error {
	event, err := github.ParseEvent(d.Event, d.Payload)
	if err != nil {
		return fmt.Errorf("%w: %w", webhook.ErrMalformed, err)
	}
	r := a.reaction(d, event)
	outcome := "queued"
	if len(r.jobs) == 0 {
		outcome = "ignored: " + r.reason
	}
	fresh := false
	err = a.store.InTx(ctx, func(tx *store.Tx) error {
		fresh, err = tx.RecordDelivery(ctx, store.Delivery{
			ID: d.ID, Event: d.Event, Action: action(event), Installation: event.From(), Received: d.Received, Outcome: outcome,
		})
		if err != nil || !fresh {
			return err
		}
		return a.begin(ctx, tx, event, r)
	})
	if err != nil {
		return err
	}
	a.metrics.delivery(d.Event, fresh, len(r.jobs) > 0)
	if s, ok := firstScan(r.jobs); ok && fresh {
		a.observe(Event{Stage: Delivered, At: d.Received, Repository: s.Repository.FullName(), HeadSHA: s.Head})
	}
	return nil
}

// begin notes what a new delivery says and adds its jobs.
func (a *App) begin(ctx context.Context, tx *store.Tx, event github.Event, r reaction) error {
	if repo := repositoryOf(event); repo.ID != 0 && event.From() != 0 {
		if err := tx.MeetRepository(ctx, event.From(), repo); err != nil {
			return err
		}
	}
	if r.record != nil {
		if err := r.record(ctx, tx); err != nil {
			return err
		}
	}
	for _, job := range r.jobs {
		if s, ok := job.(scanArgs); ok && s.Lost {
			if err := a.recordOccasion(ctx, tx, s, "push", "forced"); err != nil {
				return err
			}
		}
		if s, ok := job.(scanArgs); ok && len(r.jobs) > 1 {
			// Whichever scan of the check ends first, the check waits for the others.
			if _, err := startScan(ctx, tx, s); err != nil {
				return err
			}
		}
		if err := tx.Enqueue(ctx, job); err != nil {
			return err
		}
	}
	return nil
}

// recordOccasion records under its own name what makes Stanch scan without a
// delivery of its own.
func (a *App) recordOccasion(ctx context.Context, tx *store.Tx, s scanArgs, event, action string) error {
	_, err := tx.RecordDelivery(ctx, store.Delivery{
		ID: s.Delivery, Event: event, Action: action, Installation: s.Installation, Received: s.Received, Outcome: "queued",
	})
	return err
}

func firstScan(jobs []river.JobArgs) (scanArgs, bool) {
	if len(jobs) == 0 {
		return scanArgs{}, false
	}
	s, ok := jobs[0].(scanArgs)
	return s, ok
}

// reaction decides what an event leads to.
func (a *App) reaction(d webhook.Delivery, event github.Event) reaction {
	if event.From() == 0 {
		return ignored("it names no installation")
	}
	switch e := event.(type) {
	case github.Push:
		return onPush(d, e)
	case github.PullRequest:
		return onPullRequest(d, e)
	case github.MergeGroup:
		return onMergeGroup(d, e)
	case github.CheckRunEvent:
		return a.onCheckRun(d, e)
	case github.CheckSuiteEvent:
		return a.onCheckSuite(d, e)
	case github.IssueComment:
		return a.onComment(e)
	case github.InstallationEvent:
		return onInstallation(d, e)
	case github.RepositoryEvent:
		return a.onRepository(e)
	case github.AlertEvent:
		return a.onAlert(d, e)
	}
	return ignored("nothing to do for this event")
}

// repositoryOf is the repository that an event is about, if it is about one and
// that is as it was.
func repositoryOf(event github.Event) github.Repository {
	switch e := event.(type) {
	case github.Push:
		return e.Repository
	case github.PullRequest:
		return e.Repository
	case github.MergeGroup:
		return e.Repository
	case github.CheckRunEvent:
		return e.Repository
	case github.CheckSuiteEvent:
		return e.Repository
	case github.IssueComment:
		return e.Repository
	case github.AlertEvent:
		return e.Repository
	}
	return github.Repository{}
}

// action is the event's action, for those events whose actions decide anything.
func action(event github.Event) string {
	switch e := event.(type) {
	case github.PullRequest:
		return e.Action
	case github.MergeGroup:
		return e.Action
	case github.CheckRunEvent:
		return e.Action
	case github.IssueComment:
		return e.Action
	case github.CheckSuiteEvent:
		return e.Action
	case github.InstallationEvent:
		return e.Action
	case github.RepositoryEvent:
		return e.Action
	case github.AlertEvent:
		return e.Action
	case github.Other:
		return e.Action
	}
	return ""
}

// onPush has the range of a push scanned, and what a forced one took away: that
// may never have been looked at, and GitHub goes on showing it to those who know
// its name.
func onPush(d webhook.Delivery, e github.Push) reaction {
	if e.Deleted || isNull(e.After) {
		return reaction{reason: "a deleted ref adds no lines", record: func(ctx context.Context, tx *store.Tx) error {
			return tx.ForgetRefs(ctx, e.Installation, e.Repository.ID, e.Ref)
		}}
	}
	s := scanArgs{
		Delivery: d.ID, Received: d.Received, Pushed: pushedBefore(d.Received, e.Pushed), Installation: e.Installation, Repository: e.Repository,
		Head: cmp.Or(e.HeadCommit, e.After), Tip: e.After, Refs: []string{e.Ref}, By: e.Sender,
		WholeHistory: e.Ref == "refs/heads/"+e.Repository.DefaultBranch,
	}
	if isNull(e.Before) {
		return do(s)
	}
	s.Base = e.Before
	if !e.Forced || e.Before == e.After {
		return do(s)
	}
	lost := s
	lost.Delivery, lost.Lost = d.ID+" lost side", true
	lost.Tip, lost.Base = e.Before, e.After
	lost.Pushed = noTime // it was pushed some time before
	return do(s, lost)
}

// pushedBefore is when GitHub took a push of which it tells, or no time at all where the
// clocks disagree so that it comes after its delivery.
func pushedBefore(received, pushed time.Time) time.Time {
	if pushed.After(received) {
		return noTime
	}
	return pushed
}

func onPullRequest(d webhook.Delivery, e github.PullRequest) reaction {
	switch e.Action {
	case "opened", "reopened", "synchronize", "ready_for_review":
	case "edited":
		if !e.BaseChanged {
			return ignored("the base did not change")
		}
	default:
		return ignored("this action adds no lines")
	}
	s := scanArgs{
		Delivery: d.ID, Received: d.Received, Installation: e.Installation, Repository: e.Repository,
		Head: e.HeadSHA, Tip: e.HeadSHA, Base: e.BaseSHA, BaseRef: e.BaseRef, Pull: e.Number, By: e.Author,
	}
	if e.Action == "synchronize" { // else it was pushed some time before
		s.Pushed = pushedBefore(d.Received, e.Pushed)
	}
	return do(s)
}

// onMergeGroup reports on the commit that a merge queue made: without that the
// queue waits for a required check until it gives up.
func onMergeGroup(d webhook.Delivery, e github.MergeGroup) reaction {
	if e.Action != "checks_requested" {
		return ignored("the group is not to be checked")
	}
	return do(scanArgs{
		Delivery: d.ID, Received: d.Received, Installation: e.Installation, Repository: e.Repository,
		Head: e.HeadSHA, Tip: e.HeadSHA, Base: e.BaseSHA, BaseRef: e.BaseRef, Group: true,
	})
}

// onCheckRun answers the buttons of our own check runs.
func (a *App) onCheckRun(d webhook.Delivery, e github.CheckRunEvent) reaction {
	switch {
	case e.AppID != a.cfg.GitHub.AppID:
		return ignored("the check run is another App's")
	case e.ExternalID == "":
		return ignored("the check run is not one of ours")
	case a.isSelf(e.Sender.Login):
		return ignored("it is Stanch's own doing")
	case e.Action == "rerequested":
		return do(a.rerun(d, e.Installation, e.Repository, e.HeadSHA))
	case e.Action == "requested_action":
		return do(approveArgs{Check: e.ExternalID, Button: e.Identifier, Sender: e.Sender})
	}
	return ignored("nothing to do for this action")
}

// onCheckSuite runs a commit's check again. Suites that GitHub makes by itself
// follow pushes, which come as events of their own.
func (a *App) onCheckSuite(d webhook.Delivery, e github.CheckSuiteEvent) reaction {
	switch {
	case e.AppID != a.cfg.GitHub.AppID:
		return ignored("the check suite is another App's")
	case e.Action != "rerequested":
		return ignored("nothing to do for this action")
	}
	return do(a.rerun(d, e.Installation, e.Repository, e.HeadSHA))
}

// isNull reports whether a SHA is the one that stands for "no commit": only
// zeros, 40 or 64 of them.
func isNull(sha string) bool { return strings.Trim(sha, "0") == "" }

// rerunArgs is the job of examining again everything that a check reports on.
// Without a check, the commit is examined as if it were newly pushed.
type rerunArgs struct {
	Commit scanArgs `json:"commit"`
}

func (rerunArgs) Kind() string { return "rerun" }

func (a *App) rerun(d webhook.Delivery, installation int64, repo github.Repository, head string) rerunArgs {
	return rerunArgs{scanArgs{
		Delivery: d.ID, Received: d.Received, Installation: installation, Repository: repo, Head: head, Tip: head,
	}}
}

type rerunWorker struct {
	river.WorkerDefaults[rerunArgs]
	app *App
}

func (w rerunWorker) Work(ctx context.Context, job *river.Job[rerunArgs]) error {
	s := job.Args.Commit
	return w.app.store.InTx(ctx, func(tx *store.Tx) error {
		check, err := tx.CheckOf(ctx, s.Installation, s.Repository.ID, s.Head)
		if errors.Is(err, store.ErrNotFound) {
			return tx.Enqueue(ctx, s)
		}
		if err != nil {
			return err
		}
		scans, err := tx.Scans(ctx, check)
		if err != nil {
			return err
		}
		for _, s := range scans {
			if err := w.app.rescan(ctx, tx, s); err != nil {
				return err
			}
		}
		incidents, err := tx.Incidents(ctx, check)
		if err != nil {
			return err
		}
		return w.app.askAgain(ctx, tx, incidents) // the scan may know a verdict that is a little older
	})
}
