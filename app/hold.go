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
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// disableOld tells the provider to refuse the leaked credential, which can be taken
// back until it is deleted.
func (r *remediation) disableOld(ctx context.Context, i store.Incident) (result, error) {
	receipt, err := r.app.providers.Disable(ctx, r.target(i))
	switch {
	case errors.Is(err, provider.ErrCannotDisable), errors.Is(err, provider.ErrCannotRevoke):
		r.app.log.WarnContext(ctx, "the leaked credential cannot be disabled", "incident", r.id, "error", err)
		return result{}, needPerson("The provider does not let Stanch disable this credential: " + err.Error() + ". Disable it by hand, then press Revoke now to have it proved dead.")
	case err != nil:
		return result{}, fmt.Errorf("disable the leaked credential: %w", err)
	}
	return receiptResult(receipt), nil
}

func receiptResult(receipt provider.Receipt) result {
	detail := evidenceDetail(receipt.Evidence)
	detail["meaning"] = string(receipt.Meaning)
	return result{detail: detail}
}

// hold waits until the time is over in which the leaked credential can be enabled
// again. That it is still dead then is asked: who enabled it by hand had a reason.
func (r *remediation) hold(ctx context.Context, i store.Incident) (result, error) {
	now := r.app.now()
	if i.Held.IsZero() {
		i.Held = now.Add(i.Hold)
		if err := r.change(ctx, func(tx *store.Tx, known *store.Incident) error {
			known.Held = i.Held
			return r.app.enqueueReports(ctx, tx, r.id)
		}); err != nil {
			return result{}, err
		}
	}
	if wait := i.Held.Sub(now); wait > 0 {
		return result{}, river.JobSnooze(wait)
	}
	v, err := r.app.providers.VerifyAgain(ctx, r.leaked)
	switch {
	case err != nil:
		return result{}, err
	case v.Validity == checks.Active:
		if err := r.enabledByOthers(ctx); err != nil {
			return result{}, err
		}
		return result{}, needPerson("Somebody has enabled the leaked credential again, so Stanch does not delete it. Find out who needs it, then press Revoke now.")
	case v.Validity != checks.Inactive:
		return result{}, fmt.Errorf("the leaked credential is not known to be dead any more: %s is %s (%s)", v.Evidence.Request, v.Validity, v.Evidence.Answer)
	}
	return result{detail: evidenceDetail(v.Evidence)}, nil
}

// enabledByOthers records that the leaked credential lives again, so that whoever has it
// revoked then has it disabled and proved dead once more.
func (r *remediation) enabledByOthers(ctx context.Context) error {
	return r.change(ctx, func(tx *store.Tx, i *store.Incident) error {
		i.Contained, i.Rotated, i.Dead, i.Held = noTime, noTime, noTime, noTime
		return errors.Join(tx.DropAction(ctx, r.id, incident.DisableOld), tx.DropAction(ctx, r.id, incident.ProveDead))
	})
}

// enableOld takes back what disableOld did.
func (r *remediation) enableOld(ctx context.Context, i store.Incident) (result, error) {
	receipt, err := r.app.providers.Enable(ctx, r.target(i))
	switch {
	case errors.Is(err, provider.ErrCannotDisable), errors.Is(err, provider.ErrCannotRevoke):
		r.app.log.WarnContext(ctx, "the old credential cannot be enabled", "incident", r.id, "error", err)
		return result{}, needPerson("The provider does not let Stanch enable the old credential again: " + err.Error() + ". Its replacement works and stays where it is; press Revoke now to have the old one proved dead.")
	case err != nil:
		return result{}, fmt.Errorf("enable the credential again: %w", err)
	}
	return receiptResult(receipt), nil
}

// verifyOld asks whether the old credential works again. Until it does, the new one lives.
func (r *remediation) verifyOld(ctx context.Context, attempt store.Action) (result, error) {
	v, err := r.app.providers.VerifyAgain(ctx, r.leaked)
	switch {
	case err != nil:
		return result{}, err
	case v.Validity == checks.Active:
		return result{detail: evidenceDetail(v.Evidence)}, nil
	case attempt.Attempts >= proveDeadAttempts:
		return result{}, needPerson("The provider does not take the old credential again, so its replacement stays where it is. Look at the provider what is wrong with the old one.")
	}
	return result{}, fmt.Errorf("the old credential does not work again yet: %s is %s (%s)", v.Evidence.Request, v.Validity, v.Evidence.Answer)
}

// restore puts the old credential where its replacement is. A place that somebody else
// has changed meanwhile waits for a person.
func (r *remediation) restore(ctx context.Context, i store.Incident, attempt store.Action) (result, error) {
	replacement, err := r.app.store.Unseal(ctx, r.id, store.Replacement)
	if err != nil {
		return result{}, err
	}
	ps, err := places(i)
	if err != nil {
		return result{}, err
	}
	for _, p := range ps {
		if p.Replacement == nil || p.Adopted {
			continue
		}
		if err := r.restoreAt(ctx, p, replacement, attempt.Operation); err != nil {
			return result{}, err
		}
	}
	detail := map[string]string{"operation": attempt.Operation}
	consumers, err := r.passOn(ctx, ps)
	if err == nil && consumers != "" {
		detail["consumers"] = consumers
	}
	return result{detail: detail}, err
}

func (r *remediation) restoreAt(ctx context.Context, p place, replacement checks.Credential, operation string) error {
	s, err := r.app.secretStore(p.Leaked.Store)
	if err != nil {
		return err
	}
	now, err := s.Get(ctx, p.Leaked)
	if err != nil {
		return fmt.Errorf("read %s: %w", p.Leaked, err)
	}
	switch value := now.Fields[p.Leaked.Field]; {
	case secretstore.Holds(value, r.leaked):
		return r.copyFrom(ctx, &p, r.leaked)
	case !secretstore.Holds(value, replacement):
		return needPerson(fmt.Sprintf("Somebody changed %s after the replacement was put there: both the old credential and the replacement work. Put there which you want by hand, and revoke the other one.", p.Leaked))
	}
	values, _ := secretstore.Replace(now.Fields, replacement, r.leaked)
	at := p.Leaked
	at.Version = now.Version
	put, err := s.Put(ctx, at, values, operation)
	if err != nil {
		return fmt.Errorf("put the old credential back into %s: %w", p.Leaked, err)
	}
	p.Replacement = &put
	return r.copyFrom(ctx, &p, r.leaked)
}

// undone begins the incident anew when a remedy was taken back to its end: the
// credential is live, and a person has said that it must be.
func (a *App) undone(ctx context.Context, tx *store.Tx, i *store.Incident, done []incident.Step) error {
	if i.Verb != incident.Undo {
		return nil
	}
	for _, step := range i.Plan(done) {
		if !slices.Contains(done, step) {
			return nil
		}
	}
	stuck := fmt.Sprintf("%s took the remediation back: the credential is live again. Press Rotate now or Revoke now when nobody needs it any more.", i.Approver)
	i.Reopen()
	i.Stuck, i.Verb, i.Stored, i.AskAgain = stuck, "", nil, a.now().Add(askAtLeastEvery)
	return tx.DropActions(ctx, i.ID)
}

// What orders about incidents end with when they cannot be carried out.
var (
	ErrNoUndo = errors.New("nothing can be taken back: only what is disabled and not yet deleted can")
	ErrNoHold = errors.New("the incident does not wait for the end of a hold")
	ErrBusy   = errors.New("a step of the incident is under way: try again in a moment")
)

// Undo takes back what was done about an incident: the old credential is enabled again
// and put where it stood, and its replacement is revoked. By is an actor of the audit log.
func (a *App) Undo(ctx context.Context, id, by, reason string) error {
	return a.order(ctx, id, by, string(incident.Undo), reason, func(tx *store.Tx, i *store.Incident, done []incident.Step) error {
		if !incident.Undoable(done) {
			return ErrNoUndo
		}
		i.Verb, i.Stuck, i.Held = incident.Undo, "", noTime
		i.Approver, i.Approved = by, a.now()
		return nil
	})
}

// EndHold has a credential deleted whose hold is not over.
func (a *App) EndHold(ctx context.Context, id, by, reason string) error {
	return a.order(ctx, id, by, "end hold", reason, func(tx *store.Tx, i *store.Incident, _ []incident.Step) error {
		if i.Held.IsZero() {
			return ErrNoHold
		}
		i.Held = a.now()
		return nil
	})
}

// order changes an incident on somebody's word and has its remediation begin again with
// what is left of it.
func (a *App) order(ctx context.Context, id, by, verb, reason string, change func(*store.Tx, *store.Incident, []incident.Step) error) error {
	err := a.store.InTx(ctx, func(tx *store.Tx) error {
		i, err := tx.Incident(ctx, id)
		if err != nil {
			return err
		}
		done, err := tx.StepsDone(ctx, id)
		if err != nil {
			return err
		}
		if err := change(tx, &i, done); err != nil {
			return err
		}
		if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: by, Verb: "approve " + verb, Subject: id, Detail: map[string]string{"reason": reason}}); err != nil {
			return err
		}
		if err := tx.SaveIncident(ctx, i); err != nil {
			return err
		}
		if err := tx.Restart(ctx, a.job(id)); err != nil {
			return err
		}
		return a.enqueueReports(ctx, tx, id)
	})
	if errors.Is(err, store.ErrRunning) {
		return ErrBusy
	}
	return err
}

// leaseWait is how often a remediation looks whether another one has let go of what
// both work on.
const leaseWait = 2 * time.Second

// lease waits until no other remediation works on the same thing: the user, say, whose
// second key the replacement is.
func (r *remediation) lease(ctx context.Context, i store.Incident) error {
	resource := r.app.providers.Holds(r.target(i))
	if resource == "" {
		return nil
	}
	var holder string
	err := r.app.store.InTx(ctx, func(tx *store.Tx) (err error) {
		holder, err = tx.Lease(ctx, resource, r.id, r.app.now())
		return err
	})
	if err != nil || holder == "" {
		return err
	}
	r.app.log.InfoContext(ctx, "a remediation waits for another one on the same resource", "incident", r.id, "resource", resource, "other", holder)
	return river.JobSnooze(leaseWait)
}
