package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
)

// A bypass lets the checks of one repository pass with one credential until it
// expires. Somebody answers for it by name and with a reason; the incident goes on.

// bypassable reports whether a person may ask that a check passes all the same:
// never with what its provider calls live, and not where nothing stops the check.
func (a *App) bypassable(i store.Incident, p Policy) bool {
	dead := !i.Dead.IsZero()
	harmless := i.Validity == checks.Inactive && !dead || i.Dismissed()
	return p.People.MayBypass() && (i.Validity != checks.Active || dead) && !harmless
}

// bypassFor grants a bypass, or records that somebody asked for one. A second
// person must agree where the policy says so, and wherever no reason was given.
// Those who brought the credential cannot be that second person.
func (a *App) bypassFor(ctx context.Context, tx *store.Tx, i store.Incident, check store.Check, o order) (why string, err error) {
	if !a.bypassable(i, o.policy) {
		return "it is live, or the policy does not allow it, or it stops no check", nil
	}
	asked, err := pending(ctx, tx, i, check, verbBypass)
	if err != nil {
		return "", err
	}
	alone := o.policy.People.Approvals == 0 && o.reason != "" && !o.confirms
	switch {
	case asked != nil && !asked.Granted.IsZero():
		return "there is a bypass already", nil
	case asked == nil && o.confirms:
		return "nobody asked for it", nil
	case asked == nil:
		if err := a.ask(ctx, tx, i, check, o); err != nil || !alone {
			return "", err
		}
		if asked, err = pending(ctx, tx, i, check, verbBypass); err != nil {
			return "", err
		}
	case alone:
		asked.Reason = o.reason
	case asked.Asker.Is(o.by):
		return "a second person must agree", nil
	case o.isAuthor():
		return "the author cannot approve it", nil
	default:
		if asked.Reason == "" {
			asked.Reason = o.reason
		}
		if err := a.agree(ctx, tx, asked, o); err != nil {
			return "", err
		}
	}
	return "", a.grant(ctx, tx, asked, o.policy.People.LongestBypass())
}

// isAuthor reports whether the order comes from somebody who brought the finding.
func (o order) isAuthor() bool {
	for _, p := range o.authors {
		if p.Is(o.by) {
			return true
		}
	}
	return false
}

// grant begins a bypass, with the job that ends it.
func (a *App) grant(ctx context.Context, tx *store.Tx, r *store.Request, long time.Duration) error {
	r.Granted = a.now()
	r.Expires = r.Granted.Add(long)
	if err := tx.SaveRequest(ctx, *r); err != nil {
		return err
	}
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: actor(r.Asker), Verb: "grant bypass", Subject: r.Incident, Detail: map[string]string{
		"reason": r.Reason, "until": r.Expires.UTC().Format(time.RFC3339), "approver": r.Approver.Login, "repository_id": fmt.Sprint(r.Repository),
	}}); err != nil {
		return err
	}
	return tx.Enqueue(ctx, expireArgs{Request: r.ID, At: r.Expires})
}

// authors are the people who brought what a check reports on: who pushed it or
// opened the pull request, and who, as far as GitHub knows, wrote the commits.
func (a *App) authors(ctx context.Context, inst *github.Installation, check store.Check) ([]github.Person, error) {
	scans, err := a.store.Scans(ctx, check.ID)
	if err != nil {
		return nil, err
	}
	var people []github.Person
	for _, s := range scans {
		var args scanArgs
		if err := json.Unmarshal(s.Job, &args); err != nil {
			return nil, fmt.Errorf("scan %s: %w", s.Delivery, err)
		}
		people = append(people, args.By)
	}
	occurrences, err := a.store.Occurrences(ctx, check.ID)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{"": true}
	for _, o := range occurrences {
		if seen[o.Commit] {
			continue
		}
		seen[o.Commit] = true
		wrote, err := inst.CommitAuthors(ctx, check.Repository, o.Commit)
		if err != nil && !errors.Is(err, github.ErrNotFound) && !errors.Is(err, github.ErrNoCommit) {
			return nil, err
		}
		people = append(people, wrote...)
	}
	return people, nil
}

// expireArgs is the job of ending a bypass, or a request that nobody agreed to.
type expireArgs struct {
	Request string    `json:"request"`
	At      time.Time `json:"at"`
}

func (expireArgs) Kind() string { return "expire" }

// InsertOpts lets the job wait for its time.
func (e expireArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{ScheduledAt: e.At} }

type expireWorker struct {
	river.WorkerDefaults[expireArgs]
	app *App
}

// Work ends a bypass: the checks that it let pass are red again. Of a request for
// something else, that something was done about it is the end.
func (w expireWorker) Work(ctx context.Context, job *river.Job[expireArgs]) error {
	a := w.app
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		r, err := tx.Request(ctx, job.Args.Request)
		if errors.Is(err, store.ErrNotFound) {
			return nil // its repository was erased
		}
		if err != nil || !r.Ended.IsZero() {
			return err
		}
		ends, verb := r.Expires, "expire bypass"
		if r.Granted.IsZero() {
			ends, verb = r.Asked.Add(waitsFor), "expire request"
		} else if r.Verb != verbBypass {
			return nil
		}
		if wait := ends.Sub(a.now()); wait > 0 {
			return river.JobSnooze(wait)
		}
		r.Ended = a.now()
		if err := tx.SaveRequest(ctx, r); err != nil {
			return err
		}
		if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: verb, Subject: r.Incident,
			Detail: map[string]string{"request": r.ID, "verb": r.Verb}}); err != nil {
			return err
		}
		return a.enqueueReports(ctx, tx, r.Incident)
	})
}

// wishes puts what people asked for about an incident into its leak.
func (a *App) wishes(ctx context.Context, check store.Check, i store.Incident, leak *report.Leak) error {
	open, err := a.store.OpenRequests(ctx, i.ID, check.Repository.ID)
	if err != nil {
		return err
	}
	for _, r := range open {
		switch {
		case r.Granted.IsZero():
			leak.Asked = append(leak.Asked, report.Request{Verb: r.Verb, By: r.Asker.Login, Reason: r.Reason, Until: r.Asked.Add(waitsFor)})
		case r.Verb == verbBypass && r.Expires.After(a.now()):
			leak.Bypass = &report.Bypass{By: r.Asker.Login, Approver: r.Approver.Login, Reason: r.Reason, Until: r.Expires}
		}
	}
	return nil
}
