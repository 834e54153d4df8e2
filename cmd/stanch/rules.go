package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/stanch-dev/stanch/checks/intake"
	"github.com/stanch-dev/stanch/rules"
)

const rulesUsage = `Usage: stanch rules list [--rules PATH]… [--format text|json]
       stanch rules show [--rules PATH]… ID
       stanch rules lint PATH…
       stanch rules test [PATH…]

The rules say what a secret is and what can be done about each kind. list and
show tell what is built in and, with --rules, what is in your own rule files; lint
judges such files; test proves that each rule finds its examples, and nothing
else does: the built-in rules, or those in the files and folders named.

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
	Link        string         `json:"link"` // where a person does what nothing here does
}

func newRuleRow(r *rules.Rule) ruleRow {
	return ruleRow{
		ID: r.ID, Provider: r.Provider.Name, Title: r.Title, Severity: r.Severity, Detect: detection(&r.Detect),
		Verify: r.Verify.DriverName(), Revoke: r.Revoke.DriverName(), Issue: r.Issue.DriverName(),
		BlastRadius: r.RadiusDriver(), Link: webAddress.FindString(r.Runbook),
	}
}

// webAddress is an address in a runbook, without the punctuation behind it.
var webAddress = regexp.MustCompile(`https://[^\s)>"]*[^\s)>".,;:]`)

// detection names how a kind is recognised.
func detection(d *rules.Detect) string {
	switch {
	case d.Pattern != "":
		return "pattern"
	case d.Value != "":
		return "value"
	}
	return "path"
}

func (env *environment) rulesList(args []string) int {
	f := flag.NewFlagSet("rules list", flag.ContinueOnError)
	format := f.String("format", "text", "`FORMAT` of the list: text or json")
	catalogue, rest, err := env.rulesFlags(f, "Usage: stanch rules list [--rules PATH]… [--format text|json]\n", args)
	switch {
	case err != nil:
		return env.exit(err)
	case len(rest) > 0:
		return env.fail(fmt.Errorf("rules list takes no arguments, and was given %q: for your own rules write --rules %[1]s", rest[0]))
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

// rulesFlags parses the flags of a command that tells about rules, and loads these.
func (env *environment) rulesFlags(f *flag.FlagSet, usage string, args []string) (all []*rules.Rule, rest []string, err error) {
	var paths []string
	f.Func("rules", "tell about the rules in `PATH`, a file or a folder, too; may be repeated", listOf(&paths))
	if rest, err = env.parseFlags(f, usage, args); err != nil {
		return nil, nil, err
	}
	all, _, err = withOwnRules(paths)
	return all, rest, err
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func writeTable(w io.Writer, rows []ruleRow) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSEVERITY\tDETECT\tVERIFY\tREVOKE\tISSUE\tBLAST RADIUS\tTITLE\tBY HAND")
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			r.ID, r.Severity, r.Detect, r.Verify, r.Revoke, r.Issue, r.BlastRadius, r.Title, r.Link)
	}
	return table.Flush()
}

func (env *environment) rulesShow(args []string) int {
	f := flag.NewFlagSet("rules show", flag.ContinueOnError)
	catalogue, rest, err := env.rulesFlags(f, "Usage: stanch rules show [--rules PATH]… ID\n", args)
	switch {
	case err != nil:
		return env.exit(err)
	case len(rest) != 1:
		return env.fail(errors.New("rules show takes one rule’s id: “stanch rules list” lists them"))
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
		{"provider", strings.Trim(cmp.Or(r.Provider.Title, r.Provider.Name)+", "+r.Provider.Website, ", ")},
		{"severity", string(row.Severity)},
		{"keywords", strings.Join(r.Detect.Keywords, " ")},
		{"pattern", r.Detect.Pattern},
		{"value", r.Detect.Value},
		{"of names", r.Detect.Names},
		{"in paths", r.Detect.Path},
		{"entropy", positive(r.Detect.Entropy)},
		{"checksum", r.Detect.Checksum},
		{"together with", strings.Join(together(&r.Detect), " ")},
		{"parts", strings.Join(intake.PartsOf(r), " ")},
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

func positive(n float64) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf("at least %g bits a character", n)
}

// together are the other parts and rules that a kind needs.
func together(d *rules.Detect) (names []string) {
	for _, c := range d.Companions {
		names = append(names, c.Name)
	}
	for _, r := range d.Required {
		names = append(names, r.ID)
	}
	return names
}
