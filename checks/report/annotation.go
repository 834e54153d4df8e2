package report

import (
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/rules"
)

// annotations has one remark for each of the first findings; the summary tells how
// many have none. GitHub lets nobody change a remark, so it says nothing that can
// become untrue, and nothing about liveness, and which findings have one never
// changes.
func (s Scan) annotations() []Annotation {
	var all []Annotation
	for _, l := range s.Leaks {
		if l.Path == "" || l.Path == s.NoFile {
			continue // GitHub takes no annotation without a file
		}
		if len(all) == MaxAnnotations {
			break
		}
		all = append(all, s.annotation(l))
	}
	return all
}

func (s Scan) annotation(l Leak) Annotation {
	a := Annotation{
		Path:      strings.ToValidUTF8(l.Path, "\uFFFD"),
		StartLine: max(l.Line, 1),
		EndLine:   max(l.EndLine, l.Line, 1),
		Level:     level(l),
		Title:     cutRunes(Printable(kind(l.Finding)), MaxAnnotationTitle),
		Message:   cutBytes(s.remark(l), MaxAnnotationBytes),
	}
	// At the head commit other text may stand there by now.
	if !l.InTip {
		return a
	}
	// Our EndColumn is one past the last byte, GitHub's is the last.
	if last := l.EndColumn - 1; a.StartLine == a.EndLine && l.Column >= 1 && last >= l.Column {
		a.StartColumn, a.EndColumn = l.Column, last
	}
	return a
}

// level is loud for what can do harm. It says nothing about liveness: what is
// not known to be harmless is as loud as what works.
func level(l Leak) string {
	switch {
	case l.phase().passes():
		return "notice"
	case severity(l.Finding) == rules.Critical, severity(l.Finding) == rules.High:
		return "failure"
	}
	return "warning"
}

// where says where a leak stands. An earlier commit's file may look different, or
// be gone, at the head commit that the remark is shown on.
func where(l Leak) string {
	commit := Printable(short(l.Commit))
	switch {
	case l.Commit == "" && l.InTip:
		return " in this line"
	case l.Commit == "":
		return fmt.Sprintf(", line %d", l.Line)
	case l.InTip:
		return " in this line, added by commit " + commit
	}
	return fmt.Sprintf(" in commit %s, line %d", commit, l.Line)
}

// remark is plain text: GitHub shows no Markdown in annotations.
func (s Scan) remark(l Leak) string {
	var b strings.Builder
	b.WriteString(Printable(kind(l.Finding)))
	if l.Redacted != "" && !s.Public {
		b.WriteString(" (" + Printable(l.Redacted) + ")")
	}
	b.WriteString(where(l))
	if l.InTip {
		b.WriteString(". Take it out of the file and read it from where secrets are kept. Deleting the line does not " +
			"make it secret again: the commit stays readable.")
	} else {
		b.WriteString(". It is not in the files any more, but that does not make it secret again: the commit stays readable.")
	}
	b.WriteString(" What has been done about it is in the check's summary.")
	if l.Rule != nil && l.Rule.Runbook != "" {
		b.WriteString("\n\nBy hand: " + strings.TrimSpace(l.Rule.Runbook))
	}
	return b.String()
}
