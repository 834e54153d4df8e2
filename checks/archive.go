package checks

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/stanch-dev/stanch/checks/decode"
)

// unpackLimits bound what unpacking may cost that one file asks for, with all that is
// packed or encoded in it: a gibibyte takes some
// seconds. DEFLATE packs at most 1032 to 1 (zlib's technical details), so that no
// honest gzip or zip is refused for its ratio.
func unpackLimits() decode.Limits {
	return decode.Limits{MaxBytes: 1 << 30, MaxRatio: 1100, MaxMembers: 100_000, MaxDepth: maxLayers}
}

// An unpacker scans what archives hold.
type unpacker struct {
	x       *Scanner
	limits  *decode.Limits
	yield   func(Finding) bool
	formats []string // of the archives that are open, outermost first
	names   []string // of the members that are open
	partial error    // why a member was not scanned to its end
	sealed  error    // why an archive, or one in it, cannot be opened by who has no more than the file
}

// unpack scans the members of an archive. Findings are told with the place inside
// and without one outside. name is what the archive is called. Only what ends the
// scan is an error: what stands behind an archive that cannot be opened is scanned.
func (u *unpacker) unpack(format, name string, r io.Reader) error {
	u.formats = append(u.formats, format)
	defer func() { u.formats = u.formats[:len(u.formats)-1] }()
	err := decode.Unpack(format, r, u.limits, func(member string, content io.Reader) error {
		if member == "" { // of formats without names it is called as the archive is
			member = strings.TrimSuffix(path.Base(name), path.Ext(name))
		}
		u.names = append(u.names, member)
		defer func() { u.names = u.names[:len(u.names)-1] }()
		return u.member(member, content)
	})
	var limit *decode.LimitError
	switch {
	case errors.Is(err, errStopped), errors.As(err, &limit):
		return err
	case err != nil:
		u.seal(err)
	}
	return nil
}

// seal notes why an archive, the innermost of those that are open, cannot be opened.
func (u *unpacker) seal(err error) {
	if within := strings.Join(u.names, "!"); within != "" {
		err = fmt.Errorf("%s: %w", within, err)
	}
	u.sealed = cmp.Or(u.sealed, err)
}

// headSize is how much of a member is looked at to know what it is.
const headSize = 512

// member scans one member, or what is packed in it.
func (u *unpacker) member(name string, content io.Reader) error {
	r := bufio.NewReaderSize(content, headSize)
	head, _ := r.Peek(headSize) // an error comes again
	format := decode.Format(head)
	if decode.Known(format) {
		return u.unpack(format, name, r)
	}
	if format != "" {
		u.seal(fmt.Errorf("format %q: %w", format, decode.ErrUnsupported))
	}
	x := u.x.borrow()
	defer u.x.giveBack(x)
	x.limits = u.limits
	err := x.text(name, r, func(f Finding, _ error) bool {
		place := fmt.Sprintf("%s:%d", strings.Join(u.names, "!"), f.Line)
		f.Inside = strings.TrimPrefix(x.Hide(place), ":")
		f.Encodings = append(append([]string{}, u.formats...), f.Encodings...)
		return u.yield(f)
	})
	var incomplete *Incomplete
	if errors.As(err, &incomplete) {
		u.partial = cmp.Or(u.partial, error(incomplete))
		return nil
	}
	return err
}

// archive reports what is packed in the file, if that is an archive, at the file's
// beginning. What is found there is not reported again where it stands unpacked in
// the file's bytes.
func (t *stream) archive(format string, r io.Reader) error {
	t.inside = make(map[Fingerprint]bool)
	var stopped error
	u := &unpacker{x: t.x.Scanner, limits: t.x.limits, yield: func(f Finding) bool {
		t.inside[f.Fingerprint] = true
		f.Path = t.path
		f.Line, f.Column, f.EndLine, f.EndColumn, f.CharColumn, f.EndCharColumn = 1, 1, 1, 1, 1, 1
		stopped = t.tell(f)
		return stopped == nil
	}}
	err := cmp.Or(u.unpack(format, t.path, r), u.partial)
	switch {
	case stopped != nil:
		return stopped
	case err != nil:
		return &Incomplete{Reason: "the archive was not scanned to its end: " + t.x.Hide(inOneLine(err))}
	case u.sealed != nil:
		return &Incomplete{Reason: "the archive cannot be opened, or not all of it: " + t.x.Hide(inOneLine(u.sealed))}
	}
	return nil
}

// inOneLine is what an error says, which is several where an archive was read in two
// ways.
func inOneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
