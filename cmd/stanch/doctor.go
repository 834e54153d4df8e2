package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

const doctorUsage = `Usage: stanch doctor [--provider NAME…] [--format text|json]
       stanch doctor --policy[=NAME]

Reads the environment of stanch serve and says, of all that the server needs, what is
well and what is not, and what to do about it: the settings, the database and its key,
the GitHub App with its permissions, events and webhook, Vault or OpenBao with what
Stanch's own token may do there, the secret store, Kubernetes, Stanch's accounts at
clouds, the broker, the policy, and verification. It changes nothing, and may run beside
a server.

GitHub, Vault and the clouds are asked about Stanch itself. No provider is asked about anything,
unless --provider names it: then a random value of each of its kinds is sent to it,
which it must refuse. One that does not is held at grade C by the server, and nothing
is done on its word without a person.

No setting's value is printed.

With --policy nothing is looked at: what Stanch's own accounts must be allowed is
printed, line by line with the action that fails without it, in the form in which it is
granted: for what the environment has Stanch do, for NAME (github, vault, kubernetes,
aws,…), or for all.

Exit status: 0 all is well, 2 something is wrong.
`

// doctorPatience bounds the questions to one server.
const doctorPatience = 20 * time.Second

// The outcomes of an examination.
const (
	statusOK      = "ok"
	statusNote    = "note" // nothing is wrong, and something is not there
	statusProblem = "problem"
)

// A diagnosis is one thing that was looked at.
type diagnosis struct {
	Subject string `json:"subject"`
	Status  string `json:"status"`
	Found   string `json:"found"`
	Next    string `json:"next,omitempty"` // what to do about a problem
}

// A doctor looks at what stanch serve needs.
type doctor struct {
	getenv    func(string) string
	settings  settings
	missing   map[string]bool // settings that are needed, or meant, and cannot be read
	catalogue []*rules.Rule
	found     []diagnosis
}

func runDoctor(ctx context.Context, env *environment, args []string) int {
	var format string
	var names []string
	f := flag.NewFlagSet("doctor", flag.ContinueOnError)
	var policy policyFlag
	f.Var(&policy, "policy", "print what Stanch's own accounts must be allowed: at `NAME`, at all, or, without a name, wherever the environment has it act")
	f.StringVar(&format, "format", "text", "`FORMAT` of the report: text or json")
	f.Func("provider", "send random values to the provider `NAME`, which it must refuse; may be repeated", listOf(&names))
	rest, err := env.parseFlags(f, doctorUsage, args)
	switch {
	case err != nil:
		return env.exit(err)
	case len(rest) > 0:
		return env.fail(fmt.Errorf("doctor takes no arguments, and was given %q: it reads the environment of stanch serve", rest[0]))
	case format != "text" && format != "json":
		return env.fail(fmt.Errorf("--format is %q: it must be text or json", format))
	}
	d := &doctor{getenv: env.getenv}
	if d.catalogue, err = rules.Catalogue(); err != nil {
		return env.fail(err)
	}
	if err := d.mustKnow(names); err != nil {
		return env.fail(err)
	}
	if policy.given {
		d.readSettings()
		if err := printPolicies(env.stdout, d.settings, policy.name); err != nil {
			return env.fail(err)
		}
		return exitDone
	}
	d.examine(ctx, names)
	problems := count(d.found, func(one diagnosis) bool { return one.Status == statusProblem })
	if format == "json" {
		err = writeJSON(env.stdout, doctorReport{problems, d.found})
	} else {
		err = writeDiagnoses(env.stdout, d.found, problems)
	}
	switch {
	case err != nil:
		return env.fail(err)
	case ctx.Err() != nil:
		return env.fail(errors.New("interrupted: not everything was looked at"))
	case problems > 0:
		return exitFailed
	}
	return exitDone
}

// A doctorReport is what --format json writes.
type doctorReport struct {
	Problems int         `json:"problems"`
	Checks   []diagnosis `json:"checks"`
}

// examine looks at one thing after another. What is wrong with one keeps nothing from
// looking at the others.
func (d *doctor) examine(ctx context.Context, names []string) {
	d.readSettings()
	d.policy()
	d.database(ctx)
	d.github(ctx)
	d.vault(ctx)
	d.storeFile()
	d.aws(ctx)
	d.kubernetes(ctx)
	d.clouds(ctx)
	d.broker()
	d.pages()
	d.verification(ctx, names)
}

func (d *doctor) ok(subject, format string, args ...any) {
	d.found = append(d.found, diagnosis{Subject: subject, Status: statusOK, Found: fmt.Sprintf(format, args...)})
}

func (d *doctor) note(subject, format string, args ...any) {
	d.found = append(d.found, diagnosis{Subject: subject, Status: statusNote, Found: fmt.Sprintf(format, args...)})
}

func (d *doctor) problem(subject, found, next string) {
	d.found = append(d.found, diagnosis{Subject: subject, Status: statusProblem, Found: found, Next: next})
}

// writeDiagnoses writes a report for people.
func writeDiagnoses(w io.Writer, found []diagnosis, problems int) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, one := range found {
		fmt.Fprintf(table, "%s\t%s\t%s\n", one.Status, one.Subject, report.Printable(one.Found))
		if one.Next != "" {
			fmt.Fprintf(table, "\t\tnext: %s\n", report.Printable(one.Next))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	verdict := "All is well."
	if problems > 0 {
		verdict = report.Count(problems, "problem") + "."
	}
	_, err := fmt.Fprintf(w, "\n%s\n", verdict)
	return err
}
