// Package grants is what Stanch must be allowed at somebody else's door, as data:
// “stanch doctor --policy” prints it, and tests take it away line by line.
package grants

import (
	"fmt"
	"io"
	"strings"
	"unicode"
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

// A form is how a syntax writes a policy, so that it can be handed over as it is printed.
type form struct{ comment, head, item string }

// forms are those of the syntaxes that are not one grant a line with comments that begin
// with "#".
var forms = map[string]form{
	"sql": {comment: "-- "},
	"rbac": {comment: "# ", item: "  - ",
		head: "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: stanch\nrules:\n"},
	"gcloud": {comment: "# ", item: "  - ", head: "stage: GA\nincludedPermissions:\n"},
}

// Write prints a policy for whoever has to grant it, each line with what it is for.
func (p Policy) Write(w io.Writer) error {
	if p.Syntax == iam {
		return p.writeIAM(w)
	}
	f, known := forms[p.Syntax]
	if !known {
		f = form{comment: "# "}
	}
	margin := strings.Repeat(" ", strings.Index(f.item+"-", "-"))
	indent := strings.Repeat(" ", len(f.item))
	var text strings.Builder
	text.WriteString(f.comment + p.Name + "\n" + f.head)
	told := ""
	for _, l := range p.Lines {
		if l.purpose() != told {
			told = l.purpose()
			text.WriteString(margin + f.comment + told + "\n")
		}
		text.WriteString(f.item + strings.ReplaceAll(l.Grant, "\n", "\n"+indent) + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// purpose says what a line is for.
func (l Line) purpose() string {
	if l.Optional {
		return l.For + ", optional"
	}
	return l.For
}

// iam is AWS's syntax: JSON, which has no comments. What a statement is for stands in its
// id, which is of letters and digits, and unique.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_sid.html
const iam = "iam"

func (p Policy) writeIAM(w io.Writer) error {
	var statements []string
	for n, l := range p.Lines {
		statements = append(statements, strings.Replace(l.Grant, "{", fmt.Sprintf(`{"Sid":"%s%d",`, l.identifier(), n+1), 1))
	}
	_, err := fmt.Fprintf(w, "{\"Version\":\"2012-10-17\",\"Statement\":[\n  %s\n]}\n", strings.Join(statements, ",\n  "))
	return err
}

// identifier is the purpose without what stands between its words.
func (l Line) identifier() string {
	words := strings.FieldsFunc(l.purpose(), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for n, word := range words {
		words[n] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}

// Without is the policy without its line n, to show that the line is needed.
func (p Policy) Without(n int) Policy {
	lines := make([]Line, 0, len(p.Lines))
	lines = append(lines, p.Lines[:n]...)
	p.Lines = append(lines, p.Lines[n+1:]...)
	return p
}
