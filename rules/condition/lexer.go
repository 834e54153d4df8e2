package condition

import (
	"fmt"
	"strconv"
	"strings"
)

// Kinds of token.
const (
	tokenEnd = iota
	tokenName
	tokenText
	tokenNumber
	tokenSign
)

// A lexer splits a condition into tokens; the current one is in kind and text.
type lexer struct {
	source string
	next   int // where to go on

	start int // the token's offset
	kind  int
	text  string // its name, sign, digits, or the value of a literal
}

// signs are those of two characters, which come first.
var signs = []string{"&&", "||", "==", "!=", "<=", ">=", "??", "?.", "(", ")", "[", "]", ",", ".", "!", "<", ">", "+", "-", "?", "=", ";", ":"}

// advance reads the next token.
func (l *lexer) advance() {
	l.blanks()
	l.start = l.next
	rest := l.source[l.next:]
	if rest == "" {
		l.kind, l.text = tokenEnd, "the end"
		return
	}
	raw := rest[0] == 'r' || rest[0] == 'R'
	switch {
	case raw && len(rest) > 1 && strings.IndexByte("\"'`", rest[1]) >= 0:
		l.next++
		l.literal(rest[1:], true)
	case strings.IndexByte("\"'`", rest[0]) >= 0:
		l.literal(rest, rest[0] == '`')
	case isDigit(rest[0]):
		l.take(tokenNumber, span(rest, func(c byte) bool { return isDigit(c) || c == '.' }))
	case isLetter(rest[0]):
		l.take(tokenName, span(rest, func(c byte) bool { return isLetter(c) || isDigit(c) }))
	default:
		l.sign(rest)
	}
}

func (l *lexer) take(kind, n int) {
	l.kind, l.text = kind, l.source[l.next:l.next+n]
	l.next += n
}

func (l *lexer) sign(rest string) {
	for _, s := range signs {
		if strings.HasPrefix(rest, s) {
			l.take(tokenSign, len(s))
			return
		}
	}
	l.fail("%q means nothing here", rest[:1])
}

// blanks passes over what separates tokens, and comments.
func (l *lexer) blanks() {
	for l.next < len(l.source) {
		rest := l.source[l.next:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			l.next++
		case strings.HasPrefix(rest, "//"):
			l.next += span(rest, func(c byte) bool { return c != '\n' })
		default:
			return
		}
	}
}

// literal reads the text that rest begins with.
func (l *lexer) literal(rest string, raw bool) {
	quote := rest[:1]
	if long := strings.Repeat(quote, 3); strings.HasPrefix(rest, long) && quote != "`" {
		quote = long
	}
	n := len(quote)
	for !strings.HasPrefix(rest[n:], quote) {
		if !raw && rest[n:] != "" && rest[n] == '\\' {
			n++
		}
		if n++; n >= len(rest) {
			l.fail("the text that begins here does not end")
		}
	}
	body := rest[len(quote):n]
	l.next += n + len(quote)
	l.kind, l.text = tokenText, body
	if raw {
		return
	}
	value, err := unescape(body)
	if err != nil {
		l.fail("%v", err)
	}
	l.text = value
}

// unescape resolves the escapes of a text.
func unescape(body string) (string, error) {
	var b strings.Builder
	for body != "" {
		if body[0] != '\\' {
			n := span(body, func(c byte) bool { return c != '\\' })
			b.WriteString(body[:n])
			body = body[n:]
			continue
		}
		if len(body) > 1 && strings.IndexByte("\"'`?", body[1]) >= 0 {
			b.WriteByte(body[1])
			body = body[2:]
			continue
		}
		r, multibyte, tail, err := strconv.UnquoteChar(body, 0)
		if err != nil {
			return "", fmt.Errorf("%.2q is no escape: write \\\\ for a backslash, or r before the text", body)
		}
		if multibyte {
			b.WriteRune(r)
		} else {
			b.WriteByte(byte(r))
		}
		body = tail
	}
	return b.String(), nil
}

func (l *lexer) fail(format string, args ...any) {
	panic(&SyntaxError{l.start, fmt.Sprintf(format, args...)})
}

// span returns how many bytes s begins with for which is holds.
func span(s string, is func(byte) bool) int {
	n := 0
	for n < len(s) && is(s[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
