package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Of a history: how many files it begins with, how large these are, and how often a
// branch is begun and merged.
const (
	firstFiles = 300
	leastFile  = 2_000
	mostFile   = 60_000
	branchTurn = 10
)

// An author makes a history that is the same each time.
type author struct {
	out    *bufio.Writer // to git fast-import
	random *rand.Rand
	pool   []string // files of Go's source, where new lines come from
	names  []string
	texts  [][][]byte // of each file, its lines
	mark   int        // of the last commit or file that was written
	clock  int64
}

// importHistory makes a bare repository of edits of Go's source, in which every
// tenth commit merges a branch.
func importHistory(ctx context.Context, dir, goroot string, commits int) (err error) {
	git := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "git", append([]string{"--git-dir", dir}, args...)...)
		cmd.Stderr = os.Stderr
		return cmd
	}
	if err := git("init", "--quiet", "--bare", "--initial-branch", "main").Run(); err != nil {
		return fmt.Errorf("git init: %w", err)
	}
	load := git("fast-import", "--quiet")
	in, err := load.StdinPipe()
	if err != nil {
		return err
	}
	if err := load.Start(); err != nil {
		return err
	}
	written := write(in, goroot, commits)
	in.Close()
	if err := load.Wait(); err != nil {
		return fmt.Errorf("git fast-import: %w", err)
	}
	if written != nil {
		return written
	}
	// fast-import looks for no good differences; git does, in what people commit.
	if err := git("repack", "-a", "-d", "-f", "-q").Run(); err != nil {
		return fmt.Errorf("git repack: %w", err)
	}
	return nil
}

// write writes the history as git fast-import reads it.
func write(w io.Writer, goroot string, commits int) error {
	a := &author{out: bufio.NewWriterSize(w, 1<<20), random: rand.New(rand.NewPCG(1, 2)), clock: 1_700_000_000}
	if err := a.begin(goroot); err != nil {
		return err
	}
	all := make([]int, len(a.names))
	for i := range all {
		all[i] = i
	}
	tip := a.commit("main", 0, 0, all)
	side, sideFiles := 0, []int(nil)
	for n := 1; n < commits; n++ {
		files, err := a.edit()
		if err != nil {
			return err
		}
		switch n % branchTurn {
		case branchTurn - 3: // a branch begins
			side, sideFiles = a.commit("side", tip, 0, files), files
		case branchTurn - 1: // and is merged
			slices.Sort(sideFiles)
			tip = a.commit("main", tip, side, slices.Compact(sideFiles))
		default:
			tip = a.commit("main", tip, 0, files)
		}
	}
	return a.out.Flush()
}

// begin chooses the files.
func (a *author) begin(goroot string) error {
	all, err := sources(goroot)
	if err != nil {
		return err
	}
	for _, s := range all {
		if filepath.Ext(s.rel) != ".go" || s.size < leastFile || s.size > mostFile {
			continue
		}
		a.pool = append(a.pool, s.path)
		if len(a.names) == firstFiles {
			continue
		}
		data, err := os.ReadFile(s.path)
		if err != nil {
			return err
		}
		a.names = append(a.names, filepath.ToSlash(s.rel))
		a.texts = append(a.texts, bytes.SplitAfter(data, []byte("\n")))
	}
	if len(a.names) < firstFiles {
		return fmt.Errorf("%s has only %d files to make a history of, not %d", goroot, len(a.names), firstFiles)
	}
	return nil
}

// edit puts lines of some other file in the place of some lines, in one to four
// files.
func (a *author) edit() (files []int, err error) {
	for range 1 + a.random.IntN(4) {
		i := a.random.IntN(len(a.names))
		data, err := os.ReadFile(a.pool[a.random.IntN(len(a.pool))])
		if err != nil {
			return nil, err
		}
		donor := bytes.SplitAfter(data, []byte("\n"))
		from := a.random.IntN(len(donor))
		added := donor[from:min(len(donor), from+1+a.random.IntN(40))]
		text := a.texts[i]
		at := a.random.IntN(len(text))
		gone := min(len(text)-at, a.random.IntN(36))
		a.texts[i] = slices.Concat(text[:at], added, text[at+gone:])
		files = append(files, i)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// commit writes the state of some files as a commit on a branch, with one parent or
// two, and returns its mark.
func (a *author) commit(branch string, parent, merged int, files []int) int {
	marks := make([]int, len(files))
	for n, i := range files {
		a.mark++
		marks[n] = a.mark
		text := bytes.Join(a.texts[i], nil)
		fmt.Fprintf(a.out, "blob\nmark :%d\ndata %d\n%s\n", a.mark, len(text), text)
	}
	a.mark++
	a.clock += 600
	message := fmt.Sprintf("edit %d files\n", len(files))
	fmt.Fprintf(a.out, "commit refs/heads/%s\nmark :%d\ncommitter Bench <bench@example.com> %d +0000\ndata %d\n%s", branch, a.mark, a.clock, len(message), message)
	if parent > 0 {
		fmt.Fprintf(a.out, "from :%d\n", parent)
	}
	if merged > 0 {
		fmt.Fprintf(a.out, "merge :%d\n", merged)
	}
	for n, i := range files {
		fmt.Fprintf(a.out, "M 100644 :%d %s\n", marks[n], a.names[i])
	}
	return a.mark
}
