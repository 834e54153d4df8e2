package condition

import (
	"cmp"
	"math"
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
	texts []string              // a list, of what is written down only
	fixed *string               // the text, if it is written down
	bytes func(*Subject) []byte // the text, where it may be long: most want a part only
}

// A binding is a value that has a name.
type binding struct {
	value
	size    int  // how many values it is made of
	assumed bool // it depends on what cannot be answered
}

// A parser reads a condition by recursive descent: a method for each level of
// precedence, the loosest first.
type parser struct {
	lexer
	notes  []Note
	denied int // how many negations we are in
	deep   int
	names  map[string]binding
	size   int // how many values were read, those with names as often as they are used
}

// maxSize is how many values a condition may be made of: names for names for values
// make long texts out of short ones.
const maxSize = 10_000

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

// bound reads a value, and before it the names that it uses.
func (p *parser) bound() value {
	for p.kind == tokenName && p.text == "let" {
		p.advance()
		name := p.name()
		p.expect("=")
		size, notes := p.size, len(p.notes)
		v := p.either()
		if p.names == nil {
			p.names = make(map[string]binding)
		}
		p.names[name] = binding{v, p.size - size, len(p.notes) > notes}
		p.expect(";")
	}
	return p.either()
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

// sum joins texts by +, adds and subtracts numbers, and passes over what stands in for what is missing:
// nothing that a condition can name is.
func (p *parser) sum() value {
	left := p.postfix()
	for {
		switch {
		case p.accept("+"):
			left = p.plus(left, p.postfix())
		case p.accept("-"):
			a, b := left.num, p.postfix().num
			if a == nil || b == nil {
				p.fail("- is for two numbers")
			}
			left = value{num: func(s *Subject) float64 { return a(s) - b(s) }}
		case p.accept("??"):
			p.postfix()
		default:
			return left
		}
	}
}

func (p *parser) plus(left, right value) value {
	switch {
	case left.text != nil && right.text != nil:
		return value{text: func(s *Subject) string { return left.text(s) + right.text(s) }}
	case left.num != nil && right.num != nil:
		return value{num: func(s *Subject) float64 { return left.num(s) + right.num(s) }}
	}
	p.fail("+ joins texts only, or adds numbers")
	return value{}
}

// postfix reads a value, and the methods that are called and the parts that are
// taken of it.
func (p *parser) postfix() value {
	v := p.primary()
	for {
		switch {
		case p.accept("["):
			v = p.part(v)
		case !p.accept("."):
			return v
		default:
			name := p.name()
			args := p.arguments()
			if name != "orValue" {
				v = p.method(name, v, args)
			}
		}
	}
}

// part reads which bytes of a text are meant: from the first to before the last.
func (p *parser) part(of value) value {
	if of.text == nil {
		p.fail("only parts of texts can be taken")
	}
	from, to := value{num: func(*Subject) float64 { return 0 }}, value{num: func(*Subject) float64 { return math.MaxInt32 }}
	if !p.accept(":") {
		from = p.sum()
		p.expect(":")
	}
	if !p.accept("]") {
		to = p.sum()
		p.expect("]")
	}
	if from.num == nil || to.num == nil {
		p.fail("a part of a text is from one number to another")
	}
	whole := of.bytes
	if whole == nil {
		whole = func(s *Subject) []byte { return []byte(of.text(s)) }
	}
	return value{text: func(s *Subject) string {
		all := whole(s)
		last := min(max(int(to.num(s)), 0), len(all))
		return string(all[min(max(int(from.num(s)), 0), last):last])
	}}
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
	if p.size++; p.size > maxSize {
		p.fail("it is too large")
	}
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
		v := p.bound()
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
	if b, ok := p.names[name]; ok {
		if b.assumed {
			p.refuseDenial(start)
		}
		if p.size += b.size; p.size > maxSize {
			p.fail("it is too large")
		}
		return b.value
	}
	switch name {
	case "true", "false":
		return value{yes: func(*Subject) bool { return name == "true" }}
	case "finding", "attributes":
		return p.field(name)
	case "secret":
		return p.known("finding", "secret", start)
	case "get":
		return p.get()
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

// get reads which field of a map is meant, in the form of a function whose last
// argument is for a missing one.
func (p *parser) get() value {
	p.expect("(")
	start, of := p.start, p.name()
	p.expect(",")
	if p.kind != tokenText {
		p.fail("the name of a field of %s is expected, quoted", of)
	}
	key := p.text
	p.advance()
	if p.accept(",") {
		p.either()
	}
	p.expect(")")
	return p.known(of, key, start)
}

// offsets are the fields of a finding that are numbers.
var offsets = map[string]func(*Subject) int{
	"match_start_idx":      func(s *Subject) int { return s.Start },
	"match_end_idx":        func(s *Subject) int { return s.End },
	"match_line_start_idx": func(s *Subject) int { return s.LineStart },
	"match_line_end_idx":   func(s *Subject) int { return s.LineEnd },
}

// known returns the field of a map.
func (p *parser) known(of, key string, start int) value {
	if offset := offsets[key]; offset != nil && of == "finding" {
		return value{num: func(s *Subject) float64 { return float64(offset(s)) }}
	}
	if of == "finding" && key == "fragment_raw" {
		return value{text: func(s *Subject) string { return string(s.Text) }, bytes: func(s *Subject) []byte { return s.Text }}
	}
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
