package report

import (
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// policyProblems lists what is wrong with the files that judge, and what to do.
func (s Scan) policyProblems() string {
	if len(s.PolicyProblems) == 0 {
		return ""
	}
	return "**A policy file does not count as it is written.** What the operator's policy says holds in its place. " +
		"Mend it on the branch that this is compared with:\n\n" + list(s.PolicyProblems)
}

// allowLines are what to write into the allowlist for what is no leak. There are none
// for what is live, or was: no list lets that pass. Where everybody reads along, what
// is not known to be dead has one, live or not. To who has not the server's key they
// tell nothing.
func (s Scan) allowLines() string {
	var b strings.Builder
	seen := map[checks.AllowID]bool{}
	for _, l := range s.Leaks {
		if p := s.phase(l); p != unverified && p != hidden || l.AllowID == "" || seen[l.AllowID] || len(seen) == maxRows {
			continue
		}
		seen[l.AllowID] = true
		fmt.Fprintf(&b, "%s YYYY-MM-DD @owner reason\n", l.AllowID)
	}
	if b.Len() == 0 {
		return ""
	}
	return "<details><summary>If it is no leak</summary>\n\nAdd its line to " + code(s.AllowFile) + " on the branch that this is compared with, " +
		"with the last day on which it counts, who answers for it, and why:\n\n```text\n" + b.String() + "```\n\n</details>\n\n"
}

// notes lists what is worth knowing besides.
func (s Scan) notes() string {
	if len(s.Notes) == 0 {
		return ""
	}
	return "#### Notes\n\n" + list(s.Notes)
}

// list writes texts one below the other, as many as are read.
func list(texts []string) string {
	var b strings.Builder
	for _, text := range texts[:min(len(texts), maxSkips)] {
		fmt.Fprintf(&b, "- %s\n", plain(cutRunes(text, maxProblem)))
	}
	if more := len(texts) - maxSkips; more > 0 {
		fmt.Fprintf(&b, "- and %d more\n", more)
	}
	return b.String() + "\n"
}
