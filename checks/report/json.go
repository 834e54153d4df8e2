package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// record is a finding as programs read it. Every field is always there.
type record struct {
	Rule        string   `json:"rule"`
	Description string   `json:"description"`
	Severity    string   `json:"severity"`
	File        string   `json:"file"`
	Line        int      `json:"line"`
	Column      int      `json:"column"`
	EndLine     int      `json:"end_line"`
	EndColumn   int      `json:"end_column"`
	Commit      string   `json:"commit"`
	Author      string   `json:"author"`
	Date        string   `json:"date"`
	Fingerprint string   `json:"fingerprint"`
	Redacted    string   `json:"redacted"`
	Excerpt     string   `json:"excerpt"`
	Encodings   []string `json:"encodings"`
	Inside      string   `json:"inside"`
	Validity    string   `json:"validity"`
}

func records(findings []checks.Finding) []record {
	all := make([]record, 0, len(findings)) // never null in JSON
	for _, f := range maskAll(findings) {
		all = append(all, record{
			Rule:        ruleID(f),
			Description: kind(f),
			Severity:    string(severity(f)),
			File:        f.Path,
			Line:        f.Line,
			Column:      f.Column,
			EndLine:     f.EndLine,
			EndColumn:   f.EndColumn,
			Commit:      f.Commit,
			Author:      f.Author,
			Date:        date(f),
			Fingerprint: string(f.Fingerprint),
			Redacted:    f.Redacted,
			Excerpt:     f.Excerpt,
			Encodings:   append([]string{}, f.Encodings...), // never null in JSON
			Inside:      f.Inside,
			Validity:    string(f.Validity),
		})
	}
	return all
}

// ruleID is the id of the finding's rule.
func ruleID(f checks.Finding) string {
	if f.Rule == nil {
		return f.Credential.Rule
	}
	return f.Rule.ID
}

// date is the commit's date, or empty when there is no commit.
func date(f checks.Finding) string {
	if f.Date.IsZero() {
		return ""
	}
	return f.Date.Format(time.RFC3339)
}

// JSON writes the findings as one array.
func JSON(w io.Writer, findings []checks.Finding) error {
	return writeJSON(w, records(findings))
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// JSONLines writes each finding as an object on a line of its own.
func JSONLines(w io.Writer, findings []checks.Finding) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, r := range records(findings) {
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("write JSON lines: %w", err)
		}
	}
	return nil
}
