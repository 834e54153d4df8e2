package app

import (
	"context"
	"errors"
	"slices"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

// A refMemory is what a scan knows of the refs that it is about. A push says what
// was there before, and what was last scanned may be older: then a delivery was
// lost. It may be newer too: then this delivery is late.
type refMemory struct {
	last   string // what was last scanned, "" when nothing was
	behind bool   // the tip is older than last

	backfill *store.Backfill // how far a backfill has come with the scan; else nil
}

// recall looks up what was last scanned of the refs. Several refs at one tip are
// known to differ only by their names.
func (a *App) recall(ctx context.Context, s scanArgs) (m refMemory, err error) {
	if s.begun() {
		return s.Parts.memory(), nil
	}
	if len(s.Refs) == 0 {
		return m, nil
	}
	m.last, err = a.store.Ref(ctx, s.Installation, s.Repository.ID, s.Refs[0])
	if errors.Is(err, store.ErrNotFound) {
		return m, nil
	}
	return m, err
}

// compare finds out whether the tip is older than what was last scanned. A push
// that goes back on purpose says so: it comes from there.
func (m *refMemory) compare(ctx context.Context, s scanArgs, mirror *github.Mirror) (err error) {
	if m.last == "" || m.last == s.Base || s.Pinned || s.Lost {
		return nil
	}
	m.behind, err = mirror.Behind(ctx, mirror.Range().Tip, m.last)
	return err
}

// record remembers that the refs were scanned up to the tip: as many of them as one
// transaction takes.
func (m refMemory) record(ctx context.Context, tx *store.Tx, s scanArgs) error {
	if m.backfill != nil {
		return tx.SaveBackfill(ctx, *m.backfill)
	}
	if m.behind || s.Lost {
		return nil
	}
	return m.move(ctx, tx, s, s.Refs[:min(len(s.Refs), store.RefBatch)])
}

// move moves refs to the tip. Where one stands meanwhile at what neither this scan nor
// its delivery knows, pushes are scanned in another order than they came, or at the
// same time: when that is over, a look at GitHub says which was the last.
func (m refMemory) move(ctx context.Context, tx *store.Tx, s scanArgs, names []string) error {
	ref := store.Ref{Installation: s.Installation, Repository: s.Repository.ID, SHA: s.Tip}
	moved, err := tx.MoveRefs(ctx, ref, names, m.last, s.Base, s.Tip)
	if err != nil || moved == len(names) {
		return err
	}
	return tx.EnqueueOnce(ctx, sweepRepositoryArgs{Repository: s.Repository.ID, Settle: true})
}

// recordRest remembers the refs that record left out, when the scan is recorded. What
// a crash leaves, the next sweep remembers: it knows that the tip was scanned.
func (a *App) recordRest(ctx context.Context, m refMemory, s scanArgs) error {
	if m.backfill != nil || m.behind || s.Lost || len(s.Refs) <= store.RefBatch {
		return nil
	}
	for names := range slices.Chunk(s.Refs[store.RefBatch:], store.RefBatch) {
		if err := a.store.InTx(ctx, func(tx *store.Tx) error { return m.move(ctx, tx, s, names) }); err != nil {
			return err
		}
	}
	return nil
}

// look scans a range, unless nothing in it can be new.
func (a *App) look(ctx context.Context, s scanArgs) (sighting, error) {
	memory, err := a.recall(ctx, s)
	if err != nil {
		return sighting{}, err
	}
	nothing := func(from, to string) sighting {
		return sighting{Result: git.Result{Coverage: checks.Coverage{Base: from, Tip: to, Skipped: []checks.Skip{}}}, memory: memory, part: part{last: true}}
	}
	known, err := a.known(ctx, s, memory)
	if err != nil || known {
		return nothing(s.Head, s.Head), err
	}
	seen, err := a.examine(ctx, s, memory)
	if s.Lost && errors.Is(err, github.ErrMissing) {
		a.log.InfoContext(ctx, "what a forced push took away is not on GitHub any more", "delivery", s.Delivery, "tip", s.Tip)
		return nothing(s.Base, s.Tip), nil
	}
	return seen, err
}

// known reports whether the tip was scanned before, as the head of this check or,
// of what a forced push took away, of its own.
func (a *App) known(ctx context.Context, s scanArgs, m refMemory) (bool, error) {
	switch {
	case s.Pinned:
		return false, nil
	case s.Lost && s.Tip == m.last:
		return true, nil
	case s.Lost:
		return a.store.Scanned(ctx, s.Installation, s.Repository.ID, s.Tip)
	case s.Tip == m.last || s.Tip == s.Base:
		return a.store.Scanned(ctx, s.Installation, s.Repository.ID, s.Head)
	}
	return false, nil
}
