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
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte{0xFF, 0xFE}):
		order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte{0xFE, 0xFF}):
		order = binary.BigEndian
	default:
		return data
	}
	text := make([]byte, 0, len(data)+len(data)/2+1)
	for rest := data[2:]; len(rest) >= 2; {
		r := rune(order.Uint16(rest))
		rest = rest[2:]
		if utf16.IsSurrogate(r) && len(rest) >= 2 {
			if pair := utf16.DecodeRune(r, rune(order.Uint16(rest))); pair != utf8.RuneError {
				r, rest = pair, rest[2:]
			}
		}
		text = utf8.AppendRune(text, r)
	}
	text = append(text, '\n')
	return append(text, data[2:]...)
}
