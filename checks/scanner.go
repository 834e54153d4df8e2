// Package checks finds credentials: bytes in, findings out.
//
// A Scanner is made from the catalogue's rules. What it finds is a Finding: the
// credential, as a Secret that cannot be printed, with the Fingerprint that names
// it without telling it, and its place. The package is pure: no network, no
// database, no clock.
package checks

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/rules"
)

// maxStars is how many asterisks stand for the hidden part of a value, however
// long it is: its length is nobody's business.
const maxStars = 12

const (
	// MaxFindings is how many findings of one file are listed, the first ones. Who
	// leaks more than a thousand in a file needs no list, and a list without end
	// would let one file fill the memory and every report.
	MaxFindings = 1000
	// maxCandidates is how much of one file is taken for a credential before the
	// scan of it ends. Several rules may claim the same text.
	maxCandidates = 16 * MaxFindings
)

// A Scanner finds credentials in bytes. It is pure and safe for concurrent use.
//
// One pass looks for the keywords of all rules at once. A rule's pattern is
// tried only near its keywords, and overlapping neighbourhoods are tried as one,
// so that the work grows with the size of the input and not with its malice.
type Scanner struct {
	key     FingerprintKey
	matcher *matcher
	users   [][]int // keyword → the rules that have it
	rules   []compiled
}

// A compiled rule is a rule ready to match.
type compiled struct {
	*rules.Rule
	pattern    *regexp.Regexp
	companions []*regexp.Regexp // in the order of Detect.Companions
	reach      int
	names      *regexp.Regexp // Detect.Names
}

// NewScanner prepares the rules of catalogue. Fingerprints are made under key.
func NewScanner(catalogue []*rules.Rule, key FingerprintKey) (*Scanner, error) {
	switch {
	case len(catalogue) == 0:
		return nil, errors.New("no rules to scan with: load a catalogue")
	case len(key) == 0:
		return nil, errors.New("no fingerprint key: anybody could test guesses against fingerprints made without one")
	}
	s := &Scanner{key: slices.Clone(key)}
	var keywords []string
	index := make(map[string]int)
	taken := make(map[string]bool)
	for i, r := range catalogue {
		if taken[r.ID] {
			return nil, fmt.Errorf("rule %s is there twice: rename or remove one", r.ID)
		}
		taken[r.ID] = true
		c, err := compile(r)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.ID, err)
		}
		s.rules = append(s.rules, c)
		for _, k := range r.Detect.Keywords {
			k = strings.ToLower(k)
			id, known := index[k]
			if !known {
				id = len(keywords)
				index[k] = id
				keywords = append(keywords, k)
				s.users = append(s.users, nil)
			}
			s.users[id] = append(s.users[id], i)
		}
	}
	m, err := newMatcher(keywords)
	if err != nil {
		return nil, err
	}
	s.matcher = m
	return s, nil
}

// assigned is the pattern of an assignment to a name that holds one of d's keywords.
func assigned(d *rules.Detect) string {
	var words []string
	for _, k := range d.Keywords {
		words = append(words, regexp.QuoteMeta(k))
	}
	return `(?i:(?P<name>[0-9a-z_.-]{0,40}(?:` + strings.Join(words, "|") + `)[0-9a-z_. -]{0,40}?))(?:\\?["'\x60\]]){0,3}[ \t]{0,16}(?::=|=>|[=:,(>]|%3[Dd]|[ \t]is[ \t])[ \t]{0,16}(?:\\?["'\x60]){0,3}` +
		`(?P<secret>` + d.Value + `)(?:[^0-9A-Za-z_+/=-]|$)`
}

// compile prepares one rule.
func compile(r *rules.Rule) (compiled, error) {
	if len(r.Detect.Keywords) == 0 || slices.Contains(r.Detect.Keywords, "") {
		return compiled{}, errors.New("a rule needs keywords, and none of them empty")
	}
	if r.Detect.Reach < 0 {
		return compiled{}, fmt.Errorf("reach %d is negative: nothing would be found", r.Detect.Reach)
	}
	pattern, err := regexp.Compile(cmp.Or(r.Detect.Pattern, assigned(&r.Detect)))
	if err != nil {
		return compiled{}, fmt.Errorf("pattern: %w", err)
	}
	c := compiled{Rule: r, pattern: pattern, reach: cmp.Or(r.Detect.Reach, rules.DefaultReach)}
	if r.Detect.Names != "" {
		if c.names, err = regexp.Compile(r.Detect.Names); err != nil {
			return compiled{}, fmt.Errorf("names: %w", err)
		}
	}
	for _, companion := range r.Detect.Companions {
		p, err := regexp.Compile(companion.Pattern)
		if err != nil {
			return compiled{}, fmt.Errorf("companion %s: %w", companion.Name, err)
		}
		if p.SubexpIndex(companion.Name) < 0 {
			return compiled{}, fmt.Errorf("companion %s: its pattern has no group of that name", companion.Name)
		}
		c.companions = append(c.companions, p)
	}
	return c, nil
}

// Scan returns the credentials in data, in order of position: one for each
// secret at each place, MaxFindings at most. Locations name path, with any secret
// in it hidden, and are those of Text(data). Archives and other packed data are
// scanned as the bytes that they are: what is packed in them is not seen.
func (s *Scanner) Scan(path string, data []byte) []Finding {
	findings, _ := s.Examine(path, data)
	return findings
}

// Examine is Scan that also says whether data holds more than what is listed. Who
// must know that everything was seen asks Examine.
func (s *Scanner) Examine(path string, data []byte) (findings []Finding, more bool) {
	data = Text(data)
	found := s.candidates(data)
	more = len(found) > maxCandidates
	kept := resolve(found)
	if len(kept) > MaxFindings {
		kept, more = kept[:MaxFindings], true
	}
	if len(kept) == 0 {
		return nil, more
	}
	path = s.hide(path, kept)
	findings = make([]Finding, len(kept))
	at := cursor{data: data, line: 1}
	for i, c := range kept {
		line, column := at.position(c.start)
		end := at // a copy: the next finding may start before this one ends
		endLine, endColumn := end.position(c.end)
		secret := c.parts[PartSecret]
		findings[i] = Finding{
			Rule:        c.rule.Rule,
			Credential:  Credential{Rule: c.rule.ID, Parts: c.parts},
			Fingerprint: secret.Fingerprint(s.key),
			Redacted:    c.rule.redact(secret),
			Location:    Location{Path: path, Line: line, Column: column, EndLine: endLine, EndColumn: endColumn},
		}
	}
	return findings, more
}

// A window is a part of the data that a rule's pattern is tried on.
type window struct{ start, end int }

// candidates returns everything that some rule takes for a credential, or a few
// more than maxCandidates.
func (s *Scanner) candidates(data []byte) []candidate {
	var found []candidate
	var open []window // rule → its window that may still grow
	ids, i, state := s.matcher.find(data, 0, 0)
	for ; ids != nil && len(found) <= maxCandidates; ids, i, state = s.matcher.find(data, i, state) {
		if open == nil {
			open = make([]window, len(s.rules))
		}
		for _, id := range ids {
			for _, r := range s.users[id] {
				next := s.rules[r].around(data, i-s.matcher.sizes[id], i)
				if w := &open[r]; w.end > 0 && next.start <= w.end {
					*w = window{min(w.start, next.start), max(w.end, next.end)}
				} else {
					found = s.rules[r].try(found, data, *w)
					*w = next
				}
			}
		}
	}
	for r, w := range open {
		found = s.rules[r].try(found, data, w)
	}
	return found
}

// around is the window around a keyword at data[start:end]: as far as a match
// may go, and a byte more on either side to see what stands next to it.
func (c *compiled) around(data []byte, start, end int) window {
	return window{max(0, start-rules.Lead-1), min(len(data), end+c.reach+1)}
}

// Hide returns text with "[redacted]" for every credential in it. It is for what
// strangers wrote and programs show: paths, names, messages.
func (s *Scanner) Hide(text string) string {
	found := s.candidates([]byte(text))
	if len(found) == 0 {
		return text
	}
	slices.SortFunc(found, func(a, b candidate) int { return cmp.Compare(a.start, b.start) })
	var shown strings.Builder
	end := 0 // up to here text is dealt with
	for _, c := range found {
		if c.start >= end {
			shown.WriteString(text[end:c.start] + redacted)
		}
		end = max(end, c.end)
	}
	if len(found) > maxCandidates {
		return shown.String() // nobody looked at the rest
	}
	return shown.String() + text[end:]
}

// hide hides in path every secret of found, and what a rule takes for a secret in
// the path itself.
func (s *Scanner) hide(path string, found []candidate) string {
	for _, c := range found {
		path = strings.ReplaceAll(path, c.parts[PartSecret].Expose(), redacted)
	}
	return s.Hide(path)
}

// redact shows the public prefix of the rule's values and asterisks.
func (c *compiled) redact(secret Secret) string {
	value, prefix := secret.Expose(), c.Prefix()
	hidden, found := strings.CutPrefix(value, prefix)
	if !found {
		prefix = ""
	}
	return prefix + strings.Repeat("*", min(maxStars, len(hidden)))
}

// A cursor finds lines and columns of ascending offsets in one pass.
type cursor struct {
	data   []byte
	offset int // up to here lines are counted
	line   int // 1-based
	bol    int // where the line begins
}

// position returns the 1-based line and column of an offset that is not before
// the last one asked for.
func (c *cursor) position(offset int) (line, column int) {
	passed := c.data[c.offset:offset]
	c.line += bytes.Count(passed, []byte{'\n'})
	if last := bytes.LastIndexByte(passed, '\n'); last >= 0 {
		c.bol = c.offset + last + 1
	}
	c.offset = offset
	return c.line, offset - c.bol + 1
}
