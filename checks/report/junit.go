package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// JUnit's format has no standard; this is the part that every reader of it knows
// (github.com/testmoapp/junitxml).
type (
	junitSuites struct {
		XMLName  xml.Name   `xml:"testsuites"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Suite    junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string      `xml:"name,attr"`
		Class   string      `xml:"classname,attr"`
		File    string      `xml:"file,attr,omitempty"`
		Line    int         `xml:"line,attr,omitempty"`
		Failure *junitFault `xml:"failure"`
		Error   *junitFault `xml:"error"`
	}
	junitFault struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes each finding as a test that failed, what could not be scanned as one
// with an error, and a scan without either as one that passed.
func JUnit(w io.Writer, findings []checks.Finding, problems []string) error {
	m := newMask(findings)
	var cases []junitCase
	for _, f := range findings {
		cases = append(cases, junitFailure(m.finding(f)))
	}
	for _, p := range problems {
		p = Printable(m.text(p))
		cases = append(cases, junitCase{Name: p, Class: "stanch.coverage", Error: &junitFault{"not scanned: " + p, "incomplete", ""}})
	}
	if len(cases) == 0 {
		cases = append(cases, junitCase{Name: "no secrets", Class: "stanch.scan"})
	}
	suite := junitSuite{Name: "secrets", Tests: len(cases), Failures: len(findings), Errors: len(problems), Cases: cases}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write JUnit XML: %w", err)
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	document := junitSuites{Name: "stanch", Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Suite: suite}
	if err := errors.Join(enc.Encode(document), enc.Close()); err != nil {
		return fmt.Errorf("write JUnit XML: %w", err)
	}
	return nil
}

func junitFailure(f checks.Finding) junitCase {
	var text strings.Builder
	for _, d := range details(f) {
		fmt.Fprintf(&text, "%s: %s\n", d.name, d.text)
	}
	return junitCase{
		Name:  Printable(fmt.Sprintf("%s:%d:%d %s", f.Path, f.Line, f.Column, ruleID(f))),
		Class: "stanch." + ruleID(f), File: Printable(f.Path), Line: f.Line,
		Failure: &junitFault{Printable(kind(f) + ": " + f.Redacted), ruleID(f), text.String()},
	}
}
