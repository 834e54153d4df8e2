package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/report"
)

// scannedGit is the result of a scan of commits as stanch scan tells it.
func scannedGit(result git.Result) scanned {
	s := scanned{
		what:  report.Count(result.Coverage.Commits, "commit") + ", " + report.Count(result.Coverage.Blobs, "file"),
		bytes: result.Coverage.Bytes,
	}
	for _, l := range result.Findings {
		s.findings = append(s.findings, l.Finding)
	}
	for _, skip := range result.Coverage.Skipped {
		s.problems = append(s.problems, strings.TrimPrefix(fmt.Sprintf("%s in commit %.12s: %s", skip.Path, skip.Commit, skip.Reason), " in "))
	}
	if !result.Coverage.Complete() && len(s.problems) == 0 {
		s.problems = append(s.problems, "nothing: there is no commit")
	}
	return s
}

// scanHistory scans all that the refs of a repository lead to, and with unreachable
// what none leads to any more.
func scanHistory(ctx context.Context, dir string, unreachable bool, scanner *checks.Scanner, told *progress) (scanned, error) {
	repository, err := openRepository(ctx, dir)
	if err != nil {
		return scanned{}, err
	}
	result, err := repository.History(ctx, scanner, git.HistoryOptions{Unreachable: unreachable, Progress: told.say})
	told.end()
	if err != nil {
		return scanned{}, err
	}
	return scannedGit(result), nil
}

// progressEvery is how often a progress changes: often enough to be seen moving.
const progressEvery = 100 * time.Millisecond

// A progress tells how far something has come, in one line that is written over
// again and again.
type progress struct {
	mu   sync.Mutex
	w    io.Writer // nil where nobody looks
	last time.Time
}

// progress tells people at a terminal, who have not asked for quiet.
func (env *environment) progress(quiet bool) *progress {
	if f, ok := env.stderr.(*os.File); ok && !quiet && env.getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd())) {
		return &progress{w: f}
	}
	return &progress{}
}

// say tells that so many of about so many objects were scanned.
func (p *progress) say(done, total int) { p.tell("%d of %d objects", done, max(done, total)) }

// tell says how far the scan is, if it was not said just now.
func (p *progress) tell(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil || time.Since(p.last) < progressEvery {
		return
	}
	p.last = time.Now()
	fmt.Fprintf(p.w, "\r\x1b[Kscanning: "+format, args...)
}

// end takes the line away, if there is one.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && !p.last.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
