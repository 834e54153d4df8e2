package main

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// A file is a file that is open for reading. It does without package os where it
// can: that asks the system four more questions about each file.
type file struct{ fd int }

// A fileState tells whether a file was written to.
type fileState struct {
	size     int64
	modified syscall.Timespec
}

// openFile opens a file. It does not wait for a writer when somebody has put a
// named pipe in the file's place.
func openFile(p place) (file, error) {
	if p.base != nil {
		return openBelow(p)
	}
	for {
		fd, err := syscall.Open(p.path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
		if err == nil {
			return file{fd}, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return file{}, err
		}
	}
}

// openBelow opens a file whose whole path is too long.
func openBelow(p place) (file, error) {
	f, err := p.base.OpenFile(p.rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return file{}, err
	}
	defer f.Close()
	fd, err := syscall.Dup(int(f.Fd()))
	return file{fd}, err
}

// Read implements io.Reader.
func (f file) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(f.fd, p)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// ReadAt implements io.ReaderAt.
func (f file) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		more, err := syscall.Pread(f.fd, p[n:], offset+int64(n))
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return n, err
		case more == 0:
			return n, io.EOF
		default:
			n += more
		}
	}
	return n, nil
}

// Close closes the file. Nothing was written, so there is nothing to lose.
func (f file) Close() { syscall.Close(f.fd) }

// state returns the file's state.
func (f file) state() (fileState, error) {
	var s syscall.Stat_t
	err := syscall.Fstat(f.fd, &s)
	return fileState{s.Size, s.Mtim}, err
}

// skipHoles returns a reader of the rest of the file that passes over what was
// never written to a sparse file.
func (f file) skipHoles() io.Reader {
	const blockSize = 512 // of Stat_t.Blocks, whatever the file system's is
	var s syscall.Stat_t
	if err := syscall.Fstat(f.fd, &s); err != nil || s.Blocks*blockSize >= s.Size {
		return f
	}
	return &sparse{file: f}
}

// Where lseek is to go (linux/fs.h).
const (
	seekData = 3
	seekHole = 4
)

// holeShown is how much of a hole is read: more than a match is long, so that
// nothing on one side of it is taken for a neighbour of what is on the other.
// Findings on the same line after a longer hole have columns that count this much
// of it.
const holeShown = 128 << 10

// A sparse reads a file without most of its holes.
type sparse struct {
	file
	data int64 // up to here there is data
}

// Read implements io.Reader.
func (s *sparse) Read(p []byte) (int, error) {
	at, err := syscall.Seek(s.fd, 0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if at >= s.data {
		if err := s.next(at); err != nil {
			return 0, err
		}
	}
	return s.file.Read(p)
}

// next moves to where the data after at begins, but for the end of the hole.
func (s *sparse) next(at int64) error {
	begin, err := syscall.Seek(s.fd, at, seekData)
	if errors.Is(err, syscall.ENXIO) { // no more data
		return s.tail(at)
	}
	if err != nil {
		return s.whole(at)
	}
	if s.data, err = syscall.Seek(s.fd, begin, seekHole); err != nil {
		return s.whole(at)
	}
	_, err = syscall.Seek(s.fd, max(at, begin-holeShown), io.SeekStart)
	return err
}

// tail moves to the end of the hole that ends the file.
func (s *sparse) tail(at int64) error {
	end, err := syscall.Seek(s.fd, 0, io.SeekEnd)
	if err != nil {
		return err
	}
	s.data = end
	_, err = syscall.Seek(s.fd, max(at, end-holeShown), io.SeekStart)
	return err
}

// whole gives up on finding holes: not all file systems know of them.
func (s *sparse) whole(at int64) error {
	s.data = 1<<63 - 1
	_, err := syscall.Seek(s.fd, at, io.SeekStart)
	return err
}
