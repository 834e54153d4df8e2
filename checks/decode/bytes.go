package decode

import (
	"bytes"
)

// leastList is how many bytes a list of them has at least, and leastWide how many
// characters a text in UTF-16.
const (
	leastList = 16
	leastWide = 8
)

// byteLists yields the texts that are written as lists of bytes, 0x41, 0x42.
func (d *Decoder) byteLists(data []byte, yield func(*Layer) bool) bool {
	for i := 0; ; i++ {
		n := bytes.IndexByte(data[i:], '0')
		if n < 0 {
			return true
		}
		if i += n; !isElement(data, i) {
			continue
		}
		start, end := d.list(data, i)
		if len(d.text) >= leastList && acceptable(d.text) && !d.emitText("hex", start, end, yield) {
			return false
		}
		i = end - 1
	}
}

// list decodes the list of bytes that begins at data[i] into d.text. It returns where
// that stands.
func (d *Decoder) list(data []byte, i int) (start, end int) {
	d.begin()
	start, end = i, i
	for isElement(data, i) {
		value, size := digit(data[i+2]), 3
		if i+3 < len(data) && is(data[i+3], inHex) {
			value, size = value<<4|digit(data[i+3]), 4
		}
		d.note(len(d.text), i, 1, size)
		d.text = append(d.text, value)
		i += size
		end = i
		if i < len(data) && is(data[i], inHex) {
			break // no byte
		}
		for i < len(data) && (is(data[i], isSpace) || data[i] == ',' || data[i] == '\n' || data[i] == '\r') {
			i++
		}
	}
	return start, end
}

// isElement reports whether a hexadecimal number begins at data[i].
func isElement(data []byte, i int) bool {
	return i+2 < len(data) && data[i] == '0' && data[i+1]|0x20 == 'x' && is(data[i+2], inHex)
}

// wide yields the texts in UTF-16 that stand between other bytes, as in programs,
// or have lost their byte order mark.
func (d *Decoder) wide(data []byte, yield func(*Layer) bool) bool {
	for i := 0; ; {
		n := bytes.IndexByte(data[i:], 0)
		if n < 0 {
			return true
		}
		i += n
		start := i - 1 // little-endian: the character comes first
		if start < 0 || !textual(data[start]) {
			start = i
		}
		end := wideEnd(data, start)
		if end-start >= 2*leastWide {
			d.begin()
			d.note(0, start, 1, 2)
			for k := start; k < end; k += 2 {
				d.text = append(d.text, data[k]|data[k+1])
			}
			if !d.emitText("utf-16", start, end, yield) {
				return false
			}
		}
		for i = max(i+1, end); i < len(data) && data[i] == 0; {
			i++
		}
	}
}

// wideEnd returns where the pairs of a NUL and a character end that begin at
// data[start], in the order of the first.
func wideEnd(data []byte, start int) int {
	nul := 0
	if data[start] != 0 {
		nul = 1
	}
	i := start
	for i+1 < len(data) && data[i+nul] == 0 && textual(data[i+1-nul]) {
		i += 2
	}
	return i
}
