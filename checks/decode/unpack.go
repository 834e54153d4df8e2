package decode

import (
	"archive/tar"
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// maxWindow is how much memory a stream may ask for to look back at. xz -9 needs 64
// MiB; zstd's documentation asks decoders for 8 MiB.
const maxWindow = 64 << 20

// smallWindow is what a stream in another may ask for: what xz asks for by default.
const smallWindow = 8 << 20

// largeWindows makes streams with windows take turns, so that only one at a time
// has much memory.
var largeWindows sync.Mutex

// window returns how much memory a stream may look back at, and what is to be
// called when it is closed.
func (l *Limits) window() (most int, done func()) {
	if l.NoTurns || l.windows > 0 {
		l.windows++
		return smallWindow, func() { l.windows-- }
	}
	largeWindows.Lock()
	l.windows++
	return maxWindow, func() {
		l.windows--
		largeWindows.Unlock()
	}
}

// Sized is a source that can be read anywhere, such as bytes.Reader and
// io.SectionReader. A zip archive is read from one without a copy.
type Sized interface {
	io.ReaderAt
	Size() int64
}

// Unpack reads an archive of a format that Known knows, and calls each with every
// member that holds bytes, in order: its name, as the archive has it, and its
// content. The formats that hold one stream have one member, named as gzip may
// name it, or "".
//
// What can be read of a broken archive is read: each sees all bytes before the
// fault. The error names the members with faults. An error of each ends the
// reading and is returned, unless it is the member's own fault. So does a
// *LimitError.
func Unpack(format string, source io.Reader, limits *Limits, each func(name string, r io.Reader) error) error {
	if err := limits.enter(); err != nil {
		return err
	}
	defer limits.leave()
	u := &unpacker{limits: limits, each: each}
	switch format {
	case "tar":
		return u.tar(source)
	case "ar":
		return u.ar(source)
	case "zip":
		return u.zip(source)
	}
	return u.stream(format, source)
}

// An unpacker reads one archive.
type unpacker struct {
	limits *Limits
	each   func(name string, r io.Reader) error
	faults []error
}

// maxFaults is how many broken members an error names.
const maxFaults = 5

// fault notes that a member could not be read, or not all of it.
func (u *unpacker) fault(name string, err error) {
	if len(u.faults) < maxFaults {
		u.faults = append(u.faults, about(name, err))
	}
}

// about returns the error with the name of the member that it is about, if that
// has one.
func about(name string, err error) error {
	if name == "" {
		return err
	}
	return fmt.Errorf("%q: %w", name, err)
}

// give hands one member out. It returns an error that ends the reading.
func (u *unpacker) give(name string, r io.Reader, taken func() int64) error {
	if err := u.limits.member(); err != nil {
		return err
	}
	m := &member{r: r, limits: u.limits, taken: taken}
	err := u.each(name, m)
	if limit := new(LimitError); errors.As(m.err, &limit) {
		return about(name, m.err)
	}
	if m.err != nil {
		u.fault(name, m.err)
	}
	if err != nil && (m.err == nil || !errors.Is(err, m.err)) {
		return err
	}
	return nil
}

// stream reads the formats that hold one stream.
func (u *unpacker) stream(format string, source io.Reader) error {
	in := &counter{r: source}
	r, name, err := open(format, in, u.limits)
	if err != nil {
		return err
	}
	defer r.Close()
	err = u.give(name, r, in.count)
	return errors.Join(append(u.faults, err)...)
}

// open returns what a stream holds, and its name if it has one.
func open(format string, source io.Reader, limits *Limits) (r io.ReadCloser, name string, err error) {
	switch format {
	case "gzip":
		z, err := gzip.NewReader(source)
		if err != nil {
			return nil, "", fmt.Errorf("read gzip: %w", err)
		}
		return z, z.Name, nil
	case "zlib":
		z, err := zlib.NewReader(source)
		if err != nil {
			return nil, "", fmt.Errorf("read zlib: %w", err)
		}
		return z, "", nil
	case "bzip2":
		return io.NopCloser(bzip2.NewReader(source)), "", nil
	case "xz", "zstd":
		r, err := openWindowed(format, source, limits)
		return r, "", err
	}
	return nil, "", fmt.Errorf("format %q: %w", format, ErrUnsupported)
}

// openWindowed opens a stream of which much must be kept to look back at.
func openWindowed(format string, source io.Reader, limits *Limits) (io.ReadCloser, error) {
	most, done := limits.window()
	if format == "xz" {
		z, err := xz.NewReader(source, uint32(most))
		if err != nil {
			done()
			return nil, fmt.Errorf("read xz: %w", err)
		}
		return closer{windowed{z, most}, done}, nil
	}
	z, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(most)))
	if err != nil {
		done()
		return nil, fmt.Errorf("read zstd: %w", err)
	}
	return closer{windowed{z, most}, func() { z.Close(); done() }}, nil
}

// windowed turns the complaint about a window that is too large into a LimitError.
type windowed struct {
	io.Reader
	most int
}

func (w windowed) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, xz.ErrMemlimit) {
		err = &LimitError{"memory", int64(w.most)}
	}
	return n, err
}

// A closer is a reader that has a function to end it.
type closer struct {
	io.Reader
	end func()
}

func (c closer) Close() error {
	c.end()
	return nil
}

// tar reads an archive of tar. Members that hold no bytes, such as folders and
// links, are passed over; a link's target is not.
func (u *unpacker) tar(source io.Reader) error {
	in := &counter{r: source}
	archive := tar.NewReader(in)
	last := ""
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return errors.Join(u.faults...)
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // the name is only shown
			if last != "" {
				err = fmt.Errorf("after %q: %w", last, err)
			}
			return errors.Join(append(u.faults, fmt.Errorf("read tar: %w", err))...)
		}
		last = header.Name
		if header.Size == 0 {
			if err := u.limits.member(); err != nil {
				return err
			}
			continue
		}
		before := in.n
		err = u.give(header.Name, archive, func() int64 { return in.n - before })
		if err != nil {
			return errors.Join(append(u.faults, err)...)
		}
	}
}

// readBuffer is how much is read ahead where single bytes are asked for.
const readBuffer = 32 << 10

// buffered returns a reader of single bytes.
func buffered(source io.Reader) *bufio.Reader { return bufio.NewReaderSize(source, readBuffer) }
