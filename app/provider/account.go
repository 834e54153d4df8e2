package provider

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// A Likeness is how the account that some place tells of compares with a credential's.
// People make the same password for several accounts, of which one has leaked.
type Likeness int

const (
	// SameAccount means that nothing says otherwise.
	SameAccount Likeness = iota
	// OtherServer means that the place tells of a server of another name, which may be
	// the same one: TakenAt asks it.
	OtherServer
	// OtherAccount means that the place tells of another user.
	OtherAccount
)

// HasAccounts reports whether what a rule finds are passwords, each of one account at one
// server, so that the same text may be another account's as well.
func (p *Providers) HasAccounts(rule string) bool { return p.logins(rule) != nil }

// logins is where the passwords that a rule finds are tried; nil for other kinds.
func (p *Providers) logins(rule string) *database {
	if r := p.rules[rule]; r != nil {
		if s, ok := p.verifier(r).(served); ok {
			return s.logins()
		}
	}
	return nil
}

// AccountName tells the account of a credential from others with the same password. It is
// empty for kinds that have none, and where the operator has not named its server.
func (p *Providers) AccountName(cred checks.Credential) string {
	d, l, ok := p.account(cred)
	if !ok {
		return ""
	}
	return d.userOf(l) + " at " + l.address()
}

// account is where a credential logs in, and with what.
func (p *Providers) account(cred checks.Credential) (*database, login, bool) {
	d := p.logins(cred.Rule)
	if d == nil || cred.Secret().Len() == 0 {
		return nil, login{}, false
	}
	l, why := d.login(cred)
	return d, l, why == ""
}

// Compare compares a credential's account with one that a place tells of by a user and a
// server, which are empty where it does not.
func (p *Providers) Compare(cred checks.Credential, user, host string) Likeness {
	d, l, ok := p.account(cred)
	switch {
	case !ok:
		return SameAccount
	case user != "" && !sameUser(user, d.userOf(l)):
		return OtherAccount
	case host != "" && !d.among(l, host):
		return OtherServer
	}
	return SameAccount
}

// userOf is who logs in: at Redis a password alone is the default user's.
func (d *database) userOf(l login) string {
	if l.user == "" && d.alone {
		return "default"
	}
	return l.user
}

// sameUser takes USER and USER@SERVER, as some who run databases for others have it, for
// the same: of another server the address tells.
func sameUser(a, b string) bool {
	nameA, _, fullA := strings.Cut(a, "@")
	nameB, _, fullB := strings.Cut(b, "@")
	return a == b || fullA != fullB && nameA == nameB
}

// among reports whether a login's server is among those of a text, separated by commas.
func (d *database) among(l login, text string) bool {
	for one := range strings.SplitSeq(text, ",") {
		name, port := splitPort(one)
		if port == "" {
			port = d.port
		}
		if net.JoinHostPort(canonical(name), port) == l.address() {
			return true
		}
	}
	return false
}

// ErrNotAllowed means that a server is not among those that the operator has named.
var ErrNotAllowed = errors.New(notAllowed)

// TakenAt asks another server, or the same one by another name, whether it takes a
// credential. Its errors are ErrNotAllowed, and mistakes of ours.
func (p *Providers) TakenAt(ctx context.Context, cred checks.Credential, host string) (Verdict, error) {
	cred.Parts = maps.Clone(cred.Parts)
	settings := parseSettings(cred.Parts["settings"].Expose())
	if len(settings) > 0 {
		var kept []string
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			if name != "host" && name != "hostaddr" && name != "port" {
				kept = append(kept, name+"="+settings[name])
			}
		}
		cred.Parts["settings"] = checks.NewSecret(strings.Join(kept, "&"))
	}
	cred.Parts["host"] = checks.NewSecret(host)
	if _, _, ok := p.account(cred); !ok {
		return Verdict{}, ErrNotAllowed
	}
	return p.VerifyAgain(ctx, cred)
}
