package app

import (
	"context"
	"errors"
	"strings"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// verifyAgain asks the provider now about an incident's credential, and tells what its
// answer says about that one.
func (a *App) verifyAgain(ctx context.Context, i store.Incident, cred checks.Credential) (provider.Verdict, error) {
	v, err := a.providers.VerifyAgain(ctx, cred)
	return a.providers.About(v, identity(i)), err
}

// todoUnheard begins what a person is told about a credential that nobody can prove dead.
const todoUnheard = "Nobody can prove the leaked one dead: "

// tellUnheard has a person told why an open incident stays open when its credential is
// refused where it can be asked about, until that is so no more.
func tellUnheard(i *store.Incident, v provider.Verdict) (changed bool) {
	before := i.Stuck
	switch {
	case v.Unheard != "" && v.Validity == checks.Unknown && i.Stuck == "":
		i.Stuck = todoUnheard + v.Unheard + "."
	case v.Validity == checks.Active && strings.HasPrefix(i.Stuck, todoUnheard):
		i.Stuck = ""
	}
	return i.Stuck != before
}

// provable reports whether a credential can be proved dead, as far as the provider says
// now: a person's word counts where it cannot.
func (a *App) provable(ctx context.Context, id string) (bool, error) {
	i, err := a.store.Incident(ctx, id)
	if err != nil || i.State() == incident.Resolved {
		return true, err
	}
	cred, err := a.store.Unseal(ctx, id, store.Leaked)
	if errors.Is(err, store.ErrErased) {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	v, err := a.verifyAgain(ctx, i, cred)
	return v.Unheard == "" || v.Validity != checks.Unknown, errors.Join(err, ctx.Err())
}
