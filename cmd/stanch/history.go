package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

// maxParents bounds the line that lists a commit's parents: there are commits with
// some ten thousand.
const maxParents = 1 << 20

// scannedGit is the result of a scan of commits as stanch scan tells it.
func scannedGit(results ...git.Result) scanned {
	var s scanned
	commits, blobs := 0, 0
	for _, result := range results {
		commits, blobs = commits+result.Coverage.Commits, blobs+result.Coverage.Blobs
		s.bytes += result.Coverage.Bytes
		for _, l := range result.Findings {
			s.findings = append(s.findings, l.Finding)
		}
		for _, skip := range result.Coverage.Skipped {
			s.problems = append(s.problems, strings.TrimPrefix(fmt.Sprintf("%s in commit %.12s: %s", skip.Path, skip.Commit, skip.Reason), " in "))
		}
		if result.Coverage.Tip == "" {
			s.problems = append(s.problems, "the range has no known last commit")
		}
	}
	s.what = amount(commits, "commit") + ", " + amount(blobs, "file")
	return s
}

// scanHistory scans all that the refs of a repository have: branches, tags, the
// stash, notes and what other tools keep. With unreachable it is also the commits
// that no ref has any more and that git has not removed yet. Each commit is scanned
// once, with the first ref that has it.
func scanHistory(ctx context.Context, dir string, unreachable bool, scanner *checks.Scanner, missing git.Fetcher, told progress) ([]git.Result, error) {
	repository, err := git.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	tips, err := historyTips(ctx, repository.Dir(), unreachable)
	if err != nil {
		return nil, err
	}
	if len(tips) == 0 {
		return nil, fmt.Errorf("scan %s: the repository has no commits", dir)
	}
	if tips, err = independent(ctx, repository.Dir(), tips); err != nil {
		return nil, err
	}
	defer told.end()
	var results []git.Result
	for i, tip := range tips {
		told.say("branch or tag %d of %d", i+1, len(tips))
		bases, fresh, err := newCommits(ctx, repository.Dir(), tip, tips[:i])
		if err != nil {
			return nil, err
		}
		if !fresh {
			continue
		}
		result, err := repository.Scan(ctx, git.Range{Bases: bases, Tip: tip}, scanner, missing)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// historyTips lists the commits at which the refs of a repository stand, HEAD's
// first.
func historyTips(ctx context.Context, dir string, unreachable bool) ([]string, error) {
	// Without a walk these are the commits that refs stand at, tags followed.
	out, err := git.Run(ctx, git.Command(ctx, dir, "rev-list", "--no-walk=unsorted", "--ignore-missing", "--all", "HEAD"))
	tips := strings.Fields(string(out))
	if err != nil {
		if out, err = git.Run(ctx, git.Command(ctx, dir, "rev-list", "--no-walk=unsorted", "--all")); err != nil {
			return nil, fmt.Errorf("list the refs of %s: %w", dir, err)
		}
		tips = strings.Fields(string(out))
	}
	// Only the last stash has a ref; the others are in its log. Most have none at all.
	if out, err = git.Run(ctx, git.Command(ctx, dir, "log", "--walk-reflogs", "--format=%H", "refs/stash", "--")); err == nil {
		tips = append(tips, strings.Fields(string(out))...)
	}
	if !unreachable {
		return tips, nil
	}
	out, err = git.Run(ctx, git.Command(ctx, dir, "fsck", "--no-progress", "--connectivity-only", "--no-dangling", "--unreachable", "--no-reflogs"))
	if err != nil {
		return nil, fmt.Errorf("look for unreachable commits in %s: %w", dir, err)
	}
	for line := range strings.Lines(string(out)) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "unreachable commit "); ok {
			tips = append(tips, id)
		}
	}
	return tips, nil
}

// independent leaves out the tips that another tip has in its history: most tags,
// and all branches that were merged.
func independent(ctx context.Context, dir string, tips []string) ([]string, error) {
	cmd := git.Command(ctx, dir, "rev-list", "--parents", "--stdin")
	cmd.Stdin = strings.NewReader(strings.Join(tips, "\n") + "\n")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("list the commits of %s: %w", dir, err)
	}
	among := make(map[string]bool, len(tips)) // whether it was seen as a parent
	for _, tip := range tips {
		among[tip] = false
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxParents)
	for lines.Scan() {
		for _, parent := range strings.Fields(lines.Text())[1:] {
			if _, is := among[parent]; is {
				among[parent] = true
			}
		}
	}
	if err := errors.Join(lines.Err(), cmd.Wait()); err != nil {
		return nil, fmt.Errorf("list the commits of %s: %w", dir, err)
	}
	var rest []string
	for _, tip := range tips {
		if behind, first := among[tip]; first && !behind {
			rest = append(rest, tip)
		}
		delete(among, tip) // the same commit may be named twice
	}
	return rest, nil
}

// newCommits says whether a tip has commits that the others do not have, and where
// those begin: the commits on the boundary tell all that the others have, in few
// words.
func newCommits(ctx context.Context, dir, tip string, others []string) (bases []string, fresh bool, err error) {
	cmd := git.Command(ctx, dir, "rev-list", "--boundary", "--stdin")
	cmd.Stdin = strings.NewReader(strings.Join(append([]string{tip}, others...), "\n^") + "\n")
	out, err := cmd.Output()
	if err != nil {
		return nil, false, fmt.Errorf("list the commits of %s: %w", tip, err)
	}
	for line := range strings.Lines(string(out)) {
		if base, found := strings.CutPrefix(strings.TrimSpace(line), "-"); found {
			bases = append(bases, base)
		} else {
			fresh = true
		}
	}
	return bases, fresh, nil
}

// A progress tells how far something has come, in one line that is written over
// again and again. The zero progress says nothing.
type progress struct{ w io.Writer }

// progress tells people at a terminal, who have not asked for quiet.
func (env *environment) progress(quiet bool) progress {
	if f, ok := env.stderr.(*os.File); ok && !quiet && env.getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd())) {
		return progress{env.stderr}
	}
	return progress{}
}

func (p progress) say(format string, args ...any) {
	if p.w != nil {
		fmt.Fprintf(p.w, "\r\x1b[Kscanning "+format, args...)
	}
}

// end clears the line.
func (p progress) end() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
