package decode

import (
	"bytes"
	"unicode/utf8"
)

// How far a stretch with escapes goes: so many bytes before the first, as many
// after the last, and not beyond its line.
const (
	before = 256
	after  = 1024
)

// An escaping is a way to write characters that begins with a mark.
type escaping struct {
	encoding string
	mark     byte
	ends     byte // the classes of bytes that a stretch does not have
	// telling reports whether what begins at data[i] hides something. Text is full
	// of escapes that do not, such as those of control characters.
	telling func(data []byte, i, low int) bool
	// decode appends what begins at data[i] stands for, and returns its length, or
	// 0 if it is no escape.
	decode func(text, data []byte, i int) ([]byte, int)
}

var (
	backslash = escaping{"escape", '\\', 0, tellingBackslash, decodeBackslash}
	percent   = escaping{"percent", '%', endsToken, tellingPercent, decodePercent}
	ampersand = escaping{"entity", '&', 0, tellingEntity, decodeEntity}
)

// escapes yields the stretches that have telling escapes of a kind.
func (d *Decoder) escapes(e *escaping, data []byte, yield func(*Layer) bool) bool {
	done := 0
	for i := 0; ; {
		n := bytes.IndexByte(data[i:], e.mark)
		if n < 0 {
			return true
		}
		i += n
		if !e.telling(data, i, done) {
			i++
			continue
		}
		start, end := e.stretch(data, i, done)
		d.unescape(e, data, start, end)
		if acceptable(d.text) && !d.emitText(e.encoding, start, end, yield) {
			return false
		}
		i, done = end, end
	}
}

// acceptable reports whether a text may stand between bytes of another kind.
func acceptable(text []byte) bool {
	bad, seen := unprintable(text)
	return bad*3 <= seen
}

// stretch returns what is decoded around the escape at data[i].
func (e *escaping) stretch(data []byte, i, low int) (start, end int) {
	inside := func(c byte) bool { return c != '\n' && !is(c, e.ends) }
	start = i
	for start > low && i-start < before && inside(data[start-1]) {
		start--
	}
	last := i
	for end = i; end < len(data) && end-last < after && inside(data[end]); end++ {
		if data[end] == e.mark {
			last = end
		}
	}
	return start, end
}

// unescape decodes data[start:end] into d.text.
func (d *Decoder) unescape(e *escaping, data []byte, start, end int) {
	d.begin()
	from := start
	for i := start; i < end; {
		n := bytes.IndexByte(data[i:end], e.mark)
		if n < 0 {
			break
		}
		i += n
		length := len(d.text)
		d.literal(data, from, i)
		from = i
		at := len(d.text)
		text, size := e.decode(d.text, data[:end], i)
		if size == 0 {
			d.text = d.text[:length] // the mark belongs to what follows
			from -= at - length
			i++
			continue
		}
		d.text = text
		d.note(at, i, len(text)-at, size)
		i += size
		from = i
	}
	d.literal(data, from, end)
}

// tellingBackslash also takes line breaks before a word, which would hide where it
// begins, and the slashes that JSON may escape, in strings only.
func tellingBackslash(data []byte, i, low int) bool {
	rest := data[i+1:]
	if len(rest) < 2 {
		return false
	}
	switch rest[0] {
	case 'n', 'r', 't':
		return is(rest[1], inWord) && quoted(data, i, low)
	case '/':
		return quoted(data, i, low)
	case '\\':
		return len(rest) > 2 && rest[1] == '\\' && rest[2] == '"'
	case 'x', 'u', 'U', '0', '1':
		var space [utf8.UTFMax]byte
		text, n := decodeBackslash(space[:0], data, i)
		return n > 0 && len(text) == 1 && graphic(text[0])
	}
	return false
}

// quoted reports whether a quotation mark stands before data[i] on its line.
func quoted(data []byte, i, low int) bool {
	for k := i - 1; k >= low && i-k < before && data[k] != '\n'; k-- {
		if is(data[k], isQuote) {
			return true
		}
	}
	return false
}

// decodeBackslash decodes the escapes of C, Go, JavaScript, JSON, Python and Rust.
func decodeBackslash(text, data []byte, i int) ([]byte, int) {
	rest := data[i+1:]
	if len(rest) == 0 {
		return text, 0
	}
	switch c := rest[0]; c {
	case 'n':
		return append(text, '\n'), 2
	case 'r':
		return append(text, '\r'), 2
	case 't':
		return append(text, '\t'), 2
	case '\\', '/', '"', '\'', '`':
		return append(text, c), 2
	case 'x':
		if value, ok := hexByte(rest, 1); ok {
			return append(text, value), 4
		}
	case 'u':
		if len(rest) > 1 && rest[1] == '{' {
			return decodeBraced(text, rest)
		}
		return decodeRune(text, rest, 4)
	case 'U':
		return decodeRune(text, rest, 8)
	case '0', '1', '2', '3':
		if len(rest) > 2 && rest[1]&^7 == '0' && rest[2]&^7 == '0' {
			return append(text, (c-'0')<<6|(rest[1]&7)<<3|rest[2]&7), 4
		}
	}
	return text, 0
}

// decodeRune decodes \uXXXX and \UXXXXXXXX; the digits begin at rest[1].
func decodeRune(text, rest []byte, digits int) ([]byte, int) {
	if len(rest) <= digits {
		return text, 0
	}
	r := rune(0)
	for _, c := range rest[1 : 1+digits] {
		if !is(c, inHex) || r > utf8.MaxRune {
			return text, 0
		}
		r = r<<4 | rune(digit(c))
	}
	return utf8.AppendRune(text, r), 2 + digits
}

// decodeBraced decodes \u{X…}.
func decodeBraced(text, rest []byte) ([]byte, int) {
	const most = 6 // digits
	r := rune(0)
	for i := 2; i < len(rest) && i <= 2+most; i++ {
		switch c := rest[i]; {
		case c == '}' && i > 2:
			return utf8.AppendRune(text, r), i + 2
		case !is(c, inHex):
			return text, 0
		default:
			r = r<<4 | rune(digit(c))
		}
	}
	return text, 0
}

// tellingPercent takes what a URL has in a credential's place. printf's verbs look
// the same: "%2d" and "%3c" are not enough by themselves, and blanks are nothing.
func tellingPercent(data []byte, i, _ int) bool {
	value, ok := hexByte(data, i+1)
	if !ok || !graphic(value) {
		return false
	}
	if last := data[i+2]; last < 'a' {
		return true
	}
	more := data[i+3 : min(len(data), i+after)]
	for k, c := range more {
		if is(c, endsToken) {
			return false
		}
		if c == '%' {
			v, ok := hexByte(more, k+1)
			return ok && graphic(v)
		}
	}
	return false
}

func decodePercent(text, data []byte, i int) ([]byte, int) {
	value, ok := hexByte(data, i+1)
	if !ok {
		return text, 0
	}
	return append(text, value), 3
}

func tellingEntity(data []byte, i, _ int) bool {
	var space [utf8.UTFMax]byte
	text, n := decodeEntity(space[:0], data, i)
	return n > 0 && graphic(text[0])
}

// maxEntity is the length of the longest character reference that is decoded.
const maxEntity = 10

// decodeEntity decodes the character references of HTML and XML.
func decodeEntity(text, data []byte, i int) ([]byte, int) {
	name := data[i+1 : min(len(data), i+1+maxEntity)]
	end := bytes.IndexByte(name, ';')
	if end < 2 {
		return text, 0
	}
	name = name[:end]
	if name[0] == '#' {
		if r := numbered(name[1:]); r > 0 {
			return utf8.AppendRune(text, r), end + 2
		}
		return text, 0
	}
	if c := named(name); c != 0 {
		return append(text, c), end + 2
	}
	return text, 0
}

// numbered returns the character of a numeric reference, or 0.
func numbered(digits []byte) rune {
	base := rune(10)
	if digits[0]|0x20 == 'x' {
		base, digits = 16, digits[1:]
	}
	r := rune(0)
	for _, c := range digits {
		if !is(c, inHex) || rune(digit(c)) >= base {
			return 0
		}
		r = r*base + rune(digit(c))
	}
	if !utf8.ValidRune(r) {
		return 0
	}
	return r
}

// named returns the ASCII character that HTML gives a name, or 0.
// https://html.spec.whatwg.org/multipage/named-characters.html
func named(name []byte) byte {
	switch string(name) {
	case "amp", "AMP":
		return '&'
	case "lt", "LT":
		return '<'
	case "gt", "GT":
		return '>'
	case "quot", "QUOT":
		return '"'
	case "apos":
		return '\''
	case "colon":
		return ':'
	case "equals":
		return '='
	case "sol":
		return '/'
	case "bsol":
		return '\\'
	case "commat":
		return '@'
	case "lowbar":
		return '_'
	case "plus":
		return '+'
	case "num":
		return '#'
	case "dollar":
		return '$'
	case "percnt":
		return '%'
	case "period":
		return '.'
	case "comma":
		return ','
	case "semi":
		return ';'
	case "excl":
		return '!'
	case "quest":
		return '?'
	case "ast":
		return '*'
	case "lpar":
		return '('
	case "rpar":
		return ')'
	case "lcub":
		return '{'
	case "rcub":
		return '}'
	case "nbsp", "Tab":
		return ' '
	case "NewLine":
		return '\n'
	}
	return 0
}
