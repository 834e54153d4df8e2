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
	"slices"
	"strings"
)

// entriesAtOnce is how many entries of a folder are asked for in one go.
const entriesAtOnce = 512

// maxOpenPath is the length from which on a path is opened relative to a folder
// above it: Linux takes paths of 4,095 bytes (limits.h, PATH_MAX), macOS of 1,023.
const maxOpenPath = 900

// A place is where a file is: at a path, or below a folder that is open because
// the whole path would be too long.
type place struct {
	path string // for people, and to open it when base is nil
	base *os.Root
	rel  string // below base
}

// A walker lists the files below folders, by folder and name, as it goes: it holds
// the names of one folder and of those above it, not of all.
type walker struct {
	ctx     context.Context
	exclude []string
	visit   func(place) error

	path    []byte // of the folder that is being read
	base    *os.Root
	baseLen int // of the part of path that is base's, with its separator

	links    int
	excluded int
	notes    []string
	problems []string
}

// walk visits the files of the roots, each once.
func (w *walker) walk(roots []string) error {
	for _, root := range distinctRoots(roots) {
		info, err := os.Stat(root) // a link that was named is meant
		switch {
		case err != nil:
			w.problem(root, err)
		case excluded(w.exclude, root):
			w.excluded++
		case info.IsDir():
			// The separator makes a link to a folder, named as a path, the folder.
			w.path = append(w.path[:0], strings.TrimSuffix(root, string(filepath.Separator))+string(filepath.Separator)...)
			if root == "." {
				w.path = w.path[:0]
			}
			w.base, w.baseLen = nil, 0
			if err := w.folder(); err != nil {
				return err
			}
		case !info.Mode().IsRegular():
			w.problems = append(w.problems, root+": it is "+kindOf(info.Mode())+": pipe its content to --stdin")
		default:
			if err := w.visit(place{path: root}); err != nil {
				return err
			}
		}
	}
	return nil
}

// folder visits what is below the folder at path, which ends in a separator.
func (w *walker) folder() error {
	names, err := w.list()
	if err != nil {
		w.problem(string(w.path), err) // what could be listed is scanned
	}
	end := len(w.path)
	for i := range names.count() {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		name, kind := names.at(i)
		w.path = append(w.path[:end], name...)
		if err := w.entry(name, kind); err != nil {
			return err
		}
	}
	w.path = w.path[:end]
	return nil
}

// entry visits what is at path. Only what is git's own is left out: its objects
// are compressed, see --git.
func (w *walker) entry(name []byte, kind fs.FileMode) error {
	switch {
	case kind.IsDir() && string(name) == ".git":
	case len(w.exclude) > 0 && excluded(w.exclude, string(w.path)):
		w.excluded++
	case kind.IsDir():
		return w.enter()
	case kind&fs.ModeSymlink != 0:
		w.links++
	case !kind.IsRegular():
		w.notes = append(w.notes, string(w.path)+" was skipped: it is "+kindOf(kind))
	default:
		return w.visit(w.place())
	}
	return nil
}

// enter visits the folder at path. When the path is too long to be opened, the
// folder becomes the base of what is below it.
func (w *walker) enter() error {
	base, baseLen := w.base, w.baseLen
	if len(w.path)-w.baseLen > maxOpenPath {
		opened, err := w.openBase()
		if err != nil {
			w.problem(string(w.path), err)
			return nil
		}
		// It stays open until the last of its files is scanned: the collector of
		// garbage closes it.
		w.base, w.baseLen = opened, len(w.path)+1
	}
	w.path = append(w.path, filepath.Separator)
	err := w.folder()
	w.base, w.baseLen = base, baseLen
	return err
}

func (w *walker) openBase() (*os.Root, error) {
	if w.base == nil {
		return os.OpenRoot(string(w.path))
	}
	return w.base.OpenRoot(string(w.path[w.baseLen:]))
}

func (w *walker) place() place {
	p := place{path: string(w.path), base: w.base}
	if w.base != nil {
		p.rel = p.path[w.baseLen:]
	}
	return p
}

// open opens the folder at path, which ends in a separator or is empty.
func (w *walker) open() (*os.File, error) {
	switch {
	case w.base != nil && len(w.path) <= w.baseLen:
		return w.base.Open(".")
	case w.base != nil:
		return w.base.Open(string(w.path[w.baseLen : len(w.path)-1]))
	case len(w.path) == 0:
		return os.Open(".")
	}
	return os.Open(string(w.path))
}

// list reads the names in the folder at path, sorted.
func (w *walker) list() (names, error) {
	var all names
	f, err := w.open()
	if err != nil {
		return all, err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(entriesAtOnce)
		for _, e := range entries {
			all.add(e.Name(), e.Type())
		}
		if err != nil {
			slices.SortFunc(all.spans, func(a, b nameSpan) int { return bytes.Compare(all.text[a.start:a.end], all.text[b.start:b.end]) })
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return all, err
		}
	}
}

// problem records that a path could not be scanned. The system's message names
// the path already, so only its reason is kept.
func (w *walker) problem(path string, err error) {
	w.problems = append(w.problems, unread(path, err))
}

// names are the names in a folder, in little memory: there may be millions.
type names struct {
	text  []byte
	spans []nameSpan
}

type nameSpan struct {
	start, end uint32
	kind       fs.FileMode
}

func (n *names) add(name string, kind fs.FileMode) {
	start := len(n.text)
	n.text = append(n.text, name...)
	n.spans = append(n.spans, nameSpan{uint32(start), uint32(len(n.text)), kind})
}

func (n *names) count() int { return len(n.spans) }

func (n *names) at(i int) ([]byte, fs.FileMode) {
	s := n.spans[i]
	return n.text[s.start:s.end], s.kind
}

// distinctRoots sorts the roots as a walk meets them, without those that the walk
// of another one visits.
func distinctRoots(paths []string) []string {
	var roots []string
	for _, p := range paths {
		roots = append(roots, filepath.Clean(p))
	}
	slices.SortFunc(roots, comparePaths)
	roots = slices.Compact(roots)
	all := slices.Clone(roots)
	return slices.DeleteFunc(roots, func(inner string) bool {
		return slices.ContainsFunc(all, func(outer string) bool { return outer != inner && visits(outer, inner) })
	})
}

// visits says whether the walk of outer comes to inner: it is below, and neither a
// link nor a folder of git's is on the way.
func visits(outer, inner string) bool {
	rel, err := filepath.Rel(outer, inner)
	if err != nil || filepath.IsAbs(outer) != filepath.IsAbs(inner) {
		return false
	}
	path := outer
	for _, part := range strings.Split(rel, string(filepath.Separator)) {
		path = filepath.Join(path, part)
		info, err := os.Lstat(path)
		if part == ".." || part == ".git" || err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return false
		}
	}
	return true
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

// unread says why a path could not be scanned, without naming it twice.
func unread(path string, err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Sprintf("%s: %v", filepath.Clean(path), err)
}
