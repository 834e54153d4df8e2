package checks

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"

	"github.com/stanch-dev/stanch/rules"
	"github.com/stanch-dev/stanch/rules/condition"
)

// A candidate is what one rule takes for a credential.
type candidate struct {
	rule       *compiled
	start, end int // where the secret part stands
	parts      map[string]Secret
	encodings  []string // that it was wrapped in, outermost first
	inside     string   // where in an archive, if it was packed in one
	leave      leave    // what allowances say of it
}

// A match is where a rule's pattern matches, or where a value is given that its
// Value describes.
type match struct {
	window
	groups []int    // of the pattern, as the regular expression returns them
	given  assigned // of a rule with a Value
}

// match appends where the rule's pattern matches in the window w of data.
func (c *compiled) match(all []match, data []byte, w window) []match {
	for _, m := range within(c.expressions().pattern, data, w) {
		all = append(all, match{window: window{m[0], m[1]}, groups: m})
	}
	return all
}

// accept returns the match if the rule may be about a value, given to such a name.
func (c *compiled) accept(data []byte, a assigned) (match, bool) {
	e := c.expressions()
	if n := a.value.end - a.value.start; n < e.least {
		return match{}, false
	}
	if e.names != nil && !e.names.MatchString(plain(string(data[a.within.start:a.within.end])+string(data[a.name.start:a.name.end]))) {
		return match{}, false
	}
	if !generic(&c.Detect) && bytes.Contains(bytes.ToLower(data[a.name.start:a.name.end]), []byte("public_key")) {
		return match{}, false // such as a search key, which pages show
	}
	value := data[a.value.start:a.value.end]
	if !e.pattern.Match(value) {
		if generic(&c.Detect) {
			return match{}, false
		}
		// In prose, URLs and templates a sign may follow that is no part of it.
		cut := bytes.IndexAny(value, "%:!$*@")
		if cut < e.least || !e.pattern.Match(value[:cut]) {
			return match{}, false
		}
		a.value.end = a.value.start + cut
	}
	return match{window: window{a.name.start, a.value.end}, given: a}, true
}

// concerns reports whether the rule is for texts of such a path. A path that is not
// known may be any.
func (c *compiled) concerns(path string) bool {
	if c.Detect.Path == "" || path == "" {
		return true
	}
	return c.expressions().path.MatchString(path)
}

// judge appends to found what of a rule's matches in data are credentials, with
// their companions. It stops after a few more than maxCandidates.
func (c *compiled) judge(found []candidate, path string, data []byte, matches []match) []candidate {
	e := c.expressions()
	near := c.near(e, data, matches)
	for i, m := range matches {
		if len(found) > maxCandidates {
			break
		}
		parts := make(map[string]Secret, 1+len(e.companions))
		at := c.groups(e.pattern, parts, data, m)
		secret, ok := companionsOf(near, parts, data, i)
		if !ok {
			continue
		}
		if secret.end > 0 {
			at = secret
		}
		value := parts[PartSecret].Expose()
		name := cmp.Or(parts[partName], parts[partUser])
		if value == "" || !credible(&c.Detect, name.Expose(), value) {
			continue
		}
		delete(parts, partName)
		var leave leave
		if len(e.allow) > 0 {
			leave = e.allow.allow(c.subject(path, data, m, value))
		}
		if !leave.allowed {
			found = append(found, candidate{rule: c, start: at.start, end: at.end, parts: parts, leave: leave})
		}
	}
	return found
}

// subject is a match as conditions see it.
func (c *compiled) subject(path string, data []byte, m match, value string) *condition.Subject {
	bol := bytes.LastIndexByte(data[:m.start], '\n') + 1
	eol := len(data)
	if n := bytes.IndexByte(data[m.end:], '\n'); n >= 0 {
		eol = m.end + n
	}
	return &condition.Subject{
		Path: path, Secret: value, Match: string(data[m.start:m.end]), Line: string(data[bol:eol]),
		Text: data, Start: m.start, End: m.end, LineStart: bol, LineEnd: eol,
		Rule: c.ID, Description: c.Title,
	}
}

// The groups that help to judge a password: the name that it is assigned to, which
// is no part of the credential, and whose password it is.
const (
	partName = "name"
	partUser = "user"
)

// within returns the matches in a window. One that touches an edge where the
// window is cut is not believed: it may go on beyond, or have seen a word's
// boundary where there is none.
func within(pattern *regexp.Regexp, data []byte, w window) [][]int {
	matches := pattern.FindAllSubmatchIndex(data[w.start:w.end], -1)
	return slices.DeleteFunc(matches, func(m []int) bool {
		for i := range m {
			if m[i] >= 0 {
				m[i] += w.start
			}
		}
		cutBefore := m[0] == w.start && w.start > 0
		cutAfter := m[1] == w.end && w.end < len(data)
		return cutBefore || cutAfter
	})
}

// groups fills parts from a match, and returns where the secret stands: the group
// of that name, the value that is given, or the whole match.
func (c *compiled) groups(pattern *regexp.Regexp, parts map[string]Secret, data []byte, m match) window {
	if m.groups == nil {
		v, n := m.given.value, m.given.name
		parts[PartSecret] = NewSecret(string(data[v.start:v.end]))
		parts[partName] = NewSecret(string(data[n.start:n.end]))
		return v
	}
	for i, name := range pattern.SubexpNames() {
		if name != "" && m.groups[2*i] >= 0 {
			parts[name] = NewSecret(string(data[m.groups[2*i]:m.groups[2*i+1]]))
		}
	}
	if i := c.expressions().group; i != 0 {
		w := m.group(i)
		if w.start >= 0 {
			parts[PartSecret] = NewSecret(string(data[w.start:w.end]))
		}
		return w
	}
	if !c.secretBeside() {
		parts[PartSecret] = NewSecret(string(data[m.start:m.end]))
	}
	return m.window
}

// group returns where a group of the match stands: without a number the first that
// is not empty, or else the whole.
func (m match) group(i int) window {
	if i != rules.FirstGroup {
		return window{m.groups[2*i], m.groups[2*i+1]}
	}
	for g := 2; g < len(m.groups); g += 2 {
		if m.groups[g] < m.groups[g+1] {
			return window{m.groups[g], m.groups[g+1]}
		}
	}
	return m.window
}

// secretBeside reports whether a companion is the secret, and the pattern only
// its public name.
func (c *compiled) secretBeside() bool {
	for _, companion := range c.Detect.Companions {
		if companion.Name == PartSecret {
			return true
		}
	}
	return false
}

// near prepares the search for the rule's companions beside matches.
func (c *compiled) near(e *expressions, data []byte, matches []match) []companionPattern {
	if len(matches) == 0 {
		return nil
	}
	all := make([]companionPattern, len(e.companions))
	for n, companion := range c.Detect.Companions {
		p := companionPattern{Companion: companion, Regexp: e.companions[n], matches: matches}
		p.group = p.SubexpIndex(companion.Name)
		if companion.Name == PartSecret {
			p.judge = &c.Detect
		}
		// Nothing after the last match: here companions come first.
		_, after := p.beside(data, len(matches)-1)
		p.comesFirst = after == nil
		all[n] = p
	}
	return all
}

// companionsOf fills parts from the companions near the match i. It returns
// where the secret stands if it is one of them, and ok unless a required
// companion is missing.
func companionsOf(near []companionPattern, parts map[string]Secret, data []byte, i int) (secret window, ok bool) {
	for _, p := range near {
		span := p.nearest(data, i)
		if span == nil {
			if p.Required {
				return window{}, false
			}
			continue
		}
		parts[p.Name] = NewSecret(string(data[span.start:span.end]))
		if p.Name == PartSecret {
			secret = *span
		}
	}
	return secret, true
}

// A companionPattern finds a companion's values beside the matches in a window.
type companionPattern struct {
	rules.Companion
	*regexp.Regexp
	group      int           // the value's
	judge      *rules.Detect // what the value must satisfy, if it is the secret
	matches    []match
	comesFirst bool // the text keeps companions before their matches
}

// nearest returns where the value stands that belongs to matches[i]: the one
// fewest lines away on either side, and of two as near the one on the side where
// the text keeps its companions.
func (p companionPattern) nearest(data []byte, i int) *window {
	before, after := p.beside(data, i)
	switch {
	case before == nil:
		return after
	case after == nil:
		return before
	}
	up := bytes.Count(data[before.end:p.matches[i].start], []byte{'\n'})
	down := bytes.Count(data[p.matches[i].end:after.start], []byte{'\n'})
	if up < down || up == down && p.comesFirst {
		return before
	}
	return after
}

// beside returns the last value before matches[i] and the first one after it,
// with no other of matches between, whose companion it would be.
func (p companionPattern) beside(data []byte, i int) (before, after *window) {
	matches := p.matches
	region := neighbourhood(data, matches[i].start, matches[i].end, p.Within)
	up, down := window{region.start, matches[i].start}, window{matches[i].end, region.end}
	if i > 0 {
		up.start = max(up.start, matches[i-1].end)
	}
	if i+1 < len(matches) {
		down.end = min(down.end, matches[i+1].start)
	}
	if found := p.in(data, up); len(found) > 0 {
		before = &found[len(found)-1]
	}
	if found := p.in(data, down); len(found) > 0 {
		after = &found[0]
	}
	return before, after
}

// in returns where values stand in a window. The pattern sees a byte more on
// either side, where the boundaries of a value are.
func (p companionPattern) in(data []byte, w window) []window {
	if w.start >= w.end {
		return nil
	}
	var values []window
	for _, m := range within(p.Regexp, data, window{max(0, w.start-1), min(len(data), w.end+1)}) {
		start, end := m[2*p.group], m[2*p.group+1]
		if start >= 0 && (p.judge == nil || credible(p.judge, "", string(data[start:end]))) {
			values = append(values, window{start, end})
		}
	}
	return values
}

// maxNeighbourhood bounds, in bytes to either side, where companions are looked
// for: lines may be very long.
const maxNeighbourhood = 4096

// neighbourhood is data[start:end] with so many lines before and after it.
func neighbourhood(data []byte, start, end, lines int) window {
	from, to := max(0, start-maxNeighbourhood), min(len(data), end+maxNeighbourhood)
	first, last := start, end
	for n := 0; n <= lines && first > from; n++ {
		first = from + bytes.LastIndexByte(data[from:first], '\n')
		if first < from {
			first = from
			break
		}
	}
	for n := 0; n <= lines && last < to; n++ {
		next := bytes.IndexByte(data[last:to], '\n')
		if next < 0 {
			last = to
			break
		}
		last += next + 1
	}
	return window{first, last}
}
