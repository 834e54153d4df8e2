package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/incident"
)

const incidentsUsage = `Usage: stanch incidents list [--state STATE] [--rule ID] [--repository OWNER/NAME] [--limit N] [--before ID]
       stanch incidents show ID
       stanch incidents plan ID [rotate|revoke|undo]
       stanch incidents approve ID rotate|revoke [--reason TEXT]
       stanch incidents resolve ID false_positive|used_in_tests|wont_fix|revoked --reason TEXT
       stanch incidents undo|end-hold|confirm ID --reason TEXT
       stanch incidents halt|resume --reason TEXT
       stanch incidents halted
       stanch incidents schedule

An incident is one leaked credential, however often it was found.

list shows the newest first: all, or those of a state (open, stuck, contained, rotated,
proved_dead, resolved, dismissed, never_live), a rule or a repository. show tells all of
one: its timeline in seconds since the push, each step, where it is kept, and what a
person can do now. plan shows what a remediation would do, call by call, and what could
break; it changes nothing.

approve has a credential rotated or revoked; where the policy wants two people, somebody
else has to say the same. resolve ends an incident on your word; what its provider takes
is not ended like that.

What is disabled is deleted when its hold is over: until then undo brings it back, and
end-hold has it deleted now. confirm says that nobody uses the old credential of an
overlap any more. halt stops all remediations before their next step that changes
anything, resume lets them go on, and halted tells whether they are halted. schedule lists
what the policy has rotated from time to time, and why something of it is not.

With --server, or STANCH_SERVER_URL, a server is asked, which wants its STANCH_API_TOKEN.
Else the database that STANCH_DATABASE_URL names is read, also beside a server; what
changes something there is done in this process, if no server has the database open. The
audit log names STANCH_CALLER, or the user of this machine.

Exit status: 0 done; 2 could not do what was asked, or it waits for a person.
`

// An incidentsCommand is one of the words after "stanch incidents".
type incidentsCommand struct {
	purpose purpose
	run     func(context.Context, *environment, *api, incidentsOptions) (int, error)
	args    string // that it takes, for messages
	most    int    // how many there are, of which least must be given
	least   int
	reason  bool // it needs one
}

func incidentsCommands() map[string]incidentsCommand {
	return map[string]incidentsCommand{
		"list":     {purpose: toRead, run: listIncidents},
		"show":     {purpose: toRead, run: showIncident, args: "ID", most: 1, least: 1},
		"plan":     {purpose: toRead, run: planIncident, args: "ID [rotate|revoke|undo]", most: 2, least: 1},
		"approve":  {purpose: toDecide, run: approveIncident, args: "ID rotate|revoke", most: 2, least: 2},
		"resolve":  {purpose: toDecide, run: resolveIncident, args: "ID RESOLUTION", most: 2, least: 2, reason: true},
		"undo":     {purpose: toDecide, run: changeIncident("undo"), args: "ID", most: 1, least: 1, reason: true},
		"end-hold": {purpose: toDecide, run: changeIncident("end-hold"), args: "ID", most: 1, least: 1, reason: true},
		"confirm":  {purpose: toDecide, run: changeIncident("confirm"), args: "ID", most: 1, least: 1, reason: true},
		"halt":     {purpose: toDecide, run: haltAll(http.MethodPost, "/halt"), reason: true},
		"resume":   {purpose: toDecide, run: haltAll(http.MethodPost, "/resume"), reason: true},
		"halted":   {purpose: toRead, run: haltAll(http.MethodGet, "/halt")},
		"schedule": {purpose: toRead, run: listSchedule},
	}
}

// incidentsOptions are the flags of stanch incidents.
type incidentsOptions struct {
	args       []string
	format     string
	server     string
	reason     string
	state      string
	rule       string
	repository string
	before     string
	limit      int
}

func runIncidents(ctx context.Context, env *environment, args []string) int {
	all := incidentsCommands()
	if len(args) == 0 {
		fmt.Fprint(env.stderr, incidentsUsage)
		return exitFailed
	}
	if strings.HasPrefix(args[0], "-") {
		_, err := env.parseFlags(flag.NewFlagSet("incidents", flag.ContinueOnError), incidentsUsage, args)
		return env.exit(cmp.Or(err, unknown("command", args[0], nil, "stanch incidents --help")))
	}
	command, ok := all[args[0]]
	if !ok {
		return env.fail(unknown("command", "incidents "+args[0], prefixed("incidents ", all), "stanch incidents --help"))
	}
	o, err := env.incidentsOptions(args[0], command, args[1:])
	if err != nil {
		return env.exit(err)
	}
	code, err := env.runIncidents(ctx, command, o)
	if err != nil {
		return env.fail(err)
	}
	return code
}

func (env *environment) incidentsOptions(name string, c incidentsCommand, args []string) (o incidentsOptions, err error) {
	f := flag.NewFlagSet("incidents "+name, flag.ContinueOnError)
	f.StringVar(&o.format, "format", "text", "`FORMAT` of the answer: text or json")
	f.StringVar(&o.server, "server", "", "ask the server at `URL`; default: STANCH_SERVER_URL")
	if c.purpose == toDecide {
		f.StringVar(&o.reason, "reason", "", "`TEXT` for those who read the audit log")
	}
	if name == "list" {
		f.StringVar(&o.state, "state", "", "those of a `STATE`")
		f.StringVar(&o.rule, "rule", "", "those of the kind `ID`")
		f.StringVar(&o.repository, "repository", "", "those that were found in the repository `OWNER/NAME`")
		f.StringVar(&o.before, "before", "", "those that are older than the incident `ID`")
		f.IntVar(&o.limit, "limit", 50, "at most `N`, of 200")
	}
	if o.args, err = env.parseFlags(f, incidentsUsage, args); err != nil {
		return o, err
	}
	switch {
	case len(o.args) < c.least || len(o.args) > c.most:
		return o, fmt.Errorf("say %s: “stanch incidents list” lists their ids", strings.TrimSpace("stanch incidents "+name+" "+c.args))
	case o.format != "text" && o.format != "json":
		return o, fmt.Errorf("--format is %q: it must be text or json", o.format)
	case c.reason && strings.TrimSpace(o.reason) == "":
		return o, errors.New("give a --reason, for those who read the audit log")
	}
	return o, nil
}

func (env *environment) runIncidents(ctx context.Context, c incidentsCommand, o incidentsOptions) (int, error) {
	var a *api
	var err error
	if address := env.serverAddress(o.server); address != "" {
		a, err = env.serverAPI(address)
	} else {
		a, err = env.localAPI(ctx, c.purpose)
	}
	if err != nil {
		return 0, err
	}
	code, err := c.run(ctx, env, a, o)
	return code, errors.Join(err, a.close())
}

func listIncidents(ctx context.Context, env *environment, a *api, o incidentsOptions) (int, error) {
	q := url.Values{"limit": {strconv.Itoa(o.limit)}}
	for name, value := range map[string]string{"state": o.state, "rule": o.rule, "repository": o.repository, "before": o.before} {
		if value != "" {
			q.Set(name, value)
		}
	}
	var page app.IncidentList
	if err := a.call(ctx, http.MethodGet, "/incidents?"+q.Encode(), nil, &page); err != nil {
		return 0, err
	}
	if o.format == "json" {
		return exitDone, writeJSON(env.stdout, page)
	}
	return exitDone, env.printIncidents(page)
}

// one is the path of the incident that the arguments name.
func (o incidentsOptions) one() string { return "/incidents/" + url.PathEscape(o.args[0]) }

func showIncident(ctx context.Context, env *environment, a *api, o incidentsOptions) (int, error) {
	var i app.WholeIncident
	if err := a.call(ctx, http.MethodGet, o.one(), nil, &i); err != nil {
		return 0, err
	}
	if o.format == "json" {
		return exitDone, writeJSON(env.stdout, i)
	}
	return exitDone, env.printIncident(i)
}

func planIncident(ctx context.Context, env *environment, a *api, o incidentsOptions) (int, error) {
	path, verb := o.one()+"/plan", ""
	if len(o.args) > 1 {
		verb = o.args[1]
		path += "?verb=" + url.QueryEscape(verb)
	}
	var plan app.Plan
	if err := a.call(ctx, http.MethodGet, path, nil, &plan); err != nil {
		return 0, err
	}
	do := fmt.Sprintf("“stanch incidents approve %s %s” does it.", plan.Incident, plan.Verb)
	if plan.Verb == incident.Undo {
		do = fmt.Sprintf("“stanch incidents undo %s --reason …” does it.", plan.Incident)
	}
	return env.showPlan(plan, o.format, "Nothing was done. "+do)
}

func approveIncident(ctx context.Context, env *environment, a *api, o incidentsOptions) (int, error) {
	var done app.Ordered
	body := map[string]string{"verb": o.args[1], "reason": o.reason}
	if err := a.call(ctx, http.MethodPost, o.one()+"/approve", body, &done); err != nil {
		return 0, err
	}
	return env.follow(ctx, a, done, o.format)
}

func resolveIncident(ctx context.Context, env *environment, a *api, o incidentsOptions) (int, error) {
	var done app.Ordered
	body := map[string]string{"resolution": o.args[1], "reason": o.reason}
	if err := a.call(ctx, http.MethodPost, o.one()+"/resolve", body, &done); err != nil {
		return 0, err
	}
	if o.format == "json" {
		return exitDone, writeJSON(env.stdout, done)
	}
	_, err := fmt.Fprintf(env.stdout, "Incident %s is resolved as %s.\n", done.Incident.ID, done.Incident.Resolution)
	return exitDone, err
}

// changeIncident is the command that changes what goes on with an incident.
func changeIncident(what string) func(context.Context, *environment, *api, incidentsOptions) (int, error) {
	return func(ctx context.Context, env *environment, a *api, o incidentsOptions) (int, error) {
		var done app.Ordered
		if err := a.call(ctx, http.MethodPost, o.one()+"/"+what, map[string]string{"reason": o.reason}, &done); err != nil {
			return 0, err
		}
		if what != "undo" {
			return env.follow(ctx, a, done, o.format)
		}
		return env.followUndo(ctx, a, done, o.format)
	}
}

// haltAll is the command that stops all remediations, lets them go on, or tells of it.
func haltAll(method, path string) func(context.Context, *environment, *api, incidentsOptions) (int, error) {
	return func(ctx context.Context, env *environment, a *api, o incidentsOptions) (int, error) {
		var body any
		if method == http.MethodPost {
			body = map[string]string{"reason": o.reason}
		}
		var halt app.HaltTold
		if err := a.call(ctx, method, path, body, &halt); err != nil {
			return 0, err
		}
		if o.format == "json" {
			return exitDone, writeJSON(env.stdout, halt)
		}
		return exitDone, env.printHalt(halt)
	}
}
