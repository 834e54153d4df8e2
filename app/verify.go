package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

// verifyAtOnce bounds the providers' answers that one scan waits for at the same
// time. maxFindings bounds how many it asks for.
const verifyAtOnce = 8

// moments are when leaks were found, and when their providers had been asked.
type moments struct{ detected, verified time.Time }

// verify asks the providers about what was found. What was live before since, when the
// occasion came about, may have been ended by then.
func (a *App) verify(ctx context.Context, leaks []judged, since time.Time) (provider.VerdictOf, moments, error) {
	at := moments{detected: a.now()}
	findings := make([]checks.Finding, len(leaks))
	for n, l := range leaks {
		findings[n] = l.Finding
	}
	verdict, err := a.providers.VerifyAll(ctx, findings, since, verifyAtOnce)
	at.verified = a.now()
	return verdict, at, err
}

// openIncident finds or makes the incident of a leak, brings it up to date with
// the verdict, and decides what is to be done. It reports whether there was none.
func (a *App) openIncident(ctx context.Context, tx *store.Tx, s scanArgs, leak git.Leak, v provider.Verdict, p Policy, at moments) (i store.Incident, opened bool, err error) {
	if v, err = a.doubt(ctx, tx, leak.Fingerprint, v); err != nil {
		return i, false, err
	}
	evidence, err := json.Marshal(v.Evidence)
	if err != nil {
		return i, false, err
	}
	if v.Validity == checks.Unknown {
		at.verified = noTime // nobody could tell
	}
	i, opened, err = tx.OpenIncident(ctx, store.Incident{
		Incident: incident.Incident{
			Fingerprint: leak.Fingerprint, Rule: leak.Rule.ID, Redacted: leak.Redacted, Validity: v.Validity, Opened: a.now(),
		},
		Grade: string(v.Grade), Evidence: evidence,
		Pushed: s.Pushed, Received: s.Received, Detected: at.detected, Verified: at.verified,
	})
	other := false
	if err == nil && !opened {
		other, err = a.ofOther(ctx, tx, i, leak.Credential, v)
	}
	verb, changed := "open incident", opened
	if err == nil && !opened && !other {
		verb = "update incident"
		changed, err = a.learn(ctx, tx, &i, s, v)
		if i.State() == incident.Open && i.Verb == "" && a.betterKind(i.Rule, leak.Rule.ID) {
			i.Rule, i.Redacted, changed = leak.Rule.ID, leak.Redacted, true
		}
	}
	if err != nil {
		return i, false, err
	}
	if changed {
		detail := verdictDetail(i, v)
		detail["repository"], detail["commit"] = s.Repository.FullName(), leak.Commit
		if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: verb, Subject: i.ID, Detail: detail}); err != nil {
			return i, false, err
		}
	}
	if s.Delivery != "" {
		if err := a.endOverlap(ctx, tx, &i); err != nil {
			return i, false, err
		}
	}
	if other || leak.Rule.ID != i.Rule { // its credential is of a kind about which nobody can be asked
		return i, opened, tx.SaveIncident(ctx, i)
	}
	err = a.decide(ctx, tx, &i, leak.Credential, p)
	return i, opened, err
}

// betterKind says that somebody can be asked about one kind of credential and not about
// another one, as which the same value was found: something with a name that sounds like
// a secret's.
func (a *App) betterKind(known, found string) bool {
	return known != found && !a.providers.Can(known).Verify && a.providers.Can(found).Verify
}

// verdictDetail is what the audit log keeps of a verdict about an incident.
func verdictDetail(i store.Incident, v provider.Verdict) map[string]string {
	return map[string]string{
		"fingerprint": string(i.Fingerprint), "rule": i.Rule, "validity": string(v.Validity), "grade": string(v.Grade),
		"request": v.Evidence.Request, "answer": v.Evidence.Answer, "control": v.Evidence.Control,
	}
}

// doubt makes unknown what a verdict does not really say: nothing about a
// credential that was not asked about, and nothing about other hosts when only an
// installation of the operator's refused one that it never took for live.
func (a *App) doubt(ctx context.Context, tx *store.Tx, fp checks.Fingerprint, v provider.Verdict) (provider.Verdict, error) {
	if v.Validity == checks.Unverified {
		v.Validity, v.Grade = checks.Unknown, provider.GradeC
	}
	if v.Validity != checks.Inactive || !v.SelfHosted {
		return v, nil
	}
	i, err := tx.IncidentOf(ctx, fp)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return v, err
	}
	if v = a.providers.About(v, identity(i)); v.Validity != checks.Inactive {
		return v, nil
	}
	if i.Validity != checks.Active {
		v.Validity, v.Grade = checks.Unknown, provider.GradeC
		v.Evidence.Answer += "; it may be another host's"
	}
	return v, nil
}

// learn brings an incident up to date with a newer verdict and reports whether
// that changed anything.
func (a *App) learn(ctx context.Context, tx *store.Tx, i *store.Incident, s scanArgs, v provider.Verdict) (changed bool, err error) {
	again, err := a.begunAnew(ctx, tx, i, s, v)
	switch {
	case err != nil:
		return false, err
	case again:
		i.Reopen()
		i.Verb, i.Stored = "", nil
		i.Pushed, i.Received, i.Detected, i.Verified = s.Pushed, s.Received, a.now(), noTime
		if err := errors.Join(tx.DropActions(ctx, i.ID), tx.EraseSealed(ctx, i.ID)); err != nil {
			return false, err
		}
	case i.State() != incident.Open, i.Verb != "", v.Validity == checks.Unknown:
		return false, nil
	case v.Validity == checks.Inactive && i.Validity != checks.Inactive:
		i.FoundDead(v.Evidence.At)
		i.Verified = firstOf(i.Verified, a.now())
		return true, a.enqueueReports(ctx, tx, i.ID)
	case v.Validity == i.Validity && string(v.Grade) == i.Grade:
		return false, nil
	}
	i.Verified = firstOf(i.Verified, a.now())
	i.Validity, i.Grade = v.Validity, string(v.Grade)
	i.Evidence, err = json.Marshal(v.Evidence)
	return true, err
}

// firstOf is when something came about for the first time: before, or else now.
func firstOf(before, now time.Time) time.Time {
	if before.IsZero() {
		return now
	}
	return before
}

// begunAnew reports whether an incident that has ended is open again: the
// credential was found live after it ended, whatever a person said of it; or it
// was dismissed in another repository, whose people do not speak for this one; or
// what was said in this one has ended.
func (a *App) begunAnew(ctx context.Context, tx *store.Tx, i *store.Incident, s scanArgs, v provider.Verdict) (bool, error) {
	switch {
	case i.State() != incident.Resolved:
		return false, nil
	case v.Validity == checks.Active:
		return v.Evidence.At.After(i.Resolved), nil // else it was asked before it was dead
	case !i.Dismissed(), s.Repository.ID == 0: // of no repository
		return false, nil
	}
	known, err := tx.RepositoriesOf(ctx, i.ID)
	if err != nil || !slices.Contains(known, s.Repository.ID) {
		return true, err
	}
	allowed, err := tx.Allowances(ctx, s.Installation, s.Repository.ID)
	said, ok := allowed[i.Fingerprint]
	return ok && !a.now().Before(said.Expires), err
}

// decide keeps what is needed to ask again about a credential and to act on it, and
// starts to act where the policy and the evidence allow it without a person.
func (a *App) decide(ctx context.Context, tx *store.Tx, i *store.Incident, cred checks.Credential, p Policy) error {
	remedy, can := p.For(i.Rule), a.providers.Can(i.Rule)
	switch {
	case i.State() != incident.Open || i.Verb != "" || remedy.Remediation == Observe || !can.Revoke && !can.Verify:
		return tx.SaveIncident(ctx, *i)
	case i.Validity == checks.Inactive:
		i.AskAgain = noTime
		return errors.Join(tx.SaveIncident(ctx, *i), tx.EraseSealed(ctx, i.ID))
	}
	if err := tx.Seal(ctx, i.ID, store.Leaked, cred); err != nil {
		return err
	}
	if can.Verify && i.AskAgain.IsZero() {
		i.AskAgain = a.now().Add(askAfter(i, a.now()))
	}
	if !can.Revoke {
		return tx.SaveIncident(ctx, *i)
	}
	if a.isOwn(*i) {
		i.Stuck = todoOwn
	}
	tried, err := tx.Actions(ctx, i.ID)
	if err != nil {
		return err
	}
	// What was begun, or waits for a person, is not begun again without one.
	if remedy.Remediation == Automatic && i.Validity == checks.Active && i.Grade == string(provider.GradeA) && i.Stuck == "" && len(tried) == 0 {
		return a.approveAutomatically(ctx, tx, i, p)
	}
	return tx.SaveIncident(ctx, *i)
}

// approveAutomatically starts a remediation without a person, unless there were too
// many of them in the last hour.
func (a *App) approveAutomatically(ctx context.Context, tx *store.Tx, i *store.Incident, p Policy) error {
	begun, err := tx.AutomaticSince(ctx, a.now().Add(-time.Hour))
	if err != nil {
		return err
	}
	if begun < p.PerHour() {
		return a.approve(ctx, tx, i, incident.Rotate, byPolicy, p)
	}
	i.Stuck = fmt.Sprintf("%d remediations began by themselves within an hour, which is as many as the policy allows (automatic_per_hour). Look whether they were right, then press Rotate now.", begun)
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: "leave remediation", Subject: i.ID, Detail: map[string]string{
		"begun": fmt.Sprint(begun), "automatic_per_hour": fmt.Sprint(p.PerHour()),
	}}); err != nil {
		return err
	}
	return tx.SaveIncident(ctx, *i)
}

// reversible says whether what is done to an incident's credential can be taken back.
func (a *App) reversible(i store.Incident) bool {
	return a.providers.Reversible(provider.Target{Credential: checks.Credential{Rule: i.Rule}, Identity: identity(i)})
}

// orderOf is the order in which an incident's credential is rotated: the policy's, unless
// that would lose the data that it has encrypted.
func (a *App) orderOf(i store.Incident, remedy Remedy) incident.Order {
	if a.moves(i) != "" {
		return incident.Rewrap
	}
	return remedy.Order
}

// moves is what is to be done before an incident's credential ends, where its replacement
// is a newer version in an engine.
func (a *App) moves(i store.Incident) string {
	return a.providers.Moves(provider.Target{Credential: checks.Credential{Rule: i.Rule}, Identity: identity(i)}, checks.Credential{})
}

// byPolicy is the actor of what nobody ordered.
const byPolicy = "policy"

const todoOwn = "This is Stanch's own credential, which it will not kill: give Stanch another one, restart it, and press Rotate now."

// isOwn reports whether Stanch itself lives on the leaked credential.
func (a *App) isOwn(i store.Incident) bool { return slices.Contains(a.cfg.Own, i.Fingerprint) }

// approve starts a remediation on somebody's word. If its every step was done by
// one that was abandoned, it is over.
func (a *App) approve(ctx context.Context, tx *store.Tx, i *store.Incident, verb incident.Verb, actor string, p Policy) error {
	remedy := p.For(i.Rule)
	i.Remedy = incident.Remedy{Verb: verb, Order: a.orderOf(*i, remedy), Reversible: a.reversible(*i)}
	i.WithoutReplacement, i.Adopt, i.Stuck = string(remedy.WithoutReplacement), remedy.Adopt, ""
	i.Approver, i.Approved, i.Hold, i.Held, i.Confirmed = actor, a.now(), remedy.HoldFor(), noTime, noTime
	done, err := tx.StepsDone(ctx, i.ID)
	if err != nil {
		return err
	}
	over := i.ResolveIfDone(i.Plan(done), done, a.now())
	if err := tx.SaveIncident(ctx, *i); err != nil {
		return err
	}
	if err := tx.EndRequests(ctx, i.ID, a.now(), verbRotate, verbRevoke); err != nil {
		return err
	}
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: actor, Verb: "approve " + string(verb), Subject: i.ID,
		Detail: map[string]string{"order": string(i.Order)}}); err != nil || over {
		return err
	}
	return tx.Enqueue(ctx, a.job(i.ID))
}
