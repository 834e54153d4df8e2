package checks

import "bytes"

// A form is how a text writes that a value belongs to a name. It decides what the
// value may be made of and how sure it must be that it is one.
type form int

const (
	quoted form = iota + 1 // in quotes of some kind
	line                   // bare, the rest of a line of configuration
	inline                 // bare, among other text: arguments, logs, connection strings
)

// maxLiteral is how long a password or key is that has no shape of its own.
const maxLiteral = 256

// literal returns the value that is written for the name in which data[start:end]
// stands, exactly as far as its quotes or its surroundings say, for secrets that may
// be made of any characters.
func literal(data []byte, start, end int) (a assigned, how form, ok bool) {
	if end < len(data) && !maySign(data, end) {
		return a, 0, false
	}
	a.name = identifier(data, start, end)
	p := writing{reader: reader{data, a.name.end}, name: a.name}
	if p.limit = min(len(data), a.name.end+maxLiteral+maxName); !p.sign() {
		return a, 0, false
	}
	a.value, how = p.literal()
	return a, how, how != 0 && a.value.end > a.value.start
}

// maySign reports whether what follows a keyword can be the rest of its name or
// what comes between a name and its value. Most of what is met in prose ends here.
func maySign(data []byte, at int) bool {
	for range maxName {
		switch {
		case at >= len(data):
			return false
		case !inName(data[at]):
			return bytes.IndexByte([]byte("\"'`\\=: \t])>(,[?!|&%\r\n"), data[at]) >= 0
		}
		at++
	}
	return false
}

// A writing is a name and what follows it.
type writing struct {
	reader
	name     window
	limit    int
	keyed    bool // the name stands in quotes
	spaced   bool // blanks stand before the sign
	must     bool // only a value in quotes will do
	fallback bool // the value stands behind the name in ${NAME:-value}
	element  bool // <name>value</name>
	colon    bool
	flag     bool // the value follows a blank
}

// before returns the byte before the name, or 0 at the start of the text.
func (p *writing) before() byte {
	if p.name.start == 0 {
		return 0
	}
	return p.data[p.name.start-1]
}

// sign passes what stands between a name and its value.
func (p *writing) sign() bool {
	p.keyed = p.closers()
	p.spaced = p.blanks()
	switch b := p.peek(); b {
	case '=':
		return p.equals()
	case ':':
		return p.colons()
	case '?', '|':
		if p.word("?=") { // make
			return true
		}
		p.must = true
		return p.word("?? ") || p.word("|| ") || p.word("||= ") || p.word("??= ")
	case ',':
		if !p.keyed {
			return false
		}
		if p.member() {
			return true
		}
		p.at++
		p.must = true
		return true
	case '(':
		p.at++
		p.must = true
		return !p.spaced && !p.keyed && p.setter()
	case '[', '{':
		p.must = true
		return p.array() || p.property() || p.variable()
	case '>':
		p.at++
		p.element = true
		return !p.spaced && (p.before() == '<' || p.keyed) && p.peek() != '='
	case '%':
		return p.word("%3D") || p.word("%3d") || p.word("%3A") || p.word("%3a")
	}
	return p.loose()
}

// equals passes = and =>, and no comparison.
func (p *writing) equals() bool {
	p.at++
	switch p.peek() {
	case '=', '~':
		return false
	case '>':
		p.at++
	}
	return true
}

// colons passes : and :=, a type and its =, and the - of ${NAME:-value}.
func (p *writing) colons() bool {
	p.colon = true
	p.at++
	switch p.peek() {
	case ':':
		return false
	case '=':
		p.at++
		p.colon = false
		return true
	case '-', '=' | 0x80:
		if p.before() == '{' {
			p.at++
			p.fallback = true
			return true
		}
	}
	if b := p.before(); b == '{' && p.name.start > 1 && p.data[p.name.start-2] == '$' {
		p.fallback = true
		return true
	}
	mark := p.at
	p.blanks()
	if p.word("&'static str = ") || p.typed() {
		p.must = true
		return true
	}
	p.at = mark
	return true
}

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

// hasPrefixFold reports whether name begins with a prefix in any letter case.
func hasPrefixFold(name []byte, prefix string) bool {
	return len(name) > len(prefix) && bytes.EqualFold(name[:len(prefix)], []byte(prefix))
}

// loose passes what only blanks separate from its name: values beside a name, typed
// declarations, flags, instructions such as ENV, and sentences.
func (p *writing) loose() bool {
	switch {
	case p.keyed || !p.spaced:
		return p.member()
	case p.word("is ") || p.word("was ") || p.word("or "):
		p.blanks()
		b := p.peek()
		p.must = b == '"' || b == '\'' || b == '`'
		p.flag = true
		return true
	case p.typed():
		p.must = true
		return true
	case p.bare(p.data, p.name.end):
		p.flag = true
		return true
	case p.member():
		return true
	case p.peek() == '\'' && bytes.EqualFold(p.data[p.name.start:p.name.end], []byte("password")): // SQL
		p.must = true
		return true
	}
	return p.netrc()
}

// netrc reports whether the name is the word of a line as .netrc has it.
func (p *writing) netrc() bool {
	if string(p.data[p.name.start:p.name.end]) != "password" {
		return false
	}
	before := p.data[max(0, p.name.start-maxName*2):p.name.start]
	if i := bytes.LastIndex(before, []byte("login ")); i >= 0 {
		p.flag = bytes.Count(before[i:], []byte{'\n'}) <= 1
	}
	return p.flag
}

// wrappers are what stands around a literal that is a value still.
var wrappers = []string{"[]byte(", "String::from(", "Some(", "std::string(", "new String(", "new SecretString(", "SecretString(", "SecretStr(", "Buffer.from(", "!!str ", "strdup(", "StringValue(", "pulumi.String(", "to_string(", "ConvertTo-SecureString -String ", "ConvertTo-SecureString "}

// literal returns the value that is next, and how it is written.
func (p *writing) literal() (window, form) {
	if p.fallback {
		return p.until("}\"'` \t\r\n"), inline
	}
	if p.element {
		return p.xml()
	}
	p.blanks()
	if b := p.peek(); b == '\r' || b == '\n' {
		mark := p.at
		p.space()
		if b := p.peek(); b != '"' && b != '\'' {
			p.at = mark
			return window{}, 0
		}
	}
	for _, w := range wrappers {
		if p.word(w) {
			break
		}
	}
	if b := p.peek(); (b|0x20 == 'b' || b|0x20 == 'r' || b|0x20 == 'u' || b == '@' || b == 'L' || b == 'N') && p.at+1 < len(p.data) && (p.data[p.at+1] == '"' || p.data[p.at+1] == '\'') {
		p.at++ // b"…" and its like
	}
	if delimiter := p.opening(); delimiter != "" {
		return p.within(delimiter)
	}
	if p.must {
		return window{}, 0
	}
	return p.naked()
}

// opening passes the quote that a value begins with.
func (p *writing) opening() string {
	for _, q := range []string{`"`, `'`, "`", `\"`, `\'`, `\\\"`, "&quot;", "&#34;", "%22"} {
		if p.word(q) {
			if (q == `"` || q == `'`) && p.word(q+q) {
				return q + q + q
			}
			return q
		}
	}
	return ""
}

// within returns the value up to the quote that closes it, unless it is only a piece
// of one.
func (p *writing) within(quote string) (window, form) {
	from := p.at
	if len(quote) == 3 && quote[0] != '%' {
		p.space()
		from = p.at
	}
	limit := min(p.limit, from+maxLiteral)
	for ; p.at < limit; p.at++ {
		b := p.data[p.at]
		if b == quote[0] && p.word(quote) {
			w := window{from, p.at - len(quote)}
			if p.goesOn() {
				return w, 0
			}
			return w, quoted
		}
		switch {
		case b == '\n' || b == '\r':
			return window{}, 0
		case b == '\\' && len(quote) == 1:
			p.at++
		}
	}
	return window{}, 0
}

// goesOn reports whether a literal is only the beginning of a value that is put
// together, or the name of something.
func (p *writing) goesOn() bool {
	p.blanks()
	switch b := p.peek(); b {
	case '+', '%':
		return true
	case '.':
		return p.word(".format(") || p.word(". ") || p.word(".concat(") || p.word(".join(")
	case ':':
		return p.word(": ") && !p.colon
	}
	return false
}

// until returns the value up to one of the bytes that end it.
func (p *writing) until(ends string) window {
	from := p.at
	for limit := min(p.limit, from+maxLiteral); p.at < limit; p.at++ {
		if b := p.data[p.at]; bytes.IndexByte([]byte(ends), b) >= 0 {
			return window{from, p.at}
		}
	}
	if p.at < len(p.data) {
		return window{} // what has no end within sight is no password
	}
	return window{from, p.at}
}

// xml returns the text of an element.
func (p *writing) xml() (window, form) {
	p.space()
	w := p.until("<\r\n")
	if p.space(); p.peek() != '<' || !p.word("</") {
		return window{}, 0
	}
	for w.end > w.start && (p.data[w.end-1] == ' ' || p.data[w.end-1] == '\t') {
		w.end--
	}
	return w, quoted
}

// naked returns a value without quotes.
func (p *writing) naked() (window, form) {
	if b := p.before(); b == '?' || b == '&' {
		if bytes.HasSuffix(p.data[:p.name.start-1], []byte(".svg")) { // a badge's token opens the badge
			return window{}, 0
		}
		return p.until("&\"'`<>#\\);,|{}[] \t\r\n"), inline
	}
	mark := p.at
	if w, ok := p.rest(); ok {
		return w, line
	}
	p.at = mark
	if p.colon && !p.blankBehind() || p.spaced && !p.flag {
		return window{}, 0
	}
	w := p.until("\"'`<>;,(){}[]|\\& \t\r\n")
	if b := p.peek(); b == '(' || b == '[' || b == '{' || b == '\\' && !p.word(`\n`) {
		return window{}, 0
	}
	return w, inline
}

// blankBehind reports whether a blank stands before the value.
func (p *writing) blankBehind() bool {
	return p.at > 0 && (p.data[p.at-1] == ' ' || p.data[p.at-1] == '\t')
}

// rest returns the value that takes the rest of a line of configuration, but for a
// comment.
func (p *writing) rest() (w window, ok bool) {
	if !p.lineStarts() || p.colon && !p.blankBehind() && !p.properties() {
		return w, false
	}
	w = p.until("\"`, \t\r\n")
	if i := bytes.IndexByte(p.data[w.start:w.end], '&'); i > 0 && bytes.IndexByte(p.data[w.start+i:w.end], '=') > 1 {
		w.end = w.start + i // the next field of a form
		return w, !p.spaced
	}
	shell := !p.spaced && !p.colon && !p.flag
	if shell && w.end > w.start && p.data[w.end-1] == ';' {
		w.end--
		return w, true
	}
	if w.end > w.start && p.data[w.end-1] == ';' {
		return w, false
	}
	p.blanks()
	switch b := p.peek(); b {
	case 0, '\n', '\r', '#':
		return w, p.peek() != 0 || p.at >= len(p.data)
	case ';', '/', '\\', '&', '|':
		return w, p.at > w.end
	}
	return w, shell && p.at > w.end && p.upper()
}

// properties reports whether no blank is needed behind the colon, as in .properties.
func (p *writing) properties() bool {
	return bytes.IndexByte(p.data[p.name.start:p.name.end], '.') >= 0
}

// upper reports whether the name is that of an environment variable, which may be
// set for one command: NAME=value command.
func (p *writing) upper() bool {
	for _, b := range p.data[p.name.start:p.name.end] {
		if b >= 'a' && b <= 'z' {
			return false
		}
	}
	return true
}

// lineStarts reports whether only what belongs to a declaration stands before the
// name on its line.
func (p *writing) lineStarts() bool {
	from := p.name.start
	for from > 0 && p.name.start-from < maxName && p.data[from-1] != '\n' {
		from--
	}
	before := bytes.TrimSpace(p.data[from:p.name.start])
	for len(before) > 0 {
		rest := before
		for _, word := range []string{"export", "set", "ENV", "ARG", "-", "#", "//", "+", "readonly", "declare", "-x", "-e", "environment", "*", "env", "$", "local", "'", `"`, "$env:", ";"} {
			rest = bytes.TrimPrefix(rest, []byte(word))
		}
		if rest = bytes.TrimSpace(rest); len(rest) == len(before) {
			return false
		}
		before = rest
	}
	return true
}
