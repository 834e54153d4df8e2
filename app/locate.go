package app

import (
	"context"
	"encoding/json"
	"fmt"
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
		case !p.Leaked.Superseded:
			texts = append(texts, p.Leaked.String())
		}
	}
	return strings.Join(texts, "; ")
}

// locate finds where the leaked credential is kept. What cannot be replaced is
// revoked instead, if the policy says so, or waits for a person.
func (r *remediation) locate(ctx context.Context) error {
	i, err := r.app.store.Incident(ctx, r.id)
	if err != nil || i.Verb != incident.Rotate || len(i.Stored) > 0 {
		return err
	}
	if can := r.app.providers.Can(i.Rule); !can.Issue {
		return r.withoutReplacement(ctx, i, "No program can issue a replacement ("+can.Reason+").")
	}
	found, current, err := r.app.find(ctx, i.Fingerprint)
	switch {
	case err != nil:
		return err
	case len(found) == 0 && i.WithoutReplacement == string(Adopt):
		found, err = r.adopt(i)
		if err != nil {
			return err
		}
	case len(found) == 0:
		return r.withoutReplacement(ctx, i, "No secret store that Stanch knows holds this credential.")
	case !current:
		if replaced, err := r.replacedByOwners(ctx, i, found[0].Leaked); err != nil || replaced {
			return err
		}
		return r.withoutReplacement(ctx, i, fmt.Sprintf("Its owners have replaced it already: only a superseded version is left (%s).", found[0].Leaked))
	}
	return r.change(ctx, func(_ *store.Tx, i *store.Incident) (err error) {
		i.Stored, err = json.Marshal(found)
		return err
	})
}

// replacedByOwners reports whether a place that held the leaked credential holds one of
// the same owner now that works. Then nobody needs the leaked one, and it is only killed.
func (r *remediation) replacedByOwners(ctx context.Context, i store.Incident, at secretstore.Location) (bool, error) {
	s, err := r.app.secretStore(at.Store)
	if err != nil || len(r.leaked.Parts) > 1 { // which of the fields belong together is not known
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
	v, err := r.app.providers.VerifyAgain(ctx, checks.Credential{Rule: i.Rule, Parts: map[string]checks.Secret{checks.PartSecret: value}})
	if err != nil || v.Validity != checks.Active || v.Grade == provider.GradeC || !sameOwner(identity(i), v.Evidence.Identity) {
		return false, err
	}
	return true, r.change(ctx, func(tx *store.Tx, i *store.Incident) error {
		i.Verb = incident.Revoke
		return tx.Audit(ctx, audit.Entry{At: r.app.now(), Actor: "stanch", Verb: "find replacement", Subject: i.ID, Detail: map[string]string{"place": at.String()}})
	})
}

// find looks for a credential in all secret stores, and tells whether any of
// them holds it now and not only in its history.
func (a *App) find(ctx context.Context, fp checks.Fingerprint) (found []place, current bool, err error) {
	for _, s := range a.cfg.SecretStores {
		at, err := s.Locate(ctx, fp)
		if err != nil {
			return nil, false, fmt.Errorf("look for the credential in %s: %w", s.Name(), err)
		}
		for _, l := range at {
			found = append(found, place{Leaked: l})
			current = current || !l.Superseded
		}
	}
	return found, current, nil
}

func (r *remediation) withoutReplacement(ctx context.Context, i store.Incident, why string) error {
	if i.WithoutReplacement != string(RevokeAnyway) {
		return needPerson(why + " Give its users another one, then press Revoke now.")
	}
	return r.change(ctx, func(_ *store.Tx, i *store.Incident) error {
		i.Verb = incident.Revoke
		return nil
	})
}

func (a *App) secretStore(name string) (SecretStore, error) {
	for _, s := range a.cfg.SecretStores {
		if s.Name() == name {
			return s, nil
		}
	}
	return nil, needPerson(fmt.Sprintf("The secret store %s is not configured any more: configure it again, then press Rotate now.", name))
}
