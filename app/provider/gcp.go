package provider

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// google verifies the key files of Google Cloud's service accounts by the
// certificates that Google publishes for each account, so that who takes a signature
// of it can check it. Nobody is logged in, and the private half stays here:
// https://cloud.google.com/iam/docs/service-account-creds#public-keys
type google struct {
	web     *web
	account *cloud.Google // Stanch's own, with which keys are replaced; may be nil
	ownKey  []byte        // the public half of the key that it logs in with, if it has one
	now     func() time.Time
}

func newGoogle(w *web, account *cloud.Google, now func() time.Time) *google {
	g := &google{web: w, account: account, now: now}
	if account != nil && account.Key.Len() > 0 {
		own, _ := readKey(account.Key.Expose()) // what cannot be read logs in nowhere
		g.ownKey = own.spki
	}
	return g
}

// https://developers.google.com/identity/protocols/oauth2/service-account
const (
	googleCertificates     = "https://www.googleapis.com"
	googleCertificatesPath = "/robot/v1/metadata/x509/"
)

func (*google) ready(*rules.Rule) string { return "" }

// host is that of one account's certificates: the control is asked of the same list.
func (g *google) host(_ *rules.Rule, cred checks.Credential) string {
	base, _ := g.web.baseOf("gcp", googleCertificates)
	return base + googleCertificatesPath + short(cred.Parts["email"].Expose())
}

func (*google) random(cred checks.Credential) checks.Credential { return withFreshKey(cred) }

func (g *google) verify(ctx context.Context, rule *rules.Rule, cred checks.Credential) (Verdict, error) {
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Reason: ReasonNotAsked, Evidence: Evidence{Request: "GET " + g.host(rule, cred), At: g.now()}}
	email, id := cred.Parts["email"].Expose(), cred.Parts["id"].Expose()
	key, err := readKey(cred.Secret().Expose())
	if err != nil || key.spki == nil || email == "" {
		verdict.Evidence.Answer = "not the key of a service account that can be read"
		return verdict, nil
	}
	base, client := g.web.baseOf("gcp", googleCertificates)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+googleCertificatesPath+url.PathEscape(email), nil)
	if err != nil {
		verdict.Evidence.Answer = "no request can be made of the account's address"
		return verdict, nil
	}
	got := exchange(client, req)
	verdict.Reason, verdict.Evidence.Status, verdict.Evidence.Answer = "", got.status, got.answer()
	if published := certificates(got); len(published) > 0 {
		verdict.published(published, key, id)
		verdict.Evidence.Identity = shortened(map[string]string{
			"client_email": email, "private_key_id": id, "project_id": cred.Parts["project"].Expose(), "spki_sha256": key.identity()["spki_sha256"],
		})
	}
	return verdict, nil
}

// published judges a key by an account's certificates. A key that was disabled or
// deleted is not among them.
func (v *Verdict) published(all map[string]*x509.Certificate, key publicKey, id string) {
	v.Validity = checks.Inactive
	named := all[id]
	switch {
	case named != nil && key.sameKey(named):
		v.Validity, v.Evidence.Answer = checks.Active, "200 with the key's certificate"
	case slices.ContainsFunc(slices.Collect(maps.Values(all)), key.sameKey):
		v.Validity, v.Evidence.Answer = checks.Active, "200 with a certificate of the key, under another id"
	default:
		v.Evidence.Answer = "200 without a certificate of this key"
	}
}

// certificates reads an account's certificates by the ids of their keys. Without any
// it is no answer of Google's, which signs with keys of its own for every account.
func certificates(r reply) map[string]*x509.Certificate {
	if r.fault != "" || r.status != http.StatusOK {
		return nil
	}
	all := map[string]*x509.Certificate{}
	for id, value := range r.object {
		text, _ := value.(string)
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			return nil
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil
		}
		all[id] = c
	}
	return all
}
