package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable makes s fit for a screen: control characters, direction marks, invalid UTF-8
// and all else that a screen does not show are spelt out.
func Printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// code writes a stranger's text as code, where GitHub makes neither links nor
// mentions. A code span keeps everything literal but backticks, and a table
// takes pipes and backslashes away from it; with one of these the text is
// written as HTML with every special character as an entity.
func code(s string) string {
	s = Printable(s)
	switch {
	case strings.TrimSpace(s) == "":
		return "<code></code>"
	case strings.ContainsAny(s, "`|\\"):
		return "<code>" + entities(s) + "</code>"
	}
	return "`" + s + "`"
}

func entities(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r > unicode.MaxASCII || r == ' ' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "&#%d;", r)
		}
	}
	return b.String()
}

// noLink stands after characters with which GitHub begins a mention, a reference
// to an issue or a link. It looks for them after it has resolved entities.
const noLink = "\u200b"

// plain writes a text as text: nothing in it is Markdown, HTML, a mention or a
// link.
func plain(s string) string {
	var b strings.Builder
	for _, r := range Printable(s) {
		switch {
		case strings.ContainsRune("@#", r):
			fmt.Fprintf(&b, "&#%d;%s", r, noLink)
		case strings.ContainsRune("\\`*_{}[]<>()+!|~$&", r):
			fmt.Fprintf(&b, "&#%d;", r)
		case r == ':':
			b.WriteString("&#58;")
		default:
			b.WriteRune(r)
		}
	}
	return strings.ReplaceAll(b.String(), "www.", "www&#46;")
}

// cutNote stands at the end of a text that was too long.
const cutNote = "\n\n… cut: GitHub takes no longer text.\n"

// cutBytes cuts s to limit bytes, on the boundary of a line where there is one.
func cutBytes(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	s = strings.ToValidUTF8(s[:limit-len(cutNote)], "")
	if i := strings.LastIndexByte(s, '\n'); i > 0 {
		s = s[:i]
	}
	return s + cutNote
}

// cutRunes cuts s to limit characters.
func cutRunes(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}

// maxPlace bounds a path in a table: long enough for every path that people
// make, short enough that no stranger's path fills the summary.
const maxPlace = 200

// shorten keeps both ends of a long text.
func shorten(s string) string {
	r := []rune(s)
	if len(r) <= maxPlace {
		return s
	}
	return string(r[:maxPlace/2]) + "…" + string(r[len(r)-maxPlace/2:])
}
