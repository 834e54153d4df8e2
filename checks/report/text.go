package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// The terminal's colours (ECMA-48, SGR).
const (
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	dim   = "\x1b[2m"
	reset = "\x1b[0m"
)

// Text writes the findings for a person at a terminal, with colours only when
// the caller asks for them.
func Text(w io.Writer, findings []checks.Finding, colour bool) error {
	out := bufio.NewWriter(w)
	paint := func(code, s string) string {
		if !colour {
			return s
		}
		return code + s + reset
	}
	for _, f := range maskAll(findings) {
		place := fmt.Sprintf("%s:%d:%d", Printable(f.Path), f.Line, f.Column)
		fmt.Fprintf(out, "%s: %s\n", paint(bold, place), paint(red, Printable(kind(f))))
		for _, d := range details(f) {
			fmt.Fprintf(out, "  %s %s\n", paint(dim, fmt.Sprintf("%-11s", d.name)), d.text)
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

type detail struct{ name, text string }

// details are the lines below a finding; what is not known has none.
func details(f checks.Finding) []detail {
	all := []detail{
		{"found", Printable(f.Redacted)},
		{"fingerprint", Printable(string(f.Fingerprint))},
		{"commit", Printable(f.Commit)},
		{"author", Printable(f.Author)},
		{"date", date(f)},
		{"validity", Printable(string(f.Validity))},
	}
	if f.Rule != nil {
		all = append(all, detail{"next", Printable(strings.Join(strings.Fields(f.Rule.Runbook), " "))})
	}
	var known []detail
	for _, d := range all {
		if d.text != "" {
			known = append(known, d)
		}
	}
	return known
}
