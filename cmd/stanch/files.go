package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/checks"
)

// maxFile is the size of the biggest file that is scanned. It bounds the memory
// that one file takes; a bigger one makes the scan incomplete.
const maxFile = 256 << 20

// stdinName is what findings in standard input name as their file.
const stdinName = "<stdin>"

// span is a range of columns in characters, as SARIF counts them.
type span struct{ start, end int }

// characters gives a finding's columns in characters, if its line is known.
func (s scanned) characters(f checks.Finding) (start, end int, ok bool) {
	if c, found := s.columns[f.Location]; found {
		return c.start, c.end, true
	}
	return f.Column, f.EndColumn, s.counts
}

// scanPaths scans files and folders, in an order that does not depend on how
// many are read at a time.
func scanPaths(ctx context.Context, paths []string, scanner *checks.Scanner) (scanned, error) {
	s := scanned{columns: map[checks.Location]span{}, counts: true}
	files, err := s.collect(ctx, paths)
	if err != nil {
		return s, err
	}
	results := make([]fileResult, len(files))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, file := range files {
		group.Go(func() error {
			if ctx.Err() == nil {
				results[i] = scanFile(file, scanner)
			}
			return nil
		})
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return s, fmt.Errorf("scan: %w", err)
	}
	n, archives := 0, 0
	for _, r := range results {
		if s.add(r) {
			n++
		}
		if r.packed {
			archives++
		}
	}
	if archives > 0 {
		s.notes = append(s.notes, amount(archives, "archive")+" not unpacked: scan what is packed in a folder of its own")
	}
	if n == 0 && len(s.problems) == 0 {
		s.problems = append(s.problems, "nothing: there is no file in "+strings.Join(paths, ", "))
	}
	s.what = amount(n, "file")
	return s, nil
}

// collect lists the files below the paths, by folder and name.
func (s *scanned) collect(ctx context.Context, paths []string) ([]string, error) {
	var files []string
	links := 0
	for _, root := range paths {
		root = filepath.Clean(root)
		info, err := os.Stat(root) // a link that was named is meant
		switch {
		case err != nil:
			s.problem(root, err)
			continue
		case !info.IsDir():
			files = s.collectFile(files, root, info.Mode())
			continue
		}
		below, skipped, err := s.walk(ctx, root)
		if err != nil {
			return nil, fmt.Errorf("scan: %w", err)
		}
		files, links = append(files, below...), links+skipped
	}
	if links > 0 {
		s.notes = append(s.notes, amount(links, "symbolic link")+" not followed")
	}
	slices.SortFunc(files, comparePaths)
	return slices.Compact(files), nil
}

// walk lists the files below a folder and counts the links. Only what is git's
// own is left out: its objects are compressed, see --git.
func (s *scanned) walk(ctx context.Context, root string) (files []string, links int, err error) {
	visit := func(path string, d fs.DirEntry, err error) error {
		path = filepath.Clean(path)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			s.problem(path, err)
		case d.IsDir() && d.Name() == ".git" && path != root:
			return filepath.SkipDir
		case d.IsDir():
		case d.Type()&fs.ModeSymlink != 0:
			links++
		case !d.Type().IsRegular():
			s.notes = append(s.notes, path+" was skipped: it is "+kindOf(d.Type()))
		default:
			files = append(files, path)
		}
		return nil
	}
	// The separator makes a link to a folder, named as a path, the folder.
	err = filepath.WalkDir(root+string(filepath.Separator), visit)
	return files, links, err
}

// collectFile adds a path that the user named and that is no folder.
func (s *scanned) collectFile(files []string, path string, mode fs.FileMode) []string {
	if !mode.IsRegular() {
		s.problems = append(s.problems, path+": it is "+kindOf(mode)+": pipe its content to --stdin")
		return files
	}
	return append(files, path)
}

// comparePaths orders paths as a walk meets them: by folder, then by name.
func comparePaths(a, b string) int {
	separator := string(filepath.Separator)
	return cmp.Or(slices.Compare(strings.Split(a, separator), strings.Split(b, separator)), strings.Compare(a, b))
}

// kindOf names what is neither a file nor a folder.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "no regular file"
}

// problem records that a path could not be scanned. The system's message names
// the path already, so only its reason is kept.
func (s *scanned) problem(path string, err error) {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	s.problems = append(s.problems, fmt.Sprintf("%s: %v", path, err))
}

// A fileResult is what one file held.
type fileResult struct {
	path     string
	findings []checks.Finding
	columns  []span
	more     bool // it holds more than findings
	packed   bool // what it holds is packed
	bytes    int64
	err      error
}

// add takes over a file's result and reports whether the file was scanned.
func (s *scanned) add(r fileResult) bool {
	if r.err != nil {
		s.problem(r.path, r.err)
		return false
	}
	s.bytes += r.bytes
	if r.more {
		s.problem(r.path, errTooMany)
	}
	s.findings = append(s.findings, r.findings...)
	for i, f := range r.findings {
		s.columns[f.Location] = r.columns[i]
	}
	return true
}

var errTooMany = fmt.Errorf("it has more than %d secrets; the rest is not listed", checks.MaxFindings)

var errTooBig = fmt.Errorf("it is bigger than %d MiB: scan its parts with --stdin", maxFile>>20)

func scanFile(path string, scanner *checks.Scanner) fileResult {
	f, err := os.Open(path)
	if err != nil {
		return fileResult{path: path, err: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fileResult{path: path, err: err}
	}
	return scanReader(path, f, info.Size(), scanner)
}

// scanReader scans what r holds. The size is a hint: what is read decides.
func scanReader(path string, r io.Reader, size int64, scanner *checks.Scanner) fileResult {
	if size > maxFile {
		return fileResult{path: path, err: errTooBig}
	}
	var content bytes.Buffer
	content.Grow(int(size) + bytes.MinRead) // so that it need not grow again
	n, err := content.ReadFrom(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return fileResult{path: path, err: err}
	case n > maxFile:
		return fileResult{path: path, err: errTooBig}
	}
	result := fileResult{path: path, bytes: n, packed: packed(content.Bytes())}
	data := checks.Text(content.Bytes())
	result.findings, err = scanner.Examine(filepath.ToSlash(path), data)
	result.more = err != nil
	lines := lineStarts{data: data, line: 1}
	for _, f := range result.findings {
		start := lines.column(f.Line, f.Column)
		end := lines
		result.columns = append(result.columns, span{start, end.column(f.EndLine, f.EndColumn)})
	}
	return result
}

// scanStdin scans standard input. It does not wait for the rest of it when ctx
// ends: a terminal may have none.
func scanStdin(ctx context.Context, stdin io.Reader, scanner *checks.Scanner) (scanned, error) {
	s := scanned{columns: map[checks.Location]span{}, counts: true, what: "standard input"}
	done := make(chan fileResult, 1)
	go func() { done <- scanReader(stdinName, stdin, 0, scanner) }()
	select {
	case <-ctx.Done():
		return s, fmt.Errorf("scan standard input: %w", ctx.Err())
	case r := <-done:
		if s.add(r) && r.bytes == 0 {
			s.problems = append(s.problems, "nothing: standard input is empty")
		}
		return s, nil
	}
}

// lineStarts walks through data line by line, to count columns in characters.
// Findings come in order, so that each byte is passed once.
type lineStarts struct {
	data  []byte
	line  int
	start int // where line begins in data
	// What is counted already of the line: so many bytes are so many characters.
	counted, characters int
}

// column turns a column in bytes on a line into one in characters. It must not
// be before the one last asked for.
func (l *lineStarts) column(line, column int) int {
	for ; l.line < line; l.line++ {
		l.start += bytes.IndexByte(l.data[l.start:], '\n') + 1
		l.counted, l.characters = 0, 0
	}
	l.characters += utf8.RuneCount(l.data[l.start+l.counted : l.start+column-1])
	l.counted = column - 1
	return l.characters + 1
}

// packed reports whether data begins as an archive or another packed file does:
// gzip, zip, bzip2, xz, Zstandard, 7-Zip, tar.
func packed(data []byte) bool {
	for _, magic := range []string{"\x1f\x8b", "PK\x03\x04", "BZh", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd", "7z\xbc\xaf\x27\x1c"} {
		if bytes.HasPrefix(data, []byte(magic)) {
			return true
		}
	}
	const tar = 257 // where POSIX.1's header has its magic
	return len(data) > tar && bytes.HasPrefix(data[tar:], []byte("ustar"))
}
