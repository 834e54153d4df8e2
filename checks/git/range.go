package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Range is the commits that can be reached from Tip and from none of Bases.
// Without bases it is all of Tip's history.
type Range struct {
	Bases []string
	Tip   string
	// Messages says that a scan looks at what the commits say too, and at what the
	// annotated tags say whose ids are Tags.
	Messages bool
	Tags     []string
	// Pointers says that what files of Git LFS point at counts as skipped.
	Pointers bool
}

// ParseRange reads a range as people write it:
//
//	A..B   what B has and A has not
//	A...B  what B has since it left A (after their merge bases), as pull requests show it
//	REV    that commit alone: REV without its parents
//
// A side left empty means HEAD. The ids in the Range are full ids.
func (r *Repository) ParseRange(ctx context.Context, spec string) (Range, error) {
	if from, to, ok := strings.Cut(spec, "..."); ok {
		return r.sinceMergeBase(ctx, from, to)
	}
	from, to, two := strings.Cut(spec, "..")
	if !two {
		return r.single(ctx, spec)
	}
	base, tip, err := r.ends(ctx, from, to)
	return Range{Bases: []string{base}, Tip: tip}, err
}

// ends resolves both sides of a range.
func (r *Repository) ends(ctx context.Context, from, to string) (base, tip string, err error) {
	if from == "" && to == "" {
		return "", "", errors.New("a range needs a revision: write A..B, A...B or REV")
	}
	if base, err = r.Commit(ctx, orHead(from)); err != nil {
		return "", "", err
	}
	tip, err = r.Commit(ctx, orHead(to))
	return base, tip, err
}

func orHead(rev string) string {
	if rev == "" {
		return "HEAD"
	}
	return rev
}

// sinceMergeBase is the range A...B. Without a common ancestor it is A..B, which
// is then everything that B has.
func (r *Repository) sinceMergeBase(ctx context.Context, from, to string) (Range, error) {
	base, tip, err := r.ends(ctx, from, to)
	if err != nil {
		return Range{}, err
	}
	common, err := r.MergeBases(ctx, base, tip)
	if err != nil {
		return Range{}, fmt.Errorf("range %s...%s: %w", from, to, err)
	}
	if len(common) == 0 {
		common = []string{base}
	}
	return Range{Bases: common, Tip: tip}, nil
}

// MergeBases returns the best common ancestors of two commits: what can be reached
// from any of them can be reached from both. There may be none.
func (r *Repository) MergeBases(ctx context.Context, a, b string) ([]string, error) {
	out, err := line(ctx, r.dir, "merge-base", "--all", "--end-of-options", a, b)
	if failed := (*CommandError)(nil); errors.As(err, &failed) && failed.Stderr == "" {
		return nil, nil // git exits silently when there is none
	}
	return strings.Fields(out), err
}

// single is the range of one commit. A merge is compared with all its parents.
func (r *Repository) single(ctx context.Context, rev string) (Range, error) {
	tip, err := r.Commit(ctx, rev)
	if err != nil {
		return Range{}, err
	}
	out, err := line(ctx, r.dir, "rev-list", "--parents", "--max-count=1", "--end-of-options", tip)
	if err != nil {
		return Range{}, fmt.Errorf("range %s: %w", rev, err)
	}
	ids := strings.Fields(out)
	if len(ids) == 0 || ids[0] != tip {
		return Range{}, fmt.Errorf("range %s: git did not list the commit itself", rev)
	}
	return Range{Bases: ids[1:], Tip: tip}, nil
}

// Steps are the ranges by which a branch came to a range's tip, oldest first: each
// commit of the range that first parents lead to, with its first parent as the base.
// A positive most bounds their number to the last ones.
func (r *Repository) Steps(ctx context.Context, rng Range, most int) ([]Range, error) {
	args := []string{"rev-list", "--first-parent", "--parents"}
	if most > 0 {
		args = append(args, fmt.Sprintf("--max-count=%d", most))
	}
	args = append(args, "--end-of-options", rng.Tip)
	for _, base := range rng.Bases {
		args = append(args, "^"+base)
	}
	out, err := Run(ctx, Command(ctx, r.dir, args...))
	if err != nil {
		return nil, fmt.Errorf("list the steps to %.12s: %w", rng.Tip, err)
	}
	var steps []Range
	for line := range strings.Lines(string(out)) {
		ids := strings.Fields(line)
		step := Range{Tip: ids[0]}
		if len(ids) > 1 {
			step.Bases = ids[1:2]
		}
		steps = append(steps, step)
	}
	slices.Reverse(steps)
	return steps, nil
}

// Part cuts a range that has more than most commits: end is the last commit of a first
// part that has no more, so that what is left begins where the range does and there.
// Otherwise it is the range's tip. It returns how many commits the range has.
func (r *Repository) Part(ctx context.Context, rng Range, most int) (end string, commits int, err error) {
	end = rng.Tip
	err = stream(ctx, Command(ctx, r.dir, "rev-list", "--topo-order", "--reverse", "--stdin"), feedRange(rng.Bases, rng.Tip),
		func(b *bufio.Reader) error {
			return eachLine(b, func(id string) error {
				if commits++; commits == most {
					end = id
				}
				return nil
			})
		})
	if err != nil {
		return "", 0, fmt.Errorf("list the commits of %.12s: %w", rng.Tip, err)
	}
	if commits <= most {
		end = rng.Tip
	}
	return end, commits, nil
}
