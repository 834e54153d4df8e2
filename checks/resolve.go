package checks

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// resolve drops every candidate that overlaps a better one, and returns the
// rest in order of position.
func resolve(all []candidate) []candidate {
	var kept, packed []candidate
	all = slices.DeleteFunc(slices.Clone(all), func(c candidate) bool {
		if c.inside != "" { // all of an archive stands at one place
			packed = append(packed, c)
		}
		return c.inside != ""
	})
	sorted(all)
	for len(all) > 0 {
		n, end := 1, all[0].end
		for n < len(all) && all[n].start < end {
			end = max(end, all[n].end)
			n++
		}
		kept = append(kept, best(all[:n])...)
		all = all[n:]
	}
	if len(packed) > 0 {
		kept = append(kept, packed...)
		sorted(kept)
	}
	return kept
}

// best resolves candidates that hang together by overlapping. What is taken is
// marked byte by byte: the candidates of one rule hardly overlap, so that their
// lengths together, and the work, are bounded by rules times bytes. Comparing
// each with each would grow with the square of a chain.
func best(tangle []candidate) []candidate {
	first, end := tangle[0].start, tangle[0].end
	for _, c := range tangle {
		first, end = min(first, c.start), max(end, c.end)
	}
	taken := make([]bool, end-first)
	slices.SortFunc(tangle, better)
	kept := tangle[:0:0]
	for _, c := range tangle {
		span := taken[c.start-first : c.end-first]
		if slices.Contains(span, true) {
			continue
		}
		for i := range span {
			span[i] = true
		}
		kept = append(kept, c)
	}
	slices.SortFunc(kept, func(a, b candidate) int { return cmp.Compare(a.start, b.start) })
	return kept
}

// better orders candidates: a rule for one provider's tokens before one that
// judges passwords, then what was taken out of its URL's escapes, then the longer
// secret, then what stands there as it is, then the credential of more parts, then
// by rule and place so that the order never depends on chance.
func better(a, b candidate) int {
	return cmp.Or(
		cmp.Compare(vague(a), vague(b)),
		cmp.Compare(wrapped(a), wrapped(b)),
		cmp.Compare(b.end-b.start, a.end-a.start),
		cmp.Compare(len(a.encodings), len(b.encodings)),
		cmp.Compare(len(b.parts), len(a.parts)),
		cmp.Compare(a.rule.ID, b.rule.ID),
		cmp.Compare(a.start, b.start),
	)
}

// wrapped is 1 for a value that still has escapes of a URL, unless its rule knows
// of them.
func wrapped(c candidate) int {
	if !strings.Contains(c.rule.Detect.Pattern, "%") && escaped.MatchString(c.parts[PartSecret].Expose()) {
		return 1
	}
	return 0
}

var escaped = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// vague is 4 for rules that know nothing but a name, 3 for those that know the place
// of a password, 2 for a form that many providers' credentials have, 1 for those that
// know the place and the looks, and 0 for those that know the value itself.
func vague(c candidate) int {
	switch d := &c.rule.Detect; {
	case generic(d):
		return 4
	case d.Placeholders:
		return 3
	case d.Fallback:
		return 2
	case d.Value != "" || c.rule.secretBeside():
		return 1
	}
	return 0
}
