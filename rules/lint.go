package rules

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// How far from a keyword a match may lie, in bytes. What lies farther is not
// found, so Lint refuses patterns that are longer.
const (
	Lead         = 128 // before the keyword
	DefaultReach = 512 // after it, when Detect.Reach is zero
)

const (
	// maxReach bounds how far a pattern may look, and so what a scan costs.
	maxReach = 32 << 10
	// minKeyword is the least length of a keyword: shorter ones are everywhere.
	minKeyword = 3
	// maxWithin is how many lines away a companion may stand.
	maxWithin = 50
)

// Drivers lists the names that Action.Driver may have. All but "http" and
// "manual" are Go code of package app/provider.
func Drivers() []string {
	return []string{"http", "manual", "broker", "vault", "approle", "transit", "aws", "azure", "azure-storage", "gcp", "gcp-api-key",
		"jwt", "key", "kubernetes", "postgres", "mongodb", "mysql", "redis"}
}

var ruleID = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// A Fault is something that is wrong with a provider's file.
type Fault struct {
	File string // its name
	Line int    // where the rule begins, if that is known; see Lines
	Rule string // the rule's id, or "" when it is about the provider
	Text string
}

func (f *Fault) Error() string {
	where := f.File
	if f.Line > 0 {
		where += fmt.Sprintf(":%d", f.Line)
	}
	if f.Rule != "" {
		where += ": " + f.Rule
	}
	return where + ": " + f.Text
}

// Lint returns everything that is wrong with a provider's file. It says more
// than Load: that the rules will find what their examples show, that no pattern
// can run away, and that no answer or action is left to guessing.
func Lint(p *Provider) []*Fault {
	l := linter{file: p.Name + ".yaml"}
	l.must(ruleID.MatchString(p.Name), "provider %q: use lower-case words joined by hyphens", p.Name)
	l.must(p.Title != "", "title is missing")
	l.must(isHTTPS(p.Website), "website %q is no https URL", p.Website)
	l.must(p.Base == "" || isHTTPS(p.Base) && !strings.HasSuffix(p.Base, "/"), "base %q must be an https URL without a final slash, or empty", p.Base)
	_, _, err := ParseRate(cmp.Or(p.Rate, DefaultRate))
	l.must(err == nil, "%v", err)
	l.must(len(p.Rules) > 0, "there is no rule")
	seen := make(map[string]bool)
	for _, r := range p.Rules {
		l.must(!seen[r.ID], "rule %s: its id is taken", r.ID)
		seen[r.ID] = true
		own := r.ID == p.Name || strings.HasPrefix(r.ID, p.Name+"-")
		l.must(own && ruleID.MatchString(r.ID), "rule %q: its id must be %s or begin with %s-", r.ID, p.Name, p.Name)
		l.rule(r)
	}
	return l.faults
}

// isHTTPS reports whether text is an absolute https URL without credentials.
func isHTTPS(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil
}

// A linter collects what is wrong.
type linter struct {
	file   string
	id     string // the rule's that is looked at
	faults []*Fault
}

// must records a complaint unless ok.
func (l *linter) must(ok bool, format string, args ...any) {
	if !ok {
		l.faults = append(l.faults, &Fault{File: l.file, Rule: l.id, Text: fmt.Sprintf(format, args...)})
	}
}

// rule checks one rule.
func (l *linter) rule(r *Rule) {
	l.id = r.ID
	defer func() { l.id = "" }()
	l.must(r.Title != "", "title is missing")
	l.must(slices.Contains([]Severity{Critical, High, Medium, Low}, r.Severity), "severity %q is none of critical, high, medium, low", r.Severity)
	l.must(strings.Contains(r.Runbook, "https://"), "runbook must say what a person does, with a link")
	parts := l.detect(&r.Detect)
	if parts == nil {
		return // without patterns nothing else can be checked
	}
	l.examples(r)
	l.action("verify", r.Verify, parts)
	l.action("revoke", r.Revoke, parts)
	l.action("issue", r.Issue, parts)
	l.must(r.Verify.Driver != "broker" && r.Revoke.Driver != "broker", "the broker issues; it neither verifies nor revokes")
	l.must(r.Issue.Request == nil, "issue: no request can hand out a credential; name a driver")
	l.blastRadius(r.BlastRadius, r, parts)
}

// detect checks how the rule recognises its credentials. It returns the names of
// their parts, or nil when a pattern does not compile.
func (l *linter) detect(d *Detect) map[string]bool {
	l.must(len(d.Keywords) > 0, "there is no keyword")
	for _, k := range d.Keywords {
		l.must(len(k) >= minKeyword && isASCII(k), "keyword %q: use %d ASCII characters or more", k, minKeyword)
	}
	l.must(d.Entropy >= 0 && d.Entropy < 8, "entropy %v is not in bits a byte", d.Entropy)
	l.must(d.Checksum == "" || knownChecksum(d.Checksum), "checksum %q is none of %s", d.Checksum, strings.Join(Checksums(), ", "))
	l.must(d.Checksum == "" || !d.Placeholders, "a value with a checksum is no placeholder: choose one judgement")
	l.must(d.Placeholders || !d.Exact, "exact is about placeholders, which are not judged here")
	l.must(d.Reach >= 0 && d.Reach <= maxReach, "reach %d is not in 0..%d", d.Reach, maxReach)
	parts := map[string]bool{"secret": true}
	l.must(d.Value == "" || d.Pattern == "", "pattern and value are two ways to say what is found: choose one")
	l.must(d.Names == "" || d.Value != "", "names are those that a value is given to, and there is no value")
	ok := false
	if d.Value != "" {
		ok = l.pattern("value", d.Value, d.Reach, parts) && (d.Names == "" || l.pattern("names", d.Names, 0, make(map[string]bool)))
	} else {
		ok = l.pattern("pattern", d.Pattern, d.Reach, parts)
	}
	for _, c := range d.Companions {
		l.must(c.Within >= 0 && c.Within <= maxWithin, "companion %s: within %d is not in 0..%d", c.Name, c.Within, maxWithin)
		own := make(map[string]bool)
		ok = l.pattern("companion "+c.Name, c.Pattern, d.Reach, own) && ok
		l.must(len(own) == 1 && own[c.Name], "companion %s: its pattern must have one named group, of that name", c.Name)
		parts[c.Name] = true
	}
	if !ok {
		return nil
	}
	return parts
}

// isASCII reports whether s has ASCII characters only.
func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}

// pattern checks a regular expression and adds its named groups to parts.
func (l *linter) pattern(name, expr string, reach int, parts map[string]bool) bool {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		l.must(false, "%s: %v", name, err)
		return false
	}
	l.must(expr != "", "%s is missing", name)
	for _, group := range tree.CapNames() {
		if group != "" {
			parts[group] = true
		}
	}
	least, most := width(tree)
	l.must(least > 0, "%s matches the empty text", name)
	limit := Lead + cmp.Or(reach, DefaultReach)
	// Where a reach is written down, it is what holds an unbounded pattern.
	l.must(most <= limit || reach > 0 && most == unbounded, "%s may match more than %d bytes: bound its repetitions or set reach", name, limit)
	return true
}

// Shortest returns the least number of bytes that an expression matches, 0 when it
// is none.
func Shortest(expr string) int {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return 0
	}
	least, _ := width(tree)
	return least
}

// unbounded is the width of what has no end.
const unbounded = 1 << 30

// width returns the least and the most bytes that an expression matches.
func width(re *syntax.Regexp) (least, most int) {
	sum := func() {
		for _, sub := range re.Sub {
			a, b := width(sub)
			least, most = least+a, min(unbounded, most+b)
		}
	}
	times := func(low, high int) {
		sum()
		least *= low
		if high < 0 || most == unbounded {
			most = unbounded
		} else {
			most *= high
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		n := len(string(re.Rune))
		return n, n
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1, 1 // of a byte each: scanned text is ASCII where it counts
	case syntax.OpCapture, syntax.OpConcat:
		sum()
	case syntax.OpStar:
		times(0, -1)
	case syntax.OpPlus:
		times(1, -1)
	case syntax.OpQuest:
		times(0, 1)
	case syntax.OpRepeat:
		times(re.Min, re.Max)
	case syntax.OpAlternate:
		least = unbounded
		for _, sub := range re.Sub {
			a, b := width(sub)
			least, most = min(least, a), max(most, b)
		}
	}
	return least, most
}

// examples checks that the examples show what the rule finds.
func (l *linter) examples(r *Rule) {
	random := rand.NewChaCha8([32]byte{1}) // examples are the same in every run
	l.must(len(r.Examples) > 0, "there is no example")
	l.must(len(r.Counterexamples) > 0, "there is no counterexample")
	shown := false
	for i, text := range r.Examples {
		expanded, sample, err := r.Expand(text, random)
		if err != nil {
			l.must(false, "%v", err)
			continue
		}
		has := slices.ContainsFunc(r.Detect.Keywords, func(k string) bool {
			return strings.Contains(strings.ToLower(expanded), strings.ToLower(k))
		})
		l.must(has, "example %d has no keyword", i+1)
		shown = shown || strings.Contains(text, "{sample}") && r.shows(expanded, sample)
	}
	l.must(shown, "no example has {sample} where the pattern finds the whole of it as the secret")
	for _, text := range r.Counterexamples {
		_, _, err := r.Expand(text, random)
		l.must(err == nil, "counterexample: %v", err)
	}
	_, sample, err := r.Expand("", random)
	if c := r.Detect.Checksum; err == nil && c != "" {
		l.must(ValidChecksum(c, sample), "the sample does not carry the checksum %s", c)
	}
}

// shows reports whether the pattern, or the companion that is the secret, finds
// exactly the sample in text.
func (r *Rule) shows(text, sample string) bool {
	expr := cmp.Or(r.Detect.Pattern, "(?P<secret>"+r.Detect.Value+")")
	for _, c := range r.Detect.Companions {
		if c.Name == "secret" {
			expr = c.Pattern
		}
	}
	pattern := regexp.MustCompile(expr)
	group := max(0, pattern.SubexpIndex("secret"))
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		if m[group] == sample {
			return true
		}
	}
	return false
}
