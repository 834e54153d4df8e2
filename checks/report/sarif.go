package report

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// SARIF 2.1.0: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
const (
	sarifVersion = "2.1.0"
	sarifSchema  = "https://json.schemastore.org/sarif-2.1.0.json"
	// fingerprintName is versioned, as the standard asks (§3.27.17).
	fingerprintName = "stanchFingerprint/v1"
	homepage        = "https://github.com/stanch-dev/stanch"
)

// A Run is what SARIF says beside the findings.
type Run struct {
	Version string        // Stanch's
	Rules   []*rules.Rule // all that were looked for
	// Problems says why not everything was scanned; empty when everything was.
	Problems []string
	// Columns counts a finding's columns in Unicode characters: SARIF knows no
	// columns of bytes (§3.14.27). Where it cannot (ok is false), or is nil, the
	// finding is reported without columns, as lines.
	Columns func(checks.Finding) (start, end int, ok bool)
}

type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		ColumnKind  string            `json:"columnKind"`
		Results     []sarifResult     `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version,omitempty"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string         `json:"id"`
		ShortDescription sarifText      `json:"shortDescription"`
		Help             *sarifText     `json:"help,omitempty"`
		HelpURI          string         `json:"helpUri,omitempty"`
		Configuration    sarifLevel     `json:"defaultConfiguration"`
		Properties       map[string]any `json:"properties"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifLevel struct {
		Level string `json:"level"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string    `json:"level"`
		Message sarifText `json:"message"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    *int              `json:"ruleIndex,omitempty"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Properties   map[string]string `json:"properties,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
		EndLine     int `json:"endLine"`
		EndColumn   int `json:"endColumn,omitempty"`
	}
)

// SARIF writes the findings as a SARIF 2.1.0 log with one run.
func SARIF(w io.Writer, findings []checks.Finding, run Run) error {
	index := map[string]int{}
	for i, r := range run.Rules {
		index[r.ID] = i
	}
	m := newMask(findings)
	results := make([]sarifResult, 0, len(findings)) // null would mean "not scanned" (§3.14.23)
	for _, f := range findings {
		region := newRegion(f, run.Columns)
		results = append(results, newResult(m.finding(f), region, index))
	}
	log := sarifLog{Schema: sarifSchema, Version: sarifVersion, Runs: []sarifRun{{
		Tool:        sarifTool{newDriver(run)},
		Invocations: []sarifInvocation{newInvocation(run, m)},
		ColumnKind:  "unicodeCodePoints",
		Results:     results,
	}}}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(log); err != nil {
		return fmt.Errorf("write SARIF: %w", err)
	}
	return nil
}

func newDriver(run Run) sarifDriver {
	d := sarifDriver{Name: "Stanch", Version: run.Version, InformationURI: homepage, Rules: []sarifRule{}}
	for _, r := range run.Rules {
		rule := sarifRule{
			ID:               r.ID,
			ShortDescription: sarifText{r.Title},
			Configuration:    sarifLevel{sarifLevelOf(r.Severity)},
			Properties: map[string]any{
				"tags": []string{"security"}, "security-severity": securitySeverity(r.Severity),
			},
		}
		if r.Runbook != "" {
			rule.Help = &sarifText{strings.TrimSpace(r.Runbook)}
		}
		if r.Provider != nil {
			rule.HelpURI = r.Provider.Website
		}
		d.Rules = append(d.Rules, rule)
	}
	return d
}

func newInvocation(run Run, m mask) sarifInvocation {
	in := sarifInvocation{Successful: len(run.Problems) == 0}
	for _, p := range run.Problems {
		in.Notifications = append(in.Notifications, sarifNotification{"error", sarifText{Printable(m.text(p))}})
	}
	return in
}

func newResult(f checks.Finding, region sarifRegion, index map[string]int) sarifResult {
	r := sarifResult{
		RuleID:       ruleID(f),
		Level:        sarifLevelOf(severity(f)),
		Message:      sarifText{Printable(kind(f) + ": " + f.Redacted)},
		Locations:    []sarifLocation{{sarifPhysical{sarifArtifact{uri(f.Path)}, region}}},
		Fingerprints: map[string]string{fingerprintName: string(f.Fingerprint)},
		Properties:   map[string]string{},
	}
	if i, ok := index[r.RuleID]; ok {
		r.RuleIndex = &i
	}
	extra := []detail{{"commit", f.Commit}, {"author", f.Author}, {"date", date(f)}, {"validity", string(f.Validity)}}
	for _, d := range extra {
		if d.text != "" {
			r.Properties[d.name] = Printable(d.text)
		}
	}
	return r
}

func newRegion(f checks.Finding, columns func(checks.Finding) (int, int, bool)) sarifRegion {
	region := sarifRegion{StartLine: max(f.Line, 1), EndLine: max(f.EndLine, f.Line, 1)}
	if columns == nil {
		return region
	}
	if start, end, ok := columns(f); ok {
		region.StartColumn, region.EndColumn = start, end
	}
	return region
}

// uri writes a path as a URI reference, each of its bytes as it is.
func uri(path string) string {
	u := url.URL{Path: path}
	if strings.HasPrefix(path, "/") {
		u.Scheme = "file"
	}
	return u.String()
}

// sarifLevelOf translates a severity to SARIF's three levels.
func sarifLevelOf(s rules.Severity) string {
	switch s {
	case rules.Critical, rules.High:
		return "error"
	case rules.Medium:
		return "warning"
	}
	return "note"
}

// securitySeverity is GitHub's scale from 0 to 10: above 9 is critical, from 7 on
// high, from 4 on medium (docs.github.com, SARIF support for code scanning).
func securitySeverity(s rules.Severity) string {
	switch s {
	case rules.Critical:
		return "9.5"
	case rules.High:
		return "8.0"
	case rules.Medium:
		return "5.0"
	}
	return "2.0"
}
