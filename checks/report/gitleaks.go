package report

import (
	"fmt"
	"io"
	"net/mail"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// gitleaksRecord is a finding with the names that gitleaks 8 gives its fields in
// JSON (github.com/gitleaks/gitleaks, README, "JSON"), for pipelines that read
// them. Match and Secret are always redacted; the entropy of a secret tells about
// it, so it is zero.
type gitleaksRecord struct {
	RuleID      string
	Description string
	StartLine   int
	EndLine     int
	StartColumn int
	EndColumn   int // of the last character, not past it
	Match       string
	Secret      string
	File        string
	SymlinkFile string
	Commit      string
	Entropy     float64
	Author      string
	Email       string
	Date        string
	Message     string
	Tags        []string
	Fingerprint string
}

// Gitleaks writes the findings as gitleaks' JSON.
func Gitleaks(w io.Writer, findings []checks.Finding) error {
	all := make([]gitleaksRecord, 0, len(findings))
	for _, f := range maskAll(findings) {
		all = append(all, newGitleaks(f))
	}
	return writeJSON(w, all)
}

func newGitleaks(f checks.Finding) gitleaksRecord {
	r := gitleaksRecord{
		RuleID:      ruleID(f),
		Description: kind(f),
		StartLine:   f.Line,
		EndLine:     f.EndLine,
		StartColumn: f.Column,
		EndColumn:   f.EndColumn - 1,
		Match:       f.Redacted,
		Secret:      f.Redacted,
		File:        f.Path,
		Commit:      f.Commit,
		Tags:        []string{},
		Fingerprint: fmt.Sprintf("%s:%s:%d", f.Path, ruleID(f), f.Line),
	}
	if f.Commit != "" {
		r.Fingerprint = f.Commit + ":" + r.Fingerprint
	}
	if !f.Date.IsZero() {
		r.Date = f.Date.UTC().Format(time.RFC3339)
	}
	r.Author, r.Email = author(f.Author)
	return r
}

// author takes "Name <email>" apart.
func author(s string) (name, email string) {
	if a, err := mail.ParseAddress(s); err == nil {
		return a.Name, a.Address
	}
	name, rest, _ := strings.Cut(s, "<")
	return strings.TrimSpace(name), strings.TrimSuffix(rest, ">")
}
