package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const rulesUsage = `Usage: stanch rules list [--format text|json]
       stanch rules show ID
       stanch rules lint FILE…
       stanch rules test

The rules say what a secret is and what can be done about each kind. list and
show tell what is built in; lint judges rule files of your own; test proves that
each rule finds its examples, and nothing else does.

Exit status: 0 good, 1 faults were found, 2 could not do what was asked.
`

func rulesCommands() map[string]func(*environment, []string) int {
	return map[string]func(*environment, []string) int{
		"list": (*environment).rulesList,
		"show": (*environment).rulesShow,
		"lint": (*environment).rulesLint,
		"test": (*environment).rulesTest,
	}
}

func runRules(_ context.Context, env *environment, args []string) int {
	all := rulesCommands()
	if len(args) == 0 {
		fmt.Fprint(env.stderr, rulesUsage)
		return exitFailed
	}
	if strings.HasPrefix(args[0], "-") {
		_, err := env.parseFlags(flag.NewFlagSet("rules", flag.ContinueOnError), rulesUsage, args)
		return env.exit(cmp.Or(err, unknown("command", args[0], nil, "stanch rules --help")))
	}
	sub, ok := all[args[0]]
	if !ok {
		return env.fail(unknown("command", "rules "+args[0], prefixed("rules ", all), "stanch rules --help"))
	}
	return sub(env, args[1:])
}

func prefixed[V any](prefix string, all map[string]V) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		names = append(names, prefix+name)
	}
	return names
}

// A ruleRow is a rule as lists show it: a driver's name, "manual" or "-" for
// what can be done about its secrets.
type ruleRow struct {
	ID          string         `json:"id"`
	Provider    string         `json:"provider"`
	Title       string         `json:"title"`
	Severity    rules.Severity `json:"severity"`
	Detect      string         `json:"detect"`
	Verify      string         `json:"verify"`
	Revoke      string         `json:"revoke"`
	Issue       string         `json:"issue"`
	BlastRadius string         `json:"blast_radius"`
}

func newRuleRow(r *rules.Rule) ruleRow {
	return ruleRow{
		ID: r.ID, Provider: r.Provider.Name, Title: r.Title, Severity: r.Severity, Detect: "pattern",
		Verify: r.Verify.DriverName(), Revoke: r.Revoke.DriverName(), Issue: r.Issue.DriverName(),
		BlastRadius: cmp.Or(r.BlastRadius, "-"),
	}
}

func (env *environment) rulesList(args []string) int {
	f := flag.NewFlagSet("rules list", flag.ContinueOnError)
	format := f.String("format", "text", "`FORMAT` of the list: text or json")
	rest, err := env.parseFlags(f, "Usage: stanch rules list [--format text|json]\n", args)
	switch {
	case err != nil:
		return env.exit(err)
	case len(rest) > 0:
		return env.fail(fmt.Errorf("rules list takes no arguments, and was given %q", rest[0]))
	}
	catalogue, err := rules.Catalogue()
	if err != nil {
		return env.fail(err)
	}
	rows := make([]ruleRow, len(catalogue))
	for i, r := range catalogue {
		rows[i] = newRuleRow(r)
	}
	switch *format {
	case "json":
		err = writeJSON(env.stdout, rows)
	case "text":
		err = writeTable(env.stdout, rows)
	default:
		err = fmt.Errorf("--format is %q: it must be text or json", *format)
	}
	if err != nil {
		return env.fail(err)
	}
	return exitDone
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func writeTable(w io.Writer, rows []ruleRow) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSEVERITY\tVERIFY\tREVOKE\tISSUE\tTITLE")
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Severity, r.Verify, r.Revoke, r.Issue, r.Title)
	}
	return table.Flush()
}

func (env *environment) rulesShow(args []string) int {
	rest, err := env.parseFlags(flag.NewFlagSet("rules show", flag.ContinueOnError), "Usage: stanch rules show ID\n", args)
	switch {
	case err != nil:
		return env.exit(err)
	case len(rest) != 1:
		return env.fail(errors.New("rules show takes one rule’s id: “stanch rules list” lists them"))
	}
	catalogue, err := rules.Catalogue()
	if err != nil {
		return env.fail(err)
	}
	var ids []string
	for _, r := range catalogue {
		if r.ID == rest[0] {
			env.showRule(r)
			return exitDone
		}
		ids = append(ids, r.ID)
	}
	return env.fail(unknown("rule", rest[0], ids, "stanch rules list"))
}

func (env *environment) showRule(r *rules.Rule) {
	row := newRuleRow(r)
	table := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for _, line := range []struct{ name, value string }{
		{"id", row.ID},
		{"title", row.Title},
		{"provider", r.Provider.Title + ", " + r.Provider.Website},
		{"severity", string(row.Severity)},
		{"keywords", strings.Join(r.Detect.Keywords, " ")},
		{"pattern", r.Detect.Pattern},
		{"checksum", r.Detect.Checksum},
		{"verify", because(r.Verify)},
		{"revoke", because(r.Revoke)},
		{"issue", because(r.Issue)},
		{"blast radius", row.BlastRadius},
		{"sample", r.Sample},
		{"by hand", strings.TrimSpace(r.Runbook)},
	} {
		if line.value != "" {
			fmt.Fprintf(table, "%s\t%s\n", line.name, line.value)
		}
	}
	table.Flush()
}

// because names an action's driver with the reason, where there is one.
func because(a rules.Action) string {
	if a.Because == "" {
		return a.DriverName()
	}
	return a.DriverName() + ": " + a.Because
}

func (env *environment) rulesLint(args []string) int {
	rest, err := env.parseFlags(flag.NewFlagSet("rules lint", flag.ContinueOnError), "Usage: stanch rules lint FILE…\n", args)
	switch {
	case err != nil:
		return env.exit(err)
	case len(rest) == 0:
		return env.fail(errors.New("rules lint takes rule files: name at least one"))
	}
	faults := 0
	for _, path := range rest {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return env.fail(fmt.Errorf("read rules: %s is a folder: name the files, such as %s", path, filepath.Join(path, "*.yaml")))
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return env.fail(fmt.Errorf("read rules: %w", err))
		}
		for _, fault := range lintFile(filepath.Base(path), data) {
			fmt.Fprintln(env.stdout, fault)
			faults++
		}
	}
	return env.concludeRules(amount(len(rest), "file"), faults)
}

// lintFile says what is wrong with one rule file.
func lintFile(name string, data []byte) (faults []error) {
	providers, err := rules.Load(oneFile{name, data})
	if err != nil {
		return []error{err}
	}
	for _, p := range providers {
		faults = append(faults, rules.Lint(p)...)
	}
	return faults
}

// concludeRules tells how many faults there were and returns the status.
func (env *environment) concludeRules(what string, faults int) int {
	fmt.Fprintf(env.stderr, "%s: %s\n", what, amount(faults, "fault"))
	if faults > 0 {
		return exitFound
	}
	return exitDone
}

// oneFile is a file system with one file in it, whatever the file is called.
type oneFile struct {
	name string
	data []byte
}

// Open implements fs.FS. Only ReadFile and Glob are ever asked.
func (f oneFile) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// Glob implements fs.GlobFS.
func (f oneFile) Glob(string) ([]string, error) { return []string{f.name}, nil }

// ReadFile implements fs.ReadFileFS.
func (f oneFile) ReadFile(string) ([]byte, error) { return f.data, nil }

func (env *environment) rulesTest(args []string) int {
	rest, err := env.parseFlags(flag.NewFlagSet("rules test", flag.ContinueOnError), "Usage: stanch rules test\n", args)
	switch {
	case err != nil:
		return env.exit(err)
	case len(rest) > 0:
		return env.fail(fmt.Errorf("rules test takes no arguments, and was given %q", rest[0]))
	}
	catalogue, err := rules.Catalogue()
	if err != nil {
		return env.fail(err)
	}
	scanner, err := checks.NewScanner(catalogue, newKey())
	if err != nil {
		return env.fail(err)
	}
	faults := 0
	random := rand.NewChaCha8([32]byte{1}) // a rule that is good today is good tomorrow
	for _, r := range catalogue {
		for _, fault := range testRule(scanner, r, random) {
			fmt.Fprintf(env.stdout, "%s: %s\n", r.ID, fault)
			faults++
		}
	}
	return env.concludeRules(amount(len(catalogue), "rule"), faults)
}

// testRule scans a rule's examples and counterexamples with all rules.
func testRule(scanner *checks.Scanner, r *rules.Rule, random io.Reader) (faults []string) {
	for i, text := range r.Examples {
		expanded, _, err := r.Expand(text, random)
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		found, _ := scanner.Examine("example", []byte(expanded)) // too short to be incomplete
		if fault := judgeExample(r.ID, found); fault != "" {
			faults = append(faults, fmt.Sprintf("example %d: %s", i+1, fault))
		}
	}
	for i, text := range r.Counterexamples {
		expanded, _, err := r.Expand(text, random)
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		found, _ := scanner.Examine("counterexample", []byte(expanded))
		for _, f := range found {
			faults = append(faults, fmt.Sprintf("counterexample %d: rule %s finds something", i+1, f.Rule.ID))
		}
	}
	return faults
}

// judgeExample says what is wrong with the findings in a rule's example.
func judgeExample(id string, found []checks.Finding) string {
	if len(found) == 0 {
		return "nothing is found"
	}
	for _, f := range found {
		if f.Rule.ID != id {
			return "rule " + f.Rule.ID + " finds something too"
		}
	}
	return ""
}
