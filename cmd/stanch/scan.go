package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/report"
)

const scanUsage = `Usage: stanch scan [FLAGS] [PATH…]
       stanch scan [FLAGS] --git [RANGE] [REPOSITORY]
       stanch scan [FLAGS] --history [--unreachable] [REPOSITORY]
       stanch scan [FLAGS] --staged [REPOSITORY]
       stanch scan [FLAGS] --stdin

Finds secrets in files and folders (default: this folder), in what the commits of
a range add (A..B, A...B or one commit; --git alone: all commits of HEAD), in the
whole history of all branches, tags, stashes and notes, in what is staged, or in
standard input. Findings go to standard output, all else to standard error. No
secret is ever printed.

In folders every file is read, binary ones too; symbolic links are not followed, and
only what is below a .git folder is left out. --exclude leaves out more: a pattern
without a slash is for names at any depth (node_modules, *.min.js), one with a slash
for the path as it is reported, where ** stands for any number of folders.

A secret on a line that says stanch:allow (or gitleaks:allow, betterleaks:allow,
trufflehog:ignore) is counted and not reported, unless --verify finds it live.

--verify sends each secret to its provider, and to no host that neither the
catalogue nor your environment (STANCH_PROVIDER_URLS, VAULT_ADDR) names.

Fingerprints are made under the key in STANCH_FINGERPRINT_KEY (32 bytes in hex or
base64, or STANCH_FINGERPRINT_KEY_FILE), or else under one that is kept for this
user.

Exit status: 0 no secrets, 1 secrets found, 2 not everything could be scanned, 3 a
secret is live (with --verify).
`

// How much memory a scan of files, and one of commits, may take before garbage is
// collected more often. The program itself comes on top.
const (
	memoryGoal    = 100 << 20
	gitMemoryGoal = 120 << 20
)

// scanOptions are the flags of stanch scan.
type scanOptions struct {
	git    string
	isGit  bool
	stdin  bool
	format string
	output string
	color  string
	quiet  bool
	paths  []string

	rules   []string // files and folders with rules of the user's
	exclude []string // patterns of paths that are left out
	ignore  []string // lists of ignored findings
	reports []reportFile

	branch      bool // --git without a range
	history     bool
	unreachable bool
	staged      bool
	verify      bool
	baseline    string
}

// A scanned is what a scan found and what it covered.
type scanned struct {
	findings []checks.Finding
	what     string // "12 files", "3 commits, 7 files"
	bytes    int64
	known    int      // more findings, which the baseline has
	marked   int      // more, which their lines allow
	ignored  int      // more, which a list of ignored findings has
	notes    []string // what was left out on purpose
	problems []string // what should have been scanned and was not
}

// hide takes credentials out of what is told beside the findings: a path may
// hold one.
func (s *scanned) hide(scanner *checks.Scanner) {
	for _, texts := range [][]string{s.notes, s.problems} {
		for i := range texts {
			texts[i] = scanner.Hide(texts[i])
		}
	}
}

func runScan(ctx context.Context, env *environment, args []string) int {
	o, err := env.scanOptions(args)
	if err != nil {
		return env.exit(err)
	}
	if o.ofFiles() { // memoryGoal bounds the garbage, and until then it is not worth a look
		defer debug.SetGCPercent(debug.SetGCPercent(startGCPercent))
	}
	session, err := env.newSession(o.rules)
	if err != nil {
		return env.fail(err)
	}
	result, err := env.scan(ctx, o, session.scanner)
	if err != nil {
		return env.fail(errors.New(session.hide(err.Error())))
	}
	result.hide(session.scanner)
	if err := env.judge(ctx, o, &result, session); err != nil {
		return env.fail(errors.New(session.hide(err.Error())))
	}
	if err := env.report(o, result, session); err != nil {
		return env.fail(err)
	}
	return env.conclude(o, result)
}

func (env *environment) scanOptions(args []string) (scanOptions, error) {
	var o scanOptions
	f := flag.NewFlagSet("scan", flag.ContinueOnError)
	o.sourceFlags(f)
	f.StringVar(&o.format, "format", "text", "write the findings as `FORMAT`: "+strings.Join(report.Formats(), ", "))
	f.StringVar(&o.output, "output", "", "write the findings to `FILE`, all at once at the end")
	f.Func("report", "also write them in a format to a file, `FORMAT=FILE`; may be repeated", o.addReport)
	f.StringVar(&o.color, "color", "auto", "use colours `WHEN`: auto, always or never")
	f.Func("rules", "look for what the rules in `FILE`, or in a folder, describe too; may be repeated", listOf(&o.rules))
	f.BoolVar(&o.quiet, "quiet", false, "print findings and errors only")
	f.BoolFunc("redact", "hide the secrets; this is always on", alwaysOn)
	f.BoolVar(&o.verify, "verify", false, "ask the providers which secrets are live")
	f.StringVar(&o.baseline, "baseline", "", "count and do not report what `FILE` knows; see stanch baseline")
	f.Func("ignore", "count and do not report what `FILE` lists, as .gitleaksignore does; may be repeated", listOf(&o.ignore))
	return o, env.parseScan(f, &o, scanUsage, args)
}

// alwaysOn takes the values of --redact, which other scanners have too: a percentage,
// or nothing.
func alwaysOn(value string) error {
	if value == "false" || value == "0" {
		return errors.New("no secret is ever shown: leave the flag out")
	}
	return nil
}

// sourceFlags are the flags that say what to scan.
func (o *scanOptions) sourceFlags(f *flag.FlagSet) {
	f.StringVar(&o.git, "git", "", "scan what the commits of `RANGE` add; without a range, all commits of HEAD")
	f.BoolVar(&o.history, "history", false, "scan the history of all refs")
	f.BoolVar(&o.unreachable, "unreachable", false, "with --history, also the commits that no ref has any more")
	f.BoolVar(&o.staged, "staged", false, "scan what is staged")
	f.BoolVar(&o.stdin, "stdin", false, "scan standard input")
	f.Func("exclude", "leave out the paths that match `GLOB`; may be repeated", listOf(&o.exclude))
}

// parseScan reads the flags of a command that scans.
func (env *environment) parseScan(f *flag.FlagSet, o *scanOptions, usage string, args []string) (err error) {
	args, o.branch = bareGit(args)
	if o.paths, err = env.parseFlags(f, usage, args); err != nil {
		return err
	}
	f.Visit(func(fl *flag.Flag) { o.isGit = o.isGit || fl.Name == "git" })
	return o.check()
}

// bareGit takes out a --git that no range follows: package flag knows no flags that
// may have a value and may have none.
func bareGit(args []string) (rest []string, bare bool) {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if (arg == "--git" || arg == "-git") && (i+1 == len(args) || strings.HasPrefix(args[i+1], "-")) {
			return slices.Concat(args[:i], args[i+1:]), true
		}
	}
	return args, false
}

// check refuses what cannot be meant.
func (o *scanOptions) check() error {
	sources := o.sources()
	switch {
	case len(sources) > 1:
		return fmt.Errorf("%s and %s cannot be scanned at once: run stanch for each", sources[0], sources[1])
	case o.stdin && len(o.paths) > 0:
		return errors.New("--stdin scans standard input alone: leave out the paths")
	case o.isGit && o.git == "":
		return errors.New("--git needs a range: write A..B, A...B or one commit")
	case len(sources) > 0 && len(o.paths) > 1:
		return fmt.Errorf("%s takes one repository, and was given %d", sources[0], len(o.paths))
	case len(sources) > 0 && len(o.exclude) > 0:
		return fmt.Errorf("--exclude is for files and folders: leave it out with %s", sources[0])
	case o.unreachable && !o.history:
		return errors.New("--unreachable is for --history")
	case slices.Contains(o.paths, "-"):
		return errors.New("“-” is no path: write --stdin for standard input, and ./- for a file of that name")
	case slices.Contains(o.paths, ""):
		return errors.New("a path is empty: write . for this folder")
	}
	if len(o.paths) == 0 {
		o.paths = []string{"."}
	}
	return errors.Join(o.checkReports(), checkGlobs(o.exclude))
}

// sources are the flags given that name something else than files.
func (o *scanOptions) sources() (names []string) {
	for _, s := range []struct {
		name string
		on   bool
	}{{"--git", o.isGit || o.branch}, {"--history", o.history}, {"--staged", o.staged}, {"--stdin", o.stdin}} {
		if s.on {
			names = append(names, s.name)
		}
	}
	return names
}

// ofFiles reports whether files are scanned or standard input, and not git.
func (o *scanOptions) ofFiles() bool { return o.stdin || len(o.sources()) == 0 }

func (env *environment) scan(ctx context.Context, o scanOptions, scanner *checks.Scanner) (scanned, error) {
	// What is read at a time is bounded; this keeps the garbage of it in bounds too.
	goal := int64(gitMemoryGoal)
	if o.ofFiles() {
		goal = memoryGoal
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(goal))
	switch {
	case o.isGit, o.branch:
		return scanGit(ctx, o.paths[0], o.git, scanner)
	case o.history:
		return scanHistory(ctx, o.paths[0], o.unreachable, scanner, env.progress(o.quiet))
	case o.staged:
		return scanStaged(ctx, o.paths[0], scanner)
	case o.stdin:
		return scanStdin(ctx, env.stdin, scanner)
	}
	return scanPaths(ctx, o.paths, o.exclude, scanner, env.progress(o.quiet))
}

// scanGit scans a range, or with none the whole history of HEAD.
func scanGit(ctx context.Context, dir, spec string, scanner *checks.Scanner) (scanned, error) {
	repository, err := openRepository(ctx, dir)
	if err != nil {
		return scanned{}, noRange(spec, err)
	}
	commits := git.Range{Tip: "HEAD"}
	if spec != "" {
		if commits, err = repository.ParseRange(ctx, spec); err != nil {
			return scanned{}, noRange(spec, err)
		}
	}
	result, err := repository.Scan(ctx, commits, scanner, nil)
	if err != nil {
		return scanned{}, err
	}
	return scannedGit(result), nil
}

// openRepository opens the repository of a folder, or says what to do where there is
// none.
func openRepository(ctx context.Context, dir string) (*git.Repository, error) {
	repository, err := git.Open(ctx, dir)
	if errors.Is(err, git.ErrNotRepository) {
		return nil, fmt.Errorf("%w: name a folder of one, or scan the files with “stanch scan %s”", err, dir)
	}
	return repository, err
}

// noRange adds to an error what is likely meant where a folder is named in place of
// a range.
func noRange(spec string, err error) error {
	if info, statErr := os.Stat(spec); statErr == nil && info.IsDir() {
		return fmt.Errorf("%w; to scan all commits of the repository in a folder write “--git -- %s”, or “--history %[2]s”", err, spec)
	}
	if errors.Is(err, git.ErrNoCommit) && !strings.Contains(err.Error(), ": write ") {
		return fmt.Errorf("%w here: “git log” shows those that there are; a shallow clone gets the others by “git fetch --unshallow”", err)
	}
	return err
}

// tellProblems tells what else is to be said, unless quiet, and what was left out.
func (env *environment) tellProblems(quiet bool, what string, s scanned) {
	if !quiet {
		for _, note := range s.notes {
			fmt.Fprintf(env.stderr, "stanch: %s\n", report.Printable(note))
		}
	}
	for _, problem := range s.problems {
		fmt.Fprintf(env.stderr, "stanch: %s: %s\n", what, report.Printable(problem))
	}
}

// conclude tells on standard error how the scan went, and returns the status. A
// hole in the scan weighs more than a finding, as in grep: both are told.
func (env *environment) conclude(o scanOptions, s scanned) int {
	env.tellProblems(o.quiet, "not scanned", s)
	if !o.quiet {
		fmt.Fprintf(env.stderr, "scanned %s, %s: %s found%s\n", s.what, report.Size(s.bytes), report.Count(len(s.findings), "secret"), s.spared())
	}
	switch {
	case len(s.problems) > 0:
		return exitFailed
	case slices.ContainsFunc(s.findings, isLive):
		return exitLive
	case len(s.findings) > 0:
		return exitFound
	}
	return exitDone
}
