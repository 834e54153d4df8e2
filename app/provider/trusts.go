package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// trusts replaces and revokes a private key wherever something is known to trust it: as
// a deploy key at GitHub, and by its certificates in Vault.
type trusts struct {
	deploys      *deployKeys
	certificates *keys
}

func (a trusts) all() []revoker { return []revoker{a.deploys, a.certificates} }

func (a trusts) whyNoRevoke(rule *rules.Rule) string {
	return unlessOne(a.deploys.whyNoRevoke(rule), a.certificates.whyNoRevoke(rule))
}

func (a trusts) whyNoIssue(rule *rules.Rule) string {
	return unlessOne(a.deploys.whyNoIssue(rule), a.certificates.whyNoIssue(rule))
}

// unlessOne joins the reasons why nobody can, if that is so.
func unlessOne(deploys, certificates string) string {
	if deploys == "" || certificates == "" {
		return ""
	}
	return deploys + "; " + certificates
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

// prepare makes the key that is to be trusted instead. One that is trusted in both ways
// has two successors, and a person.
func (a trusts) prepare(ctx context.Context, rule *rules.Rule, t Target, operation string) (Prepared, error) {
	certified, err := a.certificates.certified(ctx, t)
	if err != nil {
		return Prepared{}, fmt.Errorf("issue %s: %w", rule.ID, err)
	}
	deployed, err := a.deployed(ctx, rule, t)
	switch {
	case err != nil:
		return Prepared{}, err
	case certified && deployed:
		return Prepared{}, fmt.Errorf("issue %s: %w: it is a deploy key at GitHub and has certificates of Vault's: make a new key for each by hand, then press Revoke now", rule.ID, ErrCannotIssue)
	case deployed:
		return a.deploys.prepare(ctx, rule, t, operation)
	case certified:
		return a.certificates.prepare(ctx, rule, t, operation)
	}
	return Prepared{}, fmt.Errorf("issue %s: %w: it is a deploy key of none of the repositories of STANCH_GITHUB_DEPLOY_KEYS, and no engine of STANCH_VAULT_PKI_MOUNTS has certified it", rule.ID, ErrCannotIssue)
}

// deployed reports whether a key is a deploy key, or was when it was verified.
func (a trusts) deployed(ctx context.Context, rule *rules.Rule, t Target) (bool, error) {
	if a.deploys.whyNoIssue(rule) != "" {
		return false, nil
	}
	repo, _, err := a.deploys.find(ctx, t.Secret())
	if err != nil {
		return false, fmt.Errorf("issue %s: %w", rule.ID, err)
	}
	return repo != "" || t.Identity[keyRepository] != "", nil
}

func (a trusts) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	if r.Prepared.Seen[seenMount] != "" {
		return a.certificates.issue(ctx, rule, r)
	}
	return a.deploys.issue(ctx, rule, r)
}

func (a trusts) tell(rule *rules.Rule) Calls {
	var revoked, issued []string
	if a.deploys.whyNoRevoke(rule) == "" {
		revoked = append(revoked, "DELETE of the deploy key at GitHub")
		issued = append(issued, "POST of a new deploy key at GitHub")
	}
	if a.certificates.whyNoRevoke(rule) == "" {
		revoked = append(revoked, "POST of Vault's revoke-with-key for each of its certificates")
		issued = append(issued, "POST of a new key's request to Vault's sign/:role")
	}
	return Calls{Revoke: strings.Join(revoked, ", "), Issue: strings.Join(issued, ", or ")}
}
