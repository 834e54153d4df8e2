package intake

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// Why a leak cannot be taken over.
const (
	redacted = "redacted: the report does not hold the secret; have the scanner write it without redaction"
	noSecret = "without a secret: the report has neither it nor the text of its place"
	unknown  = "of a kind that no rule knows"
)

// masked is what scanners write in a secret's place.
var masked = regexp.MustCompile(`(?i)^\W*redacted|\*{3}|\.\.\.$|…|^\*+$`)

// Resolve finds out, by a scanner's rules, what the leaks are. It returns what was
// found, each secret once at each place, and how many leaks are left, by the reason.
func (r *Report) Resolve(s *checks.Scanner) (found []checks.Finding, left map[string]int) {
	left = map[string]int{}
	type place struct {
		fingerprint checks.Fingerprint
		at          checks.Location
	}
	seen := map[place]bool{}
	for _, l := range r.Leaks {
		own, why := l.resolve(s)
		if why != "" {
			left[why]++
		}
		for _, f := range own {
			f.Location, f.Excerpt, f.Encodings, f.Inside = l.location(s), "", nil, ""
			if at := (place{f.Fingerprint, f.Location}); !seen[at] {
				seen[at] = true
				found = append(found, f)
			}
		}
	}
	return found, left
}

// location is the place of a leak, without credentials in the names of things.
func (l *Leak) location(s *checks.Scanner) checks.Location {
	at := l.Location
	at.Path = s.Hide(path.Clean("/" + strings.ReplaceAll(strings.ToValidUTF8(at.Path, "\uFFFD"), `\`, "/")))[1:]
	at.Author = s.Hide(at.Author)
	if !commitID.MatchString(at.Commit) {
		at.Commit = ""
	}
	for _, n := range []*int{&at.Line, &at.Column, &at.EndLine, &at.EndColumn} {
		*n = max(*n, 0)
	}
	return at
}

var commitID = regexp.MustCompile(`^(?:[0-9a-f]{7,40}|[0-9a-f]{64})$`)

// resolve finds the credentials of one leak, or says why there is none.
func (l *Leak) resolve(s *checks.Scanner) ([]checks.Finding, string) {
	value := l.Secret.Expose()
	switch {
	case value != "" && masked.MatchString(value):
		return nil, redacted
	case value == "" && len(l.Texts) == 0:
		return nil, noSecret
	}
	for _, text := range l.Texts {
		found, err := s.Examine(l.Kind, []byte(text.Expose()))
		if err != nil {
			continue
		}
		if value != "" {
			found = slices.DeleteFunc(found, func(f checks.Finding) bool { return !has(f.Credential, value) })
		}
		if len(found) > 0 {
			return found, ""
		}
	}
	for _, name := range []string{l.Kind, words(l.Kind)} {
		if f, ok := s.Identify(name, l.Secret); ok && value != "" {
			return []checks.Finding{f}, ""
		}
	}
	if value == "" && slices.ContainsFunc(l.Texts, func(t checks.Secret) bool { return masked.MatchString(t.Expose()) }) {
		return nil, redacted
	}
	return nil, unknown + ": " + s.Hide(l.Kind)
}

// has reports whether a credential has a part with a value, or one in it.
func has(c checks.Credential, value string) bool {
	for _, part := range c.Parts {
		if part.Expose() == value {
			return true
		}
	}
	return strings.Contains(value, c.Secret().Expose())
}

// words makes the name of a variable of a kind's: generic-api-key, DatadogToken.
func words(kind string) string {
	return strings.NewReplacer("-", "_", ".", "_", " ", "_").Replace(kind) + "_key"
}

// Reasons lists why leaks are left and how many, most first.
func Reasons(left map[string]int) (all []string) {
	for why := range left {
		all = append(all, why)
	}
	slices.SortFunc(all, func(a, b string) int { return left[b]*2 - left[a]*2 + strings.Compare(a, b) })
	for i, why := range all {
		all[i] = fmt.Sprintf("%d %s", left[why], why)
	}
	return all
}

// A line is a leak as Write tells it: one of gitleaks' records.
type line struct {
	RuleID      string
	Secret      string
	Match       string
	File        string
	StartLine   int
	EndLine     int
	StartColumn int
	EndColumn   int
	Commit      string
	Author      string
	Date        string
}

// Write tells leaks in JSON lines that Read takes, secrets included: they go to a
// server that verifies them, and nowhere else.
func Write(w io.Writer, leaks []Leak) error {
	encoder := json.NewEncoder(w)
	for _, l := range leaks {
		at := l.Location
		out := line{
			RuleID: l.Kind, Secret: l.Secret.Expose(), File: at.Path, StartLine: at.Line, EndLine: at.EndLine,
			StartColumn: at.Column, EndColumn: at.EndColumn, Commit: at.Commit, Author: at.Author,
		}
		var all []string
		for _, t := range l.Texts {
			all = append(all, t.Expose())
		}
		out.Match = strings.Join(all, "\n")
		if !at.Date.IsZero() {
			out.Date = at.Date.Format("2006-01-02T15:04:05Z07:00")
		}
		if err := encoder.Encode(out); err != nil {
			return err
		}
	}
	return nil
}
