package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

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

// CommitMessage is the path of findings in what a commit or a tag says, before
// whose lines there is no file's name.
const CommitMessage = "(message)"

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
	tips, err := r.tips(ctx)
	if err != nil {
		return err
	}
	if len(tips) > 0 {
		run.coverage.Tip = tips[0]
	}
	store, err := openStore(run.view.objects, r.format)
	if err != nil {
		return err
	}
	found := &sighting{scanner: run.scanner, suspects: make(map[objectID]string)}
	err = errors.Join(found.all(ctx, store, run.view, o.Progress), store.Close())
	if err != nil {
		return err
	}
	run.coverage.Commits, run.coverage.Blobs, run.coverage.Bytes = int(found.commits.Load()), int(found.files.Load()), found.bytes.Load()
	for _, id := range found.unreadable {
		run.coverage.Skipped = append(run.coverage.Skipped, checks.Skip{Reason: "object " + id.String() + " cannot be read: git fsck tells more"})
	}
	if o.Unreachable {
		for _, id := range found.commitIDs {
			tips = append(tips, id.String())
		}
	}
	partial := r.partial()
	if len(found.suspects) == 0 && !partial && len(run.view.shallow) == 0 {
		return nil
	}
	return run.attribute(ctx, tips, found, partial, o.Unreachable)
}

// tips lists the commits that refs and their like stand at, HEAD first.
func (r *Repository) tips(ctx context.Context) ([]string, error) {
	var tips []string
	add := func(args ...string) error {
		out := new(bytes.Buffer)
		err := stream(ctx, Command(ctx, r.dir, args...), func(io.Writer) error { return nil }, func(b *bufio.Reader) error {
			_, err := out.ReadFrom(b)
			return err
		})
		for _, id := range strings.Fields(out.String()) {
			if !slices.Contains(tips[:min(len(tips), 1)], id) {
				tips = append(tips, id)
			}
		}
		return err
	}
	if head, err := r.Commit(ctx, "HEAD"); err == nil {
		tips = append(tips, head)
	}
	if err := add("rev-list", "--no-walk=unsorted", "--all"); err != nil {
		return nil, err
	}
	if _, err := r.Commit(ctx, "refs/stash"); err == nil { // older stashes are only in its log
		if err := add("rev-list", "--no-walk=unsorted", "--walk-reflogs", "refs/stash"); err != nil {
			return nil, err
		}
	}
	return tips, nil
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
	commits, files, bytes atomic.Int64
	mu                    sync.Mutex
	suspects              map[objectID]string // what holds a secret, with its kind
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
func (g *sighting) see(id objectID, kind string, data []byte, changed []checks.Span) (quiet bool, err error) {
	if data == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.large = append(g.large, id)
		return false, nil
	}
	g.count(id, kind, int64(len(data)))
	holds, quiet := g.scanner.Holds(data, changed)
	if holds {
		g.suspect(id, kind)
	}
	return quiet, nil
}

func (g *sighting) count(id objectID, kind string, size int64) {
	g.bytes.Add(size)
	switch kind {
	case "blob":
		g.files.Add(1)
	case "commit":
		g.commits.Add(1)
		g.mu.Lock()
		g.commitIDs = append(g.commitIDs, id)
		g.mu.Unlock()
	}
}

func (g *sighting) suspect(id objectID, kind string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.suspects[id] = kind
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
		g.count(id, kind, size)
		for _, err := range g.scanner.Scan("", r) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			_ = err // an incomplete scan is a suspect too: it is told when the object is looked at again
			g.suspect(id, kind)
		}
		_, err := io.Copy(io.Discard, r)
		return err
	})
}

// attribute finds the commits and paths to which the suspects belong.
func (s *scan) attribute(ctx context.Context, tips []string, found *sighting, partial, unreachable bool) error {
	commits, err := s.view.history(ctx, tips)
	if err != nil {
		return err
	}
	s.reportCuts(commits)
	if !partial {
		s.clean = func(id objectID) bool { return found.suspects[id] == "" }
	}
	totals := s.coverage // what is looked at again does not count twice
	var pending []change
	if partial || slices.ContainsFunc(kinds(found.suspects), func(kind string) bool { return kind == "blob" }) {
		err = s.view.changes(ctx, commits, func(commit objectID, entries []entry) error {
			for _, c := range newBlobs(commit, entries) {
				if found.suspects[c.blob] != "" || partial {
					pending = append(pending, c)
				}
			}
			if len(pending) < maxPending {
				return nil
			}
			err := s.settle(ctx, pending)
			pending = pending[:0]
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := s.settle(ctx, pending); err != nil {
		return err
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
