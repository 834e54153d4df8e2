package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

const (
	// verifyNewAttempts is how often a replacement is verified before a person
	// is asked: providers take seconds to minutes to know a new credential.
	verifyNewAttempts = 12
	// proveDeadAttempts is how often a revoked credential is asked about before
	// a person is. With retries at most a minute apart this outlasts the slowest
	// propagation that providers document, an hour for npm.
	proveDeadAttempts = 75
	// confirmedAttempts is how often one is asked about of which a person said that nobody
	// takes it any more, before that person is told who does.
	confirmedAttempts = 3
)

// issue has a replacement made. What is known before the request is kept before it is
// sent, so that an attempt whose outcome is unknown can be settled; where the issuer
// cannot tell, a person looks.
func (r *remediation) issue(ctx context.Context, i store.Incident, attempt store.Action) (result, error) {
	request, err := r.request(ctx, i, attempt)
	var replacement checks.Credential
	if err == nil {
		replacement, err = r.app.providers.Issue(ctx, request)
	}
	unsettled := new(provider.UnsettledError)
	switch {
	case errors.As(err, &unsettled):
		return result{}, needPerson(fmt.Sprintf("Whether a replacement was issued at %s is not known: %s Then press Rotate now again.",
			attempt.Attempted.Format("2006-01-02 15:04:05 MST"), unsettled.Look))
	case errors.Is(err, provider.ErrCannotIssue):
		// Nothing was issued, so the next attempt is a first one again.
		if err := r.app.store.InTx(ctx, func(tx *store.Tx) error { return tx.ForgetAttempts(ctx, r.id, incident.Issue) }); err != nil {
			return result{}, err
		}
		r.app.log.WarnContext(ctx, "no replacement was issued", "incident", r.id, "error", err)
		return result{}, needPerson(fmt.Sprintf("The issuer refused to make a replacement (%s). Mend that and press Rotate now, or press Revoke now.", err))
	case err != nil:
		return result{}, fmt.Errorf("issue a replacement: %w", err)
	case replacement.Secret().Fingerprint(r.app.cfg.Keys.Fingerprint) == i.Fingerprint:
		return result{}, needPerson("The issuer answered with the leaked credential itself. Mend the issuer, then press Rotate now.")
	}
	return result{
		detail:      map[string]string{"operation": attempt.Operation, "fingerprint": string(replacement.Secret().Fingerprint(r.app.cfg.Keys.Fingerprint))},
		replacement: &replacement,
	}, nil
}

// request is the request for a replacement, prepared once.
func (r *remediation) request(ctx context.Context, i store.Incident, attempt store.Action) (provider.Request, error) {
	// Where the leaked one dies first, nothing is lost by a replacement that ends it.
	request := provider.Request{Old: r.target(i), Operation: attempt.Operation, InPlace: i.Order == incident.RevokeFirst}
	if attempt.Prepared != "" {
		request.Again = true
		return request, r.recall(ctx, attempt, &request.Prepared)
	}
	prepared, err := r.app.providers.Prepare(ctx, request.Old, attempt.Operation)
	if err != nil {
		return request, fmt.Errorf("prepare a replacement: %w", err)
	}
	seen, err := json.Marshal(prepared.Seen)
	if err != nil {
		return request, err
	}
	request.Prepared = prepared
	return request, r.app.store.InTx(ctx, func(tx *store.Tx) error {
		if len(prepared.Draft.Parts) > 0 {
			if err := tx.Seal(ctx, r.id, store.Replacement, prepared.Draft); err != nil {
				return err
			}
		}
		return tx.SetPrepared(ctx, r.id, incident.Issue, string(seen))
	})
}

// recall is what was prepared for an earlier attempt.
func (r *remediation) recall(ctx context.Context, attempt store.Action, p *provider.Prepared) error {
	if err := json.Unmarshal([]byte(attempt.Prepared), &p.Seen); err != nil {
		return err
	}
	draft, err := r.app.store.Unseal(ctx, r.id, store.Replacement)
	if errors.Is(err, store.ErrErased) {
		return nil // the provider makes it
	}
	p.Draft = draft
	return err
}

// target is the leaked credential, with whose it is.
func (r *remediation) target(i store.Incident) provider.Target {
	return provider.Target{Credential: r.leaked, Identity: identity(i)}
}

// identity is who the provider said the leaked credential belongs to.
func identity(i store.Incident) map[string]string {
	var e provider.Evidence
	if json.Unmarshal(i.Evidence, &e) != nil {
		return nil
	}
	return e.Identity
}

// put stores the replacement at every place that held the leaked credential. A
// place that holds it already, because a crash hid that from us, is left alone; a
// place that somebody else has changed waits for a person.
func (r *remediation) put(ctx context.Context, i store.Incident, attempt store.Action) (result, error) {
	replacement, err := r.app.store.Unseal(ctx, r.id, store.Replacement)
	if err != nil {
		return result{}, err
	}
	ps, err := places(i)
	if err != nil {
		return result{}, err
	}
	for n := range ps {
		if ps[n].Leaked.Superseded || ps[n].Left != "" {
			continue // nobody reads it, and it is only to be destroyed; or it is another's
		}
		if err := r.putAt(ctx, &ps[n], ps, replacement, attempt); err != nil {
			return result{}, err
		}
		if ps[n].Left != "" {
			continue
		}
		if err := r.copyFrom(ctx, &ps[n], replacement); err != nil {
			return result{}, err
		}
	}
	left := leftText(ps)
	if !slices.ContainsFunc(ps, func(p place) bool { return p.Replacement != nil }) {
		return result{}, needPerson(fmt.Sprintf("No secret store that Stanch knows holds this credential (%s). Give its users another one, then press Revoke now; the replacement that was issued is revoked too.", left))
	}
	b, err := json.Marshal(ps)
	if err != nil {
		return result{}, err
	}
	detail := map[string]string{"places": placesText(b), "operation": attempt.Operation}
	if copies := copiesText(ps); copies != "" {
		detail["copies"] = copies
	}
	if left != "" {
		detail["left"] = left
	}
	return result{detail: detail, stored: ps}, nil
}

// putAt stores the replacement at one of the places ps, or leaves it and says why in it.
func (r *remediation) putAt(ctx context.Context, p *place, ps []place, replacement checks.Credential, attempt store.Action) error {
	s, err := r.app.secretStore(p.Leaked.Store)
	if err != nil {
		return err
	}
	now, err := s.Get(ctx, p.Leaked)
	if p.Adopted && errors.Is(err, secretstore.ErrNotFound) {
		return r.putAdopted(ctx, s, p, replacement, attempt.Operation)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", p.Leaked, err)
	}
	at := p.Leaked
	at.Version = now.Version
	switch value := now.Fields[p.Leaked.Field]; {
	case secretstore.Holds(value, replacement):
		p.Replacement = &at
		return nil
	case !secretstore.Holds(value, r.leaked):
		return needPerson(fmt.Sprintf("Somebody changed %s after the leak was found. If the new value works, press Revoke now; the replacement that was issued is revoked too.", p.Leaked))
	}
	if p.Left, err = r.elsewhere(ctx, p.Leaked, now, replacement, attempt.Attempts); err != nil || p.Left != "" {
		return err
	}
	values, leftOut := secretstore.Replace(withoutLeft(now, p.Leaked, ps), r.leaked, replacement)
	if len(leftOut) > 0 {
		return needPerson(fmt.Sprintf("With the replacement comes another %s, and %s has no such field beside the secret: put it where it belongs by hand, then press Revoke now; the replacement that was issued is revoked too.",
			strings.Join(leftOut, " and "), p.Leaked))
	}
	put, err := s.Put(ctx, at, values, attempt.Operation)
	switch {
	case errors.Is(err, secretstore.ErrImmutable), errors.Is(err, secretstore.ErrManaged):
		return needPerson(fmt.Sprintf("The replacement cannot be stored (%s). When its users have another one, press Revoke now; the replacement that was issued is revoked too.", err))
	case err != nil:
		return fmt.Errorf("store the replacement in %s: %w", p.Leaked, err)
	}
	p.Leaked.Version = now.Version // the version to destroy once the proof is there
	p.Replacement = &put
	return nil
}

// verifyNew asks the provider whether the replacement works, and for whom. Until
// it does, the leaked one lives.
func (r *remediation) verifyNew(ctx context.Context, i store.Incident, attempt store.Action) (result, error) {
	replacement, err := r.app.store.Unseal(ctx, r.id, store.Replacement)
	if err != nil {
		return result{}, err
	}
	v, err := r.app.providers.VerifyAgain(ctx, replacement)
	switch {
	case err != nil:
		return result{}, err
	case v.Validity == checks.Active && !sameOwner(identity(i), v.Evidence.Identity):
		return result{}, needPerson("The replacement is stored, but it belongs to somebody else than the leaked one. Put the right one into the store by hand, then press Revoke now.")
	case v.Validity == checks.Active && v.Grade != provider.GradeC:
		return r.verified(ctx, i, v.Evidence)
	case v.Validity == checks.Inactive && attempt.Attempts >= verifyNewAttempts:
		return result{}, needPerson("The replacement is stored, but the provider refuses it, and the leaked credential still works. Put a working one into the store by hand, then press Revoke now.")
	}
	return result{}, fmt.Errorf("the replacement is not accepted yet: %s is %s (%s)", v.Evidence.Request, v.Validity, v.Evidence.Answer)
}

// verified passes on a replacement that works to those who read it only when they start.
func (r *remediation) verified(ctx context.Context, i store.Incident, e provider.Evidence) (result, error) {
	ps, err := places(i)
	if err != nil {
		return result{}, err
	}
	detail := evidenceDetail(e)
	consumers, err := r.passOn(ctx, ps)
	if err == nil && consumers != "" {
		detail["consumers"] = consumers
	}
	return result{detail: detail, stored: ps}, err
}

// ownerFields are the identity fields that name the account behind a credential.
// The others, such as an accessor, name the credential itself.
var ownerFields = []string{"login", "user_id", "user", "team_id", "account_id"}

// sameOwner reports whether nothing says that two credentials have different
// owners.
func sameOwner(a, b map[string]string) bool {
	return !slices.ContainsFunc(ownerFields, func(f string) bool {
		x, inA := a[f]
		y, inB := b[f]
		return inA && inB && x != y
	})
}

// revokeOld tells the provider to kill the leaked credential. What no program can
// kill is done as well once the provider refuses it.
func (r *remediation) revokeOld(ctx context.Context, i store.Incident) (result, error) {
	if i.Order == incident.Rewrap && i.Reversible {
		if ordered, err := r.orderedAfterHold(ctx, i); err != nil || !ordered {
			return result{}, cmp.Or(err, needPerson(fmt.Sprintf("The leaked versions are refused, which can be undone (“stanch incidents undo %s”). To destroy them, and with them all data that was not encrypted anew, press Revoke now. To keep them, refused, run “stanch incidents resolve %[1]s revoked”.", r.id)))
		}
	}
	receipt, err := r.app.providers.Revoke(ctx, r.target(i))
	switch {
	case errors.Is(err, provider.ErrCannotRevoke):
		r.app.log.WarnContext(ctx, "the leaked credential cannot be revoked", "incident", r.id, "error", err)
		if v, err := r.app.verifyAgain(ctx, i, r.leaked); err != nil || v.Validity == checks.Inactive {
			return result{detail: evidenceDetail(v.Evidence)}, err
		}
		return result{}, needPerson(fmt.Sprintf("No program can revoke this credential (%s): follow the runbook of its kind, then press Revoke now to have it proved dead.", err))
	case err != nil:
		return result{}, fmt.Errorf("revoke the leaked credential: %w", err)
	}
	return receiptResult(receipt), nil
}

// orderedAfterHold reports whether a person has ordered the end since the credential is
// refused and its hold is over: what was said before is no word about data that was lost
// to somebody meanwhile.
func (r *remediation) orderedAfterHold(ctx context.Context, i store.Incident) (bool, error) {
	actions, err := r.app.store.Actions(ctx, r.id)
	if err != nil || i.Verb != incident.Revoke || i.Approver == byPolicy {
		return false, err
	}
	n := slices.IndexFunc(actions, func(a store.Action) bool { return a.Step == incident.Hold })
	return n >= 0 && !actions[n].Done.IsZero() && !i.Approved.Before(actions[n].Done), nil
}

// proveDead asks the provider about the leaked credential until it refuses it.
// Only the provider's documented refusal is proof; silence is not.
func (r *remediation) proveDead(ctx context.Context, i store.Incident, attempt store.Action) (result, error) {
	v, err := r.app.verifyAgain(ctx, i, r.leaked)
	switch {
	case err != nil:
		return result{}, err
	case v.Validity == checks.Inactive:
		return result{detail: evidenceDetail(v.Evidence)}, nil
	case v.Validity == checks.Unknown && v.Unheard != "":
		return result{}, needPerson(fmt.Sprintf("%s%s. Where hosts are listed then, press Revoke now.", todoUnheard, v.Unheard))
	case v.Validity == checks.Active && i.Order == incident.Rewrap && !i.Reversible && attempt.Attempts >= confirmedAttempts:
		return result{}, needPerson(fmt.Sprintf("It ended in its engine, but it works still: %s. Mend that, then press Revoke now.", v.Evidence.Answer))
	case attempt.Attempts >= proveDeadAttempts:
		return result{}, needPerson("The provider took the revocation but does not confirm that the credential is dead. Check it by hand, then press Revoke now.")
	}
	return result{}, fmt.Errorf("the leaked credential is not proved dead yet: %s is %s (%s)", v.Evidence.Request, v.Validity, v.Evidence.Answer)
}

// retire destroys the stored versions that held the leaked credential.
func (r *remediation) retire(ctx context.Context, i store.Incident) (result, error) {
	ps, err := places(i)
	if err != nil {
		return result{}, err
	}
	for _, p := range ps {
		if p.Adopted || p.Left != "" {
			continue // nothing of the leaked one is there
		}
		if !p.Leaked.Superseded && p.Replacement == nil {
			return result{}, fmt.Errorf("%s was never replaced", p.Leaked)
		}
		s, err := r.app.secretStore(p.Leaked.Store)
		if err != nil {
			return result{}, err
		}
		if err := s.Retire(ctx, p.Leaked); err != nil {
			return result{}, fmt.Errorf("destroy %s: %w", p.Leaked, err)
		}
	}
	return result{detail: map[string]string{"places": placesText(i.Stored)}}, nil
}

// discard revokes a replacement that was issued and never stored.
func (r *remediation) discard(ctx context.Context) (result, error) {
	replacement, err := r.app.store.Unseal(ctx, r.id, store.Replacement)
	if err != nil {
		return result{}, err
	}
	receipt, err := r.app.providers.Revoke(ctx, provider.Target{Credential: replacement})
	if err != nil {
		return result{}, fmt.Errorf("revoke the replacement that was never stored: %w", err)
	}
	return result{detail: evidenceDetail(receipt.Evidence)}, nil
}

func evidenceDetail(e provider.Evidence) map[string]string {
	detail := map[string]string{"request": e.Request, "answer": e.Answer, "status": fmt.Sprint(e.Status)}
	if e.Control != "" {
		detail["control"] = e.Control
	}
	return detail
}
