package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks/report"
)

const baselineUsage = `Usage: stanch baseline create [FLAGS] [PATH…]
       stanch baseline update [FLAGS] [PATH…]

Writes down the secrets that a scan finds, so that “stanch scan --baseline FILE”
counts them and reports only what is new. The file is ` + baselineDefault + ` or what --baseline
names; commit it. It names each secret by a slow, salted hash (argon2id), with its
rule and a path for people, a line each, sorted. It has no dates and no line numbers:
moving a secret changes nothing, and any merge of two versions is a valid one
(“` + baselineDefault + ` merge=union” in .gitattributes lets git do it by itself).

create makes a new file. update adds what is new, and says what is not found any
more; with --prune it takes that out. What is scanned is said as to stanch scan.

A baseline is for what was there before. A secret that is live belongs rotated:
“stanch scan --verify” reports it whatever the baseline says.

Exit status: 0 done, 2 could not do what was asked.
`

func runBaseline(ctx context.Context, env *environment, args []string) int {
	verbs := []string{"create", "update"}
	switch {
	case len(args) == 0:
		fmt.Fprint(env.stderr, baselineUsage)
		return exitFailed
	case strings.HasPrefix(args[0], "-"):
		_, err := env.parseFlags(flag.NewFlagSet("baseline", flag.ContinueOnError), baselineUsage, args)
		return env.exit(errors.Join(err, unknown("command", "baseline "+args[0], nil, "stanch baseline --help")))
	case !slices.Contains(verbs, args[0]):
		return env.fail(unknown("baseline command", args[0], verbs, "stanch baseline --help"))
	}
	o, prune, err := env.baselineOptions(args[0], args[1:])
	if err != nil {
		return env.exit(err)
	}
	if err := env.changeBaseline(ctx, args[0], o, prune); err != nil {
		return env.fail(err)
	}
	return exitDone
}

func (env *environment) baselineOptions(verb string, args []string) (o scanOptions, prune bool, err error) {
	f := flag.NewFlagSet("baseline "+verb, flag.ContinueOnError)
	o.sourceFlags(f)
	f.StringVar(&o.baseline, "baseline", "", "the baseline’s `FILE`; without one "+baselineDefault+" here, or in the top folder of the repository that is scanned")
	f.Func("rules", "use the rules in `FILE`, or in a folder’s, too; may be repeated", listOf(&o.rules))
	f.BoolVar(&o.quiet, "quiet", false, "print errors only")
	if verb == "update" {
		f.BoolVar(&prune, "prune", false, "take out what this scan does not find")
	}
	if err = env.parseScan(f, &o, baselineUsage, args); err == nil && o.baseline == "" {
		o.baseline = usualBaseline(o)
	}
	return o, prune, err
}

// usualBaseline is where hooks look for the baseline of a repository; of files it is
// the folder that one is in.
func usualBaseline(o scanOptions) string {
	if len(o.sources()) == 0 || o.stdin {
		return baselineDefault
	}
	top, err := userGit(context.Background(), "-C", o.paths[0], "rev-parse", "--show-toplevel")
	here, wdErr := os.Getwd()
	if err != nil || wdErr != nil {
		return baselineDefault // a bare repository has no folder for it
	}
	path := filepath.Join(filepath.FromSlash(top), baselineDefault)
	if short, err := filepath.Rel(here, path); err == nil {
		return short
	}
	return path
}

// changeBaseline scans, and writes what was found.
func (env *environment) changeBaseline(ctx context.Context, verb string, o scanOptions, prune bool) error {
	b, err := openBaseline(verb, o.baseline)
	if err != nil {
		return err
	}
	s, err := env.newSession(o.rules)
	if err != nil {
		return err
	}
	found, err := env.scan(ctx, o, s.scanner)
	if err != nil {
		return errors.New(s.hide(err.Error()))
	}
	found.hide(s.scanner)
	found.pardon(nil)
	for _, problem := range found.problems {
		fmt.Fprintf(env.stderr, "stanch: not scanned: %s\n", report.Printable(problem))
	}
	if len(found.problems) > 0 {
		return fmt.Errorf("%s was not written, because not everything could be scanned", o.baseline)
	}
	c, err := b.compare(ctx, found.findings)
	if err != nil {
		return err
	}
	added, err := b.add(ctx, found.findings, s.hide)
	if err != nil {
		return err
	}
	if prune {
		for _, e := range c.stale {
			delete(b.entries, e.key)
		}
	}
	if err := b.write(); err != nil || o.quiet {
		return err
	}
	env.tellBaseline(b, added, c.stale, prune)
	return nil
}

// openBaseline reads the file to update, or makes sure that there is none.
func openBaseline(verb, path string) (*baseline, error) {
	if verb == "update" {
		return readBaseline(path)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("baseline %s is there already: “stanch baseline update” adds to it", path)
	}
	return newBaseline(path), nil
}

// tellBaseline says what changed.
func (env *environment) tellBaseline(b *baseline, added int, stale []baselineEntry, prune bool) {
	const shown = 20 // entries that are named
	what := "not found by this scan, and taken out with --prune"
	if prune {
		what = "not found by this scan, and taken out"
	}
	fmt.Fprintf(env.stderr, "%s: %s added, %s in all\n", b.path, entries(added), entries(len(b.entries)))
	if len(stale) == 0 {
		return
	}
	fmt.Fprintf(env.stderr, "%s: %s\n", what, entries(len(stale)))
	for _, e := range stale[:min(len(stale), shown)] {
		fmt.Fprintf(env.stderr, "  %s in %s\n", report.Printable(e.rule), report.Printable(e.path))
	}
	if more := len(stale) - shown; more > 0 {
		fmt.Fprintf(env.stderr, "  and %d more\n", more)
	}
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

// judge asks the providers, if that was asked for, and takes out what is known to be
// no leak, or to be one.
func (env *environment) judge(ctx context.Context, o scanOptions, s *scanned, ses *session) error {
	if o.verify {
		if err := env.verify(ctx, s.findings); err != nil {
			return err
		}
	}
	lists, err := env.ignoreLists(o.ignore, ses.catalogue)
	if err != nil {
		return err
	}
	s.pardon(lists)
	if o.verify {
		s.notes = append(s.notes, undecided(s.findings)...)
	}
	if o.baseline == "" {
		return nil
	}
	b, err := readBaseline(o.baseline)
	if err != nil {
		return err
	}
	c, err := b.compare(ctx, s.findings)
	if err != nil {
		return err
	}
	s.findings, s.known = unknownOf(c, s.findings), c.count()
	// Other scans see a part of what the baseline was made of.
	if n := len(c.stale); n > 0 && (o.history || len(o.sources()) == 0) {
		s.notes = append(s.notes, fmt.Sprintf("not found by this scan: %s of the baseline; “stanch baseline update --prune” takes out what is gone", entries(n)))
	}
	return nil
}
