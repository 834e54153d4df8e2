package decode

import "bytes"

// Quoted-printable, RFC 2045 section 6.7: lines are at most 76 characters long,
// and one that was broken to be so ends with "=". What was broken for that is not
// much shorter.
const (
	mostQuoted  = 76
	leastQuoted = 60
	maxQuoted   = 998 // what a line of a mail may have, RFC 5322 section 2.1.1
)

// A joiner yields what was taken apart around data[i]. It returns where that ends, or
// 0 if it is nothing, and whether to go on.
type joiner func(d *Decoder, data []byte, i, low int, yield func(*Layer) bool) (end int, ok bool)

// mails yields text in quoted-printable: lines with "=" written as "=3D", and those
// that end with "=".
func (d *Decoder) mails(data []byte, yield func(*Layer) bool) bool {
	return d.each('=', mail, data, yield)
}

// mail decodes the line where the "=" at data[i] stands for itself, or breaks it.
func mail(d *Decoder, data []byte, i, low int, yield func(*Layer) bool) (end int, ok bool) {
	rest := data[i+1:]
	escaped := len(rest) > 1 && rest[0] == '3' && rest[1] == 'D'
	broken := softBreak(data, i) > 0 && (i == 0 || data[i-1] != '=') // that would be the padding of base64
	if !escaped && !broken {
		return 0, true
	}
	return d.quotedPrintable(data, i, low, yield)
}

// literals yields string literals that are put together, or go on in the next
// line.
func (d *Decoder) literals(data []byte, yield func(*Layer) bool) bool {
	return d.each('"', glue, data, yield) && d.each('\'', glue, data, yield) && d.each('`', glue, data, yield) &&
		d.each('\\', continued, data, yield)
}

// each tries join at each byte that is mark.
func (d *Decoder) each(mark byte, join joiner, data []byte, yield func(*Layer) bool) bool {
	done := 0
	for i := 0; ; i++ {
		n := bytes.IndexByte(data[i:], mark)
		if n < 0 {
			return true
		}
		i += n
		if i < done {
			continue
		}
		end, ok := join(d, data, i, done, yield)
		if !ok {
			return false
		}
		if end > i {
			done, i = end, end-1
		}
	}
}

// lineStart returns where the line of data[i] begins, at most limit bytes before
// and not before low.
func lineStart(data []byte, i, low, limit int) int {
	low = max(low, i-limit)
	return low + bytes.LastIndexByte(data[low:i], '\n') + 1
}

// quotedPrintable yields the line with data[i], and those that it goes on in. It
// returns where they end, or 0 if they are something else.
func (d *Decoder) quotedPrintable(data []byte, i, low int, yield func(*Layer) bool) (end int, ok bool) {
	start := lineStart(data, i, low, maxQuoted)
	d.begin()
	escapes := 0
	line := start // the beginning of the line that from is on
	from := start
	for from < len(data) {
		n := bytes.IndexAny(data[from:], "=\n")
		if n < 0 {
			d.literal(data, from, len(data))
			from = len(data)
			break
		}
		d.literal(data, from, from+n)
		from += n
		if data[from] == '\n' {
			break
		}
		if value, ok := hexByte(data, from+1); ok && data[from+1] < 'a' && data[from+2] < 'a' {
			d.note(len(d.text), from, 1, 3)
			d.text = append(d.text, value)
			from += 3
			escapes++
			continue
		}
		next := softBreak(data, from)
		if width := from + 1 - line; next == 0 || escapes == 0 && (width < leastQuoted || width > mostQuoted) {
			return 0, true
		}
		from, line = next, next
	}
	if !acceptable(d.text) {
		return 0, true
	}
	return from, d.emitText("quoted-printable", start, from, yield)
}

// softBreak returns where the line goes on that "=" at data[i] breaks, or 0.
func softBreak(data []byte, i int) int {
	rest := data[i+1:]
	switch {
	case len(rest) > 0 && rest[0] == '\n':
		return i + 2
	case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
		return i + 3
	}
	return 0
}

// continued yields a line that is broken, within a word, by the backslash at
// data[i], together with those that it goes on in.
func continued(d *Decoder, data []byte, i, low int, yield func(*Layer) bool) (end int, ok bool) {
	if softBreak(data, i) == 0 || i == low || !is(data[i-1], inBase64) {
		return 0, true
	}
	start := lineStart(data, i, low, before)
	d.begin()
	d.literal(data, start, i)
	parts := 1
	for {
		next := bytes.IndexByte(data[i:], '\n') + i + 1
		if next == len(data) || !is(data[next], inBase64) {
			break
		}
		parts++
		end = next
		for end < len(data) && data[end] != '\n' && end-next < after {
			end++
		}
		i = end - 1
		if i > next && data[i] == '\r' {
			i--
		}
		if data[i] != '\\' || end == len(data) {
			d.literal(data, next, end)
			break
		}
		d.literal(data, next, i)
	}
	if parts == 1 {
		return 0, true
	}
	return end, d.emitText("joined", start, end, yield)
}

// isOperator reports whether c joins strings in some language, or goes on with a
// line.
func isOperator(c byte) bool {
	return c == '+' || c == '.' || c == '&' || c == '\\' || c == '|' || c == '_'
}

// The most that is looked at of a literal, and of what is between two of them.
const (
	maxLiteral   = 4096
	maxFirst     = 512 // of the first one, which is read backwards
	maxOperators = 4
	maxGap       = 256
)

// glue yields the string literals that are joined, the first of them ending at
// data[i]. It returns where they end, or 0 if there are none.
func glue(d *Decoder, data []byte, closing, low int, yield func(*Layer) bool) (end int, ok bool) {
	next := opening(data, closing+1)
	if next < 0 {
		return 0, true
	}
	first := openingOf(data, closing, low)
	if first < 0 {
		return 0, true
	}
	start := lineStart(data, first, low, maxContext)
	d.begin()
	d.literal(data, start, closing)
	parts := 1
	for next >= 0 {
		end = closingOf(data, next)
		if end < 0 {
			break
		}
		d.literal(data, next+1, end)
		parts++
		closing = end
		next = opening(data, closing+1)
	}
	if parts == 1 {
		return 0, true
	}
	d.literal(data, closing, closing+1)
	return closing + 1, d.emitText("joined", start, closing+1, yield)
}

// openingOf returns where the literal on one line begins that ends at data[i].
func openingOf(data []byte, i, low int) int {
	for k := i - 1; k >= low && i-k < maxFirst && data[k] != '\n'; k-- {
		if data[k] == data[i] && (k == 0 || data[k-1] != '\\') {
			return k
		}
	}
	return -1
}

// closingOf returns where the literal on one line ends that begins at data[i].
func closingOf(data []byte, i int) int {
	for k := i + 1; k < len(data) && k-i < maxLiteral && data[k] != '\n'; k++ {
		switch data[k] {
		case data[i]:
			return k
		case '\\':
			k++
		}
	}
	return -1
}

// opening returns where the next literal begins after one that ends before
// data[i], if an operator or a line's end is all that is between them.
func opening(data []byte, i int) int {
	operators, breaks := 0, 0
	for k := i; k < len(data) && k-i < maxGap; k++ {
		switch c := data[k]; {
		case is(c, isQuote):
			if operators+breaks == 0 {
				return -1
			}
			return k
		case c == '\n':
			breaks++
		case is(c, isSpace) || c == '\r':
		case isOperator(c) && operators < maxOperators:
			operators++
		case k+1 < len(data) && is(data[k+1], isQuote) && isPrefix(c):
		default:
			return -1
		}
	}
	return -1
}

// isPrefix reports whether c may stand before a literal, as in Python's f"".
func isPrefix(c byte) bool { return bytes.IndexByte([]byte("fFrRbBuUL@$"), c) >= 0 }
