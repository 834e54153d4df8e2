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
	now        time.Time

	scanners map[string]*checks.Scanner // by the judge's RulesID
	failed   bool
}

func runPolicySimulate(ctx context.Context, env *environment, args []string) int {
	f := flag.NewFlagSet("policy simulate", flag.ContinueOnError)
	server := f.String("server", "", "the operator's policy is in `FILE`")
	commits := f.String("git", "", fmt.Sprintf("simulate the commits of a `RANGE`; without it, the last %d of HEAD", simulatedPushes))
	verify := f.Bool("verify", false, "ask the providers which secrets are live")
	rest, err := env.parseFlags(f, policyUsage, args)
	if err == nil && len(rest) > 1 {
		err = errors.New("simulate takes one repository")
	}
	if err != nil {
		return env.exit(err)
	}
	s, err := env.newSimulation(ctx, *server, cmp.Or(append(rest, ".")...))
	if err != nil {
		return env.fail(err)
	}
	s.verify = *verify
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
	s := &simulation{env: env, cfg: cfg, now: time.Now(), scanners: map[string]*checks.Scanner{}}
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
	fmt.Fprintf(s.env.stderr, "simulated a push of each of %s\n", amount(len(pushes), "commit"))
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
	return s.tell(judge, p, result, findings)
}

func (s *simulation) scanner(j *app.Judge) (*checks.Scanner, error) {
	if known := s.scanners[j.RulesID]; known != nil {
		return known, nil
	}
	scanner, err := checks.NewScanner(j.Rules, s.key)
	s.scanners[j.RulesID] = scanner
	return scanner, err
}

// tell prints what would have become of a push: the check's conclusion, and for each
// finding what it does, who says so, and what would have been done to the credential.
func (s *simulation) tell(j *app.Judge, p git.Range, result git.Result, findings []checks.Finding) error {
	scan := report.Scan{HeadSHA: p.Tip, Coverage: []checks.Coverage{result.Coverage}}
	for _, problem := range j.Problems {
		scan.PolicyProblems = append(scan.PolicyProblems, problem.String())
	}
	var rows strings.Builder
	table := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	for i, f := range findings {
		v := j.Of(&f, s.now)
		effect, action := string(v.Conclusion), "nothing is done to it"
		switch {
		case f.Validity == checks.Active:
			effect, v.Why, action = string(report.Failure), "it is live", wouldDo(j.Policy, f.Rule.ID)
		case v.Allowed:
			effect = "not shown"
		}
		if !v.Allowed || f.Validity == checks.Active {
			scan.Leaks = append(scan.Leaks, report.Leak{Finding: f, InTip: result.Findings[i].InTip, State: report.StateOpen, Conclusion: v.Conclusion, Why: v.Why})
		}
		fmt.Fprintf(table, "  %s:%d\t%s\t%s\t%s\t%s\n", report.Printable(f.Path), f.Line, f.Rule.ID, effect, report.Printable(v.Why), action)
	}
	table.Flush()
	run := report.NewCheckRun(scan)
	s.failed = s.failed || run.Conclusion == report.Failure || run.Conclusion == report.ActionRequired
	_, err := io.WriteString(s.env.stdout, fmt.Sprintf("%.12s  %s  %s\n", p.Tip, run.Conclusion, run.Title)+rows.String()+told(scan.PolicyProblems))
	return err
}

func told(problems []string) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString("  policy: " + report.Printable(p) + "\n")
	}
	return b.String()
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
