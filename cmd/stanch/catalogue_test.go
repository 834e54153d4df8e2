package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/rules"
)

var update = flag.Bool("update", false, "write docs/catalogue.md and the README's table anew")

// A tally is of how many kinds, of how many providers, something can be done.
type tally struct {
	kinds     int
	providers map[string]bool
}

// catalogueCounts are the tallies of the README's table, by the text of their row.
type catalogueCounts map[string]*tally

// The rows of the README's table, in its order.
const (
	rowDetect = "detect"
	rowVerify = "verify"
	rowHTTP   = "– by a request over HTTP"
	rowDriver = "– by a driver of Stanch's own"
	rowRevoke = "revoke"
	rowIssue  = "issue"
	rowRadius = "blast radius"
)

var catalogueRows = []string{rowDetect, rowVerify, rowHTTP, rowDriver, rowRevoke, rowIssue, rowRadius}

func countCatalogue(rows []ruleRow) catalogueCounts {
	n := catalogueCounts{}
	for _, name := range catalogueRows {
		n[name] = &tally{providers: map[string]bool{}}
	}
	byProgram := func(driver string) bool { return driver != "-" && driver != "manual" }
	for _, r := range rows {
		for name, counts := range map[string]bool{
			rowDetect: true, rowVerify: byProgram(r.Verify), rowHTTP: r.Verify == "http", rowDriver: byProgram(r.Verify) && r.Verify != "http",
			rowRevoke: byProgram(r.Revoke), rowIssue: byProgram(r.Issue), rowRadius: byProgram(r.BlastRadius),
		} {
			if counts {
				n[name].kinds++
				n[name].providers[r.Provider] = true
			}
		}
	}
	return n
}

// catalogueDocument is docs/catalogue.md.
func catalogueDocument(rows []ruleRow) string {
	n := countCatalogue(rows)
	var b strings.Builder
	fmt.Fprintf(&b, `# What Stanch knows

%d kinds of credential of %d providers, as “stanch rules list” lists them. %d are verified with their provider, %d revoked by
a program, %d issued anew, and of %d Stanch tells what a live one can do.

A column names what does it: “http” is a request that the catalogue spells out, other names are drivers. “manual” means
that a person does it, and “–” that it is not done, or that no rule says how; the link leads to where a person does it.

`, n[rowDetect].kinds, len(n[rowDetect].providers), n[rowVerify].kinds, n[rowRevoke].kinds, n[rowIssue].kinds, n[rowRadius].kinds)
	b.WriteString("| Kind | | Detect | Verify | Revoke | Issue | Blast radius | By hand |\n|---|---|---|---|---|---|---|---|\n")
	cell := func(driver string) string { return strings.ReplaceAll(driver, "-", "–") }
	for _, r := range rows {
		title := strings.NewReplacer("|", `\|`, "*", `\*`, "_", `\_`).Replace(r.Title)
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | [link](%s) |\n",
			r.ID, title, r.Detect, cell(r.Verify), cell(r.Revoke), cell(r.Issue), cell(r.BlastRadius), r.Link)
	}
	return b.String()
}

// readmeTable is what the README says of the catalogue.
var readmeTable = regexp.MustCompile(`(?m)^\| What Stanch does about a kind \|.*\n(?:\|.*\n)*`)

func catalogueTable(n catalogueCounts) string {
	var b strings.Builder
	b.WriteString("| What Stanch does about a kind | Kinds | Providers |\n|---|--:|--:|\n")
	for _, name := range catalogueRows {
		fmt.Fprintf(&b, "| %s | %d | %d |\n", name, n[name].kinds, len(n[name].providers))
	}
	return b.String()
}

// The documents tell what the catalogue holds. To write them anew:
//
//	go test ./cmd/stanch -run '^TestCatalogueDocuments$' -update
func TestCatalogueDocuments(t *testing.T) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	var rows []ruleRow
	for _, r := range catalogue {
		row := newRuleRow(r)
		if row.Link == "" {
			t.Errorf("%s: its runbook has no link", r.ID)
		}
		rows = append(rows, row)
	}
	root := moduleRoot(t)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !readmeTable.Match(readme) {
		t.Fatal("the README does not say what is done about how many kinds")
	}
	want := map[string]string{
		"docs/catalogue.md": catalogueDocument(rows),
		"README.md":         readmeTable.ReplaceAllLiteralString(string(readme), catalogueTable(countCatalogue(rows))),
	}
	for name, text := range want {
		path := filepath.Join(root, name)
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s is older than the catalogue (%v): write it anew with -update", name, err)
		}
	}
}
