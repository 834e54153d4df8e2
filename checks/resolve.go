package checks

import (
	"cmp"
	"slices"
)

// resolve drops every candidate that overlaps a better one, and returns the
// rest in order of position.
func resolve(all []candidate) []candidate {
	sorted(all)
	var kept []candidate
	for len(all) > 0 {
		n, end := 1, all[0].end
		for n < len(all) && all[n].start < end {
			end = max(end, all[n].end)
			n++
		}
		kept = append(kept, best(all[:n])...)
		all = all[n:]
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
// judges passwords, then the longer secret, then the credential of more parts,
// then by rule and place so that the order never depends on chance.
func better(a, b candidate) int {
	return cmp.Or(
		cmp.Compare(vague(a), vague(b)),
		cmp.Compare(b.end-b.start, a.end-a.start),
		cmp.Compare(len(b.parts), len(a.parts)),
		cmp.Compare(a.rule.ID, b.rule.ID),
		cmp.Compare(a.start, b.start),
	)
}

// vague is 2 for rules that know nothing but a name, 1 for those that know the place
// of a password, and 0 for all others.
func vague(c candidate) int {
	switch d := &c.rule.Detect; {
	case generic(d):
		return 2
	case d.Placeholders:
		return 1
	}
	return 0
}
