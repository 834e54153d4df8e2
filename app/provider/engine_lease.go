package provider

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/rules"
)

// madeAt ends the name of a user that was not cut short.
var madeAt = regexp.MustCompile(`-([0-9]{10})$`)

// endLease revokes the lease of a user that the engine has made, which drops the user.
// Vault does not say which lease is whose. But a user who can log in has one, in one of
// the roles that may have made its name, and issued when that says: if there is but one
// such lease it is his, and else a person says which.
func (e *engine) endLease(ctx context.Context, rule *rules.Rule, t Target, k kept) (Receipt, error) {
	works, verdict, err := e.works(ctx, rule, t, "")
	switch {
	case err != nil:
		return Receipt{}, err
	case !works && verdict.SelfHosted && t.Identity[keptBy] == "": // nobody has seen it work here
		return Receipt{}, unfit("revoke", rule, "the server may refuse the password from here alone", verdict.Evidence)
	case !works:
		return Receipt{Meaning: rules.MeansAlreadyDead, Evidence: verdict.Evidence}, nil
	}
	return e.vault.endLease(ctx, rule, k, verdict)
}

// endLease revokes the lease of a user, if it is certain which that is.
func (v *vault) endLease(ctx context.Context, rule *rules.Rule, k kept, verdict Verdict) (Receipt, error) {
	leases, why := v.leasesOf(ctx, k)
	switch {
	case why != "":
		return Receipt{}, unfit("revoke", rule, why, verdict.Evidence)
	case len(leases) == 0:
		return Receipt{}, fmt.Errorf("revoke %s: %w: the user %s has no lease in %s any more: drop the user where it is", rule.ID, ErrCannotRevoke, k.user, strings.Join(k.roles, ", "))
	case len(leases) > 1:
		return Receipt{}, fmt.Errorf("revoke %s: %w: %d leases may be its, and Vault does not say which: revoke the right one (vault lease revoke -sync LEASE), or all of its role (vault lease revoke -sync -prefix %s): %s",
			rule.ID, ErrCannotRevoke, len(leases), k.roles[0], strings.Join(leases[:min(5, len(leases))], ", "))
	}
	_, evidence, why := v.asked(ctx, "POST /v1/sys/leases/revoke", map[string]any{"lease_id": leases[0], "sync": true})
	if why != "" {
		return Receipt{}, unfit("revoke", rule, why, evidence)
	}
	evidence.Identity = map[string]string{keptBy: leases[0][:strings.LastIndex(leases[0], "/")]}
	return Receipt{Meaning: rules.MeansRevoked, Evidence: evidence}, nil
}

// slowest is how much later than it named a user Vault may issue the lease: its default
// bound of a request. https://developer.hashicorp.com/vault/docs/configuration#default_max_request_duration
const slowest = 90 * time.Second

// leasesOf lists the leases that may be a user's.
func (v *vault) leasesOf(ctx context.Context, k kept) (ids []string, why string) {
	for _, role := range k.roles {
		names, _, why := v.listed(ctx, "GET /v1/sys/leases/lookup/"+role+"?list=true")
		switch {
		case why != "":
			return nil, why
		case len(names) > maxLeases:
			return nil, fmt.Sprintf("%s has more than %d leases", role, maxLeases)
		}
		for _, name := range names {
			id := role + "/" + name
			if k.made == "" { // the name has no room for the time
				ids = append(ids, id)
				continue
			}
			issued, why := v.issueTime(ctx, id)
			if why != "" {
				return nil, why
			}
			seconds, _ := strconv.ParseInt(k.made, 10, 64)
			if after := issued.Sub(time.Unix(seconds, 0)); !issued.IsZero() && after > -time.Second && after < slowest {
				ids = append(ids, id)
			}
		}
	}
	return ids, ""
}

// issueTime is when a lease was issued, the zero Time of one that is over.
func (v *vault) issueTime(ctx context.Context, id string) (at time.Time, why string) {
	const what = "POST /v1/sys/leases/lookup"
	evidence, got := v.call(ctx, what, v.own, map[string]any{"lease_id": id})
	if says(got, http.StatusBadRequest, "invalid lease") {
		return time.Time{}, ""
	}
	if why := lacked(what, got); why != "" {
		return time.Time{}, why
	}
	text, _ := reply{value: got.value, json: true}.field("data.issue_time")
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, evidence.Request + " answered: " + evidence.Answer
	}
	return at, ""
}
