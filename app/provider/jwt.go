package provider

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// tokens verifies JSON Web Tokens by what stands in them. A token that has expired is
// dead wherever it was used (RFC 7519 §4.1.4). Whether its issuer signed it is looked
// up only in the key sets that the operator names: the token itself must not choose
// whom to ask.
type tokens struct {
	keySets map[string]string // URLs by issuer
	client  *http.Client
	now     func() time.Time

	mu      sync.Mutex
	fetched map[string]fetchedKeys // by their URLs
}

// fetchedKeys are what an issuer published, which it does not change often.
type fetchedKeys struct {
	set   jose.JSONWebKeySet
	until time.Time
}

// keySetFor is how long a key set holds.
const keySetFor = time.Minute

// jwtLeeway is how much the clocks of those who take a token may differ from ours.
const jwtLeeway = 5 * time.Minute

// computed is what stands in the evidence in place of a negative control when no
// answer of anybody's is believed.
const computed = "not needed: computed here"

// jwtAlgorithms are those whose keys can be published.
var jwtAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// parseKeySets reads the operator's list of "ISSUER=URL".
func parseKeySets(list []string) (map[string]string, error) {
	sets := map[string]string{}
	for n, entry := range list {
		issuer, url, _ := strings.Cut(entry, "=")
		clean, err := cleanBase(url, "http", "https")
		if err != nil || issuer == "" {
			return nil, fmt.Errorf("issuer %d of STANCH_JWT_ISSUERS: write the issuer as its tokens do, an equals sign, and the URL of its key set", n+1)
		}
		sets[issuer] = clean
	}
	return sets, nil
}

func (*tokens) ready(*rules.Rule) string { return "" }

// host is that of the key set, where one would be asked for.
func (t *tokens) host(_ *rules.Rule, cred checks.Credential) string {
	if c, ok := parseClaims(cred.Secret().Expose()); ok && !c.expired(t.now()) {
		return t.keySets[c.claims.Iss]
	}
	return ""
}

// A claimed token says this of itself.
type claimed struct {
	header struct{ Alg, Kid string }
	claims struct {
		Iss, Sub, Azp string
		Aud           any
		Exp           json.Number
	}
}

// expires returns the time of the claim, zero when there is none.
func (c *claimed) expires() time.Time {
	seconds, err := c.claims.Exp.Float64() // RFC 7519 allows fractions
	if err != nil || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

func (c *claimed) expired(now time.Time) bool {
	at := c.expires()
	return !at.IsZero() && now.After(at.Add(jwtLeeway))
}

func (c *claimed) identity() map[string]string {
	named := map[string]string{"iss": c.claims.Iss, "sub": c.claims.Sub, "azp": c.claims.Azp, "kid": c.header.Kid, "alg": c.header.Alg}
	if c.claims.Aud != nil {
		named["aud"] = strings.Trim(fmt.Sprint(c.claims.Aud), "[]")
	}
	if at := c.expires(); !at.IsZero() {
		named["expires"] = at.Format(time.RFC3339)
	}
	return shortened(named)
}

// parseClaims reads the header and the payload, and believes nothing.
func parseClaims(token string) (*claimed, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, false
	}
	var c claimed
	for i, into := range []any{&c.header, &c.claims} {
		if decodeSegment(parts[i], into) != nil {
			return nil, false
		}
	}
	return &c, true
}

func decodeSegment(segment string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func (t *tokens) verify(ctx context.Context, _ *rules.Rule, cred checks.Credential) (Verdict, error) {
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Reason: ReasonNotAsked, Evidence: Evidence{Request: "read the token", At: t.now()}}
	token := cred.Secret().Expose()
	c, ok := parseClaims(token)
	if !ok {
		verdict.Evidence.Answer = "not a JSON Web Token"
		return verdict, nil
	}
	verdict.Evidence.Identity = c.identity()
	if c.expired(t.now()) {
		verdict.Validity, verdict.Grade, verdict.Reason = checks.Inactive, GradeB, ""
		verdict.Evidence.Answer, verdict.Evidence.Control = "it has expired", computed
		return verdict, nil
	}
	url, ok := t.keySets[c.claims.Iss]
	if !ok {
		verdict.Evidence.Answer = "it has not expired, and STANCH_JWT_ISSUERS does not name its issuer"
		return verdict, nil
	}
	verdict.Evidence.Request, verdict.Reason = "GET "+url, ""
	keys, status, fault := t.keySet(ctx, url)
	verdict.Evidence.Status, verdict.Evidence.Answer = status, fault
	if fault == "" {
		verdict.signed(token, c, keys)
	}
	return verdict, nil
}

// keySet is what an issuer publishes, fetched unless that was done a moment ago.
func (t *tokens) keySet(ctx context.Context, url string) (jose.JSONWebKeySet, int, string) {
	t.mu.Lock()
	known, ok := t.fetched[url]
	t.mu.Unlock()
	if ok && t.now().Before(known.until) {
		return known.set, http.StatusOK, ""
	}
	set, status, fault := t.fetch(ctx, url)
	if fault == "" {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fetched[url] = fetchedKeys{set: set, until: t.now().Add(keySetFor)}
	}
	return set, status, fault
}

func (t *tokens) fetch(ctx context.Context, url string) (set jose.JSONWebKeySet, status int, fault string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return set, 0, "no request can be made of the URL of the key set"
	}
	got := exchange(t.client, req)
	if got.fault != "" || got.status != http.StatusOK || got.object == nil {
		return set, got.status, got.answer()
	}
	raw, err := json.Marshal(got.object)
	if err != nil || json.Unmarshal(raw, &set) != nil || len(set.Keys) == 0 {
		return set, got.status, "not a key set"
	}
	return set, got.status, ""
}

// signed judges the signature. Its issuer's word that it is valid is none that
// somebody still takes it, since sessions end before their tokens do: grade B.
func (v *Verdict) signed(token string, c *claimed, set jose.JSONWebKeySet) {
	parsed, err := jose.ParseSigned(token, jwtAlgorithms)
	if err != nil {
		v.Evidence.Answer = "its signature is not one that others can verify"
		return
	}
	keys := set.Keys
	if c.header.Kid != "" {
		keys = set.Key(c.header.Kid)
	}
	v.Grade, v.Evidence.Control = GradeB, computed
	v.Validity, v.Evidence.Answer = checks.Inactive, "no key of its issuer signed it"
	if len(keys) == 0 {
		v.Evidence.Answer = "its issuer no longer publishes the key that it names"
	}
	for _, key := range keys {
		if _, err := parsed.Verify(key); err == nil {
			v.Validity, v.Evidence.Answer = checks.Active, "signed by its issuer, and not expired"
		}
	}
}
