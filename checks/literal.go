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
			return bytes.IndexByte([]byte("\"'`\\=: \t])>(,[?!|&%<{\r\n"), data[at]) >= 0
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

// ahead returns what is left up to the limit, which blanks may have led across.
func (p *writing) ahead() []byte { return p.data[p.at:max(p.at, p.limit)] }

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
			return p.pair()
		}
		if b := p.before(); b != '"' && b != '\'' && b != '\\' { // only the end of what stands in the quotes
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
		return p.array() || p.property() || p.variable() || p.initializer()
	case '>':
		p.at++
		p.element = true
		return !p.spaced && (p.before() == '<' || p.keyed) && p.peek() != '=' && p.inner()
	case '<':
		return p.word("<- ") || p.sibling()
	case ')', '.':
		p.must = true
		return p.keyed && p.filled()
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
	if string(p.data[p.name.start:p.name.end]) == "PASS" && !p.keyed { // how tests went
		return false
	}
	p.colon = true
	p.must = p.data[p.at-1] == '?' // TypeScript: what follows is a type
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

// hasPrefixFold reports whether name begins with a prefix in any letter case.
func hasPrefixFold(name []byte, prefix string) bool {
	return len(name) > len(prefix) && bytes.EqualFold(name[:len(prefix)], []byte(prefix))
}

// loose passes what only blanks separate from its name: values beside a name, typed
// declarations, flags, instructions such as ENV, and sentences.
func (p *writing) loose() bool {
	switch {
	case p.keyed || !p.spaced:
		return p.member() || p.keyed && p.described()
	case p.word("is ") || p.word("was ") || p.word("or "):
		p.blanks()
		b := p.peek()
		p.must = b == '"' || b == '\'' || b == '`'
		p.flag = true
		return true
	case p.typed() || p.word("As String = "):
		p.must = true
		return true
	case p.bare(p.data, p.name.end) || p.option():
		p.flag = true
		return true
	case p.member() || p.described():
		return true
	case p.attributes():
		return true
	case p.directive():
		p.flag = true
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
var wrappers = []string{"[]byte(", "String::from(", "Some(", "std::string(", "new String(", "new SecretString(", "SecretString(", "SecretStr(", "Buffer.from(", "!!str ", "strdup(", "StringValue(", "pulumi.String(", "to_string(", "ConvertTo-SecureString -String ", "ConvertTo-SecureString ", "QStringLiteral(", "QString(", "TEXT(", "_T(", "String("}

// literal returns the value that is next, and how it is written.
func (p *writing) literal() (window, form) {
	if p.fallback {
		return p.until("}\"'` \t\r\n"), inline
	}
	if p.element {
		return p.xml()
	}
	p.blanks()
	if !p.nextLine() {
		return window{}, 0
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
	end := "</"
	if p.word("<![CDATA[") {
		end = "]]>"
	}
	w := p.until("<]\r\n")
	if p.space(); !p.word(end) {
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
