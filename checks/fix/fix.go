// Package fix replaces a secret in a line of a file by the place where it is read
// from instead: an environment variable, a variable of the tool, a secret of a
// workflow. It is pure, and it changes only what it is sure of: a literal that
// stands alone between quotation marks.
package fix

import (
	"bytes"
	"path"
	"regexp"
	"strings"
)

// A Secret is where a secret stands in a file.
type Secret struct {
	Path  string
	Line  string // that it stands on, without the end of the line
	Start int    // in Line, in bytes
	End   int    // behind its last byte
	Kind  string // what it is when the line does not name it: the rule's id
}

// A Suggestion is a line that holds the secret no more.
type Suggestion struct {
	Line   string
	Remove bool   // the line is to go, and Line is empty
	Name   string // of the variable that the value is read from
	Note   string // what else has to be done, in plain words
}

// Suggest returns the line without its secret. It reports false where it cannot be
// sure that the new line does what the old one did.
func Suggest(s Secret) (Suggestion, bool) {
	if s.Start < 0 || s.End > len(s.Line) || s.Start >= s.End {
		return Suggestion{}, false
	}
	lang := languageOf(s.Path)
	if lang == nil {
		return Suggestion{}, false
	}
	l := literal{name: nameOf(s), before: s.Line[:s.Start], after: s.Line[s.End:]}
	if lang.removes {
		return Suggestion{Remove: true, Name: l.name, Note: lang.note(l.name)}, l.assigned()
	}
	if !l.unquote(lang.quotes) || lang.refuses != nil && lang.refuses.MatchString(l.before) {
		return Suggestion{}, false
	}
	if lang.rewrite != nil {
		return lang.rewrite(l)
	}
	return Suggestion{Line: l.before + lang.read(l.name, l.quote) + l.after, Name: l.name, Note: lang.note(l.name)}, true
}

// A literal is a secret between its quotation marks, with what stands around them.
type literal struct {
	name   string
	quote  string
	before string
	after  string
}

// unquote takes the marks off on both sides, if they are one pair of those allowed
// and nothing that changes their meaning stands before them.
func (l *literal) unquote(allowed string) bool {
	n := len(l.before)
	if n == 0 || l.after == "" || l.before[n-1] != l.after[0] || !strings.Contains(allowed, l.after[:1]) {
		return false
	}
	l.quote, l.before, l.after = l.after[:1], l.before[:n-1], l.after[1:]
	key := strings.HasPrefix(strings.TrimSpace(l.after), ":") // of an object, which is no expression everywhere
	return !key && !prefixed.MatchString(l.before) && !strings.HasPrefix(l.after, l.quote) && !open(l.before, allowed)
}

// open reports whether a literal is still open at the end of a line's beginning, so
// that what follows is part of it.
func open(before, quotes string) bool {
	in := byte(0)
	for i := 0; i < len(before); i++ {
		switch c := before[i]; {
		case in != 0 && c == '\\':
			i++
		case in != 0 && c == in:
			in = 0
		case in == 0 && strings.IndexByte(quotes, c) >= 0:
			in = c
		}
	}
	return in != 0
}

// prefixed ends in a letter or mark that makes the literal another one (b"…", $"…"),
// or in a further quotation mark.
var prefixed = regexp.MustCompile("[\\w$@\"'`\\\\]$")

// assigned reports whether the line assigns the secret and does nothing else.
func (l *literal) assigned() bool {
	return assignment.MatchString(l.before) && rest.MatchString(l.after)
}

var (
	assignment = regexp.MustCompile(`^\s*(?:export\s+)?[A-Za-z_][\w.-]*\s*[=:]\s*["']?$`)
	rest       = regexp.MustCompile(`^["']?\s*(?:#.*)?$`)
)

// named is the name before the sign that assigns, at the end of what stands before
// a literal.
var named = regexp.MustCompile(`([A-Za-z_][\w-]*)["']?\]?\s*(?::\s*[\w<>&'? ]+)?\s*(?:=>|:=|[=:])\s*["'` + "`" + `]?$`)

// longestName is the longest name, in bytes, that the line's own is taken over as.
// A longer one was written by no person, and the new line repeats it.
const longestName = 64

// nameOf is the name of the environment variable that a secret is to be read from:
// the line's own name for it, or that of its kind.
func nameOf(s Secret) string {
	name := s.Kind
	if m := named.FindStringSubmatch(s.Line[:s.Start]); m != nil && len(m[1]) <= longestName {
		name = m[1]
	}
	return constantCase(name)
}

// constantCase writes apiKey and api-key as API_KEY.
func constantCase(name string) string {
	var b bytes.Buffer
	lower := false
	for _, r := range name {
		switch {
		case r >= 'A' && r <= 'Z':
			if lower {
				b.WriteByte('_')
			}
			b.WriteRune(r)
		case r >= 'a' && r <= 'z':
			b.WriteRune(r - 'a' + 'A')
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !bytes.HasSuffix(b.Bytes(), []byte("_")):
			b.WriteByte('_')
		}
		lower = r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
	}
	out := strings.Trim(b.String(), "_")
	if out == "" || out[0] >= '0' && out[0] <= '9' {
		return "SECRET_" + out
	}
	return out
}

// base is the file's name in lower case.
func base(name string) string { return strings.ToLower(path.Base(name)) }
