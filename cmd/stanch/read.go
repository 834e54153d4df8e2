package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/decode"
)

// wholeFile is the size up to which a file is scanned at once, in a buffer that is
// used again; longer ones are scanned as they are read.
const wholeFile = 1 << 20

// A fileResult is what one file held.
type fileResult struct {
	path     string
	findings []checks.Finding
	problem  error // why not all of it was scanned
	bytes    int64
}

// A fileReader scans files one after the other. It is not safe for concurrent use.
type fileReader struct {
	scanner *checks.Scanner
	buffer  []byte
}

func newFileReader(scanner *checks.Scanner) *fileReader {
	return &fileReader{scanner, make([]byte, wholeFile)}
}

// scanFile scans one file.
func (r *fileReader) scanFile(ctx context.Context, p place) fileResult {
	f, err := openFile(p)
	if err != nil {
		return fileResult{path: p.path, problem: err}
	}
	defer f.Close()
	n, err := fill(f, r.buffer)
	switch {
	case errors.Is(err, io.EOF):
		return r.scanWhole(p.path, r.buffer[:n])
	case err != nil:
		result := r.scanWhole(p.path, r.buffer[:n])
		result.problem = err
		return result
	}
	return r.scanLong(ctx, p.path, f)
}

// scanWhole scans a text that is in memory.
func (r *fileReader) scanWhole(path string, data []byte) fileResult {
	result := fileResult{path: path, bytes: int64(len(data))}
	result.findings, result.problem = r.scanner.Examine(filepath.ToSlash(path), data)
	return result
}

// scanLong scans a file of which the buffer holds the beginning.
func (r *fileReader) scanLong(ctx context.Context, path string, f file) fileResult {
	before, err := f.state()
	if err != nil {
		return fileResult{path: path, problem: err}
	}
	rest := &counter{ctx: ctx, r: f.skipHoles(), left: max(before.size, endless)}
	result := r.scanStream(path, r.source(f, before.size, rest))
	result.bytes = int64(len(r.buffer)) + rest.n
	if after, err := f.state(); result.problem == nil && (err != nil || after != before) {
		result.problem = errors.Join(errChanged, err)
	}
	return result
}

// source is the whole file: what is in the buffer, and the rest. What is packed is
// also read here and there.
func (r *fileReader) source(f file, size int64, rest *counter) io.Reader {
	all := io.MultiReader(bytes.NewReader(r.buffer), rest)
	if decode.Format(r.buffer) == "" {
		return all
	}
	return packed{all, rest.ctx, f, size}
}

// A packed is a file that holds others. It is read through, and at any place.
type packed struct {
	io.Reader
	ctx  context.Context
	file file
	size int64
}

// Size returns the file's size.
func (p packed) Size() int64 { return p.size }

// ReadAt implements io.ReaderAt, until ctx ends.
func (p packed) ReadAt(data []byte, offset int64) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.file.ReadAt(data, offset)
}

// scanStream scans what comes.
func (r *fileReader) scanStream(path string, stream io.Reader) fileResult {
	result := fileResult{path: path}
	for f, err := range r.scanner.Scan(filepath.ToSlash(path), stream) {
		if err != nil {
			result.problem = err
			break
		}
		result.findings = append(result.findings, f)
	}
	return result
}

var (
	errChanged = errors.New("it changed while it was read: scan it again when nobody writes to it")
	errEndless = errors.New("it gives more than its size says: pipe its content to --stdin")
)

// endless is how much is read of a file that is said to be smaller. The system's
// own, below /proc, are said to be empty, and some of them have no end.
const endless = 64 << 20

// scanStdin scans standard input. It does not wait for the rest of it when ctx
// ends: a terminal may have none.
func scanStdin(ctx context.Context, stdin io.Reader, scanner *checks.Scanner) (scanned, error) {
	s := scanned{what: "standard input"}
	done := make(chan fileResult, 1)
	go func() { done <- newFileReader(scanner).scanInput(stdin) }()
	select {
	case <-ctx.Done():
		return s, fmt.Errorf("scan standard input: %w", context.Cause(ctx))
	case r := <-done:
		s.add(r)
		if r.problem == nil && r.bytes == 0 {
			s.problems = append(s.problems, "nothing: standard input is empty")
		}
		return s, nil
	}
}

// scanInput scans what a reader gives that may not have an end for long.
func (r *fileReader) scanInput(stdin io.Reader) fileResult {
	n, err := fill(stdin, r.buffer)
	if err != nil {
		result := r.scanWhole(stdinName, r.buffer[:n])
		if !errors.Is(err, io.EOF) {
			result.problem = err
		}
		return result
	}
	rest := &counter{ctx: context.Background(), r: stdin, left: math.MaxInt64}
	result := r.scanStream(stdinName, io.MultiReader(bytes.NewReader(r.buffer), rest))
	result.bytes = int64(n) + rest.n
	return result
}

// fill reads until the buffer is full, or the end (io.EOF).
func fill(r io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = r.Read(buffer[n:])
		n += more
	}
	return n, err
}

// A counter counts what is read through it, until ctx ends or nothing is left of
// what may be read.
type counter struct {
	ctx  context.Context
	r    io.Reader
	left int64
	n    int64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	if c.n > c.left {
		return 0, errEndless
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
