package report

import (
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
	// MaxResults is how many results of a run GitHub takes; it refuses a file with
	// more (docs.github.com, "SARIF support for code scanning").
	MaxResults = 25_000
)

// A Run is what SARIF says beside the findings.
type Run struct {
	Version string        // Stanch's
	Rules   []*rules.Rule // all that were looked for
	// Problems says why not everything was scanned; empty when everything was.
	Problems []string
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
		FullDescription  sarifText      `json:"fullDescription"`
		Help             sarifText      `json:"help"`
		HelpURI          string         `json:"helpUri,omitempty"`
		Configuration    sarifLevel     `json:"defaultConfiguration"`
		Properties       map[string]any `json:"properties"`
	}
	sarifText struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
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

// SARIF writes the findings as a SARIF 2.1.0 log with one run, fit to be uploaded to
// GitHub: of more than MaxResults findings the most severe, and a notification.
//
// GitHub follows an alert by primaryLocationLineHash, a hash of the source line. It
// is left to GitHub's upload step: that knows the source, and complains of hashes
// that are not its own.
func SARIF(w io.Writer, findings []checks.Finding, run Run) error {
	index := map[string]int{}
	for i, r := range run.Rules {
		index[r.ID] = i
	}
	m := newMask(findings)
	listed := mostSevere(findings, MaxResults)
	results := make([]sarifResult, 0, len(listed)) // null would mean "not scanned" (§3.14.23)
	for _, f := range listed {
		results = append(results, newResult(m.finding(f), index))
	}
	invocation := newInvocation(run, m)
	if n := len(findings) - len(listed); n > 0 {
		invocation.note("warning", fmt.Sprintf("%d more findings are not listed: GitHub takes %d", n, MaxResults))
	}
	return writeJSON(w, sarifLog{Schema: sarifSchema, Version: sarifVersion, Runs: []sarifRun{{
		Tool:        sarifTool{newDriver(run)},
		Invocations: []sarifInvocation{invocation},
		ColumnKind:  "unicodeCodePoints",
		Results:     results,
	}}})
}

// mostSevere returns the n most severe of the findings, in the order that they have.
func mostSevere(findings []checks.Finding, n int) []checks.Finding {
	if len(findings) <= n {
		return findings
	}
	listed := make([]checks.Finding, 0, n)
	taken := make([]bool, len(findings))
	for _, s := range []rules.Severity{rules.Critical, rules.High, rules.Medium, rules.Low} {
		for i, f := range findings {
			if severity(f) == s && n > 0 {
				taken[i], n = true, n-1
			}
		}
	}
	for i, f := range findings {
		if taken[i] {
			listed = append(listed, f)
		}
	}
	return listed
}

func newDriver(run Run) sarifDriver {
	d := sarifDriver{Name: "Stanch", Version: run.Version, InformationURI: homepage, Rules: []sarifRule{}}
	for _, r := range run.Rules {
		d.Rules = append(d.Rules, newSARIFRule(r))
	}
	return d
}

func newSARIFRule(r *rules.Rule) sarifRule {
	provider := ""
	if r.Provider != nil {
		provider = " of " + r.Provider.Title
	}
	rule := sarifRule{
		ID:               r.ID,
		ShortDescription: sarifText{Text: r.Title},
		FullDescription:  sarifText{Text: "A credential" + provider + " that whoever reads the file can use: " + r.Title + "."},
		Help:             newHelp(r),
		Configuration:    sarifLevel{sarifLevelOf(r.Severity)},
		Properties: map[string]any{
			"tags": []string{"security", "external/cwe/cwe-798"}, "precision": "high", "security-severity": securitySeverity(r.Severity),
		},
	}
	if r.Provider != nil {
		rule.HelpURI = r.Provider.Website
	}
	return rule
}

// newHelp is what GitHub shows beside an alert.
func newHelp(r *rules.Rule) sarifText {
	todo := strings.TrimSpace(r.Runbook)
	if todo == "" {
		todo = "Revoke the credential where it was made, put a new one in its place, and remove it from the file."
	}
	return sarifText{Text: todo, Markdown: "**What to do:** " + todo}
}

func newInvocation(run Run, m mask) sarifInvocation {
	in := sarifInvocation{Successful: len(run.Problems) == 0}
	for _, p := range run.Problems {
		in.note("error", Printable(m.text(p)))
	}
	return in
}

func (in *sarifInvocation) note(level, text string) {
	in.Notifications = append(in.Notifications, sarifNotification{level, sarifText{Text: text}})
}

func newResult(f checks.Finding, index map[string]int) sarifResult {
	r := sarifResult{
		RuleID:       ruleID(f),
		Level:        sarifLevelOf(severity(f)),
		Message:      sarifText{Text: Printable(kind(f) + ": " + f.Redacted)},
		Locations:    []sarifLocation{{sarifPhysical{sarifArtifact{uri(f.Path)}, newRegion(f)}}},
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

// newRegion counts columns in characters: SARIF knows no columns of bytes
// (§3.14.27). Where they are not known the finding is reported as lines.
func newRegion(f checks.Finding) sarifRegion {
	region := sarifRegion{StartLine: max(f.Line, 1), EndLine: max(f.EndLine, f.Line, 1)}
	if f.CharColumn > 0 && f.EndCharColumn > 0 {
		region.StartColumn, region.EndColumn = f.CharColumn, f.EndCharColumn
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
