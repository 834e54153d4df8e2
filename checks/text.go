package checks

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns what Scan looks at and what locations mean. That is data itself,
// but for UTF-16 with a byte order mark: it is decoded, since no credential would
// be seen in it as it is. A file may begin with the mark and go on in bytes, so
// these follow, on lines of their own, and nothing hides behind a mark.
func Text(data []byte) []byte {
	order := byteOrder(data)
	if order == nil {
		return data
	}
	text := (&utf16Decoder{order: order}).decode(data[2:])
	text = append(text, '\n')
	return append(text, data[2:]...)
}

// byteOrder returns what the byte order mark of UTF-16 says, or nil without one.
func byteOrder(data []byte) binary.ByteOrder {
	switch {
	case bytes.HasPrefix(data, []byte{0xFF, 0xFE}):
		return binary.LittleEndian
	case bytes.HasPrefix(data, []byte{0xFE, 0xFF}):
		return binary.BigEndian
	}
	return nil
}

// A utf16Decoder turns UTF-16 into UTF-8, piece by piece.
type utf16Decoder struct {
	order binary.ByteOrder
	rest  []byte // of the last piece: half a character
	text  []byte
}

// decode returns the text of data and of what was left before it. The text is good
// until the next call.
func (d *utf16Decoder) decode(data []byte) []byte {
	if len(d.rest) > 0 {
		data = append(d.rest, data...)
	}
	if d.text == nil {
		d.text = make([]byte, 0, len(data)+len(data)/2+1)
	}
	text := d.text[:0]
	for len(data) >= 2 {
		r, n := rune(d.order.Uint16(data)), 2
		if utf16.IsSurrogate(r) {
			if len(data) < 4 {
				break
			}
			if pair := utf16.DecodeRune(r, rune(d.order.Uint16(data[2:]))); pair != utf8.RuneError {
				r, n = pair, 4
			}
		}
		text = utf8.AppendRune(text, r)
		data = data[n:]
	}
	d.rest = bytes.Clone(data)
	d.text = text
	return text
}
