package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
)

const (
	// quietFor is how long the old credential of an overlap must not have been used. AWS
	// tells the last use of a key with a delay of up to four hours
	// (docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-last-accessed.html).
	quietFor = 4 * time.Hour
	// overlapFor is how long an overlap waits for the users of the old credential before a
	// person is asked.
	overlapFor = 48 * time.Hour
	// confirmWait is how often they are looked for.
	confirmWait = 5 * time.Minute
)

// confirm waits until nobody uses the old credential any more: its provider says so, if it
// knows of all uses, and so do those who are known to read it from its stores, or a person
// does. Who still needs it after overlapFor is a person's to find out.
func (r *remediation) confirm(ctx context.Context, i store.Incident) (result, error) {
	if !i.Confirmed.IsZero() {
		return result{detail: map[string]string{"confirmed": i.Approver}}, nil
	}
	if i.Order == incident.Rewrap {
		return result{}, r.waitForMoves(ctx, i)
	}
	put, err := r.putAtTime(ctx)
	if err != nil {
		return result{}, err
	}
	use, known, err := r.app.providers.LastUse(ctx, r.target(i))
	if err != nil {
		return result{}, fmt.Errorf("ask when the old credential was last used: %w", err)
	}
	ps, err := places(i)
	if err != nil {
		return result{}, err
	}
	waits, err := r.unsettled(ctx, ps)
	if err != nil {
		return result{}, err
	}
	since := r.app.now().Sub(put)
	if len(waits) == 0 && known && use.Partial == "" && since >= quietFor && use.At.Before(put) {
		return result{detail: map[string]string{"last_use": use.At.UTC().Format(time.RFC3339)}}, nil
	}
	if since < overlapFor {
		return result{}, r.unlessConfirmed(ctx, confirmWait)
	}
	text := strings.Join(append([]string{"of the old one, " + useText(use, known)}, waits...), "; ")
	return result{}, needPerson(fmt.Sprintf("The replacement is in its place since %s and both work: %s. Move who uses it to the replacement, then run “stanch incidents confirm %s”; “stanch incidents plan %[3]s” names whom Stanch knows of.",
		put.UTC().Format("2006-01-02 15:04:05 MST"), text, r.id))
}

// waitForMoves has a person say when nothing needs what leaked any more in its engine.
func (r *remediation) waitForMoves(ctx context.Context, i store.Incident) error {
	replacement, err := r.app.store.Unseal(ctx, r.id, store.Replacement)
	if err != nil {
		return err
	}
	moves := r.app.providers.Moves(r.target(i), replacement)
	if i.Reversible {
		return needPerson(fmt.Sprintf("A newer version has taken over, and the leaked ones decrypt still, so that nothing is lost. %s; then run “stanch incidents confirm %s”: they are refused from then on, which can be undone.", moves, r.id))
	}
	return needPerson(fmt.Sprintf("A new one has taken over in the engine, and the leaked one is there still, so that nothing is lost. %s; then run “stanch incidents confirm %s”: the engine deletes the leaked one, which cannot be undone.", moves, r.id))
}

// unlessConfirmed waits, unless the overlap was ended while its users were looked for.
func (r *remediation) unlessConfirmed(ctx context.Context, wait time.Duration) error {
	i, err := r.app.store.Incident(ctx, r.id)
	if err != nil {
		return err
	}
	if !i.Confirmed.IsZero() {
		wait = 0
	}
	return river.JobSnooze(wait)
}

// byLeak is who ends the overlap of a credential that leaks in it.
const byLeak = "leak"

// endOverlap lets the old credential of an overlap die now, because it has leaked: its
// users, who have the replacement or will look for it, are not waited for any more.
func (a *App) endOverlap(ctx context.Context, tx *store.Tx, i *store.Incident) error {
	if i.Order != incident.Overlap || i.Approver == "" || !i.Confirmed.IsZero() || !i.Dead.IsZero() || i.State() == incident.Resolved {
		return nil
	}
	done, err := tx.StepsDone(ctx, i.ID)
	if err != nil {
		return err
	}
	i.Confirmed = a.now()
	if i.Verb == "" && slices.Contains(done, incident.VerifyNew) { // it waited for a person
		i.Verb, i.Stuck = incident.Rotate, ""
	}
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: byLeak, Verb: "end overlap", Subject: i.ID, Detail: map[string]string{"approver": i.Approver}}); err != nil {
		return err
	}
	if err := tx.SaveIncident(ctx, *i); err != nil || i.Verb == "" {
		return err
	}
	err = tx.Restart(ctx, a.job(i.ID))
	if errors.Is(err, store.ErrRunning) {
		return nil // it looks once more before it waits
	}
	return err
}

// putAtTime is when the replacement was in its place.
func (r *remediation) putAtTime(ctx context.Context) (time.Time, error) {
	actions, err := r.app.store.Actions(ctx, r.id)
	if err != nil {
		return time.Time{}, err
	}
	for _, a := range actions {
		if a.Step == incident.Put {
			return a.Done, nil
		}
	}
	return time.Time{}, fmt.Errorf("incident %s: nothing was put anywhere", r.id)
}

// ErrNothingToConfirm reports an incident whose remedy does not wait for its users.
var ErrNothingToConfirm = errors.New("nothing waits for the users of this credential")

// Confirm says that nobody uses an incident's old credential any more.
func (a *App) Confirm(ctx context.Context, id, by, reason string) error {
	return a.order(ctx, id, by, "confirm", reason, func(_ *store.Tx, i *store.Incident, done []incident.Step) error {
		if !i.Order.Confirmed() || !slices.Contains(done, incident.VerifyNew) || slices.Contains(done, incident.Confirm) {
			return ErrNothingToConfirm
		}
		i.Verb, i.Stuck, i.Confirmed, i.Approver = incident.Rotate, "", a.now(), by
		return nil
	})
}
