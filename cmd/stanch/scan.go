package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

const scanUsage = `Usage: stanch scan [FLAGS] [PATH…]
       stanch scan [FLAGS] --git RANGE [REPOSITORY]
       stanch scan [FLAGS] --stdin

Finds secrets in files and folders (default: this folder), in what the commits of
a range add (A..B, A...B or one commit), or in standard input. Findings go to
standard output, all else to standard error. No secret is ever printed.

Fingerprints are made under the key in STANCH_FINGERPRINT_KEY (32 bytes in hex or
base64, or STANCH_FINGERPRINT_KEY_FILE), or else under one that is kept for this
user.

Exit status: 0 no secrets, 1 secrets found, 2 not everything could be scanned.
`

// scanOptions are the flags of stanch scan.
type scanOptions struct {
	git    string
	isGit  bool
	stdin  bool
	format string
	output string
	quiet  bool
	paths  []string
}

// A scanned is what a scan found and what it covered.
type scanned struct {
	findings []checks.Finding
	columns  map[checks.Location]span // findings whose line is not plain ASCII
	counts   bool                     // columns knows every finding's line
	what     string                   // "12 files", "3 commits, 7 files"
	bytes    int64
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
	catalogue, err := rules.Catalogue()
	if err != nil {
		return env.fail(err)
	}
	key, err := env.fingerprintKey()
	if err != nil {
		return env.fail(err)
	}
	scanner, err := checks.NewScanner(catalogue, key)
	if err != nil {
		return env.fail(err)
	}
	result, err := env.scan(ctx, o, scanner)
	if err != nil {
		return env.fail(errors.New(scanner.Hide(err.Error())))
	}
	result.hide(scanner)
	if err := env.writeFindings(o, result, catalogue); err != nil {
		return env.fail(err)
	}
	return env.conclude(o, result)
}

func (env *environment) scanOptions(args []string) (scanOptions, error) {
	var o scanOptions
	f := flag.NewFlagSet("scan", flag.ContinueOnError)
	f.StringVar(&o.git, "git", "", "scan what the commits of `RANGE` add")
	f.BoolVar(&o.stdin, "stdin", false, "scan standard input")
	f.StringVar(&o.format, "format", "text", "`FORMAT` of the findings: text, json, jsonl or sarif")
	f.StringVar(&o.output, "output", "", "write the findings to `FILE`, all at once at the end")
	f.BoolVar(&o.quiet, "quiet", false, "print findings and errors only")
	f.Bool("redact", true, "hide the secrets; this is always on")
	var err error
	if o.paths, err = env.parseFlags(f, scanUsage, args); err != nil {
		return o, err
	}
	f.Visit(func(fl *flag.Flag) { o.isGit = o.isGit || fl.Name == "git" })
	return o, o.check()
}

// check refuses what cannot be meant.
func (o *scanOptions) check() error {
	formats := []string{"text", "json", "jsonl", "sarif"}
	switch {
	case !slices.Contains(formats, o.format):
		return fmt.Errorf("--format is %q: it must be one of %s", o.format, strings.Join(formats, ", "))
	case o.stdin && (o.isGit || len(o.paths) > 0):
		return errors.New("--stdin scans standard input alone: leave out --git and the paths")
	case o.isGit && o.git == "":
		return errors.New("--git needs a range: write A..B, A...B or one commit")
	case o.isGit && len(o.paths) > 1:
		return fmt.Errorf("--git takes one repository, and was given %d", len(o.paths))
	case slices.Contains(o.paths, ""):
		return errors.New("a path is empty: write . for this folder")
	}
	if len(o.paths) == 0 {
		o.paths = []string{"."}
	}
	return nil
}

func (env *environment) scan(ctx context.Context, o scanOptions, scanner *checks.Scanner) (scanned, error) {
	switch {
	case o.isGit:
		return scanGit(ctx, o.paths[0], o.git, scanner)
	case o.stdin:
		return scanStdin(ctx, env.stdin, scanner)
	}
	return scanPaths(ctx, o.paths, scanner)
}

func scanGit(ctx context.Context, dir, spec string, scanner *checks.Scanner) (scanned, error) {
	repository, err := git.Open(ctx, dir)
	if err != nil {
		return scanned{}, err
	}
	commits, err := repository.ParseRange(ctx, spec)
	if err != nil {
		return scanned{}, err
	}
	result, err := repository.Scan(ctx, commits, scanner, nil)
	if err != nil {
		return scanned{}, err
	}
	s := scanned{
		what:  amount(result.Coverage.Commits, "commit") + ", " + amount(result.Coverage.Blobs, "file"),
		bytes: result.Coverage.Bytes,
	}
	for _, l := range result.Findings {
		s.findings = append(s.findings, l.Finding)
	}
	for _, skip := range result.Coverage.Skipped {
		s.problems = append(s.problems, strings.TrimPrefix(fmt.Sprintf("%s in commit %.12s: %s", skip.Path, skip.Commit, skip.Reason), " in "))
	}
	if !result.Coverage.Complete() && len(s.problems) == 0 {
		s.problems = append(s.problems, "the range has no known last commit")
	}
	return s, nil
}

// writeFindings writes the findings to standard output or to the file asked for.
func (env *environment) writeFindings(o scanOptions, s scanned, catalogue []*rules.Rule) error {
	if o.output != "" {
		return writeFile(o.output, func(w io.Writer) error { return render(w, o.format, false, s, catalogue) })
	}
	if err := render(env.stdout, o.format, env.colour(), s, catalogue); err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	return nil
}

func render(w io.Writer, format string, colour bool, s scanned, catalogue []*rules.Rule) error {
	switch format {
	case "json":
		return report.JSON(w, s.findings)
	case "jsonl":
		return report.JSONLines(w, s.findings)
	case "sarif":
		return report.SARIF(w, s.findings, report.Run{
			Version: version(), Rules: catalogue, Problems: s.problems, Columns: s.characters,
		})
	}
	return report.Text(w, s.findings, colour)
}

// colour says whether standard output is a terminal whose owner wants colours
// (https://no-color.org).
func (env *environment) colour() bool {
	f, ok := env.stdout.(*os.File)
	return ok && env.getenv("NO_COLOR") == "" && env.getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// conclude tells on standard error how the scan went, and returns the status. A
// hole in the scan weighs more than a finding, as in grep: both are told.
func (env *environment) conclude(o scanOptions, s scanned) int {
	if !o.quiet {
		for _, note := range s.notes {
			fmt.Fprintf(env.stderr, "stanch: %s\n", report.Printable(note))
		}
	}
	for _, problem := range s.problems {
		fmt.Fprintf(env.stderr, "stanch: not scanned: %s\n", report.Printable(problem))
	}
	if !o.quiet {
		fmt.Fprintf(env.stderr, "scanned %s, %s: %s found\n", s.what, report.Size(s.bytes), amount(len(s.findings), "secret"))
	}
	switch {
	case len(s.problems) > 0:
		return exitFailed
	case len(s.findings) > 0:
		return exitFound
	}
	return exitDone
}

// amount writes "1 file" and "2 files".
func amount(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
