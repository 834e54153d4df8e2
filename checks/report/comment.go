package report

import (
	"fmt"
	"strings"
)

// CommentMarker is the hidden first line by which Stanch finds its comment again.
const CommentMarker = "<!-- stanch:comment -->"

// Comment is the Markdown of the one comment on a pull request, or empty when
// there is no reason for one: only a live credential is worth a notification.
// Where everybody reads along it waits until every live one is proved dead.
func Comment(s Scan) string {
	if s.NoComment {
		return ""
	}
	s = s.masked()
	var leaks []Leak
	for _, l := range s.Leaks {
		if !l.wasLive() {
			continue
		}
		if s.Public && !l.proved() {
			return ""
		}
		leaks = append(leaks, l)
	}
	if len(leaks) == 0 {
		return ""
	}
	s.Leaks = leaks
	worst, in := s.worst()
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n**Stanch: %s.** %s\n\n", CommentMarker, leakTitle(worst, in), nextStep(worst, in))
	b.WriteString(s.findings(leaks))
	if s.HeadSHA != "" {
		fmt.Fprintf(&b, "State at %s; this comment is kept up to date.%s\n", commit(s.HeadSHA), s.details())
	}
	return cutRunes(b.String(), MaxCommentRunes)
}

// details leads to the page that tells more.
func (s Scan) details() string {
	if s.Details == "" {
		return ""
	}
	return fmt.Sprintf(" [Details](%s)", s.Details)
}
