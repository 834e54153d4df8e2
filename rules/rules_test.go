package rules_test

import (
	"bytes"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/rules"
)

// seeded returns a source of random bytes that is the same in every run.
func seeded(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

func TestCatalogueIsClean(t *testing.T) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	if len(catalogue) < 15 {
		t.Errorf("the catalogue has %d rules, want 15 or more", len(catalogue))
	}
	if !slices.IsSortedFunc(catalogue, func(a, b *rules.Rule) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("the catalogue is not sorted by id")
	}
	linted := make(map[*rules.Provider]bool)
	for _, r := range catalogue {
		if linted[r.Provider] {
			continue
		}
		linted[r.Provider] = true
		for _, err := range rules.Lint(r.Provider) {
			t.Error(err)
		}
	}
}

// TestGitHubRevokesWithoutAuthorization: GitHub answers 403 to whoever sends one.
func TestGitHubRevokesWithoutAuthorization(t *testing.T) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	revocable := 0
	for _, r := range catalogue {
		if q := r.Revoke.Request; q != nil && q.Path == "/credentials/revoke" {
			revocable++
			if _, has := q.Header["Authorization"]; has {
				t.Errorf("%s sends an Authorization header", r.ID)
			}
		}
	}
	if revocable != 5 {
		t.Errorf("%d kinds are revoked at /credentials/revoke, want 5", revocable)
	}
}

// TestSlackIsNotBelievedAboutUnknownTokens: Slack says invalid_auth of live tokens
// too, when they are asked about from an address that they do not allow.
func TestSlackIsNotBelievedAboutUnknownTokens(t *testing.T) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range catalogue {
		for _, a := range slices.Concat(r.Verify.Answers, r.Revoke.Answers) {
			if r.Provider.Name == "slack" && a.JSON["error"] == "invalid_auth" {
				t.Errorf("%s: invalid_auth means %s", r.ID, a.Means)
			}
		}
	}
}

// provider is a file without fault, which tests break.
const provider = `provider: acme
title: Acme
website: https://acme.example
base: https://api.acme.example
rules:
  - id: acme-token
    title: Acme token
    severity: high
    detect:
      keywords: [acme_]
      pattern: '\bacme_[0-9a-f]{32}\b'
    verify:
      request: {method: GET, path: /me, header: {Authorization: 'Bearer {secret}'}}
      answers:
        - {status: 200, means: active, identity: [id]}
        - {status: 401, json: {error: invalid}, means: inactive}
    revoke: {driver: manual, because: there is no call for it}
    issue: {because: it cannot be made again}
    runbook: Delete it at https://acme.example/tokens
    sample: 'acme_{32:hex}'
    examples: ['key={sample}']
    counterexamples: ['acme_{16:hex}']
`

// load reads one file called acme.yaml.
func load(text string) ([]*rules.Provider, error) {
	return rules.Load(fstest.MapFS{"acme.yaml": {Data: []byte(text)}})
}

func TestLoad(t *testing.T) {
	providers, err := load(provider)
	if err != nil {
		t.Fatal(err)
	}
	if len(providers) != 1 || len(providers[0].Rules) != 1 || providers[0].Rules[0].Provider != providers[0] {
		t.Fatal("want one provider with one rule that knows it")
	}
	for _, err := range rules.Lint(providers[0]) {
		t.Error(err)
	}
}

func TestLoadNamesFileAndLine(t *testing.T) {
	for name, test := range map[string]struct{ old, new, want string }{
		"unknown field":     {"    title: Acme token", "    titel: Acme token", `^acme\.yaml:7: there is no field “titel”`},
		"unknown deep":      {"{status: 200,", "{statis: 200,", `^acme\.yaml:15: there is no field “statis”`},
		"wrong type":        {"status: 401", "status: four", "^acme\\.yaml:16: `four` stands where a number belongs"},
		"broken YAML":       {"    severity: high", "    severity: [high", `^acme\.yaml:\d+: `},
		"duplicate key":     {"    severity: high", "    severity: high\n    severity: low", `^acme\.yaml:9: "severity" is there already on line 8`},
		"another name":      {"provider: acme", "provider: other", `^acme\.yaml: provider is "other"`},
		"two documents":     {"provider: acme", "provider: acme\n---\nprovider: acme", `^acme\.yaml: more than one`},
		"empty rule":        {"rules:\n", "rules:\n  -\n", `^acme\.yaml: rule 1 is empty`},
		"the same id twice": {"rules:\n", "rules:\n  - {id: acme-token}\n", `^acme\.yaml: rule id "acme-token" is already taken`},
	} {
		_, err := load(strings.Replace(provider, test.old, test.new, 1))
		if err == nil || !regexp.MustCompile(test.want).MatchString(err.Error()) {
			t.Errorf("%s: error is %v, want %s", name, err, test.want)
		}
	}
	if _, err := load(""); err == nil || !strings.HasPrefix(err.Error(), "acme.yaml:1: the file is empty") {
		t.Errorf("empty file: error is %v", err)
	}
	if _, err := rules.Load(fstest.MapFS{}); err == nil {
		t.Error("a directory without rules is no error")
	}
}

func TestLint(t *testing.T) {
	for name, test := range map[string]struct{ old, new, want string }{
		"foreign id":           {"id: acme-token", "id: other-token", "must be acme or begin with acme-"},
		"no title":             {"    title: Acme token\n", "", "title is missing"},
		"severity":             {"severity: high", "severity: huge", "none of critical"},
		"no keyword":           {"[acme_]", "[]", "no keyword"},
		"short keyword":        {"[acme_]", "[ac]", "3 ASCII characters"},
		"keyword elsewhere":    {"[acme_]", "[other_]", "example 1 has no keyword"},
		"broken pattern":       {`\b'`, `('`, "missing closing"},
		"runaway pattern":      {"{32}", "+", "bound its repetitions"},
		"long pattern":         {"{32}", "{900}", "bound its repetitions"},
		"empty match":          {`\bacme_[0-9a-f]{32}\b`, `(?:acme_[0-9a-f]{32})?`, "empty text"},
		"sample too short":     {"acme_{32:hex}", "acme_{31:hex}", "finds the whole of it"},
		"sample too long":      {`{32}\b`, `{30}`, "finds the whole of it"},
		"broken sample":        {"acme_{32:hex}", "acme_{32:hexx}", "template says {32:hexx}"},
		"no sample in example": {"['key={sample}']", "['key=acme_{32:hex}']", "no example has {sample}"},
		"no example":           {"['key={sample}']", "[]", "no example"},
		"no counterexample":    {"['acme_{16:hex}']", "[]", "no counterexample"},
		"exact alone":          {"      pattern", "      exact: true\n      pattern", "exact is about placeholders"},
		"unknown checksum":     {"      pattern", "      checksum: md5\n      pattern", `checksum "md5" is none of`},
		"sample's checksum":    {"      pattern", "      checksum: github\n      pattern", "does not carry the checksum"},
		"no runbook link":      {" at https://acme.example/tokens", "", "runbook"},
		"unknown part":         {"{secret}", "{password}", "{password} names no part"},
		"secret in the URL":    {"path: /me", "path: '/me?key={secret}'", "must not stand in a URL"},
		"another host":         {"path: /me", "path: //evil.example/me", "begin with one slash"},
		"method":               {"method: GET", "method: FETCH", "method"},
		"unknown meaning":      {"means: active", "means: alive", `means "alive"`},
		"revoke's meaning":     {"means: active", "means: revoked", `means "revoked"`},
		"bare 401":             {"json: {error: invalid}, ", "", "bare status"},
		"server's error":       {"status: 401", "status: 503", "server's error"},
		"redirect":             {"status: 401", "status: 302", "has the status 302"},
		"unknown driver":       {"driver: manual, because: there is no call for it", "driver: magic", `driver "magic"`},
		"manual without why":   {", because: there is no call for it", "", "because of what"},
		"http base":            {"base: https:", "base: http:", "must be an https URL"},
		"rate":                 {"rules:\n", "rate: 5/day\nrules:\n", "write how often"},
		"no inactive":          {"means: inactive", "means: active", "no answer means inactive"},
		"idle reason":          {"path: /me,", "path: /me, secret_in_path: so it is,", "unless secret_in_path"},
		"verify changes":       {"method: GET", "method: DELETE", `method "DELETE" is none of GET, POST`},
		"next without then":    {"error: invalid}, means: inactive", "error: invalid}, means: next", "belong together"},
		"then without next":    {"    revoke:", "      then: {request: {method: GET, path: /a}, answers: [{status: 200, means: active}]}\n    revoke:", "belong together"},
		"then without request": {"    revoke:", "      then: {answers: [{status: 200, means: active}]}\n    revoke:", "then: there is no request"},
		"a third step":         {"    revoke:", "      then: {request: {method: GET, path: /a}, answers: [{status: 200, means: next}]}\n    revoke:", "no third step"},
		"first in the first":   {"path: /me", "path: '/me/{first.id}'", "{first.id} names no part"},
		"revoke in two steps":  {"revoke: {driver: manual, because: there is no call for it}", "revoke: {request: {method: POST, path: /r}, answers: [{status: 204, means: revoked}], then: {request: {method: POST, path: /r}, answers: [{status: 204, means: revoked}]}}", "as only verify may"},
		"two authorisations":   {"path: /me,", "path: /me, basic: {user: '{secret}'},", "there is one already"},
		"plain host":           {"path: /me", "base: 'http://other.example', path: /me", "must be an https URL"},
		"host with a user":     {"path: /me", "base: 'https://u@other.example', path: /me", "must be an https URL"},
		"host of the text":     {"path: /me", "base: 'https://{host}', path: /me", "must be an https URL"},
		"secret in the host":   {"path: /me", "base: 'https://{secret}.acme.example', path: /me", "{secret} names no part of the credential that may stand there"},
		"part in the domain":   {"path: /me", "base: 'https://api.{id}.example', path: /me", "must be an https URL"},
		"top level alone":      {"path: /me", "base: 'https://{id}.example', path: /me", "must be a domain of the provider's"},
		"bare 200":             {"status: 200, means: active, identity: [id]", "status: 200, means: active", "bare status"},
		"bare 429":             {"status: 200, means: active, identity: [id]", "status: 429, means: active", "bare status"},
		"two bodies":           {"json: {error: invalid}", "json: {error: invalid}, text: invalid", "not two of them"},
		"text with identity":   {"identity: [id]", "identity: [id], text: yes", "cannot be empty or a text"},
		"batch of a question":  {"    revoke:", "      batch: {most: 9, rate: 1/h}\n    revoke:", "as only revoke may"},
		"batch of one":         {"revoke: {driver: manual, because: there is no call for it}", "revoke: {request: {method: POST, path: /r, json: {keys: ['{secret}']}}, answers: [{status: 204, means: revoked}], batch: {most: 1, rate: 1/h}}", "more than one credential"},
		"batch without a rate": {"revoke: {driver: manual, because: there is no call for it}", "revoke: {request: {method: POST, path: /r, json: {keys: ['{secret}']}}, answers: [{status: 204, means: revoked}], batch: {most: 9}}", "write how often"},
		"batch without a list": {"revoke: {driver: manual, because: there is no call for it}", "revoke: {request: {method: POST, path: /r, json: {keys: ['{secret}', x]}}, answers: [{status: 204, means: revoked}], batch: {most: 9, rate: 1/h}}", "nothing but {secret}"},
		"batch by hand":        {"because: there is no call for it", "because: x, batch: {most: 9, rate: 1/h}", "without a request"},
		"driver with then":     {"driver: manual, because: there is no call for it", "driver: manual, because: x, then: {request: {method: GET, path: /a}}", "without a request"},
		"companion's group":    {"      pattern", "      companions: [{name: id, pattern: 'x(?P<key>y)', within: 3}]\n      pattern", "one named group"},
		"companion too far":    {"      pattern", "      companions: [{name: id, pattern: 'x(?P<id>y)', within: 900}]\n      pattern", "within 900"},
	} {
		providers, err := load(strings.Replace(provider, test.old, test.new, 1))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var all []string
		for _, err := range rules.Lint(providers[0]) {
			all = append(all, err.Error())
		}
		if !strings.Contains(strings.Join(all, "\n"), test.want) {
			t.Errorf("%s: complaints are %q, want one with %q", name, all, test.want)
		}
	}
}

func TestLike(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "any", true}, {"a", "a", true}, {"a", "A", false}, {"a", "ab", false},
		{"a*", "a", true}, {"a*", "abc", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*a", "ab", false}, {"a*a", "a", false},
		{"a*a", "aa", true}, {"a*b*c", "a.b.c", true}, {"a*b*c", "a.c.b", false}, {"*b*b*", "b", false}, {"**", "x", true}, {"a*bc", "abcbc", true},
	} {
		if got := rules.Like(test.pattern, test.text); got != test.want {
			t.Errorf("Like(%q, %q) = %t", test.pattern, test.text, got)
		}
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]time.Duration{"8/s": time.Second / 8, "60/m": time.Second, "1/h": time.Hour, rules.DefaultRate: time.Second / 5} {
		times, in, err := rules.ParseRate(text)
		if err != nil || in/time.Duration(times) != want {
			t.Errorf("%s: %d in %s, %v", text, times, in, err)
		}
	}
	for _, text := range []string{"", "5", "/s", "0/s", "-1/s", "5/d", "5/", "1.5/s", "5 /s", "9999999/s"} {
		if _, _, err := rules.ParseRate(text); err == nil {
			t.Errorf("%q is no rate, and there was no error", text)
		}
	}
}

func TestExpand(t *testing.T) {
	for template, shape := range map[string]string{
		"":                     `^$`,
		"plain":                `^plain$`,
		"{{a}}":                `^\{a\}$`,
		"x{8:hex}y":            `^x[0-9a-f]{8}y$`,
		"{9:HEX}":              `^[0-9A-F]{9}$`,
		"{99:base32}":          `^[A-Z2-7]{99}$`,
		"{99:digit}{9:lower}":  `^[0-9]{99}[a-z]{9}$`,
		"{99:base64url}":       `^[0-9A-Za-z_-]{99}$`,
		"p_{30:base62}{crc32}": `^p_[0-9A-Za-z]{36}$`,
		"{jwt}":                `^eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{43}$`,
		"{glpat-routable}":     `^glpat-[\w-]{48}\.01\.1c[0-9a-z]{7}$`,
		"{pem:ec}":             `^-----BEGIN EC PRIVATE` + ` KEY-----\n(?:[\w+/]{64}\n){12}-----END EC PRIVATE` + ` KEY-----$`,
		"{pem-json:pkcs8}":     `^-----BEGIN PRIVATE` + ` KEY-----\\n(?:[\w+/]{64}\\n){12}-----END PRIVATE` + ` KEY-----$`,
	} {
		got, err := rules.Expand(template, seeded(1))
		if err != nil || !regexp.MustCompile(shape).MatchString(got) {
			t.Errorf("%s: got %q (%v), want %s", template, got, err, shape)
		}
		again, _ := rules.Expand(template, seeded(1))
		other, _ := rules.Expand(template, seeded(2))
		if got != again || got == other && strings.Contains(strings.ReplaceAll(template, "{{", ""), "{") {
			t.Errorf("%s: the same randomness must give the same, another another", template)
		}
	}
}

func TestExpandRefuses(t *testing.T) {
	for _, template := range []string{
		"{", "}", "a}b", "{5:hex", "{}", "{5}", "{0:hex}", "{-1:hex}", "{5:nonsense}", "{crc32}", "a{crc32}",
		"{5:hex}_{crc32}", "{999999999:hex}", "{pem:wood}", "{sample}", strings.Repeat("{9999:hex}", 9),
	} {
		if got, err := rules.Expand(template, seeded(1)); err == nil {
			t.Errorf("%s: got %.40q, want an error", template, got)
		}
	}
	if _, err := rules.Expand("{40:hex}", bytes.NewReader(make([]byte, 3))); err == nil {
		t.Error("randomness that ends is no error")
	}
}

func TestValidChecksum(t *testing.T) {
	templates := map[string]string{
		"github":         "ghr_{70:base62}{crc32}",
		"npm":            "npm_{30:base62}{crc32}",
		"glpat-routable": "{glpat-routable}",
		"jwt":            "{jwt}",
	}
	names := rules.Checksums()
	if len(names) != len(templates) {
		t.Fatalf("checksums are %v, want as many as are tested", names)
	}
	for _, name := range names {
		for seed := range byte(20) {
			value, err := rules.Expand(templates[name], seeded(seed))
			if err != nil {
				t.Fatal(err)
			}
			if !rules.ValidChecksum(name, value) {
				t.Errorf("%s, seed %d: a valid one is refused", name, seed)
			}
			for _, wrong := range []string{"", value[:len(value)/2], "x" + value[1:len(value)/3], value[:1]} {
				if rules.ValidChecksum(name, wrong) {
					t.Errorf("%s, seed %d: accepts another value", name, seed)
				}
			}
		}
	}
	if rules.ValidChecksum("none", "anything") {
		t.Error("an unknown checksum is satisfied")
	}
	// The CRC-32 of nothing is zero, but there is no token without a body.
	if rules.ValidChecksum("github", "ghp_"+"000000") {
		t.Error("a checksum without a body is accepted")
	}
}

// TestChecksumKnown pins the algorithm to a value that this package did not
// compute: the CRC-32 of "123456789" is 0xCBF43926, the check value by which the
// polynomial is told from others.
func TestChecksumKnown(t *testing.T) {
	if !rules.ValidChecksum("npm", "npm_"+"123456789"+crcOf123456789) {
		t.Error("the checksum is not CRC-32/IEEE in base62")
	}
}

// crcOf123456789 is 0xCBF43926 = 3421780262 in base62.
const crcOf123456789 = "3jZRME"

func TestPrefix(t *testing.T) {
	for sample, want := range map[string]string{"ghp_{30:base62}{crc32}": "ghp_", "{40:base64}": "", "": ""} {
		if got := (&rules.Rule{Sample: sample}).Prefix(); got != want {
			t.Errorf("%s: prefix is %q, want %q", sample, got, want)
		}
	}
}

func TestRuleExpandKeepsTheSample(t *testing.T) {
	r := &rules.Rule{ID: "x", Sample: "{{{8:hex}}}"}
	text, sample, err := r.Expand("a={sample} b={sample} c={4:digit}", seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("a="+sample+" b="+sample, text[:len(text)-7]); diff != "" {
		t.Errorf("expanded (-want +got):\n%s", diff)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(provider)
	f.Add("provider: acme\nrules: [{id: x, detect: {pattern: '('}}]")
	f.Add("provider: acme\nrules: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		providers, err := load(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "acme.yaml") {
				t.Errorf("the error does not begin with the file: %v", err)
			}
			return
		}
		for _, p := range providers {
			rules.Lint(p) // whatever was loaded, it does not panic
		}
	})
}

func FuzzExpand(f *testing.F) {
	for _, template := range []string{"ghp_{30:base62}{crc32}", "{{}}", "{jwt}", "{pem:rsa}", "{glpat-routable}", "{9:hex"} {
		f.Add(template)
	}
	f.Fuzz(func(t *testing.T, template string) {
		got, err := rules.Expand(template, seeded(1))
		if err == nil && len(got) > 128<<10 {
			t.Errorf("%d bytes came of %d", len(got), len(template))
		}
		if err == nil && !strings.ContainsAny(template, "{}") && got != template {
			t.Errorf("%q became %q", template, got)
		}
	})
}
