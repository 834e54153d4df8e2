package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// An incident is of one leaked secret. Where people gave several accounts the same
// password and several of them leaked, it is about one of them at a time: the others are
// kept, and when it is over they are asked about. It begins anew with one that is live.

// ofOther reports whether a credential is of another account than that which an incident
// is about. What is said of the one says nothing of the other. If it is live it is kept;
// or, if the one before is not known to be, that is kept, and the incident is about the
// live one from then on.
func (a *App) ofOther(ctx context.Context, tx *store.Tx, i store.Incident, cred checks.Credential, v provider.Verdict) (bool, error) {
	if !a.providers.HasAccounts(i.Rule) {
		return false, nil
	}
	sealed, name, err := a.accountOf(ctx, tx, i.ID)
	switch {
	case err != nil || name == "" || name == a.providers.AccountName(cred):
		return false, err
	case v.Validity != checks.Active:
		return true, nil
	case i.State() == incident.Open && i.Verb == "" && i.Validity != checks.Active:
		return false, a.keepOther(ctx, tx, i.ID, sealed, v)
	}
	return true, a.keepOther(ctx, tx, i.ID, cred, v)
}

// accountOf is the credential that an incident is about, and whose it is: nobody's once
// the incident is over.
func (a *App) accountOf(ctx context.Context, tx *store.Tx, id string) (sealed checks.Credential, name string, err error) {
	sealed, err = tx.Unseal(ctx, id, store.Leaked)
	if errors.Is(err, store.ErrErased) {
		return sealed, "", nil
	}
	return sealed, a.providers.AccountName(sealed), err
}

// keepOther keeps the credential of another account, once. The verdict is why.
func (a *App) keepOther(ctx context.Context, tx *store.Tx, id string, cred checks.Credential, v provider.Verdict) error {
	account := a.providers.AccountName(cred)
	known, err := tx.Accounts(ctx, id)
	if err != nil || account == "" || slices.Contains(known, account) {
		return err
	}
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: "keep account", Subject: id, Detail: map[string]string{
		"account": account, "request": v.Evidence.Request, "answer": v.Evidence.Answer,
	}}); err != nil {
		return err
	}
	return tx.KeepAccount(ctx, id, account, cred)
}

// mustBeAbout refuses to act by hand on one account by what is known of another.
func (a *App) mustBeAbout(ctx context.Context, tx *store.Tx, id string, cred checks.Credential) error {
	_, name, err := a.accountOf(ctx, tx, id)
	if other := a.providers.AccountName(cred); err == nil && name != "" && other != "" && name != other {
		err = &refusal{http.StatusConflict, fmt.Sprintf("incident %s is about the same password of %s: finish that first (“stanch incidents show %[1]s”), then order this for %[3]s again", id, name, other)}
	}
	return err
}

// askOthers has the next of the other accounts asked about, once an incident is over.
func (a *App) askOthers(ctx context.Context, tx *store.Tx, i store.Incident) error {
	if i.State() != incident.Resolved {
		return nil
	}
	all, err := tx.Accounts(ctx, i.ID)
	if err != nil || len(all) == 0 {
		return err
	}
	return tx.EnqueueOnce(ctx, recheckArgs{Incident: i.ID})
}

// recheckOther asks about another account of an incident that is over.
func (a *App) recheckOther(ctx context.Context, i store.Incident) (provider.Verdict, error) {
	account, cred, err := a.store.NextAccount(ctx, i.ID)
	if errors.Is(err, store.ErrNotFound) {
		return provider.Verdict{}, errors.Join(ErrNoRecheck, a.notDue(ctx, i.ID))
	}
	if err != nil {
		return provider.Verdict{}, err
	}
	policies, err := a.policiesOf(ctx, i.ID)
	if err != nil {
		return provider.Verdict{}, err
	}
	v, err := a.providers.VerifyAgain(ctx, cred)
	if err := errors.Join(err, ctx.Err()); err != nil {
		return v, err
	}
	return v, a.store.InTx(ctx, func(tx *store.Tx) error { return a.recordOther(ctx, tx, i.ID, account, cred, v, policies) })
}

// recordOther records a verdict about another account. If that is live, the incident
// begins anew, and is about it from then on.
func (a *App) recordOther(ctx context.Context, tx *store.Tx, id, account string, cred checks.Credential, v provider.Verdict, policies []Policy) error {
	i, err := tx.Incident(ctx, id)
	if err != nil || i.State() != incident.Resolved {
		return err
	}
	if v.Validity == checks.Unknown {
		return tx.PostponeAccount(ctx, id, account, a.now().Add(askUnknownAfter))
	}
	if err := tx.DropAccount(ctx, id, account); err != nil {
		return err
	}
	// Of what was pushed at the same time, it is as old as the rest.
	anew, err := a.learn(ctx, tx, &i, scanArgs{Pushed: i.Pushed, Received: i.Received}, v)
	if err != nil {
		return err
	}
	detail := verdictDetail(i, v)
	detail["account"] = account
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: "recheck account", Subject: id, Detail: detail}); err != nil || !anew {
		return err
	}
	i.Rule, i.AskAgain = cred.Rule, noTime
	return a.decideAgain(ctx, tx, &i, cred, policies)
}
