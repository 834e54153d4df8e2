package cloudtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Stanch's own app, and its tenant.
const (
	AzureTenant = "11111111-2222-3333-4444-555555555555"
	AzureClient = "99999999-8888-7777-6666-555555555555"
)

const azureAudience = "api://AzureADTokenExchange"

// An AzureAccount is how Stanch's app proves who it is.
type AzureAccount struct {
	Secret string
	key    *ecdsa.PrivateKey // of whoever the app trusts to name its workload
}

// Azure starts an Azure, with Stanch's app in it.
func Azure(t *testing.T) (*Cloud, AzureAccount) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	account := AzureAccount{Secret: "own-" + rand.Text(), key: key}
	c := &Cloud{
		isLogin: func(r *http.Request) bool {
			return r.URL.Path == "/"+AzureTenant+"/oauth2/v2.0/token" && r.FormValue("client_id") == AzureClient
		},
		refuse: azureError,
	}
	c.login = func(r *http.Request) (string, bool) {
		scope, ok := strings.CutSuffix(r.FormValue("scope"), "/.default")
		return scope, ok && r.FormValue("grant_type") == "client_credentials" && account.proved(r)
	}
	c.start(t)
	return c, account
}

// Assertion is what a workload's platform puts into AZURE_FEDERATED_TOKEN_FILE.
func (a AzureAccount) Assertion(t *testing.T, subject string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: a.key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Subject: subject, Audience: jwt.Audience{azureAudience}, Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// AzureWorkload is the subject that Stanch's app trusts.
const AzureWorkload = "system:serviceaccount:ops:stanch"

func (a AzureAccount) proved(r *http.Request) bool {
	if assertion := r.FormValue("client_assertion"); assertion != "" {
		signed, err := jwt.ParseSigned(assertion, []jose.SignatureAlgorithm{jose.ES256})
		var said jwt.Claims
		return err == nil && signed.Claims(&a.key.PublicKey, &said) == nil && r.FormValue("client_secret") == "" &&
			r.FormValue("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" &&
			said.Validate(jwt.Expected{Subject: AzureWorkload, AnyAudience: jwt.Audience{azureAudience}, Time: time.Now()}) == nil
	}
	return r.FormValue("client_secret") == a.Secret
}

func azureError(_ int, code string) any {
	return map[string]any{"error": map[string]any{"code": code, "message": "…"}}
}

// AzureError is the answer to what Azure refuses.
func AzureError(status int, code string) (int, any) { return status, azureError(status, code) }
