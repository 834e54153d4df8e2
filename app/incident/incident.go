// Package incident holds what happens to one leaked credential, from its
// discovery to the proof that it is dead, as a state machine without any input
// or output: package app acts, this package says what may come next.
package incident

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// An Incident is one leaked credential, however often it was found.
type Incident struct {
	ID          string
	Fingerprint checks.Fingerprint
	Rule        string
	Redacted    string
	// Validity is what the provider said when it was first asked.
	Validity checks.Validity
	Opened   time.Time

	// When the leaked credential's owners could stop worrying, step by step. The
	// zero Time means not yet.
	Contained time.Time // the provider took the revocation
	Rotated   time.Time // its replacement is stored, verified, and the leaked one revoked
	Dead      time.Time // the provider said that the leaked one does not work
	Resolved  time.Time

	Resolution Resolution
	// Held is until when the credential's death can be taken back: it is disabled and
	// proved dead, and what is deleted then cannot come back. Zero while it is not so.
	Held time.Time
	// Stuck says what a person must do before anything goes on; empty while
	// Stanch can go on by itself.
	Stuck string
}

// State is an incident's state as people read it.
type State string

// The states in the order in which an incident usually reaches them.
const (
	Open       State = "open"
	Contained  State = "contained"
	Rotated    State = "rotated"
	ProvedDead State = "proved_dead"
	Resolved   State = "resolved"
)

// State is the furthest that the incident has come.
func (i *Incident) State() State {
	switch {
	case !i.Resolved.IsZero():
		return Resolved
	case !i.Dead.IsZero():
		return ProvedDead
	case !i.Rotated.IsZero():
		return Rotated
	case !i.Contained.IsZero():
		return Contained
	}
	return Open
}

// Resolution is how an incident ended. All but ResolutionRotated are GitHub's words.
type Resolution string

// The resolutions.
const (
	Unresolved              Resolution = ""
	ResolutionRotated       Resolution = "rotated" // replaced in its store and proved dead
	ResolutionRevoked       Resolution = "revoked" // proved dead without a replacement
	ResolutionFalsePositive Resolution = "false_positive"
)

// A Verb is what is to be done to a leaked credential.
type Verb string

// The verbs.
const (
	Rotate Verb = "rotate" // replace it where it is stored, then kill it
	Revoke Verb = "revoke" // kill it
	Undo   Verb = "undo"   // take back what was done, while that can be
)

// A Step is one part of a remediation. Each is recorded before and after it runs.
type Step string

// The steps of a remediation.
const (
	Issue      Step = "issue"       // a replacement comes into being
	Put        Step = "put"         // the replacement stands where the leaked one stood
	VerifyNew  Step = "verify_new"  // the provider takes the replacement
	Confirm    Step = "confirm"     // nobody uses the old one any more
	DisableOld Step = "disable_old" // the provider is told to refuse the leaked one, for now
	RevokeOld  Step = "revoke_old"  // the provider is told to kill the leaked one, for good
	ProveDead  Step = "prove_dead"  // the provider refuses the leaked one
	Hold       Step = "hold"        // the time in which a disabled one can be enabled again
	Retire     Step = "retire"      // the leaked value is destroyed in the store's history
	Discard    Step = "discard"     // a replacement that nobody needs is revoked

	EnableOld Step = "enable_old" // the provider is told to take the old one again
	VerifyOld Step = "verify_old" // the provider takes the old one
	Restore   Step = "restore"    // the old one stands where it stood
)

// Order decides which of two evils comes first when a live credential leaks.
type Order string

// The orders. ReplaceFirst never leaves its users without a working credential;
// RevokeFirst never leaves a thief with one for longer than needed. Overlap is for
// credentials that have not leaked: both work until nobody uses the old one. Rewrap is for
// keys of an engine, with which data is encrypted: the replacement is a newer version
// there, and the leaked one works until that data is encrypted anew, which a person
// confirms.
const (
	ReplaceFirst Order = "replace_first"
	RevokeFirst  Order = "revoke_first"
	Overlap      Order = "overlap"
	Rewrap       Order = "rewrap"
)

// Confirmed reports whether in an order nothing dies before its users are said to be ready.
func (o Order) Confirmed() bool { return o == Overlap || o == Rewrap }

// A Remedy is what was approved to be done about an incident.
type Remedy struct {
	Verb  Verb  // empty while nothing is
	Order Order // of a rotation
	// Reversible says that the provider can disable the credential before it is deleted.
	Reversible bool
}

// Plan returns the steps of a remedy in the order in which they must run, given the
// steps that are done already: a replacement that an abandoned rotation issued and did
// not store must not outlive it, live and owned by nobody.
func (r Remedy) Plan(done []Step) []Step {
	kill, end := []Step{RevokeOld, ProveDead}, []Step(nil)
	if r.Reversible {
		kill, end = []Step{DisableOld, ProveDead}, []Step{Hold, RevokeOld}
	}
	replace := []Step{Issue, Put, VerifyNew}
	switch {
	case r.Verb == Undo:
		return r.undo(done)
	case r.Verb == Revoke && r.Order != Rewrap && slices.Contains(done, Issue) && !slices.Contains(done, Put):
		return slices.Concat(kill, []Step{Discard}, end)
	case r.Verb == Revoke:
		return slices.Concat(kill, end)
	case r.Order == RevokeFirst:
		return slices.Concat(kill, replace, end, []Step{Retire})
	case r.Order == Rewrap: // nothing stands in a store
		return slices.Concat([]Step{Issue, VerifyNew, Confirm}, kill, end)
	case r.Order == Overlap:
		replace = append(replace, Confirm)
	}
	return slices.Concat(replace, kill, end, []Step{Retire})
}

// undo brings the old credential back before the new one goes. A newer version stays: data
// may be encrypted with it by now.
func (r Remedy) undo(done []Step) []Step {
	plan := []Step{EnableOld, VerifyOld}
	if slices.Contains(done, Put) {
		plan = append(plan, Restore)
	}
	if slices.Contains(done, Issue) && r.Order != Rewrap {
		plan = append(plan, Discard)
	}
	return plan
}

// Undoable reports whether what was done can be taken back: the credential is disabled
// and not deleted.
func Undoable(done []Step) bool {
	return slices.Contains(done, DisableOld) && !slices.Contains(done, RevokeOld)
}

// ErrOutOfOrder reports a step that must not run yet.
var ErrOutOfOrder = errors.New("step out of order")

// MayRun says whether step may run now: every step before it in the plan must be
// done. It is asked before each step, whoever asks for it.
func MayRun(plan, done []Step, step Step) error {
	for _, s := range plan {
		if s == step {
			return nil
		}
		if !slices.Contains(done, s) {
			return fmt.Errorf("%s before %s is done: %w", step, s, ErrOutOfOrder)
		}
	}
	return fmt.Errorf("%s is not part of this plan: %w", step, ErrOutOfOrder)
}

// Done records in the incident that step was done at the given time. The steps
// done before it decide what that means.
func (i *Incident) Done(plan, before []Step, step Step, at time.Time) error {
	if err := MayRun(plan, before, step); err != nil {
		return err
	}
	i.Stuck = ""
	i.Held = time.Time{}
	switch step {
	case RevokeOld, DisableOld:
		if i.Contained.IsZero() {
			i.Contained = at
		}
	case ProveDead:
		i.Dead = at
	case EnableOld:
		i.Contained, i.Rotated, i.Dead = time.Time{}, time.Time{}, time.Time{}
	}
	done := append(slices.Clone(before), step)
	killed := slices.Contains(done, RevokeOld) || slices.Contains(done, DisableOld)
	if i.Rotated.IsZero() && killed && slices.Contains(done, VerifyNew) && !slices.Contains(done, EnableOld) {
		i.Rotated = at
	}
	i.ResolveIfDone(plan, done, at)
	return nil
}

// ResolveIfDone ends the incident if every step of the plan is done, and reports
// whether it is.
func (i *Incident) ResolveIfDone(plan, done []Step, at time.Time) bool {
	if slices.ContainsFunc(plan, func(s Step) bool { return !slices.Contains(done, s) }) {
		return false
	}
	if slices.Contains(plan, EnableOld) { // it is live again, which ends nothing
		return false
	}
	i.Resolved, i.Resolution = at, ResolutionRevoked
	if slices.Contains(done, VerifyNew) {
		i.Resolution = ResolutionRotated
	}
	return true
}

// FoundDead records that the provider refuses the credential although Stanch did
// not revoke it: its owners, or the provider, were faster.
func (i *Incident) FoundDead(at time.Time) {
	i.Stuck = ""
	if i.Validity != checks.Active {
		i.Validity = checks.Inactive
		return
	}
	i.Dead, i.Resolved, i.Resolution = at, at, ResolutionRevoked
}

// Reopen begins the incident anew: what was thought dead, or no secret, is live.
func (i *Incident) Reopen() {
	i.Contained, i.Rotated, i.Dead, i.Resolved = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	i.Resolution, i.Stuck, i.Held = Unresolved, "", time.Time{}
}

// Dismiss ends the incident because the text is no secret. A live credential
// cannot be dismissed: the provider knows better than the author of a commit.
func (i *Incident) Dismiss(at time.Time) error {
	switch {
	case i.State() == Resolved:
		return fmt.Errorf("incident %s is already resolved as %s", i.ID, i.Resolution)
	case i.Validity == checks.Active:
		return fmt.Errorf("incident %s: the provider says that this credential is live; revoke or rotate it instead", i.ID)
	}
	i.Resolved, i.Resolution, i.Stuck = at, ResolutionFalsePositive, ""
	return nil
}
