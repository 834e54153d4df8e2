package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
)

// approveArgs is the job of answering a button of a check run.
type approveArgs struct {
	Check  string `json:"check"`
	Button string `json:"button"`
	Sender string `json:"sender"`
}

func (approveArgs) Kind() string { return "approve" }

type approveWorker struct {
	river.WorkerDefaults[approveArgs]
	app *App
}

// Work does what the button says to every incident of the check to which it
// applies, if the person who pressed it may write to the repository. GitHub shows
// the buttons to others too.
func (w approveWorker) Work(ctx context.Context, job *river.Job[approveArgs]) error {
	a, press := w.app, job.Args
	check, err := a.store.Check(ctx, press.Check)
	if err != nil {
		return err
	}
	policy, err := a.policyOf(ctx, check.ID)
	if err != nil {
		return err
	}
	permission, err := a.github.Installation(check.Installation).Permission(ctx, check.Repository, press.Sender)
	if err != nil {
		return a.postpone(err)
	}
	allowed := permission == "admin" || permission == "write"
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		verb := "press " + press.Button
		if !allowed {
			verb = "refuse " + press.Button
		}
		if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "github:" + press.Sender, Verb: verb, Subject: check.ID,
			Detail: map[string]string{"permission": permission}}); err != nil || !allowed {
			return err
		}
		incidents, err := tx.Incidents(ctx, check.ID)
		if err != nil {
			return err
		}
		for _, i := range incidents {
			if err := a.press(ctx, tx, i, check, press, policy); err != nil {
				return err
			}
		}
		return nil
	})
}

// press applies a button to one incident.
func (a *App) press(ctx context.Context, tx *store.Tx, i store.Incident, check store.Check, press approveArgs, p Policy) error {
	actor := "github:" + press.Sender
	switch press.Button {
	case report.ButtonRotate, report.ButtonRevoke:
		if !a.actionable(i, p) {
			return nil
		}
		// A person has looked: an unknown outcome is settled.
		if err := tx.ForgetAttempts(ctx, i.ID, incident.Issue); err != nil {
			return err
		}
		verb := incident.Rotate
		if press.Button == report.ButtonRevoke {
			verb = incident.Revoke
		}
		if err := a.approve(ctx, tx, &i, verb, actor, p); err != nil {
			return err
		}
	case report.ButtonNotASecret:
		// Where it was found in other repositories too, their people do not agree by that.
		known, err := tx.RepositoriesOf(ctx, i.ID)
		if err != nil || !a.dismissable(i) || !slices.Equal(known, []int64{check.Repository.ID}) {
			return err
		}
		if err := i.Dismiss(a.now()); err != nil {
			return err
		}
		if err := tx.SaveIncident(ctx, i); err != nil {
			return err
		}
		if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: actor, Verb: "dismiss", Subject: i.ID,
			Detail: map[string]string{"resolution": string(i.Resolution)}}); err != nil {
			return err
		}
	default:
		return river.JobCancel(fmt.Errorf("check %s has no button %q", press.Check, press.Button))
	}
	return a.enqueueReports(ctx, tx, i.ID)
}

// actionable reports whether a person may start a remediation of the incident.
func (a *App) actionable(i store.Incident, p Policy) bool {
	return i.Verb == "" && i.Validity != checks.Inactive && p.For(i.Rule).Remediation != Observe &&
		i.State() != incident.Resolved && a.providers.Can(i.Rule).Revoke && !a.isOwn(i)
}

// dismissable reports whether a person may say that it is no secret: only where
// no provider can be asked, for the provider knows better.
func (a *App) dismissable(i store.Incident) bool {
	return i.Verb == "" && i.State() == incident.Open && i.Validity == checks.Unknown && !a.providers.Can(i.Rule).Verify
}
