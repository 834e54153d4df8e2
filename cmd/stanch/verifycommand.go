package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/intake"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

const verifyUsage = `Usage: stanch verify [--rule ID] [--format text|json] <TEXT
       stanch verify --rule ID --parts [--format text|json] <PARTS

Asks the provider about one credential: whether it is live, on what evidence, and
what it can do. The credential comes from standard input or, at a terminal, from a
prompt that does not show it. It never is an argument, which others on this machine
can see and the shell remembers; and it is never printed.

The rules say what kind it is. Give the text that it stands in where they need more
than the value: the name of its variable, or both lines of a key pair. --rule says
which kind is meant where the text holds several, or none that is known by its shape.
--parts takes the parts one a line, as NAME: VALUE, the secret as “secret: …”.

It is sent to its provider, and to no host that neither the catalogue nor your
environment (STANCH_PROVIDER_URLS, VAULT_ADDR) names.

Exit status: 0 the provider refuses it, 3 it is live, 2 nobody could tell, or there
was nothing to ask about.
`

// verifyOptions are the flags of stanch verify.
type verifyOptions struct {
	rule   string
	parts  bool
	format string
}

func runVerify(ctx context.Context, env *environment, args []string) int {
	var o verifyOptions
	f := flag.NewFlagSet("verify", flag.ContinueOnError)
	f.StringVar(&o.rule, "rule", "", "the credential is of the kind `ID`")
	f.BoolVar(&o.parts, "parts", false, "read the parts of the credential, one a line, as NAME: VALUE")
	f.StringVar(&o.format, "format", "text", "`FORMAT` of the answer: text or json")
	rest, err := env.parseFlags(f, verifyUsage, args)
	switch {
	case err != nil:
		return env.exit(err)
	case len(rest) > 0:
		return env.fail(errors.New("a credential is no argument, which the shell remembers: give it on standard input. Replace the one that you typed, if it was one"))
	case o.format != "text" && o.format != "json":
		return env.fail(fmt.Errorf("--format is %q: it must be text or json", o.format))
	case o.parts && o.rule == "":
		return env.fail(errors.New("--parts needs --rule: which kind of credential has these parts?"))
	}
	session, err := env.newSession(nil)
	if err != nil {
		return env.fail(err)
	}
	code, err := env.verifyOne(ctx, o, session)
	if err != nil {
		return env.fail(errors.New(session.hide(err.Error())))
	}
	return code
}

// verifyOne asks about the credential on standard input and tells the answer.
func (env *environment) verifyOne(ctx context.Context, o verifyOptions, s *session) (int, error) {
	var only *rules.Rule
	if o.rule != "" {
		var err error
		if only, err = s.rule(o.rule); err != nil {
			return 0, err
		}
	}
	text, err := env.credentialText(ctx, o, only)
	if err != nil {
		return 0, err
	}
	var found checks.Finding
	if o.parts {
		found, err = intake.FromParts(text, only)
	} else {
		found, err = intake.One(text, s.catalogue, s.scanner, only)
	}
	if err != nil {
		return 0, err
	}
	providers, err := env.providers(ctx)
	if err != nil {
		return 0, err
	}
	verdict, err := providers.Verify(ctx, found.Credential)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return 0, err
	}
	verdict.Validity = meant(verdict)
	told := newTold(found, verdict, providers.Can(found.Rule.ID))
	if o.format == "json" {
		err = writeJSON(env.stdout, told)
	} else {
		err = env.tellVerdict(told)
	}
	return map[checks.Validity]int{checks.Active: exitLive, checks.Inactive: exitDone, checks.Unknown: exitFailed}[verdict.Validity], err
}

// rule returns the rule of an id.
func (s *session) rule(id string) (*rules.Rule, error) {
	var ids []string
	for _, r := range s.catalogue {
		if r.ID == id {
			return r, nil
		}
		ids = append(ids, r.ID)
	}
	return nil, unknown("rule", id, ids, "stanch rules list")
}

// A toldVerdict is what stanch verify tells.
type toldVerdict struct {
	Rule        string            `json:"rule"`
	Description string            `json:"description"`
	Severity    rules.Severity    `json:"severity"`
	Redacted    string            `json:"redacted"`
	Fingerprint string            `json:"fingerprint"`
	Validity    checks.Validity   `json:"validity"`
	Grade       provider.Grade    `json:"grade"`
	LacksScope  bool              `json:"lacks_scope"`
	Evidence    provider.Evidence `json:"evidence"`
	Next        string            `json:"next"`
}

func newTold(f checks.Finding, v provider.Verdict, can provider.Abilities) toldVerdict {
	if v.SelfHosted && v.Validity == checks.Unknown && v.Evidence.Status != 0 {
		v.Evidence.Answer += "; another host may still take it"
	}
	if !can.Verify && can.Reason != "" {
		v.Evidence.Answer = whyUnasked(can.Reason)
	}
	return toldVerdict{
		Rule: f.Rule.ID, Description: f.Rule.Title, Severity: severityOf(f.Rule, v), Redacted: f.Redacted, Fingerprint: string(f.Fingerprint),
		Validity: v.Validity, Grade: v.Grade, LacksScope: v.LacksScope, Evidence: v.Evidence, Next: nextAfter(f.Rule, v, can),
	}
}

// whyUnasked is the part of a reason for what cannot be done that speaks of verifying.
func whyUnasked(reason string) string {
	for _, other := range []string{"revoke: ", "issue: "} {
		reason, _, _ = strings.Cut(reason, "; "+other)
	}
	return strings.TrimPrefix(reason, "verify: ")
}

// severityOf is how bad it is that a credential is live, by what it can do.
func severityOf(r *rules.Rule, v provider.Verdict) rules.Severity {
	if can := v.Evidence.Radius; can != nil {
		return r.Severity.Adjusted(can.Access)
	}
	return r.Severity
}

// nextAfter says what to do after a verdict.
func nextAfter(r *rules.Rule, v provider.Verdict, can provider.Abilities) string {
	runbook := strings.Join(strings.Fields(r.Runbook), " ")
	switch {
	case v.Validity == checks.Active:
		return "It works: take it as stolen. " + runbook
	case v.Validity == checks.Inactive:
		return "Nothing: its provider refuses it."
	case !can.Verify:
		return "Nobody can be asked, so take it as stolen. " + runbook
	}
	return "Ask again later; until it is known to be dead, take it as stolen. " + runbook
}

// grades says in words what a verdict can bear.
var grades = map[provider.Grade]string{
	provider.GradeA: "A: the answer names its owner, and a random value was refused",
	provider.GradeB: "B: a documented answer that names no owner",
	provider.GradeC: "C: no ground to act on",
}

// tellVerdict writes a verdict for people.
func (env *environment) tellVerdict(t toldVerdict) error {
	verdict := string(t.Validity)
	if t.LacksScope {
		verdict += ", but it may not do what was asked of it"
	}
	rows := [][2]string{
		{"verdict", verdict},
		{"grade", grades[t.Grade]},
		{"asked", t.Evidence.Request},
		{"answer", t.Evidence.Answer},
		{"control", t.Evidence.Control},
		{"at", t.Evidence.At.UTC().Format(time.RFC3339)},
		{"identity", identityText(t.Evidence.Identity)},
		{"can do", t.Evidence.Radius.Text()},
		{"severity", string(t.Severity)},
		{"fingerprint", t.Fingerprint},
		{"next", t.Next},
	}
	fmt.Fprintf(env.stdout, "%s\n", report.Printable(strings.TrimSpace(t.Description+"  "+t.Redacted)))
	table := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if row[1] != "" {
			fmt.Fprintf(table, "  %s\t%s\n", row[0], report.Printable(row[1]))
		}
	}
	return table.Flush()
}
