package provider

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A verifier asks one question: is this credential live? The grade, the control, the
// provider's rate and what is remembered are the caller's. What was not sent to
// anybody is unknown for ReasonNotAsked.
type verifier interface {
	verify(context.Context, *rules.Rule, checks.Credential) (Verdict, error)
	host(*rules.Rule, checks.Credential) string // that is asked: what a control and a verdict are remembered for
	ready(*rules.Rule) string
}

// Verify tells whether a credential is live: what the provider said a short while
// ago, or what it says now. Each credential is asked about once in the lifetime of a
// verdict, however many want to know. Whatever goes wrong on the way is a verdict of
// Unknown with its evidence; an error means a mistake of ours or in the catalogue.
func (p *Providers) Verify(ctx context.Context, cred checks.Credential) (Verdict, error) {
	return p.VerifySince(ctx, cred, time.Time{})
}

// VerifySince is Verify for somebody who knows that at a moment something may have
// happened to a live credential: that it was live before then does not count.
func (p *Providers) VerifySince(ctx context.Context, cred checks.Credential, since time.Time) (Verdict, error) {
	return p.verify(ctx, cred, func(v Verdict) bool { return v.Validity != checks.Active || !v.Evidence.At.Before(since) })
}

// VerifyAgain asks the provider now, whatever it said before: for proof that a
// credential is dead, and for people who ask.
func (p *Providers) VerifyAgain(ctx context.Context, cred checks.Credential) (Verdict, error) {
	return p.verify(ctx, cred, nil)
}

// verify tells a remembered verdict that is good enough, if that is not nil, or asks.
func (p *Providers) verify(ctx context.Context, cred checks.Credential, enough func(Verdict) bool) (Verdict, error) {
	rule, err := p.rule(cred)
	if err != nil {
		return Verdict{}, err
	}
	v := p.verifier(rule)
	if v == nil {
		return p.notAsked("no verification for this kind"), nil
	}
	if why := p.closed(rule, v); why != "" {
		return p.notAsked(why), nil
	}
	key := p.question(rule, cred)
	recall := func() (Verdict, bool) {
		known, ok := p.cache.get(key)
		return known, ok && enough != nil && enough(known)
	}
	for round := 0; ; round++ {
		if known, ok := recall(); ok {
			return known, nil
		}
		// The question outlives the caller who happened to ask it first; the others
		// still wait for the answer.
		asked := false
		flight := p.flights.DoChan(fmt.Sprintf("%t %s", enough == nil, key), func() (any, error) {
			if known, ok := recall(); ok { // from the flight before
				return known, nil
			}
			asked = true
			verdict, err := p.ask(context.WithoutCancel(ctx), v, rule, cred)
			if err == nil {
				p.cache.put(key, verdict)
			}
			return verdict, err
		})
		select {
		case <-ctx.Done():
			return p.notAsked("cancelled"), nil
		case r := <-flight:
			if r.Err != nil {
				return Verdict{}, r.Err
			}
			// Who asked first may have been content with less.
			if verdict := r.Val.(Verdict).clone(); enough == nil || enough(verdict) || asked || round > 0 {
				return verdict, nil
			}
		}
	}
}

// closed says why a kind is not asked about.
func (p *Providers) closed(rule *rules.Rule, v verifier) string {
	switch {
	case p.off:
		return "verification is switched off"
	case p.only != nil && !p.only[rule.ID]:
		return "this kind is not among those that are verified"
	}
	return v.ready(rule)
}

// ask asks about cred, and then about a random value unless that was settled a
// short while ago.
func (p *Providers) ask(ctx context.Context, v verifier, rule *rules.Rule, cred checks.Credential) (Verdict, error) {
	verdict, err := p.bounded(ctx, v, rule, cred)
	if err != nil {
		return Verdict{}, err
	}
	// Where no answer of anybody's was believed, none is held against a control.
	if verdict.Validity != checks.Unknown && verdict.Evidence.Control == "" {
		controlled, err := p.settle(ctx, v, rule, cred)
		if err != nil {
			return Verdict{}, err
		}
		verdict.judge(controlled)
	}
	if err := p.measure(ctx, rule, cred, &verdict); err != nil {
		return Verdict{}, err
	}
	verdict.SelfHosted = verdict.SelfHosted || rule.Provider != nil && p.selfHosted[rule.Provider.Name]
	p.tally.add(rule, verdict)
	p.log.LogAttrs(ctx, slog.LevelDebug, "verified", slog.String("rule", rule.ID),
		slog.String("validity", string(verdict.Validity)), slog.String("grade", string(verdict.Grade)), slog.String("reason", string(verdict.Reason)),
		slog.String("answer", verdict.Evidence.Answer), slog.String("control", verdict.Evidence.Control))
	return verdict, nil
}

// bounded asks one question when it is the provider's turn, unless the host rests.
func (p *Providers) bounded(ctx context.Context, v verifier, rule *rules.Rule, cred checks.Credential) (Verdict, error) {
	host := providerName(rule) + " " + v.host(rule, cred)
	if until, ok := p.limits.resting(host); ok {
		return p.notAsked("not asked: the host fails and is left alone until " + until.UTC().Format(time.TimeOnly)), nil
	}
	if why, err := p.limits.turn(ctx, rule.Provider); err != nil || why != "" {
		return p.notAsked(why), err
	}
	ctx, cancel := context.WithTimeout(ctx, p.within)
	defer cancel()
	verdict, err := v.verify(ctx, rule, cred)
	if err == nil {
		verdict.explain()
		p.limits.learn(host, verdict)
	}
	return verdict, err
}

// explain gives an unknown the reason that its driver did not tell.
func (v *Verdict) explain() {
	switch status := v.Evidence.Status; {
	case v.Validity != checks.Unknown || v.Reason != "":
	case status == 0:
		v.Reason = ReasonUnreachable
	case status == http.StatusTooManyRequests:
		v.Reason = ReasonLimited
	case status >= http.StatusInternalServerError:
		v.Reason = ReasonServerError
	default:
		v.Reason = ReasonUnfit
	}
}

// question names a credential and where it is asked about by a keyed hash, so that
// what is kept in memory by that name holds no secret.
func (p *Providers) question(rule *rules.Rule, cred checks.Credential) string {
	mac := hmac.New(sha256.New, p.key)
	fmt.Fprintf(mac, "%q %q", rule.ID, p.verifier(rule).host(rule, cred))
	for _, name := range slices.Sorted(maps.Keys(cred.Parts)) {
		fmt.Fprintf(mac, " %q %q", name, cred.Parts[name].Expose())
	}
	return string(mac.Sum(nil))
}

// forget makes what was said about a credential so far worth nothing.
func (p *Providers) forget(rule *rules.Rule, cred checks.Credential) {
	if p.verifier(rule) != nil {
		p.cache.forget(p.question(rule, cred))
	}
}

func (p *Providers) notAsked(why string) Verdict {
	return Verdict{Validity: checks.Unknown, Grade: GradeC, Reason: ReasonNotAsked, Evidence: Evidence{Answer: why, At: p.now()}}
}

// clone returns a verdict of which nobody else holds a part.
func (v Verdict) clone() Verdict {
	v.Evidence.Identity = maps.Clone(v.Evidence.Identity)
	if r := v.Evidence.Radius; r != nil {
		own := *r
		own.Permissions = slices.Clone(r.Permissions)
		v.Evidence.Radius = &own
	}
	return v
}
