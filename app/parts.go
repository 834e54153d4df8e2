package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

// A Turn bounds what one run of a scan's job does. A range that is longer is scanned
// in parts, each in a run of its own; what they found is recorded part by part.
type Turn struct {
	Commits int           // that a part has at the most; 0 means 5,000
	Time    time.Duration // that the fetch and scan of a part may take; 0 means 10 minutes
}

func (t Turn) commits() int        { return cmp.Or(t.Commits, 5000) }
func (t Turn) time() time.Duration { return cmp.Or(t.Time, 10*time.Minute) }

// parts is how far the scan of a long range has come. The row of the scan keeps it.
type parts struct {
	Most     int      `json:"most,omitempty"`    // commits of a part, where larger ones took too long
	Reached  []string `json:"reached,omitempty"` // the last commits of the parts that are scanned
	Commits  int      `json:"commits,omitempty"` // of the range, when the last part was scanned
	Findings int      `json:"findings,omitempty"`
	// Last and Behind are what was known of the refs when the scan began.
	Last   string `json:"last,omitempty"`
	Behind bool   `json:"behind,omitempty"`
}

// begun reports whether a part of the range is scanned.
func (s scanArgs) begun() bool { return s.Parts != nil && len(s.Parts.Reached) > 0 }

// memory is what was known of the refs when the scan began.
func (p parts) memory() refMemory { return refMemory{last: p.Last, behind: p.Behind} }

// A part is what one run of a job scans of a range.
type part struct {
	end     string // its last commit
	commits int    // of what is left of the range, this part among them
	last    bool
}

// errOvertaken says that another run of the same scan is further, or that it was begun
// anew.
var errOvertaken = errors.New("another run of the scan goes on with it")

// errPartTime says that a part of so many commits took too long to scan.
type errPartTime struct{ commits int }

func (e errPartTime) Error() string {
	return fmt.Sprintf("%d commits took too long to scan", e.commits)
}

// resumed is the job of a scan as far as it has come.
func resumed(s scanArgs, kept store.Scan) (scanArgs, error) {
	var before scanArgs
	if err := json.Unmarshal(kept.Job, &before); err != nil {
		return s, fmt.Errorf("scan %s: %w", kept.Delivery, err)
	}
	if before.Parts == nil {
		return s, nil
	}
	before.Installation, before.Repository = s.Installation, s.Repository // which may have moved
	return before, nil
}

// scanPart scans what comes next of a range.
func (a *App) scanPart(ctx context.Context, s scanArgs, mirror *github.Mirror, scanner *checks.Scanner) (found git.Result, p part, err error) {
	whole := mirror.Range()
	rng, most := whole, a.cfg.Turn.commits()
	if s.Parts != nil {
		rng.Bases = slices.Concat(whole.Bases, s.Parts.Reached)
		most = cmp.Or(s.Parts.Most, most)
	}
	if p.end, p.commits, err = mirror.Repository().Part(ctx, rng, most); err != nil {
		return found, p, err
	}
	p.last, rng.Tip, rng.Messages, rng.Pointers = p.commits <= most, p.end, true, true
	if p.last && s.Tip != whole.Tip {
		rng.Tags = []string{s.Tip}
	}
	found, err = mirror.Repository().Scan(ctx, rng, scanner, mirror.FetchBlobs)
	if err == nil && (!p.last || s.begun()) {
		err = stillThere(ctx, found, presence(mirror, scanner, whole.Tip))
	}
	if err != nil && errors.Is(context.Cause(ctx), errScanTime) {
		err = errors.Join(errPartTime{min(most, p.commits)}, err)
	}
	found.Coverage.Base, found.Coverage.Tip = strings.Join(whole.Bases, ","), whole.Tip
	return found, p, err
}

// stillThere sets what of a result the tip has, which lies behind what was scanned.
func stillThere(ctx context.Context, found git.Result, present presenceFunc) error {
	if len(found.Findings) == 0 {
		return nil
	}
	still, err := present(ctx)
	for n, f := range found.Findings {
		found.Findings[n].InTip = still[f.Fingerprint]
	}
	return err
}

// A presenceFunc tells which secrets a commit has.
type presenceFunc func(context.Context) (map[checks.Fingerprint]bool, error)

// presence tells which secrets a commit has, whoever brought them. It looks when it is
// first asked.
func presence(mirror *github.Mirror, scanner *checks.Scanner, commit string) presenceFunc {
	var present map[checks.Fingerprint]bool
	return func(ctx context.Context) (map[checks.Fingerprint]bool, error) {
		if present != nil {
			return present, nil
		}
		snapshot, err := mirror.Snapshot(ctx, commit)
		if err != nil {
			return nil, err
		}
		all, err := mirror.Repository().Scan(ctx, git.Range{Tip: snapshot}, scanner, mirror.FetchBlobs)
		if err != nil {
			return nil, err
		}
		present = map[checks.Fingerprint]bool{}
		for _, f := range all.Findings {
			present[f.Fingerprint] = true
		}
		return present, nil
	}
}

// after is the job of a scan when a part is scanned, and so many commits before it: of
// what is left, or of the whole once more.
func (s scanArgs) after(o outcome, before int) scanArgs {
	s.Pinned, s.Bases = true, strings.FieldsFunc(o.Coverage.Base, func(r rune) bool { return r == ',' })
	if o.part.last {
		s.Parts = nil
		return s
	}
	next := parts{Last: o.memory.last, Behind: o.memory.behind, Commits: o.part.commits}
	if s.Parts != nil {
		next.Most, next.Reached, next.Findings = s.Parts.Most, s.Parts.Reached, s.Parts.Findings
	}
	if s.begun() {
		next.Commits += before
	}
	next.Reached = append(slices.Clone(next.Reached), o.part.end)
	next.Findings += len(o.leaks)
	s.Parts = &next
	return s
}

// joined is the coverage of a part of a range together with that of the parts before it.
func joined(before, part checks.Coverage) checks.Coverage {
	part.Commits += before.Commits
	part.Blobs += before.Blobs
	part.Bytes += before.Bytes
	part.Skipped = slices.Concat(before.Skipped, part.Skipped)
	part.Elsewhere = slices.Concat(before.Elsewhere, part.Elsewhere)
	return part
}

// mustBeNext fails with errOvertaken unless the scan is where the job found it, and
// returns its row.
func mustBeNext(ctx context.Context, tx *store.Tx, s scanArgs) (store.Scan, error) {
	row, err := tx.Scan(ctx, s.Delivery)
	if err != nil {
		return row, err
	}
	now, err := resumed(scanArgs{}, row)
	if err != nil {
		return row, err
	}
	var here, there parts
	if s.Parts != nil {
		here = *s.Parts
	}
	if now.Parts != nil {
		there = *now.Parts
	}
	if here.Most != there.Most || !slices.Equal(here.Reached, there.Reached) {
		return row, errOvertaken
	}
	return row, nil
}

// narrow has what took too long scanned in smaller parts.
func (a *App) narrow(ctx context.Context, s scanArgs, commits int) error {
	const smaller = 4
	err := a.store.InTx(ctx, func(tx *store.Tx) error {
		row, err := mustBeNext(ctx, tx, s)
		if err != nil {
			return err
		}
		next := parts{}
		if s.Parts != nil {
			next = *s.Parts
		}
		next.Most = max(1, commits/smaller)
		s.Parts = &next
		if row.Job, err = json.Marshal(s); err != nil {
			return err
		}
		return tx.FinishScan(ctx, row)
	})
	if err != nil {
		return err
	}
	return river.JobSnooze(0)
}

// together adds what earlier parts of a range were allowed, and sorts it.
func together(earlier []allowance, now map[excuse]int) (all []allowance) {
	counts := maps.Clone(now)
	if counts == nil {
		counts = map[excuse]int{}
	}
	for _, a := range earlier {
		counts[a.excuse] += a.Findings
	}
	for by, n := range counts {
		all = append(all, allowance{by, n})
	}
	slices.SortFunc(all, func(a, b allowance) int { return strings.Compare(a.String(), b.String()) })
	return all
}
