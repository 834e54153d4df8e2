package provider

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// appRole verifies the secret ids of Vault's and OpenBao's AppRole by asking each
// role whether it knows them, with Stanch's own token. Logging in would say the same,
// but it uses a secret id up and makes a token.
// https://developer.hashicorp.com/vault/api-docs/auth/approle
type appRole struct{ vault *vault }

const (
	listRoles    = "GET /v1/auth/approle/role?list=true"
	lookupSecret = "POST /v1/auth/approle/role/%s/secret-id/lookup"
)

// maxRoles bounds how many roles are asked about one secret id.
const maxRoles = 100

func (a appRole) ready(*rules.Rule) string { return a.vault.whyNoIssue(nil) }

func (a appRole) host(*rules.Rule, checks.Credential) string {
	return a.vault.addr + "/v1/auth/approle"
}

func (a appRole) verify(ctx context.Context, _ *rules.Rule, cred checks.Credential) (Verdict, error) {
	evidence, got := a.vault.call(ctx, listRoles, a.vault.own, nil)
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Evidence: evidence}
	data, _ := got.object["data"].(map[string]any)
	names, _ := data["keys"].([]any)
	switch {
	case got.fault != "" || got.status != http.StatusOK || len(names) == 0:
		return verdict, nil
	case len(names) > maxRoles:
		verdict.Evidence.Answer = fmt.Sprintf("there are more than %d roles to ask", maxRoles)
		return verdict, nil
	}
	for _, name := range names {
		role, _ := name.(string)
		if verdict = a.ask(ctx, role, cred.Secret()); verdict.Validity != checks.Inactive || len(verdict.Evidence.Identity) > 0 {
			return verdict, nil
		}
	}
	verdict.Evidence.Answer = "no role knows it"
	return verdict, nil
}

// ask asks one role. A secret id that it does not know gets an empty answer; one that
// has expired is kept until Vault tidies up.
func (a appRole) ask(ctx context.Context, role string, secret checks.Secret) Verdict {
	evidence, got := a.vault.call(ctx, fmt.Sprintf(lookupSecret, url.PathEscape(role)), a.vault.own, map[string]any{"secret_id": secret.Expose()})
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Evidence: evidence}
	data, _ := got.object["data"].(map[string]any)
	accessor, _ := data["secret_id_accessor"].(string)
	switch {
	case got.fault != "":
	case got.empty && got.status == http.StatusNoContent:
		verdict.Validity = checks.Inactive
	case got.status == http.StatusOK && accessor != "":
		expires, _ := data["expiration_time"].(string)
		verdict.Evidence.Identity = shortened(map[string]string{
			"role": role, "secret_id_accessor": accessor, "expires": expires, "num_uses": fmt.Sprint(data["secret_id_num_uses"]),
		})
		verdict.Validity, verdict.Evidence.Answer = checks.Active, "200 with identity"
		if at, err := time.Parse(time.RFC3339Nano, expires); err == nil && !at.IsZero() && a.vault.now().After(at) {
			verdict.Validity, verdict.Evidence.Answer = checks.Inactive, "200, and it has expired"
		}
	}
	return verdict
}
