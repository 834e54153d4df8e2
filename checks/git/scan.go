package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/stanch-dev/stanch/checks"
)

const (
	// MaxBlob is the size of the biggest file that is scanned: the biggest that
	// GitHub takes (docs.github.com, "Repository limits": 100 MB, enforced).
	MaxBlob = 100 << 20
	// maxInFlight is how many bytes of file contents are in memory at a time, unless
	// one file alone has more.
	maxInFlight = 32 << 20
	// maxPending is how many changed paths are collected before they are scanned.
	// It bounds the memory that a long history takes.
	maxPending = 1 << 17
	// MaxLeaks is how many findings of a range are listed, the oldest ones.
	MaxLeaks = 10_000
	// maxHeld is how many findings are in memory, those of parents among them.
	// Those of further files are dropped, and the coverage says so.
	maxHeld = 20 * MaxLeaks
)

// A Fetcher brings objects that the repository does not have yet. Objects that
// are nowhere to be had are no error: Scan sees that they are still missing. An
// error means that it is worth trying again.
type Fetcher func(ctx context.Context, objects []string) error

// A Result is what a scan of a range found and what it covered.
type Result struct {
	Findings []Leak // oldest commit first, then by path and line
	Coverage checks.Coverage
}

// A Leak is a finding at the commit that added it.
type Leak struct {
	checks.Finding
	// InTip reports whether a file of the range's tip still holds the secret.
	InTip bool
}

// Scan finds the secrets that the commits of r add: those that stand in a file
// of a commit and do not stand, on an equal line, in the same file of any of its
// parents. A secret that a later commit of the range removes is found; one that
// later commits carry on, or that moves to another line or file, is reported once.
//
// missing brings the blobs of a partial clone; nil means that the repository is
// complete. Whatever could not be scanned is listed in Coverage.Skipped. When
// missing fails, Scan scans what there is and returns its error with a valid
// Result.
func (r *Repository) Scan(ctx context.Context, rng Range, s *checks.Scanner, missing Fetcher) (Result, error) {
	tip, err := r.Commit(ctx, rng.Tip)
	if err != nil {
		return Result{}, fmt.Errorf("tip of the range: %w", err)
	}
	bases := make([]string, len(rng.Bases))
	for i, base := range rng.Bases {
		if bases[i], err = r.Commit(ctx, base); err != nil {
			return Result{}, fmt.Errorf("base of the range: %w", err)
		}
	}
	v, err := r.view()
	if err != nil {
		return Result{}, err
	}
	run := &scan{view: v, scanner: s, fetch: missing, blobs: make(map[objectID]*blob), counted: make(map[objectID]bool)}
	run.strict = rng.Pointers
	run.coverage = checks.Coverage{Base: strings.Join(bases, ","), Tip: tip, Skipped: []checks.Skip{}}
	rng.Bases, rng.Tip = bases, tip
	err = errors.Join(run.scan(ctx, rng), v.Close())
	if err != nil {
		return Result{}, fmt.Errorf("scan %s: %w", tip, err)
	}
	if run.fetchErr != nil {
		err = fmt.Errorf("fetch files of %s: %w", tip, run.fetchErr)
	}
	return Result{Findings: run.leaks, Coverage: run.coverage}, err
}

// A scan is the state of one Scan.
type scan struct {
	view    *view
	scanner *checks.Scanner
	fetch   Fetcher
	strict  bool                // what files of Git LFS point at counts as skipped
	clean   func(objectID) bool // reports what is known to hold no secret; nil when nothing is

	blobs    map[objectID]*blob // the looked-at blobs that hold secrets
	counted  map[objectID]bool  // all looked-at blobs; true when the coverage counts them
	leaks    []Leak
	held     int    // findings in blobs
	large    []byte // for files that are alone in memory
	more     bool   // there is more than is listed
	coverage checks.Coverage
	fetchErr error // the Fetcher's first
}

// A blob is a file's content that holds secrets.
type blob struct {
	path     string // the path that it was scanned as
	findings []checks.Finding
	keys     []occurrence // of the findings, in their order
	missed   string       // why it may hold more than these
}

func (s *scan) scan(ctx context.Context, rng Range) error {
	commits, err := s.view.commits(ctx, rng.Bases, rng.Tip)
	if err != nil {
		return err
	}
	s.coverage.Commits = len(commits)
	s.reportCuts(commits)
	var pending []change
	err = s.view.changes(ctx, commits, func(commit objectID, entries []entry) error {
		s.notePointers(commit, entries)
		pending = append(pending, newBlobs(commit, entries)...)
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
	if err := s.settle(ctx, pending); err != nil {
		return err
	}
	if rng.Messages {
		tip, err := parseObjectID(rng.Tip)
		if err == nil {
			err = s.says(ctx, commits, tip, rng.Tags)
		}
		if err != nil {
			return err
		}
	}
	s.reportMore()
	if len(s.leaks) == 0 {
		return nil
	}
	if err := s.markTip(ctx, rng.Tip); err != nil {
		return err
	}
	return s.sign(ctx)
}

// reportCuts lists the commits behind which a shallow clone has nothing: there
// the range may go on, unseen.
func (s *scan) reportCuts(commits []objectID) {
	for _, id := range commits {
		if s.view.shallow[id] {
			s.skip(id, "", "history ends here because the clone is shallow; fetch the whole history (fetch-depth: 0, or git fetch --unshallow)")
		}
	}
}

// reportMore says that there is more than is listed, if there is.
func (s *scan) reportMore() {
	if s.more {
		s.coverage.Skipped = append(s.coverage.Skipped, checks.Skip{Commit: s.coverage.Tip,
			Reason: fmt.Sprintf("there are more than %d findings; the rest is not listed", MaxLeaks)})
	}
}

func (s *scan) skip(commit objectID, path, reason string) {
	s.coverage.Skipped = append(s.coverage.Skipped, checks.Skip{Commit: commit.String(), Path: s.scanner.Hide(path), Reason: reason})
}

// settle scans the blobs of changes and keeps the findings that the changes add.
func (s *scan) settle(ctx context.Context, changes []change) error {
	var fresh []place
	for _, c := range changes {
		if !s.counted[c.blob] {
			s.counted[c.blob] = true
			fresh = append(fresh, place{c.blob, c.commit, c.path})
		}
	}
	if err := s.examine(ctx, fresh, true); err != nil {
		return err
	}
	if err := s.examine(ctx, s.before(changes), false); err != nil {
		return err
	}
	for len(changes) > 0 {
		n := 1
		for n < len(changes) && changes[n].commit == changes[0].commit {
			n++
		}
		s.keep(changes[:n])
		changes = changes[n:]
	}
	return nil
}

// maxMoves is in how many other files of a commit lines are looked for that may
// have moved.
const maxMoves = 100

// before lists what the commits had before that bring secrets: the versions of the
// files in their parents, and those of the commit's other files, whose lines may
// have moved. One that cannot be read counts as having nothing, which reports more
// and not less.
func (s *scan) before(changes []change) []place {
	var places []place
	add := func(id objectID, c change, path string) {
		if _, known := s.counted[id]; known || id.none() || s.clean != nil && s.clean(id) {
			return
		}
		s.counted[id] = false
		places = append(places, place{id, c.commit, path})
	}
	for _, c := range changes {
		if s.blobs[c.blob] == nil {
			continue
		}
		for _, p := range c.parents {
			add(p, c, c.path)
		}
		for i, e := range c.all {
			if i == maxMoves {
				break
			}
			add(e.parents[0], c, e.path)
		}
	}
	return places
}

// A place is a blob with a path that it stands at.
type place struct {
	blob   objectID
	commit objectID
	path   string
}

// examine reads and scans blobs. Only with count do they enter the coverage, and
// those of them that cannot be read its list of what was skipped.
func (s *scan) examine(ctx context.Context, places []place, count bool) error {
	ids := make([]objectID, len(places))
	for i, p := range places {
		ids[i] = p.blob
	}
	objects, err := s.bring(ctx, ids)
	if err != nil {
		return err
	}
	var readable []place
	for _, p := range places {
		o := objects[p.blob]
		reason := unreadable(o)
		if reason == "" {
			readable = append(readable, p)
		}
		switch {
		case !count:
		case reason != "":
			s.skip(p.commit, p.path, reason)
		default:
			s.coverage.Blobs++
			s.coverage.Bytes += o.size
		}
	}
	if err := s.readAll(ctx, readable, objects); err != nil || !count {
		return err
	}
	for _, p := range readable {
		if b := s.blobs[p.blob]; b != nil && b.missed != "" {
			s.skip(p.commit, p.path, b.missed)
		}
	}
	return nil
}

// unreadable says why an object cannot be scanned, "" when it can.
func unreadable(o object) string {
	switch {
	case o.kind == "":
		return "the file's content is missing from the repository"
	case o.kind != "blob":
		return "the path holds a " + o.kind + " where a file should be"
	case o.size > MaxBlob:
		return fmt.Sprintf("the file has %d bytes; files over %d are not scanned", o.size, MaxBlob)
	}
	return ""
}

// bring looks at objects and has those that are missing fetched, all at once.
func (s *scan) bring(ctx context.Context, ids []objectID) (map[objectID]object, error) {
	objects, err := s.view.look(ctx, ids)
	if err != nil || s.fetch == nil {
		return objects, err
	}
	var missing []objectID
	var names []string
	for _, id := range ids {
		if objects[id].kind == "" {
			missing = append(missing, id)
			names = append(names, id.String())
		}
	}
	if len(missing) == 0 {
		return objects, nil
	}
	if err := s.fetch(ctx, names); err != nil && s.fetchErr == nil {
		s.fetchErr = err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	brought, err := s.view.look(ctx, missing)
	for id, o := range brought {
		objects[id] = o
	}
	return objects, err
}

// readAll scans blobs on all processors, with at most maxInFlight bytes of them
// in memory, or one that is larger.
func (s *scan) readAll(ctx context.Context, places []place, objects map[objectID]object) error {
	places, err := s.withoutCleanLarge(ctx, places, objects)
	if err != nil {
		return err
	}
	var (
		group  errgroup.Group
		mu     sync.Mutex // of s.blobs, s.held and s.more
		memory = semaphore.NewWeighted(maxInFlight)
		ids    = make([]objectID, len(places))
		next   = 0
	)
	for i, p := range places {
		ids[i] = p.blob
	}
	group.SetLimit(runtime.GOMAXPROCS(0))
	err = s.view.read(ctx, ids, func(id objectID, size int64, r io.Reader) error {
		path := places[next].path
		next++
		share := min(size, maxInFlight)
		if err := memory.Acquire(ctx, share); err != nil {
			return err
		}
		data := s.room(size)
		if _, err := io.ReadFull(r, data); err != nil {
			return unexpected(err)
		}
		group.Go(func() error {
			defer memory.Release(share)
			b := s.inspect(path, data)
			mu.Lock()
			defer mu.Unlock()
			if b == nil {
				return nil
			}
			if s.held += len(b.findings); s.held > maxHeld {
				s.more = true
				return nil
			}
			s.blobs[id] = b
			return nil
		})
		return nil
	})
	return errors.Join(err, group.Wait())
}

// inspect scans one blob and returns nil when nothing is in it.
func (s *scan) inspect(path string, data []byte) *blob {
	findings, err := s.scanner.Examine(path, data)
	if err == nil && s.strict && isPointer(data) {
		err = errPointer
	}
	if len(findings) == 0 && err == nil {
		return nil
	}
	b := &blob{path: path, findings: findings, keys: occurrences(checks.Text(data), findings)}
	if err != nil {
		b.missed = err.Error()
	}
	return b
}
