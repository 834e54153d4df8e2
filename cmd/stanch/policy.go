package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const policyUsage = `Usage: stanch policy check [--server FILE] [FILE…]
       stanch policy explain [--server FILE] [--rule ID] [--severity S] [--path P] [REPOSITORY]
       stanch policy simulate [--server FILE] [--git RANGE] [--verify] [--format text|json] [REPOSITORY]

A policy says what a finding does to a check, and what may be done to a live
credential. check reads policy files (*.yml, *.yaml) and allowlists (any other name),
or, without a FILE, all that this repository has. explain says what holds here and
which line decides. simulate says what would have happened to the pushes of a range,
one for each commit of the branch, each judged by what the repository said before it.

With --server the operator's policy comes first, as on the server; without it, the
defaults do. Allowlists need the server's key, in STANCH_KEY or STANCH_KEY_FILE.

Exit status: 0 good, 1 faults were found, or a check would have failed (simulate),
2 could not do what was asked.
`

func policyCommands() map[string]func(context.Context, *environment, []string) int {
	return map[string]func(context.Context, *environment, []string) int{
		"check": runPolicyCheck, "explain": runPolicyExplain, "simulate": runPolicySimulate,
	}
}

func runPolicy(ctx context.Context, env *environment, args []string) int {
	all := policyCommands()
	if len(args) == 0 {
		fmt.Fprint(env.stderr, policyUsage)
		return exitFailed
	}
	if strings.HasPrefix(args[0], "-") {
		_, err := env.parseFlags(flag.NewFlagSet("policy", flag.ContinueOnError), policyUsage, args)
		return env.exit(cmp.Or(err, unknown("command", args[0], nil, "stanch policy --help")))
	}
	sub, ok := all[args[0]]
	if !ok {
		return env.fail(unknown("command", "policy "+args[0], prefixed("policy ", all), "stanch policy --help"))
	}
	return sub(ctx, env, args[1:])
}

// judgeConfig is what comes before a repository's own policy: the operator's.
func (env *environment) judgeConfig(server string) (cfg app.JudgeConfig, err error) {
	if cfg.Catalogue, err = rules.Catalogue(); err != nil {
		return cfg, err
	}
	cfg.Policy = app.DefaultPolicy()
	if server != "" {
		if cfg.Policy, err = app.LoadPolicy(server, cfg.Catalogue); err != nil {
			return cfg, err
		}
	}
	keys, known, err := env.serverKeys()
	if known {
		cfg.Allow = keys.Allow
	}
	return cfg, err
}

func runPolicyCheck(_ context.Context, env *environment, args []string) int {
	f := flag.NewFlagSet("policy check", flag.ContinueOnError)
	server := f.String("server", "", "judge them as a repository's under the operator's policy in `FILE`")
	files, err := env.parseFlags(f, policyUsage, args)
	if err != nil {
		return env.exit(err)
	}
	cfg, err := env.judgeConfig(*server)
	if err != nil {
		return env.fail(err)
	}
	var problems, notes app.Problems
	if len(files) == 0 {
		judge, err := app.NewJudge(cfg, nil, readFolder("."))
		if err != nil {
			return env.fail(err)
		}
		problems, notes = judge.Problems, judge.Notes
	}
	for _, name := range files {
		wrong, err := checkPolicyFile(cfg, name, *server != "")
		if err != nil {
			return env.fail(err)
		}
		problems = append(problems, wrong...)
	}
	for _, n := range notes {
		fmt.Fprintf(env.stderr, "note: %s\n", n)
	}
	for _, p := range problems {
		fmt.Fprintln(env.stdout, p)
	}
	if len(problems) > 0 {
		return exitFound
	}
	return exitDone
}

// checkPolicyFile returns what is wrong with a policy or an allowlist.
func checkPolicyFile(cfg app.JudgeConfig, name string, asRepositorys bool) (app.Problems, error) {
	text, err := readRules(name)
	if err != nil {
		return nil, err
	}
	var problems app.Problems
	switch {
	case !slices.Contains([]string{".yml", ".yaml"}, filepath.Ext(name)):
		_, warnings := checks.ParseAllowlist(text)
		for _, w := range warnings {
			problems = append(problems, app.Problem{File: name, Line: w.Line, Text: w.Text})
		}
	case asRepositorys:
		_, problems = cfg.Policy.Merge(cfg.Catalogue, app.PolicyFile{Name: name, Text: text})
	default:
		_, err := app.ParsePolicy(name, text, cfg.Catalogue)
		if err != nil && !errors.As(err, &problems) {
			return nil, err
		}
	}
	return problems, nil
}

// readFolder reads the files of a work tree as they are now.
func readFolder(dir string) app.ReadFile {
	return func(name string, most int64) (_ []byte, err error) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		info, err := root.Lstat(path.Clean(name))
		switch {
		case err != nil:
			return nil, err
		case !info.Mode().IsRegular():
			return nil, &app.RefusedFile{Text: "it does not count, because it is no regular file: put one there"}
		case info.Size() > most:
			return nil, &app.RefusedFile{Text: fmt.Sprintf("it does not count, because it is larger than %d bytes: shorten it", most)}
		}
		f, err := root.Open(path.Clean(name))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, most))
	}
}

func runPolicyExplain(_ context.Context, env *environment, args []string) int {
	f := flag.NewFlagSet("policy explain", flag.ContinueOnError)
	server := f.String("server", "", "the operator's policy is in `FILE`")
	id := f.String("rule", "", "what a finding of the rule `ID` does")
	severity := f.String("severity", "", "what a finding of the severity `S` does: critical, high, medium or low")
	file := f.String("path", "", "what a finding in the file `P` does")
	rest, err := env.parseFlags(f, policyUsage, args)
	if err == nil && len(rest) > 1 {
		err = errors.New("explain takes one repository")
	}
	if err != nil {
		return env.exit(err)
	}
	cfg, err := env.judgeConfig(*server)
	if err != nil {
		return env.fail(err)
	}
	judge, err := app.NewJudge(cfg, nil, readFolder(cmp.Or(append(rest, ".")...)))
	if err != nil {
		return env.fail(err)
	}
	for _, p := range slices.Concat(judge.Problems, judge.Notes) {
		fmt.Fprintln(env.stderr, p)
	}
	if *id == "" && *severity == "" && *file == "" {
		explainSettings(env.stdout, judge.Policy)
		return exitDone
	}
	rule, err := ruleToExplain(judge.Rules, *id, rules.Severity(*severity))
	if err != nil {
		return env.fail(err)
	}
	explainFinding(env.stdout, judge, rule, *file)
	return exitDone
}

// ruleToExplain is the rule of that id, or one of no kind and that severity.
func ruleToExplain(all []*rules.Rule, id string, severity rules.Severity) (*rules.Rule, error) {
	if severity != "" && !slices.Contains([]rules.Severity{rules.Critical, rules.High, rules.Medium, rules.Low}, severity) {
		return nil, fmt.Errorf("there is no severity %q: write critical, high, medium or low", severity)
	}
	if id == "" {
		return &rules.Rule{Severity: cmp.Or(severity, rules.High)}, nil
	}
	n := slices.IndexFunc(all, func(r *rules.Rule) bool { return r.ID == id })
	if n < 0 {
		return nil, fmt.Errorf("there is no rule %q: “stanch rules list” shows them", id)
	}
	rule := *all[n]
	rule.Severity = cmp.Or(severity, rule.Severity)
	return &rule, nil
}

// explainSettings lists what holds, and where it is said.
func explainSettings(w io.Writer, p app.Policy) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range p.Settings() {
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Name, s.Value, s.Origin)
	}
	table.Flush()
}

// explainFinding says what a finding does, and which line decides.
func explainFinding(w io.Writer, j *app.Judge, r *rules.Rule, file string) {
	what := "a finding of " + cmp.Or(r.ID, "any rule") + ", which is " + string(j.Policy.SeverityOf(r))
	if file != "" {
		what += ", in " + file
	}
	remedy := j.Policy.For(r.ID)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, what)
	switch {
	case !j.Policy.Enabled(r.ID):
		fmt.Fprintf(table, "  not live or not known to be\tnot shown\t%s\n", j.Policy.Origins["rules."+r.ID+".enabled"])
	default:
		c, from := j.Policy.ConclusionOf(r, file)
		fmt.Fprintf(table, "  not known to be live\t%s\t%s\n", c, from)
	}
	fmt.Fprintf(table, "  live\tfailure\tnothing changes that\n")
	fmt.Fprintf(table, "  remediation\t%s\t%s\n", remedy.Remediation, j.Policy.OriginOf(r.ID, "remediation"))
	fmt.Fprintf(table, "  order\t%s\t%s\n", remedy.Order, j.Policy.OriginOf(r.ID, "order"))
	fmt.Fprintf(table, "  without_replacement\t%s\t%s\n", remedy.WithoutReplacement, j.Policy.OriginOf(r.ID, "without_replacement"))
	fmt.Fprintf(table, "  hold\t%s\t%s\n", remedy.HoldFor(), j.Policy.OriginOf(r.ID, "hold"))
	table.Flush()
}
