package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/webhook"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

// alertArgs is the job of taking over an alert of GitHub's own secret scanning.
type alertArgs struct {
	Scan   scanArgs `json:"scan"` // who, where, and when it came in
	Number int      `json:"number"`
}

func (alertArgs) Kind() string { return "alert" }

func (a *App) onAlert(d webhook.Delivery, e github.AlertEvent) reaction {
	switch e.Action {
	case "created", "reopened", "publicly_leaked", "validated":
	default:
		return ignored("nothing to do for this action")
	}
	if a.isSelf(e.Sender) {
		return ignored("it is Stanch's own doing")
	}
	return do(alertArgs{Number: e.Number, Scan: scanArgs{
		Delivery: d.ID, Received: d.Received, Installation: e.Installation, Repository: e.Repository,
	}})
}

type alertWorker struct {
	river.WorkerDefaults[alertArgs]
	app *App
}

// Work asks for the secret, verifies it, and has it remediated as any other. An
// alert that is closed by now asks for nothing.
func (w alertWorker) Work(ctx context.Context, job *river.Job[alertArgs]) (err error) {
	a, s, number := w.app, job.Args.Scan, job.Args.Number
	if s.Installation, s.Repository, err = a.current(ctx, s.Installation, s.Repository); err != nil {
		return err
	}
	alert, err := a.github.Installation(s.Installation).Alert(ctx, s.Repository, number)
	switch {
	case errors.Is(err, github.ErrGone), errors.Is(err, github.ErrNotFound), errors.Is(err, github.ErrForbidden):
		a.log.WarnContext(ctx, "an alert of GitHub's cannot be read; the App needs the permission secret_scanning_alerts: write", "error", err)
		return river.JobCancel(err)
	case err != nil:
		return a.postpone(err)
	case !alert.Open:
		return nil
	}
	found, known := a.scanner.Identify(alert.Type, alert.Secret)
	if !known {
		return a.noteAlert(ctx, s, number, "no rule knows secrets of type "+alert.Type+": revoke it by hand")
	}
	judge, err := a.judgeNow(ctx, s)
	if err != nil {
		return a.postpone(err)
	}
	leak := git.Leak{Finding: found}
	verdict, at, err := a.verify(ctx, []judged{{Leak: leak}}, s.Received)
	if err != nil {
		return err
	}
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		i, _, err := a.openIncident(ctx, tx, s, leak, verdict(found), judge.Policy, at)
		if err != nil {
			return err
		}
		if err := tx.SaveAlert(ctx, store.Alert{Repository: s.Repository.ID, Number: number, Installation: s.Installation, Incident: i.ID}); err != nil {
			return err
		}
		return a.enqueueReports(ctx, tx, i.ID)
	})
}

// noteAlert says in the audit log what became of an alert that nothing can be done
// about.
func (a *App) noteAlert(ctx context.Context, s scanArgs, number int, what string) error {
	a.log.WarnContext(ctx, "an alert of GitHub's is left to people", "repository", s.Repository.FullName(), "alert", number, "why", what)
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		return tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: "leave alert", Subject: s.Delivery, Detail: map[string]string{
			"repository": s.Repository.FullName(), "alert": fmt.Sprint(number), "why": what,
		}})
	})
}

// enqueueAlerts has GitHub's alerts about an incident closed, if by then its secret
// is dead.
func (a *App) enqueueAlerts(ctx context.Context, tx *store.Tx, incident string) error {
	alerts, err := tx.OpenAlerts(ctx, incident)
	if err != nil {
		return err
	}
	for _, alert := range alerts {
		if err := tx.Enqueue(ctx, resolveAlertArgs{Repository: alert.Repository, Number: alert.Number}); err != nil {
			return err
		}
	}
	return nil
}

// deathNotice is what an alert is closed with, empty while the secret may work.
func deathNotice(i store.Incident) string {
	switch {
	case !i.Dead.IsZero():
		return fmt.Sprintf("Stanch had the credential revoked and proved it dead at %s. Incident %s.", i.Dead.Format("2006-01-02 15:04:05 MST"), i.ID)
	case i.Validity == checks.Inactive && i.State() != incident.Contained:
		return fmt.Sprintf("The provider refuses the credential. Incident %s.", i.ID)
	}
	return ""
}

// resolveAlertArgs is the job of closing an alert at GitHub.
type resolveAlertArgs struct {
	Repository int64 `json:"repository"`
	Number     int   `json:"number"`
}

func (resolveAlertArgs) Kind() string { return "resolve_alert" }

func (resolveAlertArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: queueReport} }

type resolveAlertWorker struct {
	river.WorkerDefaults[resolveAlertArgs]
	app *App
}

// Work closes the alert with the proof, and remembers that.
func (w resolveAlertWorker) Work(ctx context.Context, job *river.Job[resolveAlertArgs]) error {
	a := w.app
	alert, err := a.store.Alert(ctx, job.Args.Repository, job.Args.Number)
	if errors.Is(err, store.ErrNotFound) {
		return river.JobCancel(err) // erased in the meantime
	}
	if err != nil {
		return err
	}
	i, err := a.store.Incident(ctx, alert.Incident)
	if err != nil || deathNotice(i) == "" || !alert.Resolved.IsZero() {
		return err
	}
	installation, repo, err := a.current(ctx, alert.Installation, github.Repository{ID: alert.Repository})
	if err != nil {
		return err
	}
	switch err := a.github.Installation(installation).ResolveAlert(ctx, repo, alert.Number, deathNotice(i)); {
	case errors.Is(err, github.ErrGone), errors.Is(err, github.ErrNotFound), errors.Is(err, github.ErrForbidden):
		return river.JobCancel(err)
	case err != nil:
		return a.postpone(err)
	}
	alert.Resolved = a.now()
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.SaveAlert(ctx, alert); err != nil {
			return err
		}
		return tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: "resolve alert", Subject: i.ID, Detail: map[string]string{
			"repository": repo.FullName(), "alert": fmt.Sprint(alert.Number),
		}})
	})
}
