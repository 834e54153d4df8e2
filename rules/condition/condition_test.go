package condition

import (
	"errors"
	"strings"
	"testing"
)

var subject = Subject{Path: "tests/fixtures/app.env", Commit: "", Secret: "abcabcMOCK0", Match: `key = "abcabcMOCK0"`, Line: `  key = "abcabcMOCK0" # Example: x`, Rule: "acme-key", Description: "Acme key"}

func TestConditions(t *testing.T) {
	for source, want := range map[string]bool{
		`true`:                         true,
		`!true || false`:               false,
		`not false and true`:           true,
		`finding.secret == "x"`:        false,
		`finding["secret"] != "x"`:     true,
		`secret.contains("MOCK")`:      true,
		`finding.secret contains "no"`: false,
		`attributes[?"path"].orValue("").startsWith("tests/")`:                                true,
		`(attributes["path"] ?? "") startsWith "src/"`:                                        false,
		`attributes?.path endsWith ".env"`:                                                    true,
		`filter.matchesAny(attributes[?"path"].orValue(""), [r"""(?i)\.(?:MD|env)$"""])`:      true,
		`matchesAny(finding.line, ["^key", 'Example:'])`:                                      true,
		`containsAny(finding["secret"], ["_MOCK_", "MOCK",])`:                                 true,
		`entropy(finding.secret) <= 2.5`:                                                      false,
		`filter.entropy(finding["secret"]) > 2.0 && len(finding.secret) == 11`:                true,
		`finding.rule_id in ["a", "acme-key"]`:                                                true,
		`finding.rule_id not in ["a", "acme-key"]`:                                            false,
		`finding.description.lowerAscii() == "acme" + " key"`:                                 true,
		`upper(finding.description) == 'ACME KEY' && trim(" a ") == "a"`:                      true,
		`finding.match matches "^key\\s*="`:                                                   true,
		"finding.match.matches(`^\\d`)":                                                       false,
		`size(finding.secret) >= 12 || finding.secret.size() < 12`:                            true,
		"// a comment\nhasSuffix(finding.secret, \"0\") // another":                           true,
		`failsTokenEfficiency(finding.secret) || finding.secret == "abcabcMOCK0"`:             true,
		`entropy(finding.secret) <= 1 || failsTokenEfficiency(finding.secret)`:                false,
		`finding.secret == "abcabc\x4d\u004fCK0"`:                                             true,
		`"a" < "b" && 1 < 2 && 2.50 >= 2.5 && !(hasPrefix(finding.secret, "b"))`:              true,
		`(finding.line contains "a" || finding.line contains "§") && finding.secret in ["x"]`: false,
	} {
		c, err := Parse(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := c.Holds(&subject); got != want {
			t.Errorf("%s is %t", source, got)
		}
		if noted := len(c.Notes()) > 0; noted != strings.Contains(source, "Efficiency") {
			t.Errorf("%s has the notes %v", source, c.Notes())
		}
	}
}

func TestWhatCannotBeUnderstood(t *testing.T) {
	for source, want := range map[string]string{
		``:                                      `at character 1: a value is expected in the place of "the end"`,
		`finding.secret`:                        `the whole must be true or false`,
		`finding.secret ==`:                     `a value is expected`,
		`finding.author == "x"`:                 `finding has no "author"`,
		`attributes["git.sha"] == "x"`:          `attributes has no "git.sha"`,
		`entropy(finding.secret) < "3"`:         `two texts or two numbers`,
		`entropy("x", )`:                        `a value is expected`,
		`matchesAny(finding.line, ["("])`:       "missing closing",
		`matchesAny(finding.line, [finding])`:   `texts only`,
		`matchesAny(finding.line)`:              `not given what it takes`,
		`http.get("https://example.com") == ""`: `"http" is not known`,
		`levenshtein("a") > 1`:                  `function levenshtein is not known`,
		`"a" in "b"`:                            `one of a list`,
		`"a" + 1 == "a"`:                        `joins texts only`,
		`"abc`:                                  `does not end`,
		`"\q" == "q"`:                           `is no escape`,
		`1.2.3 > 1`:                             `is no number`,
		`true false`:                            `not expected here`,
		`a == b`:                                `"a" is not known`,
		`finding.secret matches finding.line`:   `not written down`,
		`"a" && true`:                           `true or false is expected`,
		`!failsTokenEfficiency(finding.secret)`: `cannot be answered`,
		`#`:                                     `means nothing here`,
		strings.Repeat("(", 200) + "true":       `nested too deeply`,
		strings.Repeat("!", 200) + "true":       `nested too deeply`,
	} {
		_, err := Parse(source)
		failed := new(SyntaxError)
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`attributes[?"path"].orValue("").startsWith("tests/") && (containsAny(finding["secret"], ["a"]) || entropy(secret) <= 2.5)`)
	f.Add("finding.secret not in ['a'] // x\n or `a` matches r'''b'''")
	f.Fuzz(func(t *testing.T, source string) {
		c, err := Parse(source)
		if failed := new(SyntaxError); err != nil && (!errors.As(err, &failed) || failed.Offset > len(source)) {
			t.Fatalf("the error is %v", err)
		}
		if err == nil {
			c.Holds(&subject)
		}
	})
}
