package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// trusts replaces and revokes a private key wherever something is known to trust it: as
// a deploy key at GitHub, by its certificates in Vault, and as an SSH authority there.
type trusts struct {
	deploys      *deployKeys
	certificates *keys
	authorities  *sshAuthorities
}

func (a trusts) all() []revoker { return []revoker{a.deploys, a.certificates, a.authorities} }

func (a trusts) whyNoRevoke(rule *rules.Rule) string {
	return unlessOne(a.deploys.whyNoRevoke(rule), a.certificates.whyNoRevoke(rule), a.authorities.whyNoRevoke(rule))
}

func (a trusts) whyNoIssue(rule *rules.Rule) string {
	return unlessOne(a.deploys.whyNoIssue(rule), a.certificates.whyNoIssue(rule), a.authorities.whyNoIssue(rule))
}

// unlessOne joins the reasons why nobody can, if that is so.
func unlessOne(reasons ...string) string {
	if slices.Contains(reasons, "") {
		return ""
	}
	return strings.Join(reasons, "; ")
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
	all := done[0]
	for _, one := range done[1:] {
		if one.Meaning == rules.MeansRevoked {
			all.Meaning = rules.MeansRevoked
		}
		all.Evidence.Answer = fmt.Sprintf("%s; %s: %s", all.Evidence.Answer, one.Evidence.Request, one.Evidence.Answer)
	}
	return all, nil
}

// lastUse is that of the deploy key. Who uses certificates nobody tells.
func (a trusts) lastUse(ctx context.Context, rule *rules.Rule, t Target) (u Use, known bool, err error) {
	if a.deploys.whyNoRevoke(rule) != "" {
		return u, false, nil
	}
	return a.deploys.lastUse(ctx, rule, t)
}

// prepare makes the key that is to be trusted instead. One that is trusted in more than
// one way has as many successors, and a person.
func (a trusts) prepare(ctx context.Context, rule *rules.Rule, t Target, operation string) (Prepared, error) {
	certified, err := a.certificates.certified(ctx, t)
	if err != nil {
		return Prepared{}, fmt.Errorf("issue %s: %w", rule.ID, err)
	}
	deployed, err := a.deployed(ctx, rule, t)
	if err != nil {
		return Prepared{}, err
	}
	authority, err := a.authorities.live(ctx, rule, t, ErrCannotIssue)
	switch {
	case err != nil:
		return Prepared{}, err
	case certified && deployed, authority != nil && (certified || deployed):
		return Prepared{}, fmt.Errorf("issue %s: %w: it is more than one of these: a deploy key at GitHub, a key with certificates of Vault's, an SSH authority of Vault's: make a new key for each by hand, then press Revoke now", rule.ID, ErrCannotIssue)
	case authority != nil:
		return a.authorities.prepare(authority), nil
	case deployed:
		return a.deploys.prepare(ctx, rule, t, operation)
	case certified:
		return a.certificates.prepare(ctx, rule, t, operation)
	}
	return Prepared{}, fmt.Errorf("issue %s: %w: it is a deploy key of none of the repositories of STANCH_GITHUB_DEPLOY_KEYS, no engine of STANCH_VAULT_PKI_MOUNTS has certified it, and none of STANCH_VAULT_SSH_MOUNTS signs with it", rule.ID, ErrCannotIssue)
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
	switch {
	case r.Prepared.Seen[seenSSHIssuer] != "":
		return a.authorities.issue(ctx, rule, r)
	case r.Prepared.Seen[seenMount] != "":
		return a.certificates.issue(ctx, rule, r)
	}
	return a.deploys.issue(ctx, rule, r)
}

// holds is what a replacement of an SSH authority changes.
func (a trusts) holds(_ *rules.Rule, t Target) string { return a.authorities.holds(t) }

// moves says what the hosts that trust an SSH authority do. Other keys are replaced where
// they are stored.
func (a trusts) moves(_ *rules.Rule, t Target, replacement checks.Credential) string {
	return a.authorities.moves(t, replacement)
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
	if a.authorities.whyNoRevoke(rule) == "" {
		revoked = append(revoked, "DELETE of the SSH authority at Vault's issuer/:id")
		issued = append(issued, "POST of a new SSH authority to Vault's issuers/import/:name")
	}
	return Calls{Revoke: strings.Join(revoked, ", "), Issue: strings.Join(issued, ", or ")}
}
