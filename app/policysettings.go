package app

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Setting is what holds in one respect, and where it is said.
type Setting struct {
	Name, Value string
	Origin      Origin
}

// Settings lists what a policy says, with the defaults of what it does not say.
func (p Policy) Settings() []Setting {
	all := []Setting{
		{Name: "remediation", Value: string(p.Remediation)},
		{Name: "order", Value: string(p.Order)},
		{Name: "without_replacement", Value: string(p.WithoutReplacement)},
		{Name: "adopt", Value: p.Adopt},
		{Name: "hold", Value: p.HoldFor().String()},
		{Name: "automatic_per_hour", Value: fmt.Sprint(p.PerHour())},
		{Name: "comment", Value: fmt.Sprint(p.Comments())},
		{Name: "public", Value: string(cmp.Or(p.Public, PublicAuto))},
		{Name: "people.press", Value: string(p.People.Least())},
		{Name: "people.approvals", Value: fmt.Sprint(p.People.Approvals)},
		{Name: "people.bypass", Value: fmt.Sprint(p.People.MayBypass())},
		{Name: "people.bypass_for", Value: p.People.LongestBypass().String()},
		{Name: "suggestions", Value: fmt.Sprint(p.Suggestions)},
		{Name: "inline_markers", Value: fmt.Sprint(p.ReadsMarkers())},
		{Name: "allowlist", Value: p.AllowFile()},
		{Name: "repositories.may", Value: strings.Join(p.Changeable(), ", ")},
	}
	for _, s := range severities {
		all = append(all, Setting{Name: "conclusion." + string(s), Value: string(cmp.Or(p.Conclusion[s], conclusions[len(conclusions)-1]))})
	}
	for i := range all {
		all[i].Origin = p.Origins[all[i].Name]
	}
	for _, id := range slices.Sorted(maps.Keys(p.Rules)) {
		all = append(all, p.ruleSettings(id)...)
	}
	for _, place := range p.Paths {
		all = append(all, Setting{"paths " + place.Glob, string(place.Conclusion), place.Origin})
	}
	for _, s := range p.Schedule {
		all = append(all, Setting{"schedule " + s.key(), "every " + s.Every.String(), s.Origin})
	}
	return all
}

// ruleSettings lists what is said of one rule.
func (p Policy) ruleSettings(id string) (all []Setting) {
	r := p.Rules[id]
	said := []Setting{
		{Name: "remediation", Value: string(r.Remediation)}, {Name: "order", Value: string(r.Order)},
		{Name: "without_replacement", Value: string(r.WithoutReplacement)}, {Name: "adopt", Value: r.Adopt},
		{Name: "severity", Value: string(r.Severity)}, {Name: "conclusion", Value: string(r.Conclusion)},
	}
	if r.Hold != nil {
		said = append(said, Setting{Name: "hold", Value: r.Hold.String()})
	}
	if r.Enabled != nil {
		said = append(said, Setting{Name: "enabled", Value: fmt.Sprint(*r.Enabled)})
	}
	for _, s := range said {
		if s.Value != "" {
			s.Name = "rules." + id + "." + s.Name
			s.Origin = p.Origins[s.Name]
			all = append(all, s)
		}
	}
	return all
}

// OriginOf is where it is said what a setting of a remedy is for a rule.
func (p Policy) OriginOf(rule, setting string) Origin {
	if o, own := p.Origins["rules."+rule+"."+setting]; own {
		return o
	}
	return p.Origins[setting]
}
