package decode

import (
	"errors"
	"fmt"
	"io"
)

// Limits bound what unpacking costs. One Limits is shared by an archive and all
// that is nested in it; it counts what was spent, and is for one goroutine at a
// time. A field that is zero sets no limit.
type Limits struct {
	MaxBytes   int64 // that come out, of all archives together, each level counted
	MaxRatio   int64 // bytes that come out for each byte that one archive's member takes
	MaxMembers int   // of all archives together
	MaxDepth   int   // archives in archives; 1 means that none may be nested

	// NoTurns is for who unpacks something while it reads what Unpack gave with other
	// Limits: streams that need much memory, which are unpacked in turns, do not wait
	// but are refused.
	NoTurns bool

	bytes   int64
	members int
	depth   int
	windows int // that are open
}

// ratioSlack is how many bytes come out of a member before the ratio counts: small
// texts of blanks are no bombs.
const ratioSlack = 1 << 20

// A LimitError says that an archive needs more than Limits allow. What was read
// until then is true.
type LimitError struct {
	Limit string // "bytes", "ratio", "members", "depth" or "memory"
	Max   int64
}

func (e *LimitError) Error() string {
	switch e.Limit {
	case "bytes":
		return fmt.Sprintf("it unpacks to more than %d bytes", e.Max)
	case "ratio":
		return fmt.Sprintf("it unpacks to more than %d times its size", e.Max)
	case "members":
		return fmt.Sprintf("it has more than %d members", e.Max)
	case "depth":
		return fmt.Sprintf("archives are nested more than %d deep", e.Max)
	}
	return fmt.Sprintf("it needs more than %d bytes of memory to be unpacked", e.Max)
}

// ErrUnsupported is the error for what is recognised and cannot be read: encrypted
// members, and formats such as 7z and rar.
var ErrUnsupported = errors.New("cannot be unpacked")

// enter counts one more level of nesting.
func (l *Limits) enter() error {
	if l.MaxDepth > 0 && l.depth >= l.MaxDepth {
		return &LimitError{"depth", int64(l.MaxDepth)}
	}
	l.depth++
	return nil
}

func (l *Limits) leave() { l.depth-- }

// member counts one more member.
func (l *Limits) member() error {
	l.members++
	if l.MaxMembers > 0 && l.members > l.MaxMembers {
		return &LimitError{"members", int64(l.MaxMembers)}
	}
	return nil
}

// A member is what comes out of an archive, as far as the limits allow.
type member struct {
	r      io.Reader
	limits *Limits
	taken  func() int64 // bytes of the archive that were read for it
	given  int64
	err    error // that ended it, other than io.EOF
}

func (m *member) Read(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.r.Read(p)
	m.given += int64(n)
	m.limits.bytes += int64(n)
	if over := m.over(); over != nil {
		err = over
	}
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}

// over returns the error of the limit that the member exceeds, or nil.
func (m *member) over() error {
	l := m.limits
	switch {
	case l.MaxBytes > 0 && l.bytes > l.MaxBytes:
		return &LimitError{"bytes", l.MaxBytes}
	case l.MaxRatio > 0 && m.given > ratioSlack && m.given/l.MaxRatio > m.taken():
		return &LimitError{"ratio", l.MaxRatio}
	}
	return nil
}

// A counter counts what is read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) count() int64 { return c.n }
