package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/rules"
)

// remediateUsage is the usage of stanch revoke and stanch rotate.
const remediateUsage = `Usage: stanch %[1]s [--rule ID] [--dry-run | --yes] [--reason TEXT] [--server URL] <TEXT
       stanch %[1]s --rule ID --parts [--dry-run | --yes] [--reason TEXT] [--server URL] <PARTS

%[2]s

The credential comes from standard input or, at a terminal, from a prompt that does not
show it, as with stanch verify. It never is an argument, and it is never printed. --rule
says of what kind it is where the text holds several, or none that is known by its shape.

--dry-run shows what would be done, call by call: what is sent to whom, which secrets of
which stores are changed, what can be taken back, and what could break. It asks the
provider and the stores, and changes nothing. At a terminal that is the default. --yes has
it done, and each step is told as it happens, to the proof that the provider refuses the
old credential. Without a terminal one of the two has to be said.

With --server, or STANCH_SERVER_URL, a running server does it; it wants its
STANCH_API_TOKEN. Else this process does, by the environment of “stanch serve”, of which
the settings of the GitHub App are not needed: in the database that STANCH_DATABASE_URL
names (default sqlite:stanch.db) it keeps the incident and the audit log. The audit log
names STANCH_CALLER, or the user of this machine.

When it is interrupted, or waits for a person who then has done what it says: run it
again. What is done is not done again.

Exit status: 0 the credential is proved dead, or the dry run shows how it would be; 2 it is
not, or it waits for a person.
`

// remediateOptions are the flags of stanch revoke and stanch rotate.
type remediateOptions struct {
	verifyOptions
	verb   incident.Verb
	dryRun bool
	yes    bool
	order  incident.Order
	reason string
	server string
}

func runRevoke(ctx context.Context, env *environment, args []string) int {
	return runRemediate(ctx, env, args, incident.Revoke, "Kills one credential at its provider, and proves it dead. Nothing takes its place: whoever\nuses it has to be given another.")
}

func runRotate(ctx context.Context, env *environment, args []string) int {
	return runRemediate(ctx, env, args, incident.Rotate, "Replaces one credential in the secret stores that hold it, kills the old one at its\nprovider, and proves it dead. With --order overlap the old one, which must not have leaked,\nlives on until nobody uses it any more.")
}

func runRemediate(ctx context.Context, env *environment, args []string, verb incident.Verb, what string) int {
	o := remediateOptions{verb: verb}
	f := flag.NewFlagSet(string(verb), flag.ContinueOnError)
	f.StringVar(&o.rule, "rule", "", "the credential is of the kind `ID`")
	f.BoolVar(&o.parts, "parts", false, "read the parts of the credential, one a line, as NAME: VALUE")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be done; the default at a terminal")
	f.BoolVar(&o.yes, "yes", false, "do it")
	if verb == incident.Rotate {
		f.StringVar((*string)(&o.order), "order", "", "`ORDER`: replace_first, revoke_first or overlap; default: the policy's")
	}
	f.StringVar(&o.reason, "reason", "", "`TEXT` for those who read the audit log")
	f.StringVar(&o.server, "server", "", "have the server at `URL` do it; default: STANCH_SERVER_URL")
	f.StringVar(&o.format, "format", "text", "`FORMAT` of the answer: text or json")
	rest, err := env.parseFlags(f, fmt.Sprintf(remediateUsage, verb, what), args)
	if err == nil {
		err = o.check(env, rest)
	}
	if err != nil {
		return env.exit(err)
	}
	code, err := env.remediate(ctx, o)
	if err != nil {
		return env.fail(err)
	}
	return code
}

// check refuses what cannot be meant, and makes a dry run of what is not said at a terminal.
func (o *remediateOptions) check(env *environment, rest []string) error {
	switch {
	case len(rest) > 0:
		return errors.New("a credential is no argument, which the shell remembers: give it on standard input. Replace the one that you typed, if it was one")
	case o.format != "text" && o.format != "json":
		return fmt.Errorf("--format is %q: it must be text or json", o.format)
	case o.parts && o.rule == "":
		return errors.New("--parts needs --rule: which kind of credential has these parts?")
	case o.dryRun && o.yes:
		return errors.New("--dry-run shows what would be done, and --yes does it: say one of them")
	case o.dryRun || o.yes:
		return nil
	case !isTerminal(env.stdin) && !isTerminal(env.stdout):
		return fmt.Errorf("nothing was done: without a terminal say --dry-run, which shows what “stanch %s” would do, or --yes, which does it", o.verb)
	}
	o.dryRun = true
	return nil
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// remediate has the credential on standard input revoked or rotated, or shows how.
func (env *environment) remediate(ctx context.Context, o remediateOptions) (int, error) {
	call, err := env.handOver(ctx, o)
	if err != nil {
		return 0, err
	}
	a, err := env.remediationAPI(ctx, o)
	if err != nil {
		return 0, err
	}
	code, err := env.order(ctx, a, call, o)
	return code, errors.Join(err, a.close())
}

// handOver reads what is to be handed over.
func (env *environment) handOver(ctx context.Context, o remediateOptions) (app.Handed, error) {
	call := app.Handed{Rule: o.rule, Verb: o.verb, Order: o.order, Reason: o.reason, DryRun: o.dryRun}
	var only *rules.Rule
	if o.rule != "" {
		catalogue, err := rules.Catalogue()
		if err != nil {
			return call, err
		}
		if only, err = (&session{catalogue: catalogue}).rule(o.rule); err != nil {
			return call, err
		}
	}
	text, err := env.credentialText(ctx, o.verifyOptions, only)
	if err != nil {
		return call, err
	}
	if !o.parts {
		call.Text = text
		return call, nil
	}
	call.Parts = map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case strings.TrimSpace(line) == "":
			continue
		case !ok: // not repeated: it may be the secret
			return call, errors.New("a line of the parts has no colon: write each as NAME: VALUE")
		case call.Parts[name] != "":
			return call, errors.New("a part is there twice")
		}
		call.Parts[name] = value
	}
	return call, nil
}

// remediationAPI is who carries it out.
func (env *environment) remediationAPI(ctx context.Context, o remediateOptions) (*api, error) {
	if address := env.serverAddress(o.server); address != "" {
		return env.serverAPI(address)
	}
	if o.dryRun {
		return env.localAPI(ctx, toPlan)
	}
	return env.localAPI(ctx, toOrder)
}

// order hands the credential over, and tells the plan or what is done.
func (env *environment) order(ctx context.Context, a *api, call app.Handed, o remediateOptions) (int, error) {
	if o.dryRun {
		var plan app.Plan
		if err := a.call(ctx, http.MethodPost, "/remediations", call, &plan); err != nil {
			return 0, err
		}
		return env.showPlan(plan, o.format, fmt.Sprintf("Nothing was done: this was a dry run. “stanch %s --yes” does it.", o.verb))
	}
	var done app.Ordered
	if err := a.call(ctx, http.MethodPost, "/remediations", call, &done); err != nil {
		if ctx.Err() != nil {
			return 0, errors.New("interrupted before the answer came: run it again, nothing is done twice")
		}
		return 0, err
	}
	if a.local != nil && o.format == "text" {
		fmt.Fprintf(env.stderr, "stanch: recorded in %s (STANCH_DATABASE_URL)\n", a.local.database)
	}
	return env.follow(ctx, a, done, o.format)
}
