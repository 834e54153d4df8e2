package checks

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/rules"
	"github.com/stanch-dev/stanch/rules/condition"
)

// allowMarkers are what people write on a line to say that the secret on it is
// none: our word, and those of the scanners that were there before.
var allowMarkers = [...]string{"stanch:allow", "gitleaks:allow", "betterleaks:allow", "trufflehog:ignore"}

// AllowMarker returns the marker on a line that says that what is found there is
// no leak, or "".
func AllowMarker(line []byte) string {
	for _, marker := range allowMarkers {
		if bytes.Contains(line, []byte(marker)) {
			return marker
		}
	}
	return ""
}

// An allowance is a rules.Allow that is ready to be asked.
type allowance struct {
	rules.Allow
	paths     []*regexp.Regexp
	regexes   []*regexp.Regexp
	stopwords []string // in lower case
	condition *condition.Condition
}

// newAllowance prepares an Allow.
func newAllowance(a rules.Allow) (*allowance, error) {
	if len(a.Commits)+len(a.Paths)+len(a.Regexes)+len(a.Stopwords) == 0 && a.Expression == "" {
		return nil, errors.New("allow: it names nothing that is allowed")
	}
	if !slices.Contains([]string{"", "secret", "match", "line"}, a.Target) {
		return nil, fmt.Errorf("allow: the target %q is none of secret, match, line", a.Target)
	}
	p := &allowance{Allow: a}
	var err error
	if p.paths, err = compileAll("path", a.Paths); err != nil {
		return nil, err
	}
	if p.regexes, err = compileAll("regex", a.Regexes); err != nil {
		return nil, err
	}
	for _, word := range a.Stopwords {
		p.stopwords = append(p.stopwords, strings.ToLower(word))
	}
	if a.Expression != "" {
		if p.condition, err = condition.Parse(a.Expression); err != nil {
			return nil, fmt.Errorf("allow: expression: %w", err)
		}
	}
	return p, nil
}

// compileAll compiles the expressions of one criterion.
func compileAll(name string, expressions []string) ([]*regexp.Regexp, error) {
	var all []*regexp.Regexp
	for _, e := range expressions {
		compiled, err := regexp.Compile(e)
		if err != nil {
			return nil, fmt.Errorf("allow: %s: %w", name, err)
		}
		all = append(all, compiled)
	}
	return all, nil
}

// allows reports whether what was found is no leak. While the commit is not known
// that may depend on it: then it returns the commits in which it is none.
func (p *allowance) allows(s *condition.Subject) (yes bool, commits []string) {
	if len(p.Rules) > 0 && !slices.Contains(p.Rules, s.Rule) {
		return false, nil
	}
	given, held := p.criteria(s)
	switch {
	case p.All && held < given:
		return false, nil
	case len(p.Commits) == 0:
		return held > 0, nil
	case !p.All && held > 0:
		return true, nil
	case s.Commit == "":
		return false, p.Commits
	}
	return slices.ContainsFunc(p.Commits, func(c string) bool { return strings.EqualFold(c, s.Commit) }), nil
}

// criteria returns how many kinds of criterion there are besides the commits, and
// how many of them hold.
func (p *allowance) criteria(s *condition.Subject) (given, held int) {
	count := func(is, holds bool) {
		if is {
			given++
		}
		if is && holds {
			held++
		}
	}
	matched := func(text string) func(*regexp.Regexp) bool {
		return func(e *regexp.Regexp) bool { return e.MatchString(text) }
	}
	count(len(p.paths) > 0, slices.ContainsFunc(p.paths, matched(s.Path)))
	count(len(p.regexes) > 0, slices.ContainsFunc(p.regexes, matched(p.target(s))))
	if len(p.stopwords) > 0 {
		secret := strings.ToLower(s.Secret)
		count(true, slices.ContainsFunc(p.stopwords, func(w string) bool { return strings.Contains(secret, w) }))
	}
	count(p.condition != nil, p.condition != nil && p.condition.Holds(s))
	return given, held
}

// target is what the expressions look at.
func (p *allowance) target(s *condition.Subject) string {
	switch p.Target {
	case "match":
		return s.Match
	case "line":
		return s.Line
	}
	return s.Secret
}

// allowances are all that hold for one rule.
type allowances []*allowance

// newAllowances prepares several Allows.
func newAllowances(all []rules.Allow) (allowances, error) {
	var prepared allowances
	for _, a := range all {
		p, err := newAllowance(a)
		if err != nil {
			return nil, err
		}
		prepared = append(prepared, p)
	}
	return prepared, nil
}

// A leave is what allowances say of a finding.
type leave struct {
	allowed   bool     // it is none
	in        []string // the commits in which it is none
	excused   string   // it is one with this excuse
	excusedIn map[string]string
}

// allow asks all of them about what was found.
func (l allowances) allow(s *condition.Subject) leave {
	var all leave
	for _, p := range l {
		yes, commits := p.allows(s)
		switch {
		case yes && p.Excuse == "":
			return leave{allowed: true}
		case yes:
			all.excused = p.Excuse
		case p.Excuse == "":
			all.in = append(all.in, commits...)
		default:
			for _, commit := range commits {
				if all.excusedIn == nil {
					all.excusedIn = map[string]string{}
				}
				all.excusedIn[strings.ToLower(commit)] = p.Excuse
			}
		}
	}
	return all
}

// required drops the findings of rules that require others which are not near, and
// of those that serve only to be required. The findings are of one text, or of
// several with all of each.
func required(found []Finding) []Finding {
	byRule := make(map[string][]*Finding)
	for i := range found {
		byRule[found[i].Rule.ID] = append(byRule[found[i].Rule.ID], &found[i])
	}
	var kept []Finding
	for i := range found {
		f := &found[i]
		met := !slices.ContainsFunc(f.Rule.Detect.Required, func(r rules.Requirement) bool {
			return !slices.ContainsFunc(byRule[r.ID], func(other *Finding) bool { return f.near(other, r) })
		})
		if met && !f.Rule.Detect.SkipReport {
			kept = append(kept, *f)
		}
	}
	return kept
}

// near reports whether the other finding is as near as a requirement says.
func (f *Finding) near(other *Finding, r rules.Requirement) bool {
	within := func(a, b int, most *int) bool { return most == nil || max(a-b, b-a) <= *most }
	return f.Path == other.Path && f.Commit == other.Commit && archive(f.Inside) == archive(other.Inside) &&
		within(f.Line, other.Line, r.WithinLines) && within(f.Column, other.Column, r.WithinColumns)
}

// archive returns the member that a place within an archive is in, without the line.
func archive(inside string) string {
	if i := strings.LastIndexByte(inside, ':'); i >= 0 {
		return inside[:i]
	}
	return inside
}
