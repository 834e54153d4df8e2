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

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/intake"
	"github.com/stanch-dev/stanch/checks/report"
)

const importUsage = `Usage: stanch import [--format FORMAT] [--output FILE] [--report FORMAT=FILE]… FILE…
       stanch import --server URL [--repository OWNER/NAME] [--format text|json] FILE…

Takes over what other scanners found: SARIF, the JSON or JSON lines of gitleaks,
betterleaks, TruffleHog and Kingfisher, and the alerts of GitHub’s secret scanning.
What a file is shows in it; “-” is standard input. The rules say what each secret
is, the providers are asked which are live, and the findings are reported as
“stanch scan --verify” does.

With --server they go to a server, which verifies them, opens incidents and, as far as
its policy allows, has them revoked and replaced. It wants its STANCH_API_TOKEN, from
the variable of that name or from the file that STANCH_API_TOKEN_FILE names.

A report must hold the secrets: what is redacted cannot be verified, and is counted.

Exit status: 0 nothing found, 1 secrets found, 2 not everything could be imported, 3 a
secret is live.
`

// importOptions are the flags of stanch import.
type importOptions struct {
	scanOptions
	server     string
	repository string
}

func runImport(ctx context.Context, env *environment, args []string) int {
	var o importOptions
	f := flag.NewFlagSet("import", flag.ContinueOnError)
	f.StringVar(&o.format, "format", "text", "write the findings as `FORMAT`: "+strings.Join(report.Formats(), ", "))
	f.StringVar(&o.output, "output", "", "write the findings to `FILE`, all at once at the end")
	f.Func("report", "also write them in a format to a file, `FORMAT=FILE`; may be repeated", o.addReport)
	f.StringVar(&o.color, "color", "auto", "use colours `WHEN`: auto, always or never")
	f.BoolVar(&o.quiet, "quiet", false, "print findings and errors only")
	f.StringVar(&o.server, "server", "", "hand them to the server at `URL`")
	f.StringVar(&o.repository, "repository", "", "with --server, they were found in the repository `OWNER/NAME`")
	var err error
	if o.paths, err = env.parseFlags(f, importUsage, args); err != nil {
		return env.exit(err)
	}
	if err := o.checkImport(); err != nil {
		return env.fail(err)
	}
	session, err := env.newSession(nil)
	if err != nil {
		return env.fail(err)
	}
	code, err := env.importFiles(ctx, o, session)
	if err != nil {
		return env.fail(errors.New(session.hide(err.Error())))
	}
	return code
}

// checkImport refuses what cannot be meant.
func (o *importOptions) checkImport() error {
	switch {
	case len(o.paths) == 0:
		return errors.New("import needs the reports of other scanners: name their files, or write - for standard input")
	case slices.Contains(o.paths, "") || len(slices.Compact(slices.Sorted(slices.Values(o.paths)))) < len(o.paths):
		return errors.New("a file is named twice, or is empty")
	case o.server == "" && o.repository != "":
		return errors.New("--repository is for --server")
	case o.server != "" && (o.output != "" || len(o.reports) > 0):
		return errors.New("--server tells what it did on standard output: leave --output and --report out")
	case o.server != "" && o.format != "text" && o.format != "json":
		return fmt.Errorf("--format is %q: with --server it must be text or json", o.format)
	}
	return o.checkReports()
}

// importFiles reads the files, and verifies what they tell of here or on a server.
func (env *environment) importFiles(ctx context.Context, o importOptions, s *session) (int, error) {
	var all intake.Report
	for _, path := range o.paths {
		r, err := env.readReport(path)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		all.Leaks, all.Closed = append(all.Leaks, r.Leaks...), all.Closed+r.Closed
	}
	if o.server != "" {
		return env.importTo(ctx, o, all)
	}
	found, left := all.Resolve(s.scanner)
	result := scanned{findings: found}
	result.problems = intake.Reasons(left)
	if all.Closed > 0 {
		result.notes = append(result.notes, report.Count(all.Closed, "finding")+" left out, because closed or suppressed where it was found")
	}
	if err := env.verify(ctx, result.findings); err != nil {
		return 0, err
	}
	result.notes = append(result.notes, undecided(result.findings)...)
	if err := env.report(o.scanOptions, result, s); err != nil {
		return 0, err
	}
	return env.concludeImport(o, all, result), nil
}

func (env *environment) readReport(path string) (*intake.Report, error) {
	if path == "-" {
		return intake.Read(env.stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return intake.Read(f)
}

// concludeImport tells how the import went, and returns the status.
func (env *environment) concludeImport(o importOptions, all intake.Report, s scanned) int {
	env.tellImport(o, fmt.Sprintf("%s of %s", report.Count(len(all.Leaks), "finding"), formats(all.Formats())), s)
	return importStatus(len(s.problems), s.findings)
}

func (env *environment) tellImport(o importOptions, what string, s scanned) {
	env.tellProblems(o.quiet, "not imported", s)
	if !o.quiet {
		live := count(s.findings, isLive)
		fmt.Fprintf(env.stderr, "imported %s: %s, %d live\n", what, report.Count(len(s.findings), "secret"), live)
	}
}

// formats names formats for people.
func formats(all []string) string {
	if len(all) == 0 {
		return "no scanner"
	}
	return strings.Join(all, ", ")
}

func importStatus(problems int, found []checks.Finding) int {
	switch {
	case problems > 0:
		return exitFailed
	case slices.ContainsFunc(found, isLive):
		return exitLive
	case len(found) > 0:
		return exitFound
	}
	return exitDone
}

// printImported writes what a server did, in the format that was asked for.
func printImported(w io.Writer, done app.Imported) error {
	for _, f := range done.Findings {
		place := fmt.Sprintf("%s:%d", f.File, f.Line)
		fmt.Fprintf(w, "%s: %s\n", report.Printable(place), report.Printable(f.Description))
		for _, d := range [][2]string{
			{"rule", f.Rule}, {"found", f.Redacted}, {"severity", string(f.Severity)}, {"commit", f.Commit}, {"validity", string(f.Validity)},
			{"grade", f.Grade}, {"can do", f.Reach}, {"incident", f.Incident + ", " + string(f.State)},
		} {
			if d[1] != "" {
				fmt.Fprintf(w, "  %-9s %s\n", d[0], report.Printable(d[1]))
			}
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}
