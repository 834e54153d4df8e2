// Package checks finds credentials: bytes in, findings out.
//
// A Scanner is made from the catalogue's rules. What it finds is a Finding: the
// credential, as a Secret that cannot be printed, with the Fingerprint that names
// it without telling it, and its place. The package is pure: no network, no
// database, no clock.
//
// How it works, from the outside in: stream.go goes through what is too large for
// the memory; search.go looks for the keywords of all rules in one pass (the
// automaton is in keywords.go) and asks, at each, whether a rule's pattern can
// match there (anchor.go); candidate.go lets the pattern judge what is left, and
// judge.go whether that is a credential that somebody uses; resolve.go keeps one
// candidate for each secret; finding.go says what it is and where. Of a text that
// differs little from one that was clean, quiet.go looks at the differences alone.
package checks

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"github.com/stanch-dev/stanch/rules"
)

// A Scanner finds credentials in bytes. It is pure and safe for concurrent use.
//
// One pass looks for the keywords of all rules at once. A rule's pattern is
// tried only near its keywords, and overlapping neighbourhoods are tried as one,
// so that the work grows with the size of the input and not with its malice.
type Scanner struct {
	key      FingerprintKey
	matcher  *matcher
	users    []users  // of each keyword
	roaming  []uint16 // the rules without keywords
	files    []uint16 // the rules that report files by their paths
	together bool     // some rule's findings depend on other findings
	automata automata // of the rules' patterns
	rules    []compiled
	searches sync.Pool // of *search, for this scanner
}

// Users are the rules that have a keyword: those with a Pattern, those with a Value,
// and those of the latter that are generic.
type users struct{ patterns, values, generic []uint16 }

// A compiled rule is a rule ready to match.
type compiled struct {
	*rules.Rule
	reach int
	// expressions are made when the rule's first keyword is met: most rules of a
	// large catalogue meet none in a whole run.
	expressions func() *expressions
}

// Expressions are what a rule matches with.
type expressions struct {
	anchor     *anchor          // of Detect.Pattern
	pattern    *regexp.Regexp   // Detect.Pattern, or Detect.Value for the whole of one
	least      int              // the length of the shortest Detect.Value
	companions []*regexp.Regexp // in the order of Detect.Companions
	names      *regexp.Regexp   // Detect.Names, or nil
	path       *regexp.Regexp   // Detect.Path, or nil
	allow      allowances       // Detect.Allow
	group      int              // the number of the pattern's group that is the secret, or 0
}

// New prepares a scanner of rules whose fingerprints are made under a random key:
// they tell equal secrets within this scanner's findings, and mean nothing to
// another.
func New(all ...*rules.Rule) (*Scanner, error) {
	key := make(FingerprintKey, 32)
	rand.Read(key) // never fails
	return NewScanner(all, key)
}

// NewScanner prepares the rules of catalogue. Fingerprints are made under key.
func NewScanner(catalogue []*rules.Rule, key FingerprintKey) (*Scanner, error) {
	switch {
	case len(catalogue) == 0:
		return nil, errors.New("no rules to scan with: load a catalogue")
	case len(key) == 0:
		return nil, errors.New("no fingerprint key: anybody could test guesses against fingerprints made without one")
	}
	s := &Scanner{key: slices.Clone(key), rules: make([]compiled, len(catalogue))}
	s.searches.New = func() any { return newSearch(s) }
	var keywords []string
	index := make(map[string]int)
	taken := make(map[string]bool, len(catalogue))
	for i, r := range catalogue {
		if taken[r.ID] {
			return nil, fmt.Errorf("rule %s is there twice: rename or remove one", r.ID)
		}
		taken[r.ID] = true
		if err := s.rules[i].prepare(r, &s.automata); err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.ID, err)
		}
		s.together = s.together || len(r.Detect.Required) > 0 || r.Detect.SkipReport
		switch {
		case r.Detect.ByPath():
			s.files = append(s.files, uint16(i))
		case len(r.Detect.Keywords) == 0:
			s.roaming = append(s.roaming, uint16(i))
		}
		for _, k := range spellings(&r.Detect) {
			id, known := index[k]
			if !known {
				id = len(keywords)
				index[k] = id
				keywords = append(keywords, k)
				s.users = append(s.users, users{})
			}
			of := &s.users[id].patterns
			switch {
			case generic(&r.Detect):
				of = &s.users[id].generic
			case r.Detect.Value != "":
				of = &s.users[id].values
			}
			*of = append(*of, uint16(i))
		}
	}
	m, err := newMatcher(keywords)
	if err != nil {
		return nil, err
	}
	s.matcher = m
	return s, nil
}

// leastSpelling is how long a keyword must be without its separators to be looked
// for in that form.
const leastSpelling = 3

// spellings returns a rule's keywords in lower case; where they are the names that
// values are given to, also as languages spell them that join words otherwise:
// acme_key is acme-key and acmeKey elsewhere.
func spellings(d *rules.Detect) []string {
	var all []string
	add := func(k string) {
		if !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	for _, k := range d.Keywords {
		k = strings.ToLower(k)
		add(k)
		if d.Value == "" || !strings.ContainsAny(k, "_-") {
			continue
		}
		add(strings.ReplaceAll(k, "_", "-"))
		add(strings.ReplaceAll(k, "-", "_"))
		if joined := strings.Map(joins, k); len(joined) >= leastSpelling {
			add(joined)
		}
	}
	return all
}

// joins drops what separates the words of a name.
func joins(r rune) rune {
	if r == '_' || r == '-' {
		return -1
	}
	return r
}

// prepare makes c ready to match the rule r.
func (c *compiled) prepare(r *rules.Rule, with *automata) error {
	if slices.Contains(r.Detect.Keywords, "") {
		return errors.New("a keyword is empty: remove it")
	}
	if len(r.Detect.Keywords) == 0 && r.Detect.Value != "" {
		return errors.New("a rule with a value needs keywords: the names that it is given to")
	}
	if r.Detect.Pattern == "" && r.Detect.Value == "" && r.Detect.Path == "" {
		return errors.New("a rule needs a pattern, a value or a path: nothing would be found")
	}
	if r.Detect.Group < rules.FirstGroup {
		return fmt.Errorf("group %d is none: number them from 1, or say %d for the first that is not empty", r.Detect.Group, rules.FirstGroup)
	}
	if r.Detect.Reach < 0 {
		return fmt.Errorf("reach %d is negative: nothing would be found", r.Detect.Reach)
	}
	c.Rule, c.reach = r, cmp.Or(r.Detect.Reach, rules.DefaultReach)
	if r.Builtin() {
		c.expressions = sync.OnceValue(func() *expressions {
			e, err := compile(&r.Detect, with)
			if err != nil {
				panic(fmt.Sprintf("rule %s of the catalogue, which tests have compiled: %v", r.ID, err))
			}
			return e
		})
		return nil
	}
	e, err := compile(&r.Detect, with)
	c.expressions = func() *expressions { return e }
	return err
}

// compile makes the expressions of a rule, whose automaton is one of others.
func compile(d *rules.Detect, with *automata) (*expressions, error) {
	e := new(expressions)
	var err error
	if d.Value != "" {
		e.pattern, err = regexp.Compile(`^(?:` + d.Value + `)$`)
		e.least = rules.Shortest(d.Value)
	} else if e.pattern, err = regexp.Compile(bounded(d)); err == nil && len(d.Keywords) > 0 {
		e.anchor, err = newAnchor(with, e.pattern.String(), d.Keywords)
	}
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	if e.allow, err = newAllowances(d.Allow); err != nil {
		return nil, err
	}
	e.group = d.Group
	if e.group == 0 && d.Value == "" {
		e.group = max(0, e.pattern.SubexpIndex(PartSecret))
	}
	if e.group > e.pattern.NumSubexp() {
		return nil, fmt.Errorf("group %d: the pattern has only %d groups", d.Group, e.pattern.NumSubexp())
	}
	if d.Path != "" {
		if e.path, err = regexp.Compile(d.Path); err != nil {
			return nil, fmt.Errorf("path: %w", err)
		}
	}
	if d.Names != "" {
		if e.names, err = regexp.Compile(d.Names); err != nil {
			return nil, fmt.Errorf("names: %w", err)
		}
	}
	for _, companion := range d.Companions {
		p, err := regexp.Compile(companion.Pattern)
		if err != nil {
			return nil, fmt.Errorf("companion %s: %w", companion.Name, err)
		}
		if p.SubexpIndex(companion.Name) < 0 {
			return nil, fmt.Errorf("companion %s: its pattern has no group of that name", companion.Name)
		}
		e.companions = append(e.companions, p)
	}
	return e, nil
}

// escapes are what a letter before a value may belong to, so that the value begins
// there although a word seems to go on: \n in a string, %0A in a URL, \u0026 in
// JSON, a terminal's colours.
const escapes = `(?:\b|\\[nrtbf]|%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\x1b\[[0-9;]{0,16}m)`

// bounded returns the pattern with escapes in the place of the \b that it may begin
// with.
func bounded(d *rules.Detect) string {
	pattern := d.Pattern
	if d.Group != 0 { // counts the groups as they are
		return pattern
	}
	rest, found := strings.CutPrefix(pattern, `\b`)
	if !found {
		return pattern
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || tree.Op != syntax.OpConcat {
		return pattern
	}
	if slices.Contains(tree.CapNames(), PartSecret) {
		return escapes + rest
	}
	return escapes + "(?P<" + PartSecret + ">" + rest + ")"
}

// Hide returns text with "[redacted]" for every credential in it. It is for what
// strangers wrote and programs show: paths, names, messages.
func (s *Scanner) Hide(text string) string {
	x := s.borrow()
	defer s.giveBack(x)
	x.limits.NoTurns = true // it may be the name of a file that is being unpacked
	x.look("", []byte(text))
	if len(x.found) == 0 && !x.spent() {
		return text
	}
	slices.SortFunc(x.found, func(a, b candidate) int { return cmp.Compare(a.start, b.start) })
	var shown strings.Builder
	end := 0 // up to here text is dealt with
	for _, c := range x.found {
		if c.start >= end {
			shown.WriteString(text[end:c.start] + redacted)
		}
		end = max(end, c.end)
	}
	if x.spent() {
		return shown.String() // nobody looked at the rest
	}
	return shown.String() + text[end:]
}
