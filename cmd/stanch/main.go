// Stanch finds leaked credentials, asks their providers whether they work,
// replaces them where they are kept and proves the leaked ones dead. This is the
// one program: the server, the scanner of files and git repositories, and the
// demonstration. Run "stanch help" for its commands.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
)

// The exit statuses, a contract with scripts.
const (
	exitDone   = 0 // nothing found, or done
	exitFound  = 1 // secrets were found
	exitFailed = 2 // could not do what was asked
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	stop()
	os.Exit(code)
}

// An environment is what a command may use of the process that it runs in.
type environment struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
	// learn, when set, is told a command's flags and usage, and nothing is run.
	learn func(f *flag.FlagSet, usage string)
}

// A command is one of the words after "stanch". It returns the exit status.
type command struct {
	summary string
	run     func(ctx context.Context, env *environment, args []string) int
}

func commands() map[string]command {
	return map[string]command{
		"allow":      {"write the line of an allowlist that says that a credential is no leak", runAllow},
		"action":     {"scan what an event of a GitHub workflow brings; the GitHub Action runs it", runAction},
		"audit":      {"verify and export the log of what Stanch decided and did", runAudit},
		"baseline":   {"write down the secrets that are known, so that scans report only new ones", runBaseline},
		"completion": {"print what a shell needs to complete commands and flags", runCompletion},
		"demo":       {"run everything on this machine: a key is pushed, found, replaced and proved dead", runDemoCommand},
		"doctor":     {"say what stanch serve lacks, and what to do about it", runDoctor},
		"scan":       {"find secrets in files, folders, a range of commits or standard input", runScan},
		"hook":       {"let git ask Stanch before a commit and before a push", runHook},
		"import":     {"verify what other scanners found, here or on a server", runImport},
		"policy":     {"check policy files, and explain and simulate what they do", runPolicy},
		"revoke":     {"kill one credential at its provider, and prove it dead", runRevoke},
		"rotate":     {"replace one credential where it is kept, and prove the old one dead", runRotate},
		"incidents":  {"list and show incidents, decide about them, stop and undo", runIncidents},
		"rules":      {"list, show, lint and test the rules that say what a secret is", runRules},
		"serve":      {"run the GitHub App", runServe},
		"store":      {"keep credentials in an encrypted file that the server rotates", runStore},
		"verify":     {"ask the provider about one credential: is it live, and what can it do?", runVerify},
		"version":    {"print the version of this program", runVersion},
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	env := &environment{stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv}
	if len(args) == 0 {
		fmt.Fprint(stderr, usage())
		return exitFailed
	}
	name, rest := args[0], args[1:]
	switch {
	case name == "--version":
		name = "version"
	case !slices.Contains([]string{"help", "-h", "-help", "--help"}, name):
	case len(rest) == 0:
		fmt.Fprint(stdout, usage())
		return exitDone
	default: // "help scan" is "scan --help"
		name, rest = rest[0], []string{"--help"}
	}
	c, ok := commands()[name]
	if !ok {
		return env.fail(unknown("command", name, slices.Sorted(maps.Keys(commands())), "stanch help"))
	}
	return c.run(ctx, env, rest)
}

func usage() string {
	var b strings.Builder
	b.WriteString("Stanch finds leaked credentials and changes the lock.\n\nUsage: stanch COMMAND [ARGUMENTS]\n\nCommands:\n")
	all := commands()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "  %-10s %s\n", name, all[name].summary)
	}
	b.WriteString("\n“stanch COMMAND --help” tells more. Exit status: 0 nothing found or done, 1 secrets\n" +
		"found, 2 could not do what was asked, 3 a live secret was found (with --verify).\n")
	return b.String()
}

// fail reports an error and returns the exit status for it.
func (env *environment) fail(err error) int {
	fmt.Fprintf(env.stderr, "stanch: %v\n", err)
	return exitFailed
}

// unknown is the error for a word that is none of known, with the likeliest one.
func unknown(what, word string, known []string, help string) error {
	if likely := nearest(word, known); likely != "" {
		return fmt.Errorf("unknown %s %q: did you mean %q? “%s” lists them", what, word, likely, help)
	}
	return fmt.Errorf("unknown %s %q: “%s” lists them", what, word, help)
}

// nearest is the word among known that another one is likely meant for: a slip of
// the fingers away, or else the shortest that it is a part of; or "".
func nearest(word string, known []string) (best string) {
	const least = 3 // letters that say something
	distance := min(3, 1+len(word)/least)
	for _, k := range known {
		if d := editDistance(word, k); d < distance {
			best, distance = k, d
		}
	}
	if best != "" || len(word) < least {
		return best
	}
	for _, k := range known {
		if strings.Contains(k, word) && (best == "" || len(k) < len(best)) {
			best = k
		}
	}
	return best
}

// editDistance counts the letters to insert, remove, change or swap with their
// neighbours to make b of a.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			best := min(change, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				best = min(best, rows[i-2][j-2]+1)
			}
			rows[i][j] = best
		}
	}
	return rows[len(a)][len(b)]
}

// errHelp says that the help was asked for and given.
var errHelp = errors.New("help was printed")

// parseFlags parses flags that stand before, between and after the arguments,
// and returns the arguments. After "--" all is arguments.
func (env *environment) parseFlags(f *flag.FlagSet, usage string, args []string) (positional []string, err error) {
	if env.learn != nil {
		env.learn(f, usage)
		return nil, errHelp
	}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	for {
		err := f.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(env.stdout, usage)
			printFlags(env.stdout, f)
			return nil, errHelp
		}
		if err != nil {
			return nil, badFlag(err, f)
		}
		rest := f.Args()
		if used := len(args) - len(rest); len(rest) == 0 || used > 0 && args[used-1] == "--" {
			return append(positional, rest...), nil
		}
		positional, args = append(positional, rest[0]), rest[1:]
	}
}

// badFlag says what is wrong with the flags, and where to read on.
func badFlag(err error, f *flag.FlagSet) error {
	help := fmt.Sprintf("stanch %s --help", f.Name())
	message := dashes(err.Error(), f)
	if name, found := strings.CutPrefix(message, "flag provided but not defined: "); found {
		var known []string
		f.VisitAll(func(fl *flag.Flag) { known = append(known, "--"+fl.Name) })
		return unknown("flag", name, known, help)
	}
	return fmt.Errorf("%s: “%s” lists the flags", message, help)
}

// dashes writes the flags in a message of package flag as people type them: it
// has one hyphen where they have two.
func dashes(message string, f *flag.FlagSet) string {
	for _, end := range []string{"flag provided but not defined: ", "flag needs an argument: ", " for flag ", " for "} {
		before, name, found := strings.Cut(message, end+"-")
		if found {
			return before + end + "--" + name
		}
	}
	return message
}

// exit turns the result of parseFlags, or of any other step, into a status.
func (env *environment) exit(err error) int {
	if errors.Is(err, errHelp) {
		return exitDone
	}
	return env.fail(err)
}

func printFlags(w io.Writer, f *flag.FlagSet) {
	var flags []*flag.Flag
	f.VisitAll(func(fl *flag.Flag) { flags = append(flags, fl) })
	if len(flags) == 0 {
		return
	}
	fmt.Fprint(w, "\nFlags:\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, fl := range flags {
		value, help := flag.UnquoteUsage(fl)
		fmt.Fprintf(table, "  %s\t%s\n", strings.TrimSpace("--"+fl.Name+" "+value), help)
	}
	table.Flush()
}
