package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/report"
)

// simulatedPushes is how many commits are simulated when no range is given.
const simulatedPushes = 20

// A simulation runs what the server would have done to a repository's pushes, and
// does none of it.
type simulation struct {
	env        *environment
	cfg        app.JudgeConfig
	repository *git.Repository
	key        checks.FingerprintKey
	verify     bool
	json       bool // told as JSON, all at once
	now        time.Time

	scanners map[string]*checks.Scanner // by the judge's RulesID
	told     []simulatedPush
	failed   bool
}

func runPolicySimulate(ctx context.Context, env *environment, args []string) int {
	f := flag.NewFlagSet("policy simulate", flag.ContinueOnError)
	server := f.String("server", "", "the operator's policy is in `FILE`")
	commits := f.String("git", "", fmt.Sprintf("simulate the commits of a `RANGE`; without it, the last %d of HEAD", simulatedPushes))
	verify := f.Bool("verify", false, "ask the providers which secrets are live")
	format := f.String("format", "text", "`FORMAT` of what is told: text or json")
	rest, err := env.parseFlags(f, policyUsage, args)
	switch {
	case err == nil && len(rest) > 1:
		err = errors.New("simulate takes one repository")
	case err == nil && *format != "text" && *format != "json":
		err = fmt.Errorf("--format is %q: it must be text or json", *format)
	}
	if err != nil {
		return env.exit(err)
	}
	s, err := env.newSimulation(ctx, *server, cmp.Or(append(rest, ".")...))
	if err != nil {
		return env.fail(err)
	}
	s.verify, s.json = *verify, *format == "json"
	if err := s.run(ctx, *commits); err != nil {
		return env.fail(err)
	}
	if s.failed {
		return exitFound
	}
	return exitDone
}

func (env *environment) newSimulation(ctx context.Context, server, dir string) (*simulation, error) {
	cfg, err := env.judgeConfig(server)
	if err != nil {
		return nil, err
	}
	s := &simulation{env: env, cfg: cfg, now: time.Now(), scanners: map[string]*checks.Scanner{}, told: []simulatedPush{}}
	keys, known, err := env.serverKeys()
	if err != nil {
		return nil, err
	}
	if s.key = keys.Fingerprint; !known {
		s.key = make(checks.FingerprintKey, 32) // nobody sees the fingerprints
		rand.Read(s.key)
	}
	s.repository, err = git.Open(ctx, dir)
	return s, err
}

// run simulates a push of each commit, oldest first, and tells what becomes of it.
func (s *simulation) run(ctx context.Context, spec string) error {
	pushes, err := s.pushes(ctx, spec)
	if err != nil {
		return err
	}
	for _, p := range pushes {
		if err := s.push(ctx, p); err != nil {
			return fmt.Errorf("commit %.12s: %w", p.Tip, err)
		}
	}
	if s.json {
		if err := writeJSON(s.env.stdout, s.told); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.env.stderr, "simulated a push of each of %s\n", report.Count(len(pushes), "commit"))
	return nil
}

// pushes are the first parents' steps of a range: what a branch was before and after.
func (s *simulation) pushes(ctx context.Context, spec string) ([]git.Range, error) {
	if spec == "" {
		tip, err := s.repository.Commit(ctx, "HEAD")
		if err != nil {
			return nil, err
		}
		return s.repository.Steps(ctx, git.Range{Tip: tip}, simulatedPushes)
	}
	rng, err := s.repository.ParseRange(ctx, spec)
	if err != nil {
		return nil, err
	}
	return s.repository.Steps(ctx, rng, 0)
}

// push judges one step as the server would.
func (s *simulation) push(ctx context.Context, p git.Range) error {
	judge, err := app.NewJudge(s.cfg, nil, app.ReadCommit(ctx, s.repository, strings.Join(p.Bases, ""), nil))
	if err != nil {
		return err
	}
	scanner, err := s.scanner(judge)
	if err != nil {
		return err
	}
	p.Messages, p.Pointers = true, true
	result, err := s.repository.Scan(ctx, p, scanner, nil)
	if err != nil {
		return err
	}
	findings := make([]checks.Finding, len(result.Findings))
	for i, l := range result.Findings {
		findings[i] = l.Finding
	}
	if s.verify {
		if err := s.env.verify(ctx, findings); err != nil {
			return err
		}
	}
	return s.tell(s.judged(judge, p, result, findings))
}

// tell notes what would have become of a push, and prints it for people at once.
func (s *simulation) tell(p simulatedPush) error {
	s.told = append(s.told, p)
	s.failed = s.failed || p.Conclusion == report.Failure || p.Conclusion == report.ActionRequired
	if s.json {
		return nil
	}
	_, err := io.WriteString(s.env.stdout, p.text())
	return err
}

func (s *simulation) scanner(j *app.Judge) (*checks.Scanner, error) {
	if known := s.scanners[j.RulesID]; known != nil {
		return known, nil
	}
	scanner, err := checks.NewScanner(j.Rules, s.key)
	s.scanners[j.RulesID] = scanner
	return scanner, err
}

// A simulatedPush is what would have become of a push: the check's conclusion, and of
// each finding what it does, who says so, and what would have been done about it.
type simulatedPush struct {
	Commit         string             `json:"commit"`
	Conclusion     report.Conclusion  `json:"conclusion"`
	Title          string             `json:"title"`
	Findings       []simulatedFinding `json:"findings"`
	PolicyProblems []string           `json:"policy_problems"`
	Skipped        []checks.Skip      `json:"skipped"`
}

type simulatedFinding struct {
	Rule       string            `json:"rule"`
	File       string            `json:"file"`
	Line       int               `json:"line"`
	Commit     string            `json:"commit"`
	Validity   checks.Validity   `json:"validity"`
	Conclusion report.Conclusion `json:"conclusion"`
	Shown      bool              `json:"shown"`
	Why        string            `json:"why"`
	Action     string            `json:"action"`
}

// judged says what would have become of a push.
func (s *simulation) judged(j *app.Judge, p git.Range, result git.Result, findings []checks.Finding) simulatedPush {
	push := simulatedPush{Commit: p.Tip, Findings: []simulatedFinding{}, PolicyProblems: []string{}, Skipped: result.Coverage.Skipped}
	for _, problem := range j.Problems {
		push.PolicyProblems = append(push.PolicyProblems, problem.String())
	}
	scan := report.Scan{HeadSHA: p.Tip, Coverage: []checks.Coverage{result.Coverage}, PolicyProblems: push.PolicyProblems}
	for i, f := range findings {
		v := j.Of(&f, s.now)
		told := simulatedFinding{
			Rule: f.Rule.ID, File: f.Path, Line: f.Line, Commit: f.Commit, Validity: f.Validity,
			Conclusion: v.Conclusion, Shown: !v.Allowed, Why: v.Because(), Action: "nothing is done to it",
		}
		if f.Validity == checks.Active {
			told.Conclusion, told.Shown, told.Why, told.Action = report.Failure, true, "it is live", wouldDo(j.Policy, f.Rule.ID)
		}
		push.Findings = append(push.Findings, told)
		if told.Shown {
			scan.Leaks = append(scan.Leaks, report.Leak{Finding: f, InTip: result.Findings[i].InTip, State: report.StateOpen, Conclusion: v.Conclusion, Why: told.Why})
		}
	}
	run := report.NewCheckRun(scan)
	push.Conclusion, push.Title = run.Conclusion, run.Title
	return push
}

// text is how people read it.
func (p simulatedPush) text() string {
	var rows strings.Builder
	fmt.Fprintf(&rows, "%.12s  %s  %s\n", p.Commit, p.Conclusion, p.Title)
	table := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	for _, f := range p.Findings {
		effect := string(f.Conclusion)
		if !f.Shown {
			effect = "not shown"
		}
		fmt.Fprintf(table, "  %s:%d\t%s\t%s\t%s\t%s\n", report.Printable(f.File), f.Line, f.Rule, effect, report.Printable(f.Why), f.Action)
	}
	table.Flush()
	for _, problem := range p.PolicyProblems {
		rows.WriteString("  policy: " + report.Printable(problem) + "\n")
	}
	return rows.String()
}

// wouldDo says what a policy has done to a live credential.
func wouldDo(p app.Policy, rule string) string {
	switch p.For(rule).Remediation {
	case app.Observe:
		return "it is reported, and nothing is done to it"
	case app.Automatic:
		return "it is replaced or revoked without asking, if its provider and its store are known"
	}
	return "people are asked whether to replace or revoke it"
}
