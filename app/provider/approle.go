package provider

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// appRole verifies, replaces and destroys the secret ids of Vault's and OpenBao's
// AppRole, with Stanch's own token. It asks each role whether it knows a secret id:
// logging in would say the same, but it uses a secret id up and makes a token. The role
// id that stands beside a secret id is no secret and stays what it is.
// https://developer.hashicorp.com/vault/api-docs/auth/approle
type appRole struct {
	vault  *vault
	mounts []string // "approle"
}

func newAppRole(v *vault, mounts []string) appRole {
	if len(mounts) == 0 {
		mounts = []string{"approle"}
	}
	a := appRole{vault: v}
	for _, mount := range mounts {
		a.mounts = append(a.mounts, strings.Trim(mount, "/"))
	}
	return a
}

// What is asked of a mount, and of a role there.
const (
	listRoles       = "GET /v1/auth/%s/role?list=true"
	lookupSecretID  = "POST /v1/auth/%s/role/%s/secret-id/lookup"
	destroySecretID = "POST /v1/auth/%s/role/%s/secret-id/destroy"
	customSecretID  = "POST /v1/auth/%s/role/%s/custom-secret-id"
)

// maxRoles bounds how many roles of a mount are asked about one secret id.
const maxRoles = 100

func (a appRole) ready(*rules.Rule) string { return a.vault.whyNoIssue(nil) }

func (a appRole) host(*rules.Rule, checks.Credential) string {
	return a.vault.addr + "/v1/auth/" + strings.Join(a.mounts, ",")
}

func (a appRole) verify(ctx context.Context, _ *rules.Rule, cred checks.Credential) (Verdict, error) {
	return a.find(ctx, cred), nil
}

// find asks all roles. Of a secret id that a role knows there is an identity.
func (a appRole) find(ctx context.Context, cred checks.Credential) Verdict {
	var verdict Verdict
	asked := 0
	for _, mount := range a.mounts {
		roles, evidence, why := a.vault.listed(ctx, fmt.Sprintf(listRoles, mount))
		verdict = Verdict{Validity: checks.Unknown, Grade: GradeC, Evidence: evidence}
		switch {
		case why != "":
			verdict.Evidence.Answer = why
			return verdict
		case len(roles) > maxRoles:
			verdict.Evidence.Answer = fmt.Sprintf("there are more than %d roles to ask", maxRoles)
			return verdict
		}
		for _, role := range roles {
			asked++
			if verdict = a.ask(ctx, mount, role, cred.Secret()); verdict.Validity != checks.Inactive || len(verdict.Evidence.Identity) > 0 {
				return verdict
			}
		}
	}
	if asked == 0 {
		verdict.Validity, verdict.Evidence.Answer = checks.Unknown, "there is no role to ask"
		return verdict
	}
	verdict.Validity, verdict.Evidence.Answer = checks.Inactive, "no role knows it"
	return verdict
}

// ask asks one role. A secret id that it does not know gets an empty answer; one that
// has expired is kept until Vault tidies up.
func (a appRole) ask(ctx context.Context, mount, role string, secret checks.Secret) Verdict {
	what := ofRole(lookupSecretID, mount, role)
	evidence, got := a.vault.call(ctx, what, a.vault.own, map[string]any{"secret_id": secret.Expose()})
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Evidence: evidence}
	data, _ := got.object["data"].(map[string]any)
	accessor, _ := data["secret_id_accessor"].(string)
	switch {
	case lacked(what, got) != "":
		verdict.Evidence.Answer = lacked(what, got)
	case got.fault != "":
	case got.empty && got.status == http.StatusNoContent:
		verdict.Validity = checks.Inactive
	case got.status == http.StatusOK && accessor != "":
		verdict.Evidence.Identity = secretIDIdentity(mount, role, data)
		verdict.Validity, verdict.Evidence.Answer = checks.Active, "200 with identity"
		expires, err := time.Parse(time.RFC3339Nano, verdict.Evidence.Identity["expires"])
		if err == nil && !expires.IsZero() && a.vault.now().After(expires) {
			verdict.Validity, verdict.Evidence.Answer = checks.Inactive, "200, and it has expired"
		}
	}
	return verdict
}

func ofRole(what, mount, role string) string { return fmt.Sprintf(what, mount, url.PathEscape(role)) }

// tooManyAddresses stands for a limit that no replacement can be given.
const tooManyAddresses = "more addresses than Stanch remembers"

// secretIDIdentity keeps what names a secret id and what its replacement must be like.
func secretIDIdentity(mount, role string, data map[string]any) map[string]string {
	r := reply{value: data, json: true}
	found := map[string]string{"mount": mount, "role": role, "num_uses": fmt.Sprint(data["secret_id_num_uses"])}
	for name, field := range map[string]string{
		"secret_id_accessor": "secret_id_accessor", "created": "creation_time", "expires": "expiration_time",
		"ttl": "secret_id_ttl", "operation": "metadata." + operationMeta,
	} {
		found[name], _ = r.field(field)
	}
	for _, name := range []string{"cidr_list", "token_bound_cidrs"} {
		// Cut short, 10.1.2.0/24 would become 10.1.2.0/2.
		if found[name] = strings.Join(policies(data, name), ","); len(found[name]) > maxText {
			found[name] = tooManyAddresses
		}
	}
	return shortened(found)
}

func (a appRole) whyNoRevoke(*rules.Rule) string { return a.vault.whyNoIssue(nil) }

func (a appRole) whyNoIssue(*rules.Rule) string { return a.vault.whyNoIssue(nil) }

// revoke destroys exactly this secret id, by its value under the role that knows it,
// and the tokens that it is known to have made.
func (a appRole) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	verdict := a.find(ctx, t.Credential)
	receipt := Receipt{Meaning: rules.MeansAlreadyDead, Evidence: verdict.Evidence}
	found := verdict.Evidence.Identity
	switch {
	case verdict.Validity == checks.Unknown:
		return Receipt{}, unfit("revoke", rule, verdict.Evidence.Answer, verdict.Evidence)
	case len(found) == 0:
		found = t.Identity
	default:
		_, evidence, why := a.vault.asked(ctx, ofRole(destroySecretID, found["mount"], found["role"]), map[string]any{"secret_id": t.Secret().Expose()})
		if why != "" {
			return Receipt{}, unfit("revoke", rule, why, evidence)
		}
		receipt = Receipt{Meaning: rules.MeansRevoked, Evidence: evidence}
		receipt.Evidence.Identity = found
	}
	told, err := a.endTokens(ctx, rule, found)
	receipt.Evidence.Answer += "; " + told
	return receipt, err
}

// endTokens revokes the tokens that a secret id made, and says what is left. A token
// carries the metadata of its secret id, so that those of one that Stanch issued are
// certain. Those of others say only whose role they are, which its other secret ids
// share: these are counted, and live on. Batch tokens nobody can list.
func (a appRole) endTokens(ctx context.Context, rule *rules.Rule, id map[string]string) (told string, err error) {
	if id["role"] == "" {
		return "which tokens it made is not known", nil
	}
	since, _ := time.Parse(time.RFC3339Nano, id["created"])
	tokens, why := a.vault.findTokens(ctx, func(token reply) bool {
		path, _ := token.field("path")
		role, _ := token.field("meta.role_name")
		operation, _ := token.field("meta." + operationMeta)
		issued, _ := token.field("issue_time")
		at, err := time.Parse(time.RFC3339Nano, issued)
		return path == "auth/"+id["mount"]+"/login" && role == id["role"] && operation == id["operation"] && (err != nil || !at.Before(since))
	})
	switch {
	case why != "":
		return "the tokens that it made were not looked for, and live until their time is over: " + why, nil
	case len(tokens) == 0:
		return "it made no token that lives", nil
	case id["operation"] == "":
		return fmt.Sprintf("%d tokens of role %s may be made by it or by another secret id, the last of them until %s: revoke them by accessor where that is worse than a new login",
			len(tokens), id["role"], lastEnd(tokens)), nil
	}
	for _, token := range tokens {
		accessor, _ := token.field("accessor")
		if _, err := a.vault.revokeByAccessor(ctx, rule, accessor); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d tokens that it made are revoked", len(tokens)), nil
}

// lastEnd is when the last of some tokens ends.
func lastEnd(tokens []reply) string {
	var ends []string
	for _, token := range tokens {
		end, ok := token.field("expire_time")
		if !ok {
			return "somebody revokes it"
		}
		ends = append(ends, end)
	}
	return slices.Max(ends) // all in UTC
}

// prepare makes the replacement, and remembers what limits the old one had.
func (a appRole) prepare(ctx context.Context, _ *rules.Rule, t Target, _ string) (Prepared, error) {
	seen := a.find(ctx, t.Credential).Evidence.Identity
	if len(seen) == 0 {
		seen = t.Identity // of before it was destroyed
	}
	return Prepared{Draft: withSecret(t.Credential, checks.NewSecret(uuid.NewString())), Seen: seen}, nil
}

// issue has the role take the secret id that was prepared, with the limits of the old
// one. Vault takes each secret id once, so that asking again does no harm.
func (a appRole) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	old := r.Prepared.Seen
	mount, role := old["mount"], old["role"]
	switch {
	case role == "" || mount == "":
		return checks.Credential{}, fmt.Errorf("issue %s: %w: no role knows the old one", rule.ID, ErrCannotIssue)
	case old["cidr_list"] == tooManyAddresses || old["token_bound_cidrs"] == tooManyAddresses:
		return checks.Credential{}, fmt.Errorf("issue %s: %w: the old one is bound to %s", rule.ID, ErrCannotIssue, tooManyAddresses)
	}
	what := ofRole(customSecretID, mount, role)
	evidence, got := a.vault.call(ctx, what, a.vault.own, limitsOf(r))
	// Of one that is registered already Vault says 500.
	known := a.ask(ctx, mount, role, r.Prepared.Draft.Secret())
	switch {
	case known.Evidence.Identity["operation"] == r.Operation:
		return r.Prepared.Draft, nil
	case lacked(what, got) != "":
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %s", rule.ID, ErrCannotIssue, lacked(what, got))
	case got.fault == "" && got.status >= 400 && len(complaints(got)) > 0 && known.Validity == checks.Inactive:
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %s answered: %s", rule.ID, ErrCannotIssue, evidence.Request, evidence.Answer)
	case done(got): // but it is not to be seen
		return checks.Credential{}, unfit("issue", rule, known.Evidence.Answer, known.Evidence)
	}
	return checks.Credential{}, &AnswerError{Rule: rule.ID, Evidence: evidence}
}

// limitsOf is the body that registers a secret id. What is not asked for is as the role
// has it; it may not be used longer or more often than the old one had left.
func limitsOf(r Request) map[string]any {
	body := map[string]any{
		"secret_id": r.Prepared.Draft.Secret().Expose(),
		"metadata":  fmt.Sprintf(`{%q:%q}`, operationMeta, r.Operation),
	}
	for _, name := range []string{"cidr_list", "token_bound_cidrs", "ttl", "num_uses"} {
		if value := r.Prepared.Seen[name]; value != "" && value != "0" {
			body[name] = value
		}
	}
	return body
}
