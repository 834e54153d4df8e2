package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/intake"
	"github.com/stanch-dev/stanch/rules"
)

// A Scheduled is a credential that is replaced when it is of an age, though nobody has
// leaked it. Its old one lives on until those who use it have the new one.
type Scheduled struct {
	Secret string        `yaml:"secret"`          // the store and the path in it: "vault:secret/ci/deploy"
	Field  string        `yaml:"field,omitempty"` // that holds it, where the secret holds several credentials
	Rule   string        `yaml:"rule,omitempty"`  // of what kind it is, where its shape does not tell
	Every  time.Duration `yaml:"every"`
	// Overlap is false where nobody is waited for: the old one dies as soon as the new one works.
	Overlap *bool  `yaml:"overlap,omitempty"`
	Origin  Origin `yaml:"-"`
}

// leastEvery is the shortest age at which a credential is replaced. Providers, stores and
// those who read them take minutes to know a new one.
const leastEvery = time.Hour

// place is where a scheduled credential is kept.
func (s Scheduled) place() secretstore.Location {
	name, path, _ := strings.Cut(s.Secret, ":")
	return secretstore.Location{Store: name, Path: path}
}

// key names a scheduled credential in the database.
func (s Scheduled) key() string {
	if s.Field == "" {
		return s.Secret
	}
	return s.Secret + "#" + s.Field
}

func (s Scheduled) order() incident.Order {
	if s.Overlap != nil && !*s.Overlap {
		return incident.ReplaceFirst
	}
	return incident.Overlap
}

// checkSchedule refuses a schedule of secrets in stores that are not configured.
func (c Config) checkSchedule() error {
	for _, s := range c.Policy.Schedule {
		if !slices.ContainsFunc(c.SecretStores, func(known SecretStore) bool { return known.Name() == s.place().Store }) {
			return fmt.Errorf("%s: schedule: %s is in the secret store %s, which is not configured: configure it, or take the entry out", s.Origin, s.Secret, s.place().Store)
		}
	}
	return nil
}

const (
	// scheduler is who begins scheduled rotations, as the audit log names it.
	scheduler = "schedule"
	// verbFindDue is how the audit log calls it that a credential was old enough.
	verbFindDue = "find due"
)

// sweepScheduleArgs is the job of replacing what is due.
type sweepScheduleArgs struct{}

func (sweepScheduleArgs) Kind() string { return "sweep_schedule" }

func (sweepScheduleArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueSweep, UniqueOpts: oneAtATime}
}

type sweepScheduleWorker struct {
	river.WorkerDefaults[sweepScheduleArgs]
	app *App
}

// Work looks at each scheduled credential, and begins what is due. What cannot be, or not
// now, is told, and tried again by the next sweep.
func (w sweepScheduleWorker) Work(ctx context.Context, _ *river.Job[sweepScheduleArgs]) error {
	a, begun := w.app, 0
	for _, s := range a.cfg.Policy.Schedule {
		was, err := a.store.Schedule(ctx, s.key())
		if err != nil {
			return err
		}
		is, began, err := a.rotateIfDue(ctx, s, was)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		is.Checked, is.Problem = a.now(), ""
		if err != nil {
			is.Problem = a.scanner.Hide(err.Error())
		}
		if is.Problem != was.Problem && is.Problem != "" {
			a.log.WarnContext(ctx, "a scheduled rotation cannot be done", "secret", s.key(), "problem", is.Problem)
		}
		if err := a.store.InTx(ctx, func(tx *store.Tx) error { return tx.SaveSchedule(ctx, is) }); err != nil {
			return err
		}
		if began {
			begun++
		}
	}
	a.metrics.swept("schedule", begun)
	return nil
}

// rotateIfDue begins the rotation of a scheduled credential that is old enough.
func (a *App) rotateIfDue(ctx context.Context, s Scheduled, was store.Schedule) (is store.Schedule, begun bool, err error) {
	is = was
	found, err := a.scheduled(ctx, s)
	if err != nil {
		return is, false, err
	}
	if found.Fingerprint != was.Fingerprint {
		created, err := a.keptSince(ctx, s.place())
		if err != nil {
			return is, false, err
		}
		is.Fingerprint, is.Since, is.Incident = found.Fingerprint, created, ""
		if was.Fingerprint != "" && created.Before(was.Checked) { // by another clock: it was not there then
			is.Since = was.Checked
		}
	}
	if a.now().Before(is.Since.Add(s.Every)) {
		return is, false, nil
	}
	is.Incident, begun, err = a.beginScheduled(ctx, s, found)
	return is, begun, err
}

// scheduled reads a scheduled credential from its store.
func (a *App) scheduled(ctx context.Context, s Scheduled) (found checks.Finding, err error) {
	at := s.place()
	kept, err := a.secretStore(at.Store)
	if err != nil {
		return found, err
	}
	content, err := kept.Get(ctx, at)
	if err != nil {
		return found, err
	}
	var only *rules.Rule
	if s.Rule != "" {
		only = a.rules[s.Rule]
	}
	if found, err = intake.Kept(content.Fields, s.Field, a.scanner, only); err != nil {
		return found, fmt.Errorf("%s: %w", at, err)
	}
	// A scanner of one rule has a key of its own.
	found.Fingerprint = found.Credential.Secret().Fingerprint(a.cfg.Keys.Fingerprint)
	return found, nil
}

// keptSince is when the version of a secret that is current was written: now, where the
// store does not tell.
func (a *App) keptSince(ctx context.Context, at secretstore.Location) (time.Time, error) {
	kept, err := a.secretStore(at.Store)
	if err != nil {
		return time.Time{}, err
	}
	past, err := kept.History(ctx, at)
	if err != nil {
		return time.Time{}, err
	}
	if n := slices.IndexFunc(past, func(p secretstore.Past) bool { return p.Current && !p.Created.IsZero() }); n >= 0 {
		return past[n].Created, nil
	}
	return a.now(), nil
}

// beginScheduled begins the rotation of a credential that its provider takes, unless it
// goes on already or waits for a person.
func (a *App) beginScheduled(ctx context.Context, s Scheduled, found checks.Finding) (id string, begun bool, err error) {
	asked := a.now()
	v, err := a.providers.VerifyAgain(ctx, found.Credential)
	if err := errors.Join(err, ctx.Err()); err != nil {
		return "", false, err
	}
	if v.Validity != checks.Active {
		return "", false, fmt.Errorf("its provider does not say that it is live (%s): only what works is replaced by schedule", cmp.Or(v.Evidence.Answer, string(v.Validity)))
	}
	err = a.store.InTx(ctx, func(tx *store.Tx) error {
		i, _, err := a.openIncident(ctx, tx, scanArgs{Received: asked}, git.Leak{Finding: found}, v, byPeople, moments{asked, a.now()})
		if err != nil {
			return err
		}
		id = i.ID
		if err := a.mustBeAbout(ctx, tx, id, found.Credential); err != nil {
			return err
		}
		if i.Verb != "" || i.Stuck != "" {
			return nil
		}
		begun = true
		if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: scheduler, Verb: verbFindDue, Subject: id, Detail: map[string]string{
			"secret": s.key(), "every": s.Every.String(), "fingerprint": string(found.Fingerprint),
		}}); err != nil {
			return err
		}
		_, err = a.startFor(ctx, tx, &i, incident.Rotate, scheduler, "", a.cfg.Policy.scheduling(i.Rule, s.order()))
		return err
	})
	if err != nil {
		return "", false, err
	}
	return id, begun, a.whyWaits(ctx, id)
}

// whyWaits is an error if an incident waits for a person.
func (a *App) whyWaits(ctx context.Context, id string) error {
	i, err := a.store.Incident(ctx, id)
	if err == nil && i.Verb == "" && i.Stuck != "" {
		err = fmt.Errorf("incident %s waits for a person: %s", id, i.Stuck)
	}
	return err
}

// scheduling is the policy of a scheduled rotation: who wrote the schedule has agreed to
// it, and what cannot be replaced is not killed instead.
func (p Policy) scheduling(rule string, order incident.Order) Policy {
	p = p.ordering(rule, order)
	r := p.Rules[rule]
	r.WithoutReplacement = Ask
	p.Rules[rule] = r
	p.People.Approvals = 0
	return p
}

// ordering is the policy with another order for what a rule finds, if there is one.
func (p Policy) ordering(rule string, order incident.Order) Policy {
	r := p.Rules[rule]
	r.Order = cmp.Or(order, r.Order)
	p.Rules = maps.Clone(p.Rules)
	if p.Rules == nil {
		p.Rules = map[string]RulePolicy{}
	}
	p.Rules[rule] = r
	return p
}

// A ScheduleList is what the policy has rotated from time to time.
type ScheduleList struct {
	Schedule []TellScheduled `json:"schedule"`
}

// A TellScheduled is what is told of a scheduled credential. It holds no secret.
type TellScheduled struct {
	Secret   string     `json:"secret"`
	Field    string     `json:"field"`
	Rule     string     `json:"rule"` // that the policy names
	Every    string     `json:"every"`
	Overlap  bool       `json:"overlap"`
	Since    *time.Time `json:"since"`    // the credential that is there now is there since
	Due      *time.Time `json:"due"`      // when it is replaced
	Incident string     `json:"incident"` // of its replacement, once that has begun
	Problem  string     `json:"problem"`  // why it is not replaced, or cannot be; empty if it can
	Checked  *time.Time `json:"checked"`  // when that was looked at
}

func (a *App) listSchedule(r *http.Request) (any, error) {
	list := ScheduleList{Schedule: []TellScheduled{}}
	for _, s := range a.cfg.Policy.Schedule {
		known, err := a.store.Schedule(r.Context(), s.key())
		if err != nil {
			return nil, err
		}
		told := TellScheduled{
			Secret: s.Secret, Field: s.Field, Rule: s.Rule, Every: s.Every.String(), Overlap: s.order() == incident.Overlap,
			Since: passed(known.Since), Incident: known.Incident, Problem: known.Problem, Checked: passed(known.Checked),
		}
		if !known.Since.IsZero() {
			told.Due = passed(known.Since.Add(s.Every))
		}
		list.Schedule = append(list.Schedule, told)
	}
	return list, nil
}
