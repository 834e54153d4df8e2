package provider

import (
	"crypto"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
)

// certificateOf is a certificate of a key, as PEM.
func certificateOf(t *testing.T, private crypto.Signer) string {
	t.Helper()
	text, err := cloudtest.CertificateOf(private)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestGCP(t *testing.T) {
	const email = "robot@shop.iam.gserviceaccount.com"
	live, other, dead := newRSA(t), newRSA(t), newRSA(t)
	list, _ := json.Marshal(map[string]string{"1a": certificateOf(t, live), "2b": certificateOf(t, other)})
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/robot/v1/metadata/x509/"+email || r.Header.Get("Authorization") != "" || r.ContentLength > 0 {
			answer(w, 404, "application/json", `{"error":{"code":404,"status":"NOT_FOUND"}}`)
			return
		}
		answer(w, 200, "application/json; charset=UTF-8", string(list))
	})
	file := func(email, id string, key any) checks.Credential {
		return parts("gcp-service-account-key", map[string]string{
			"email": email, "id": id, "project": "shop", checks.PartSecret: strings.ReplaceAll(pkcs8(t, key), "\n", `\n`),
		})
	}
	p := newProviders(t, Config{BaseURLs: map[string]string{"gcp": server.URL}})
	v := ask(t, p, file(email, "1a", live), checks.Active, GradeA)
	if got := v.Evidence.Identity; got["client_email"] != email || got["private_key_id"] != "1a" || got["project_id"] != "shop" {
		t.Errorf("identity %v", got)
	}
	ask(t, p, file(email, "", live), checks.Active, GradeA)
	ask(t, p, file(email, "3c", live), checks.Active, GradeA)
	ask(t, p, file(email, "3c", dead), checks.Inactive, GradeB)
	ask(t, p, file(email, "1a", dead), checks.Inactive, GradeB)
	ask(t, p, file(email, "", dead), checks.Inactive, GradeB)
	ask(t, p, file("gone@shop.iam.gserviceaccount.com", "1a", live), checks.Unknown, GradeC)
	ask(t, p, file("../../../../x?y=", "1a", live), checks.Unknown, GradeC)
	ask(t, p, parts("gcp-service-account-key", map[string]string{"email": email, checks.PartSecret: pemHead("")}), checks.Unknown, GradeC)
	t.Run("lies", func(t *testing.T) {
		for name, lie := range lies {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := newProviders(t, Config{BaseURLs: map[string]string{"gcp": serve(t, lie.handler).URL}})
				p.within = time.Second
				ask(t, p, file(email, "1a", live), checks.Unknown, GradeC)
			})
		}
		for name, body := range map[string]string{"no certificates": `{}`, "not PEM": `{"1a":"-----BEGIN CERTIFICATE-----"}`, "an error": `{"error":"gone"}`} {
			t.Run(name, func(t *testing.T) {
				p := newProviders(t, Config{BaseURLs: map[string]string{"gcp": serve(t, always(200, "application/json", body)).URL}})
				ask(t, p, file(email, "1a", live), checks.Unknown, GradeC)
			})
		}
	})
}
