package decode

import "bytes"

// A cut is a place that no layer reaches across, nor looks across, whatever stands
// before and after it: the beginning of a line, where the line before ends with what
// goes on in no encoding. Text without NUL between two cuts has the same layers
// wherever it stands.

// CutWidth is how many bytes before a cut decide that it is one, at most.
const CutWidth = leastBase64 + len("x\\\r\n")

// CutBefore returns the last cut of data up to at, or low if there is none after it,
// which must be one.
func CutBefore(data []byte, low, at int) int {
	for at > low && !isCut(data, at) {
		at = low + bytes.LastIndexByte(data[low:at-1], '\n') + 1
	}
	return at
}

// CutAfter returns the first cut of data from at on. The end of data is one.
func CutAfter(data []byte, at int) int {
	for at < len(data) && !isCut(data, at) {
		n := bytes.IndexByte(data[at:], '\n')
		if n < 0 {
			return len(data)
		}
		at += n + 1
	}
	return at
}

// isCut reports whether a cut is before data[i], which is not the first byte.
func isCut(data []byte, i int) bool {
	if data[i-1] != '\n' {
		return false
	}
	end := i - 1
	if end > 0 && data[end-1] == '\r' {
		end--
	}
	if end == 0 {
		return false
	}
	switch c := data[end-1]; {
	case bytes.IndexByte([]byte("{}()[];:<>!?*#"), c) >= 0:
		return true
	case c|0x20 < 'g' || c|0x20 > 'z' || c|0x20 == 'x':
		return false // may go on: a string, a list of bytes, a mail
	}
	start := end
	for start > 0 && end-start < leastBase64 && is(data[start-1], inBase64) {
		start--
	}
	return end-start < leastBase64 && (start == 0 || data[start-1] != '\\') // \/ goes on
}
