package checks

import "bytes"

// array passes the rest of a declaration in C: name[] = "…".
func (p *writing) array() bool {
	mark := p.at
	if p.word("[") {
		for p.at-mark < maxName && p.peek() >= '0' && p.peek() <= '9' {
			p.at++
		}
		if p.word("] = ") || p.word("]=") {
			return true
		}
	}
	p.at = mark
	return false
}

// property passes the accessors of a property in C#.
func (p *writing) property() bool {
	for _, accessors := range []string{"{ get; set; } = ", "{ get; init; } = ", "{ get; } = ", "{get;set;} = ", "{ get; private set; } = "} {
		if p.word(accessors) {
			return true
		}
	}
	return false
}

// variable passes to the default of a variable's block in HCL.
func (p *writing) variable() bool {
	if !p.keyed || !bytes.HasSuffix(p.data[max(0, p.name.start-10):p.name.start], []byte("variable \"")) {
		return false
	}
	block, _, _ := bytes.Cut(p.data[p.at:min(len(p.data), p.at+maxLiteral)], []byte("}"))
	i := bytes.Index(block, []byte("default"))
	if i < 0 {
		return false
	}
	p.at += i + len("default")
	p.limit = min(len(p.data), p.at+maxLiteral+maxName)
	p.blanks()
	return p.word("=")
}

// setter reports whether the name is one of a function that takes the secret.
func (p *writing) setter() bool {
	name := p.data[p.name.start:p.name.end]
	if dot := bytes.LastIndexByte(name, '.'); dot >= 0 {
		name = name[dot+1:]
		if len(name) > 0 && len(name) <= len("withAccessToken") && p.data[p.name.start] != '"' {
			for _, verb := range []string{"get", "check", "verify", "valid", "hash", "is", "has", "find", "read", "load", "compare", "parse", "decode", "encode", "test", "encrypt", "decrypt", "log", "reset", "by", "generate"} {
				if len(name) >= len(verb) && bytes.EqualFold(name[:len(verb)], []byte(verb)) {
					return false
				}
			}
			return true
		}
	}
	return hasPrefixFold(name, "set") || hasPrefixFold(name, "with")
}

// initializer passes the brace of a declaration in C++: name{"…"}.
func (p *writing) initializer() bool { return !p.spaced && p.word("{") }

// pair passes the comma of a tuple in Erlang: {name, "…"}.
func (p *writing) pair() bool {
	if p.before() != '{' {
		return false
	}
	p.must = true
	p.at++
	p.blanks()
	p.word("<<")
	return true
}

// inner passes a <value> that an element holds.
func (p *writing) inner() bool {
	mark := p.at
	if p.space(); !p.word("<value>") && !p.word("<Value>") {
		p.at = mark
	}
	return true
}

// sibling passes to the element beside the one that names what it holds:
// <key>name</key><string>…</string>.
func (p *writing) sibling() bool {
	if p.before() != '>' && p.before() != '.' || !p.word("</") || !p.tag() {
		return false
	}
	p.space()
	p.element = true
	return p.word("<") && p.peek() != '/' && p.tag()
}

// tag passes the rest of a tag without attributes.
func (p *writing) tag() bool {
	for range maxName {
		switch b := p.peek(); {
		case b == '>':
			p.at++
			return true
		case !inName(b) && b != ':':
			return false
		}
		p.at++
	}
	return false
}

// attributes passes the rest of an opening tag that has more than a name.
func (p *writing) attributes() bool {
	if p.before() != '<' {
		return false
	}
	for p.attribute() {
		if p.blanks(); p.word(">") {
			p.element = true
			return true
		}
	}
	return false
}

// attribute passes name="…".
func (p *writing) attribute() bool {
	from := p.at
	for inName(p.peek()) || p.peek() == ':' {
		p.at++
	}
	if p.at == from || !p.word("=\"") {
		return false
	}
	for range maxName {
		if p.word(`"`) {
			return true
		}
		if b := p.peek(); b == 0 || b == '<' || b == '>' || b == '\n' {
			return false
		}
		p.at++
	}
	return false
}

// described passes to the value of an element that the name describes, beyond other
// attributes: <input name="…" type="hidden" value="…">, <setting name="…" type="…"><value>….
func (p *writing) described() bool {
	mark := p.at
	p.space()
	for range 4 {
		if p.element = p.word(">"); p.element {
			p.space()
			if p.word("<value>") || p.word("<Value>") {
				return true
			}
			break
		}
		if p.word("value=") || p.word("android:value=") {
			p.must = true
			return true
		}
		if !p.attribute() {
			break
		}
		p.space()
	}
	p.at, p.element = mark, false
	return false
}

// fillers are the calls that put a value into what is found by its name.
var fillers = []string{").val(", ").type(", ").send_keys(", ").sendKeys(", ").fill(", ").setValue(", ").set("}

// filled passes the call that fills a field found by its name: $("#password").val("…").
func (p *writing) filled() bool {
	p.at = p.name.end
	p.closingQuote()
	for _, f := range fillers {
		if p.word(f) {
			return true
		}
	}
	return false
}

// closingQuote passes the quote that ends a name, and a bracket that a selector has.
func (p *writing) closingQuote() {
	for b := p.peek(); b == '"' || b == '\'' || b == ']' || b == '`'; b = p.peek() {
		p.at++
	}
}

// option reports whether the name is an option with one dash, as PowerShell and Java's
// tools have them.
func (p *writing) option() bool {
	if p.data[p.name.start] != '-' || p.name.start == 0 {
		return false
	}
	b := p.before()
	return b == ' ' || b == '\t' || b == '\n'
}

// directive reports whether a line is a name and one value, in quotes or not: the
// configuration of servers and of builds.
func (p *writing) directive() bool {
	if !p.lineStarts() {
		return false
	}
	rest, _, _ := bytes.Cut(p.ahead(), []byte{'\n'})
	rest = bytes.TrimSpace(rest)
	if len(rest) < 8 || bytes.ContainsAny(rest, " \t=:,;(){}[]<>|") {
		return false
	}
	p.must = rest[0] == '"' || rest[0] == '\''
	return true
}

// nextLine passes to a value that stands on the line after its name, in quotes or as
// a block of YAML.
func (p *writing) nextLine() bool {
	mark := p.at
	block := p.colon && (p.word("|") || p.word(">"))
	if block && !p.word("-") {
		p.word("+")
	}
	if b := p.peek(); b != '\r' && b != '\n' {
		p.at = mark
		return true
	}
	p.space()
	if b := p.peek(); block || b == '"' || b == '\'' {
		return true
	}
	p.at = mark
	return p.colon && p.defaulted()
}

// defaulted passes to the default of a parameter in CloudFormation.
func (p *writing) defaulted() bool {
	for range 4 {
		p.space()
		if p.word("Default: ") {
			return true
		}
		if !inName(p.peek()) {
			return false
		}
		i := bytes.IndexByte(p.ahead(), '\n')
		if i < 0 {
			return false
		}
		p.at += i
	}
	return false
}
