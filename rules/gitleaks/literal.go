package gitleaks

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
)

// maxLiterals bounds how many texts are written out that a part of an expression
// matches, and how long they become.
const (
	maxLiterals = 256
	maxLength   = 64
)

// holdsAny reports whether all that an expression matches has one of some keywords
// in it, whatever the letter case. Keywords are in lower case.
func holdsAny(expression string, keywords []string) bool {
	tree, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return false
	}
	k := keyed(keywords)
	texts, holds := k.look(tree.Simplify())
	return holds || k.all(texts)
}

// keyed are the keywords of a rule.
type keyed []string

// all reports whether each of some texts has a keyword in it. No text means that
// they are not known.
func (k keyed) all(texts []string) bool {
	return len(texts) > 0 && !slices.ContainsFunc(texts, func(t string) bool {
		return !slices.ContainsFunc(k, func(word string) bool { return strings.Contains(t, word) })
	})
}

// look returns all texts that re matches, in lower case, or nil if they are too
// many, and whether each match of re is known to have a keyword in it.
func (k keyed) look(re *syntax.Regexp) (texts []string, holds bool) {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{strings.ToLower(string(re.Rune))}, false
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return []string{""}, false
	case syntax.OpCharClass:
		return characters(re.Rune), false
	case syntax.OpCapture, syntax.OpPlus:
		texts, holds = k.look(re.Sub[0])
		if re.Op == syntax.OpPlus {
			return nil, holds || k.all(texts)
		}
		return texts, holds
	case syntax.OpQuest:
		if texts, _ = k.look(re.Sub[0]); texts != nil {
			texts = append(slices.Clip(texts), "")
		}
		return texts, false
	case syntax.OpConcat:
		return k.concat(re.Sub)
	case syntax.OpAlternate:
		return k.alternate(re.Sub)
	}
	return nil, false
}

// characters returns the few characters of a class.
func characters(ranges []rune) (texts []string) {
	const few = 16
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if text := string(unicode.ToLower(r)); !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
			if len(texts) > few {
				return nil
			}
		}
	}
	return texts
}

// concat looks at parts that follow each other. Those whose texts are known are put
// together; what is not known comes between.
func (k keyed) concat(parts []*syntax.Regexp) (texts []string, holds bool) {
	exact := true
	together := []string{""}
	for _, part := range parts {
		next, held := k.look(part)
		if held {
			holds = true
		}
		if joined := product(together, next); joined != nil {
			together = joined
			continue
		}
		holds = holds || k.all(together)
		exact = false
		if together = next; next == nil {
			together = []string{""}
		}
	}
	if exact {
		return together, holds
	}
	return nil, holds || k.all(together)
}

// product returns each of some texts with each of some others after it, or nil if
// they are too many or not known.
func product(first, second []string) []string {
	if second == nil || len(first)*len(second) > maxLiterals {
		return nil
	}
	var all []string
	for _, a := range first {
		for _, b := range second {
			if len(a)+len(b) > maxLength {
				return nil
			}
			all = append(all, a+b)
		}
	}
	return all
}

// alternate looks at parts of which one matches.
func (k keyed) alternate(parts []*syntax.Regexp) (texts []string, holds bool) {
	holds, exact := true, true
	for _, part := range parts {
		some, held := k.look(part)
		holds = holds && (held || k.all(some))
		exact = exact && some != nil
		texts = append(texts, some...)
	}
	if !exact || len(texts) > maxLiterals {
		return nil, holds
	}
	return texts, holds
}

// alwaysTaken reports whether a group of an expression is part of each match.
func alwaysTaken(re *syntax.Regexp, group int) bool {
	switch re.Op {
	case syntax.OpCapture:
		return re.Cap == group || alwaysTaken(re.Sub[0], group)
	case syntax.OpConcat, syntax.OpPlus:
		return slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return alwaysTaken(sub, group) })
	case syntax.OpRepeat:
		return re.Min > 0 && alwaysTaken(re.Sub[0], group)
	}
	return false
}
