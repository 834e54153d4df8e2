package gitleaks

import (
	"regexp"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/rules"
)

// allowances takes in the allowlists of a rule, or the ones for all.
func (f *file) allowances(t *table, global bool) []rules.Allow {
	var lists []*table
	if e := t.keys["allowlist"]; e != nil { // before gitleaks 8.21, and 8.25
		if _, one := e.value.(*table); one {
			lists = append(lists, f.table(t, "allowlist"))
		} else {
			lists = f.tables(t, "allowlist")
		}
	}
	var all []rules.Allow
	for _, list := range append(lists, f.tables(t, "allowlists")...) {
		if a := f.allow(list, global); a != nil {
			all = append(all, *a)
		}
	}
	return all
}

// allow takes in one allowlist. It is nil if that says nothing that can be applied.
func (f *file) allow(t *table, global bool) *rules.Allow {
	a := &rules.Allow{Description: f.text(t, "description").string}
	a.Commits = plain(f.texts(t, "commits"))
	a.Stopwords = plain(f.texts(t, "stopwords"))
	var badPath, badRegex bool
	a.Paths, badPath = f.compiled(t, "paths")
	a.Regexes, badRegex = f.compiled(t, "regexes")
	if global {
		a.Rules = plain(f.texts(t, "targetRules"))
	}
	ok := f.condition(t, a) && f.target(t, a)
	f.leftOver(t, "allowlist: ")
	switch {
	case !ok:
		return nil
	case a.All && (badPath || badRegex):
		f.warn(t.line, "allowlist: not all of its conditions can be read, so that it allows nothing")
		return nil
	case len(a.Commits)+len(a.Paths)+len(a.Regexes)+len(a.Stopwords) == 0:
		f.warn(t.line, "allowlist: it names nothing that is allowed")
		return nil
	}
	return a
}

// compiled returns the expressions of a key that can be read.
func (f *file) compiled(t *table, key string) (good []string, bad bool) {
	for _, e := range f.texts(t, key) {
		if _, err := regexp.Compile(e.string); err != nil {
			f.warn(e.line, "allowlist: an expression of %s cannot be read and allows nothing: %v", key, err)
			bad = true
			continue
		}
		good = append(good, e.string)
	}
	return good, bad
}

// condition takes in whether all criteria must hold, or one.
func (f *file) condition(t *table, a *rules.Allow) (ok bool) {
	c := f.text(t, "condition")
	switch strings.ToUpper(c.string) {
	case "AND", "&&":
		a.All = true
	case "OR", "||", "":
	default:
		f.warn(c.line, "allowlist: condition %q is neither AND nor OR: the allowlist has no effect", c.string)
		return false
	}
	return true
}

// target takes in what the expressions look at.
func (f *file) target(t *table, a *rules.Allow) (ok bool) {
	target := f.text(t, "regexTarget")
	a.Target = strings.ToLower(target.string)
	if !slices.Contains([]string{"", "secret", "match", "line"}, a.Target) {
		f.warn(target.line, "allowlist: regexTarget %q is none of secret, match, line: the allowlist has no effect", target.string)
		return false
	}
	return true
}
