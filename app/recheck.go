package app

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// A provider is asked again about an open incident's credential when that is as old
// once more, but neither sooner nor later than these bounds say. What is unknown is
// most often so for a moment; what is live its owners may end any time, and the check
// is to see it.
const (
	askUnknownAfter = time.Minute
	askActiveAfter  = 10 * time.Minute
	askAtLeastEvery = 6 * time.Hour
)

// maxDue bounds how many incidents one sweep has asked about.
const maxDue = 200

// askAfter is how long the next question about an incident waits.
func askAfter(i *store.Incident, now time.Time) time.Duration {
	soonest := askUnknownAfter
	if i.Validity == checks.Active {
		soonest = askActiveAfter
	}
	return min(askAtLeastEvery, max(soonest, now.Sub(i.Opened)))
}

// sweepVerdictsArgs is the job of having providers asked again.
type sweepVerdictsArgs struct{}

func (sweepVerdictsArgs) Kind() string { return "sweep_verdicts" }

func (sweepVerdictsArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueSweep, UniqueOpts: oneAtATime}
}

type sweepVerdictsWorker struct {
	river.WorkerDefaults[sweepVerdictsArgs]
	app *App
}

// Work makes a job for each incident that is due.
func (w sweepVerdictsWorker) Work(ctx context.Context, _ *river.Job[sweepVerdictsArgs]) error {
	a := w.app
	due, err := a.store.DueIncidents(ctx, a.now(), maxDue)
	if err != nil {
		return err
	}
	a.metrics.swept("verdicts", len(due))
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		for _, id := range due {
			if err := tx.EnqueueOnce(ctx, recheckArgs{Incident: id}); err != nil {
				return err
			}
		}
		return nil
	})
}

// recheckArgs is the job of asking a provider again about one incident's credential.
type recheckArgs struct {
	Incident string `json:"incident" river:"unique"`
}

func (recheckArgs) Kind() string { return "recheck" }

func (recheckArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueRecheck, UniqueOpts: oneAtATime}
}

type recheckWorker struct {
	river.WorkerDefaults[recheckArgs]
	app *App
}

func (w recheckWorker) Work(ctx context.Context, job *river.Job[recheckArgs]) error {
	_, err := w.app.Recheck(ctx, job.Args.Incident)
	if errors.Is(err, ErrNoRecheck) || errors.Is(err, store.ErrNotFound) {
		return nil // something else has become of it
	}
	return err
}

// ErrNoRecheck reports an incident about which nobody is asked again: it is not open,
// something is being done about it, or its credential is not kept.
var ErrNoRecheck = errors.New("nobody is asked about it again")

// Recheck asks the provider about an open incident's credential now, whatever it said
// before, or about another account's with the same secret once that is over. It records
// what it says: the incident, its checks and what is done about it follow. It returns
// that verdict.
func (a *App) Recheck(ctx context.Context, id string) (provider.Verdict, error) {
	i, err := a.store.Incident(ctx, id)
	if err != nil {
		return provider.Verdict{}, err
	}
	if i.State() == incident.Resolved {
		return a.recheckOther(ctx, i)
	}
	cred, err := a.store.Unseal(ctx, id, store.Leaked)
	if errors.Is(err, store.ErrErased) || err == nil && !a.recheckable(i) {
		return provider.Verdict{}, errors.Join(ErrNoRecheck, a.notDue(ctx, id))
	}
	if err != nil {
		return provider.Verdict{}, err
	}
	policies, err := a.policiesOf(ctx, id)
	if err != nil {
		return provider.Verdict{}, err
	}
	v, err := a.verifyAgain(ctx, i, cred)
	if err := errors.Join(err, ctx.Err()); err != nil {
		return v, err
	}
	return v, a.store.InTx(ctx, func(tx *store.Tx) error { return a.recordRecheck(ctx, tx, id, cred, v, policies) })
}

// recheckable reports whether a verdict can still change what becomes of an incident.
func (a *App) recheckable(i store.Incident) bool {
	return i.State() == incident.Open && i.Verb == "" && i.Validity != checks.Inactive && a.rules[i.Rule] != nil
}

// notDue keeps an incident that is not to be asked about from being due. Of what is
// being done about it something may be left to ask.
func (a *App) notDue(ctx context.Context, id string) error {
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		i, err := tx.Incident(ctx, id)
		if err != nil {
			return err
		}
		i.AskAgain = noTime
		if i.State() != incident.Resolved && i.Verb != "" {
			i.AskAgain = a.now().Add(askAtLeastEvery)
		}
		return tx.SaveIncident(ctx, i)
	})
}

// recordRecheck records a verdict about an incident that is as it was when the provider
// was asked.
func (a *App) recordRecheck(ctx context.Context, tx *store.Tx, id string, cred checks.Credential, v provider.Verdict, policies []Policy) error {
	i, err := tx.Incident(ctx, id)
	if err != nil || !a.recheckable(i) {
		return err
	}
	i.AskAgain = a.now().Add(askAfter(&i, a.now()))
	if v, err = a.doubt(ctx, tx, i.Fingerprint, v); err != nil {
		return err
	}
	changed, err := a.learn(ctx, tx, &i, scanArgs{}, v)
	if err != nil {
		return err
	}
	if !changed && tellUnheard(&i, v) {
		return errors.Join(tx.SaveIncident(ctx, i), a.enqueueReports(ctx, tx, i.ID))
	}
	if !changed {
		return tx.SaveIncident(ctx, i)
	}
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: "recheck incident", Subject: i.ID, Detail: verdictDetail(i, v)}); err != nil {
		return err
	}
	if i.Validity == checks.Inactive { // learn has told the checks
		i.AskAgain = noTime
		return errors.Join(tx.SaveIncident(ctx, i), tx.EraseSealed(ctx, i.ID))
	}
	return a.decideAgain(ctx, tx, &i, cred, policies)
}

// decideAgain decides by all policies what becomes of an incident of which something new
// is known.
func (a *App) decideAgain(ctx context.Context, tx *store.Tx, i *store.Incident, cred checks.Credential, policies []Policy) error {
	if err := tx.SaveIncident(ctx, *i); err != nil {
		return err
	}
	for _, p := range policies {
		if err := a.decide(ctx, tx, i, cred, p); err != nil {
			return err
		}
	}
	return a.enqueueReports(ctx, tx, i.ID)
}

// policiesOf are the policies of the checks that show an incident, and those that count
// for what others found.
func (a *App) policiesOf(ctx context.Context, id string) ([]Policy, error) {
	ids, err := a.store.ChecksOf(ctx, id)
	if err != nil {
		return nil, err
	}
	var all []Policy
	for _, check := range ids {
		p, err := a.policyOf(ctx, check)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	imported, err := a.importPolicies(ctx, id)
	return append(all, imported...), err
}

// askAgain has the providers of a check's incidents asked now.
func (a *App) askAgain(ctx context.Context, tx *store.Tx, incidents []store.Incident) error {
	for _, i := range incidents {
		if !a.recheckable(i) || i.AskAgain.IsZero() {
			continue
		}
		if err := tx.EnqueueOnce(ctx, recheckArgs{Incident: i.ID}); err != nil {
			return err
		}
	}
	return nil
}

// recontrolEvery is how often negative controls are looked at that do not hold any more.
const recontrolEvery = time.Minute

// recontrol repeats negative controls until ctx ends.
func (a *App) recontrol(ctx context.Context) {
	ticker := time.NewTicker(recontrolEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := a.providers.Recontrol(ctx); err != nil {
				a.log.ErrorContext(ctx, "a negative control cannot be made", "error", err)
			}
		}
	}
}
