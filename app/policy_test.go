package app

import (
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/rules"
)

func catalogue(t testing.TB) []*rules.Rule {
	t.Helper()
	all, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestParsePolicy(t *testing.T) {
	const full = `
remediation: automatic
order: revoke_first
rules:
  gitlab-pat: {remediation: observe}
  github-pat: {order: replace_first, without_replacement: revoke}
`
	p, err := parsePolicy([]byte(full), catalogue(t))
	if err != nil {
		t.Fatal(err)
	}
	for rule, want := range map[string]Remedy{
		"slack-bot-token": {Automatic, incident.RevokeFirst, Ask},
		"gitlab-pat":      {Observe, incident.RevokeFirst, Ask},
		"github-pat":      {Automatic, incident.ReplaceFirst, RevokeAnyway},
	} {
		if got := p.For(rule); got != want {
			t.Errorf("For(%s) = %+v, want %+v", rule, got, want)
		}
	}
	// Nothing said is nothing allowed.
	p, err = parsePolicy(nil, catalogue(t))
	if want := (Remedy{Ask, incident.ReplaceFirst, Ask}); err != nil || p.For("github-pat") != want {
		t.Errorf("an empty policy is %+v, %v; want %+v", p.For("github-pat"), err, want)
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"remediaton: ask":                                       "line 1: field remediaton is no setting of a policy",
		"remediation: always":                                   `remediation is "always"`,
		"order: sideways":                                       `order is "sideways"`,
		"without_replacement: automatic":                        `without_replacement is "automatic"`,
		"rules: {no-such-rule: {}}":                             `there is no rule "no-such-rule"`,
		"rules: {github-pat: {remediation: yes please}}":        "github-pat: remediation is",
		"rules:\n  github-pat:\n    remediation: ask\n    a: b": "line 4: field a is no setting",
		"remediation: [ask]":                                    "line 1",
		"remediation: ask\nremediation: automatic":              "already",
		"{": "line",
	} {
		if _, err := parsePolicy([]byte(text), catalogue(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want an error with %q", text, err, want)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte("remediation: automatic\nrules: {github-pat: {order: revoke_first}}"))
	all := catalogue(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parsePolicy(text, all)
		if err != nil {
			return
		}
		for _, r := range all {
			if err := p.For(r.ID).check(); err != nil {
				t.Errorf("an accepted policy is wrong for %s: %v", r.ID, err)
			}
		}
	})
}
