package checks

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Ignores are findings that were looked at and are no leaks, as .gitleaksignore
// and .betterleaksignore list them: one a line, by its place, "commit:path:rule:line"
// or "path:rule:line", or by the SHA-256 of its secret in hexadecimal. A line that
// begins with # is a comment.
type Ignores struct {
	places  map[place][]string // → the rules that it is for; none for all
	secrets map[string]bool
}

// A place is where a finding is; without a commit it is meant in all of them.
type place struct {
	commit, path string
	line         int
}

// A ListWarning is a line of a list that is not taken as it is meant.
type ListWarning struct {
	Line int
	Text string
}

var (
	commitID = regexp.MustCompile(`^[0-9a-fA-F]{40}([0-9a-fA-F]{24})?$`)
	digest   = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

// ParseIgnores reads a list of ignored findings. Known tells whether a rule of that
// id is there: a place whose rule is another scanner's is ignored whichever rule
// finds something there, and a warning says so. So it does of lines that cannot be
// read, which ignore nothing.
func ParseIgnores(list []byte, known func(rule string) bool) (*Ignores, []ListWarning) {
	all := &Ignores{places: make(map[place][]string), secrets: make(map[string]bool)}
	var warnings []ListWarning
	lines := bufio.NewScanner(bytes.NewReader(list))
	lines.Buffer(nil, len(list)+1)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		if warning := all.add(text, known); warning != "" {
			warnings = append(warnings, ListWarning{n, warning})
		}
	}
	return all, warnings
}

// add takes one line in, and returns what there is to say of it.
func (all *Ignores) add(text string, known func(string) bool) (warning string) {
	if digest.MatchString(text) {
		all.secrets[strings.ToLower(text)] = true
		return ""
	}
	path, number, ok := cutLast(text)
	path, rule, ok2 := cutLast(path)
	line, err := strconv.Atoi(number)
	if !ok || !ok2 || err != nil || line < 1 || path == "" || rule == "" {
		return "this is no finding: write path:rule:line, with the commit and a colon before it if only that one is meant, or the SHA-256 of the secret"
	}
	at := place{path: path, line: line}
	if commit, rest, ok := strings.Cut(path, ":"); ok && commitID.MatchString(commit) {
		at = place{strings.ToLower(commit), rest, line}
	}
	if !known(rule) {
		all.places[at] = append(all.places[at], "")
		return fmt.Sprintf("there is no rule %q here: whatever is found at this place is ignored", rule)
	}
	all.places[at] = append(all.places[at], rule)
	return ""
}

// cutLast cuts text at its last colon.
func cutLast(text string) (before, after string, found bool) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+1:], true
}

// Ignore reports whether a finding is listed.
func (all *Ignores) Ignore(f *Finding) bool {
	sum := sha256.Sum256([]byte(f.Credential.Secret().Expose()))
	if all.secrets[hex.EncodeToString(sum[:])] {
		return true
	}
	path, line := f.Path, f.Line
	if f.Inside != "" {
		inside, number, _ := cutLast(f.Inside)
		n, err := strconv.Atoi(number)
		if err == nil {
			line = n
		}
		_, member, _ := strings.Cut(inside, "!")
		path += "!" + member
	}
	for _, commit := range []string{"", strings.ToLower(f.Commit)} {
		for _, rule := range all.places[place{commit, path, line}] {
			if rule == "" || rule == f.Rule.ID {
				return true
			}
		}
	}
	return false
}
