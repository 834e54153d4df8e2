package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/checks"
)

// A Copy is a secret at GitHub that its owners filled with a field of a secret store.
// GitHub shows no value to anybody, so that a copy is not found by what it holds: the
// operator says of what it is one.
type Copy struct {
	Of secretstore.Location // without a version
	To github.SecretName
}

// ParseCopy reads SECRET=STORE:PATH#FIELD, where SECRET is what github.ParseSecretName
// reads. Without a field it is a secret that is one text.
func ParseCopy(text string) (Copy, error) {
	to, of, _ := strings.Cut(text, "=")
	name, err := github.ParseSecretName(to)
	if err != nil {
		return Copy{}, err
	}
	store, at, _ := strings.Cut(of, ":")
	path, field := at, secretstore.WholeText
	if n := strings.LastIndex(at, "#"); n >= 0 {
		path, field = at[:n], at[n+1:]
	}
	if store == "" || path == "" {
		return Copy{}, fmt.Errorf("%s: of what it is a copy must be of the form STORE:PATH#FIELD, and is %q", name, of)
	}
	return Copy{Of: secretstore.Location{Store: store, Path: path, Field: field}, To: name}, nil
}

// checkCopies refuses copies of what no store has.
func (cfg Config) checkCopies() error {
	for _, c := range cfg.Copies {
		known := false
		for _, s := range cfg.SecretStores {
			known = known || s.Name() == c.Of.Store
		}
		if !known {
			return fmt.Errorf("%s is to be a copy of %s, and no secret store %q is configured", c.To, c.Of, c.Of.Store)
		}
	}
	return nil
}

// A written copy holds what its place holds.
type written struct {
	To      string    `json:"to"`
	Updated time.Time `json:"updated"` // in GitHub's words
}

// copyFrom writes the copies of what changed at a place: of the fields that hold a part
// of the replacement. To write one twice does no harm, so that an attempt that was cut
// off is made again; and while one fails the step does, and the leaked credential lives.
func (r *remediation) copyFrom(ctx context.Context, p *place, replacement checks.Credential) error {
	p.Copies = nil
	var now secretstore.Content
	for _, c := range r.app.cfg.Copies {
		if c.Of.Store != p.Leaked.Store || c.Of.Path != p.Leaked.Path {
			continue
		}
		if now.Fields == nil {
			var err error
			if now, err = r.app.read(ctx, *p.Replacement); err != nil {
				return err
			}
		}
		if value := now.Fields[c.Of.Field]; carries(value, replacement) {
			updated, err := r.app.github.WriteSecret(ctx, c.To, value)
			if err != nil {
				return tellCopy(c, err)
			}
			p.Copies = append(p.Copies, written{c.To.String(), updated})
		}
	}
	return nil
}

// copiesOf are the copies that may have to be written when a place changes.
func (a *App) copiesOf(p place) (all []Copy) {
	for _, c := range a.cfg.Copies {
		if c.Of.Store == p.Leaked.Store && c.Of.Path == p.Leaked.Path && !p.Leaked.Superseded && p.Left == "" {
			all = append(all, c)
		}
	}
	return all
}

// mayCopy refuses places whose copies this process cannot write, before anything is done.
func (a *App) mayCopy(kept []place) error {
	for _, p := range kept {
		if copies := a.copiesOf(p); a.github == nil && len(copies) > 0 {
			return needPerson(fmt.Sprintf("%s is a copy of %s, and without a GitHub App nobody writes it: set STANCH_GITHUB_APP_ID and STANCH_GITHUB_PRIVATE_KEY, or let the server do it, then press Rotate now.",
				copies[0].To, copies[0].Of))
		}
	}
	return nil
}

// read is what a place holds, if it is what was put there.
func (a *App) read(ctx context.Context, at secretstore.Location) (secretstore.Content, error) {
	s, err := a.secretStore(at.Store)
	if err != nil {
		return secretstore.Content{}, err
	}
	now, err := s.Get(ctx, at)
	switch {
	case err != nil:
		return now, fmt.Errorf("read %s: %w", at, err)
	case now.Version != at.Version:
		return now, fmt.Errorf("copy %s: %w", at, secretstore.ErrConflict)
	}
	return now, nil
}

// carries reports whether a value is a part of a credential, or has its secret inside.
func carries(value checks.Secret, c checks.Credential) bool {
	for _, part := range c.Parts {
		if part.Len() > 0 && value == part {
			return true
		}
	}
	return secretstore.Holds(value, c)
}

// tellCopy says what a person must do about a copy that GitHub will not take; all else is
// worth another try.
func tellCopy(c Copy, err error) error {
	for _, definite := range []error{github.ErrForbidden, github.ErrNotFound, github.ErrInvalid, github.ErrGone} {
		if errors.Is(err, definite) {
			return needPerson(fmt.Sprintf("The replacement is stored, but %s, a copy of %s, cannot be written: %s. The leaked credential still works. Mend that, or take the copy out of STANCH_GITHUB_COPIES, then press Rotate now.",
				c.To, c.Of, definite))
		}
	}
	return err
}

// copiesText names the copies that were written, for people.
func copiesText(ps []place) string {
	var names []string
	for _, p := range ps {
		for _, c := range p.Copies {
			names = append(names, c.To)
		}
	}
	return strings.Join(names, "; ")
}
