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

var update = flag.Bool("update", false, "write docs/catalogue.md and the README's counts anew")

// catalogueCounts are how many kinds something can be done about.
type catalogueCounts struct{ kinds, providers, verify, revoke, issue, radius, radiusProviders int }

func countCatalogue(rows []ruleRow) (n catalogueCounts) {
	providers, radii := map[string]bool{}, map[string]bool{}
	done := func(driver string) int {
		if driver == "-" || driver == "manual" {
			return 0
		}
		return 1
	}
	for _, r := range rows {
		providers[r.Provider] = true
		n.verify += done(r.Verify)
		n.revoke += done(r.Revoke)
		n.issue += done(r.Issue)
		if done(r.BlastRadius) > 0 {
			n.radius++
			radii[r.Provider] = true
		}
	}
	n.kinds, n.providers, n.radiusProviders = len(rows), len(providers), len(radii)
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

`, n.kinds, n.providers, n.verify, n.revoke, n.issue, n.radius)
	b.WriteString("| Kind | | Detect | Verify | Revoke | Issue | Blast radius | By hand |\n|---|---|---|---|---|---|---|---|\n")
	cell := func(driver string) string { return strings.ReplaceAll(driver, "-", "–") }
	for _, r := range rows {
		title := strings.NewReplacer("|", `\|`, "*", `\*`, "_", `\_`).Replace(r.Title)
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | [link](%s) |\n",
			r.ID, title, r.Detect, cell(r.Verify), cell(r.Revoke), cell(r.Issue), cell(r.BlastRadius), r.Link)
	}
	return b.String()
}

// readmeCounts is what the README says of the catalogue.
var readmeCounts = regexp.MustCompile(`(?s)Of these \[kinds\]\(docs/catalogue\.md\).*?can do\.`)

func readmeSentence(n catalogueCounts) string {
	return fmt.Sprintf(`Of these [kinds](docs/catalogue.md) %d are verified with their provider, %d revoked and %d issued anew
by a program, and of %d providers Stanch tells what a live credential can do.`, n.verify, n.revoke, n.issue, n.radiusProviders)
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
	if !readmeCounts.Match(readme) {
		t.Fatal("the README does not say what is done about how many kinds")
	}
	want := map[string]string{
		"docs/catalogue.md": catalogueDocument(rows),
		"README.md":         readmeCounts.ReplaceAllLiteralString(string(readme), readmeSentence(countCatalogue(rows))),
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
