package provider

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
)

const (
	entraTestTenant = cloudtest.AzureTenant
	entraTestApp    = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
)

func entraError(code int) string { return jsonOf(cloudtest.EntraError(code)) }

func entraGrant(app string) string { return jsonOf(cloudtest.EntraGrant(app)) }

func jsonOf(v any) string {
	text, _ := json.Marshal(v) // what tests say can always be
	return string(text)
}

func TestAzure(t *testing.T) {
	live := sample(t, "azure-client-secret").Secret().Expose()
	expired := sample(t, "azure-client-secret").Secret().Expose()
	secret := func(tenant, app, value string) checks.Credential {
		return parts("azure-client-secret", map[string]string{"tenant": tenant, "client": app, checks.PartSecret: value})
	}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		form := r.PostForm
		code := 0
		switch {
		case r.Method != "POST" || form.Get("grant_type") != "client_credentials" || form.Get("scope") != entraScope || r.URL.RawQuery != "":
			code = 900144
		case r.URL.Path != "/"+entraTestTenant+"/oauth2/v2.0/token":
			code = 90002
		case form.Get("client_id") != entraTestApp:
			code = 700016
		case form.Get("client_secret") == expired:
			code = 7000222
		case form.Get("client_secret") != live:
			code = 7000215
		}
		if code != 0 {
			answer(w, 401, "application/json; charset=utf-8", entraError(code))
			return
		}
		answer(w, 200, "application/json; charset=utf-8", entraGrant(entraTestApp))
	})
	p := newProviders(t, Config{BaseURLs: map[string]string{"azure": server.URL}})
	v := ask(t, p, secret(entraTestTenant, entraTestApp, live), checks.Active, GradeA)
	if got := v.Evidence.Identity; got["appid"] != entraTestApp || got["tid"] != entraTestTenant || got["roles"] != "User.Read.All" {
		t.Errorf("identity %v", got)
	}
	ask(t, p, secret(entraTestTenant, entraTestApp, sample(t, "azure-client-secret").Secret().Expose()), checks.Inactive, GradeB)
	ask(t, p, secret(entraTestTenant, entraTestApp, expired), checks.Inactive, GradeB)
	ask(t, p, secret("99999999-2222-3333-4444-555555555555", entraTestApp, live), checks.Unknown, GradeC)
	ask(t, p, secret(entraTestTenant, "99999999-bbbb-cccc-dddd-eeeeeeeeeeee", live), checks.Unknown, GradeC)
	ask(t, p, credential("azure-client-secret", live), checks.Unknown, GradeC)
	ask(t, p, secret("../../else?", entraTestApp, live), checks.Unknown, GradeC)
	more := map[string]lie{
		"everybody gets a token":    {handler: always(200, "application/json", entraGrant(entraTestApp))},
		"blocked by a policy":       {handler: always(400, "application/json", entraError(53003))},
		"the code of another error": {handler: always(400, "application/json", strings.ReplaceAll(entraError(1), "[1]", `["x7000215"]`))},
	}
	for _, all := range []map[string]lie{lies, more} {
		for name, lie := range all {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := newProviders(t, Config{BaseURLs: map[string]string{"azure": serve(t, lie.handler).URL}})
				p.within = time.Second
				ask(t, p, secret(entraTestTenant, entraTestApp, live), checks.Unknown, GradeC)
			})
		}
	}
	other := newProviders(t, Config{BaseURLs: map[string]string{"azure": serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ParseForm(); r.PostForm.Get("client_secret") == live {
			answer(w, 200, "application/json", entraGrant("somebody else"))
			return
		}
		answer(w, 401, "application/json", entraError(7000215))
	}).URL}})
	ask(t, other, secret(entraTestTenant, entraTestApp, live), checks.Active, GradeB)
}
