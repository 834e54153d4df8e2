package app

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"go.yaml.in/yaml/v3"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/rules"
)

var severities = []rules.Severity{rules.Critical, rules.High, rules.Medium, rules.Low}

// A checker collects what is wrong with the values of a policy file.
type checker struct {
	layer    layer
	problems Problems
}

// check says which values are none.
func (l layer) check(catalogue []*rules.Rule) Problems {
	c, p := checker{layer: l}, l.policy
	for _, s := range l.settings {
		if s.value.Kind == yaml.ScalarNode && s.value.Value == "" {
			c.wrong(s.name(), "is empty: give it a value, or leave it out")
		}
	}
	c.remedy("", p.Remedy)
	c.wrong("public", among(p.Public, PublicAuto, PublicAlways))
	for severity, conclusion := range p.Conclusion {
		name := "conclusion." + string(severity)
		c.wrong(name, among(conclusion, conclusions...))
		if !slices.Contains(severities, severity) {
			c.wrong(name, "names no severity: there are "+oneOf(severities))
		}
	}
	c.people(p.People)
	if p.AutomaticPerHour < 0 {
		c.wrong("automatic_per_hour", "is negative: write how many remediations may begin in an hour without a person")
	}
	known := map[string]bool{}
	for _, r := range catalogue {
		known[r.ID] = true
	}
	c.rules(p.Rules, known)
	c.places(p)
	c.schedule(p.Schedule, known)
	for _, name := range p.Repositories.May {
		c.wrong("repositories.may", among(name, changeable...))
	}
	slices.SortStableFunc(c.problems, func(a, b Problem) int { return a.Line - b.Line })
	return c.problems
}

// wrong notes what is wrong with a setting, if anything is.
func (c *checker) wrong(name, what string) {
	if what != "" {
		c.problems = append(c.problems, Problem{c.layer.file, c.layer.lines[name], name + " " + what})
	}
}

// among says that a value is none of those that it may be. The empty one is not said.
func among[T ~string](value T, of ...T) (wrong string) {
	if value == "" || slices.Contains(of, value) {
		return ""
	}
	return fmt.Sprintf("is %q: it must be %s", value, oneOf(of))
}

// oneOf lists what a value may be.
func oneOf[T ~string](of []T) string {
	names := make([]string, len(of))
	for i, value := range of {
		names[i] = string(value)
	}
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// longestHold is how long a disabled credential is kept at most, sealed, so that it
// could be enabled again.
const longestHold = 30 * 24 * time.Hour

func (c *checker) remedy(within string, r Remedy) {
	c.wrong(within+"remediation", among(r.Remediation, Observe, Ask, Automatic))
	c.wrong(within+"order", among(r.Order, incident.ReplaceFirst, incident.RevokeFirst))
	c.wrong(within+"without_replacement", among(r.WithoutReplacement, Ask, RevokeAnyway, Adopt))
	if name, path, _ := strings.Cut(r.Adopt, ":"); r.Adopt != "" && (name == "" || path == "") {
		c.wrong(within+"adopt", fmt.Sprintf("is %q: write the store and a path in it, such as vault:secret/adopted", r.Adopt))
	}
	if h := r.HoldFor(); h < 0 || h > longestHold {
		c.wrong(within+"hold", fmt.Sprintf("is %s: it must be between 0s and %s", h, longestHold))
	}
}

func (c *checker) people(p People) {
	c.wrong("people.press", among(p.Press, permissions...))
	if p.Approvals < 0 || p.Approvals > 1 {
		c.wrong("people.approvals", fmt.Sprintf("is %d: it must be 0 or 1", p.Approvals))
	}
	if p.BypassFor < 0 {
		c.wrong("people.bypass_for", "is negative: write a time such as 168h")
	}
}

func (c *checker) rules(exceptions map[string]RulePolicy, known map[string]bool) {
	for id, r := range exceptions {
		name := "rules." + id
		if !known[id] {
			c.wrong(name, "is the name of no rule: stanch rules list shows them")
		}
		c.remedy(name+".", r.Remedy)
		c.wrong(name+".severity", among(r.Severity, severities...))
		c.wrong(name+".conclusion", among(r.Conclusion, conclusions...))
	}
}

// places checks what names files.
func (c *checker) places(p Policy) {
	for i, place := range p.Paths {
		what := among(place.Conclusion, conclusions...)
		switch {
		case place.Glob == "":
			what = "has an entry without a glob: write {glob: 'docs/**', conclusion: neutral}"
		case !doublestar.ValidatePattern(anywhere(place.Glob)):
			what = fmt.Sprintf("has the glob %q, which is no pattern: look for a bracket or a brace that is not closed", place.Glob)
		case place.Conclusion == "":
			what = fmt.Sprintf("has an entry for %q without a conclusion: write {glob: %s, conclusion: neutral}", place.Glob, place.Glob)
		}
		if what != "" {
			c.problems = append(c.problems, Problem{c.layer.file, place.Origin.Line, fmt.Sprintf("paths[%d] %s", i, what)})
		}
	}
	if f := p.Allowlist; f != "" && (path.IsAbs(f) || path.Clean(f) != f || strings.HasPrefix(f, "..") || strings.ContainsAny(f, "\\\x00")) {
		c.wrong("allowlist", fmt.Sprintf("is %q: it must be the path of a file within the repository", f))
	}
}

// schedule checks what is to be rotated from time to time.
func (c *checker) schedule(all []Scheduled, known map[string]bool) {
	seen := map[string]bool{}
	for _, s := range all {
		what, at := "", s.place()
		switch {
		case at.Store == "" || at.Path == "":
			what = fmt.Sprintf("has the secret %q: write the store and the path in it, such as vault:secret/ci/deploy", s.Secret)
		case s.Every < leastEvery:
			what = fmt.Sprintf("has %s every %s: write how old it may get, at least %s, such as 720h", s.key(), s.Every, leastEvery)
		case s.Rule != "" && !known[s.Rule]:
			what = fmt.Sprintf("has %s with the rule %q, which is none: stanch rules list shows them", s.key(), s.Rule)
		case seen[s.key()]:
			what = "has " + s.key() + " twice"
		}
		seen[s.key()] = true
		if what != "" {
			c.problems = append(c.problems, Problem{c.layer.file, s.Origin.Line, "schedule " + what})
		}
	}
}

// anywhere makes a pattern of one that is for names, and takes away the slash that
// says that a folder is meant.
func anywhere(glob string) string {
	glob = strings.TrimPrefix(strings.TrimSuffix(glob, "/"), "./")
	if !strings.Contains(glob, "/") {
		return "**/" + glob
	}
	return glob
}
