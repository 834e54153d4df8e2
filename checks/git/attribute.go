package git

import (
	"context"
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
	s.reportMore()
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
