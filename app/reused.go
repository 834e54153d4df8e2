package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// elsewhereAttempts is how often a server of another name is asked whether it takes the
// replacement before it counts as another server: a replica takes seconds to know it.
const elsewhereAttempts = 4

// setApart marks the places that hold the leaked password for another user, or for nobody
// can tell whom: people make the same one for several, and there its text is no copy of
// what leaked.
func (a *App) setApart(ctx context.Context, leaked checks.Credential, found []place) error {
	if a.providers.AccountName(leaked) == "" {
		return nil
	}
	read := map[string]secretstore.Content{}
	untold := -1 // a place that does not tell whose password it holds
	for n := range found {
		at := found[n].Leaked
		now, ok := read[at.Store+":"+at.Path]
		if !ok {
			s, err := a.secretStore(at.Store)
			if err != nil {
				return err
			}
			if now, err = s.Get(ctx, at); err != nil && !errors.Is(err, secretstore.ErrNotFound) {
				return fmt.Errorf("read %s: %w", at, err)
			}
			read[at.Store+":"+at.Path] = now
		}
		password, stands := leaked.Secret(), !at.Superseded && secretstore.Holds(now.Fields[at.Field], leaked)
		if !stands { // another one does, perhaps only just, and beside it still whose it is
			password = checks.Secret{}
		}
		told := secretstore.Accounts(now.Fields, at.Field, password)
		others, mine := a.others(leaked, told)
		switch {
		case stands && !slices.ContainsFunc(told, func(t secretstore.Account) bool { return t.User != "" }):
			untold = n
		case len(others) > 0 && mine && stands:
			found[n].ask = fmt.Sprintf("%s holds the leaked password, and the same for another user (%s), in one text: give that user another password first, then press Rotate now.", at, others[0])
		case len(others) > 0 && !mine:
			found[n].Left = "it is another user’s, " + others[0] + ", who has the same password: change that one too"
		case at.Superseded && slices.ContainsFunc(told, func(t secretstore.Account) bool {
			return a.providers.Compare(leaked, t.User, t.Host) == provider.OtherServer
		}):
			found[n].Left = "it was another server’s, which cannot be asked any more"
		}
	}
	if left := leftText(found); left != "" && untold >= 0 {
		found[untold].ask = fmt.Sprintf("%s holds the leaked password and does not tell whose it is there, and others have the same (%s). If it is the leaked one, write its user beside it, in a field such as username; else give that user another password. Then press Rotate now.",
			found[untold].Leaked, left)
	}
	return nil
}

// others are the users among some accounts who are not the leaked credential's, and mine
// tells whether its own is among them as well.
func (a *App) others(leaked checks.Credential, all []secretstore.Account) (others []string, mine bool) {
	for _, told := range all {
		if a.providers.Compare(leaked, told.User, told.Host) == provider.OtherAccount {
			others = append(others, told.User)
		} else {
			mine = true
		}
	}
	return others, mine
}

// elsewhere is why a place is left as it is: its password is for a server that does not
// take the replacement. Then that is another server, whose user has the same password.
func (r *remediation) elsewhere(ctx context.Context, at secretstore.Location, now secretstore.Content, replacement checks.Credential, attempts int) (why string, err error) {
	taken := false
	for _, told := range secretstore.Accounts(now.Fields, at.Field, r.leaked.Secret()) {
		switch r.app.providers.Compare(r.leaked, told.User, told.Host) {
		case provider.SameAccount:
			taken = true
			continue
		case provider.OtherAccount:
			return "", needPerson(fmt.Sprintf("Somebody changed whose password %s is after the leak was found: put the replacement where it belongs by hand, then press Revoke now.", at))
		}
		v, err := r.app.providers.TakenAt(ctx, replacement, told.Host)
		switch {
		case err != nil && !errors.Is(err, provider.ErrNotAllowed):
			return "", err
		case v.Validity == checks.Active:
			taken = true
		case err == nil && attempts < elsewhereAttempts:
			return "", fmt.Errorf("%s is for the server %s, which does not take the replacement yet: %s (%s)", at, told.Host, v.Validity, v.Evidence.Answer)
		case v.Validity == checks.Inactive:
			why = "it is for another server, " + told.Host + ", which does not take the replacement, and whose user has the same password: change that one too"
		default:
			return "", needPerson(fmt.Sprintf("%s holds the password for %s, which may be the server that it leaked for, by another name, or another one where the same password is used. The replacement belongs there only if that server takes it, and Stanch cannot ask it (%s). Name it in STANCH_VERIFY_HOSTS and let Stanch reach it, then press Rotate now.",
				at, told.Host, whyNotTaken(v, err)))
		}
	}
	if why != "" && taken {
		return "", needPerson(fmt.Sprintf("%s holds the leaked password, and the same for another server, in one text: give its user there another password, put the replacement there by hand, then press Revoke now.", at))
	}
	return why, nil
}

func whyNotTaken(v provider.Verdict, err error) string {
	if err != nil {
		return err.Error()
	}
	return v.Evidence.Answer
}

// ours are the places that hold the leaked credential.
func ours(ps []place) []place {
	return slices.DeleteFunc(slices.Clone(ps), func(p place) bool { return p.Left != "" })
}

// leftText names the places that are left as they are, for people; not the versions that
// nobody reads.
func leftText(ps []place) string {
	var texts []string
	for _, p := range ps {
		if p.Left != "" && !p.Leaked.Superseded {
			texts = append(texts, p.Leaked.String()+": "+p.Left)
		}
	}
	return strings.Join(texts, "; ")
}

// leftOf names the places that an incident left as they are.
func leftOf(i store.Incident) string {
	ps, err := places(i)
	if err != nil {
		return ""
	}
	return leftText(ps)
}

// withoutLeft are the fields of a place that may change: not those that are another
// account's beside it.
func withoutLeft(now secretstore.Content, at secretstore.Location, ps []place) map[string]checks.Secret {
	fields := maps.Clone(now.Fields)
	for _, p := range ps {
		if p.Left != "" && !p.Leaked.Superseded && p.Leaked.Store == at.Store && p.Leaked.Path == at.Path {
			delete(fields, p.Leaked.Field)
		}
	}
	return fields
}
