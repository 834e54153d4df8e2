package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/checks"
)

// HistoryOptions say what History scans, and to whom it tells how far it is.
type HistoryOptions struct {
	// Unreachable adds what no branch, tag or other ref leads to and git has not
	// removed yet: amended and deleted commits, dropped stashes, lost files.
	Unreachable bool
	// Missing brings the objects of a partial clone; nil when there is nobody to ask.
	Missing Fetcher
	// Progress is told from time to time how many of about how many objects were
	// dealt with. It is called from several goroutines. It may be nil.
	Progress func(done, total int)
}

// History scans all that the refs of the repository lead to: every branch, tag,
// note and remote's branch, HEAD of every work tree, and every stash. Secrets are
// reported as Scan does it, at the commits that added them; also those in the
// messages of commits and annotated tags.
//
// Every object is read once, straight from the packs, however many commits have
// it. Commits are compared only when some object holds a secret.
func (r *Repository) History(ctx context.Context, s *checks.Scanner, o HistoryOptions) (Result, error) {
	v, err := r.view()
	if err != nil {
		return Result{}, err
	}
	run := &scan{view: v, scanner: s, fetch: o.Missing, blobs: make(map[objectID]*blob), counted: make(map[objectID]bool)}
	run.coverage.Skipped = []checks.Skip{}
	err = errors.Join(r.history(ctx, run, o), v.Close())
	if err != nil {
		return Result{}, fmt.Errorf("scan the history of %s: %w", r.dir, err)
	}
	if run.fetchErr != nil {
		err = fmt.Errorf("fetch files of %s: %w", r.dir, run.fetchErr)
	}
	return Result{Findings: run.leaks, Coverage: run.coverage}, err
}

func (r *Repository) history(ctx context.Context, run *scan, o HistoryOptions) error {
	store, err := openStore(run.view.objects, r.format)
	if err != nil {
		return err
	}
	var tips []string
	var commits []objectID
	found := &sighting{scanner: run.scanner, listed: o.Unreachable, suspects: make(map[objectID]string), first: make(chan struct{})}
	seen := make(chan struct{})
	group, both := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if tips, err = r.tips(both); err != nil || o.Unreachable {
			return err
		}
		select { // the commits will be asked for, so they are listed while the rest is looked at
		case <-found.first:
			commits, err = run.view.history(both, tips)
		case <-seen:
		}
		return err
	})
	group.Go(func() error {
		defer close(seen)
		return found.all(both, store, run.view, o.Progress)
	})
	if err := errors.Join(group.Wait(), store.Close()); err != nil {
		return err
	}
	found.tell(&run.coverage)
	if len(tips) > 0 {
		run.coverage.Tip = tips[0]
	}
	for _, id := range found.commitIDs {
		tips = append(tips, id.String())
	}
	partial := r.partial()
	if len(found.suspects) == 0 && !partial && len(run.view.shallow) == 0 {
		return nil
	}
	if commits == nil {
		if commits, err = run.view.history(ctx, tips); err != nil {
			return err
		}
	}
	return run.attribute(ctx, commits, found, partial, o.Unreachable)
}

// tips lists the commits that refs and their like stand at, HEAD first.
func (r *Repository) tips(ctx context.Context) ([]string, error) {
	marked, err := r.marked(ctx, "HEAD", "refs/stash")
	if err != nil {
		return nil, err
	}
	var tips []string
	if marked[0] != "" {
		tips = append(tips, marked[0])
	}
	add := func(args ...string) error {
		return stream(ctx, Command(ctx, r.dir, args...), nothing, func(b *bufio.Reader) error {
			return eachLine(b, func(id string) error {
				if !slices.Contains(tips[:min(len(tips), 1)], id) {
					tips = append(tips, id)
				}
				return nil
			})
		})
	}
	if err := add("rev-list", "--no-walk=unsorted", "--all"); err != nil {
		return nil, err
	}
	if marked[1] != "" { // older stashes are only in its log
		err = add("rev-list", "--no-walk=unsorted", "--walk-reflogs", "refs/stash")
	}
	return tips, err
}

// nothing is what a command reads that reads nothing.
func nothing(io.Writer) error { return nil }

// marked returns the commits that refs stand at, "" where there is none.
func (r *Repository) marked(ctx context.Context, refs ...string) ([]string, error) {
	var ids []string
	err := stream(ctx, Command(ctx, r.dir, "cat-file", "--batch-check"),
		func(w io.Writer) error {
			for _, ref := range refs {
				if _, err := io.WriteString(w, ref+"^{commit}\n"); err != nil {
					return err
				}
			}
			return nil
		},
		func(b *bufio.Reader) error {
			return eachLine(b, func(line string) error {
				id, known, _ := strings.Cut(line, " ")
				if !strings.HasPrefix(known, "commit ") {
					id = ""
				}
				ids = append(ids, id)
				return nil
			})
		})
	if err == nil && len(ids) != len(refs) {
		err = fmt.Errorf("git cat-file: %d answers to %d questions", len(ids), len(refs))
	}
	return ids, err
}

// partial reports whether objects of the repository may be missing because it is a
// partial clone: git marks packs whose objects a remote promised more of.
func (r *Repository) partial() bool {
	marks, err := filepath.Glob(filepath.Join(escapeGlob(r.common), "objects", "pack", "*.promisor"))
	return err != nil || len(marks) > 0
}

// A sighting is what was seen in the objects of a repository, when it is not known
// yet which commits and paths they belong to.
type sighting struct {
	scanner               *checks.Scanner
	listed                bool // commitIDs has all commits
	commits, files, bytes atomic.Int64
	mu                    sync.Mutex
	suspects              map[objectID]string // what holds a secret, with its kind
	met                   sync.Once
	first                 chan struct{} // closed when there is a suspect
	commitIDs             []objectID
	large, unreadable     []objectID
}

// all looks at every object of a store.
func (g *sighting) all(ctx context.Context, store *store, v *view, progress func(done, total int)) error {
	total := 0
	for _, p := range store.packs {
		total += len(p.names)
	}
	var done atomic.Int64
	err := store.each(ctx, g.see, func(n int) {
		if all := done.Add(int64(n)); progress != nil {
			progress(int(all), total)
		}
	})
	if err != nil {
		return err
	}
	return g.seeLarge(ctx, v)
}

// see looks at one object.
func (g *sighting) see(object named, kind string, data []byte, changed []checks.Span) (quiet bool, err error) {
	if data == nil {
		return false, g.note(object, "", false)
	}
	g.count(kind, int64(len(data)))
	holds, quiet := g.scanner.Holds(data, changed)
	if holds || g.listed && kind == "commit" {
		err = g.note(object, kind, holds)
	}
	return quiet, err
}

func (g *sighting) count(kind string, size int64) {
	g.bytes.Add(size)
	switch kind {
	case "blob":
		g.files.Add(1)
	case "commit":
		g.commits.Add(1)
	}
}

// note keeps the name of an object: one that holds a secret, a commit, or with no
// kind one that git must bring.
func (g *sighting) note(object named, kind string, holds bool) error {
	id, err := object.id()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if kind == "" {
		g.large = append(g.large, id)
	}
	if kind == "commit" && g.listed {
		g.commitIDs = append(g.commitIDs, id)
	}
	if holds {
		g.suspects[id] = kind
		g.met.Do(func() { close(g.first) })
	}
	return nil
}

// tell adds what was seen to a coverage.
func (g *sighting) tell(c *checks.Coverage) {
	c.Commits, c.Blobs, c.Bytes = int(g.commits.Load()), int(g.files.Load()), g.bytes.Load()
	for _, id := range g.unreadable {
		c.Skipped = append(c.Skipped, checks.Skip{Reason: "object " + id.String() + " cannot be read: git fsck tells more"})
	}
}

// seeLarge looks at the objects that git must bring, as they stream by.
func (g *sighting) seeLarge(ctx context.Context, v *view) error {
	objects, err := v.look(ctx, g.large)
	if err != nil {
		return err
	}
	var there []objectID
	for _, id := range g.large {
		switch objects[id].kind {
		case "":
			g.unreadable = append(g.unreadable, id)
		case "tree":
		default:
			there = append(there, id)
		}
	}
	return v.read(ctx, there, func(id objectID, size int64, r io.Reader) error {
		kind := objects[id].kind
		g.count(kind, size)
		holds := false
		for _, err := range g.scanner.Scan("", r) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			_ = err // an incomplete scan is a suspect too: it is told when the object is looked at again
			holds = true
		}
		if err := g.note(named{loose: id}, kind, holds); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, r)
		return err
	})
}

// history lists all commits that can be reached from tips, parents before children.
func (v *view) history(ctx context.Context, tips []string) ([]objectID, error) {
	var list []objectID
	if len(tips) == 0 {
		return nil, nil
	}
	err := stream(ctx, v.command(ctx, "rev-list", "--date-order", "--reverse", "--stdin"),
		func(w io.Writer) error {
			for _, tip := range tips {
				if _, err := io.WriteString(w, tip+"\n"); err != nil {
					return err
				}
			}
			return nil
		},
		func(r *bufio.Reader) error {
			return eachLine(r, func(line string) error {
				id, err := parseObjectID(line)
				list = append(list, id)
				return err
			})
		})
	return list, err
}
