package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/rules"
)

// trusts revokes a private key wherever something is known to trust it: as a deploy key
// at GitHub, and by its certificates in Vault.
type trusts struct {
	deploys      *deployKeys
	certificates *keys
}

func (a trusts) all() []revoker { return []revoker{a.deploys, a.certificates} }

func (a trusts) whyNoRevoke(rule *rules.Rule) string {
	var whys []string
	for _, one := range a.all() {
		why := one.whyNoRevoke(rule)
		if why == "" {
			return ""
		}
		whys = append(whys, why)
	}
	return strings.Join(whys, "; ")
}

// revoke has the key revoked in each of the places that know it. It cannot be done when
// none does.
func (a trusts) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	var done []Receipt
	var strangers error
	for _, one := range a.all() {
		if one.whyNoRevoke(rule) != "" {
			continue
		}
		receipt, err := one.revoke(ctx, rule, t)
		switch {
		case errors.Is(err, ErrCannotRevoke):
			strangers = errors.Join(strangers, err)
		case err != nil:
			return Receipt{}, err
		default:
			done = append(done, receipt)
		}
	}
	switch len(done) {
	case 0:
		return Receipt{}, strangers
	case 1:
		return done[0], nil
	}
	both := done[0]
	if done[1].Meaning == rules.MeansRevoked {
		both.Meaning = rules.MeansRevoked
	}
	both.Evidence.Answer = fmt.Sprintf("%s; %s: %s", both.Evidence.Answer, done[1].Evidence.Request, done[1].Evidence.Answer)
	return both, nil
}

// lastUse is that of the deploy key. Who uses certificates nobody tells.
func (a trusts) lastUse(ctx context.Context, rule *rules.Rule, t Target) (u Use, known bool, err error) {
	if a.deploys.whyNoRevoke(rule) != "" {
		return u, false, nil
	}
	return a.deploys.lastUse(ctx, rule, t)
}

func (a trusts) tell(rule *rules.Rule) Calls {
	var calls []string
	if a.deploys.whyNoRevoke(rule) == "" {
		calls = append(calls, "DELETE of the deploy key at GitHub")
	}
	if a.certificates.whyNoRevoke(rule) == "" {
		calls = append(calls, "POST of Vault's revoke-with-key for each of its certificates")
	}
	return Calls{Revoke: strings.Join(calls, ", ")}
}
