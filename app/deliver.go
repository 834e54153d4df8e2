package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/webhook"
)

// Accept records a delivery and the job that it asks for, in one transaction.
// A delivery that was accepted before changes nothing. What asks for no job is
// recorded with the reason.
func (a *App) Accept(ctx context.Context, d webhook.Delivery) error {
	event, err := github.ParseEvent(d.Event, d.Payload)
	if err != nil {
		return fmt.Errorf("%w: %w", webhook.ErrMalformed, err)
	}
	job, reason := a.job(d, event)
	outcome := "queued"
	if job == nil {
		outcome = "ignored: " + reason
	}
	fresh := false
	err = a.store.InTx(ctx, func(tx *store.Tx) error {
		fresh, err = tx.RecordDelivery(ctx, store.Delivery{
			ID: d.ID, Event: d.Event, Action: action(event), Installation: event.From(), Received: d.Received, Outcome: outcome,
		})
		if err != nil || !fresh || job == nil {
			return err
		}
		return tx.Enqueue(ctx, job)
	})
	if err != nil {
		return err
	}
	a.metrics.delivery(d.Event, fresh, job != nil)
	if s, ok := job.(scanArgs); ok && fresh {
		a.observe(Event{Stage: Delivered, At: d.Received, Repository: s.Repository.FullName(), HeadSHA: s.Head})
	}
	return nil
}

// job returns the job that an event asks for, or why it asks for none.
func (a *App) job(d webhook.Delivery, event github.Event) (_ river.JobArgs, reason string) {
	if event.From() == 0 {
		return nil, "it names no installation"
	}
	switch e := event.(type) {
	case github.Push:
		return pushJob(d, e)
	case github.PullRequest:
		return pullRequestJob(d, e)
	case github.CheckRunEvent:
		return a.checkRunJob(e)
	case github.IssueComment:
		return a.commandJob(e)
	}
	return nil, "nothing to do for this event"
}

// action is the event's action, for those events whose actions decide anything.
func action(event github.Event) string {
	switch e := event.(type) {
	case github.PullRequest:
		return e.Action
	case github.CheckRunEvent:
		return e.Action
	case github.IssueComment:
		return e.Action
	case github.Other:
		return e.Action
	}
	return ""
}

func pushJob(d webhook.Delivery, e github.Push) (river.JobArgs, string) {
	if e.Deleted || isNull(e.After) {
		return nil, "a deleted ref adds no lines"
	}
	s := scanArgs{
		Delivery: d.ID, Received: d.Received, Installation: e.Installation, Repository: e.Repository,
		Head: e.HeadCommit, Tip: e.After,
		By:           e.Sender,
		WholeHistory: e.Ref == "refs/heads/"+e.Repository.DefaultBranch,
	}
	if s.Head == "" {
		s.Head = e.After
	}
	if !isNull(e.Before) {
		s.Base = e.Before
	}
	return s, ""
}

func pullRequestJob(d webhook.Delivery, e github.PullRequest) (river.JobArgs, string) {
	switch e.Action {
	case "opened", "reopened", "synchronize", "ready_for_review":
	case "edited":
		if !e.BaseChanged {
			return nil, "the base did not change"
		}
	default:
		return nil, "this action adds no lines"
	}
	return scanArgs{
		Delivery: d.ID, Received: d.Received, Installation: e.Installation, Repository: e.Repository,
		Head: e.HeadSHA, Tip: e.HeadSHA, Base: e.BaseSHA, Pull: e.Number, By: e.Author,
	}, ""
}

// checkRunJob answers the buttons of our own check runs.
func (a *App) checkRunJob(e github.CheckRunEvent) (river.JobArgs, string) {
	switch {
	case e.AppID != a.cfg.GitHub.AppID:
		return nil, "the check run is another App's"
	case e.ExternalID == "":
		return nil, "the check run is not one of ours"
	case e.Action == "rerequested":
		return rerunArgs{Check: e.ExternalID}, ""
	case e.Action == "requested_action":
		return approveArgs{Check: e.ExternalID, Button: e.Identifier, Sender: e.Sender}, ""
	}
	return nil, "nothing to do for this action"
}

// isNull reports whether a SHA is the one that stands for "no commit": only
// zeros, 40 or 64 of them.
func isNull(sha string) bool { return strings.Trim(sha, "0") == "" }

var errNoScan = errors.New("there is nothing to run again")

// rerunArgs is the job of examining again everything that a check reports on.
type rerunArgs struct {
	Check string `json:"check"`
}

func (rerunArgs) Kind() string { return "rerun" }

type rerunWorker struct {
	river.WorkerDefaults[rerunArgs]
	app *App
}

func (w rerunWorker) Work(ctx context.Context, job *river.Job[rerunArgs]) error {
	scans, err := w.app.store.Scans(ctx, job.Args.Check)
	if err != nil {
		return err
	}
	if len(scans) == 0 {
		return river.JobCancel(errNoScan)
	}
	return w.app.store.InTx(ctx, func(tx *store.Tx) error {
		for _, s := range scans {
			if err := w.app.rescan(ctx, tx, s); err != nil {
				return err
			}
		}
		return nil
	})
}
