package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// remediateAttempts is how often a remediation is tried before it waits for a
// person. Retries are a minute apart at most, so that an outage of half a day is
// outlived.
const remediateAttempts = 700

// complainAfter is the attempt of a remediation from which on the check run says
// that it does not get on. With the pauses of retryPolicy that is two minutes.
const complainAfter = 8

// errNothingToDo ends a remediation that was overtaken.
var errNothingToDo = errors.New("nothing is left to do")

// remediateArgs is the job of carrying out an incident's approved remediation.
type remediateArgs struct {
	Incident string `json:"incident" river:"unique"`
	// Local says that it was ordered of a process without a server.
	Local bool `json:"local,omitempty"`
}

func (remediateArgs) Kind() string { return "remediate" }

// InsertOpts lets one remediation run per credential at a time.
func (r remediateArgs) InsertOpts() river.InsertOpts {
	queue := queueRemediate
	if r.Local {
		queue = queueLocal
	}
	return river.InsertOpts{Queue: queue, MaxAttempts: remediateAttempts, UniqueOpts: oneAtATime}
}

// oneAtATime lets a job with the same unique arguments wait or run once.
var oneAtATime = river.UniqueOpts{
	ByArgs: true,
	ByState: []rivertype.JobState{rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
		rivertype.JobStateScheduled, rivertype.JobStateRetryable},
}

type remediateWorker struct {
	river.WorkerDefaults[remediateArgs]
	app *App
}

// stepLocate is where the credential's place is looked up, before the plan.
const stepLocate = "locate"

// Work carries out the plan step by step. River remembers the steps that are
// done, in the same transaction as we do, so a crash resumes behind the last one.
func (w remediateWorker) Work(ctx context.Context, job *river.Job[remediateArgs]) error {
	r := &remediation{app: w.app, id: job.Args.Incident}
	i, err := w.app.store.Incident(ctx, r.id)
	if err != nil {
		return err
	}
	if i.Verb == "" || i.State() == incident.Resolved {
		// Not nil: River wants to come by the last finished step, which is gone.
		return river.JobCancel(errNothingToDo)
	}
	if err := r.unseal(ctx, i); err != nil {
		return r.settle(ctx, job, "begin", err)
	}
	if err := r.lease(ctx, i); err != nil {
		return r.settle(ctx, job, "begin", err)
	}
	river.ResumableStep(ctx, stepLocate, nil, func(ctx context.Context) error {
		return r.settle(ctx, job, stepLocate, r.locate(ctx))
	})
	plan, err := r.plan(ctx)
	if err != nil {
		return r.settle(ctx, job, "begin", err)
	}
	for _, step := range plan {
		river.ResumableStep(ctx, string(step), nil, func(ctx context.Context) error {
			return r.settle(ctx, job, step, r.take(ctx, job, step))
		})
	}
	return nil
}

// plan is what is to be done, which locate may have changed.
func (r *remediation) plan(ctx context.Context) ([]incident.Step, error) {
	i, err := r.app.store.Incident(ctx, r.id)
	if err != nil {
		return nil, err
	}
	done, err := r.app.store.StepsDone(ctx, r.id)
	return i.Plan(done), err
}

// A remediation is one incident while its plan is carried out.
type remediation struct {
	app    *App
	id     string
	leaked checks.Credential
}

// unseal gets the leaked credential, and makes sure that it may and should die.
func (r *remediation) unseal(ctx context.Context, i store.Incident) (err error) {
	r.leaked, err = r.app.store.Unseal(ctx, i.ID, store.Leaked)
	switch {
	case errors.Is(err, store.ErrErased):
		return needPerson("Stanch does not hold this credential any more: re-run the check that found it, then press the button again.")
	case err != nil:
		return err
	case r.leaked.Secret().Fingerprint(r.app.cfg.Keys.Fingerprint) != i.Fingerprint:
		return needPerson("The credential that was kept is not the one that leaked: revoke it by hand.")
	case r.app.isOwn(i):
		return needPerson(todoOwn)
	}
	return nil
}

// take runs one step: the attempt is recorded first, then the deed is done, then
// its result is recorded. Without the first record there is no deed.
func (r *remediation) take(ctx context.Context, job *river.Job[remediateArgs], step incident.Step) error {
	i, err := r.app.store.Incident(ctx, r.id)
	if err != nil {
		return err
	}
	done, err := r.app.store.StepsDone(ctx, r.id)
	if err != nil || slices.Contains(done, step) {
		return err
	}
	if err := incident.MayRun(i.Plan(done), done, step); err != nil {
		return err
	}
	attempt, err := r.attempt(ctx, i, step)
	switch {
	case errors.Is(err, errHalted):
		return r.wait(ctx)
	case err != nil:
		return err
	}
	r.app.progress(r.id, step, Begun)
	result, err := r.do(ctx, i, step, attempt)
	if err != nil {
		return err
	}
	r.app.progress(r.id, step, Acted)
	if err := r.finish(ctx, job, done, step, result); err != nil {
		return err
	}
	r.app.progress(r.id, step, Recorded)
	return nil
}

// A result is what a step leaves behind.
type result struct {
	detail      map[string]string
	replacement *checks.Credential // what issue made, to be kept until it is stored
	stored      []place            // what put changed
}

func (r *remediation) do(ctx context.Context, i store.Incident, step incident.Step, attempt store.Action) (result, error) {
	switch step {
	case incident.Issue:
		return r.issue(ctx, i, attempt)
	case incident.Put:
		return r.put(ctx, i, attempt)
	case incident.VerifyNew:
		return r.verifyNew(ctx, i, attempt)
	case incident.Confirm:
		return r.confirm(ctx, i)
	case incident.DisableOld:
		return r.disableOld(ctx, i)
	case incident.RevokeOld:
		return r.revokeOld(ctx, i)
	case incident.Hold:
		return r.hold(ctx, i)
	case incident.EnableOld:
		return r.enableOld(ctx, i)
	case incident.VerifyOld:
		return r.verifyOld(ctx, attempt)
	case incident.Restore:
		return r.restore(ctx, i, attempt)
	case incident.ProveDead:
		return r.proveDead(ctx, i, attempt)
	case incident.Retire:
		return r.retire(ctx, i)
	case incident.Discard:
		return r.discard(ctx)
	}
	return result{}, fmt.Errorf("no such step: %s", step)
}

func (r *remediation) attempt(ctx context.Context, i store.Incident, step incident.Step) (action store.Action, err error) {
	now := r.app.now()
	err = r.app.store.InTx(ctx, func(tx *store.Tx) error {
		if err := r.mayAct(ctx, tx, step); err != nil {
			return err
		}
		if action, err = tx.Attempt(ctx, r.id, step, now); err != nil {
			return err
		}
		return tx.Audit(ctx, audit.Entry{At: now, Actor: "stanch", Verb: "attempt " + string(step), Subject: r.id, Detail: map[string]string{
			"operation": action.Operation, "attempt": fmt.Sprint(action.Attempts), "fingerprint": string(i.Fingerprint),
		}})
	})
	return action, err
}

// finish records in one transaction that the step is done, with what it left
// behind, and lets the check runs tell it.
func (r *remediation) finish(ctx context.Context, job *river.Job[remediateArgs], done []incident.Step, step incident.Step, res result) error {
	a := r.app
	var before, after store.Incident
	err := a.store.InTx(ctx, func(tx *store.Tx) (err error) {
		if before, err = tx.Incident(ctx, r.id); err != nil {
			return err
		}
		after = before
		if err := after.Done(before.Plan(done), done, step, a.now()); err != nil {
			return err
		}
		if res.replacement != nil {
			if err := tx.Seal(ctx, r.id, store.Replacement, *res.replacement); err != nil {
				return err
			}
		}
		if res.stored != nil {
			if after.Stored, err = json.Marshal(res.stored); err != nil {
				return err
			}
		}
		if err := tx.FinishAction(ctx, r.id, step, res.detail, a.now()); err != nil {
			return err
		}
		if err := a.undone(ctx, tx, &after, append(slices.Clone(done), step)); err != nil {
			return err
		}
		if err := errors.Join(tx.SaveIncident(ctx, after), a.askOthers(ctx, tx, after)); err != nil {
			return err
		}
		if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: "done " + string(step), Subject: r.id, Detail: res.detail}); err != nil {
			return err
		}
		if err := store.FinishStep(ctx, tx, job); err != nil {
			return err
		}
		return a.enqueueReports(ctx, tx, r.id)
	})
	if err != nil {
		return err
	}
	return a.observeProgress(ctx, before, after)
}

// observeProgress tells observers which stages the step has brought.
func (a *App) observeProgress(ctx context.Context, before, after store.Incident) error {
	var err error
	tell := func(stage Stage, was, is time.Time, detail string) {
		if was.IsZero() && !is.IsZero() {
			a.metrics.passed(after, stage)
			err = errors.Join(err, a.observeIncident(ctx, after, stage, detail))
		}
	}
	tell(Contained, before.Contained, after.Contained, "")
	tell(Rotated, before.Rotated, after.Rotated, placesText(after.Stored))
	tell(ProvedDead, before.Dead, after.Dead, "")
	return err
}

// settle decides what a step's error means for the job: wait for a person, wait
// for a rate limit, or try again. The last attempt always waits for a person.
func (r *remediation) settle(ctx context.Context, job *river.Job[remediateArgs], step incident.Step, err error) error {
	person, wait := new(personError), new(river.JobSnoozeError)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wait):
		return err
	case errors.As(err, &person):
		return r.giveUp(ctx, step, person)
	case job.Attempt >= job.MaxAttempts:
		return r.giveUp(ctx, step, &personError{fmt.Sprintf(
			"The step %s failed %d times. Stanch's log says why: mend it, and press the button again.", step, job.Attempt)})
	case job.Attempt >= complainAfter:
		err = errors.Join(err, r.complain(ctx, step))
	}
	r.app.log.WarnContext(ctx, "remediation step failed; it will be tried again",
		"incident", r.id, "step", string(step), "attempt", job.Attempt, "error", err)
	return r.app.postpone(err)
}

// complain makes the check runs say that a step does not get on.
func (r *remediation) complain(ctx context.Context, step incident.Step) error {
	return r.change(ctx, func(tx *store.Tx, i *store.Incident) error {
		if i.Stuck != "" {
			return nil // it says so already
		}
		i.Stuck = fmt.Sprintf("The step %s keeps failing; Stanch's log says why. Mend it: Stanch goes on trying.", step)
		return r.app.enqueueReports(ctx, tx, r.id)
	})
}

// giveUp stops a remediation until a person has done what the incident then says.
func (r *remediation) giveUp(ctx context.Context, step incident.Step, person *personError) error {
	err := r.change(ctx, func(tx *store.Tx, i *store.Incident) error {
		i.Stuck, i.Verb = person.todo, ""
		if err := tx.Audit(ctx, audit.Entry{At: r.app.now(), Actor: "stanch", Verb: "stop " + string(step), Subject: r.id,
			Detail: map[string]string{"todo": person.todo}}); err != nil {
			return err
		}
		return r.app.enqueueReports(ctx, tx, r.id)
	})
	if err != nil {
		return err
	}
	return river.JobCancel(person)
}

// change changes the incident, and what belongs to that, in one transaction.
func (r *remediation) change(ctx context.Context, f func(*store.Tx, *store.Incident) error) error {
	return r.app.store.InTx(ctx, func(tx *store.Tx) error {
		i, err := tx.Incident(ctx, r.id)
		if err != nil {
			return err
		}
		if err := f(tx, &i); err != nil {
			return err
		}
		return tx.SaveIncident(ctx, i)
	})
}

// A personError says what a person must do before a remediation can go on.
type personError struct{ todo string }

func needPerson(todo string) error   { return &personError{todo} }
func (e *personError) Error() string { return "waiting for a person: " + e.todo }
