package condition

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

var subject = Subject{Path: "tests/fixtures/app.env", Commit: "", Secret: "abcabcMOCK0", Match: `key = "abcabcMOCK0"`, Line: `  key = "abcabcMOCK0" # Example: x`, Rule: "acme-key", Description: "Acme key", Text: []byte("# Acme\n  key = \"abcabcMOCK0\" # Example: x\n"), Start: 9, End: 28, LineStart: 7, LineEnd: 41}

func TestConditions(t *testing.T) {
	for source, want := range map[string]bool{
		`true`:                         true,
		`!true || false`:               false,
		`not false and true`:           true,
		`finding.secret == "x"`:        false,
		`finding["secret"] != "x"`:     true,
		`secret.contains("MOCK")`:      true,
		`finding.secret contains "no"`: false,
		`attributes[?"path"].orValue("").startsWith("tests/")`:                                          true,
		`(attributes["path"] ?? "") startsWith "src/"`:                                                  false,
		`attributes?.path endsWith ".env"`:                                                              true,
		`filter.matchesAny(attributes[?"path"].orValue(""), [r"""(?i)\.(?:MD|env)$"""])`:                true,
		`matchesAny(finding.line, ["^key", 'Example:'])`:                                                true,
		`containsAny(finding["secret"], ["_MOCK_", "MOCK",])`:                                           true,
		`entropy(finding.secret) <= 2.5`:                                                                false,
		`filter.entropy(finding["secret"]) > 2.0 && len(finding.secret) == 11`:                          true,
		`finding.rule_id in ["a", "acme-key"]`:                                                          true,
		`finding.rule_id not in ["a", "acme-key"]`:                                                      false,
		`finding.description.lowerAscii() == "acme" + " key"`:                                           true,
		`upper(finding.description) == 'ACME KEY' && trim(" a ") == "a"`:                                true,
		`finding.match matches "^key\\s*="`:                                                             true,
		"finding.match.matches(`^\\d`)":                                                                 false,
		`size(finding.secret) >= 12 || finding.secret.size() < 12`:                                      true,
		"// a comment\nhasSuffix(finding.secret, \"0\") // another":                                     true,
		`failsTokenEfficiency(finding.secret) || finding.secret == "abcabcMOCK0"`:                       true,
		`entropy(finding.secret) <= 1 || failsTokenEfficiency(finding.secret)`:                          false,
		`finding.secret == "abcabc\x4d\u004fCK0"`:                                                       true,
		`"a" < "b" && 1 < 2 && 2.50 >= 2.5 && !(hasPrefix(finding.secret, "b"))`:                        true,
		`(finding.line contains "a" || finding.line contains "§") && finding.secret in ["x"]`:           false,
		`get(attributes, "path", "") startsWith "tests/" && get(finding, "secret") == secret`:           true,
		`let s = finding.secret; let n = len(s) - 1 + 0; s contains "MOCK" && n == 10`:                  true,
		`(let s = "a"; s + s == "aa") && max(1, 3, 2) - min(4, 3) == 0`:                                 true,
		`finding["fragment_raw"][finding["match_start_idx"]:finding["match_end_idx"]] == finding.match`: true,
		`finding.fragment_raw[finding.match_line_start_idx:finding.match_line_end_idx] == finding.line`: true,
		`finding["fragment_raw"][:max(finding["match_start_idx"] - 50, 0)] == ""`:                       true,
		`finding["fragment_raw"][min(finding["match_end_idx"] + 50, 99):] == ""`:                        true,
		`secret[3:1] == "" && secret[2:4] == "ca" && secret[:] == secret`:                               true,
		"filter.findMatch(finding.fragment_raw[:7], `A\\w+`) == \"Acme\"":                               true,
		`findMatch(secret, "[0-9]{3}") != ""`:                                                           false,
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
		``:                                         `at character 1: a value is expected in the place of "the end"`,
		`finding.secret`:                           `the whole must be true or false`,
		`finding.secret ==`:                        `a value is expected`,
		`finding.author == "x"`:                    `finding has no "author"`,
		`attributes["git.sha"] == "x"`:             `attributes has no "git.sha"`,
		`entropy(finding.secret) < "3"`:            `two texts or two numbers`,
		`entropy("x", )`:                           `a value is expected`,
		`matchesAny(finding.line, ["("])`:          "missing closing",
		`matchesAny(finding.line, [finding])`:      `texts only`,
		`matchesAny(finding.line)`:                 `not given what it takes`,
		`http.get("https://example.com") == ""`:    `"http" is not known`,
		`levenshtein("a") > 1`:                     `function levenshtein is not known`,
		`"a" in "b"`:                               `one of a list`,
		`"a" + 1 == "a"`:                           `joins texts only`,
		`"abc`:                                     `does not end`,
		`"\q" == "q"`:                              `is no escape`,
		`1.2.3 > 1`:                                `is no number`,
		`true false`:                               `not expected here`,
		`a == b`:                                   `"a" is not known`,
		`finding.secret matches finding.line`:      `not written down`,
		`"a" && true`:                              `true or false is expected`,
		`!failsTokenEfficiency(finding.secret)`:    `cannot be answered`,
		`let f = failsTokenEfficiency(secret); !f`: `cannot be answered`,
		`let a = "x" a == "x"`:                     `in the place of ";"`,
		`"a" - 1 == 1`:                             `two numbers`,
		`len(secret)[1:2] == ""`:                   `parts of texts`,
		`secret["a":] == ""`:                       `from one number to another`,
		`max("a") == 1`:                            `not given what it takes`,
		`get(env, "HOME") == ""`:                   `env has no "HOME"`,
		doubled(40):                                `too large`,
		`#`:                                        `means nothing here`,
		strings.Repeat("(", 200) + "true":          `nested too deeply`,
		strings.Repeat("!", 200) + "true":          `nested too deeply`,
	} {
		_, err := Parse(source)
		failed := new(SyntaxError)
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

// doubled is a condition whose text is twice as long with each of so many names.
func doubled(times int) string {
	var b strings.Builder
	b.WriteString(`let a0 = "a"; `)
	for i := range times {
		fmt.Fprintf(&b, "let a%d = a%d + a%[2]d; ", i+1, i)
	}
	return fmt.Sprintf(`%s a%d == "a"`, b.String(), times)
}

func FuzzParse(f *testing.F) {
	f.Add(`attributes[?"path"].orValue("").startsWith("tests/") && (containsAny(finding["secret"], ["a"]) || entropy(secret) <= 2.5)`)
	f.Add(`let a = get(finding, "fragment_raw", "")[max(finding["match_start_idx"] - 9, 0):finding.match_end_idx]; findMatch(a, "x*") + a == ""`)
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
