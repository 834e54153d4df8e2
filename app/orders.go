package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// An Ordered is what became of an order that came over the API.
type Ordered struct {
	Incident *WholeIncident `json:"incident"`
	// Waits says that somebody else must agree first; nothing is done until then.
	Waits string `json:"waits"`
}

// ofNoRepository is the repository of requests that came over the API: their callers are
// of none, and agree among themselves.
const ofNoRepository = 0

// policyForPeople is the policy by which people at the API decide: the operator's, as
// strict as that of every check that shows the incident. A repository in which others
// found it, and that can be asked now, is not: who calls speaks for the operator.
func (a *App) policyForPeople(ctx context.Context, id string) (Policy, error) {
	ids, err := a.store.ChecksOf(ctx, id)
	if err != nil {
		return Policy{}, err
	}
	policy := a.cfg.Policy
	var strict []Policy
	for _, check := range ids {
		p, err := a.policyOf(ctx, check)
		if err != nil {
			return Policy{}, err
		}
		policy = p.guarded(append(strict, a.cfg.Policy))
		strict = append(strict, p)
	}
	return policy, nil
}

func (a *App) approveIncident(r *http.Request) (any, error) {
	var call struct {
		Verb   incident.Verb `json:"verb"`
		Reason string        `json:"reason"`
	}
	if err := readCall(r, &call); err != nil {
		return nil, err
	}
	if err := checkVerb(call.Verb); err != nil {
		return nil, err
	}
	return a.orderRemediation(r.Context(), r.PathValue("id"), call.Verb, "", call.Reason)
}

// checkVerb refuses what can be ordered of no incident.
func checkVerb(verb incident.Verb) error {
	if verb != incident.Rotate && verb != incident.Revoke {
		return &refusal{http.StatusBadRequest, "verb is rotate or revoke"}
	}
	return nil
}

// A remediation ends a moment after it has said so. An order that comes in between waits.
const (
	endingAttempts = 50
	endingPause    = 100 * time.Millisecond
)

// whenIdle gives an order, and gives it again for a while where a remediation is about to end.
func whenIdle(order func() error) error {
	for attempt := 0; ; attempt++ {
		err := order()
		if busy := errors.Is(err, store.ErrRunning) || errors.Is(err, ErrBusy); !busy || attempt == endingAttempts {
			return err
		}
		time.Sleep(endingPause)
	}
}

// policyForOrder is the policy for people with the order that a caller wants, empty for
// the policy's own. What has leaked does not live on until its users have moved.
func (a *App) policyForOrder(ctx context.Context, i store.Incident, order incident.Order) (Policy, error) {
	policy, err := a.policyForPeople(ctx, i.ID)
	if err != nil || order != incident.Overlap {
		return policy.ordering(i.Rule, order), err
	}
	found, _, err := a.foundIn(ctx, i.ID)
	if err != nil {
		return policy, err
	}
	imported, err := a.store.ImportsOf(ctx, i.ID)
	if len(found)+len(imported) > 0 {
		return policy, &refusal{http.StatusConflict, fmt.Sprintf("incident %s: it has leaked, so that it cannot live on in an overlap: order replace_first or revoke_first", i.ID)}
	}
	return policy.ordering(i.Rule, order), err
}

// orderRemediation has a remediation begun on a caller's word.
func (a *App) orderRemediation(ctx context.Context, id string, verb incident.Verb, order incident.Order, reason string) (*Ordered, error) {
	known, err := a.store.Incident(ctx, id)
	if err != nil {
		return nil, err
	}
	policy, err := a.policyForOrder(ctx, known, order)
	if err != nil {
		return nil, err
	}
	a.ordered.Store(id, true)
	by, done := callerOf(ctx), &Ordered{}
	reason = cutReason(a.scanner.Hide(reason)) // people paste anything
	begin := func(tx *store.Tx) error {
		i, err := tx.Incident(ctx, id)
		if err != nil {
			return err
		}
		done.Waits, err = a.startFor(ctx, tx, &i, verb, by, reason, policy)
		return err
	}
	if err := whenIdle(func() error { return a.store.InTx(ctx, begin) }); err != nil {
		return nil, err
	}
	done.Incident, err = a.wholeIncident(ctx, id)
	return done, err
}

// startFor starts a remediation, or records that the caller asked for it where somebody else
// must agree. Nothing is ordered twice.
func (a *App) startFor(ctx context.Context, tx *store.Tx, i *store.Incident, verb incident.Verb, by, reason string, p Policy) (waits string, err error) {
	switch {
	case i.Verb == verb && i.State() != incident.Resolved:
		return "", a.takeOver(ctx, tx, i.ID) // it is under way
	case i.Verb != "" && i.State() != incident.Resolved:
		return "", &refusal{http.StatusConflict, fmt.Sprintf("incident %s: another remediation is under way (%s): wait until it has ended or waits for a person", i.ID, i.Verb)}
	case !a.actionable(*i, p):
		return "", &refusal{http.StatusConflict, fmt.Sprintf("incident %s: nothing can be done about it now: %s", i.ID, a.whyNotNow(*i, p))}
	}
	if p.People.Approvals > 0 {
		if waits, err = a.agreed(ctx, tx, i, verb, by, reason); err != nil || waits != "" {
			return waits, err
		}
	}
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: by, Verb: "order " + string(verb), Subject: i.ID, Detail: detailOf("reason", reason)}); err != nil {
		return "", err
	}
	// A person has looked: an unknown outcome is settled.
	if err := tx.ForgetAttempts(ctx, i.ID, incident.Issue); err != nil {
		return "", err
	}
	if err := a.approve(ctx, tx, i, verb, by, p); err != nil {
		return "", err
	}
	return "", a.enqueueReports(ctx, tx, i.ID)
}

// detailOf is the detail of an audit entry, without what is empty.
func detailOf(name, text string) map[string]string {
	if text == "" {
		return map[string]string{}
	}
	return map[string]string{name: text}
}

// agreed finds out whether two callers want a remediation: it is empty if so, and else
// says for whom it waits. The name that a caller gives counts as one person.
func (a *App) agreed(ctx context.Context, tx *store.Tx, i *store.Incident, verb incident.Verb, by, reason string) (waits string, err error) {
	if by == apiActor {
		return "", &refusal{http.StatusForbidden, "the policy wants two people: say who calls, in the header " + CallerHeader + " (STANCH_CALLER)"}
	}
	open, err := tx.OpenRequests(ctx, i.ID, ofNoRepository)
	if err != nil {
		return "", err
	}
	n := slices.IndexFunc(open, func(r store.Request) bool { return r.Verb == string(verb) })
	caller := github.Person{Login: by}
	switch {
	case n >= 0 && open[n].Asker.Is(caller):
		return "somebody else than " + by + " must agree, by the same order: nothing is done before", nil
	case n >= 0:
		r := open[n]
		r.Approver, r.Granted = caller, a.now()
		if err := tx.SaveRequest(ctx, r); err != nil {
			return "", err
		}
		return "", tx.Audit(ctx, audit.Entry{At: a.now(), Actor: by, Verb: "agree " + r.Verb, Subject: i.ID,
			Detail: map[string]string{"asker": r.Asker.Login, "reason": r.Reason}})
	}
	r, err := tx.AddRequest(ctx, store.Request{Incident: i.ID, Repository: ofNoRepository, Verb: string(verb), Reason: reason, Asker: caller, Asked: a.now()})
	if err != nil {
		return "", err
	}
	if err := tx.Enqueue(ctx, expireArgs{Request: r.ID, At: r.Asked.Add(waitsFor)}); err != nil {
		return "", err
	}
	return "the policy wants two people: somebody else than " + by + " must agree within a week, by the same order",
		tx.Audit(ctx, audit.Entry{At: a.now(), Actor: by, Verb: "ask " + r.Verb, Subject: i.ID, Detail: detailOf("reason", reason)})
}

// whyNotNow says why nothing can be done about an incident now.
func (a *App) whyNotNow(i store.Incident, p Policy) string {
	switch {
	case i.State() == incident.Resolved:
		return fmt.Sprintf("it is resolved (%s)", i.Resolution)
	case i.Validity == checks.Inactive:
		return "its provider refuses it already"
	case p.For(i.Rule).Remediation == Observe:
		return "the policy says observe: change remediation there first"
	case a.isOwn(i):
		return todoOwn
	}
	return a.byHandOnly(i.Rule)
}

// A reasoned is the body of the calls that need nothing but a reason.
type reasoned struct {
	Reason string `json:"reason"`
}

// readReason reads the body of a call that needs a reason.
func (a *App) readReason(r *http.Request) (string, error) {
	var call reasoned
	if err := readCall(r, &call); err != nil {
		return "", err
	}
	if strings.TrimSpace(call.Reason) == "" {
		return "", &refusal{http.StatusBadRequest, "give a reason, for those who read the audit log"}
	}
	return cutReason(a.scanner.Hide(call.Reason)), nil
}

// change answers a call that changes what goes on with an incident.
func (a *App) change(do func(ctx context.Context, id, by, reason string) error) answerer {
	return func(r *http.Request) (any, error) {
		ctx, id := r.Context(), r.PathValue("id")
		reason, err := a.readReason(r)
		if err != nil {
			return nil, err
		}
		a.ordered.Store(id, true)
		err = whenIdle(func() error { return do(ctx, id, callerOf(ctx), reason) })
		for _, why := range []error{ErrNoUndo, ErrNoHold, ErrNothingToConfirm, ErrBusy} {
			if errors.Is(err, why) {
				return nil, &refusal{http.StatusConflict, fmt.Sprintf("incident %s: %v", id, err)}
			}
		}
		if err != nil {
			return nil, err
		}
		whole, err := a.wholeIncident(ctx, id)
		return &Ordered{Incident: whole}, err
	}
}

// A HaltTold says whether all remediations are halted, by whom and why.
type HaltTold struct {
	Halted bool       `json:"halted"`
	By     string     `json:"by"`
	Reason string     `json:"reason"`
	At     *time.Time `json:"at"`
}

func (a *App) showHalt(r *http.Request) (any, error) {
	halt, err := a.store.Halted(r.Context())
	if err != nil || halt == nil {
		return HaltTold{}, err
	}
	return HaltTold{true, halt.By, halt.Reason, passed(halt.At)}, nil
}

// halting answers a call that stops all remediations, or lets them go on.
func (a *App) halting(do func(ctx context.Context, by, reason string) error) answerer {
	return func(r *http.Request) (any, error) {
		reason, err := a.readReason(r)
		if err != nil {
			return nil, err
		}
		if err := do(r.Context(), callerOf(r.Context()), reason); err != nil {
			return nil, err
		}
		return a.showHalt(r)
	}
}

func (a *App) resolveIncident(r *http.Request) (any, error) {
	ctx, id := r.Context(), r.PathValue("id")
	var call struct {
		Resolution incident.Resolution `json:"resolution"`
		Reason     string              `json:"reason"`
	}
	if err := readCall(r, &call); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains(incident.Resolutions(), call.Resolution):
		return nil, &refusal{http.StatusBadRequest, "resolution is false_positive, used_in_tests, wont_fix or revoked"}
	case strings.TrimSpace(call.Reason) == "":
		return nil, &refusal{http.StatusBadRequest, "give a reason, for those who read the audit log"}
	}
	// What its provider says now counts more than anybody's word.
	if _, err := a.Recheck(ctx, id); err != nil && !errors.Is(err, ErrNoRecheck) {
		return nil, err
	}
	provable := true
	if call.Resolution == incident.ResolutionRevoked {
		var err error
		if provable, err = a.provable(ctx, id); err != nil {
			return nil, err
		}
	}
	reason := cutReason(a.scanner.Hide(call.Reason))
	if err := a.store.InTx(ctx, func(tx *store.Tx) error {
		return a.resolve(ctx, tx, id, call.Resolution, provable, callerOf(ctx), reason)
	}); err != nil {
		return nil, err
	}
	whole, err := a.wholeIncident(ctx, id)
	return &Ordered{Incident: whole}, err
}

// resolve ends an incident on a caller's word, which then counts in its repositories as
// that of their own people does.
func (a *App) resolve(ctx context.Context, tx *store.Tx, id string, as incident.Resolution, provable bool, by, reason string) error {
	i, err := tx.Incident(ctx, id)
	if err != nil {
		return err
	}
	if i.State() == incident.Resolved && i.Resolution == as {
		return nil // it is, perhaps since the provider was asked a moment ago
	}
	if i.Verb != "" && i.State() != incident.Resolved {
		return &refusal{http.StatusConflict, fmt.Sprintf("incident %s: a remediation is under way (%s): wait until it has ended or waits for a person", id, i.Verb)}
	}
	if err := i.Resolve(as, provable, a.now()); err != nil {
		return &refusal{http.StatusConflict, err.Error()}
	}
	if err := tx.SaveIncident(ctx, i); err != nil {
		return err
	}
	if err := tx.EndRequests(ctx, id, a.now(), verbRotate, verbRevoke, verbBypass); err != nil {
		return err
	}
	if err := a.allowWhereFound(ctx, tx, i, by, reason); err != nil {
		return err
	}
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: by, Verb: "resolve", Subject: id,
		Detail: map[string]string{"resolution": string(as), "reason": reason}}); err != nil {
		return err
	}
	return a.enqueueReports(ctx, tx, id)
}

// allowWhereFound lets the checks of an incident's repositories pass with it, for as long
// as what a person calls no secret counts.
func (a *App) allowWhereFound(ctx context.Context, tx *store.Tx, i store.Incident, by, reason string) error {
	known, err := tx.RepositoriesOf(ctx, i.ID)
	if err != nil {
		return err
	}
	for _, id := range known {
		repository, err := tx.Repository(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := tx.Allow(ctx, store.Allowance{Installation: repository.Installation, Repository: id, Fingerprint: i.Fingerprint,
			Reason: reason, Owner: by, Made: a.now(), Expires: a.now().Add(allowedFor)}); err != nil {
			return err
		}
	}
	return nil
}
