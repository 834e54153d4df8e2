package decode

import (
	"encoding/binary"
	"math/bits"
)

// The shortest runs that are decoded: of base64, and of hex, in characters.
const (
	leastBase64 = 16
	leastHex    = 32
	// leastLine is the length of a line from which on an encoding may go on in the
	// next one. Programs break lines at 60 to 76 characters, people at less.
	leastLine = 32
	// maxContext is how much of the line before an encoded value belongs to it.
	maxContext = 96
)

// Constants to look at eight bytes at a time.
const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
	// fromPlus, added to bytes below 0x80, sets the high bit of all from '+' on,
	// the least character of base64.
	fromPlus = (0x80 - '+') * ones
)

// runs yields what is encoded in base64 or hex. A run of 15 characters or more
// contains eight that begin at a multiple of eight. Only where these may be of the
// alphabet, and so many beside them that it may be long enough, it looks closer.
func (d *Decoder) runs(data []byte, yield func(*Layer) bool) bool {
	done := 0 // up to here all is dealt with
	last := uint64(0)
	for i := 0; i+8 <= len(data); i += 8 {
		w := notBelowPlus(data[i:])
		if w != highs {
			last = w
			continue
		}
		beside := bits.LeadingZeros64(^last & highs)
		if i+16 <= len(data) {
			beside += bits.TrailingZeros64(^notBelowPlus(data[i+8:])&highs) - 7
		} else {
			beside += 8 * (len(data) - i - 8)
		}
		last = w
		if beside < 8*(leastBase64-8) || i < done {
			continue
		}
		start, end := extent(data, i, done)
		if end-start >= leastBase64 {
			next, ok := d.run(data, start, end, done, yield)
			if !ok {
				return false
			}
			done = max(next, end)
			i, last = max(i, done&^7-8), highs // what follows may begin right here
		}
	}
	return true
}

// notBelowPlus returns the high bit of each of the first eight bytes that are
// ASCII and not below '+'.
func notBelowPlus(data []byte) uint64 {
	w := binary.LittleEndian.Uint64(data)
	return (w&^highs + fromPlus) & ^w & highs
}

// extent returns the run of base64 characters around data[i], from low on.
func extent(data []byte, i, low int) (start, end int) {
	end = i
	for end < len(data) && is(data[end], inBase64) {
		end++
	}
	if end < i+8 {
		return i, end // eight at a multiple of eight are none of a long run
	}
	start = i
	for start > low && is(data[start-1], inBase64) {
		start--
	}
	return start, end
}

// run yields what data[start:end] encodes, if anything. It returns where to go on.
func (d *Decoder) run(data []byte, start, end, low int, yield func(*Layer) bool) (next int, ok bool) {
	if start > 0 && data[start-1] == '\\' {
		start++ // the letter belongs to an escape such as \n
	}
	if data[start] == '0' && data[start+1]|0x20 == 'x' {
		start += 2
	}
	if next = d.hex(data, start, end, low); next > 0 {
		return next, d.emitRun("hex", data, start, next, low, 2, 1, yield)
	}
	if next = d.base64(data, start, end); next > 0 {
		return next, d.emitRun("base64", data, start, next, low, 4, 3, yield)
	}
	return end, true
}

// emitRun yields d.text, which data[start:end] encodes, with its context.
func (d *Decoder) emitRun(encoding string, data []byte, start, end, low, num, den int, yield func(*Layer) bool) bool {
	context := 0
	if glance(d.text[:min(len(d.text), 12)]) == prose {
		first := start
		for first > low && start-first < maxContext && data[first-1] != '\n' {
			first--
		}
		context = start - first
		d.text = append(d.text, data[first:start]...) // to have the room
		copy(d.text[context:], d.text[:len(d.text)-context])
		copy(d.text, data[first:start])
	}
	return d.emit(encoding, start-context, end, context, num, den, yield)
}

// gather collects the characters of one class from data[start:end] on, also from
// following lines that are as long, the last one shorter. It returns where they
// end.
func (d *Decoder) gather(data []byte, start, end int, class byte) int {
	d.begin()
	d.note(0, start, 1, 1)
	d.chars = append(d.chars, data[start:end]...)
	width := end - start
	for {
		slash := class == inBase64 && end+1 < len(data) && data[end] == '\\' && data[end+1] == '/'
		from := end + 1 // JSON may write / as \/
		if !slash {
			from = nextLine(data, end)
			if from < 0 || width < leastLine {
				return end
			}
		}
		to := from
		for to < len(data) && is(data[to], class) && (slash || to-from <= width) {
			to++
		}
		if from == to || !slash && to-from > width {
			return end
		}
		d.note(len(d.chars), from, 1, 1)
		d.chars = append(d.chars, data[from:to]...)
		end = to
		if !slash && to-from < width {
			return end
		}
		if slash {
			width += to - from
		}
	}
}

// nextLine returns where the text of the next line begins, if data[i] ends one: in
// the file, or in a string where it is written \n. Otherwise it is negative.
func nextLine(data []byte, i int) int {
	rest := data[i:]
	switch {
	case len(rest) > 1 && rest[0] == '\n':
		i++
	case len(rest) > 2 && rest[0] == '\r' && rest[1] == '\n':
		i += 2
	case len(rest) > 4 && string(rest[:4]) == `\r\n`:
		return i + 4
	case len(rest) > 2 && string(rest[:2]) == `\n`:
		return i + 2
	default:
		return -1
	}
	for i < len(data) && is(data[i], isSpace) {
		i++
	}
	return i
}

// hex decodes the hexadecimal digits at data[start:end] into d.text. It returns
// where they end, or 0 if they are no text.
func (d *Decoder) hex(data []byte, start, end, low int) int {
	if end-start < leastHex {
		return 0
	}
	for i := start; i < end; i++ {
		if !is(data[i], inHex) {
			return 0
		}
	}
	var head [8]byte
	for i := range head {
		head[i], _ = hexByte(data, start+2*i)
	}
	if glance(head[:]) == noise {
		return 0
	}
	return d.lines(data, start, end, inHex, glance(head[:]) == prose)
}

// lines decodes data[start:end], and what of it is in the next lines, into d.text. It
// returns where that ends, or 0 if it is no text although it has to be.
func (d *Decoder) lines(data []byte, start, end int, class byte, prose bool) int {
	last := d.gather(data, start, end, class)
	d.decode(class)
	if !prose || readable(d.text) {
		return last
	}
	// A word that the next line begins with looks like the rest of it.
	d.begin()
	d.note(0, start, 1, 1)
	d.chars = append(d.chars, data[start:end]...)
	d.decode(class)
	if last == end || !readable(d.text) {
		return 0
	}
	return end
}

// decode appends to d.text what d.chars stand for.
func (d *Decoder) decode(class byte) {
	if class == inBase64 {
		d.text = appendBase64(d.text, d.chars)
		return
	}
	for i := 0; i+2 <= len(d.chars); i += 2 {
		d.text = append(d.text, digit(d.chars[i])<<4|digit(d.chars[i+1]))
	}
}

// sextets holds the values of base64's characters.
var sextets = base64Values()

func base64Values() (table [256]byte) {
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		table[c] = byte(i)
	}
	table['-'], table['_'] = table['+'], table['/'] // RFC 4648 §5
	return table
}

// base64 decodes the characters at data[start:end] into d.text. It returns where
// they end, with their padding, or 0 if they are no text.
func (d *Decoder) base64(data []byte, start, end int) int {
	if end-start < leastBase64 {
		return 0
	}
	n := sextet4(data[start:])
	if !promising(byte(n>>16), byte(n>>8), byte(n)) {
		return 0 // names of things end here
	}
	var space [12]byte
	head := appendBase64(space[:0], data[start:start+16])
	kind := glance(head)
	if kind == noise {
		return 0
	}
	if end = d.lines(data, start, end, inBase64, kind == prose); end == 0 {
		return 0
	}
	for n := 0; n < 2 && end < len(data) && data[end] == '='; n++ {
		end++
	}
	return end
}

// sextet4 returns the 24 bits that four characters stand for.
func sextet4(c []byte) uint {
	_ = c[3]
	return uint(sextets[c[0]])<<18 | uint(sextets[c[1]])<<12 | uint(sextets[c[2]])<<6 | uint(sextets[c[3]])
}

// promising reports whether glance may think well of what begins with three bytes.
func promising(a, b, c byte) bool {
	switch {
	case textual(a):
		return textual(b) && (textual(c) || c >= 0xc2 || c == 0 || a == 'P') || b >= 0xc2 || b == 0 || a == 'x' || a == '('
	case a >= 0x80:
		return a >= 0xc2 && b >= 0x80 && b < 0xc0 || a == 0xfd
	}
	return a == 0 || a == 0x1f
}

// appendBase64 appends the bytes that chars stand for.
func appendBase64(text, chars []byte) []byte {
	for len(chars) >= 4 {
		n := sextet4(chars)
		text = append(text, byte(n>>16), byte(n>>8), byte(n))
		chars = chars[4:]
	}
	if len(chars) >= 2 {
		text = append(text, sextets[chars[0]]<<2|sextets[chars[1]]>>4)
	}
	if len(chars) == 3 {
		text = append(text, sextets[chars[1]]<<4|sextets[chars[2]]>>2)
	}
	return text
}
