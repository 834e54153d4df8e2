// Command bench measures Stanch side by side with gitleaks, on this machine and in
// one run, and writes the figures as Markdown:
//
//	go run ./cmd/bench -o docs/performance.md
//
// It builds both programs, makes what they scan on the spot (the source of the Go
// toolchain, the module cache, a history of commits with merges) and runs them as
// whole processes, one after the other in turns. It needs git, the Go toolchain and
// a module proxy, some gigabytes in the folder for temporary files, and a quarter of
// an hour. -only runs some of the parts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A bench is one run of this program.
type bench struct {
	ctx   context.Context
	work  string // the folder for everything that is made
	flags string // as they were given, but for that folder
	out   io.Writer

	stanch, gitleaks string // the programs

	runs      int   // of Stanch, for each figure
	peerRuns  int   // of gitleaks, which takes long
	folderMB  int64 // of each corpus, at most
	sampleMB  int64 // of it, for gitleaks
	commits   int   // of the history
	sizes     []int64
	peakBytes int64 // the most memory that any run of Stanch took
	peakOf    string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	b := &bench{ctx: ctx}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	output := f.String("o", "", "write the figures to `FILE` instead of standard output")
	only := f.String("only", "", "measure these `PARTS` alone, separated by commas: folders, push, history, sizes")
	resident := f.String("resident", "", "measure scans of the files in `FOLDER` within this process, and nothing else")
	launches := f.Bool("launch", false, "run the program that is named after this, tell what it took, and nothing else")
	sizes := f.String("sizes", "1,8,64,512,2048", "scan one file of each of these `MEGABYTES`")
	f.StringVar(&b.work, "work", "", "make everything in `FOLDER` and keep it, instead of in a temporary one")
	f.IntVar(&b.runs, "runs", 5, "run Stanch `N` times for each figure")
	f.IntVar(&b.peerRuns, "peer-runs", 1, "run gitleaks `N` times for each figure that takes it long")
	f.Int64Var(&b.folderMB, "mb", 300, "scan at most `MEGABYTES` of the module cache")
	f.Int64Var(&b.sampleMB, "sample-mb", 20, "let gitleaks scan `MEGABYTES` of each folder")
	f.IntVar(&b.commits, "commits", 5000, "make a history of `N` commits")
	if err := f.Parse(args); err != nil {
		return err
	}
	f.Visit(func(fl *flag.Flag) {
		if fl.Name != "work" {
			b.flags += " -" + fl.Name + " " + fl.Value.String()
		}
	})
	if *launches && f.NArg() > 0 {
		return launch(f.Args(), os.Stdout)
	}
	if *resident != "" {
		return measureResident(*resident, os.Stdout)
	}
	var err error
	if b.sizes, err = megabytes(*sizes); err != nil {
		return err
	}
	wanted, err := chosen(*only)
	if err != nil {
		return err
	}
	return b.measure(*output, wanted)
}

// A part is something that is measured.
type part struct {
	name string
	run  func(*bench) error
}

// parts are all of them, in order.
var parts = []part{
	{"folders", (*bench).folders},
	{"push", (*bench).push},
	{"history", (*bench).history},
	{"sizes", (*bench).growth},
}

// chosen returns the parts that are named in a list, and all for an empty one.
func chosen(list string) ([]part, error) {
	if list == "" {
		return parts, nil
	}
	var all []part
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: there is no part %q: write some of folders, push, history, sizes", name)
		}
		all = append(all, parts[i])
	}
	return all, nil
}

// megabytes reads numbers of megabytes, and returns them in bytes.
func megabytes(list string) (all []int64, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-sizes: %q is no number of megabytes: write for instance 1,8,64", text)
		}
		all = append(all, n*mega)
	}
	return all, nil
}

// measure prepares everything, runs the parts and writes the document.
func (b *bench) measure(output string, wanted []part) (err error) {
	if b.work == "" {
		if b.work, err = os.MkdirTemp("", "stanch-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.work)) }()
	} else if b.work, err = filepath.Abs(b.work); err != nil {
		return err
	}
	if err := b.build(); err != nil {
		return err
	}
	var document strings.Builder
	b.out = &document
	if err := b.preface(); err != nil {
		return err
	}
	for _, p := range wanted {
		b.say("measuring %s", p.name)
		if err := p.run(b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	b.memory()
	if output == "" {
		_, err = io.WriteString(os.Stdout, document.String())
		return err
	}
	return os.WriteFile(output, []byte(document.String()), 0o644)
}

// say tells how far the run is.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// printf adds to the document.
func (b *bench) printf(format string, args ...any) { fmt.Fprintf(b.out, format, args...) }
