package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/rules"
)

// documents are the README and the files of docs, by name.
func documents(t *testing.T) map[string]string {
	t.Helper()
	root := moduleRoot(t)
	names, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(names) == 0 {
		t.Fatalf("docs: %v, %v", names, err)
	}
	texts := map[string]string{}
	for _, name := range append(names, filepath.Join(root, "README.md")) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(name)] = string(data)
	}
	return texts
}

var (
	// commandLine is a command of ours in a code block, in backquotes or after a pipe.
	commandLine  = regexp.MustCompile("(?m)(?:^ *|[`|“] ?|cmd/)stanch ([a-z]+)((?: [^`|”\n#]*)?)")
	flagInText   = regexp.MustCompile(`--[a-z][a-z-]*`)
	linkedInText = regexp.MustCompile(`\]\(([a-z./_]+)(?:#[a-z-]*)?\)`)
)

// What the documents tell people to type exists: commands, flags of that command,
// other flags of some command, and the files that they link to.
func TestDocumentsTellWhatThereIs(t *testing.T) {
	places := completables(t.Context())
	flags := map[string][]string{}
	var all []string
	for _, p := range places {
		for _, f := range p.flags {
			flags[p.path] = append(flags[p.path], f.text)
			all = append(all, f.text)
		}
	}
	all = append(all, "--no-verify", "--all", "--no-banner", "--exit-code") // git's and gitleaks'
	for name, text := range documents(t) {
		for _, m := range commandLine.FindAllStringSubmatch(text, -1) {
			path := m[1]
			if flags[path] == nil {
				t.Errorf("%s: there is no command “stanch %s”", name, path)
				continue
			}
			if words := strings.Fields(m[2]); len(words) > 0 && flags[path+" "+words[0]] != nil {
				path += " " + words[0]
			}
			for _, f := range flagInText.FindAllString(m[2], -1) {
				if !slices.Contains(flags[path], f) {
					t.Errorf("%s: “stanch %s” has no flag %s", name, path, f)
				}
			}
		}
		for _, f := range flagInText.FindAllString(text, -1) {
			if name == "performance.md" || name == "import.md" { // other programs' flags
				break
			}
			if !slices.Contains(all, f) {
				t.Errorf("%s: no command has the flag %s", name, f)
			}
		}
	}
	for _, f := range flags["scan"] {
		if text := documents(t)["scanning.md"]; f != "--help" && !strings.Contains(text, f) {
			t.Errorf("scanning.md does not tell of %s", f)
		}
	}
}

func TestDocumentsLinkToFiles(t *testing.T) {
	root := moduleRoot(t)
	for name, text := range documents(t) {
		dir := filepath.Join(root, "docs")
		if name == "README.md" {
			dir = root
		}
		for _, m := range linkedInText.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
}

// The README counts the catalogue: not more than there is, and not much less.
func TestReadmeCounts(t *testing.T) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	providers := map[string]bool{}
	for _, r := range catalogue {
		providers[r.Provider.Name] = true
	}
	text := strings.Join(strings.Fields(documents(t)["README.md"]), " ")
	m := regexp.MustCompile(`more than ([0-9,]+) kinds of credential of more than ([0-9,]+) providers`).FindStringSubmatch(text)
	if m == nil {
		t.Fatal("the README does not count the kinds of credential and their providers")
	}
	for i, have := range []int{len(catalogue), len(providers)} {
		told, err := strconv.Atoi(strings.ReplaceAll(m[i+1], ",", ""))
		if err != nil || have < told || have > told*5/4 {
			t.Errorf("the README says more than %s, and there are %d", m[i+1], have)
		}
	}
}

// docs/rules.md explains each field of a rule.
func TestRuleFieldsAreExplained(t *testing.T) {
	text := documents(t)["rules.md"]
	for _, of := range []any{rules.Detect{}, rules.Allow{}, rules.Requirement{}, rules.Companion{}, rules.Request{}, rules.Answer{}, rules.BlastRadius{}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(of)) {
			if name := field.Tag.Get("yaml"); name != "-" && !strings.Contains(text, "`"+name+"`") {
				t.Errorf("docs/rules.md does not explain %s of %T", name, of)
			}
		}
	}
}
