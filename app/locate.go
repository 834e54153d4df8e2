package app

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// A SecretStore is where owners keep their live credentials.
type SecretStore interface {
	Name() string
	// Locate finds the places whose current version holds a credential.
	Locate(context.Context, checks.Fingerprint) ([]secretstore.Location, error)
	// Get reads what a secret holds now.
	Get(context.Context, secretstore.Location) (secretstore.Content, error)
	// Put writes fields of a secret if its version is still the Location's.
	Put(ctx context.Context, at secretstore.Location, values map[string]checks.Secret, operation string) (secretstore.Location, error)
	// Retire destroys exactly the version that the Location names.
	Retire(context.Context, secretstore.Location) error
	// History lists a secret's versions, the newest first, without their values.
	History(context.Context, secretstore.Location) ([]secretstore.Past, error)
	// Restore makes a field what it was in the version that the Location names.
	Restore(ctx context.Context, at secretstore.Location, operation string) (secretstore.Location, error)
	// Skipped names the parts that Locate was not allowed to search.
	Skipped() []string
}

// A place is where a leaked credential is kept, and, once it is put, where its
// replacement is.
type place struct {
	Leaked      secretstore.Location  `json:"leaked"`
	Replacement *secretstore.Location `json:"replacement,omitempty"`
	// Adopted says that the leaked one never stood there: no store held it.
	Adopted bool `json:"adopted,omitempty"`
	// Left is why the place is left as it is: it holds the same password for another
	// account. It is empty for all others.
	Left   string    `json:"left,omitempty"`
	Copies []written `json:"copies,omitempty"` // of the replacement
	// Consumers are those who were to read the replacement, as it was when it was verified.
	Consumers []secretstore.Consumer `json:"consumers,omitempty"`
	ask       string                 // what a person is asked before a replacement is put there
}

func places(i store.Incident) ([]place, error) {
	if len(i.Stored) == 0 {
		return nil, nil
	}
	var ps []place
	return ps, json.Unmarshal(i.Stored, &ps)
}

// placesText names the places for people, as they are now.
func placesText(stored json.RawMessage) string {
	ps, err := places(store.Incident{Stored: stored})
	if err != nil {
		return ""
	}
	var texts []string
	for _, p := range ps {
		switch {
		case p.Replacement != nil && p.Adopted:
			texts = append(texts, p.Replacement.String()+" (no store held the leaked one: read it there from now on)")
		case p.Replacement != nil:
			texts = append(texts, p.Replacement.String())
		case !p.Leaked.Superseded && p.Left == "":
			texts = append(texts, p.Leaked.String())
		}
	}
	return strings.Join(texts, "; ")
}

// locate finds where the leaked credential is kept. What cannot be replaced is
// revoked instead, if the policy says so, or waits for a person.
func (r *remediation) locate(ctx context.Context) error {
	i, err := r.app.store.Incident(ctx, r.id)
	if err != nil || i.Verb != incident.Rotate || i.Order == incident.Rewrap || len(i.Stored) > 0 {
		return err
	}
	w, err := r.app.whereabouts(ctx, i, r.leaked)
	if err != nil {
		return err
	}
	return r.change(ctx, func(tx *store.Tx, i *store.Incident) (err error) {
		if w.revoke {
			i.Verb = incident.Revoke
		} else {
			i.Stored, err = json.Marshal(w.kept)
		}
		if w.replaced == "" || err != nil {
			return err
		}
		return tx.Audit(ctx, audit.Entry{At: r.app.now(), Actor: "stanch", Verb: "find replacement", Subject: i.ID, Detail: map[string]string{"place": w.replaced}})
	})
}

// A whereabouts says where a credential is kept that is to be rotated, or why it is only
// revoked.
type whereabouts struct {
	kept     []place
	revoke   bool
	why      string // it is only revoked
	replaced string // the place at which its owners have replaced it already
}

// whereabouts looks where a credential is kept that is to be rotated. It changes nothing.
// What waits for a person is an error.
func (a *App) whereabouts(ctx context.Context, i store.Incident, leaked checks.Credential) (whereabouts, error) {
	if can := a.providers.Can(i.Rule); !can.Issue {
		return withoutReplacement(i, "No program can issue a replacement ("+can.Reason+").")
	}
	found, current, err := a.find(ctx, i.Fingerprint, leaked)
	own := ours(found)
	asked := slices.IndexFunc(own, func(p place) bool { return p.ask != "" })
	switch {
	case err != nil:
		return whereabouts{}, err
	case asked >= 0:
		return whereabouts{}, needPerson(own[asked].ask)
	case len(own) == 0 && i.WithoutReplacement == string(Adopt):
		adopted, err := a.adopt(i)
		if err != nil {
			return whereabouts{}, err
		}
		found = append(adopted, found...)
	case len(own) == 0 && leftText(found) != "":
		return withoutReplacement(i, fmt.Sprintf("No secret store that Stanch knows holds this credential. (%s.)", leftText(found)))
	case len(own) == 0:
		return withoutReplacement(i, "No secret store that Stanch knows holds this credential.")
	case !current:
		if replaced, err := a.replacedByOwners(ctx, i, leaked, own[0].Leaked); err != nil || replaced {
			return whereabouts{revoke: true, why: "Its owners have replaced it already.", replaced: own[0].Leaked.String()}, err
		}
		return withoutReplacement(i, fmt.Sprintf("Its owners have replaced it already: only a superseded version is left (%s).", own[0].Leaked))
	}
	return whereabouts{kept: found}, a.mayCopy(found)
}

// replacedByOwners reports whether a place that held the leaked credential holds one of
// the same owner now that works. Then nobody needs the leaked one, and it is only killed.
func (a *App) replacedByOwners(ctx context.Context, i store.Incident, leaked checks.Credential, at secretstore.Location) (bool, error) {
	s, err := a.secretStore(at.Store)
	if err != nil || len(leaked.Parts) > 1 { // which of the fields belong together is not known
		return false, err
	}
	now, err := s.Get(ctx, at)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", at, err)
	}
	value := now.Fields[at.Field]
	if value.Len() == 0 {
		return false, nil
	}
	v, err := a.providers.VerifyAgain(ctx, checks.Credential{Rule: i.Rule, Parts: map[string]checks.Secret{checks.PartSecret: value}})
	return err == nil && v.Validity == checks.Active && v.Grade != provider.GradeC && sameOwner(identity(i), v.Evidence.Identity), err
}

// find looks for a credential in all secret stores, and tells whether any of them holds it
// now and not only in its history. Places that hold the same password for another user
// come along, marked.
func (a *App) find(ctx context.Context, fp checks.Fingerprint, leaked checks.Credential) (found []place, current bool, err error) {
	for _, s := range a.cfg.SecretStores {
		at, err := s.Locate(ctx, fp)
		if err != nil {
			return nil, false, fmt.Errorf("look for the credential in %s: %w", s.Name(), err)
		}
		for _, l := range at {
			found = append(found, place{Leaked: l})
		}
	}
	if err := a.setApart(ctx, leaked, found); err != nil {
		return nil, false, err
	}
	current = slices.ContainsFunc(found, func(p place) bool { return p.Left == "" && !p.Leaked.Superseded })
	return found, current, nil
}

func withoutReplacement(i store.Incident, why string) (whereabouts, error) {
	if i.WithoutReplacement != string(RevokeAnyway) {
		return whereabouts{}, needPerson(why + " Give its users another one, then press Revoke now.")
	}
	return whereabouts{revoke: true, why: why + " The policy says to revoke it all the same."}, nil
}

func (a *App) secretStore(name string) (SecretStore, error) {
	for _, s := range a.cfg.SecretStores {
		if s.Name() == name {
			return s, nil
		}
	}
	return nil, needPerson(fmt.Sprintf("The secret store %s is not configured any more: configure it again, then press Rotate now.", name))
}
