package checks

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/stanch-dev/stanch/checks/decode"
)

// How much of a text that is not in memory is looked at in one go, and how much of
// what stands before and after it is there to be seen with it: more than any
// match, with its companions, is long.
const (
	chunkSize = 1 << 20
	overlap   = 64 << 10
	pieceSize = 64 << 10 // what is read at a time
)

// Scan returns the credentials in what r gives, in order of position: one for each
// secret at each place, MaxFindings at most. Any size will do; memory is bounded.
// An archive is read in place where r is an io.ReaderAt that has Seek or Size, and
// is copied where it is not.
// Locations name path, with any secret in it hidden, and are those of Text.
//
// The last pair may hold an error instead of a finding: an *Incomplete when the
// scan ended before it had seen everything, or the error that r gave, after what
// came before it was scanned.
func (s *Scanner) Scan(path string, r io.Reader) iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		x := s.borrow()
		defer s.giveBack(x)
		if s.together {
			x.readTogether(path, r, yield)
			return
		}
		if err := x.read(path, r, yield); err != nil && !errors.Is(err, errStopped) {
			yield(Finding{}, err)
		}
	}
}

// Examine is Scan for what is in memory: it returns the findings, and an
// *Incomplete if the scan ended before it had seen everything.
func (s *Scanner) Examine(path string, data []byte) ([]Finding, error) {
	x := s.borrow()
	defer s.giveBack(x)
	return x.examine(path, data)
}

func (x *search) examine(path string, data []byte) ([]Finding, error) {
	text := Text(data)
	x.look(path, text)
	format := decode.Format(data[:min(len(data), headSize)])
	if len(x.found) == 0 && len(x.files) == 0 && !x.spent() && format == "" {
		return nil, nil
	}
	var found []Finding
	t := x.stream(path, func(f Finding, _ error) bool {
		found = append(found, f)
		return true
	})
	t.buffer, t.wide = text, byteOrder(data) != nil
	if err := t.file(); err != nil {
		return found, err
	}
	var sealed error
	if format != "" {
		sealed = t.archive(format, bytes.NewReader(data))
	}
	err := t.report(0, len(text))
	if x.together {
		found = required(found)
	}
	return found, cmp.Or(err, sealed)
}

// readTogether is read for rules whose findings depend on each other: they are
// yielded when all are there.
func (x *search) readTogether(path string, r io.Reader, yield func(Finding, error) bool) {
	var found []Finding
	err := x.read(path, r, func(f Finding, _ error) bool { found = append(found, f); return true })
	for _, f := range required(found) {
		if !yield(f, nil) {
			return
		}
	}
	if err != nil {
		yield(Finding{}, err)
	}
}

// A stream is a text that goes by. What is in the buffer is seen; of that, what
// begins between the context before and the context after it is reported.
type stream struct {
	x      *search
	path   string
	yield  func(Finding, error) bool
	count  int                  // findings that were yielded
	inside map[Fingerprint]bool // what was found in the file as an archive
	wide   bool                 // the file is UTF-16, and its text is scanned as such
	buffer []byte
	filled int    // the most that was in the buffer
	from   int    // where in the buffer that begins which was not reported yet
	at     cursor // not after buffer[from]
}

// errStopped ends a stream whose findings nobody wants any more.
var errStopped = errors.New("nobody wants more findings")

func (x *search) stream(path string, yield func(Finding, error) bool) *stream {
	return &stream{x: x, path: path, yield: yield, at: cursor{line: 1}}
}

// maxCopy is how large an archive may be that is not a file, so that it must be
// kept in memory to be read twice: as an archive, and as the bytes that it is.
const maxCopy = 64 << 20

// read scans all that r gives: what is packed in it, if it is an archive, and the
// text.
func (x *search) read(path string, r io.Reader, yield func(Finding, error) bool) error {
	source := inPlace(r)
	buffered := bufio.NewReaderSize(r, headSize)
	head, _ := buffered.Peek(headSize) // an error comes again
	format := decode.Format(head)
	if format == "" {
		return x.text(path, buffered, yield)
	}
	rest := io.Reader(buffered)
	if source == nil {
		data, _ := io.ReadAll(io.LimitReader(buffered, maxCopy)) // an error comes again
		source = io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data)))
		rest = io.MultiReader(bytes.NewReader(data), buffered)
	}
	t := x.stream(path, yield)
	sealed := t.archive(format, source)
	if errors.Is(sealed, errStopped) {
		return sealed
	}
	again := func(f Finding, err error) bool {
		return err == nil && t.inside[f.Fingerprint] || yield(f, err)
	}
	return cmp.Or(x.text(path, rest, again), sealed)
}

// inPlace returns what r has yet to give as something to be read at any place,
// beside r, or nil.
func inPlace(r io.Reader) *io.SectionReader {
	at, ok := r.(io.ReaderAt)
	if !ok {
		return nil
	}
	switch r := r.(type) {
	case io.Seeker:
		from, err := r.Seek(0, io.SeekCurrent)
		end, fault := r.Seek(0, io.SeekEnd)
		_, back := r.Seek(from, io.SeekStart)
		if errors.Join(err, fault, back) == nil {
			return io.NewSectionReader(at, from, end-from)
		}
	case interface{ Size() int64 }:
		return io.NewSectionReader(at, 0, r.Size())
	}
	return nil
}

// text scans all that r gives, in the way of Text.
func (x *search) text(path string, r io.Reader, yield func(Finding, error) bool) error {
	text := x.stream(path, yield)
	if err := text.file(); err != nil {
		return err
	}
	if x.piece == nil {
		x.piece = make([]byte, pieceSize)
	}
	piece := x.piece
	text.buffer = x.chunk[:0]
	defer func() {
		clear(text.buffer[:text.filled]) // no secret stays behind
		x.chunk = text.buffer
	}()
	var raw *stream // of UTF-16, the bytes as they are, which follow the text
	var late []Finding
	var wide *utf16Decoder
	for first := true; ; first = false {
		n, failed := io.ReadFull(r, piece)
		data := piece[:n]
		if order := byteOrder(data); first && order != nil {
			data = data[2:]
			wide = &utf16Decoder{order: order}
			raw = x.stream(path, func(f Finding, _ error) bool { late = append(late, f); return true })
			raw.wide = true
		}
		if wide != nil {
			if err := raw.write(data); err != nil {
				return err
			}
			data = wide.decode(data)
		}
		if err := text.write(data); err != nil {
			return err
		}
		if failed == nil {
			continue
		}
		if errors.Is(failed, io.EOF) || errors.Is(failed, io.ErrUnexpectedEOF) {
			failed = nil
		}
		if err := text.close(); err != nil || raw == nil {
			return errors.Join(err, failed)
		}
		if err := raw.close(); err != nil {
			return errors.Join(err, failed)
		}
		for _, f := range late {
			f.Line += text.at.line
			f.EndLine += text.at.line
			if !yield(f, nil) {
				return errStopped
			}
		}
		return failed
	}
}

// file reports the file itself where a rule is about such a path.
func (t *stream) file() error {
	if t.path == "" {
		return nil
	}
	for _, r := range t.x.files {
		c := &t.x.rules[r]
		if !c.concerns(t.path) {
			continue
		}
		path := NewSecret(t.path) // what is found here is a name
		f := Finding{
			Rule:        c.Rule,
			Credential:  Credential{Rule: c.ID, Parts: map[string]Secret{PartSecret: path}},
			Fingerprint: path.Fingerprint(t.x.key),
			Location:    Location{Path: t.x.Hide(t.path), Line: 1, Column: 1, EndLine: 1, EndColumn: 1, CharColumn: 1, EndCharColumn: 1},
		}
		if err := t.tell(f); err != nil {
			return err
		}
	}
	return nil
}

// write takes more of the text and reports what then has all its context.
func (t *stream) write(data []byte) error {
	for len(data) > 0 {
		t.grow(len(data))
		n := copy(t.buffer[len(t.buffer):cap(t.buffer)], data)
		t.buffer, data = t.buffer[:len(t.buffer)+n], data[n:]
		t.filled = max(t.filled, len(t.buffer))
		if len(t.buffer) < overlap+chunkSize+overlap {
			continue
		}
		to := len(t.buffer) - overlap
		if err := t.scan(t.from, to); err != nil {
			return err
		}
		t.slide(to)
	}
	return nil
}

// grow makes room for n more bytes, up to the most that is looked at in one go:
// most texts are short.
func (t *stream) grow(n int) {
	const most = overlap + chunkSize + overlap
	if room := cap(t.buffer) - len(t.buffer); room >= n || cap(t.buffer) == most {
		return
	}
	larger := make([]byte, len(t.buffer), min(most, 4*cap(t.buffer)+n))
	copy(larger, t.buffer)
	t.buffer = larger
}

// close reports what is left when the text has ended, and leaves the cursor there.
func (t *stream) close() error {
	err := t.scan(t.from, len(t.buffer))
	t.at.data = t.buffer
	t.at.to(len(t.buffer))
	return err
}

// slide makes room in the buffer: what is left is the context of buffer[to:], and
// that.
func (t *stream) slide(to int) {
	t.at.data = t.buffer
	t.at.to(to)
	gone := t.aligned(max(0, to-overlap))
	t.buffer = t.buffer[:copy(t.buffer, t.buffer[gone:])]
	t.at.rebase(t.buffer, gone)
	t.from = to - gone
}

// aligned returns the place at or soon after gone where the buffer may begin: with
// a line, if one begins there, since encoded data that is cut elsewhere is not
// decoded.
func (t *stream) aligned(gone int) int {
	const near = 4 << 10 // and the rest is context enough
	if eol := bytes.IndexByte(t.buffer[gone:gone+near], '\n'); eol >= 0 {
		return gone + eol + 1
	}
	return gone
}

// scan yields the findings that begin in buffer[from:to].
func (t *stream) scan(from, to int) error {
	t.x.look(t.path, t.buffer)
	return t.report(from, to)
}

// report yields what of the candidates is a finding.
func (t *stream) report(from, to int) error {
	spent := t.x.spent()
	if err := t.list(from, to); err != nil {
		return err
	}
	if spent {
		return &Incomplete{Reason: "the text was made to be slow to scan, or holds too many credentials: not all of it was looked at"}
	}
	return nil
}

// list yields the findings.
func (t *stream) list(from, to int) error {
	if len(t.x.found) == 0 {
		return nil
	}
	t.at.data = t.buffer
	all := t.x.found
	sorted(all)
	kept := resolve(all)
	hides := spans(all)
	values := hider(kept)
	path := t.x.Hide(values.Replace(t.path))
	for _, c := range kept {
		if c.start < from || c.start >= to {
			continue
		}
		f := t.finding(c, path, hides)
		if t.inside[f.Fingerprint] || t.wide && len(c.encodings) > 0 && c.encodings[0] == "utf-16" {
			continue
		}
		f.Excerpt = values.Replace(f.Excerpt)
		if err := t.tell(f); err != nil {
			return err
		}
	}
	return nil
}

// tell yields one more finding.
func (t *stream) tell(f Finding) error {
	if t.count == MaxFindings {
		return &Incomplete{Reason: fmt.Sprintf("it holds more than %d credentials: only the first are listed", MaxFindings)}
	}
	t.count++
	if !t.yield(f, nil) {
		return errStopped
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
		Encodings:   c.encodings,
		Inside:      c.inside,
		Marker:      AllowMarker(linesOf(t.buffer, c.start, c.end)),
		AllowedIn:   c.leave.in,
		Excused:     c.leave.excused,
		ExcusedIn:   c.leave.excusedIn,
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
