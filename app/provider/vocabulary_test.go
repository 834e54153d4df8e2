package provider

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// acme reads a file of one rule, with a verification to try.
func acme(t *testing.T, verify string) *rules.Rule {
	t.Helper()
	text := `provider: acme
title: Acme
website: https://acme.example
base: https://api.acme.example
rules:
  - id: acme-token
    title: Acme token
    severity: high
    detect:
      keywords: [acme_]
      pattern: '(?P<user>[a-z]{1,9}):(?P<secret>acme_(?P<piece>[0-9a-f]{8})-(?P<dc>[a-z]{2}))\b'
    verify:
` + strings.ReplaceAll(strings.Trim(verify, "\n"), "\t", "  ") + `
    runbook: Delete it at https://acme.example/tokens
    sample: 'acme_{8:hex}-{2:lower}'
    examples: ['key=joe:{sample}']
    counterexamples: ['acme_{4:hex}']
`
	p, err := rules.Decode("acme.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range rules.Lint(p) {
		t.Error(fault)
	}
	return p.Rules[0]
}

// askAcme asks about an example's credential, which live answers; others are refused
// with a 401 that says error: invalid.
func askAcme(t *testing.T, rule *rules.Rule, live func(http.ResponseWriter, *http.Request, checks.Credential)) Verdict {
	t.Helper()
	cred := exampleCredential(t, rule)
	steps := atomic.Int32{}
	p := newInternet(t).providers(t, rule, func(w http.ResponseWriter, r *http.Request) {
		if int(steps.Add(1)) <= len(rule.Verify.Steps()) {
			live(w, r, cred)
			return
		}
		answer(w, 401, "application/json", `{"error":"invalid"}`)
	})
	v, err := p.Verify(t.Context(), cred)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		answer        string // of the catalogue, beside the refusal
		status        int
		media, body   string
		fits, differs []string
	}{
		"index":           {"{status: 200, means: active, identity: ['accounts.0.id']}", 200, "application/json", "", []string{`{"accounts":[{"id":7}]}`}, []string{`{"accounts":[]}`, `{"accounts":{"id":7}}`, `{"accounts":[{"id":null}]}`, `{"accounts":[{"id":{}}]}`}},
		"list":            {"{status: 200, means: active, json: {'.': '[*]'}}", 200, "application/json", "", []string{`[]`, `[{"a":1}]`}, []string{`{}`, `null`, `"[]"x`}},
		"no errors":       {"{status: 200, means: active, json: {data.me: '{*}', errors: 'null'}}", 200, "application/json", "", []string{`{"data":{"me":{"id":1}},"errors":null}`}, []string{`{"data":{"me":null},"errors":null}`, `{"data":{"me":{}},"errors":[]}`}},
		"beginning":       {"{status: 403, means: inactive, json: {message: 'Invalid key *.'}}", 403, "application/json", "", []string{`{"message":"Invalid key x-1."}`}, []string{`{"message":"Invalid key x-1"}`, `{"message":"An Invalid key x."}`}},
		"text":            {"{status: 403, means: inactive, text: 'Invalid API key'}", 403, "text/plain; charset=utf-8", "", []string{"Invalid API key", " Invalid API key\n"}, []string{"Invalid API keys", "<b>Invalid API key</b>", ""}},
		"xml":             {"{status: 403, means: inactive, xml: {error.0.code: Bad*}}", 403, "text/xml", "", []string{`<?xml version="1.0"?><r><error><code>BadKey</code></error><error/></r>`}, []string{`<r><error><code>Other</code></error><error/></r>`, `<html><error><code>BadKey</code></error><error/></html>`, `<r><error><code>BadKey</code>`, strings.Repeat("<a>", 99), `{"error":[{"code":"Bad"}]}`}},
		"identity in xml": {"{status: 200, means: active, identity: [user.id]}", 200, "application/xml", "", []string{`<r><user><id> 7 </id></user></r>`}, []string{`<r><user><id></id></user></r>`}},
		"in time":         {"{status: 429, means: active_lacks_scope, json: {error.code: insufficient_quota}}", 429, "application/json", "", []string{`{"error":{"code":"insufficient_quota"}}`}, []string{`{"error":{"code":"rate_limit"}}`, ``}},
		"shadow":          {"{status: 401, means: unknown, json: {error: maybe*}}\n        - {status: 401, means: inactive, json: {error: '*'}}", 401, "application/json", "", []string{`{"error":"no"}`}, []string{`{"error":"maybe not"}`}},
	} {
		rule := acme(t, `
			request: {method: GET, path: /me, header: {Authorization: 'Bearer {secret}'}}
			answers:
				- `+test.answer+`
				- {status: 200, means: active, json: {never: so}}
				- {status: 401, json: {error: invalid}, means: inactive}`)
		for fits, bodies := range map[bool][]string{true: test.fits, false: test.differs} {
			for _, body := range bodies {
				v := askAcme(t, rule, func(w http.ResponseWriter, _ *http.Request, _ checks.Credential) {
					answer(w, test.status, test.media, body)
				})
				if known := v.Validity != checks.Unknown; known != fits {
					t.Errorf("%s: %s: %+v", name, body, v)
				}
			}
		}
	}
}

func TestAnswerByHeader(t *testing.T) {
	rule := acme(t, `
			request: {method: POST, path: /me, basic: {user: '{user}', password: '{secret}'}}
			answers:
				- {status: 204, means: active, empty: true}
				- {status: 401, header: {www-authenticate: 'Bearer *invalid_token*'}, means: inactive}`)
	for said, want := range map[string]checks.Validity{
		`Bearer realm="x", error="invalid_token"`: checks.Inactive, `Basic realm="invalid_token"`: checks.Unknown, "": checks.Unknown,
	} {
		v := askAcme(t, rule, func(w http.ResponseWriter, r *http.Request, cred checks.Credential) {
			user, password, _ := r.BasicAuth()
			if user != "joe" || password != cred.Secret().Expose() {
				t.Errorf("user %s", user)
			}
			w.Header().Set("WWW-Authenticate", said)
			w.WriteHeader(401)
		})
		if v.Validity != want {
			t.Errorf("%s: %+v, want %s", said, v, want)
		}
	}
}

const twoSteps = `
			request: {method: GET, base: 'https://{dc}.acme.example/v1', path: '/accounts?of={user}', header: {X-Key: '{secret}'}}
			answers:
				- {status: 200, json: {'accounts': '[*]'}, means: next, identity: [name]}
				- {status: 401, json: {error: invalid}, means: inactive}
			then:
				request: {method: POST, path: '/accounts/{first.accounts.0.id}', header: {X-Key: '{secret}'}, json: {is: '{first.name}'}}
				answers:
					- {status: 200, means: active, identity: [plan]}
					- {status: 401, json: {error: invalid}, means: inactive}`

func TestSecondStep(t *testing.T) {
	rule := acme(t, twoSteps)
	v := askAcme(t, rule, func(w http.ResponseWriter, r *http.Request, cred checks.Credential) {
		switch r.Host {
		case cred.Parts["dc"].Expose() + ".acme.example":
			answer(w, 200, "application/json", `{"name":"joe","accounts":[{"id":"a/../b"}]}`)
		case "api.acme.example":
			if r.URL.EscapedPath() != "/accounts/a%2F..%2Fb" {
				t.Errorf("path %s", r.URL.EscapedPath())
			}
			answer(w, 200, "application/json", `{"plan":"free"}`)
		default:
			t.Errorf("host %s", r.Host)
		}
	})
	want := "GET https://{dc}.acme.example/v1/accounts?of={user}, then POST https://api.acme.example/accounts/{first.accounts.0.id}"
	if v.Grade != GradeA || v.Evidence.Request != want || v.Evidence.Identity["name"] != "joe" || v.Evidence.Identity["plan"] != "free" {
		t.Errorf("%+v", v)
	}
	for _, first := range []string{`{"name":"joe","accounts":[]}`, `{"name":"joe","accounts":[{"id":".."}]}`, `{"name":"joe","accounts":[{"id":{}}]}`} {
		v := askAcme(t, rule, func(w http.ResponseWriter, r *http.Request, _ checks.Credential) {
			if r.Host == "api.acme.example" {
				t.Error("the second step was taken")
			}
			answer(w, 200, "application/json", first)
		})
		if v.Validity != checks.Unknown || len(v.Evidence.Identity) > 0 {
			t.Errorf("%s: %+v", first, v)
		}
	}
}

// What was scanned chooses a label at the most.
func TestLabelsNameNoOtherHost(t *testing.T) {
	rule := acme(t, twoSteps)
	for _, dc := range []string{"", "evil.example/", "evil.example#", "a.b", "a@b", "-a", "a:1", "a%2e", "ä", "..", strings.Repeat("a", 64)} {
		cred := exampleCredential(t, rule)
		cred.Parts["dc"] = checks.NewSecret(dc)
		p := newInternet(t).providers(t, rule, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s: %s was asked", dc, r.Host) })
		if v, err := p.Verify(t.Context(), cred); err != nil || v.Validity != checks.Unknown {
			t.Errorf("%s: %+v, %v", dc, v, err)
		}
	}
}

// A piece of the secret is random in the control too; what names a host or another
// thing is not.
func TestControlChangesEveryPiece(t *testing.T) {
	rule := acme(t, twoSteps)
	cred := exampleCredential(t, rule)
	random, err := randomLike(rule, cred)
	if err != nil {
		t.Fatal(err)
	}
	for part, same := range map[string]bool{"secret": false, "piece": false, "dc": true, "user": true} {
		if (random.Parts[part] == cred.Parts[part]) != same {
			t.Errorf("%s is the same: %t", part, !same)
		}
	}
	if !strings.Contains(random.Secret().Expose(), random.Parts["piece"].Expose()) {
		t.Error("the piece is of another secret")
	}
	rule.Examples = nil
	if _, err := randomLike(rule, cred); err == nil {
		t.Error("pieces were made of nothing")
	}
}
