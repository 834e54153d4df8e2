package checks

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

// How much of a text that is not in memory is looked at in one go, and how much of
// what stands before and after it is there to be seen with it: more than any
// match, with its companions, is long.
const (
	chunkSize = 1 << 20
	overlap   = 64 << 10
)

// Scan returns the credentials in what r gives, in order of position: one for each
// secret at each place, MaxFindings at most. Any size will do; memory is bounded.
// Locations name path, with any secret in it hidden, and are those of the text:
// where r begins with the byte order mark of UTF-16, the decoded one.
//
// The last pair may hold an error instead of a finding: an *Incomplete when the
// scan ended before it had seen everything, or the error that r gave, after what
// came before it was scanned.
func (s *Scanner) Scan(path string, r io.Reader) iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		x := s.borrow()
		defer s.giveBack(x)
		t := &stream{x: x, path: path, yield: yield, at: cursor{line: 1}}
		if err := t.read(r); err != nil && !t.stopped {
			yield(Finding{}, err)
		}
	}
}

// Examine is Scan for what is in memory: it returns the findings, and an
// *Incomplete if the scan ended before it had seen everything.
func (s *Scanner) Examine(path string, data []byte) ([]Finding, error) {
	x := s.borrow()
	defer s.giveBack(x)
	var found []Finding
	t := stream{x: x, path: path, at: cursor{line: 1}}
	t.yield = func(f Finding, _ error) bool {
		found = append(found, f)
		return true
	}
	t.buffer = Text(data)
	err := t.scan(0, len(t.buffer))
	return found, err
}

// A stream is a text that goes by. What is in the buffer is seen; of that, what
// begins in the part in the middle is reported.
type stream struct {
	x       *search
	path    string
	yield   func(Finding, error) bool
	stopped bool // yield wants no more
	count   int  // findings that were yielded
	buffer  []byte
	at      cursor
}

// errStopped ends a stream whose findings nobody wants any more.
var errStopped = errors.New("stopped")

// read scans all that r gives.
func (t *stream) read(r io.Reader) error {
	t.buffer = make([]byte, 0, overlap+chunkSize+overlap)
	from, ended := 0, false
	for !ended {
		n, err := io.ReadFull(r, t.buffer[len(t.buffer):cap(t.buffer)])
		t.buffer = t.buffer[:len(t.buffer)+n]
		var failed error
		if err != nil {
			ended = true
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				failed = err
			}
		}
		to := len(t.buffer)
		if !ended {
			to -= overlap
		}
		if err := errors.Join(t.scan(from, to), failed); err != nil {
			return err
		}
		from = t.slide(to)
	}
	return nil
}

// slide makes room in the buffer: what is left is what stands just before to, and
// all after. It returns where that is now.
func (t *stream) slide(to int) int {
	t.at.data = t.buffer
	t.at.to(to)
	gone := max(0, to-overlap)
	n := copy(t.buffer, t.buffer[gone:])
	t.buffer = t.buffer[:n]
	t.at.rebase(t.buffer, gone)
	return to - gone
}

// scan yields the findings that begin in buffer[from:to].
func (t *stream) scan(from, to int) error {
	t.at.data = t.buffer
	t.x.look(t.buffer)
	if len(t.x.found) > 0 {
		if err := t.report(from, to); err != nil {
			return err
		}
	}
	if t.x.spent() {
		return &Incomplete{"the text was made to be slow to scan, or holds too many credentials: not all of it was looked at"}
	}
	return nil
}

// report yields what of the candidates is a finding.
func (t *stream) report(from, to int) error {
	all := t.x.found
	kept := resolve(all)
	hides := spans(all)
	values := hider(kept)
	path := t.x.Hide(values.Replace(t.path))
	for _, c := range kept {
		if c.start < from || c.start >= to {
			continue
		}
		if t.count == MaxFindings {
			return &Incomplete{fmt.Sprintf("it holds more than %d credentials: only the first are listed", MaxFindings)}
		}
		t.count++
		f := t.finding(c, path, hides)
		f.Excerpt = values.Replace(f.Excerpt)
		if !t.yield(f, nil) {
			t.stopped = true
			return errStopped
		}
	}
	return nil
}

// finding describes a candidate that is one.
func (t *stream) finding(c candidate, path string, hides []window) Finding {
	secret := c.parts[PartSecret]
	stars := c.rule.redact(secret)
	return Finding{
		Rule:        c.rule.Rule,
		Credential:  Credential{Rule: c.rule.ID, Parts: c.parts},
		Fingerprint: secret.Fingerprint(t.x.key),
		Redacted:    stars,
		Location:    t.at.locate(path, c.start, c.end),
		Excerpt:     excerpt(t.buffer, c.start, c.end, stars, hides),
	}
}

// hider replaces the secrets of found wherever they stand, also where no rule
// would see them.
func hider(found []candidate) *strings.Replacer {
	var pairs []string
	for _, c := range found {
		pairs = append(pairs, c.parts[PartSecret].Expose(), redacted)
	}
	return strings.NewReplacer(pairs...)
}

// maxStars is how many asterisks stand for the hidden part of a value, however
// long it is: its length is nobody's business.
const maxStars = 12

// redact shows the public prefix of the rule's values and asterisks.
func (c *compiled) redact(secret Secret) string {
	value, prefix := secret.Expose(), c.Prefix()
	hidden, found := strings.CutPrefix(value, prefix)
	if !found {
		prefix = ""
	}
	return prefix + strings.Repeat("*", min(maxStars, len(hidden)))
}
