package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/intake"
	"github.com/stanch-dev/stanch/rules"
)

// A Handed is a credential that a person hands over to have it revoked or rotated.
type Handed struct {
	// Rule says of what kind it is; needed with Parts, and where Text holds several kinds.
	Rule string `json:"rule"`
	// Text is what the credential stands in, or Parts are its parts by name.
	Text  string            `json:"text,omitempty"`
	Parts map[string]string `json:"parts,omitempty"`
	Verb  incident.Verb     `json:"verb"`
	// Order is that of a rotation; empty, it is the policy's. Overlap is for what has not leaked.
	Order  incident.Order `json:"order,omitempty"`
	Reason string         `json:"reason"`
	// DryRun tells the plan, and changes and records nothing.
	DryRun bool `json:"dry_run"`
}

// verbHandOver is how the audit log calls it that a credential was handed over.
const verbHandOver = "hand over"

// byPeople lets nothing be done about a credential that was handed over but by people.
var byPeople = Policy{Remedy: Remedy{Remediation: Ask}}

func (a *App) remediate(r *http.Request) (any, error) {
	ctx := r.Context()
	var call Handed
	if err := readCall(r, &call); err != nil {
		return nil, err
	}
	if err := errors.Join(checkVerb(call.Verb), call.checkOrder()); err != nil {
		return nil, err
	}
	found, err := a.handed(call)
	if err != nil {
		return nil, &refusal{http.StatusUnprocessableEntity, a.scanner.Hide(err.Error())}
	}
	asked := a.now()
	v, err := a.providers.VerifyAgain(ctx, found.Credential)
	if err := errors.Join(err, ctx.Err()); err != nil {
		return nil, err
	}
	answered := a.now()
	if call.DryRun {
		return a.planHanded(ctx, found, v, call)
	}
	var id string
	if err := a.store.InTx(ctx, func(tx *store.Tx) error {
		i, _, err := a.openIncident(ctx, tx, scanArgs{Received: asked}, git.Leak{Finding: found}, v, byPeople, moments{asked, answered})
		if err != nil {
			return err
		}
		id = i.ID
		if err := a.mustBeAbout(ctx, tx, id, found.Credential); err != nil {
			return err
		}
		return tx.Audit(ctx, audit.Entry{At: a.now(), Actor: callerOf(ctx), Verb: verbHandOver, Subject: id, Detail: map[string]string{
			"verb": string(call.Verb), "rule": found.Rule.ID, "fingerprint": string(found.Fingerprint),
		}})
	}); err != nil {
		return nil, err
	}
	i, err := a.store.Incident(ctx, id)
	if err != nil {
		return nil, err
	}
	if i.State() == incident.Resolved || i.Validity == checks.Inactive {
		whole, err := a.wholeIncident(ctx, id)
		return &Ordered{Incident: whole}, err // there is nothing to do
	}
	return a.orderRemediation(ctx, id, call.Verb, call.Order, call.Reason)
}

// checkOrder refuses an order that a rotation cannot have.
func (h Handed) checkOrder() error {
	orders := []incident.Order{"", incident.ReplaceFirst, incident.RevokeFirst, incident.Overlap}
	switch {
	case !slices.Contains(orders, h.Order):
		return &refusal{http.StatusBadRequest, "order is replace_first, revoke_first or overlap"}
	case h.Order != "" && h.Verb != incident.Rotate:
		return &refusal{http.StatusBadRequest, "order is of a rotation: leave it out"}
	}
	return nil
}

// handed finds the credential that a person hands over.
func (a *App) handed(call Handed) (found checks.Finding, err error) {
	var only *rules.Rule
	if call.Rule != "" {
		if only = a.rules[call.Rule]; only == nil {
			return found, fmt.Errorf("there is no rule %q: “stanch rules list” shows them", call.Rule)
		}
	}
	switch {
	case (call.Text == "") == (len(call.Parts) == 0):
		return found, errors.New("give the credential as text or as parts, and not as both")
	case call.Text != "":
		found, err = intake.One(call.Text, a.cfg.Catalogue, a.scanner, only)
	case only == nil:
		return found, errors.New("parts need the rule: which kind of credential has these parts?")
	default:
		var lines strings.Builder
		for _, name := range slices.Sorted(maps.Keys(call.Parts)) {
			if strings.ContainsAny(name+call.Parts[name], "\r\n") {
				return found, errors.New("a part has more than one line: give the credential as text")
			}
			fmt.Fprintf(&lines, "%s: %s\n", name, call.Parts[name])
		}
		found, err = intake.FromParts(lines.String(), only)
	}
	if err != nil {
		return found, err
	}
	// A scanner of one rule has a key of its own.
	found.Fingerprint = found.Credential.Secret().Fingerprint(a.cfg.Keys.Fingerprint)
	return found, nil
}

// planHanded is the plan for a credential of which there need be no incident yet.
func (a *App) planHanded(ctx context.Context, found checks.Finding, v provider.Verdict, call Handed) (*Plan, error) {
	i, err := a.store.IncidentOf(ctx, found.Fingerprint)
	if errors.Is(err, store.ErrNotFound) {
		if i, err = a.unopened(found, v); err != nil {
			return nil, err
		}
		return a.planWhole(ctx, i, found.Credential, call.Verb, a.cfg.Policy.ordering(i.Rule, call.Order), nil)
	}
	if err == nil {
		err = a.store.InTx(ctx, func(tx *store.Tx) error { return a.mustBeAbout(ctx, tx, i.ID, found.Credential) })
	}
	if err != nil {
		return nil, err
	}
	policy, err := a.policyForOrder(ctx, i, call.Order)
	if err != nil {
		return nil, err
	}
	if i.State() == incident.Resolved && v.Validity == checks.Active { // it would begin anew
		i.Reopen()
		i.Verb, i.Stored = "", nil
		return a.planWhole(ctx, i, found.Credential, call.Verb, policy, nil)
	}
	done, err := a.store.StepsDone(ctx, i.ID)
	if err != nil {
		return nil, err
	}
	return a.planWhole(ctx, i, found.Credential, call.Verb, policy, done)
}

// unopened is the incident that would be opened of a finding.
func (a *App) unopened(found checks.Finding, v provider.Verdict) (i store.Incident, err error) {
	i.Fingerprint, i.Rule, i.Redacted, i.Validity, i.Grade = found.Fingerprint, found.Rule.ID, found.Redacted, v.Validity, string(v.Grade)
	if v.Validity == checks.Unverified || v.Validity == checks.Inactive && v.SelfHosted { // as doubt has it
		i.Validity = checks.Unknown
	}
	i.Evidence, err = json.Marshal(v.Evidence)
	return i, err
}
