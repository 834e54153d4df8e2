package decode

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxZipCopy is how large a zip archive may be that cannot be read in place, and
	// nestedZipCopy one in another of those; from smallZipCopy on they take turns.
	maxZipCopy    = 32 << 20
	nestedZipCopy = 16 << 20
	smallZipCopy  = 4 << 20
	// maxDirectory bounds the central directory: names of 300 bytes for as many
	// members as any limit allows.
	maxDirectory = 32 << 20
	// seenTwice is how many members may be counted again, since where the directory
	// ends is looked for in the last 65 KiB.
	seenTwice = 2 << 10
)

// Methods of compression, APPNOTE.TXT 4.4.5, and the flags of members, 4.4.4.
const (
	zipStored    = 0
	zipDeflated  = 8
	zipBzip2     = 12
	zipZstd      = 93
	zipXz        = 95
	zipEncrypted = 1 << 0
	zipSizeAfter = 1 << 3
)

// zip reads an archive of zip by its central directory, or if that is missing by the
// headers of its members.
func (u *unpacker) zip(source io.Reader) error {
	at, done, err := u.limits.sized(source)
	if err != nil {
		return err
	}
	defer done()
	budget := &frugal{at: at, left: maxDirectory, members: math.MaxInt}
	if u.limits.MaxMembers > 0 {
		budget.members = u.limits.MaxMembers - u.limits.members + seenTwice
	}
	archive, err := zip.NewReader(budget, at.Size())
	switch {
	case budget.members < 0:
		return &LimitError{"members", int64(u.limits.MaxMembers)}
	case budget.left < 0:
		return &LimitError{"memory", maxDirectory}
	case err != nil && !errors.Is(err, zip.ErrInsecurePath): // names are only shown
		fault := fmt.Errorf("read zip: %w", err)
		return errors.Join(u.salvage(at), fault)
	}
	budget.left, budget.members = math.MaxInt64, math.MaxInt
	if err := overlapping(archive, at.Size()); err != nil {
		return err
	}
	for _, f := range archive.File {
		if err := u.zipMember(f); err != nil {
			return errors.Join(append(u.faults, err)...)
		}
	}
	return errors.Join(u.faults...)
}

// overlapping returns an error if an archive's members take more bytes than it has:
// then they share them, which only bombs do.
func overlapping(archive *zip.Reader, size int64) error {
	left := uint64(size)
	for _, f := range archive.File {
		if f.CompressedSize64 > left {
			return &LimitError{"ratio", 1}
		}
		left -= f.CompressedSize64
	}
	return nil
}

// zipMember hands out one member.
func (u *unpacker) zipMember(f *zip.File) error {
	if f.Flags&zipEncrypted != 0 {
		u.fault(f.Name, fmt.Errorf("it is encrypted: %w", ErrUnsupported))
		return u.limits.member()
	}
	if f.CompressedSize64 == 0 {
		return u.limits.member()
	}
	raw, err := f.OpenRaw()
	if err != nil {
		u.fault(f.Name, err)
		return u.limits.member()
	}
	in := &counter{r: raw}
	r, err := inflate(f.Method, in, u.limits)
	if err != nil {
		u.fault(f.Name, err)
		return u.limits.member()
	}
	defer r.Close()
	// All that is there is read, whatever size the directory says.
	return u.give(f.Name, r, in.count)
}

// inflate returns what a member's bytes hold.
func inflate(method uint16, source io.Reader, limits *Limits) (io.ReadCloser, error) {
	switch method {
	case zipStored:
		return io.NopCloser(source), nil
	case zipDeflated:
		return flate.NewReader(source), nil
	case zipBzip2:
		r, _, err := open("bzip2", source, limits)
		return r, err
	case zipZstd, zstd.ZipMethodPKWare:
		return openWindowed("zstd", source, limits)
	case zipXz:
		return openWindowed("xz", source, limits)
	}
	return nil, fmt.Errorf("compression method %d: %w", method, ErrUnsupported)
}

// salvage reads an archive without a central directory, member by member.
func (u *unpacker) salvage(at Sized) error {
	const header, signature = 30, "PK\x03\x04" // APPNOTE.TXT 4.3.7
	for offset := int64(0); ; {
		head := make([]byte, header)
		if n, _ := at.ReadAt(head, offset); n < header || !bytes.HasPrefix(head, []byte(signature)) {
			return errors.Join(u.faults...)
		}
		field := func(i int) uint16 { return binary.LittleEndian.Uint16(head[i:]) }
		name := make([]byte, field(26))
		at.ReadAt(name, offset+header)
		start := offset + header + int64(field(26)) + int64(field(28))
		size := int64(binary.LittleEndian.Uint32(head[18:]))
		end, err := u.salvageMember(at, string(name), field(6), field(8), start, size)
		if err != nil {
			return errors.Join(append(u.faults, err)...)
		}
		if offset = nextMember(at, end, signature); offset < 0 {
			return errors.Join(u.faults...)
		}
	}
}

// salvageMember hands out the member whose bytes begin at start, and returns where
// they end.
func (u *unpacker) salvageMember(at Sized, name string, flags, method uint16, start, size int64) (end int64, err error) {
	known := flags&zipSizeAfter == 0
	if flags&zipEncrypted != 0 || !known && method != zipDeflated {
		u.fault(name, fmt.Errorf("it is encrypted, or of unknown size: %w", ErrUnsupported))
		return start + size, u.limits.member()
	}
	left := max(0, at.Size()-start)
	var body io.Reader = io.NewSectionReader(at, start, left)
	if known {
		body = &whole{r: body, left: size}
	}
	in := &counter{r: body}
	bytewise := buffered(in) // deflate reads no further than its end
	r, err := inflate(method, bytewise, u.limits)
	if err != nil {
		u.fault(name, err)
		return start + size, u.limits.member()
	}
	defer r.Close()
	taken := func() int64 { return in.n - int64(bytewise.Buffered()) }
	if err := u.give(name, r, in.count); err != nil {
		return 0, err
	}
	if known {
		return start + size, nil
	}
	io.Copy(io.Discard, &member{r: r, limits: u.limits, taken: in.count}) // what each did not read
	return start + taken(), nil
}

// nextMember returns where a header begins at or soon after an offset, where a
// member's sizes may stand in between, or -1.
func nextMember(at Sized, offset int64, signature string) int64 {
	near := make([]byte, 64)
	n, _ := at.ReadAt(near, offset)
	if i := bytes.Index(near[:n], []byte(signature)); i >= 0 {
		return offset + int64(i)
	}
	return -1
}

// sized returns a source that can be read anywhere: itself, or a copy in memory, which
// done gives up. As with windows, only one large copy is made at a time.
func (l *Limits) sized(source io.Reader) (at Sized, done func(), err error) {
	if at, ok := source.(Sized); ok {
		return at, func() {}, nil
	}
	c, done := new(chunks), func() {}
	all, err := c.fill(source, smallZipCopy)
	if err == nil && !all {
		var most int
		if most, done = l.window(); most == smallWindow {
			most = nestedZipCopy
		} else {
			most = maxZipCopy
		}
		if all, err = c.fill(source, most-smallZipCopy); err == nil && !all {
			err = &LimitError{"memory", int64(most)}
		}
	}
	if err != nil && (c.size == 0 || errors.As(err, new(*LimitError))) {
		done()
		return nil, nil, fmt.Errorf("read zip: %w", err)
	}
	return c, done, nil
}

// chunks are bytes in pieces of a chunk each, so that reading more of them copies
// none.
type chunks struct {
	pieces [][]byte
	size   int64
}

const chunk = 1 << 20

// fill appends what source gives, up to some whole chunks, and reports whether that
// is all of it.
func (c *chunks) fill(source io.Reader, most int) (all bool, err error) {
	for range most / chunk {
		piece := make([]byte, chunk)
		n, err := io.ReadFull(source, piece)
		c.pieces, c.size = append(c.pieces, piece[:n]), c.size+int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return true, nil
		case err != nil:
			return false, err
		}
	}
	return false, nil
}

// Size implements Sized.
func (c *chunks) Size() int64 { return c.size }

// ReadAt implements io.ReaderAt.
func (c *chunks) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, errors.New("read before the beginning")
	}
	for n < len(p) && offset < c.size {
		more := copy(p[n:], c.pieces[offset/chunk][offset%chunk:])
		n, offset = n+more, offset+int64(more)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// frugal reads so many bytes, and names of so many members, and then no more.
type frugal struct {
	at      io.ReaderAt
	left    int64
	members int
}

func (f *frugal) ReadAt(p []byte, offset int64) (int, error) {
	f.left -= int64(len(p))
	if f.left < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := f.at.ReadAt(p, offset)
	f.members -= bytes.Count(p[:n], []byte("PK\x01\x02")) // APPNOTE.TXT 4.3.12
	if f.members < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}
