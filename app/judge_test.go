package app

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

// files reads what a test says is in the repository.
func files(all map[string]string) ReadFile {
	return func(path string, most int64) ([]byte, error) {
		text, ok := all[path]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return []byte(text), nil
	}
}

var (
	fingerprintKey = checks.FingerprintKey("a test's fingerprints")
	listKey        = checks.FingerprintKey("a test's allowlists")
	judgeDay       = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func judgeOf(t *testing.T, all map[string]string) *Judge {
	t.Helper()
	j, err := NewJudge(JudgeConfig{Policy: DefaultPolicy(), Catalogue: catalogue(t), Allow: listKey}, nil, files(all))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func found(t *testing.T, rule, path string) *checks.Finding {
	secret := checks.NewSecret("a test's secret")
	return &checks.Finding{
		Rule: ruleOf(t, rule), Fingerprint: secret.Fingerprint(fingerprintKey), Location: checks.Location{Path: path, Line: 3},
		Credential: checks.Credential{Rule: rule, Parts: map[string]checks.Secret{checks.PartSecret: secret}},
	}
}

func TestJudge(t *testing.T) {
	id := string(found(t, "github-pat", "").Fingerprint.AllowID(listKey))
	marked := func(f *checks.Finding) { f.Marker = "gitleaks:allow" }
	excused := func(f *checks.Finding) { f.Excused = ".gitleaks.toml" }
	for _, test := range []struct {
		name   string
		files  map[string]string
		change func(*checks.Finding)
		want   Verdict
	}{
		{"nothing", nil, nil, Verdict{report.Failure, "the default", "", false}},
		{"policy", map[string]string{policyPath: "paths:\n- {glob: src, conclusion: neutral}\n"}, nil, Verdict{report.Failure, "the default", "", false}},
		{"path", map[string]string{policyPath: "paths:\n- {glob: 'src/**', conclusion: neutral}\n"}, nil, Verdict{report.Neutral, ".github/stanch.yml:2", "", false}},
		{"off", map[string]string{policyPath: "rules: {github-pat: {enabled: false}}"}, nil,
			Verdict{report.Success, "the rule github-pat is off by .github/stanch.yml:1", "", true}},
		{"listed", map[string]string{".github/stanch-allow.txt": "#\n" + id + " 2026-03-01 @dana a test's"}, nil,
			Verdict{report.Success, ".github/stanch-allow.txt:2, by @dana until 2026-03-01", "a test's", true}},
		{"listed elsewhere", map[string]string{policyPath: "allowlist: sec/allow.txt", "sec/allow.txt": id + " 2026-03-01 @dana a test's"}, nil,
			Verdict{report.Success, "sec/allow.txt:1, by @dana until 2026-03-01", "a test's", true}},
		{"over", map[string]string{".github/stanch-allow.txt": id + " 2026-02-28 @dana a test's"}, nil,
			Verdict{report.Failure, "the entry of .github/stanch-allow.txt:1 ended on 2026-02-28", "", false}},
		{"over and marked", map[string]string{".github/stanch-allow.txt": id + " 2026-02-28 @dana a test's"}, marked,
			Verdict{report.Failure, "the entry of .github/stanch-allow.txt:1 ended on 2026-02-28", "", false}},
		{"ignored", map[string]string{".gitleaksignore": "src/a.env:github-pat:3\n"}, nil, Verdict{report.Success, ".gitleaksignore", "", true}},
		{"ignored elsewhere", map[string]string{".betterleaksignore": "src/b.env:github-pat:3\n"}, nil, Verdict{report.Failure, "the default", "", false}},
		{"excused", nil, excused, Verdict{report.Success, ".gitleaks.toml", "", true}},
		{"disabled", map[string]string{".gitleaks.toml": "[extend]\nuseDefault = true\ndisabledRules = ['github-pat']\n"}, nil,
			Verdict{report.Success, "the rule github-pat is off by .gitleaks.toml", "", true}},
		{"marked", nil, marked, Verdict{report.Neutral, "the comment gitleaks:allow beside it", "", false}},
		{"marked, and comments do not count", map[string]string{policyPath: "inline_markers: false"}, marked, Verdict{report.Failure, "the default", "", false}},
		{"marked and milder by policy", map[string]string{policyPath: "conclusion: {critical: success, high: success}"}, marked,
			Verdict{report.Success, ".github/stanch.yml:1", "", false}},
	} {
		f := found(t, "github-pat", "src/a.env")
		if test.change != nil {
			test.change(f)
		}
		if got := judgeOf(t, test.files).Of(f, judgeDay); got != test.want {
			t.Errorf("%s: %+v; want %+v", test.name, got, test.want)
		}
	}
}

// TestJudgeKeepsTheCatalogue: a repository's gitleaks file adds rules and excuses; it
// does not keep the catalogue from finding.
func TestJudgeKeepsTheCatalogue(t *testing.T) {
	j := judgeOf(t, map[string]string{".gitleaks.toml": `
[extend]
useDefault = true
disabledRules = ["gitlab-pat"]
[[rules]]
id = "github-pat"
regex = '''never-found-[0-9]{99}'''
[[rules.allowlists]]
paths = ['^fixtures/']
[[rules]]
id = "acme-serial"
description = "Acme serial number"
regex = '''ACME-([0-9]{12})'''
`})
	if len(j.Problems) > 0 {
		t.Fatal(j.Problems)
	}
	patterns := map[string]string{}
	for _, r := range catalogue(t) {
		patterns[r.ID] = r.Detect.Pattern
	}
	byID := map[string]bool{}
	for _, r := range j.Rules {
		byID[r.ID] = true
		if pattern, ours := patterns[r.ID]; ours && r.Detect.Pattern != pattern {
			t.Errorf("the pattern of %s was changed", r.ID)
		}
	}
	if !byID["acme-serial"] || !byID["gitlab-pat"] || !byID["github-pat"] || j.RulesID == "" {
		t.Errorf("the rules are %d, and one of them is missing", len(j.Rules))
	}
	for _, r := range j.Rules {
		for _, a := range r.Detect.Allow {
			if a.Excuse == "" && len(a.Paths) == 1 && a.Paths[0] == "^fixtures/" {
				t.Errorf("%s lets the file take findings out", r.ID)
			}
		}
	}
}

func TestJudgeSaysWhatIsWrong(t *testing.T) {
	j := judgeOf(t, map[string]string{
		policyPath:                 "comment: maybe",
		".github/stanch-allow.txt": "allow me",
		".gitleaks.toml":           "rules = [",
		".gitleaksignore":          "what?\n",
	})
	said := j.Problems.Error()
	for _, want := range []string{".github/stanch.yml:1: ", ".github/stanch-allow.txt:1: this entry does not count: ", ".gitleaks.toml: it does not count: "} {
		if !strings.Contains(said, want) {
			t.Errorf("the problems are\n%s\nand none of them has %q", said, want)
		}
	}
	if len(j.Notes) != 1 || j.Notes[0].File != ".gitleaksignore" {
		t.Errorf("the notes are %v", j.Notes)
	}
}

// TestJudgeIsBounded: a repository's files cost no more than they may.
func TestJudgeIsBounded(t *testing.T) {
	var paths, own strings.Builder
	for i := range maxExcuses + 1 {
		fmt.Fprintf(&paths, "'^fixtures/%d/',", i)
		fmt.Fprintf(&own, "[[rules]]\nid = 'own-%d'\nregex = 'own%d-([0-9]{12})'\n", i, i)
	}
	j := judgeOf(t, map[string]string{
		".gitleaks.toml":  "[allowlist]\npaths = [" + paths.String() + "]\n" + own.String(),
		".gitleaksignore": strings.Repeat("nothing\n", 2*maxProblems),
	})
	said := j.Problems.Error()
	if !strings.Contains(said, "its allowlists for all rules have 501 expressions") || !strings.Contains(said, "it has 501 rules of its own, of which 500 count") {
		t.Errorf("the problems are %s", said)
	}
	if all := len(j.Rules) - len(catalogue(t)); all != maxOwnRules || len(j.Notes) != maxProblems {
		t.Errorf("there are %d rules of the repository's own, and %d notes", all, len(j.Notes))
	}
	for _, r := range j.Rules {
		if slices.ContainsFunc(r.Detect.Allow, func(a rules.Allow) bool { return a.Excuse != "" }) {
			t.Fatalf("%s has the lists that are too long", r.ID)
		}
	}
}

// TestJudgeDoesNotGuess: what could not be read just now is an error, not as if it were
// not there.
func TestJudgeDoesNotGuess(t *testing.T) {
	broken := errors.New("the line is down")
	for _, name := range []string{policyPath, ".github/stanch-allow.txt", ".gitleaks.toml", ".gitleaksignore", "base.toml"} {
		read := func(path string, most int64) ([]byte, error) {
			if path == name {
				return nil, broken
			}
			return files(map[string]string{".gitleaks.toml": "[extend]\npath = 'base.toml'\n"})(path, most)
		}
		if _, err := NewJudge(JudgeConfig{Policy: DefaultPolicy(), Catalogue: catalogue(t)}, nil, read); !errors.Is(err, broken) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	refused := func(string, int64) ([]byte, error) { return nil, &RefusedFile{"it is a symbolic link"} }
	j, err := NewJudge(JudgeConfig{Policy: DefaultPolicy(), Catalogue: catalogue(t)}, nil, refused)
	if err != nil || len(j.Problems) == 0 {
		t.Errorf("what is refused is told as %v, %v", j.Problems, err)
	}
}
