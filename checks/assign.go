package checks

import (
	"bytes"
	"slices"
)

// An assigned is a value that a text gives to a name.
type assigned struct {
	within window // the name of what it belongs to, as in datadog: {api_key: …}; may be empty
	name   window
	value  window // without its quotes
}

const (
	// maxName is how long the part of a name is before or after a keyword.
	maxName = 64
	// maxValue is how long a value is that is looked at.
	maxValue = 1024
	// maxNested is how far after the name of a thing its keys may stand.
	maxNested = 240
	// maxAssigned is how many values one keyword leads to: the keys of a thing.
	maxAssigned = 4
)

// assignments returns the values that are given to the name that data[start:end],
// a keyword, stands in, or to keys that speak of a secret within the thing of that
// name. It knows how configuration and code of the common languages write that: as
// assignment, key of an object, argument, flag, header, query, element or sentence.
func assignments(all []assigned, data []byte, start, end int) []assigned {
	name := identifier(data, start, end)
	if value, ok := given(data, name.end); ok {
		return append(all, assigned{name: name, value: value})
	}
	return nested(all, data, name)
}

// identifier returns the name that data[start:end] is a part of.
func identifier(data []byte, start, end int) window {
	w := window{start, end}
	for w.start > 0 && start-w.start < maxName && inName(data[w.start-1]) {
		w.start--
	}
	for w.end < len(data) && w.end-end < maxName && inName(data[w.end]) {
		w.end++
	}
	for w.end > end && data[w.end-1] == '.' { // the end of a sentence
		w.end--
	}
	return w
}

// inName reports whether b stands in names of variables, keys, flags and headers.
func inName(b byte) bool {
	return b == '_' || b == '-' || b == '.' || isAlnum(b)
}

func isAlnum(b byte) bool {
	return b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z'
}

// A reader goes through what follows a name.
type reader struct {
	data []byte
	at   int
}

// peek returns the byte at the reader, or 0 at the end.
func (r *reader) peek() byte {
	if r.at < len(r.data) {
		return r.data[r.at]
	}
	return 0
}

// blanks passes spaces and tabs and reports whether there were any.
func (r *reader) blanks() bool {
	from := r.at
	for r.at-from < maxName && (r.peek() == ' ' || r.peek() == '\t') {
		r.at++
	}
	return r.at > from
}

// space passes blanks and at most one end of line with the next line's indent.
func (r *reader) space() {
	r.blanks()
	mark := r.at
	if r.peek() == '\r' {
		r.at++
	}
	if r.peek() != '\n' {
		r.at = mark
		return
	}
	r.at++
	r.blanks()
}

// word passes text if it is next.
func (r *reader) word(text string) bool {
	if len(r.data)-r.at >= len(text) && string(r.data[r.at:r.at+len(text)]) == text {
		r.at += len(text)
		return true
	}
	return false
}

// given returns the value that is given to a name that ends at data[end].
func given(data []byte, end int) (value window, ok bool) {
	r := reader{data, end}
	r.spaced()
	quoted := r.closers()
	blank := r.blanks()
	switch b := r.peek(); b {
	case '=', ':':
		r.operator()
	case ',', '(', '>':
		if r.at++; b == '>' && blank {
			return window{}, false
		}
	case '%':
		if !r.word("%3D") && !r.word("%3d") && !r.word("%3A") && !r.word("%3a") {
			return window{}, false
		}
	case '[':
		if !r.word("[]") {
			return window{}, false
		}
		r.blanks()
		if r.peek() != '=' {
			return window{}, false
		}
		r.at++
	default:
		switch {
		case r.member(): // name="KEY" value="…", {"name": "KEY", "value": "…"}, - name: KEY↵ value: …
		case blank && (r.word("is ") || r.word("was ")):
		case blank && !quoted && r.typed(): // var key string = "…"
		case blank && r.bare(data, end): // --key …, ENV KEY …, #define KEY "…"
		default:
			return window{}, false
		}
	}
	return r.value()
}

// spokenOf are the words for a secret that a name in prose ends with.
var spokenOf = [][]byte{[]byte("key"), []byte("token"), []byte("secret")}

// spaced passes more words of a name in prose: "API key: …".
func (r *reader) spaced() {
	mark := r.at
	for range 3 {
		if r.peek() != ' ' {
			break
		}
		r.at++
		from := r.at
		for r.at-from < 16 && (isAlnum(r.peek()) || r.peek() == '_') {
			r.at++
		}
		if r.at == from {
			break
		}
		if b := r.peek(); b == ':' || b == '=' || b == ' ' && r.at+1 < len(r.data) && (r.data[r.at+1] == '=' || r.data[r.at+1] == ':') {
			return
		}
		if r.peek() == ' ' && slices.ContainsFunc(spokenOf, func(word []byte) bool { return bytes.EqualFold(r.data[from:r.at], word) }) {
			return
		}
	}
	r.at = mark
}

// closers passes what closes a key: quotes, perhaps escaped, and brackets.
func (r *reader) closers() (quoted bool) {
	for range 4 {
		switch b := r.peek(); {
		case b == '"' || b == '\'' || b == '`':
			quoted = true
		case b == ']' || b == ')' && r.at+1 < len(r.data) && r.data[r.at+1] == ' ':
		case b == '\\' && r.at+1 < len(r.data) && (r.data[r.at+1] == '"' || r.data[r.at+1] == '\''):
		case b == '?' || b == '!': // TypeScript
		default:
			return quoted
		}
		r.at++
	}
	return quoted
}

// operator passes =, :, :=, =>, ==, ===, ?= and type annotations as in
// "key: string =".
func (r *reader) operator() {
	colon := r.peek() == ':'
	r.at++
	for range 2 {
		if b := r.peek(); b == '=' || b == '>' || b == ':' {
			r.at++
		}
	}
	if !colon {
		return
	}
	mark := r.at
	r.blanks()
	if !r.typed() {
		r.at = mark
	}
}

// typed passes a type and the = after it.
func (r *reader) typed() bool {
	mark := r.at
	for r.at-mark < 32 && (inName(r.peek()) || bytes.IndexByte([]byte("&*[]<>?!'"), r.peek()) >= 0 && r.peek() != 0) {
		r.at++
	}
	from := r.at
	r.blanks()
	if from > mark && r.peek() == '=' && r.at+1 < len(r.data) && r.data[r.at+1] != '=' {
		r.at++
		return true
	}
	r.at = mark
	return false
}

// member passes to the value beside a name: after value= or value:, in the same
// element or object.
func (r *reader) member() bool {
	mark := r.at
	if b := r.peek(); b == ',' {
		r.at++
	}
	r.space()
	for b := r.peek(); b == '"' || b == '\'' || b == '\\'; b = r.peek() {
		r.at++
	}
	if !r.word("value") && !r.word("Value") && !r.word("default") {
		r.at = mark
		return false
	}
	r.closers()
	r.blanks()
	if b := r.peek(); b != '=' && b != ':' {
		r.at = mark
		return false
	}
	r.at++
	return true
}

// bare reports whether the name that ends at data[end] takes its value without a
// sign between: it is a flag, or a word such as ENV stands before it.
func (r *reader) bare(data []byte, end int) bool {
	from := end
	for from > 0 && end-from < maxName+16 && inName(data[from-1]) {
		from--
	}
	if bytes.HasPrefix(data[from:end], []byte("--")) {
		return true
	}
	before := bytes.TrimRight(data[max(0, from-12):from], " \t")
	for _, word := range []string{"ENV", "ARG", "#define", "setx", "setenv", "set", "-x", "-gx", "-Ux", "-Name"} {
		if len(before) < from-max(0, from-12) && bytes.HasSuffix(before, []byte(word)) {
			return true
		}
	}
	return false
}

// schemes stand before the value of a header.
var schemes = []string{"Bearer ", "bearer ", "Basic ", "Token ", "token ", "ApiKey ", "Key "}

// value returns the value that is next.
func (r *reader) value() (window, bool) {
	r.space()
	if b := r.peek(); b == '|' || b == '>' { // YAML's blocks
		r.at++
		if b := r.peek(); b == '-' || b == '+' {
			r.at++
		}
		r.space()
	}
	if b := r.peek(); b == '(' || b == '[' || b == '{' { // a list of one
		r.at++
		r.space()
	}
	if b := r.peek(); (b|0x20 == 'b' || b|0x20 == 'r' || b|0x20 == 'u' || b == '@' || b == 'L') && r.at+1 < len(r.data) && (r.data[r.at+1] == '"' || r.data[r.at+1] == '\'') {
		r.at++ // b"…" and its like
	}
	for range 5 {
		b := r.peek()
		if b != '"' && b != '\'' && b != '`' && b != '\\' {
			break
		}
		r.at++
	}
	r.word("%22")
	for _, scheme := range schemes {
		if r.word(scheme) {
			break
		}
	}
	from := r.at
	for r.at-from < maxValue && inValue(r.peek()) {
		r.at++
	}
	to := r.at
	for to > from && (r.data[to-1] == '.' || r.data[to-1] == ':') {
		to--
	}
	return window{from, to}, to > from
}

// inValue reports whether b stands in keys and tokens of any alphabet.
func inValue(b byte) bool {
	if isAlnum(b) {
		return true
	}
	switch b {
	case '_', '-', '.', '+', '/', '=', '~', ':', '!', '%', '$', '*', '@':
		return true
	}
	return false
}

// secretWords are what the keys of a thing say that hold a secret.
var secretWords = [][]byte{[]byte("key"), []byte("token"), []byte("secret"), []byte("passw"), []byte("auth"), []byte("pat"), []byte("credential"), []byte("sid")}

// nested appends the values of keys that speak of a secret, soon after the name of
// the thing that they belong to: datadog: {api_key: …}, new Datadog({apiKey: …}),
// a section [datadog] of an ini file.
func nested(all []assigned, data []byte, name window) []assigned {
	r := reader{data, name.end}
	r.closers()
	r.blanks()
	switch r.peek() {
	case ':', '{', '(', '[', '=', '\r', '\n', ')', ']', '.', ',':
	default:
		return all
	}
	limit := min(len(data), name.end+maxNested)
	for at := r.at; at < limit && len(all) < maxAssigned; at++ {
		if b := data[at]; b != '=' && b != ':' {
			continue
		}
		key := keyBefore(data, at, r.at)
		if key.end == 0 || !says(data[key.start:key.end], secretWords) {
			continue
		}
		if value, ok := given(data, key.end); ok && value.start < limit {
			all = append(all, assigned{within: name, name: key, value: value})
			at = max(at, value.end-1)
		}
	}
	return all
}

// keyBefore returns the key that ends before the operator at data[at].
func keyBefore(data []byte, at, from int) window {
	end := at
	for end > from && (data[end-1] == ' ' || data[end-1] == '"' || data[end-1] == '\'' || data[end-1] == '\\' || data[end-1] == '\t') {
		end--
	}
	start := end
	for start > from && end-start < maxName && inName(data[start-1]) {
		start--
	}
	if start == end {
		return window{}
	}
	return window{start, end}
}

// says reports whether one of words, in any letter case, stands in name.
func says(name []byte, words [][]byte) bool {
	for _, w := range words {
		for i := 0; i+len(w) <= len(name); i++ {
			if bytes.EqualFold(name[i:i+len(w)], w) {
				return true
			}
		}
	}
	return false
}
