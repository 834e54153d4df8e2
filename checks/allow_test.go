package checks

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/rules"
	"github.com/stanch-dev/stanch/rules/condition"
)

func TestAllowances(t *testing.T) {
	commit := strings.Repeat("a1", 20)
	s := condition.Subject{Path: "tests/app.env", Secret: "abcExample0", Match: "key = abcExample0", Line: "  key = abcExample0 # fine", Rule: "acme"}
	for _, test := range []struct {
		name  string
		allow rules.Allow
		want  bool
		in    bool // in that commit
	}{
		{"path", rules.Allow{Paths: []string{"^tests/"}}, true, true},
		{"another path", rules.Allow{Paths: []string{"^src/"}}, false, false},
		{"secret", rules.Allow{Regexes: []string{"^abc"}}, true, true},
		{"not the match", rules.Allow{Regexes: []string{"^key"}}, false, false},
		{"match", rules.Allow{Regexes: []string{"^key"}, Target: "match"}, true, true},
		{"line", rules.Allow{Regexes: []string{"# fine$"}, Target: "line"}, true, true},
		{"stopword", rules.Allow{Stopwords: []string{"EXAMPLE"}}, true, true},
		{"stopword elsewhere", rules.Allow{Stopwords: []string{"fine"}}, false, false},
		{"expression", rules.Allow{Expression: `finding.line contains "fine"`}, true, true},
		{"one of two", rules.Allow{Paths: []string{"^src/"}, Stopwords: []string{"example"}}, true, true},
		{"both of two", rules.Allow{All: true, Paths: []string{"^tests/"}, Stopwords: []string{"example"}}, true, true},
		{"not both", rules.Allow{All: true, Paths: []string{"^src/"}, Stopwords: []string{"example"}}, false, false},
		{"commit", rules.Allow{Commits: []string{strings.ToUpper(commit)}}, false, true},
		{"commit or path", rules.Allow{Commits: []string{commit}, Paths: []string{"^tests/"}}, true, true},
		{"commit and path", rules.Allow{All: true, Commits: []string{commit}, Paths: []string{"^tests/"}}, false, true},
		{"commit and another path", rules.Allow{All: true, Commits: []string{commit}, Paths: []string{"^src/"}}, false, false},
		{"this rule", rules.Allow{Rules: []string{"x", "acme"}, Paths: []string{"."}}, true, true},
		{"another rule", rules.Allow{Rules: []string{"x"}, Paths: []string{"."}}, false, false},
	} {
		all, err := newAllowances([]rules.Allow{{Paths: []string{"^nowhere"}}, test.allow})
		if err != nil {
			t.Fatal(err)
		}
		got, commits := all.allow(&s).allowed, all.allow(&s).in
		within := s
		within.Commit = commit
		in := all.allow(&within)
		if got != test.want || in.allowed != test.in || in.in != nil {
			t.Errorf("%s: allowed = %t, in the commit %+v", test.name, got, in)
		}
		if later := slices.ContainsFunc(commits, func(c string) bool { return strings.EqualFold(c, commit) }); later != (test.in && !test.want) {
			t.Errorf("%s: allowed later in %q", test.name, commits)
		}
	}
}

// TestExcuses: a list with an excuse takes nothing out.
func TestExcuses(t *testing.T) {
	commit := strings.Repeat("a1", 20)
	s := condition.Subject{Path: "tests/app.env", Secret: "abc", Rule: "acme"}
	for name, test := range map[string]struct {
		allow []rules.Allow
		want  leave
	}{
		"an excuse":              {[]rules.Allow{{Paths: []string{"^tests/"}, Excuse: "a list"}}, leave{excused: "a list"}},
		"none":                   {[]rules.Allow{{Paths: []string{"^src/"}, Excuse: "a list"}}, leave{}},
		"taken out all the same": {[]rules.Allow{{Paths: []string{"^tests/"}, Excuse: "a list"}, {Paths: []string{"^tests/"}}}, leave{allowed: true}},
		"in a commit":            {[]rules.Allow{{Commits: []string{strings.ToUpper(commit)}, Excuse: "a list"}}, leave{excusedIn: map[string]string{commit: "a list"}}},
	} {
		all, err := newAllowances(test.allow)
		if err != nil {
			t.Fatal(err)
		}
		if got := all.allow(&s); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v; want %+v", name, got, test.want)
		}
	}
}

func TestBadAllowances(t *testing.T) {
	for want, a := range map[string]rules.Allow{
		"names nothing":      {Description: "empty"},
		"none of secret":     {Paths: []string{"a"}, Target: "file"},
		"path: ":             {Paths: []string{"("}},
		"regex: ":            {Regexes: []string{"("}},
		"expression: at cha": {Expression: "("},
	} {
		if _, err := newAllowances([]rules.Allow{a}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
	}
}

func TestAllowMarker(t *testing.T) {
	for line, want := range map[string]string{
		"key = 1 # gitleaks:allow":             "gitleaks:allow",
		"key = 1 // betterleaks:allow because": "betterleaks:allow",
		"key = 1 <!-- trufflehog:ignore -->":   "trufflehog:ignore",
		"# stanch:allow":                       "stanch:allow",
		"gitleaks: allow":                      "",
		"":                                     "",
	} {
		if got := AllowMarker([]byte(line)); got != want {
			t.Errorf("%q has the marker %q", line, got)
		}
	}
}

func at(rule *rules.Rule, path string, line, column int) Finding {
	return Finding{Rule: rule, Location: Location{Path: path, Line: line, Column: column}}
}

func TestRequired(t *testing.T) {
	five, three := 5, 3
	needs := func(lines, columns *int) *rules.Rule {
		return &rules.Rule{ID: "pair", Detect: rules.Detect{Required: []rules.Requirement{{ID: "id", WithinLines: lines, WithinColumns: columns}}}}
	}
	id := &rules.Rule{ID: "id"}
	hidden := &rules.Rule{ID: "id", Detect: rules.Detect{SkipReport: true}}
	for _, test := range []struct {
		name  string
		found []Finding
		want  int
	}{
		{"anywhere", []Finding{at(needs(nil, nil), "a", 1, 1), at(id, "a", 900, 90)}, 2},
		{"nowhere", []Finding{at(needs(nil, nil), "a", 1, 1)}, 0},
		{"another file", []Finding{at(needs(nil, nil), "a", 1, 1), at(id, "b", 1, 1)}, 1},
		{"lines", []Finding{at(needs(&five, nil), "a", 10, 1), at(id, "a", 5, 90)}, 2},
		{"too many lines", []Finding{at(needs(&five, nil), "a", 10, 1), at(id, "a", 4, 1)}, 1},
		{"columns", []Finding{at(needs(nil, &three), "a", 10, 7), at(id, "a", 90, 4)}, 2},
		{"too many columns", []Finding{at(needs(&five, &three), "a", 10, 7), at(id, "a", 10, 3)}, 1},
		{"not reported", []Finding{at(needs(nil, nil), "a", 1, 1), at(hidden, "a", 2, 1)}, 1},
		{"both", []Finding{at(&rules.Rule{ID: "x", Detect: rules.Detect{Required: []rules.Requirement{{ID: "id"}, {ID: "y"}}}}, "a", 1, 1), at(id, "a", 2, 1)}, 1},
	} {
		if got := required(test.found); len(got) != test.want {
			t.Errorf("%s: %d findings are left", test.name, len(got))
		}
	}
}

func TestIgnores(t *testing.T) {
	commit := strings.Repeat("ab", 20)
	secret := strings.Repeat("s3", 10)
	list := fmt.Sprintf("# comment\r\n\nsrc/app.env:acme:3\n%s:C:/odd:name.txt:acme:7\nsrc/b.env:generic-api-key:4\nconf.tar!etc/app.env:acme:12\n%x\nnonsense\na:b:0\n", commit, sha256.Sum256([]byte(secret)))
	all, warnings := ParseIgnores([]byte(list), func(rule string) bool { return rule == "acme" })
	var lines []int
	for _, w := range warnings {
		lines = append(lines, w.Line)
	}
	if want := []int{5, 8, 9}; !slices.Equal(lines, want) {
		t.Errorf("warnings at %d, want %d: %v", lines, want, warnings)
	}
	acme, other := &rules.Rule{ID: "acme"}, &rules.Rule{ID: "other"}
	in := func(f Finding, commit, inside string) Finding {
		f.Commit, f.Inside = commit, inside
		return f
	}
	hashed := at(other, "z", 1, 1)
	hashed.Credential = Credential{Parts: map[string]Secret{PartSecret: NewSecret(secret)}}
	for _, test := range []struct {
		name string
		f    Finding
		want bool
	}{
		{"place", at(acme, "src/app.env", 3, 9), true},
		{"place in a commit", in(at(acme, "src/app.env", 3, 9), commit, ""), true},
		{"another line", at(acme, "src/app.env", 4, 9), false},
		{"another rule", at(other, "src/app.env", 3, 9), false},
		{"that commit", in(at(acme, "C:/odd:name.txt", 7, 1), strings.ToUpper(commit), ""), true},
		{"another commit", in(at(acme, "C:/odd:name.txt", 7, 1), strings.Repeat("0", 40), ""), false},
		{"a rule of another scanner", at(other, "src/b.env", 4, 1), true},
		{"in an archive", in(at(acme, "conf.tar", 1, 1), "", "conf.tar!etc/app.env:12"), true},
		{"elsewhere in an archive", in(at(acme, "conf.tar", 1, 1), "", "conf.tar!etc/app.env:13"), false},
		{"secret", hashed, true},
	} {
		if got := all.Ignore(&test.f); got != test.want {
			t.Errorf("%s: ignored = %t", test.name, got)
		}
	}
}
