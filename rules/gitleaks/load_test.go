package gitleaks

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stanch-dev/stanch/rules"
	"github.com/stanch-dev/stanch/rules/condition"
)

// catalogue stands in for what is built in.
func catalogue() []*rules.Rule {
	return []*rules.Rule{
		{ID: "acme-token", Title: "Acme token", Severity: rules.Critical, Sample: "x", Detect: rules.Detect{Keywords: []string{"acme_"}, Pattern: `\bacme_[a-z]{20}\b`, Checksum: "crc32"}},
		{ID: "generic", Title: "Something", Severity: rules.Low, Detect: rules.Detect{Keywords: []string{"password"}, Value: `.{8,}`, Placeholders: true}},
	}
}

// load reads a file that extends only what is given.
func load(t *testing.T, text string, others map[string]string) *Config {
	t.Helper()
	c, err := loader(others).Load(".gitleaks.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func loader(others map[string]string) Loader {
	return Loader{catalogue(), func(path string) ([]byte, error) {
		if text, ok := others[path]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}}
}

// ids returns the ids of the rules of a config.
func ids(c *Config) (all []string) {
	for _, r := range c.Rules {
		all = append(all, r.ID)
	}
	return all
}

// ruleOf returns the rule of an id.
func ruleOf(t *testing.T, c *Config, id string) *rules.Rule {
	t.Helper()
	i := slices.IndexFunc(c.Rules, func(r *rules.Rule) bool { return r.ID == id })
	if i < 0 {
		t.Fatalf("there is no rule %s among %q", id, ids(c))
	}
	return c.Rules[i]
}

func noWarnings(t *testing.T, c *Config) {
	t.Helper()
	for _, w := range c.Warnings {
		t.Error(w)
	}
}

func number(n int) *int { return &n }

func TestLoadOwnRules(t *testing.T) {
	c := load(t, `
title = "Team secrets"

[[rules]]
id = "shop-key"
description = "Key of the shop"
regex = '''(?i)\b(shop|store)_key\s*[=:]\s*["']?([0-9a-f]{32})'''
secretGroup = 2
entropy = 3
keywords = ["SHOP_key", "store_key"]
path = '''\.(env|ya?ml)$'''

  [[rules.allowlists]]
  description = "tests"
  condition = "AND"
  regexTarget = "line"
  regexes = ['''for tests''']
  paths = ['''^tests/''']

  [[rules.allowlists]]
  stopwords = ["sample"]
  commits = ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]

[[rules]]
id = "keystore"
description = "Java keystore"
path = '''\.jks$'''

[[rules]]
id = "shop-pair"
regex = '''shop_id=(\d{12})'''
keywords = ["shop_id"]
skipReport = true

[[rules]]
id = "shop-secret"
regex = '''shop_secret=(\w{12})'''
keywords = ["shop_secret"]
[[rules.required]]
id = "shop-pair"
withinLines = 5
[[rules.required]]
id = "shop-key"
withinLines = 1
withinColumns = 80

[[allowlists]]
description = "global"
paths = ['''go\.sum$''']

[[allowlists]]
targetRules = ["shop-key", "keystore"]
regexTarget = "match"
regexes = ["^x"]
`, nil)
	noWarnings(t, c)
	want := []*rules.Rule{
		{ID: "keystore", Title: "Java keystore", Detect: rules.Detect{Path: `\.jks$`}},
		{ID: "shop-key", Title: "Key of the shop", Detect: rules.Detect{
			Keywords: []string{"shop_key", "store_key"}, Pattern: `(?i)\b(shop|store)_key\s*[=:]\s*["']?([0-9a-f]{32})`,
			Group: 2, Entropy: 3, Path: `\.(env|ya?ml)$`, Reach: reach,
			Allow: []rules.Allow{
				{Description: "tests", All: true, Target: "line", Regexes: []string{"for tests"}, Paths: []string{"^tests/"}},
				{Stopwords: []string{"sample"}, Commits: []string{strings.Repeat("a", 40)}},
			},
		}},
		{ID: "shop-pair", Title: "shop-pair", Detect: rules.Detect{Keywords: []string{"shop_id"}, Pattern: `shop_id=(\d{12})`, Group: rules.FirstGroup, Reach: reach, SkipReport: true}},
		{ID: "shop-secret", Title: "shop-secret", Detect: rules.Detect{
			Keywords: []string{"shop_secret"}, Pattern: `shop_secret=(\w{12})`, Group: rules.FirstGroup, Reach: reach,
			Required: []rules.Requirement{{ID: "shop-pair", WithinLines: number(5)}, {ID: "shop-key", WithinLines: number(1), WithinColumns: number(80)}},
		}},
	}
	same := cmpopts.IgnoreFields(rules.Rule{}, "Severity", "Runbook", "Provider")
	if diff := cmp.Diff(want, c.Rules, same, cmpopts.IgnoreUnexported(rules.Rule{})); diff != "" {
		t.Error(diff)
	}
	global := []rules.Allow{
		{Description: "global", Paths: []string{`go\.sum$`}},
		{Rules: []string{"shop-key", "keystore"}, Target: "match", Regexes: []string{"^x"}},
	}
	if diff := cmp.Diff(global, c.Allow); diff != "" {
		t.Error(diff)
	}
	r := c.Rules[0]
	if r.Severity != rules.High || r.Provider.Name != "gitleaks" || r.Provider.Title != "Team secrets" || r.Runbook == "" {
		t.Errorf("the rule is %+v of %+v", r, r.Provider)
	}
}

func TestUseDefaultExtendsTheCatalogue(t *testing.T) {
	c := load(t, `
[extend]
useDefault = true
disabledRules = ["generic"]

[[rules]]
id = "acme-token"
  [[rules.allowlists]]
  regexes = ['''^acme_test''']
`, nil)
	noWarnings(t, c)
	if diff := cmp.Diff([]string{"acme-token"}, ids(c)); diff != "" {
		t.Error(diff)
	}
	r := ruleOf(t, c, "acme-token")
	if r.Detect.Pattern != catalogue()[0].Detect.Pattern || r.Detect.Checksum == "" || r.Severity != rules.Critical || len(r.Detect.Allow) != 1 {
		t.Errorf("the rule is %+v", r)
	}
}

func TestAnotherRegexReplacesHowItWasFound(t *testing.T) {
	before := catalogue()
	l := loader(nil)
	l.Catalogue = before
	c, err := l.Load("x.toml", []byte("[extend]\nuseDefault = true\n[[rules]]\nid = \"acme-token\"\nregex = 'acme_(beta_[a-z]{9})'\n"))
	if err != nil {
		t.Fatal(err)
	}
	noWarnings(t, c)
	d := ruleOf(t, c, "acme-token").Detect
	want := rules.Detect{Keywords: []string{"acme_"}, Pattern: "acme_(beta_[a-z]{9})", Group: rules.FirstGroup, Reach: reach}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(catalogue(), before, cmpopts.IgnoreUnexported(rules.Rule{})); diff != "" {
		t.Errorf("the catalogue was changed: %s", diff)
	}
}

func TestTheFirstGroupIsTheSecret(t *testing.T) {
	c := load(t, "[[rules]]\nid = 'a'\nregex = '\\bshop_key=(?:([0-9a-f]{8})|(none))'\nkeywords = ['shop']\nspecificity = 0\n[[rules]]\nid = 'b'\nregex = 'b'\nsecretGroup = 0\n", nil)
	noWarnings(t, c)
	if d := c.Rules[0].Detect; d.Group != rules.FirstGroup || !d.Fallback {
		t.Errorf("rule a is %+v", d)
	}
	if d := c.Rules[1].Detect; d.Group != 0 || d.Fallback {
		t.Errorf("rule b is %+v", d)
	}
}

func TestExtendedFiles(t *testing.T) {
	others := map[string]string{
		"base.toml":  "[extend]\npath = \"root.toml\"\n[[rules]]\nid = \"b\"\nregex = 'bbb'\nkeywords = ['bbb']\nnews = 1\n[allowlist]\npaths = ['b']\n",
		"root.toml":  "[extend]\npath = \"deep.toml\"\n[[rules]]\nid = \"a\"\nregex = 'aaa'\nkeywords = ['aaa']\n[[rules]]\nid = \"c\"\nregex = 'ccc'\nkeywords = ['ccc']\n",
		"deep.toml":  "[[rules]]\nid = \"d\"\nregex = 'ddd'\n",
		"cycle.toml": "[extend]\npath = \"cycle.toml\"\n",
		"bad.toml":   "[[rules]\n",
	}
	c := load(t, "[extend]\npath = \"base.toml\"\ndisabledRules = [\"c\"]\n[[allowlists]]\npaths = ['x']\n[[rules]]\nid = \"b\"\nentropy = 2.5\n", others)
	if diff := cmp.Diff([]string{"a", "b"}, ids(c)); diff != "" {
		t.Error(diff)
	}
	if b := ruleOf(t, c, "b").Detect; b.Entropy != 2.5 || b.Pattern != "bbb" {
		t.Errorf("rule b is %+v", b)
	}
	if len(c.Allow) != 2 {
		t.Errorf("the allowlists are %+v", c.Allow)
	}
	warned(t, c, "root.toml:2: extend: deep.toml is not read", `base.toml:7: rule b: the key "news" is not known`)
	warned(t, load(t, "[extend]\npath = \"cycle.toml\"\n", others), "cycle.toml:2: extend: cycle.toml is not read")
	for path, want := range map[string]string{"nowhere.toml": ".gitleaks.toml:2: extend nowhere.toml: file does not exist", "bad.toml": "bad.toml:1:"} {
		if _, err := loader(others).Load(".gitleaks.toml", []byte("[extend]\npath = \""+path+"\"\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// warned checks that these warnings, and no others, were given.
func warned(t *testing.T, c *Config, want ...string) {
	t.Helper()
	if len(c.Warnings) != len(want) {
		t.Errorf("%d warnings, want %d", len(c.Warnings), len(want))
	}
	for i, w := range c.Warnings {
		if i >= len(want) || !strings.HasPrefix(w.String(), want[i]) {
			t.Errorf("warning %d is %s", i+1, w)
		}
	}
}

func TestNothingIsIgnoredInSilence(t *testing.T) {
	for name, test := range map[string]struct {
		text  string
		want  []string
		rules int
	}{
		"unknown keys": {
			"colour = 1\n[extend]\nurl = \"x\"\n[[rules]]\nid = \"a\"\nregex = 'abc'\nkeywords = ['abc']\nnews = 1\n[[rules.allowlists]]\npaths = ['a']\nrepos = ['b']\n",
			[]string{".gitleaks.toml:1: the key \"colour\"", ".gitleaks.toml:3: extend: the key \"url\"", ".gitleaks.toml:8: rule a: the key \"news\"", ".gitleaks.toml:11: allowlist: the key \"repos\""}, 1,
		},
		"bad expressions": {
			"[[rules]]\nid = \"a\"\nregex = '''a(?!b)'''\n[[rules]]\nid = \"b\"\nregex = 'b'\npath = '('\n[allowlist]\npaths = [\n  'a',\n  '(',\n]\n",
			[]string{".gitleaks.toml:3: rule a: the regex cannot be read, and the rule is left out", ".gitleaks.toml:7: rule b: the path cannot be read", ".gitleaks.toml:11: allowlist: an expression of paths"}, 0,
		},
		"rules that are none": {
			"[[rules]]\nregex = 'a'\n[[rules]]\nid = \"b\"\n[[rules]]\nid = \"c\"\nregex = 'ccc'\nkeywords = ['ccc']\n[[rules]]\nid = \"c\"\ndescription = \"again\"\n",
			[]string{".gitleaks.toml:1: a rule without an id", ".gitleaks.toml:3: rule b: it has neither", ".gitleaks.toml:9: rule c: it is there on line 5"}, 1,
		},
		"what is not done": {
			"[[rules]]\nid = \"a\"\nregex = 'abc'\nkeywords = ['abc']\ntags = ['x']\ntokenEfficiency = true\nvalidate = 'http.get()'\nseverity = 'dire'\nentropy = 9\n",
			[]string{".gitleaks.toml:5: rule a: reports", ".gitleaks.toml:6: rule a: tokenEfficiency", ".gitleaks.toml:7: rule a: validate", ".gitleaks.toml:8: rule a: severity", ".gitleaks.toml:9: rule a: entropy"}, 1,
		},
		"groups": {
			"[[rules]]\nid = \"a\"\nregex = 'a(b)'\nsecretGroup = 2\n[[rules]]\nid = \"b\"\nregex = 'a(b)|c(d)'\nspecificity = 200\n",
			[]string{".gitleaks.toml:4: rule a: secretGroup is 2", ".gitleaks.toml:8: rule b: specificity 200 is more"}, 1,
		},
		"allowlists": {
			"[[allowlists]]\ndescription = 'empty'\n[[allowlists]]\ncondition = 'XOR'\npaths = ['a']\n[[allowlists]]\nregexTarget = 'file'\nregexes = ['a']\n[[allowlists]]\ncondition = '&&'\npaths = ['a']\nregexes = ['(']\n",
			[]string{".gitleaks.toml:1: allowlist: it names nothing", ".gitleaks.toml:4: allowlist: condition", ".gitleaks.toml:7: allowlist: regexTarget", ".gitleaks.toml:9: allowlist: not all", ".gitleaks.toml:12: allowlist: an expression"}, 0,
		},
		"types": {
			"title = 3\nrules = 'none'\n[extend]\nuseDefault = 'yes'\n[[allowlists]]\npaths = 'a'\nstopwords = ['a', 3]\n",
			[]string{".gitleaks.toml:1: title must be", ".gitleaks.toml:2: rules must be", ".gitleaks.toml:4: useDefault must be", ".gitleaks.toml:6: paths must be", ".gitleaks.toml:7: stopwords must be"}, 0,
		},
		"references": {
			"[extend]\ndisabledRules = ['x']\n[[rules]]\nid = 'a'\nregex = 'abc'\nkeywords = ['abc']\n[[rules.required]]\nid = 'y'\nwithinLines = -1\n[[rules.required]]\nwithinLines = 2\n",
			[]string{".gitleaks.toml:2: extend: there is no rule \"x\"", ".gitleaks.toml:3: rule a requires the rule \"y\"", ".gitleaks.toml:9: withinLines is -1", ".gitleaks.toml:10: required: a requirement without"}, 1,
		},
		"filters": {
			"filter = '''\nentropy(finding.secret) < 3 ||\n  levenshtein(\"a\") > 1'''\nprefilter = 'attributes[?\"git.author_name\"].orValue(\"\").endsWith(\"[bot]\")'\n[[rules]]\nid = 'a'\nregex = 'abc'\nkeywords = ['abc']\nfilter = 'failsTokenEfficiency(finding.secret)'\n",
			[]string{".gitleaks.toml:3: filter is not applied: the function levenshtein", ".gitleaks.toml:4: prefilter is not applied", ".gitleaks.toml:9: filter: failsTokenEfficiency"}, 1,
		},
		"components": {
			"[[rules]]\nid = 'a'\nregex = 'abc'\nkeywords = ['abc']\ncomponents = [{id = 'a', within = '5L,9C'}, {id = 'a', within = 'near'}, {id = 'b', optional = true}]\n",
			[]string{".gitleaks.toml:5: components: within \"near\""}, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, test.text, nil)
			warned(t, c, test.want...)
			if len(c.Rules) != test.rules {
				t.Errorf("the rules are %q", ids(c))
			}
		})
	}
}

func TestFiltersAreApplied(t *testing.T) {
	c := load(t, `
prefilter = '''matchesAny(attributes[?"path"].orValue(""), [r"""(?i)\.(?:png|jpe?g)$"""])'''
[[rules]]
id = "a"
regex = 'abc_[a-z]{9}'
keywords = ["abc_"]
filter = '''
entropy(finding["secret"]) <= 2.0 ||
containsAny(finding["line"], ["example"])
'''
`, nil)
	noWarnings(t, c)
	if len(c.Allow) != 1 || len(c.Rules[0].Detect.Allow) != 1 {
		t.Fatalf("%+v, %+v", c.Allow, c.Rules)
	}
	holds := func(a rules.Allow, s condition.Subject) bool {
		e, err := condition.Parse(a.Expression)
		if err != nil {
			t.Fatal(err)
		}
		return e.Holds(&s)
	}
	if !holds(c.Allow[0], condition.Subject{Path: "a/b.JPG"}) || holds(c.Allow[0], condition.Subject{Path: "a/b.go"}) {
		t.Error("the prefilter does not tell pictures from code")
	}
	own := c.Rules[0].Detect.Allow[0]
	if !holds(own, condition.Subject{Secret: "aaaa"}) || holds(own, condition.Subject{Secret: "qwertyuiop"}) || !holds(own, condition.Subject{Secret: "qwertyuiop", Line: "an example"}) {
		t.Error("the filter does not tell what is to be left out")
	}
}

func TestSyntaxErrorsNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"title = 'a'\n[[rules]\n":        "x.toml:2:",
		"a = 1\na = 2\n":                 "x.toml:2:1: ",
		"[[rules]]\nregex = '''never\n":  "x.toml:",
		"[[rules]]\nid = 'a'\n[rules]\n": "x.toml:3:",
	} {
		if _, err := (Loader{}).Load("x.toml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("title = 'a'\n[extend]\nuseDefault = true\n[[rules]]\nid = 'a'\nregex = '''a(b)|c(d)'''\nsecretGroup = 1\nkeywords = ['a']\n[[rules.allowlists]]\npaths = ['x']\ncondition = 'AND'\n")
	f.Add("rules = [{id = 'a', path = 'x', components = [{id = 'b', within = '5L'}]}]\nfilter = '''\nfinding.secret == \"a\"'''\n[allowlist]\nstopwords = []\n")
	f.Add("[rules.a]\n\"b\".c = 1979-05-27\n[[x.y]]\n[x.y.z]\n[[x.y]]\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := loader(nil).Load("x.toml", []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "x.toml:") && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the error names no file: %v", err)
			}
			return
		}
		lines := strings.Count(text, "\n") + 1
		for _, w := range c.Warnings {
			if w.Line < 1 || w.Line > lines {
				t.Errorf("%v in %d lines", w, lines)
			}
		}
		for _, r := range c.Rules {
			pattern, err := regexp.Compile(r.Detect.Pattern)
			if err != nil || r.Detect.Group > pattern.NumSubexp() || r.ID == "" || fmt.Sprint(r.Detect.Path, r.Detect.Pattern, r.Detect.Value) == "" {
				t.Errorf("%+v: %v", r, err)
			}
			checkAllows(t, r.Detect.Allow)
		}
		checkAllows(t, c.Allow)
	})
}

// checkAllows checks that allowances can be applied.
func checkAllows(t *testing.T, all []rules.Allow) {
	t.Helper()
	for _, a := range all {
		for _, e := range slices.Concat(a.Paths, a.Regexes) {
			if _, err := regexp.Compile(e); err != nil {
				t.Error(err)
			}
		}
		if a.Expression != "" {
			if _, err := condition.Parse(a.Expression); err != nil {
				t.Error(err)
			}
		}
	}
}
