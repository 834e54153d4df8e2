package checks

import (
	"cmp"
	"slices"

	"github.com/stanch-dev/stanch/checks/decode"
	"github.com/stanch-dev/stanch/rules"
)

const (
	// MaxFindings is how many findings of one file are listed, the first ones. Who
	// leaks more than a thousand in a file needs no list, and a list without end
	// would let one file fill the memory and every report.
	MaxFindings = 1000
	// maxCandidates is how much of one text is taken for a credential before the
	// scan of it ends. Several rules may claim the same text.
	maxCandidates = 16 * MaxFindings
)

// What may be spent on one text, in bytes looked at, so that no file takes for
// ever. Ordinary text takes less than a byte for each of its own, and the densest
// that anybody wrote some ten; what takes more was made to.
const (
	leastEffort   = 32 << 20 // whatever the text's length
	effortPerByte = 64
	// patternEffort is what a byte costs that a regular expression looks at, in
	// bytes that an automaton looks at.
	patternEffort = 32
)

// A search looks for candidates in one text at a time. It keeps what it needs for
// that between texts, so that clean ones cost no allocation.
type search struct {
	*Scanner
	hits    [lanes][]hit
	open    []window   // rule → its window that may still grow
	opened  []uint16   // the rules that have one
	matches [][]match  // rule with companions → its matches
	given   []assigned // to the name that a keyword stands in
	one     []match
	found   []candidate
	decoder decode.Decoder
	layers  [maxLayers]func(*decode.Layer) bool // what is done with one, by how many more may be in it
	chunk   []byte                              // of a text that goes by
	piece   []byte                              // of it, as it comes
	path    string                              // of the text, or empty when it is not known
	effort  int                                 // what is left to spend
	dropped bool
	loud    bool           // the text is not quiet, see Holds
	windows []window       // of a text that changed, what is looked at
	foreign bool           // generic rules have no say about the text
	limits  *decode.Limits // of the file that the text is of, or in
	own     decode.Limits  // what limits is when the text is in no other
}

// A window is a part of the data that a rule's pattern is tried on.
type window struct{ start, end int }

func newSearch(s *Scanner) *search {
	x := &search{Scanner: s, open: make([]window, len(s.rules)), matches: make([][]match, len(s.rules))}
	for n := range x.layers {
		x.layers[n] = func(l *decode.Layer) bool {
			x.layer(l, n+1)
			return !x.spent()
		}
	}
	return x
}

// borrow returns a search that nobody else uses until it is given back.
func (s *Scanner) borrow() *search {
	x := s.searches.Get().(*search)
	x.own = unpackLimits()
	x.limits = &x.own
	return x
}

func (s *Scanner) giveBack(x *search) {
	clear(x.found) // no secret stays behind
	x.found = x.found[:0]
	s.searches.Put(x)
}

// block is how many bytes are searched for keywords at a time: they are still in
// the processor's cache when patterns are tried.
const block = 32 << 10

// look finds everything in data that some rule takes for a credential. When spent
// afterwards, that may not be everything.
func (x *search) look(path string, data []byte) {
	x.begin(path, len(data))
	x.plain(data, window{0, len(data)})
	x.wrapped(data, maxLayers)
}

// begin makes ready for a text.
func (x *search) begin(path string, length int) {
	x.path, x.foreign, x.dropped, x.loud = path, foreign(path), false, false
	clear(x.found)
	x.found = x.found[:0]
	x.effort = leastEffort + effortPerByte*length
}

// plain looks at data as it is, for keywords that end in w.
func (x *search) plain(data []byte, w window) {
	for from := w.start; from < w.end && !x.spent(); from += block {
		x.matcher.find(&x.hits, data, from, min(w.end, from+block))
		for _, lane := range x.hits {
			for _, h := range lane {
				for _, id := range x.matcher.keywords(h.state) {
					x.consider(data, id, h.end)
				}
			}
		}
	}
	for _, r := range x.roaming {
		x.widen(r, data, window{0, len(data)})
	}
	for _, r := range x.opened {
		if w := x.open[r]; w.end > 0 {
			x.try(r, data, w)
			x.open[r] = window{}
		}
		if m := x.matches[r]; m != nil {
			x.matches[r] = nil
			x.found = x.rules[r].judge(x.found, x.path, data, m)
		}
	}
	x.opened = x.opened[:0]
}

// spent reports whether the search ended before it had seen everything.
func (x *search) spent() bool { return x.dropped || x.effort < 0 }

// consider asks the rules that have a keyword whether they can match around its
// occurrence that ends at data[end].
func (x *search) consider(data []byte, keyword uint16, end int) {
	start := end - x.matcher.sizes[keyword]
	users := &x.users[keyword]
	for _, r := range users.patterns {
		if x.effort < 0 {
			return
		}
		c := &x.rules[r]
		a := c.expressions().anchor
		if a.adrift { // a keyword anywhere in the text will do
			x.loud = true
			x.widen(r, data, window{0, len(data)})
			continue
		}
		last, ok := a.follow(data, start, end, min(len(data), end+c.reach))
		x.effort -= last - start
		x.loud = x.loud || ok || last > end+rules.DefaultReach
		if ok {
			x.widen(r, data, window{max(0, start-a.lead-1), min(len(data), last+1)})
		}
	}
	if len(users.generic) > 0 && !x.foreign {
		x.suspect(data, users.generic, start, end)
	}
	if len(users.values) == 0 || x.spent() {
		return
	}
	x.given = assignments(x.given[:0], data, start, end)
	x.effort -= maxNested
	for _, a := range x.given {
		x.loud = x.loud || runsOn(data, a.value)
		x.effort -= patternEffort * (a.value.end - a.value.start) * len(users.values)
		for _, r := range users.values {
			if m, ok := x.rules[r].accept(data, a); ok {
				x.loud = true
				x.one = append(x.one[:0], m)
				x.add(r, data, x.one)
			}
		}
	}
}

// suspect asks generic rules about the value that is written for the name in which
// data[start:end] stands.
func (x *search) suspect(data []byte, all []uint16, start, end int) {
	x.effort -= maxName
	a, how, ok := literal(data, start, end)
	if !ok || x.spent() {
		return
	}
	x.effort -= patternEffort * (a.value.end - a.value.start)
	for _, r := range all {
		c := &x.rules[r]
		if m, ok := c.accept(data, a); ok && plausible(string(data[a.name.start:a.name.end]), string(data[a.value.start:a.value.end]), how) {
			x.loud = true
			x.one = append(x.one[:0], m)
			x.add(r, data, x.one)
		}
	}
}

// widen notes that a rule is to be tried on a window: together with the one noted
// before where they touch, else after that.
func (x *search) widen(r uint16, data []byte, next window) {
	w := &x.open[r]
	switch {
	case w.end == 0:
		x.opened = append(x.opened, r) // perhaps again, which does no harm
		*w = next
	case next.start <= w.end:
		*w = window{min(w.start, next.start), max(w.end, next.end)}
	default:
		x.try(r, data, *w)
		*w = next
	}
}

// try appends what a rule's pattern finds in the window w of data. Where a match
// has companions, its neighbours must be known first: these wait for the end.
func (x *search) try(r uint16, data []byte, w window) {
	if x.spent() {
		return
	}
	if w.end-w.start < len(data) {
		x.effort -= patternEffort * (w.end - w.start)
	} // else a user's rule asks for it
	x.one = x.rules[r].match(x.one[:0], data, w)
	x.add(r, data, x.one)
}

// add judges a rule's matches.
func (x *search) add(r uint16, data []byte, matches []match) {
	c := &x.rules[r]
	if len(matches) == 0 || !c.concerns(x.path) {
		return
	}
	if len(c.Detect.Companions) == 0 {
		x.found = c.judge(x.found, x.path, data, matches)
		x.dropped = x.dropped || len(x.found) > maxCandidates
		return
	}
	if len(x.matches[r]) == 0 {
		x.opened = append(x.opened, r)
	}
	x.matches[r] = append(x.matches[r], matches...)
	x.dropped = x.dropped || len(x.matches[r]) > maxCandidates
}

// sorted puts candidates into the order of their places.
func sorted(all []candidate) {
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
}
