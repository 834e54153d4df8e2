// Package grants is what Stanch must be allowed at somebody else's door, as data:
// “stanch doctor --policy” prints it, and tests take it away line by line.
package grants

import (
	"fmt"
	"io"
	"strings"
)

// A Policy is the least that one store or engine needs of Stanch's own account there.
type Policy struct {
	Name   string // what it is for: "AWS Secrets Manager"
	Syntax string // of the lines: "hcl", "iam", "gcloud", "azure", "sql", "redis", "mongodb", "rbac", "github"
	Lines  []Line
}

// A Line is one capability.
type Line struct {
	Grant    string // in the syntax of whoever grants it
	For      string // the action of Stanch that fails without it: "locate", "put", "retire", "issue", "disable", …
	Optional bool   // Stanch does less well without it, and says so
}

// Write prints a policy for whoever has to grant it.
func (p Policy) Write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s (%s)\n", p.Name, p.Syntax)
	for _, l := range p.Lines {
		if err != nil {
			return err
		}
		optional := ""
		if l.Optional {
			optional = ", optional"
		}
		_, err = fmt.Fprintf(w, "  # %s%s\n  %s\n", l.For, optional, strings.ReplaceAll(l.Grant, "\n", "\n  "))
	}
	return err
}

// Without is the policy without its line n, to show that the line is needed.
func (p Policy) Without(n int) Policy {
	lines := make([]Line, 0, len(p.Lines))
	lines = append(lines, p.Lines[:n]...)
	p.Lines = append(lines, p.Lines[n+1:]...)
	return p
}
