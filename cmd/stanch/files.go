package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
)

// stdinName is what findings in standard input name as their file.
const stdinName = "<stdin>"

// How many files are handed over in one go, for each of the scanners, and how far
// these may be ahead of the slowest one: what they found waits for its turn.
const (
	batchSize    = 16
	batchesAhead = 64
)

// maxListed is how many findings of files are listed, so that no folder fills the
// memory; git has a bound of its own.
const maxListed = 50_000

// A batch is some files on their way: to one of the scanners and then, in the order
// of their paths, to the result.
type batch struct {
	files   []place
	results []fileResult
	done    chan struct{}
}

// scanPaths scans files and folders, all processors at work. Findings come in the
// order of their paths, and memory does not grow with the number of files.
func scanPaths(ctx context.Context, paths, exclude []string, scanner *checks.Scanner, told *progress) (scanned, error) {
	group, working := errgroup.WithContext(ctx)
	work := make(chan *batch)
	order := make(chan *batch, batchesAhead)
	w := &walker{ctx: working, exclude: exclude}
	group.Go(func() error {
		defer close(work)
		defer close(order)
		return feed(working, w, paths, work, order)
	})
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error { return scanBatches(working, work, newFileReader(scanner)) })
	}
	var c collector
	defer told.end()
	for b := range order {
		select {
		case <-b.done:
			c.add(b)
		case <-working.Done():
		}
		told.tell("%s, %s", report.Count(c.files, "file"), report.Size(c.bytes))
	}
	// The last files of a scan that was interrupted may be missing without an error.
	if err := group.Wait(); err != nil || ctx.Err() != nil {
		err = cmp.Or(context.Cause(ctx), err)
		return c.scanned, fmt.Errorf("scan: %w", err)
	}
	c.finish(w, paths)
	return c.scanned, nil
}

// feed walks and hands over what it finds.
func feed(ctx context.Context, w *walker, paths []string, work, order chan<- *batch) error {
	var b *batch
	send := func() error {
		for _, to := range []chan<- *batch{order, work} {
			select {
			case to <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		b = nil
		return nil
	}
	w.visit = func(p place) error {
		if b == nil {
			b = &batch{files: make([]place, 0, batchSize), done: make(chan struct{})}
		}
		b.files = append(b.files, p)
		if len(b.files) < batchSize {
			return nil
		}
		return send()
	}
	if err := w.walk(paths); err != nil || b == nil {
		return err
	}
	return send()
}

// scanBatches scans until there is no more work.
func scanBatches(ctx context.Context, work <-chan *batch, r *fileReader) error {
	for b := range work {
		b.results = make([]fileResult, 0, len(b.files))
		for _, p := range b.files {
			if err := ctx.Err(); err != nil {
				return err
			}
			b.results = append(b.results, r.scanFile(ctx, p))
		}
		close(b.done)
	}
	return nil
}

// A collector puts together what the files held.
type collector struct {
	scanned
	files    int
	unlisted int // files whose findings there is no room for
}

func (c *collector) add(b *batch) {
	for _, r := range b.results {
		if r.problem == nil || r.bytes > 0 {
			c.files++
		}
		if len(c.findings)+len(r.findings) > maxListed {
			c.unlisted++
			r.findings = nil
		}
		c.scanned.add(r)
	}
}

// finish tells what only the end of the walk knows.
func (c *collector) finish(w *walker, paths []string) {
	c.notes = append(c.notes, w.notes...)
	c.problems = append(w.problems, c.problems...)
	if c.unlisted > 0 {
		c.problems = append(c.problems, fmt.Sprintf("the secrets of %s: more than %d would be too many to list", report.Count(c.unlisted, "file"), maxListed))
	}
	if w.links > 0 {
		c.notes = append(c.notes, report.Count(w.links, "symbolic link")+" not followed")
	}
	if w.excluded > 0 {
		c.notes = append(c.notes, report.Count(w.excluded, "path")+" left out by --exclude")
	}
	if c.files == 0 && len(c.problems) == 0 {
		why := "nothing: there is no file in " + strings.Join(paths, ", ")
		if w.excluded > 0 {
			why += " but for what --exclude leaves out"
		}
		c.problems = append(c.problems, why)
	}
	c.what = report.Count(c.files, "file")
}

// add takes over a file's result.
func (s *scanned) add(r fileResult) {
	s.bytes += r.bytes
	if r.problem != nil {
		s.problems = append(s.problems, unread(r.path, r.problem))
	}
	s.findings = append(s.findings, r.findings...)
}
