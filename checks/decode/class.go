package decode

import "unicode/utf8"

// Classes of bytes.
const (
	inBase64 = 1 << iota // either alphabet, without the padding
	inHex
	inWord  // letters, digits and the underscore
	isSpace // on a line
	isQuote
	endsToken // what no URL has in it
)

// classes holds the classes of each byte.
var classes = classify()

func classify() (table [256]byte) {
	for c := range table {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		digit := c >= '0' && c <= '9'
		set := func(class byte, ok bool) {
			if ok {
				table[c] |= class
			}
		}
		set(inBase64, letter || digit || c == '+' || c == '/' || c == '-' || c == '_')
		set(inHex, digit || c|0x20 >= 'a' && c|0x20 <= 'f')
		set(inWord, letter || digit || c == '_')
		set(isSpace, c == ' ' || c == '\t')
		set(isQuote, c == '"' || c == '\'' || c == '`')
		set(endsToken, c <= ' ' || c == '"' || c == '\'' || c == '`' || c == '<' || c == '>')
	}
	return table
}

// is reports whether a byte is of one of some classes.
func is(c, class byte) bool { return classes[c]&class != 0 }

// digit returns the value of a hexadecimal digit.
func digit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// hexByte returns the byte that two hexadecimal digits at data[i] stand for.
func hexByte(data []byte, i int) (value byte, ok bool) {
	if i+2 > len(data) || !is(data[i], inHex) || !is(data[i+1], inHex) {
		return 0, false
	}
	return digit(data[i])<<4 | digit(data[i+1]), true
}

// graphic reports whether c is an ASCII character that leaves ink.
func graphic(c byte) bool { return c > ' ' && c < 0x7f }

// textual reports whether c is an ASCII character that texts are made of.
func textual(c byte) bool { return c >= ' ' && c < 0x7f || c == '\n' || c == '\t' || c == '\r' }

// What a decoded text looks like.
const (
	noise  = iota
	prose  // UTF-8, mostly printable
	packed // something that Unpack reads, or UTF-16
)

// glance says what the first bytes of a decoded text look like. What random bytes
// look like is noise in all but one of a hundred thousand cases.
func glance(head []byte) int {
	bad, _ := unprintable(head)
	printableMagic := head[0] == 'B' || head[0] == '!'
	switch {
	case bad == 0 && !printableMagic:
		return prose
	case Known(Format(head)), evenly(head, 1), evenly(head, 0):
		return packed
	case bad == 0:
		return prose
	}
	return noise
}

// evenly reports whether every other byte, beginning at first, is NUL, and the
// others are ASCII: UTF-16.
func evenly(head []byte, first int) bool {
	for i, c := range head {
		if i%2 == first && c != 0 || i%2 != first && !textual(c) {
			return false
		}
	}
	return len(head) >= 8
}

// maxNoise is which part of a text may be unprintable: one of so many bytes.
const maxNoise = 20

// readable reports whether a decoded text is mostly printable.
func readable(text []byte) bool {
	bad, seen := unprintable(text)
	return bad*maxNoise <= seen
}

// unprintable counts the bytes that printable UTF-8 does not have, in the first
// part of a text. A character that the text's end cuts is none of them.
func unprintable(text []byte) (bad, seen int) {
	text = text[:min(len(text), 4<<10)]
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			if !textual(c) {
				bad++
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 && utf8.FullRune(text[i:]) {
			bad++
		}
		i += n
	}
	return bad, len(text)
}
