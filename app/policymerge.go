package app

import (
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

// changeable are the names that repositories.may can hold: what the policies of
// organisations and repositories may change.
var changeable = []string{
	"remediation", "order", "without_replacement", "adopt", "hold", "comment", "public", "conclusion", "people",
	"suggestions", "inline_markers", "rules", "paths", "allowlist",
}

// mayByDefault is what they may change when the operator does not say it: what is
// shown, and what fails a check, where nothing is live. What is done to credentials,
// and by whom, is the operator's.
var mayByDefault = []string{"comment", "conclusion", "suggestions", "inline_markers", "rules", "paths", "allowlist"}

// Changeable is what the policies of organisations and repositories may change.
func (p Policy) Changeable() []string {
	if p.Repositories.May == nil {
		return mayByDefault
	}
	return p.Repositories.May
}

// A PolicyFile is a policy as an organisation or a repository wrote it.
type PolicyFile struct {
	Name    string
	Text    []byte
	Refused string // why it could not be read, when there is something of the name
}

// Merge puts the policies of an organisation and of a repository, in this order,
// over the operator's. A file that cannot be read as a policy does not count, nor
// does what a file may not change, and the Problems say so. What is stricter is
// always allowed.
func (p Policy) Merge(catalogue []*rules.Rule, files ...PolicyFile) (Policy, Problems) {
	operator, all := p, Problems(nil)
	for _, f := range files {
		if f.Refused != "" {
			all = append(all, Problem{f.Name, 0, f.Refused})
			continue
		}
		l, problems := parseLayer(f.Name, f.Text, catalogue)
		if len(problems) == 0 {
			p, problems = p.under(l, operator.Changeable())
		}
		all = append(all, problems...)
	}
	return p, all
}

// under puts a layer over the policy.
func (p Policy) under(l layer, may []string) (Policy, Problems) {
	tree := new(yaml.Node)
	if err := tree.Encode(p); err != nil {
		return p, Problems{{l.file, 0, err.Error()}}
	}
	var problems Problems
	origins := maps.Clone(p.Origins)
	if origins == nil {
		origins = map[string]Origin{}
	}
	for _, s := range l.settings {
		kind := s.kind()
		if !slices.Contains(may, kind) && !stricter(s.name(), l.policy, p) {
			problems = append(problems, Problem{l.file, s.line, fmt.Sprintf("%s: the operator's policy does not let repositories change %s; its value holds", s.name(), kind)})
			continue
		}
		origins[s.name()] = Origin{l.file, s.line}
		if kind != "paths" {
			set(tree, s.path, s.value)
		}
	}
	next := Policy{}
	if err := tree.Decode(&next); err != nil {
		return p, Problems{{l.file, 0, err.Error()}}
	}
	next.Paths, next.Schedule, next.Repositories, next.Origins = p.Paths, p.Schedule, p.Repositories, origins
	if slices.Contains(may, "paths") {
		next.Paths = slices.Concat(l.policy.Paths, p.Paths)
	}
	return next, problems
}

// kind is the name under which repositories.may knows a setting: what a rule's
// exception says of a remedy is a remedy.
func (s setting) kind() string {
	if last := s.path[len(s.path)-1]; s.path[0] == "rules" && slices.Contains([]string{"remediation", "order", "without_replacement", "adopt", "hold"}, last) {
		return last
	}
	return s.path[0]
}

// set puts a value where the path leads in a tree of mappings.
func set(tree *yaml.Node, path []string, value *yaml.Node) {
	for i := 0; i+1 < len(tree.Content); i += 2 {
		if tree.Content[i].Value != path[0] {
			continue
		}
		if len(path) == 1 {
			tree.Content[i+1] = value
			return
		}
		set(tree.Content[i+1], path[1:], value)
		return
	}
	key := &yaml.Node{Kind: yaml.ScalarNode, Value: path[0], Tag: "!!str"}
	if len(path) > 1 {
		below := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		set(below, path[1:], value)
		value = below
	}
	tree.Content = append(tree.Content, key, value)
}

// stricter reports whether a setting is stricter in the policy than in the other, or
// as strict. Of most settings nothing is stricter than anything else.
func stricter(name string, a, b Policy) bool {
	rank := ranks[name]
	return rank != nil && rank(a) >= rank(b)
}

// guarded is the policy with what the others say more strictly of who may decide, and
// of who reads along.
func (p Policy) guarded(others []Policy) Policy {
	for _, o := range others {
		for name, take := range map[string]func(){
			"public":            func() { p.Public = o.Public },
			"people.press":      func() { p.People.Press = o.People.Press },
			"people.approvals":  func() { p.People.Approvals = o.People.Approvals },
			"people.bypass":     func() { p.People.Bypass = o.People.Bypass },
			"people.bypass_for": func() { p.People.BypassFor = o.People.BypassFor },
		} {
			if stricter(name, o, p) {
				take()
			}
		}
	}
	return p
}

// ranks tell how strict a policy is in one of its settings.
var ranks = map[string]func(Policy) int{
	"public":              func(p Policy) int { return yes(p.Public == PublicAlways) },
	"people.press":        func(p Policy) int { return slices.Index(permissions, p.People.Least()) },
	"people.approvals":    func(p Policy) int { return p.People.Approvals },
	"people.bypass":       func(p Policy) int { return yes(!p.People.MayBypass()) },
	"people.bypass_for":   func(p Policy) int { return -int(p.People.LongestBypass()) },
	"inline_markers":      func(p Policy) int { return yes(!p.ReadsMarkers()) },
	"conclusion.critical": severityRank(rules.Critical),
	"conclusion.high":     severityRank(rules.High),
	"conclusion.medium":   severityRank(rules.Medium),
	"conclusion.low":      severityRank(rules.Low),
}

func severityRank(s rules.Severity) func(Policy) int {
	return func(p Policy) int {
		c := p.Conclusion[s]
		if c == "" {
			c = report.Failure
		}
		return slices.Index(conclusions, c)
	}
}

func yes(b bool) int {
	if b {
		return 1
	}
	return 0
}
