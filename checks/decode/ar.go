package decode

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The header of a member, ar(5): name, time, owner, group, mode, size, end.
const (
	arMagic      = "!<arch>\n"
	arHeader     = 60
	arNameEnd    = 16
	arSizeStart  = 48
	arSizeEnd    = 58
	arEnd        = "`\n"
	maxArStrings = 1 << 20 // of the table of long names
)

// ar reads an archive of ar: Debian packages, static libraries.
func (u *unpacker) ar(source io.Reader) error {
	in := &counter{r: buffered(source)}
	if magic, err := readN(in, len(arMagic)); err != nil || string(magic) != arMagic {
		return fmt.Errorf("read ar: it does not begin with %q", strings.TrimSpace(arMagic))
	}
	a := arReader{in: in}
	for {
		name, size, err := a.next()
		if errors.Is(err, io.EOF) {
			return errors.Join(u.faults...)
		}
		if err != nil {
			return errors.Join(append(u.faults, fmt.Errorf("read ar: %w", err))...)
		}
		if size == 0 {
			if err := u.limits.member(); err != nil {
				return err
			}
			continue
		}
		before := in.n
		body := &whole{r: in, left: size}
		if err := u.give(name, body, func() int64 { return in.n - before }); err != nil {
			return errors.Join(append(u.faults, err)...)
		}
		if !u.skip(name, in, body.left) {
			return errors.Join(u.faults...)
		}
	}
}

// skip passes over what nobody read of a member, and to the even offset at which
// the next one begins. It reports whether there is more.
func (u *unpacker) skip(name string, in *counter, left int64) bool {
	_, err := io.CopyN(io.Discard, in, left)
	if err != nil && len(u.faults) == 0 {
		u.fault(name, io.ErrUnexpectedEOF)
	}
	if err == nil && in.n%2 == 1 {
		_, err = io.CopyN(io.Discard, in, 1)
	}
	return err == nil
}

// An arReader reads the headers of members.
type arReader struct {
	in    io.Reader
	names string // GNU's table of long ones
}

// next returns the next member that holds a file.
func (a *arReader) next() (name string, size int64, err error) {
	for {
		header, err := readN(a.in, arHeader)
		if err != nil {
			return "", 0, err
		}
		name = strings.TrimRight(string(header[:arNameEnd]), " ")
		size, err = strconv.ParseInt(strings.TrimSpace(string(header[arSizeStart:arSizeEnd])), 10, 64)
		if err != nil || size < 0 || string(header[arSizeEnd:]) != arEnd {
			return "", 0, fmt.Errorf("the header of member %q is damaged", name)
		}
		if name != "//" {
			break
		}
		if size > maxArStrings {
			return "", 0, &LimitError{"memory", maxArStrings}
		}
		table, err := readN(a.in, int(size+size&1))
		if err != nil {
			return "", 0, err
		}
		a.names = string(table)
	}
	return a.long(name, size)
}

// long returns the full name of a member, and the size that is left for its
// content: BSD writes long names before it, GNU into a table.
func (a *arReader) long(name string, size int64) (string, int64, error) {
	if digits, ok := strings.CutPrefix(name, "#1/"); ok {
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || n > min(size, maxArStrings) {
			return "", 0, fmt.Errorf("the name of member %q is damaged", name)
		}
		text, err := readN(a.in, int(n))
		return strings.TrimRight(string(text), "\x00"), size - n, err
	}
	if digits, ok := strings.CutPrefix(name, "/"); ok {
		if n, err := strconv.Atoi(digits); err == nil && n >= 0 && n < len(a.names) {
			name, _, _ = strings.Cut(a.names[n:], "\n")
		}
	}
	if name != "/" {
		name = strings.TrimSuffix(name, "/")
	}
	return name, size, nil
}

// readN reads n bytes: io.EOF means that there are none.
func readN(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

// whole reads so many bytes, and says when there are fewer.
type whole struct {
	r    io.Reader
	left int64
}

func (w *whole) Read(p []byte) (int, error) {
	if w.left <= 0 {
		return 0, io.EOF
	}
	n, err := w.r.Read(p[:min(int64(len(p)), w.left)])
	w.left -= int64(n)
	if errors.Is(err, io.EOF) && w.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
