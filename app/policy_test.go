package app

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks/report"
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
	p, err := ParsePolicy("stanch.yml", []byte(full), catalogue(t))
	if err != nil {
		t.Fatal(err)
	}
	for rule, want := range map[string]Remedy{
		"slack-bot-token": {Remediation: Automatic, Order: incident.RevokeFirst, WithoutReplacement: Ask},
		"gitlab-pat":      {Remediation: Observe, Order: incident.RevokeFirst, WithoutReplacement: Ask},
		"github-pat":      {Remediation: Automatic, Order: incident.ReplaceFirst, WithoutReplacement: RevokeAnyway},
	} {
		if got := p.For(rule); got != want {
			t.Errorf("For(%s) = %+v, want %+v", rule, got, want)
		}
	}
	// Nothing said is nothing allowed.
	p, err = ParsePolicy("stanch.yml", nil, catalogue(t))
	if want := (Remedy{Remediation: Ask, Order: incident.ReplaceFirst, WithoutReplacement: Ask}); err != nil || p.For("github-pat") != want {
		t.Errorf("an empty policy is %+v, %v; want %+v", p.For("github-pat"), err, want)
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	all := catalogue(t)
	for text, want := range map[string]string{
		"remediaton: ask":                                       "stanch.yml:1: remediaton is no setting of a policy",
		"remediation: always":                                   `stanch.yml:1: remediation is "always": it must be observe, ask or automatic`,
		"order: sideways":                                       `order is "sideways"`,
		"without_replacement: automatic":                        `without_replacement is "automatic"`,
		"rules: {no-such-rule: {}}":                             "stanch.yml:1: rules.no-such-rule is the name of no rule",
		"rules: {github-pat: {remediation: yes please}}":        "rules.github-pat.remediation is",
		"rules:\n  github-pat:\n    remediation: ask\n    a: b": "stanch.yml:4: a is no setting",
		"remediation: [ask]":                                    "stanch.yml:1: cannot unmarshal",
		"remediation: ask\nremediation: automatic":              "already",
		"{":                                       "stanch.yml:1:",
		"comment: true\nallowlist: ''":            "stanch.yml:2: allowlist is empty",
		"remediation: \"\"":                       "stanch.yml:1: remediation is empty",
		"public: never":                           `public is "never": it must be auto or always`,
		"conclusion:\n  worst: neutral":           "stanch.yml:2: conclusion.worst names no severity",
		"conclusion: {low: skipped}":              `conclusion.low is "skipped": it must be success, neutral or failure`,
		"people: {press: read}":                   `people.press is "read": it must be write, maintain or admin`,
		"people:\n  press: write\n  approvals: 2": "stanch.yml:3: people.approvals is 2",
		"people: {bypass_for: -1h}":               "people.bypass_for is negative",
		"people: {bypass_for: a week}":            "stanch.yml:1: cannot unmarshal",
		"paths: [{conclusion: neutral}]":          "paths[0] has an entry without a glob",
		"paths:\n  - {glob: 'a/**', conclusion: neutral}\n  - {glob: 'a[', conclusion: neutral}": `stanch.yml:3: paths[1] has the glob "a[", which is no pattern`,
		"paths: [{glob: docs}]":                 `paths[0] has an entry for "docs" without a conclusion`,
		"allowlist: ../other/allow.txt":         "it must be the path of a file within the repository",
		"allowlist: /etc/passwd":                "it must be the path of a file within the repository",
		"rules: {github-pat: {severity: dire}}": `rules.github-pat.severity is "dire"`,
		"repositories: {may: [everything]}":     `repositories.may is "everything"`,
		"comment: &c true\nsuggestions: *c":     "stanch.yml:1: anchors, aliases and merges have no place",
		"people: {<<: {press: admin}}":          "anchors, aliases and merges have no place",
		"comment: true\n---\ncomment: false":    "more than one document",
		strings.Repeat("# long\n", maxPolicy):   "shorten it",
	} {
		if _, err := ParsePolicy("stanch.yml", []byte(text), all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v; want an error with %q", text, err, want)
		}
	}
}

func TestPolicyTellsAllThatIsWrong(t *testing.T) {
	_, err := ParsePolicy("stanch.yml", []byte("public: never\norder: sideways\npeople: {press: read}"), catalogue(t))
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 3 || problems[2].Line != 3 {
		t.Errorf("the problems are %v; want three, in the order of their lines", err)
	}
}

func TestPolicyDefaults(t *testing.T) {
	p := DefaultPolicy()
	pat := ruleOf(t, "github-pat")
	c, from := p.ConclusionOf(pat, "main.go")
	if c != report.Failure || from != (Origin{}) {
		t.Errorf("a finding is %s by %s; want failure by default", c, from)
	}
	if !p.Comments() || p.ForEverybody(true) || !p.ForEverybody(false) || !p.ReadsMarkers() || p.Suggestions || !p.Enabled(pat.ID) ||
		p.SeverityOf(pat) != pat.Severity || p.AllowFile() != ".github/stanch-allow.txt" {
		t.Errorf("the default policy is another one: %+v", p)
	}
	if who := p.People; who.Least() != PermissionWrite || who.Approvals != 0 || !who.MayBypass() || who.LongestBypass() != 168*time.Hour {
		t.Errorf("by default people may do other things: %+v", who)
	}
}

func ruleOf(t testing.TB, id string) *rules.Rule {
	t.Helper()
	for _, r := range catalogue(t) {
		if r.ID == id {
			return r
		}
	}
	t.Fatalf("there is no rule %s", id)
	return nil
}

func TestPolicyConclusion(t *testing.T) {
	p, err := ParsePolicy("stanch.yml", []byte(`
conclusion: {critical: neutral, high: neutral}
rules:
  gitlab-pat: {conclusion: success}
  github-pat: {conclusion: failure}
paths:
  - {glob: 'docs/**', conclusion: neutral}
  - {glob: '*.md', conclusion: success}
  - {glob: 'prod/', conclusion: failure}
`), catalogue(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		rule, path string
		conclusion report.Conclusion
		line       int
	}{
		{"gitlab-pat", "main.go", report.Success, 4},
		{"gitlab-pat", "docs/a.md", report.Neutral, 7}, // the stricter of the two
		{"github-pat", "docs/a.md", report.Failure, 5},
		{"slack-bot-token", "main.go", report.Neutral, 2}, // by severity
		{"slack-bot-token", "lib/README.md", report.Success, 8},
		{"slack-bot-token", "docs/README.md", report.Neutral, 7}, // the first that fits
	} {
		c, from := p.ConclusionOf(ruleOf(t, want.rule), want.path)
		if c != want.conclusion || from != (Origin{"stanch.yml", want.line}) {
			t.Errorf("%s in %s is %s by %s; want %s by line %d", want.rule, want.path, c, from, want.conclusion, want.line)
		}
	}
}

func TestPolicyMerge(t *testing.T) {
	all := catalogue(t)
	operator, err := ParsePolicy("/etc/stanch.yml", []byte(`
remediation: ask
comment: true
conclusion: {low: neutral}
rules:
  github-pat: {remediation: observe, severity: low}
paths: [{glob: 'test/**', conclusion: neutral}]
`), all)
	if err != nil {
		t.Fatal(err)
	}
	organisation := PolicyFile{Name: "acme/.github/.github/stanch.yml", Text: []byte("comment: false\nconclusion: {medium: neutral}\npeople: {press: maintain, bypass: false}\nrules: {gitlab-pat: {conclusion: neutral}}")}
	repository := PolicyFile{Name: ".github/stanch.yml", Text: []byte(`
comment: true
people: {press: write, approvals: 1, bypass_for: 200h}
remediation: automatic
rules:
  github-pat: {conclusion: success, remediation: automatic, order: ~}
paths: [{glob: 'docs/**', conclusion: success}]
repositories: {may: [remediation]}
`)}
	p, problems := operator.Merge(all, organisation, repository)
	want := []string{
		".github/stanch.yml:3: people.press: the operator's policy does not let repositories change people; its value holds",
		".github/stanch.yml:3: people.bypass_for: the operator's policy does not let repositories change people; its value holds",
		".github/stanch.yml:4: remediation: the operator's policy does not let repositories change remediation; its value holds",
		".github/stanch.yml:6: rules.github-pat.remediation: the operator's policy does not let repositories change remediation; its value holds",
		".github/stanch.yml:8: repositories.may: the operator's policy does not let repositories change repositories; its value holds",
	}
	if got := strings.Split(problems.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("the problems are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	pat := p.Rules["github-pat"]
	if pat.Remediation != Observe || pat.Severity != rules.Low || pat.Conclusion != report.Success {
		t.Errorf("the operator's exception and the repository's have become %+v", pat)
	}
	if !p.Comments() || p.Conclusion[rules.Low] != report.Neutral || p.Conclusion[rules.Medium] != report.Neutral || p.Rules["gitlab-pat"].Conclusion != report.Neutral {
		t.Errorf("the layers have become %+v", p)
	}
	if who := p.People; who.Least() != PermissionMaintain || who.Approvals != 1 || who.MayBypass() || who.LongestBypass() != defaultBypass {
		t.Errorf("people may now do %+v; only what is stricter than before was to count", who)
	}
	if len(p.Paths) != 2 || p.Paths[0].Glob != "docs/**" || p.Paths[0].Origin != (Origin{".github/stanch.yml", 7}) || p.Repositories.May != nil {
		t.Errorf("the paths are %+v, what repositories may change %v", p.Paths, p.Repositories.May)
	}
	for name, want := range map[string]Origin{
		"comment": {".github/stanch.yml", 2}, "conclusion.medium": {organisation.Name, 2}, "conclusion.low": {"/etc/stanch.yml", 4},
		"rules.github-pat.remediation": {"/etc/stanch.yml", 6}, "people.press": {organisation.Name, 3},
	} {
		if got := p.Origins[name]; got != want {
			t.Errorf("%s is from %s; want %s", name, got, want)
		}
	}
}

// TestPolicyMergeOfWhatIsAllowed: the operator decides what others may change.
func TestPolicyMergeOfWhatIsAllowed(t *testing.T) {
	all := catalogue(t)
	file := PolicyFile{Name: ".github/stanch.yml", Text: []byte("remediation: automatic\ncomment: false\npaths: [{glob: a, conclusion: neutral}]\nconclusion: {high: failure, low: neutral}")}
	for may, want := range map[string]int{"[remediation]": 3, "[]": 4, "[remediation, comment, paths, conclusion]": 0} {
		operator, err := ParsePolicy("server.yml", []byte("repositories: {may: "+may+"}"), all)
		if err != nil {
			t.Fatal(err)
		}
		p, problems := operator.Merge(all, file)
		if len(problems) != want || (p.Remediation == Automatic) == (may == "[]") || p.Comments() != (want > 0) {
			t.Errorf("may change %s: %+v with the problems %v; want %d", may, p, problems, want)
		}
	}
}

// TestPolicyMergeOfAWrongFile: what cannot be read changes nothing.
func TestPolicyMergeOfAWrongFile(t *testing.T) {
	all := catalogue(t)
	p, problems := DefaultPolicy().Merge(all, PolicyFile{Name: "a.yml", Text: []byte("comment: false\nremediaton: ask")}, PolicyFile{Name: "b.yml", Text: []byte("suggestions: true")})
	if len(problems) != 1 || problems[0].File != "a.yml" || problems[0].Line != 2 || !p.Comments() || !p.Suggestions {
		t.Errorf("merged to %+v with %v; want one problem, no change by the wrong file, and the other's change", p, problems)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte("remediation: automatic\nrules: {github-pat: {order: revoke_first}}"))
	f.Add([]byte("people: {press: admin, bypass_for: 1h}\npaths: [{glob: 'docs/**', conclusion: neutral}]\nconclusion: {low: success}"))
	all := catalogue(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePolicy("stanch.yml", text, all)
		if problems := Problems(nil); errors.As(err, &problems) {
			checkProblems(t, problems, len(lineBreak.FindAll(text, -1))+1)
			return
		}
		p.Settings()
		for _, r := range all {
			c := checker{}
			c.remedy("", p.For(r.ID))
			if len(c.problems) > 0 {
				t.Errorf("an accepted policy is wrong for %s: %v", r.ID, c.problems)
			}
			if c, _ := p.ConclusionOf(r, "docs/a.md"); !slices.Contains(conclusions, c) {
				t.Errorf("a finding of %s has the conclusion %q", r.ID, c)
			}
		}
		// The same file as a repository's gives no more than it may.
		operator := DefaultPolicy()
		operator.People = People{Press: PermissionMaintain, Approvals: 1, BypassFor: time.Hour}
		merged, _ := operator.Merge(all, PolicyFile{Name: "stanch.yml", Text: text})
		if merged.Remedy != operator.Remedy || merged.Repositories.May != nil {
			t.Errorf("a repository's file changed %+v, %v", merged.Remedy, merged.Repositories)
		}
		for _, name := range []string{"public", "people.press", "people.approvals", "people.bypass", "people.bypass_for"} {
			if !stricter(name, merged, operator) {
				t.Errorf("a repository's file loosened %s: %+v", name, merged.People)
			}
		}
	})
}

// lineBreak is what ends a line of YAML (YAML 1.1, section 5.4).
var lineBreak = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")

// checkProblems checks that people find what is wrong.
func checkProblems(t *testing.T, all Problems, lines int) {
	t.Helper()
	if len(all) == 0 {
		t.Error("a refusal without a reason")
	}
	for _, p := range all {
		if p.File != "stanch.yml" || p.Line < 0 || p.Line > lines || p.Text == "" {
			t.Errorf("a problem in a file of %d lines: %+v", lines, p)
		}
	}
}
