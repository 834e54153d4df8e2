package cloudtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// GoogleEmail is Stanch's own service account.
const GoogleEmail = "stanch@ops.iam.gserviceaccount.com"

const googleScope = "https://www.googleapis.com/auth/cloud-platform"

// Google starts a Google Cloud, and makes the key file of Stanch's account there.
func Google(t *testing.T) (c *Cloud, keyFile []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c = &Cloud{
		isLogin: func(r *http.Request) bool { return r.URL.Path == "/token" },
		refuse:  googleError,
	}
	c.start(t)
	c.login = func(r *http.Request) (string, bool) { return googleScope, asserted(r, &key.PublicKey) }
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	keyFile, err = json.Marshal(map[string]string{
		"type": "service_account", "project_id": "ops", "private_key_id": "0" + "0f", "client_email": GoogleEmail, "token_uri": c.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE" + " KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, keyFile
}

// asserted checks what a service account signs in place of a password.
// https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests
func asserted(r *http.Request, key *rsa.PublicKey) bool {
	signed, err := jwt.ParseSigned(r.FormValue("assertion"), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil || r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return false
	}
	var said jwt.Claims
	var more struct {
		Scope string `json:"scope"`
	}
	if signed.Claims(key, &said, &more) != nil || more.Scope != googleScope {
		return false
	}
	return said.ValidateWithLeeway(jwt.Expected{Issuer: GoogleEmail, Time: time.Now()}, time.Minute) == nil &&
		slices.Equal(said.Audience, jwt.Audience{base(r) + "/token"})
}

func googleError(status int, code string) any {
	return map[string]any{"error": map[string]any{"code": status, "message": "…", "status": code}}
}

// GoogleError is the answer to what Google refuses.
func GoogleError(status int, code string) (int, any) { return status, googleError(status, code) }
