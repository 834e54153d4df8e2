package git

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

const (
	// lineContext is how much of a line before and after a secret belongs to its
	// occurrence. Lines of minified files are as long as their files.
	lineContext = 2 << 10
	// maxCommit is how much of a commit is read for its author, who stands in the
	// first lines.
	maxCommit = 64 << 10
)

// An occurrence is a secret with the line that it stands on: what must be equal
// in a parent for the secret not to be new. The line is kept as a hash, for it
// holds the secret.
type occurrence struct {
	fingerprint checks.Fingerprint
	line        [sha256.Size]byte
}

// occurrences gives the occurrence of each finding in data, which must be in
// order of position.
func occurrences(data []byte, findings []checks.Finding) []occurrence {
	keys := make([]occurrence, len(findings))
	at := 0 // start of line number
	number := 1
	for i, f := range findings {
		for ; number < f.Line; number++ {
			at += bytes.IndexByte(data[at:], '\n') + 1
		}
		keys[i] = occurrence{f.Fingerprint, sha256.Sum256(lineAround(data[at:], f))}
	}
	return keys
}

// lineAround returns the lines of a finding, which begin with data, without the
// space around each: a file whose line ends or indentation change adds no secret.
func lineAround(data []byte, f checks.Finding) []byte {
	start := max(0, f.Column-1-lineContext)
	end, column := 0, f.EndColumn
	for number := f.Line; number < f.EndLine; number++ {
		end += bytes.IndexByte(data[end:], '\n') + 1
	}
	limit := min(len(data), end+column-1+lineContext)
	if n := bytes.IndexByte(data[end:limit], '\n'); n >= 0 {
		limit = end + n
	}
	lines := bytes.Split(data[min(start, limit):limit], []byte("\n"))
	for i := range lines {
		lines[i] = bytes.TrimSpace(lines[i])
	}
	return bytes.Join(lines, []byte("\n"))
}

// added returns which findings of b are in none of parents. Equal occurrences
// are counted: a second copy is new even though the first is not, and a line
// that only moved is not new.
func added(b *blob, parents []*blob) []int {
	old := make(map[occurrence]int)
	for _, p := range parents {
		count := make(map[occurrence]int)
		for _, key := range p.keys {
			count[key]++
			old[key] = max(old[key], count[key])
		}
	}
	var fresh []int
	for i, key := range b.keys {
		if old[key] > 0 {
			old[key]--
			continue
		}
		fresh = append(fresh, i)
	}
	return fresh
}

// keep records the findings that the changes of one commit add.
func (s *scan) keep(changes []change) {
	var moved map[occurrence]int
	for _, c := range changes {
		b := s.blobs[c.blob]
		if b == nil {
			continue
		}
		var parents []*blob
		for _, p := range c.parents {
			if old := s.blobs[p]; old != nil {
				parents = append(parents, old)
			}
		}
		for _, i := range added(b, parents) {
			if moved == nil {
				moved = s.removed(changes)
			}
			if key := b.keys[i]; moved[key] > 0 {
				moved[key]--
				continue
			}
			f := b.findings[i]
			if c.path != b.path {
				f.Path = c.path
			}
			s.leak(c.commit, f.Path, f)
		}
	}
}

// removed counts the occurrences that the files of a commit no longer have. changes
// are all that it adds; a file that it adds otherwise was only renamed, and has what
// is gone elsewhere.
func (s *scan) removed(changes []change) map[occurrence]int {
	gone := make(map[occurrence]int)
	paths := make(map[string]bool)
	for _, c := range changes {
		paths[c.path] = true
	}
	for i, e := range changes[0].all {
		if b := s.blobs[e.blob]; b != nil && !paths[e.path] && !slices.Contains(e.parents, e.blob) {
			for _, key := range b.keys {
				gone[key]--
			}
		}
		old := s.blobs[e.parents[0]]
		if old == nil || i >= maxMoves {
			continue
		}
		var now []*blob
		if b := s.blobs[e.blob]; b != nil && !e.blob.none() {
			now = append(now, b)
		}
		for _, i := range added(old, now) {
			gone[old.keys[i]]++
		}
	}
	return gone
}

// leak records a finding of a commit.
func (s *scan) leak(commit objectID, path string, f checks.Finding) {
	f.Commit = commit.String()
	if slices.ContainsFunc(f.AllowedIn, func(id string) bool { return strings.EqualFold(id, f.Commit) }) {
		return
	}
	if len(s.leaks) == MaxLeaks {
		s.more = true
		return
	}
	f.Path = s.scanner.Hide(path)
	if excuse := f.ExcusedIn[f.Commit]; excuse != "" {
		f.Excused = excuse
	}
	s.leaks = append(s.leaks, Leak{Finding: f})
}

// markTip sets InTip of all leaks.
func (s *scan) markTip(ctx context.Context, tip string) error {
	inTip := make(map[checks.Fingerprint]bool)
	err := s.view.tree(ctx, tip, func(id objectID) {
		if b := s.blobs[id]; b != nil {
			for _, f := range b.findings {
				inTip[f.Fingerprint] = true
			}
		}
	})
	for i := range s.leaks {
		s.leaks[i].InTip = inTip[s.leaks[i].Fingerprint]
	}
	return err
}

// sign sets author and date of all leaks, which stand in order of commits.
func (s *scan) sign(ctx context.Context) error {
	var ids []objectID
	for _, leak := range s.leaks {
		id, err := parseObjectID(leak.Commit)
		if err != nil {
			return err
		}
		if len(ids) == 0 || ids[len(ids)-1] != id {
			ids = append(ids, id)
		}
	}
	next := 0
	return s.view.read(ctx, ids, func(id objectID, _ int64, r io.Reader) error {
		head, err := io.ReadAll(io.LimitReader(r, maxCommit))
		if err != nil {
			return err
		}
		author, date := parseAuthor(head)
		author = s.scanner.Hide(author)
		for ; next < len(s.leaks) && s.leaks[next].Commit == id.String(); next++ {
			s.leaks[next].Author, s.leaks[next].Date = author, date
		}
		_, err = io.Copy(io.Discard, r)
		return err
	})
}

// parseAuthor reads the author's line of a commit object:
//
//	author Name <email> 1700000000 +0100
//
// What a strange commit does not say stays empty.
func parseAuthor(commit []byte) (name string, date time.Time) {
	header, _, _ := bytes.Cut(commit, []byte("\n\n"))
	for line := range bytes.Lines(header) {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), "author ")
		if !ok {
			continue
		}
		end := strings.LastIndexByte(rest, '>') + 1
		return strings.ToValidUTF8(rest[:end], "\uFFFD"), parseDate(rest[end:])
	}
	return "", time.Time{}
}

// parseDate reads "1700000000 +0100".
func parseDate(text string) time.Time {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return time.Time{}
	}
	// Dates from year 10000 on cannot be written in JSON (RFC 3339).
	const year10000 = 253402300800
	seconds, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil || seconds < 0 || seconds >= year10000-24*60*60 {
		return time.Time{}
	}
	date := time.Unix(seconds, 0).UTC()
	if len(fields) > 1 {
		if zone, err := time.Parse("-0700", fields[1]); err == nil {
			_, offset := zone.Zone()
			date = date.In(time.FixedZone("", offset))
		}
	}
	return date
}
