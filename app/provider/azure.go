package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// entra verifies client secrets of Microsoft Entra by asking for a token with them,
// which shows in the sign-in log of the tenant; the token is read and thrown away.
// https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow
type entra struct {
	web     *web
	account *cloud.Azure // Stanch's own, with which secrets are replaced; may be nil
	now     func() time.Time
}

const (
	entraLogin = "https://login.microsoftonline.com"
	entraScope = "https://graph.microsoft.com/.default"
)

// What Entra says of a secret that does not work:
// https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes
// The others say nothing of it: 700016 and 90002, for instance, that the app or the
// tenant is another one's.
var entraRefusals = map[string]string{"7000215": "it is not the app's secret", "7000222": "it has expired"}

// A tenant is named by its id or by a domain, and an app by its id.
var entraTenant = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.-]{2,252}$`)

func (*entra) ready(*rules.Rule) string { return "" }

// host is the app: the control is asked of the same one.
func (e *entra) host(_ *rules.Rule, cred checks.Credential) string {
	base, _ := e.web.baseOf("azure", entraLogin)
	return base + " " + short(cred.Parts["tenant"].Expose()+" "+cred.Parts["client"].Expose())
}

func (e *entra) verify(ctx context.Context, _ *rules.Rule, cred checks.Credential) (Verdict, error) {
	base, client := e.web.baseOf("azure", entraLogin)
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Reason: ReasonNotAsked,
		Evidence: Evidence{Request: "POST " + base + "/{tenant}/oauth2/v2.0/token", At: e.now()}}
	tenant, app := cred.Parts["tenant"].Expose(), cred.Parts["client"].Expose()
	if !entraTenant.MatchString(tenant) || !entraTenant.MatchString(app) {
		verdict.Evidence.Answer = "the ids of the tenant and of the app do not stand beside the secret"
		return verdict, nil
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "scope": {entraScope}, "client_id": {app}, "client_secret": {cred.Secret().Expose()},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/"+url.PathEscape(tenant)+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		verdict.Evidence.Answer = "no request can be made of the tenant's name"
		return verdict, nil
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	verdict.granted(exchange(client, req), app)
	return verdict, nil
}

// granted reads Entra's answer.
func (v *Verdict) granted(r reply, app string) {
	v.Reason, v.Evidence.Status, v.Evidence.Answer = "", r.status, r.answer()
	token, _ := r.field("access_token")
	kind, _ := r.field("token_type")
	switch {
	case r.fault != "":
	case r.status == http.StatusOK && strings.EqualFold(kind, "Bearer") && token != "":
		v.Validity, v.Evidence.Answer = checks.Active, "200 with a token"
		if named := entraIdentity(token); strings.EqualFold(named["appid"], app) {
			v.Evidence.Answer, v.Evidence.Identity = "200 with a token of the app's", shortened(named)
		}
	case r.status == http.StatusBadRequest || r.status == http.StatusUnauthorized:
		v.refused(r)
	}
}

// entraIdentity reads a token that Entra handed out a moment ago.
func entraIdentity(token string) map[string]string {
	parts := strings.Split(token, ".")
	var claims struct {
		AppID, TID, OID string
		Name            string `json:"app_displayname"`
		Roles           []string
	}
	if len(parts) != 3 || decodeSegment(parts[1], &claims) != nil {
		return nil
	}
	return map[string]string{
		"appid": claims.AppID, "tid": claims.TID, "oid": claims.OID, "app_displayname": claims.Name, "roles": strings.Join(claims.Roles, " "),
	}
}

func (v *Verdict) refused(r reply) {
	codes, _ := r.object["error_codes"].([]any)
	for code, why := range entraRefusals {
		if slices.ContainsFunc(codes, func(c any) bool { return c == json.Number(code) }) {
			v.Validity, v.Evidence.Answer = checks.Inactive, "AADSTS"+code+": "+why
		}
	}
}
