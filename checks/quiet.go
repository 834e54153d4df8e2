package checks

import (
	"bytes"

	"github.com/stanch-dev/stanch/checks/decode"
)

// A Span is a part of a text, from Start up to End. Where the two are the same place
// it is what is between two bytes, or before the first or after the last.
type Span struct{ Start, End int }

// Holds reports whether Examine, told no path, finds something in data or cannot see
// all of it.
//
// It also reports whether data is quiet: whether nothing is there that may become
// part of a credential by what changes far from it. For a text that was made of a
// quiet one, changed says where it differs: what was put in and, as empty spans,
// where text was left out, moved, or cut off at an end; in ascending order. Then only
// these places are looked at, with what is around them, unless something is there.
// Otherwise changed is nil.
//
// Nothing is overlooked by that. What makes a text not quiet is the beginning of what
// some rule may take for a credential: a keyword after which its pattern can match,
// or may after more than is looked at; a value for a name that a rule accepts, or a
// very long one; and the same in what is decoded, or an archive. Whether that is so
// is told by the bytes from lookBehind before a keyword to lookAhead after it or, in a
// layer, by what is between two places that no layer reaches across. These bytes are
// either near a change, and looked at, or stood together in the quiet text, where they
// were nothing.
func (s *Scanner) Holds(data []byte, changed []Span) (holds, quiet bool) {
	x := s.borrow()
	defer s.giveBack(x)
	text := byteOrder(data) == nil && decode.Format(data[:min(len(data), headSize)]) == ""
	if text && changed != nil && x.unmoved(data, changed) {
		return false, true
	}
	found, err := x.examine("", data)
	holds = len(found) > 0 || err != nil
	return holds, text && !holds && x.silent(data)
}

// silent reports whether the text that was looked at is quiet.
func (x *search) silent(text []byte) bool {
	return !x.loud && len(x.found) == 0 && !x.spent() && len(x.roaming) == 0 && bytes.IndexByte(text, 0) < 0
}

// How much of the text decides about a name and its value: before the keyword in the
// name, and after it.
const (
	lookBehind = 3*maxName + maxName // a name, and twice as much before it
	lookAhead  = 1200                // blanks and signs, and a value that is not very long
	// longValue is from how many bytes on a value is very long.
	longValue = 256
)

// runsOn reports whether a value, with what looks like more of it, is very long.
func runsOn(data []byte, value window) bool {
	end := value.end
	for end < len(data) && end-value.start <= longValue && inValue(data[end]) {
		end++
	}
	return end-value.start > longValue
}

// unmoved looks at what is around the changes of a text, and reports whether that is
// quiet.
func (x *search) unmoved(data []byte, changed []Span) bool {
	x.begin("", len(data))
	for _, w := range x.near(changed, len(data)) {
		if x.plain(data, w); x.loud || len(x.found) > 0 {
			return false
		}
	}
	for _, w := range x.uncut(data, changed) {
		part := data[w.start:w.end]
		if x.wrapped(part, maxLayers); !x.silent(part) {
			return false
		}
	}
	return true
}

// near returns where the keywords end of which changes may decide.
func (x *search) near(changed []Span, length int) []window {
	x.windows = x.windows[:0]
	for _, c := range changed {
		x.addWindow(window{max(0, c.Start-lookAhead), min(length, c.End+x.matcher.most+lookBehind)})
	}
	return x.windows
}

// uncut returns the parts of a text with changes that begin and end where no layer
// reaches across, and none did before the changes.
func (x *search) uncut(data []byte, changed []Span) []window {
	x.windows = x.windows[:0]
	low := 0
	for _, c := range changed {
		end := min(len(data), c.End+decode.CutWidth) // from here on cuts are where they were
		if end <= low {
			continue
		}
		x.addWindow(window{decode.CutBefore(data, low, max(low, c.Start)), decode.CutAfter(data, end)})
		low = x.windows[len(x.windows)-1].end
	}
	return x.windows
}

// addWindow adds a window to those before it, with the last of which it may touch.
func (x *search) addWindow(w window) {
	if n := len(x.windows); n > 0 && w.start <= x.windows[n-1].end {
		x.windows[n-1].end = max(w.end, x.windows[n-1].end)
		return
	}
	x.windows = append(x.windows, w)
}
