package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// Formats are the names that Write knows.
func Formats() []string {
	return []string{"text", "json", "jsonl", "sarif", "junit", "csv", "gitleaks"}
}

// Write writes the findings in the named format. Colour is for text alone.
func Write(w io.Writer, format string, findings []checks.Finding, run Run, colour bool) error {
	switch format {
	case "text":
		return Text(w, findings, colour)
	case "json":
		return JSON(w, findings)
	case "jsonl":
		return JSONLines(w, findings)
	case "sarif":
		return SARIF(w, findings, run)
	case "junit":
		return JUnit(w, findings, run.Problems)
	case "csv":
		return CSV(w, findings)
	case "gitleaks":
		return Gitleaks(w, findings)
	}
	return fmt.Errorf("%q is no format: it must be one of %s", format, strings.Join(Formats(), ", "))
}
