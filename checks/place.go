package checks

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A cursor finds lines and columns of ascending offsets in one pass. It is a
// value: a copy looks ahead and leaves the original where it is.
type cursor struct {
	data   []byte
	offset int // up to here everything is counted
	line   int // 1-based
	column int // bytes from the line's beginning to offset
	chars  int // the same in characters
}

// to moves the cursor to an offset that is not before the one it is at.
func (c *cursor) to(offset int) {
	passed := c.data[c.offset:offset]
	c.offset = offset
	if n := bytes.Count(passed, []byte{'\n'}); n > 0 {
		c.line += n
		c.column, c.chars = 0, 0
		passed = passed[bytes.LastIndexByte(passed, '\n')+1:]
	}
	c.column += len(passed)
	c.chars += utf8.RuneCount(passed)
}

// rebase moves the cursor's data on: what was data[n:] is now the beginning of
// data. The cursor must not be before n.
func (c *cursor) rebase(data []byte, n int) {
	c.data = data
	c.offset -= n
}

// locate returns the place of data[start:end]; start is not before the last one.
func (c *cursor) locate(path string, start, end int) Location {
	c.to(start)
	l := Location{Path: path, Line: c.line, Column: c.column + 1, CharColumn: c.chars + 1}
	after := *c
	after.to(end)
	l.EndLine, l.EndColumn, l.EndCharColumn = after.line, after.column+1, after.chars+1
	return l
}

// maxContext is how many bytes an excerpt shows on either side of the secret.
const maxContext = 80

// excerpt returns the line around data[start:end], cut to what is near. What
// stands between hides is shown as it is written, each of hides as its stars.
func excerpt(data []byte, start, end int, stars string, hides []window) string {
	from := max(0, start-maxContext)
	if bol := bytes.LastIndexByte(data[from:start], '\n'); bol >= 0 {
		from += bol + 1
	}
	to := min(len(data), end+maxContext)
	if eol := bytes.IndexByte(data[end:to], '\n'); eol >= 0 {
		to = end + eol
	}
	for from < start && !utf8.RuneStart(data[from]) {
		from++
	}
	for to > end && to < len(data) && !utf8.RuneStart(data[to]) {
		to--
	}
	if bytes.IndexByte(data[start:end], '\n') >= 0 {
		to = end // the rest of the last line is not the line that the finding is on
	}
	var shown strings.Builder
	for at := from; at < to; {
		i := slices.IndexFunc(hides, func(w window) bool { return w.end > at })
		if i < 0 || hides[i].start >= to {
			shown.Write(data[at:to])
			break
		}
		w := hides[i]
		if w.start > at {
			shown.Write(data[at:w.start])
		}
		if w.start <= start && end <= w.end {
			shown.WriteString(stars)
		} else {
			shown.WriteString(redacted)
		}
		at = w.end
	}
	return strings.TrimRightFunc(strings.ToValidUTF8(shown.String(), "\uFFFD"), unicode.IsSpace)
}

// maxMarker is how far from a secret, in bytes, a marker on its line may be.
const maxMarker = 4096

// linesOf returns the lines that data[start:end] is on, as far as they are near.
func linesOf(data []byte, start, end int) []byte {
	from, to := max(0, start-maxMarker), min(len(data), end+maxMarker)
	if bol := bytes.LastIndexByte(data[from:start], '\n'); bol >= 0 {
		from += bol + 1
	}
	if eol := bytes.IndexByte(data[end:to], '\n'); eol >= 0 {
		to = end + eol
	}
	return data[from:to]
}

// spans returns where candidates stand, in order, overlapping ones as one.
func spans(all []candidate) []window {
	var merged []window
	for _, c := range all {
		if n := len(merged); n > 0 && c.start < merged[n-1].end {
			merged[n-1].end = max(merged[n-1].end, c.end)
		} else {
			merged = append(merged, window{c.start, c.end})
		}
	}
	return merged
}
