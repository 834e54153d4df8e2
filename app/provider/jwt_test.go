package provider

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stanch-dev/stanch/checks"
)

// signToken makes a token of claims.
func signToken(t *testing.T, algorithm jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		options.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := json.Marshal(claims)
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, _ := signed.CompactSerialize()
	return token
}

func newECDSA(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestJWT(t *testing.T) {
	const issuer = "https://id.example.net/"
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	ours, others := newECDSA(t), newECDSA(t)
	set, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: ours.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	var asked atomic.Int32
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(w, 200, "application/jwk-set+json", string(set))
	})
	fresh := func() *Providers {
		return newProviders(t, Config{JWTIssuers: []string{issuer + "=" + server.URL}, Now: func() time.Time { return now }})
	}
	claims := func(issuer string, lives time.Duration) map[string]any {
		return map[string]any{"iss": issuer, "sub": "shop", "aud": []string{"orders", "staff"}, "exp": now.Add(lives).Unix()}
	}
	for _, test := range []struct {
		name     string
		token    string
		validity checks.Validity
		grade    Grade
		answer   string
		asks     int32
	}{
		{"live", signToken(t, jose.ES256, ours, "1", claims(issuer, time.Hour)), checks.Active, GradeB, "signed by its issuer", 1},
		{"live, without a key id", signToken(t, jose.ES256, ours, "", claims(issuer, time.Hour)), checks.Active, GradeB, "signed by its issuer", 1},
		{"live for ever", signToken(t, jose.ES256, ours, "1", map[string]any{"iss": issuer}), checks.Active, GradeB, "signed by its issuer", 1},
		{"expired", signToken(t, jose.ES256, ours, "1", claims(issuer, -time.Hour)), checks.Inactive, GradeB, "it has expired", 0},
		{"expired a moment ago", signToken(t, jose.ES256, ours, "1", claims(issuer, -time.Minute)), checks.Active, GradeB, "signed by", 1},
		{"expired, of somebody else", signToken(t, jose.ES256, others, "1", claims("https://else.example.net", -time.Hour)), checks.Inactive, GradeB, "it has expired", 0},
		{"of an issuer that nobody named", signToken(t, jose.ES256, others, "1", claims("https://else.example.net", time.Hour)), checks.Unknown, GradeC, "STANCH_JWT_ISSUERS", 0},
		{"forged", signToken(t, jose.ES256, others, "1", claims(issuer, time.Hour)), checks.Inactive, GradeB, "no key of its issuer signed it", 1},
		{"of a key that was replaced", signToken(t, jose.ES256, others, "0", claims(issuer, time.Hour)), checks.Inactive, GradeB, "no longer publishes", 1},
		{"of a shared secret", signToken(t, jose.HS256, make([]byte, 32), "1", claims(issuer, time.Hour)), checks.Unknown, GradeC, "not one that others can verify", 1},
		{"signed by the published key as a secret", signToken(t, jose.HS256, set, "1", claims(issuer, time.Hour)), checks.Unknown, GradeC, "not one that others can verify", 1},
		{"an expiry of words", signToken(t, jose.ES256, ours, "1", map[string]any{"iss": issuer, "exp": "never"}), checks.Unknown, GradeC, "not a JSON Web Token", 0},
		{"an expiry beyond all", signToken(t, jose.ES256, ours, "1", map[string]any{"iss": issuer, "exp": 1e300}), checks.Active, GradeB, "signed by", 1},
		{"two parts", "eyJ" + "hbGciOiJub25lIn0.e30", checks.Unknown, GradeC, "not a JSON Web Token", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked.Store(0)
			v := ask(t, fresh(), credential("jwt", test.token), test.validity, test.grade)
			if n := asked.Load(); n != test.asks || !strings.Contains(v.Evidence.Answer, test.answer) {
				t.Errorf("asked %d times, answer %q; want %d and %q", n, v.Evidence.Answer, test.asks, test.answer)
			}
		})
	}
	asked.Store(0)
	p := fresh()
	v := ask(t, p, credential("jwt", signToken(t, jose.ES256, ours, "1", claims(issuer, time.Hour))), checks.Active, GradeB)
	ask(t, p, credential("jwt", signToken(t, jose.ES256, others, "1", claims(issuer, time.Hour))), checks.Inactive, GradeB)
	if n := asked.Load(); n > 1 {
		t.Errorf("the key set was fetched %d times for two tokens", n)
	}
	for name, want := range map[string]string{"iss": issuer, "sub": "shop", "aud": "orders staff", "kid": "1", "alg": "ES256", "expires": "2026-11-27T13:00:00Z"} {
		if v.Evidence.Identity[name] != want {
			t.Errorf("%s is %q, want %q", name, v.Evidence.Identity[name], want)
		}
	}
}

// What is no key set says nothing about a token.
func TestJWTLies(t *testing.T) {
	token := signToken(t, jose.ES256, newECDSA(t), "1", map[string]any{"iss": "us"})
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProviders(t, Config{JWTIssuers: []string{"us=" + serve(t, lie.handler).URL}})
			p.within = time.Second
			ask(t, p, credential("jwt", token), checks.Unknown, GradeC)
		})
	}
	for name, body := range map[string]string{"no keys": `{"keys":[]}`, "keys of no kind": `{"keys":[{"kid":"1"}]}`, "an error": `{"error":"gone"}`} {
		t.Run(name, func(t *testing.T) {
			p := newProviders(t, Config{JWTIssuers: []string{"us=" + serve(t, always(200, "application/json", body)).URL}})
			ask(t, p, credential("jwt", token), checks.Unknown, GradeC)
		})
	}
	for _, wrong := range []string{"", "us", "us=ftp://keys", "=https://keys", "us=https://user:password@keys"} {
		if _, err := parseKeySets([]string{wrong}); err == nil || strings.Contains(err.Error(), "password") {
			t.Errorf("%q: error %v", wrong, err)
		}
	}
}
