package provider

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A tokenClass is what a replacement has in common with the token it replaces.
type tokenClass struct {
	policies    []string
	period      int // seconds; over zero for tokens that live as long as they are renewed
	ttl         int
	explicitMax int
	uses        int
	displayName string
	path        string
}

// issue creates a token of the same class as old. It is a child of nobody: as a
// child of Stanch's token it would die with that. Asked again, it first revokes what an
// earlier request may have made.
func (v *vault) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	if r.Again {
		if err := v.settle(ctx, rule, r.Operation); err != nil {
			return checks.Credential{}, err
		}
	}
	refuse := func(why string) (checks.Credential, error) {
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %s", rule.ID, ErrCannotIssue, why)
	}
	identity := r.Old.Identity
	// What the server says now counts; what it said before it was revoked will do.
	if verdict := v.verifyFor(ctx, r.Old.Secret(), Evidence{}); len(verdict.Evidence.Identity) > 0 {
		identity = verdict.Evidence.Identity
	}
	class, why := classOf(identity)
	if why != "" {
		return refuse(why)
	}
	evidence, got := v.call(ctx, v.createPath(class), v.own, class.request(r.Operation, v.role != ""))
	switch {
	case lacked(v.createPath(class), got) != "":
		return refuse(lacked(v.createPath(class), got))
	case !got.sent, got.fault == "" && got.status >= 400 && len(complaints(got)) > 0:
		return refuse(evidence.Request + " answered: " + evidence.Answer)
	case got.fault != "" || got.status != http.StatusOK:
		return checks.Credential{}, &AnswerError{Rule: rule.ID, Evidence: evidence}
	}
	auth, _ := got.object["auth"].(map[string]any)
	value, _ := auth["client_token"].(string)
	if value == "" {
		return checks.Credential{}, &AnswerError{Rule: rule.ID, Evidence: evidence}
	}
	fresh := checks.NewSecret(value)
	if more := beyond(policies(auth, "policies"), class.policies); len(more) > 0 {
		return v.takeBack(ctx, rule, fresh, more)
	}
	return checks.Credential{Rule: rule.ID, Parts: map[string]checks.Secret{checks.PartSecret: fresh}}, nil
}

// takeBack revokes a new token that may do more than the old one could.
func (v *vault) takeBack(ctx context.Context, rule *rules.Rule, fresh checks.Secret, more []string) (checks.Credential, error) {
	why := "the new token got policies that the old one did not have (" + strings.Join(more, ", ") + "): look at the token role"
	if evidence, got := v.call(ctx, revokeTree, v.own, map[string]any{"token": fresh.Expose()}); !done(got) {
		return checks.Credential{}, fmt.Errorf("issue %s: %s; it could not be revoked either: %w",
			rule.ID, why, &AnswerError{Rule: rule.ID, Evidence: evidence})
	}
	return checks.Credential{}, fmt.Errorf("issue %s: %w: %s; it was revoked", rule.ID, ErrCannotIssue, why)
}

// classOf reads a token's class from its identity, or says why no token like it
// can be created.
func classOf(identity map[string]string) (tokenClass, string) {
	number := func(name string) int { n, _ := strconv.Atoi(identity[name]); return n }
	c := tokenClass{
		period: number("period"), ttl: number("creation_ttl"), explicitMax: number("explicit_max_ttl"),
		uses: number("num_uses"), displayName: identity["display_name"], path: identity["path"],
	}
	if list := identity["policies"]; list != "" {
		c.policies = strings.Split(list, ",")
	}
	switch {
	case len(c.policies) == 0:
		// Asked for no policies, Vault would give those of Stanch's own token.
		return c, "the old token's policies are not known"
	case slices.Contains(c.policies, "root"):
		return c, "it is a root token; a person replaces it: https://developer.hashicorp.com/vault/docs/concepts/tokens#root-tokens"
	case identity["type"] != "service":
		return c, "it is a token of type " + identity["type"] + ", which its client gets anew"
	case !strings.HasPrefix(c.path, "auth/token/create"):
		return c, "it came from a login at " + c.path + ": its client gets the next one by logging in again"
	case identity["identity_policies"] != "":
		return c, "it has policies from its entity, which a new token would lack"
	case number("creation_ttl") == 0 && number("period") == 0:
		return c, "it has no end, and a new token would have one"
	}
	return c, ""
}

// createPath is where tokens like this one are created. With a token role Vault
// holds Stanch to the role's policies. Without one it must be the path for
// orphans, and Vault lets only a token with sudo there give policies that it
// does not have itself.
func (v *vault) createPath(c tokenClass) string {
	role, created := strings.CutPrefix(c.path, "auth/token/create/")
	switch {
	case v.role != "":
		return "POST /v1/auth/token/create/" + v.role
	case created && role != "":
		return "POST /v1/auth/token/create/" + role
	}
	return "POST /v1/auth/token/create-orphan"
}

// request is the body that creates a token of the class.
func (c tokenClass) request(operation string, byRole bool) map[string]any {
	body := map[string]any{
		"policies":          c.policies,
		"no_default_policy": !slices.Contains(c.policies, "default"),
		"type":              "service",
		"renewable":         true,
		"meta":              map[string]string{operationMeta: operation},
		// Vault puts "token-" before the name that it is given.
		"display_name": strings.TrimPrefix(c.displayName, "token-"),
	}
	set := func(name string, seconds int) {
		if seconds > 0 {
			body[name] = strconv.Itoa(seconds) + "s"
		}
	}
	set("ttl", c.ttl)
	set("explicit_max_ttl", c.explicitMax)
	if !byRole { // a role has its own period, and sudo is needed to ask for another
		set("period", c.period)
	}
	if c.uses > 0 {
		body["num_uses"] = c.uses
	}
	return body
}

// beyond lists what got has and had has not.
func beyond(got, had []string) []string {
	var more []string
	for _, p := range got {
		if !slices.Contains(had, p) {
			more = append(more, p)
		}
	}
	return more
}
