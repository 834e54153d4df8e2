package condition

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A value is a part of a condition: one of its fields is set, that of its kind.
type value struct {
	text  func(*Subject) string
	num   func(*Subject) float64
	yes   func(*Subject) bool
	texts []string // a list, of what is written down only
	fixed *string  // the text, if it is written down
}

// A parser reads a condition by recursive descent: a method for each level of
// precedence, the loosest first.
type parser struct {
	lexer
	notes  []Note
	denied int // how many negations we are in
	deep   int
}

// deepest is how deep parentheses may be nested.
const deepest = 100

// accept passes over the sign or word if it is the current token.
func (p *parser) accept(texts ...string) bool {
	if p.kind != tokenSign && p.kind != tokenName || !slices.Contains(texts, p.text) {
		return false
	}
	p.advance()
	return true
}

func (p *parser) expect(text string) {
	if !p.accept(text) {
		p.fail("there is %q in the place of %q", p.text, text)
	}
}

func (p *parser) either() value {
	if p.deep++; p.deep > deepest {
		p.fail("it is nested too deeply")
	}
	defer func() { p.deep-- }()
	left := p.both()
	for p.accept("||", "or") {
		a, b := p.truth(left), p.truth(p.both())
		left = value{yes: func(s *Subject) bool { return a(s) || b(s) }}
	}
	return left
}

func (p *parser) both() value {
	left := p.not()
	for p.accept("&&", "and") {
		a, b := p.truth(left), p.truth(p.not())
		left = value{yes: func(s *Subject) bool { return a(s) && b(s) }}
	}
	return left
}

func (p *parser) not() value {
	if !p.accept("!", "not") {
		return p.comparison()
	}
	if p.deep++; p.deep > deepest {
		p.fail("it is nested too deeply")
	}
	p.denied++
	a := p.truth(p.not())
	p.denied--
	p.deep--
	return value{yes: func(s *Subject) bool { return !a(s) }}
}

// truth returns the function of a value that is true or false.
func (p *parser) truth(v value) func(*Subject) bool {
	if v.yes == nil {
		p.fail("something that is true or false is expected before this")
	}
	return v.yes
}

func (p *parser) comparison() value {
	left := p.sum()
	operator := p.text
	if p.kind != tokenSign && p.kind != tokenName {
		return left
	}
	switch operator {
	case "not":
		p.advance()
		operator = p.text
		a := p.truth(p.worded(operator, left))
		return value{yes: func(s *Subject) bool { return !a(s) }}
	case "in", "contains", "startsWith", "endsWith", "matches":
		return p.worded(operator, left)
	case "==", "!=", "<", "<=", ">", ">=":
		p.advance()
		return p.compare(operator, left, p.sum())
	}
	return left
}

// worded reads the right side of an operator that is a word.
func (p *parser) worded(operator string, left value) value {
	p.advance()
	right := p.sum()
	if operator != "in" {
		return p.method(operator, left, []value{right})
	}
	if left.text == nil || right.texts == nil {
		p.fail("“in” asks whether a text is one of a list of texts")
	}
	return value{yes: func(s *Subject) bool { return slices.Contains(right.texts, left.text(s)) }}
}

// compare compares two values of one kind.
func (p *parser) compare(operator string, left, right value) value {
	order := func(*Subject) int { return 0 }
	switch {
	case left.text != nil && right.text != nil:
		order = func(s *Subject) int { return strings.Compare(left.text(s), right.text(s)) }
	case left.num != nil && right.num != nil:
		order = func(s *Subject) int { return cmp.Compare(left.num(s), right.num(s)) }
	default:
		p.fail("only two texts or two numbers can be compared by %s", operator)
	}
	switch operator {
	case "==":
		return value{yes: func(s *Subject) bool { return order(s) == 0 }}
	case "!=":
		return value{yes: func(s *Subject) bool { return order(s) != 0 }}
	case "<":
		return value{yes: func(s *Subject) bool { return order(s) < 0 }}
	case "<=":
		return value{yes: func(s *Subject) bool { return order(s) <= 0 }}
	case ">":
		return value{yes: func(s *Subject) bool { return order(s) > 0 }}
	}
	return value{yes: func(s *Subject) bool { return order(s) >= 0 }}
}

// sum joins texts by +, and passes over what stands in for what is missing:
// nothing that a condition can name is.
func (p *parser) sum() value {
	left := p.postfix()
	for {
		switch {
		case p.accept("+"):
			right := p.postfix()
			if left.text == nil || right.text == nil {
				p.fail("+ joins texts only")
			}
			a, b := left.text, right.text
			left = value{text: func(s *Subject) string { return a(s) + b(s) }}
		case p.accept("??"):
			p.postfix()
		default:
			return left
		}
	}
}

// postfix reads a value and the methods that are called of it.
func (p *parser) postfix() value {
	v := p.primary()
	for p.accept(".") {
		name := p.name()
		if name == "orValue" {
			p.arguments()
			continue
		}
		v = p.method(name, v, p.arguments())
	}
	return v
}

func (p *parser) name() string {
	if p.kind != tokenName {
		p.fail("a name is expected in the place of %q", p.text)
	}
	name := p.text
	p.advance()
	return name
}

// arguments reads the values in parentheses.
func (p *parser) arguments() (all []value) {
	p.expect("(")
	for !p.accept(")") {
		if len(all) > 0 {
			p.expect(",")
		}
		all = append(all, p.either())
	}
	return all
}

func (p *parser) primary() value {
	switch {
	case p.kind == tokenText:
		text := p.text
		p.advance()
		return fixed(text)
	case p.kind == tokenNumber:
		n, err := strconv.ParseFloat(p.text, 64)
		if err != nil {
			p.fail("%q is no number", p.text)
		}
		p.advance()
		return value{num: func(*Subject) float64 { return n }}
	case p.accept("("):
		v := p.either()
		p.expect(")")
		return v
	case p.accept("["):
		return p.list()
	case p.kind == tokenName:
		return p.named()
	}
	p.fail("a value is expected in the place of %q", p.text)
	return value{}
}

func fixed(text string) value {
	return value{text: func(*Subject) string { return text }, fixed: &text}
}

// list reads a list of texts.
func (p *parser) list() value {
	texts := []string{}
	for !p.accept("]") {
		if len(texts) > 0 {
			p.expect(",")
			if p.accept("]") {
				break
			}
		}
		if p.kind != tokenText {
			p.fail("lists may hold texts only, as they are written")
		}
		texts = append(texts, p.text)
		p.advance()
	}
	return value{texts: texts}
}

// named reads what begins with a name.
func (p *parser) named() value {
	start, name := p.start, p.name()
	switch name {
	case "true", "false":
		return value{yes: func(*Subject) bool { return name == "true" }}
	case "finding", "attributes":
		return p.field(name)
	case "secret":
		return p.known("finding", "secret", start)
	case "filter":
		p.expect(".")
		name = p.name()
	}
	return p.call(name, start)
}

// field reads which field of a map is meant.
func (p *parser) field(of string) value {
	start := p.start
	if p.accept(".", "?.") {
		if p.kind == tokenName {
			return p.known(of, p.name(), start)
		}
	}
	p.expect("[")
	p.accept("?")
	if p.kind != tokenText {
		p.fail("the name of a field of %s is expected, quoted", of)
	}
	key := p.text
	p.advance()
	p.expect("]")
	return p.known(of, key, start)
}

// known returns the field of a map.
func (p *parser) known(of, key string, start int) value {
	fields := map[string]func(*Subject) string{
		"finding.secret":      func(s *Subject) string { return s.Secret },
		"finding.match":       func(s *Subject) string { return s.Match },
		"finding.line":        func(s *Subject) string { return s.Line },
		"finding.rule_id":     func(s *Subject) string { return s.Rule },
		"finding.description": func(s *Subject) string { return s.Description },
		"attributes.path":     func(s *Subject) string { return s.Path },
	}
	text := fields[of+"."+key]
	if text == nil {
		p.start = start
		p.fail("%s has no %q that is known while a text is scanned", of, key)
	}
	return value{text: text}
}

// expressions compiles regular expressions.
func (p *parser) expressions(texts []string) []*regexp.Regexp {
	var all []*regexp.Regexp
	for _, text := range texts {
		e, err := regexp.Compile(text)
		if err != nil {
			p.fail("%v", err)
		}
		all = append(all, e)
	}
	return all
}
