package gitleaks

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/stanch-dev/stanch/rules"
)

// reach is how far after a keyword matches may end: users' expressions seldom bound
// their repetitions.
const reach = 16 << 10

// runbook is what there is to say of a kind that only its users know.
const runbook = "Revoke the credential where it was issued, and put a new one in its place. What to do is up to whoever wrote this rule: https://github.com/gitleaks/gitleaks#configuration"

// rule takes in one rule.
func (f *file) rule(t *table) {
	id := f.text(t, "id").string
	if id == "" {
		f.warn(t.line, "a rule without an id is left out")
		return
	}
	where := "rule " + id + ": "
	if line, twice := f.own[id]; twice {
		f.warn(t.line, "%sit is there on line %d already: this one changes it", where, line)
	}
	r := f.begin(id)
	ok := f.patterns(t, r, where)
	f.describe(t, r)
	f.judgement(t, r, where)
	r.Detect.Allow = append(slices.Clip(r.Detect.Allow), f.allowances(t, false)...)
	if allow := f.filter(t, "filter"); allow != nil {
		r.Detect.Allow = append(r.Detect.Allow, *allow)
	}
	r.Detect.Required = append(slices.Clip(r.Detect.Required), f.requirements(t)...)
	if f.boolean(t, "skipReport") {
		r.Detect.SkipReport = true
	}
	f.leftOver(t, where)
	switch {
	case !ok:
		delete(f.rules, id) // the one that it was to change must not pass for it
	case r.Detect.Pattern == "" && r.Detect.Value == "" && r.Detect.Path == "":
		f.warn(t.line, "%sit has neither regex nor path, and there is no rule of this id to change: it is left out", where)
	default:
		f.rules[id], f.own[id] = r, t.line
	}
}

// begin returns a new rule, or a copy of the one that there is.
func (f *file) begin(id string) *rules.Rule {
	if base := f.rules[id]; base != nil {
		r := *base
		return &r
	}
	return &rules.Rule{ID: id, Title: id, Severity: rules.High, Runbook: runbook, Provider: f.provider}
}

// describe takes in what is shown of a rule.
func (f *file) describe(t *table, r *rules.Rule) {
	if d := f.text(t, "description").string; d != "" {
		r.Title = d
	}
	if s := f.text(t, "severity"); s.string != "" {
		severity := rules.Severity(strings.ToLower(s.string))
		if slices.Contains([]rules.Severity{rules.Critical, rules.High, rules.Medium, rules.Low}, severity) {
			r.Severity = severity
		} else {
			f.warn(s.line, "rule %s: severity %q is none of critical, high, medium, low: it is %s", r.ID, s.string, r.Severity)
		}
	}
	if tags := f.texts(t, "tags"); len(tags) > 0 {
		f.warn(t.keys["tags"].line, "rule %s: reports of Stanch have no tags", r.ID)
	}
}

// patterns takes in what a rule looks for. It is not ok if that cannot be looked
// for; then the rule is left out.
func (f *file) patterns(t *table, r *rules.Rule, where string) (ok bool) {
	d := &r.Detect
	regex, file := f.text(t, "regex"), f.text(t, "path")
	if _, err := regexp.Compile(regex.string); err != nil {
		f.warn(regex.line, "%sthe regex cannot be read, and the rule is left out: %v", where, err)
		return false
	}
	if _, err := regexp.Compile(file.string); err != nil {
		f.warn(file.line, "%sthe path cannot be read, and the rule is left out: %v", where, err)
		return false
	}
	if file.string != "" {
		d.Path = file.string
	}
	if regex.string != "" {
		*d = rules.Detect{Pattern: regex.string, Keywords: d.Keywords, Entropy: d.Entropy, Path: d.Path, Allow: d.Allow, Required: d.Required, SkipReport: d.SkipReport, Reach: reach}
		r.Sample, r.Examples, r.Counterexamples = "", nil, nil
	}
	given := t.keys["keywords"]
	if words := f.texts(t, "keywords"); given != nil {
		d.Keywords = nil
		for _, word := range words {
			if w := strings.ToLower(word.string); w != "" && !slices.Contains(d.Keywords, w) {
				d.Keywords = append(d.Keywords, w)
			}
		}
	}
	return f.group(t, r, where, regex.string != "")
}

// group takes in which group is the secret: without a word, the first that is not
// empty.
func (f *file) group(t *table, r *rules.Rule, where string, fresh bool) (ok bool) {
	e := t.keys["secretGroup"]
	n := f.integer(t, "secretGroup")
	if n == nil && !fresh || r.Detect.Pattern == "" {
		return true
	}
	tree, err := syntax.Parse(r.Detect.Pattern, syntax.Perl)
	if err != nil {
		return true // it is Stanch's own, and tested
	}
	groups := tree.MaxCap()
	switch {
	case n != nil && *n > groups:
		f.warn(e.line, "%ssecretGroup is %d and the regex has %d groups: the rule is left out", where, *n, groups)
		return false
	case n != nil && *n > 0:
		r.Detect.Group = *n
	case groups > 0:
		r.Detect.Group = rules.FirstGroup
	}
	return true
}

// judgement takes in how matches are judged, and what of that Stanch does not do.
func (f *file) judgement(t *table, r *rules.Rule, where string) {
	if entropy := f.number(t, "entropy"); entropy != nil {
		if *entropy < 0 || *entropy >= 8 {
			f.warn(t.keys["entropy"].line, "%sentropy %v is not in bits a character, from 0 to 8: it has no effect", where, *entropy)
		} else {
			r.Detect.Entropy = *entropy
		}
	}
	if n := t.keys["specificity"]; n != nil {
		f.specificity(r, f.integer(t, "specificity"), n.line, where)
	}
	if f.boolean(t, "tokenEfficiency") {
		f.warn(t.keys["tokenEfficiency"].line, "%stokenEfficiency is not judged: more is reported, not less", where)
	}
	for _, key := range []string{"validate", "analyze", "revoke"} {
		if e := t.take(key); e != nil {
			f.warn(e.line, "%s%s is not applied: Stanch asks providers only as its own catalogue says", where, key)
		}
	}
}

// defaultSpecificity is what betterleaks takes a rule to have that says nothing.
const defaultSpecificity = 100

// specificity takes in whose find of the same text wins: a rule that is less
// specific than others gives way to them.
func (f *file) specificity(r *rules.Rule, n *int, line int, where string) {
	switch {
	case n == nil:
	case *n > defaultSpecificity:
		f.warn(line, "%sspecificity %d is more than that of other rules, %d: of finds of the same text the longest wins all the same", where, *n, defaultSpecificity)
	default:
		r.Detect.Fallback = *n < defaultSpecificity
	}
}

// requirements takes in which rules must have found something nearby.
func (f *file) requirements(t *table) []rules.Requirement {
	var all []rules.Requirement
	for _, q := range f.tables(t, "required") {
		r := rules.Requirement{ID: f.text(q, "id").string, WithinLines: f.integer(q, "withinLines"), WithinColumns: f.integer(q, "withinColumns")}
		if r.WithinColumns == nil {
			r.WithinColumns = f.integer(q, "withinColumn") // as betterleaks' documentation has it
		}
		all = f.require(all, q, r)
	}
	for _, q := range f.tables(t, "components") {
		r := rules.Requirement{ID: f.text(q, "id").string}
		if within := f.text(q, "within"); within.string != "" {
			f.within(&r, within)
		}
		if e := q.keys["optional"]; e != nil && f.boolean(q, "optional") {
			f.leftOver(q, "components: ")
			continue // it decides nothing
		}
		all = f.require(all, q, r)
	}
	return all
}

func (f *file) require(all []rules.Requirement, q *table, r rules.Requirement) []rules.Requirement {
	f.leftOver(q, "required: ")
	if r.ID == "" {
		f.warn(q.line, "required: a requirement without an id has no effect")
		return all
	}
	return append(all, r)
}

// within reads a distance such as "5L,100C": lines and columns.
func (f *file) within(r *rules.Requirement, distance text) {
	for _, part := range strings.Split(distance.string, ",") {
		part = strings.ToUpper(strings.TrimSpace(part))
		n, err := strconv.Atoi(strings.TrimRight(part, "LC"))
		switch {
		case err == nil && n >= 0 && strings.HasSuffix(part, "L"):
			r.WithinLines = &n
		case err == nil && n >= 0 && strings.HasSuffix(part, "C"):
			r.WithinColumns = &n
		default:
			f.warn(distance.line, "components: within %q is no distance such as 5L,100C: what of it is none has no effect", distance.string)
		}
	}
}
