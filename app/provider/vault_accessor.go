package provider

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/rules"
)

// A token is looked up and revoked by its accessor where nobody knows its value.
const (
	listAccessors  = "GET /v1/auth/token/accessors?list=true"
	lookupAccessor = "POST /v1/auth/token/lookup-accessor"
	revokeAccessor = "POST /v1/auth/token/revoke-accessor"
)

// saysNoAccessor is what both products say of a token that is no more.
const saysNoAccessor = "invalid accessor"

// operationMeta is the metadata by which what Stanch issued is known again.
const operationMeta = "stanch_operation"

const (
	maxAccessors    = 5000 // that are looked up to find one token
	accessorLookups = 8    // at the same time
)

// sudoPaths need "sudo" besides the capability:
// https://developer.hashicorp.com/vault/docs/concepts/policies#root-protected-api-endpoints
var sudoPaths = []string{"auth/token/accessors", "auth/token/create-orphan", "sys/leases/lookup/"}

// lacked says what is missing in the policy of Stanch's own token, if that is why Vault
// refused a call.
func lacked(what string, got reply) string {
	if !says(got, http.StatusForbidden, saysDenied) {
		return ""
	}
	method, path, _ := strings.Cut(what, " ")
	path, list := strings.CutSuffix(strings.TrimPrefix(path, "/v1/"), "?list=true")
	capability := map[string]string{http.MethodGet: "read", http.MethodPost: "update", http.MethodDelete: "delete"}[method]
	if list {
		capability = "list"
	}
	lack := fmt.Sprintf("Stanch's own token may not do that: its policy lacks %q on %s", capability, path)
	if slices.ContainsFunc(sudoPaths, func(p string) bool { return strings.HasPrefix(path, p) }) {
		lack += `, or "sudo" there`
	}
	return lack
}

// asked makes a call with Stanch's own token. Why says what was answered instead of
// what was asked for, and which line of its policy is missing if that is the reason.
func (v *vault) asked(ctx context.Context, what string, body map[string]any) (data map[string]any, evidence Evidence, why string) {
	evidence, got := v.call(ctx, what, v.own, body)
	data, _ = got.object["data"].(map[string]any)
	if done(got) {
		return data, evidence, ""
	}
	return nil, evidence, unmet(what, got, evidence)
}

// unmet says which line of the policy of Stanch's own token a call lacks, or else what
// was answered.
func unmet(what string, got reply, evidence Evidence) string {
	if lack := lacked(what, got); lack != "" {
		return lack
	}
	return evidence.Request + " answered: " + evidence.Answer
}

// unfit is an AnswerError that says what is to be mended.
func unfit(verb string, rule *rules.Rule, why string, evidence Evidence) error {
	return fmt.Errorf("%s %s: %s: %w", verb, rule.ID, why, &AnswerError{Rule: rule.ID, Evidence: evidence})
}

// listed returns the names that a listing tells; a folder that holds nothing has none.
func (v *vault) listed(ctx context.Context, what string) (names []string, evidence Evidence, why string) {
	evidence, got := v.call(ctx, what, v.own, nil)
	data, _ := got.object["data"].(map[string]any)
	switch {
	case got.fault == "" && got.status == http.StatusNotFound:
		return nil, evidence, ""
	case lacked(what, got) != "":
		return nil, evidence, lacked(what, got)
	case got.fault != "" || got.status != http.StatusOK:
		return nil, evidence, evidence.Request + " answered: " + evidence.Answer
	}
	return policies(data, "keys"), evidence, ""
}

// findTokens looks through all tokens of the server for those of which is says yes. Why
// says why some may have been overlooked.
func (v *vault) findTokens(ctx context.Context, is func(reply) bool) (found []reply, why string) {
	accessors, _, why := v.listed(ctx, listAccessors)
	switch {
	case why != "":
		return nil, why
	case len(accessors) > maxAccessors:
		return nil, fmt.Sprintf("there are more than %d tokens to look at", maxAccessors)
	}
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(accessorLookups)
	for _, accessor := range accessors {
		group.Go(func() error {
			token, lookedUp := v.byAccessor(ctx, accessor)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case lookedUp != "":
				why = lookedUp
			case token.json && is(token):
				found = append(found, token)
			}
			return nil
		})
	}
	group.Wait()
	return found, why
}

// byAccessor looks up a token; the reply is empty of one that is no more.
func (v *vault) byAccessor(ctx context.Context, accessor string) (token reply, why string) {
	evidence, got := v.call(ctx, lookupAccessor, v.own, map[string]any{"accessor": accessor})
	data, _ := got.object["data"].(map[string]any)
	token = reply{value: data, json: true}
	said, _ := token.field("accessor")
	switch {
	case says(got, http.StatusBadRequest, saysNoAccessor), says(got, http.StatusForbidden, saysNoAccessor):
		return reply{}, ""
	case got.fault == "" && got.status == http.StatusOK && said == accessor:
		return token, ""
	case lacked(lookupAccessor, got) != "":
		return reply{}, lacked(lookupAccessor, got)
	}
	return reply{}, evidence.Request + " answered: " + evidence.Answer
}

// revokeByAccessor revokes the token that an accessor names, with its children and all
// leases.
func (v *vault) revokeByAccessor(ctx context.Context, rule *rules.Rule, accessor string) (Receipt, error) {
	token, why := v.byAccessor(ctx, accessor)
	evidence := Evidence{Request: "POST " + v.addr + "/v1/auth/token/lookup-accessor", At: v.now(), Answer: saysNoAccessor}
	switch {
	case why != "":
		return Receipt{}, unfit("revoke", rule, why, evidence)
	case !token.json:
		return Receipt{Meaning: rules.MeansAlreadyDead, Evidence: evidence}, nil
	}
	_, evidence, why = v.asked(ctx, revokeAccessor, map[string]any{"accessor": accessor})
	if why != "" {
		return Receipt{}, unfit("revoke", rule, why, evidence)
	}
	evidence.Identity = tokenIdentity(token.value.(map[string]any))
	return Receipt{Meaning: rules.MeansRevoked, Evidence: evidence}, nil
}

// settle removes what an earlier attempt of an operation may have made: its value was
// lost with the answer, so that nobody can use it. Tokens carry the operation in their
// metadata, which only their creator writes.
func (v *vault) settle(ctx context.Context, rule *rules.Rule, operation string) error {
	orphans, why := v.findTokens(ctx, func(token reply) bool {
		path, _ := token.field("path")
		said, _ := token.field("meta." + operationMeta)
		return said == operation && strings.HasPrefix(path, "auth/token/create")
	})
	if why != "" {
		return &UnsettledError{fmt.Sprintf("look for a token whose metadata has %s %s, and revoke it. Stanch could not look for it by itself: %s.", operationMeta, operation, why)}
	}
	for _, orphan := range orphans {
		accessor, _ := orphan.field("accessor")
		if _, err := v.revokeByAccessor(ctx, rule, accessor); err != nil {
			return &UnsettledError{fmt.Sprintf("revoke the token with accessor %s, of which nobody knows the value: %v.", accessor, err)}
		}
	}
	return nil
}
