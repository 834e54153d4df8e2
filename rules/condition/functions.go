package condition

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// call reads the arguments of a function, and returns what it gives.
func (p *parser) call(name string, start int) value {
	if p.kind != tokenSign || p.text != "(" {
		p.start = start
		p.fail("%q is not known", name)
	}
	args := p.arguments()
	wrong := func() {
		p.start = start
		p.fail("%s is not given what it takes", name)
	}
	text := func(i int) func(*Subject) string {
		if len(args) <= i || args[i].text == nil {
			wrong()
		}
		return args[i].text
	}
	switch name {
	case "matchesAny", "containsAny":
		if len(args) != 2 || args[1].texts == nil {
			wrong()
		}
		return p.any(name, text(0), args[1].texts)
	case "findMatch":
		if of := text(0); len(args) == 2 && args[1].fixed != nil {
			e := p.expressions([]string{*args[1].fixed})[0]
			return value{text: func(s *Subject) string { return e.FindString(of(s)) }}
		}
		wrong()
	case "min", "max":
		if n := extreme(name, args); n.num != nil {
			return n
		}
		wrong()
	case "entropy":
		of := text(0)
		return value{num: func(s *Subject) float64 { return entropy(of(s)) }}
	case "len", "size":
		of := text(0)
		return value{num: func(s *Subject) float64 { return float64(utf8.RuneCountInString(of(s))) }}
	case "lower", "upper", "trim":
		text(0)
		return p.method(name, args[0], args[1:])
	case "hasPrefix", "hasSuffix":
		text(0)
		return p.method(map[string]string{"hasPrefix": "startsWith", "hasSuffix": "endsWith"}[name], args[0], args[1:])
	case "failsTokenEfficiency":
		text(0)
		return p.efficiency(start)
	}
	p.start = start
	p.fail("the function %s is not known", name)
	return value{}
}

// extreme returns the least or the greatest of some numbers, or nothing if they are
// none.
func extreme(name string, args []value) value {
	if len(args) == 0 || slices.ContainsFunc(args, func(v value) bool { return v.num == nil }) {
		return value{}
	}
	choose := slices.Min[[]float64]
	if name == "max" {
		choose = slices.Max[[]float64]
	}
	return value{num: func(s *Subject) float64 {
		all := make([]float64, len(args))
		for i, arg := range args {
			all[i] = arg.num(s)
		}
		return choose(all)
	}}
}

// efficiency stands in for a question that needs the vocabulary of a language
// model. No is the answer that hides nothing, unless it is turned round.
func (p *parser) efficiency(start int) value {
	p.refuseDenial(start)
	p.notes = append(p.notes, Note{start, "failsTokenEfficiency cannot be answered and is taken to be false: more is reported, not less"})
	return value{yes: func(*Subject) bool { return false }}
}

// refuseDenial fails where the answer that hides nothing would hide something.
func (p *parser) refuseDenial(start int) {
	if p.denied > 0 {
		p.start = start
		p.fail("failsTokenEfficiency cannot be answered, so that nothing can depend on its being false")
	}
}

// any returns whether a text has one of some others in it, or what they match.
func (p *parser) any(name string, text func(*Subject) string, texts []string) value {
	if name == "containsAny" {
		return value{yes: func(s *Subject) bool {
			return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(text(s), t) })
		}}
	}
	all := p.expressions(texts)
	return value{yes: func(s *Subject) bool {
		return slices.ContainsFunc(all, func(e *regexp.Regexp) bool { return e.MatchString(text(s)) })
	}}
}

// method returns what a method of a text gives.
func (p *parser) method(name string, of value, args []value) value {
	if of.text == nil {
		p.fail("%s is asked of something that is no text", name)
	}
	text := of.text
	changes := map[string]func(string) string{"lowerAscii": lowerASCII, "upperAscii": upperASCII, "lower": strings.ToLower, "upper": strings.ToUpper, "trim": strings.TrimSpace}
	if change := changes[name]; change != nil && len(args) == 0 {
		return value{text: func(s *Subject) string { return change(text(s)) }}
	}
	if name == "size" && len(args) == 0 {
		return value{num: func(s *Subject) float64 { return float64(utf8.RuneCountInString(text(s))) }}
	}
	if len(args) != 1 || args[0].text == nil {
		p.fail("%s is not known, or is not given one text", name)
	}
	other := args[0].text
	tests := map[string]func(string, string) bool{"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix}
	if test := tests[name]; test != nil {
		return value{yes: func(s *Subject) bool { return test(text(s), other(s)) }}
	}
	if name != "matches" || args[0].fixed == nil {
		p.fail("%s is not known, or its expression is not written down", name)
	}
	e := p.expressions([]string{*args[0].fixed})[0]
	return value{yes: func(s *Subject) bool { return e.MatchString(text(s)) }}
}

func lowerASCII(s string) string { return mapASCII(s, 'A', 'Z', 'a'-'A') }
func upperASCII(s string) string { return mapASCII(s, 'a', 'z', 'A'-'a') }

// mapASCII moves the letters from first to last by an offset.
func mapASCII(s string, first, last, offset rune) string {
	return strings.Map(func(r rune) rune {
		if r >= first && r <= last {
			return r + offset
		}
		return r
	}, s)
}

// entropy is the Shannon entropy of s in bits a character.
func entropy(s string) float64 {
	count := make(map[rune]int)
	total := 0
	for _, r := range s {
		count[r]++
		total++
	}
	var sum float64
	for _, n := range count {
		p := float64(n) / float64(total)
		sum -= p * math.Log2(p)
	}
	return sum
}
