package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A Target is the credential that something is to be done to. What its provider said
// of it when it was verified goes along, because a provider is told which key, user or
// accessor is meant, and never to take the first of a list.
type Target struct {
	checks.Credential
	Identity map[string]string
}

// A Prepared is what Stanch knows before it asks for a replacement. It is kept, the
// draft sealed, before the first request is sent: who comes back after a crash can
// send the same request again, or tell what came into being since.
type Prepared struct {
	// Draft is the replacement where Stanch makes it by itself, a password or a key
	// pair; without parts where the provider makes it.
	Draft checks.Credential
	// Seen is what there was before, such as the ids of a user's keys. No secrets.
	Seen map[string]string
}

// A Request is for a replacement of Old.
type Request struct {
	Old       Target
	Operation string // goes along, so that the new credential can be traced to it
	Prepared  Prepared
	// InPlace asks for another password of the same user where the replacement would
	// otherwise be another user: for orders that revoke first, and for stores that hold
	// the password without the user. Where a user has one password only, the leaked one
	// dies at that moment, and the sessions begun with it.
	InPlace bool
	// Again says that a request of this operation was sent and nobody knows what came
	// of it.
	Again bool
}

// An UnsettledError means that nobody but a person can tell whether an earlier request
// has made a replacement.
type UnsettledError struct{ Look string }

// Error says what is to be looked at.
func (e *UnsettledError) Error() string {
	return "whether a replacement was issued is not known: " + e.Look
}

// ErrCannotDisable means that the credential was not disabled, or not enabled again.
var ErrCannotDisable = errors.New("cannot be disabled")

// A revoker makes a credential useless for good. Revoking a dead one succeeds.
type revoker interface {
	whyNoRevoke(*rules.Rule) string
	revoke(context.Context, *rules.Rule, Target) (Receipt, error)
}

// A disabler makes a credential useless in a way that can be taken back, until revoke
// makes it so for good. What was minted from it dies as well, where the provider can.
// Both may be repeated.
type disabler interface {
	disable(context.Context, *rules.Rule, Target) (Receipt, error)
	enable(context.Context, *rules.Rule, Target) (Receipt, error)
}

// An issuer has replacements made. Asked Again it looks first what came of the earlier
// request, and returns an UnsettledError when it cannot tell.
type issuer interface {
	whyNoIssue(*rules.Rule) string
	issue(context.Context, *rules.Rule, Request) (checks.Credential, error)
}

// A preparer is an issuer that makes replacements itself, or looks around before it
// asks for one. It changes nothing.
type preparer interface {
	prepare(context.Context, *rules.Rule, Target, string) (Prepared, error)
}

// A holder names what only one remediation may work on at a time, if that is more than
// the credential itself: the user whose second key is the replacement.
type holder interface {
	holds(*rules.Rule, Target) string
}

// A keeper is an issuer whose replacements stay where they come into being: a newer
// version in an engine. What the old one has encrypted or signed its users move over
// before it ends; moves tells them how, and with what replacement, once there is one. It is empty for
// credentials whose replacements leave their issuer.
type keeper interface {
	moves(rule *rules.Rule, old Target, replacement checks.Credential) string
}

// A Use is a credential's last use, as far as its provider tells.
type Use struct {
	At time.Time // the zero Time for never, as far as the provider remembers
	By string    // the service or address
	// Partial is what the provider does not tell. Where there is such, nobody may conclude
	// that the credential is not in use.
	Partial  string
	Evidence Evidence
}

// An observer tells when a credential was last used. Known tells whether the provider
// could say so; if it could not, the evidence's answer may say why.
type observer interface {
	lastUse(context.Context, *rules.Rule, Target) (u Use, known bool, err error)
}

// Revoke makes a credential useless for good. Revoking a dead one succeeds. Proof that
// it is dead is not the receipt but the next Verify.
func (p *Providers) Revoke(ctx context.Context, t Target) (Receipt, error) {
	rule, err := p.rule(t.Credential)
	if err != nil {
		return Receipt{}, err
	}
	if why := p.whyNoRevoke(rule); why != "" {
		return Receipt{}, fmt.Errorf("revoke %s: %w: %s", rule.ID, ErrCannotRevoke, why)
	}
	return p.change(ctx, rule, t, p.engineFirst(p.driverRevokes))
}

// driverRevokes has the driver that the rule names revoke a credential.
func (p *Providers) driverRevokes(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	if why := p.whyNoDriverRevokes(rule); why != "" {
		return Receipt{}, fmt.Errorf("revoke %s: %w: %s", rule.ID, ErrCannotRevoke, why)
	}
	return p.revokers[rule.Revoke.DriverName()].revoke(ctx, rule, t)
}

// A keepingEngine is an engine of Vault's that gives out credentials of another provider.
type keepingEngine interface {
	// covers says whether credentials of a kind may be the engine's.
	covers(*rules.Rule) bool
	// keeps finds what keeps a credential.
	keeps(context.Context, *rules.Rule, Target) (kept, error)
	revoke(context.Context, *rules.Rule, Target, kept) (Receipt, error)
	issue(context.Context, *rules.Rule, Request) (checks.Credential, error)
}

// engineOf is the engine that may keep credentials of a kind; nil without one.
func (p *Providers) engineOf(rule *rules.Rule) keepingEngine {
	for _, e := range p.engines {
		if e.covers(rule) {
			return e
		}
	}
	return nil
}

// engineFirst has the engine that keeps a credential revoke it, and do the rest.
func (p *Providers) engineFirst(do func(context.Context, *rules.Rule, Target) (Receipt, error)) func(context.Context, *rules.Rule, Target) (Receipt, error) {
	return func(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
		e := p.engineOf(rule)
		if e == nil {
			return do(ctx, rule, t)
		}
		k, err := e.keeps(ctx, rule, t)
		switch {
		case err != nil:
			return Receipt{}, err
		case k.path != "" && !k.before:
			return e.revoke(ctx, rule, t, k)
		}
		return do(ctx, rule, t)
	}
}

// Disable makes a credential useless until Enable or Revoke. Only what Can says is
// Reversible has it. What an engine keeps is revoked at once: the engine would not know
// that somebody disabled its user.
func (p *Providers) Disable(ctx context.Context, t Target) (Receipt, error) {
	return p.reversibly(ctx, t, func(d disabler, ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
		return p.engineFirst(d.disable)(ctx, rule, t)
	})
}

// Enable takes back what Disable did.
func (p *Providers) Enable(ctx context.Context, t Target) (Receipt, error) {
	return p.reversibly(ctx, t, disabler.enable)
}

func (p *Providers) reversibly(ctx context.Context, t Target, do func(disabler, context.Context, *rules.Rule, Target) (Receipt, error)) (Receipt, error) {
	rule, err := p.rule(t.Credential)
	if err != nil {
		return Receipt{}, err
	}
	d, ok := p.disabler(rule)
	if !ok {
		return Receipt{}, fmt.Errorf("disable %s: %w: its provider has no way to take that back", rule.ID, ErrCannotDisable)
	}
	return p.change(ctx, rule, t, func(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) { return do(d, ctx, rule, t) })
}

// change does something to a credential within the provider's rate and a time, after
// which nothing that was known of it counts.
func (p *Providers) change(ctx context.Context, rule *rules.Rule, t Target, do func(context.Context, *rules.Rule, Target) (Receipt, error)) (Receipt, error) {
	if err := p.limits.count(rule.Provider); err != nil {
		return Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.changeWithin)
	defer cancel()
	defer p.forget(rule, t.Credential)
	return do(ctx, rule, t)
}

// disabler is what disables a kind, if it can be revoked as things are configured.
func (p *Providers) disabler(rule *rules.Rule) (disabler, bool) {
	if p.whyNoDriverRevokes(rule) != "" {
		return nil, false
	}
	d, ok := p.revokers[rule.Revoke.DriverName()].(disabler)
	return d, ok
}

// LastUse tells when a credential was last used, and whether that is known at all.
func (p *Providers) LastUse(ctx context.Context, t Target) (u Use, known bool, err error) {
	rule, err := p.rule(t.Credential)
	if err != nil {
		return Use{}, false, err
	}
	o, ok := p.revokers[rule.Revoke.DriverName()].(observer)
	if !ok || p.whyNoDriverRevokes(rule) != "" {
		return Use{}, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.changeWithin)
	defer cancel()
	return o.lastUse(ctx, rule, t)
}

// Reversible says whether revoking this credential begins with a step that can be taken
// back. What an engine keeps has one password at a time: the old one does not come back.
func (p *Providers) Reversible(t Target) bool {
	return p.Can(t.Rule).Reversible && t.Identity[keptBy] == ""
}

// Prepare gets ready to issue a replacement of t for an operation. It changes nothing.
func (p *Providers) Prepare(ctx context.Context, t Target, operation string) (Prepared, error) {
	rule, err := p.issued(t)
	if err != nil {
		return Prepared{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.changeWithin)
	defer cancel()
	if e := p.engineOf(rule); e != nil {
		if k, err := e.keeps(ctx, rule, t); err != nil || k.path != "" {
			return Prepared{Seen: k.seen()}, err
		}
	}
	first, ok := p.issuers[rule.Issue.DriverName()].(preparer)
	if !ok || p.whyNoDriverIssues(rule) != "" {
		return Prepared{}, nil
	}
	return first.prepare(ctx, rule, t, operation)
}

// Issue asks for the replacement that was prepared. An error that is ErrCannotIssue is
// definite: nothing was issued. An UnsettledError needs a person. After any other error
// the request may be sent Again.
func (p *Providers) Issue(ctx context.Context, r Request) (checks.Credential, error) {
	rule, err := p.issued(r.Old)
	if err != nil {
		return checks.Credential{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.changeWithin)
	defer cancel()
	if e := p.engineOf(rule); e != nil && r.Prepared.Seen[keptBy] != "" {
		return e.issue(ctx, rule, r)
	}
	if why := p.whyNoDriverIssues(rule); why != "" {
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %s", rule.ID, ErrCannotIssue, why)
	}
	return p.issuers[rule.Issue.DriverName()].issue(ctx, rule, r)
}

// issued is the rule of a credential, if there is a way to replace it.
func (p *Providers) issued(t Target) (*rules.Rule, error) {
	rule, err := p.rule(t.Credential)
	if err != nil {
		return nil, err
	}
	if why := p.whyNoIssue(rule); why != "" {
		return nil, fmt.Errorf("issue %s: %w: %s", rule.ID, ErrCannotIssue, why)
	}
	return rule, nil
}

// Moves says what a credential's users do before it ends, where its replacement is a newer
// version in an engine and nothing is put into a store. It is empty for all others.
func (p *Providers) Moves(t Target, replacement checks.Credential) string {
	rule, ok := p.rules[t.Rule]
	if !ok {
		return ""
	}
	if k, ok := p.issuers[rule.Issue.DriverName()].(keeper); ok {
		return k.moves(rule, t, replacement)
	}
	return ""
}

// Holds names what a remediation of t works on, which no other one may work on
// meanwhile; empty when that is the credential alone.
func (p *Providers) Holds(t Target) string {
	rule, ok := p.rules[t.Rule]
	if !ok {
		return ""
	}
	if path := t.Identity[keptBy]; path != "" {
		return "vault " + path
	}
	if h, ok := p.issuers[rule.Issue.DriverName()].(holder); ok {
		return h.holds(rule, t)
	}
	return ""
}
