package checks_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// contexts are the places where people leave credentials: NAME and VALUE stand for
// what a variable is called and what it holds.
var contexts = map[string]func(name, value string) string{
	"env file":   func(n, v string) string { return "DEBUG=1\n" + upper(n) + "=" + v + "\nPORT=80\n" },
	"YAML":       func(n, v string) string { return "app:\n  " + n + ": " + v + "\n  port: 80\n" },
	"JSON":       func(n, v string) string { return `{"a": 1, "` + n + `": "` + v + `", "b": [2]}` },
	"TOML":       func(n, v string) string { return "[app]\n" + n + " = \"" + v + "\" # ours\n" },
	"HCL":        func(n, v string) string { return "provider \"app\" {\n  " + n + "   = \"" + v + "\"\n}\n" },
	"Go":         func(n, v string) string { return "\tconst " + camel(n) + " = \"" + v + "\"\n\trun()\n" },
	"Python":     func(n, v string) string { return "client = Client(1, " + n + "='" + v + "', debug=True)\n" },
	"JavaScript": func(n, v string) string { return "const c = {" + camel(n) + ": '" + v + "', port: 80};\n" },
	"Java":       func(n, v string) string { return "private static final String " + upper(n) + " = \"" + v + "\";\n" },
	"shell":      func(n, v string) string { return "set -e\nexport " + upper(n) + "='" + v + "'\n./run\n" },
	"URL":        func(n, v string) string { return "GET https://host.internal/v1/things?" + n + "=" + v + "&page=2\n" },
	"log line":   func(n, v string) string { return "2031-02-03T04:05:06Z INFO start " + n + "=" + v + " pid=7\n" },
}

func upper(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// camel is name as languages write it that join words by capitals.
func camel(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool { return r == '_' || r == '-' })
	for i := range words[1:] {
		words[i+1] = strings.ToUpper(words[i+1][:1]) + words[i+1][1:]
	}
	return strings.Join(words, "")
}

// nameFor returns a name that people give to the rule's values, or "" when its
// values are told by more than a name beside them.
func nameFor(t *testing.T, s *checks.Scanner, r *rules.Rule) string {
	value := token(t, r.Sample, 1)
	names := []string{"app_setting"}
	for _, k := range r.Detect.Keywords {
		k = strings.Trim(strings.ToLower(k), "_-. ")
		for _, suffix := range []string{"", "_api_key", "_token", "_secret", "_key", "_password", "_access_token", "_client_secret", "_auth_token", "_secret_key", "_api_token"} {
			names = append(names, k+suffix)
		}
	}
	for _, n := range names {
		if strings.ContainsAny(n, " :/=.(\"'") {
			continue
		}
		if foundBy(s, r, contexts["TOML"](n, value), value) {
			return n
		}
	}
	return ""
}

// foundBy reports whether the rule finds value in text. Of the rules for passwords,
// which are told apart by the text's language alone, any will do.
func foundBy(s *checks.Scanner, r *rules.Rule, text, value string) bool {
	for _, f := range scan(s, "file", []byte(text)) {
		right := f.Rule.ID == r.ID || r.Detect.Placeholders && f.Rule.Provider == r.Provider
		got := f.Credential.Secret().Expose()
		plain, _ := url.PathUnescape(got)
		if right && (strings.Contains(value, got) || strings.Contains(value, plain)) {
			return true
		}
	}
	return false
}

const (
	recallValues = 50
	// leastRecall is the share of values that must be found, by the right rule.
	leastRecall = 0.99
)

// TestRecall wants values of every kind found in every context.
func TestRecall(t *testing.T) {
	s := scanner(t)
	contextual := 0
	for _, r := range catalogue(t) {
		name := nameFor(t, s, r)
		if name == "" {
			contextual++ // its own examples say where it stands: TestExamples
			continue
		}
		t.Run(r.ID, func(t *testing.T) {
			t.Parallel()
			random := seeded(9)
			missed, tried := make(map[string]int), 0
			for range rounds(recallValues) {
				_, value, err := r.Expand("", random)
				if err != nil {
					t.Fatal(err)
				}
				for context, text := range contexts {
					tried++
					if !foundBy(s, r, text(name, value), value) {
						missed[context]++
					}
				}
			}
			lost := 0
			for _, n := range missed {
				lost += n
			}
			if float64(lost) > (1-leastRecall)*float64(tried) {
				t.Errorf("as %s: %d of %d are missed: %s", name, lost, tried, fmt.Sprint(missed))
			}
		})
	}
	t.Logf("%d of %d kinds are told by more than a name", contextual, len(catalogue(t)))
}
