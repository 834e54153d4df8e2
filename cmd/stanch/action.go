package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

const actionUsage = `Usage: stanch action

What the GitHub Action runs. It takes everything from the environment of a
workflow's step: GITHUB_EVENT_NAME, GITHUB_EVENT_PATH, GITHUB_WORKSPACE,
GITHUB_OUTPUT, GITHUB_STEP_SUMMARY, RUNNER_TEMP, and the inputs of action.yml as
INPUT_SCAN, INPUT_FAIL_ON, INPUT_PATH, INPUT_SARIF, INPUT_BASELINE, INPUT_RULES,
INPUT_VERIFY and INPUT_TOKEN.

Exit status: 0 passed, 1 secrets found, 2 not everything could be scanned, 3 a
live secret found.
`

// The outcomes of the action, its output “conclusion”.
const (
	concludedSuccess    = "success"    // nothing found
	concludedNeutral    = "neutral"    // found, but nothing that fails the step
	concludedFailure    = "failure"    // found
	concludedIncomplete = "incomplete" // not everything could be scanned
)

// neverFail is the value of fail-on with which findings do not fail the step.
const neverFail = "never"

// actionInputs are the inputs of action.yml.
type actionInputs struct {
	scan     string // event, history or files
	failOn   string // the least severity that fails the step, or never
	path     string // of the repository, in the workspace
	sarif    string
	baseline string
	rules    []string
	token    string
	verify   bool
}

// An action is one run of the GitHub Action.
type action struct {
	env      *environment
	in       actionInputs
	payload  payload
	plan     actionPlan
	checkout checkout
	session  *session
	known    *baseline
	notes    []string
}

// An actionResult is what a run found.
type actionResult struct {
	scanned
	inTip    []bool
	coverage []checks.Coverage
	known    int
}

func runAction(ctx context.Context, env *environment, args []string) int {
	f := flag.NewFlagSet("action", flag.ContinueOnError)
	if rest, err := env.parseFlags(f, actionUsage, args); err != nil || len(rest) > 0 {
		return env.exit(errors.Join(err, unexpected(rest)))
	}
	a := &action{env: env}
	result, err := a.run(ctx)
	if err != nil {
		return a.broken(err)
	}
	return a.conclude(result)
}

// unexpected refuses arguments where there can be none.
func unexpected(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q: the action takes everything from the environment", args[0])
}

// run plans, fetches and scans.
func (a *action) run(ctx context.Context) (actionResult, error) {
	if err := a.start(); err != nil {
		return actionResult{}, err
	}
	if a.plan.nothing != "" {
		return actionResult{scanned: scanned{what: "nothing"}}, nil
	}
	if err := a.fetch(ctx); err != nil {
		return actionResult{}, err
	}
	defer a.checkout.tidy(ctx)
	if err := a.prepare(ctx); err != nil {
		return actionResult{}, err
	}
	result, err := a.scan(ctx)
	if err != nil {
		return result, err
	}
	return a.judge(ctx, result)
}

// start reads the inputs and the event.
func (a *action) start() error {
	in, err := readInputs(a.env.getenv)
	if err != nil {
		return err
	}
	a.in = in
	workspace := a.env.getenv("GITHUB_WORKSPACE")
	if workspace == "" {
		return errors.New("GITHUB_WORKSPACE is not set: “stanch action” is for the steps of a workflow; use “stanch scan” elsewhere")
	}
	a.checkout = checkout{
		dir: filepath.Join(workspace, filepath.FromSlash(in.path)), token: in.token,
		server: strings.TrimSuffix(a.env.getenv("GITHUB_SERVER_URL"), "/"),
	}
	if a.payload, err = readPayload(a.env.getenv("GITHUB_EVENT_PATH")); err != nil {
		return err
	}
	switch in.scan {
	case "history":
		a.plan = actionPlan{what: "the whole history", history: true}
	case "files":
		a.plan = actionPlan{what: "the files as checked out", files: true}
	default:
		a.plan, err = planEvent(a.env.getenv("GITHUB_EVENT_NAME"), a.payload)
	}
	return err
}

func readInputs(getenv func(string) string) (actionInputs, error) {
	in := actionInputs{
		scan: orDefault(getenv("INPUT_SCAN"), "event"), failOn: orDefault(getenv("INPUT_FAIL_ON"), string(rules.Low)),
		path: orDefault(getenv("INPUT_PATH"), "."), sarif: getenv("INPUT_SARIF"), baseline: getenv("INPUT_BASELINE"),
		rules: strings.Fields(getenv("INPUT_RULES")), token: getenv("INPUT_TOKEN"),
	}
	if sources := []string{"event", "history", "files"}; !slices.Contains(sources, in.scan) {
		return in, fmt.Errorf("the input scan is %q: it must be one of %s", in.scan, strings.Join(sources, ", "))
	}
	if levels := failLevels(); !slices.Contains(levels, in.failOn) {
		return in, fmt.Errorf("the input fail-on is %q: it must be one of %s", in.failOn, strings.Join(levels, ", "))
	}
	var err error
	if in.verify, err = strconv.ParseBool(orDefault(getenv("INPUT_VERIFY"), "false")); err != nil {
		return in, fmt.Errorf("the input verify is %q: it must be true or false", getenv("INPUT_VERIFY"))
	}
	if in.sarif == "" {
		in.sarif = filepath.Join(orDefault(getenv("RUNNER_TEMP"), os.TempDir()), "stanch.sarif")
	} else if !filepath.IsAbs(in.sarif) {
		in.sarif = filepath.Join(getenv("GITHUB_WORKSPACE"), in.sarif)
	}
	return in, nil
}

// failLevels are the values of fail-on, the most severe first.
func failLevels() []string {
	return []string{string(rules.Critical), string(rules.High), string(rules.Medium), string(rules.Low), neverFail}
}

func orDefault(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// fetch brings what the plan needs and the checkout lacks.
func (a *action) fetch(ctx context.Context) (err error) {
	switch {
	case a.plan.files:
	case a.plan.history:
		err = a.checkout.everything(ctx)
	default:
		a.plan, err = a.checkout.prepare(ctx, a.plan)
	}
	if a.plan.note != "" {
		a.notes = append(a.notes, a.plan.note)
	}
	if err != nil {
		return fmt.Errorf("%w. Does the job have the permission “contents: read”? With “fetch-depth: 0” actions/checkout fetches all by itself", err)
	}
	return nil
}

// prepare makes the scanner and reads the baseline.
func (a *action) prepare(ctx context.Context) error {
	files, err := a.trustedFiles(ctx, a.in.rules)
	if err != nil {
		return err
	}
	if a.session, err = a.env.newSession(files); err != nil {
		return err
	}
	if a.in.baseline == "" {
		return nil
	}
	files, err = a.trustedFiles(ctx, []string{a.in.baseline})
	if err != nil || len(files) == 0 {
		return err
	}
	a.known, err = readBaseline(files[0])
	return err
}

// trustedFiles finds files of the repository that say what is a secret and what is
// none. For a pull request they are those of its base; what it adds itself counts
// once it is merged.
func (a *action) trustedFiles(ctx context.Context, names []string) ([]string, error) {
	var paths []string
	for _, name := range names {
		if !a.plan.judge {
			paths = append(paths, filepath.Join(a.checkout.dir, filepath.FromSlash(name)))
			continue
		}
		text, ok := a.checkout.show(ctx, a.plan.base, filepath.ToSlash(name))
		if !ok {
			a.notes = append(a.notes, fmt.Sprintf("%s does not count: the base, %.7s, does not have it", name, a.plan.base))
			continue
		}
		path, err := a.keep(name, text)
		if err != nil {
			return nil, fmt.Errorf("keep %s of the base: %w", name, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// keep writes a file of the base where it can be read by its name.
func (a *action) keep(name string, text []byte) (string, error) {
	dir, err := os.MkdirTemp(a.env.getenv("RUNNER_TEMP"), "stanch-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, filepath.Base(filepath.FromSlash(name)))
	return path, os.WriteFile(path, text, 0o600)
}

// scan scans what the plan says.
func (a *action) scan(ctx context.Context) (actionResult, error) {
	if a.plan.files {
		return a.scanFiles(ctx)
	}
	repository, err := git.Open(ctx, a.checkout.dir)
	if err != nil {
		return actionResult{}, err
	}
	if a.plan.history {
		found, err := repository.History(ctx, a.session.scanner, git.HistoryOptions{Missing: a.checkout.missing})
		return newActionResult(found), err
	}
	span := git.Range{Tip: a.plan.tip}
	if a.plan.base != "" {
		span.Bases = []string{a.plan.base}
	}
	found, err := repository.Scan(ctx, span, a.session.scanner, a.checkout.missing)
	return newActionResult(found), err
}

// scanFiles scans the work tree. GitHub knows files by their paths in the repository.
func (a *action) scanFiles(ctx context.Context) (actionResult, error) {
	found, err := scanPaths(ctx, []string{a.checkout.dir}, nil, a.session.scanner, &progress{})
	top := filepath.ToSlash(filepath.Clean(a.checkout.dir)) + "/"
	for i := range found.findings {
		found.findings[i].Path = strings.TrimPrefix(found.findings[i].Path, top)
	}
	for _, texts := range [][]string{found.problems, found.notes} {
		for i := range texts {
			texts[i] = strings.ReplaceAll(texts[i], filepath.FromSlash(top), "")
		}
	}
	return actionResult{scanned: found}, err
}

// count says of how many something holds.
func count[T any](all []T, holds func(T) bool) (n int) {
	for _, f := range all {
		if holds(f) {
			n++
		}
	}
	return n
}

func newActionResult(found git.Result) actionResult {
	result := actionResult{scanned: scannedGit(found), coverage: []checks.Coverage{found.Coverage}}
	for _, l := range found.Findings {
		result.inTip = append(result.inTip, l.InTip)
	}
	return result
}

// judge asks the providers, if that was asked for, and takes out what is known.
func (a *action) judge(ctx context.Context, result actionResult) (actionResult, error) {
	var err error
	if a.in.verify {
		if err = a.env.verify(ctx, result.findings); err != nil {
			return result, err
		}
	}
	if n := count(result.findings, func(f checks.Finding) bool { return f.Marker != "" }); n > 0 {
		a.notes = append(a.notes, fmt.Sprintf("%s on lines that say %q or the like: that counts before a commit, not for a change's judge; put what is no secret into the baseline", report.Count(n, "finding"), "stanch:allow"))
	}
	if a.known == nil {
		return result, nil
	}
	c, err := a.known.compare(ctx, result.findings)
	if err != nil {
		return result, err
	}
	result.findings, result.known = unknownOf(c, result.findings), c.count()
	if result.inTip != nil {
		result.inTip = unknownOf(c, result.inTip)
	}
	if n := len(c.stale); n > 0 && a.plan.history {
		a.notes = append(a.notes, fmt.Sprintf("not found any more: %s of the baseline; “stanch baseline update --prune” takes out what is gone", entries(n)))
	}
	return result, nil
}

// conclude writes the log, the summary, the SARIF file and the outputs.
func (a *action) conclude(r actionResult) int {
	failing := slices.ContainsFunc(r.findings, a.fails)
	job := report.Job{
		What: a.plan.what, Findings: r.findings, InTip: r.inTip, Known: r.known, Coverage: r.coverage,
		Problems: r.problems, Notes: append(a.notes, r.notes...), Failing: failing, FailOn: a.in.failOn,
		NoFile: git.CommitMessage, Blob: a.blobURL(), Public: !a.payload.private(),
	}
	if a.plan.nothing != "" {
		job.Notes = []string{a.plan.nothing}
	}
	err := errors.Join(a.writeSARIF(r, job.Public), a.writeSummary(job.Summary()))
	a.log(job, r)
	conclusion, code := concludedSuccess, exitDone
	switch {
	case len(r.problems) > 0 || err != nil:
		conclusion, code = concludedIncomplete, exitFailed
	case failing && slices.ContainsFunc(r.findings, isLive):
		conclusion, code = concludedFailure, exitLive
	case failing:
		conclusion, code = concludedFailure, exitFound
	case len(r.findings) > 0:
		conclusion = concludedNeutral
	}
	if err = errors.Join(err, a.writeOutputs(conclusion, r)); err != nil {
		return a.say(err)
	}
	return code
}

// fails says whether a finding is bad enough to fail the step. What is live always
// is, unless nothing shall.
func (a *action) fails(f checks.Finding) bool {
	switch {
	case a.in.failOn == neverFail:
		return false
	case isLive(f):
		return true
	}
	levels := failLevels()
	return slices.Index(levels, string(f.Rule.Severity)) <= slices.Index(levels, a.in.failOn)
}
