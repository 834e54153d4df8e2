package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// CSV writes findings as RFC 4180 has it, with the names of the JSON fields in the
// first line.
func CSV(w io.Writer, findings []checks.Finding) error {
	out := csv.NewWriter(w)
	out.Write([]string{ // Error tells when it could not
		"rule", "description", "severity", "file", "line", "column", "end_line", "end_column", "commit",
		"author", "date", "fingerprint", "redacted", "excerpt", "encodings", "inside", "validity",
	})
	for _, r := range records(findings) {
		row := []string{
			r.Rule, r.Description, r.Severity, r.File,
			strconv.Itoa(r.Line), strconv.Itoa(r.Column), strconv.Itoa(r.EndLine), strconv.Itoa(r.EndColumn),
			r.Commit, r.Author, r.Date, r.Fingerprint, r.Redacted, r.Excerpt, strings.Join(r.Encodings, " "), r.Inside, r.Validity,
		}
		for i := range row {
			row[i] = cell(row[i])
		}
		out.Write(row)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// cell makes a text fit for spreadsheets: what they would take for a formula is
// marked as text by an apostrophe (owasp.org, "CSV Injection"), and no control
// character is left.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		s = "'" + s
	}
	return Printable(s)
}
