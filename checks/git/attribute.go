package git

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// attribute finds which of the commits, and paths, the suspects belong to.
func (s *scan) attribute(ctx context.Context, commits []objectID, found *sighting, partial, unreachable bool) error {
	s.reportCuts(commits)
	if !partial {
		s.clean = func(id objectID) bool { return found.suspects[id] == "" }
	}
	totals := s.coverage // what is looked at again does not count twice
	if partial || slices.Contains(kinds(found.suspects), "blob") {
		err := s.suspectChanges(ctx, commits, func(c change) bool { return partial || found.suspects[c.blob] != "" })
		if err != nil {
			return err
		}
	}
	if !partial {
		s.coverage.Commits, s.coverage.Blobs, s.coverage.Bytes = totals.Commits, totals.Blobs, totals.Bytes
	}
	if err := s.messages(ctx, commits, found); err != nil {
		return err
	}
	if len(s.leaks) > 0 && s.coverage.Tip != "" {
		if err := s.markTip(ctx, s.coverage.Tip); err != nil {
			return err
		}
	}
	if err := s.sign(ctx); err != nil || !unreachable {
		return err
	}
	return s.leftover(ctx, found)
}

// leastCompared is how many commits one git compares at least.
const leastCompared = 1000

// suspectChanges settles those changes of commits that are asked about. Commits are
// compared on all processors, and their changes come in the order of commits.
func (s *scan) suspectChanges(ctx context.Context, commits []objectID, asked func(change) bool) error {
	group, ctx := errgroup.WithContext(ctx)
	var parts []chan []change
	workers := runtime.GOMAXPROCS(0)
	for part := range slices.Chunk(commits, max(leastCompared, len(commits)/workers+1)) {
		to := make(chan []change)
		parts = append(parts, to)
		group.Go(func() error {
			defer close(to)
			return s.compare(ctx, part, asked, maxPending/workers, to)
		})
	}
	group.Go(func() error {
		for _, part := range parts {
			for changes := range part {
				if err := s.settle(ctx, changes); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return group.Wait()
}

// compare sends the changes of commits that are asked about, some more than most at a
// time, so that those of one commit are together.
func (s *scan) compare(ctx context.Context, commits []objectID, asked func(change) bool, most int, to chan<- []change) error {
	var pending []change
	send := func() error {
		select {
		case to <- pending:
			pending = nil
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	err := s.view.changes(ctx, commits, func(commit objectID, entries []entry) error {
		for _, c := range newBlobs(commit, entries) {
			if asked(c) {
				pending = append(pending, c)
			}
		}
		if len(pending) < most {
			return nil
		}
		return send()
	})
	if err != nil || len(pending) == 0 {
		return err
	}
	return send()
}

func kinds(suspects map[objectID]string) []string {
	var all []string
	for _, kind := range suspects {
		all = append(all, kind)
	}
	return all
}

// messages reports what commits and tags say, and puts the leaks into the order of
// commits.
func (s *scan) messages(ctx context.Context, commits []objectID, found *sighting) error {
	rank := make(map[string]int, len(commits))
	var ids []objectID
	for i, id := range commits {
		rank[id.String()] = i
		if found.suspects[id] == "commit" {
			ids = append(ids, id)
		}
	}
	tagged := make(map[objectID]objectID)
	for id, kind := range found.suspects {
		if kind == "tag" {
			ids = append(ids, id)
		}
	}
	err := s.view.read(ctx, ids, func(id objectID, size int64, r io.Reader) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		commit := id
		if found.suspects[id] == "tag" {
			if commit, err = taggedBy(data); err != nil {
				return nil // it stands at no commit
			}
			tagged[id] = commit
		}
		s.message(commit, data)
		return nil
	})
	if err != nil {
		return err
	}
	s.leaks = slices.DeleteFunc(s.leaks, func(l Leak) bool { _, known := rank[l.Commit]; return !known })
	slices.SortStableFunc(s.leaks, func(a, b Leak) int { return rank[a.Commit] - rank[b.Commit] })
	return nil
}

// taggedBy reads the commit that a tag object is about.
func taggedBy(tag []byte) (objectID, error) {
	line, _, _ := bytes.Cut(tag, []byte("\n"))
	name, _ := bytes.CutPrefix(line, []byte("object "))
	return parseObjectID(name)
}

// message reports what stands in a commit or tag; lines are counted in what its
// author wrote.
func (s *scan) message(commit objectID, data []byte) {
	head, _, _ := bytes.Cut(data, []byte("\n\n"))
	before := bytes.Count(head, []byte("\n")) + 2
	findings, err := s.scanner.Examine(CommitMessage, data)
	for _, f := range findings {
		f.Commit = commit.String()
		f.Line, f.EndLine = max(1, f.Line-before), max(1, f.EndLine-before)
		s.leaks = append(s.leaks, Leak{Finding: f})
	}
	if err != nil {
		s.skip(commit, CommitMessage, err.Error())
	}
}

// leftover reports the files that hold secrets and that no commit has: what was
// once staged, or belongs to trees alone.
func (s *scan) leftover(ctx context.Context, found *sighting) error {
	var places []place
	for id, kind := range found.suspects {
		if kind == "blob" && !s.counted[id] {
			places = append(places, place{blob: id, path: "(file " + id.String() + ", in no commit)"})
		}
	}
	slices.SortFunc(places, func(a, b place) int { return strings.Compare(a.path, b.path) })
	if err := s.examine(ctx, places, false); err != nil {
		return err
	}
	for _, p := range places {
		if b := s.blobs[p.blob]; b != nil {
			for _, f := range b.findings {
				s.leaks = append(s.leaks, Leak{Finding: f})
			}
		}
	}
	return nil
}
