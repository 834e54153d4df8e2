package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/report"
)

// scanStaged scans what the next commit of a repository would add: the index as
// git sees it, which in a hook need not be the usual one (git commit FILE). For that
// the commit is made, but for nobody to see: no ref names it, and git's
// housekeeping removes it.
func scanStaged(ctx context.Context, dir string, scanner *checks.Scanner) (scanned, error) {
	repository, err := openRepository(ctx, dir)
	if err != nil {
		return scanned{}, err
	}
	return scanIndex(ctx, dir, repository, scanner)
}

// scanIndex is scanStaged where the repository is known: git may have been told by
// its environment which one is meant.
func scanIndex(ctx context.Context, dir string, repository *git.Repository, scanner *checks.Scanner) (scanned, error) {
	span, err := stagedRange(ctx, dir, repository)
	if err != nil {
		return scanned{}, fmt.Errorf("scan what is staged: %w", err)
	}
	result, err := repository.Scan(ctx, span, scanner, nil)
	if err != nil {
		return scanned{}, err
	}
	s := scannedGit(result)
	s.what = report.Count(result.Coverage.Blobs, "staged file")
	for i := range s.findings {
		s.findings[i].Commit, s.findings[i].Author = "", ""
		s.findings[i].Date = time.Time{}
	}
	for i := range s.problems {
		s.problems[i] = strings.ReplaceAll(s.problems[i], fmt.Sprintf(" in commit %.12s", span.Tip), "")
	}
	return s, nil
}

// stagedRange is the commit that git would make of the index, and its parents:
// two or more while a merge is under way.
func stagedRange(ctx context.Context, dir string, repository *git.Repository) (git.Range, error) {
	tree, err := userGit(ctx, "-C", dir, "write-tree")
	if err != nil {
		if strings.Contains(err.Error(), "unmerged") || strings.Contains(err.Error(), "error building trees") {
			return git.Range{}, errors.New("the merge is not finished: resolve the conflicts and “git add” the files")
		}
		return git.Range{}, err
	}
	var span git.Range
	head, err := repository.Commit(ctx, "HEAD")
	if err == nil {
		span.Bases = append(span.Bases, head)
	} else if !errors.Is(err, git.ErrNoCommit) { // the first commit has no parent
		return git.Range{}, err
	}
	merged, err := os.ReadFile(filepath.Join(repository.Dir(), "MERGE_HEAD"))
	if err == nil {
		span.Bases = append(span.Bases, strings.Fields(string(merged))...)
	}
	// Who made it does not matter, but git wants to know.
	args := []string{"-C", dir, "-c", "user.name=Stanch", "-c", "user.email=stanch@localhost", "-c", "commit.gpgSign=false", "commit-tree", tree, "-m", "staged"}
	for _, base := range span.Bases {
		args = append(args, "-p", base)
	}
	span.Tip, err = userGit(ctx, args...)
	return span, err
}

// staged scans what is staged in the hook's repository.
func (h *hookRun) staged(ctx context.Context) (scanned, error) {
	return scanIndex(ctx, ".", h.repository, h.session.scanner)
}
