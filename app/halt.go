package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
)

// haltWait is how often a remediation looks whether it may go on.
const haltWait = 2 * time.Second

// errHalted means that somebody has stopped all remediations.
var errHalted = errors.New("all remediations are halted")

// asks are the steps that change nothing anywhere, which run while all is halted.
var asks = []incident.Step{incident.VerifyNew, incident.Confirm, incident.ProveDead, incident.Hold, incident.VerifyOld}

// mayAct reports whether a step may run now, in the transaction that records its
// attempt: nothing is begun after Halt has returned.
func (r *remediation) mayAct(ctx context.Context, tx *store.Tx, step incident.Step) error {
	if r.app.ending.Load() {
		return errHalted
	}
	if slices.Contains(asks, step) {
		return nil
	}
	halt, err := tx.Halted(ctx)
	if err != nil || halt == nil {
		return err
	}
	return errHalted
}

// wait has the check runs tell that all is halted, and looks again soon.
func (r *remediation) wait(ctx context.Context) error {
	halt, err := r.app.store.Halted(ctx)
	if err != nil {
		return err
	}
	if halt == nil {
		return river.JobSnooze(0)
	}
	stuck := fmt.Sprintf("%s halted all remediations at %s (%s): “stanch incidents resume” lets them go on.",
		halt.By, halt.At.UTC().Format("2006-01-02 15:04:05 MST"), halt.Reason)
	if err := r.change(ctx, func(tx *store.Tx, i *store.Incident) error {
		if i.Stuck == stuck {
			return nil
		}
		i.Stuck = stuck
		return r.app.enqueueReports(ctx, tx, r.id)
	}); err != nil {
		return err
	}
	return river.JobSnooze(haltWait)
}

// Halt stops all remediations before their next step that changes anything. By is an
// actor of the audit log.
func (a *App) Halt(ctx context.Context, by, reason string) error {
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: by, Verb: "halt", Subject: "remediations", Detail: map[string]string{"reason": reason}}); err != nil {
			return err
		}
		return tx.SetHalt(ctx, store.Halt{By: by, Reason: reason, At: a.now()})
	})
}

// Resume lets remediations go on.
func (a *App) Resume(ctx context.Context, by, reason string) error {
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: by, Verb: "resume", Subject: "remediations", Detail: map[string]string{"reason": reason}}); err != nil {
			return err
		}
		return tx.EndHalt(ctx)
	})
}
