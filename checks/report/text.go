package report

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// The terminal's colours (ECMA-48, SGR).
const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	dim    = "\x1b[2m"
	reset  = "\x1b[0m"
)

// Text writes the findings for a person at a terminal, with colours only when
// the caller asks for them.
func Text(w io.Writer, findings []checks.Finding, colour bool) error {
	out := bufio.NewWriter(w)
	p := painter(colour)
	for _, f := range maskAll(findings) {
		place := fmt.Sprintf("%s:%d:%d", Printable(f.Path), f.Line, f.Column)
		fmt.Fprintf(out, "%s: %s\n", p.paint(bold, place), p.paint(red, Printable(kind(f))))
		if excerpt := strings.TrimSpace(f.Excerpt); excerpt != "" {
			fmt.Fprintf(out, "  %s %s\n", p.paint(dim, "|"), p.stress(Printable(excerpt), Printable(f.Redacted)))
		}
		for _, d := range details(f) {
			fmt.Fprintf(out, "  %s %s\n", p.paint(dim, fmt.Sprintf("%-11s", d.name)), d.text)
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

// A painter colours text, if it is true.
type painter bool

func (p painter) paint(code, s string) string {
	if !p {
		return s
	}
	return code + s + reset
}

// stress paints the first part of s.
func (p painter) stress(s, part string) string {
	before, after, found := strings.Cut(s, part)
	if !found || part == "" {
		return s
	}
	return before + p.paint(yellow, part) + after
}

type detail struct{ name, text string }

// details are the lines below a finding; what is not known has none.
func details(f checks.Finding) []detail {
	all := []detail{
		{"rule", Printable(ruleID(f))},
		{"found", unseen(f)},
		{"inside", Printable(f.Inside)},
		{"encoded", Printable(strings.Join(f.Encodings, ", then "))},
		{"severity", Printable(string(severity(f)))},
		{"fingerprint", Printable(string(f.Fingerprint))},
		{"commit", Printable(f.Commit)},
		{"author", Printable(f.Author)},
		{"date", date(f)},
		{"validity", Printable(string(f.Validity))},
	}
	if f.Rule != nil {
		all = append(all, detail{"next", Printable(firstStep(f.Rule.Runbook))})
	}
	var known []detail
	for _, d := range all {
		if d.text != "" {
			known = append(known, d)
		}
	}
	return known
}

// unseen is what was found if the line above does not show it.
func unseen(f checks.Finding) string {
	if strings.Contains(f.Excerpt, f.Redacted) {
		return ""
	}
	return Printable(f.Redacted)
}

// sentence is the first sentence of a text: up to a full stop before a capital,
// or up to the end.
var sentence = regexp.MustCompile(`^.*?[.!?](?:\s+\p{Lu}|$)`)

// link is a web address in a text, without the punctuation behind it.
var link = regexp.MustCompile(`https?://[^\s)>"]*[^\s)>".,;:]`)

// firstStep is what a runbook says to do first, and where it leads.
func firstStep(runbook string) string {
	text := strings.Join(strings.Fields(runbook), " ")
	first := strings.TrimRight(strings.TrimRightFunc(sentence.FindString(text), func(r rune) bool { return r != '.' && r != '!' && r != '?' }), " ")
	if first == "" {
		return text
	}
	if address := link.FindString(text); address != "" && !strings.Contains(first, address) {
		first += " " + address
	}
	return first
}
