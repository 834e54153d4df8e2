package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zlib"
	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/checks"
)

// A store is all object folders of a repository, read without git: each object is
// unpacked once, what it differs from before it, on all processors.
type store struct {
	folders []string
	packs   []*pack
	format  string
}

const (
	// maxAlternates bounds how many object folders lead to further ones.
	maxAlternates = 32
	// maxWhole is the size from which an object is not unpacked in memory: git
	// itself brings it, piece by piece.
	maxWhole = 8 << 20
	// maxPath is how many bytes of objects that others differ from one worker keeps.
	// What needs more than that is brought by git.
	maxPath = 12 << 20
)

// openStore opens the packs of an object folder and of its alternates.
func openStore(objects, format string) (*store, error) {
	s := &store{format: format}
	if err := s.addFolder(objects); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	for _, folder := range s.folders {
		indexes, err := filepath.Glob(filepath.Join(escapeGlob(folder), "pack", "*.idx"))
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		for _, index := range indexes {
			p, err := openPack(index, format)
			if err != nil {
				return nil, errors.Join(err, s.Close())
			}
			s.packs = append(s.packs, p)
		}
	}
	return s, nil
}

// escapeGlob escapes what filepath.Glob takes for a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// addFolder adds an object folder and those that it names (gitrepository-layout(5),
// objects/info/alternates).
func (s *store) addFolder(folder string) error {
	folder = filepath.Clean(folder)
	for _, known := range s.folders {
		if known == folder {
			return nil
		}
	}
	if len(s.folders) == maxAlternates {
		return fmt.Errorf("%s borrows objects from more than %d folders", s.folders[0], maxAlternates)
	}
	s.folders = append(s.folders, folder)
	list, err := os.ReadFile(filepath.Join(folder, "info", "alternates"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if !filepath.IsAbs(line) {
			line = filepath.Join(folder, line)
		}
		if err := s.addFolder(line); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the packs.
func (s *store) Close() error {
	var err error
	for _, p := range s.packs {
		err = errors.Join(err, p.Close())
	}
	return err
}

// A named is an object whose name is read only when somebody asks for it.
type named struct {
	pack  *pack
	entry int
	loose objectID // when no pack has it
}

func (o named) id() (objectID, error) {
	if o.pack == nil {
		return o.loose, nil
	}
	return o.pack.name(o.entry)
}

// A visit is what is called for each object that may hold text: files, commits and
// tags. data is nil where git must bring the object, because it is large or could
// not be read here; else it is good until the visit returns. It reports whether data
// is quiet, as Scanner.Holds has it; changed is where data differs from an object that
// was, and nil when it is stored as no such difference. Visits come from several
// goroutines.
type visit func(object named, kind string, data []byte, changed []checks.Span) (quiet bool, err error)

// each visits every object once. said is told how many entries are dealt with.
func (s *store) each(ctx context.Context, got visit, said func(done int)) error {
	for n, p := range s.packs {
		if err := s.eachPacked(ctx, n, p, got, said); err != nil {
			return err
		}
	}
	return s.eachLoose(ctx, got)
}

// elsewhere reports whether one of the packs before the n-th holds the object.
func (s *store) elsewhere(n int, id objectID) bool {
	for _, p := range s.packs[:n] {
		if p.has(id) {
			return true
		}
	}
	return false
}

// eachPacked visits the objects of the n-th pack. A worker takes some entries that
// are no differences, and deals with all that differ from them.
func (s *store) eachPacked(ctx context.Context, n int, p *pack, got visit, said func(int)) error {
	const batch = 64
	var next, dealt atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			w := &unpacker{pack: p, visit: func(entry int, kind byte, data []byte, changed []checks.Span) (bool, error) {
				object := named{pack: p, entry: entry}
				if n > 0 {
					id, err := object.id()
					if err != nil || s.elsewhere(n, id) {
						return false, err
					}
				}
				return got(object, kindNames[kind], data, changed)
			}}
			for {
				from := int(next.Add(batch)) - batch
				if from >= len(p.names) {
					return nil
				}
				before := w.dealt
				for entry := from; entry < min(from+batch, len(p.names)); entry++ {
					if p.deltas[entry] {
						continue
					}
					if ctx.Err() != nil {
						return context.Cause(ctx)
					}
					if err := w.unpack(entry); err != nil {
						return err
					}
				}
				dealt.Add(int64(w.dealt - before))
				said(w.dealt - before)
			}
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if missed := int64(len(p.names)) - dealt.Load(); missed != 0 {
		return fmt.Errorf("%d objects of pack %s differ from each other in a circle: they cannot be read", missed, filepath.Base(p.file.Name()))
	}
	return nil
}

// An unpacker unpacks entries of a pack with those that differ from them.
type unpacker struct {
	pack  *pack
	visit func(entry int, kind byte, data []byte, changed []checks.Span) (quiet bool, err error)
	dealt int // entries

	packed  []byte
	reader  io.ReadCloser // zlib
	source  bytes.Reader
	delta   []byte
	changed []checks.Span // where the object that was made of delta differs
	objects [][]byte      // by depth: the object there, whose memory is used again
	quiet   []bool        // by depth: that object is
	held    int           // bytes of objects
}

// A step is an entry that waits for what it differs from, which is at depth−1.
type step struct {
	entry, depth int
	lost         bool // what it differs from is not at hand
}

// unpack visits an entry that is no difference, and all that lead back to it.
func (w *unpacker) unpack(entry int) error {
	kind := w.pack.kinds[entry]
	todo := []step{{entry: entry}}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		w.dealt++
		lost := at.lost
		if kind != entryTree {
			ok := !lost && w.bring(at)
			if err := w.show(at, kind, ok); err != nil {
				return err
			}
			lost = !ok
		}
		for child := w.pack.child[at.entry]; child >= 0; child = w.pack.sibling[child] {
			todo = append(todo, step{int(child), at.depth + 1, lost})
		}
	}
	return nil
}

// show visits an entry, with its object if that is at hand.
func (w *unpacker) show(at step, kind byte, there bool) error {
	if !there {
		_, err := w.visit(at.entry, kind, nil, nil)
		return err
	}
	data := w.objects[at.depth]
	if data == nil {
		data = []byte{}
	}
	var changed []checks.Span
	if at.depth > 0 && w.quiet[at.depth-1] {
		changed = w.changed
	}
	var err error
	w.quiet[at.depth], err = w.visit(at.entry, kind, data, changed)
	return err
}

// bring puts an entry's object into w.objects[depth]. It reports false when that
// would take too much memory or the entry cannot be read.
func (w *unpacker) bring(at step) bool {
	for len(w.objects) <= at.depth {
		w.objects, w.quiet = append(w.objects, nil), append(w.quiet, false)
	}
	if w.held > maxPath { // what is deeper is of another branch
		for depth := at.depth; depth < len(w.objects); depth++ {
			w.held -= cap(w.objects[depth])
			w.objects[depth] = nil
		}
	}
	before := cap(w.objects[at.depth])
	data, err := w.object(at)
	if err != nil {
		return false
	}
	w.objects[at.depth] = data
	w.held += cap(data) - before
	return true
}

var errTooLarge = errors.New("too large to be held")

// object unpacks an entry in the memory of its depth.
func (w *unpacker) object(at step) ([]byte, error) {
	out := w.objects[at.depth][:0]
	if !w.pack.deltas[at.entry] {
		return w.inflate(out, at.entry)
	}
	var err error
	if w.delta, err = w.inflate(w.delta[:0], at.entry); err != nil {
		return nil, err
	}
	base := w.objects[at.depth-1]
	from, to, instructions, err := deltaSizes(w.delta)
	if err != nil || from != int64(len(base)) {
		return nil, errDelta
	}
	if to > maxWhole || w.held+int(to) > 2*maxPath {
		return nil, errTooLarge
	}
	if cap(out) < int(to) {
		out = make([]byte, 0, int(to)+int(to)/8)
	}
	if w.changed == nil {
		w.changed = make([]checks.Span, 0, 64)
	}
	out, w.changed, err = applyDelta(out, base, instructions, to, w.changed[:0])
	return out, err
}

// inflate appends to out what is compressed in an entry.
func (w *unpacker) inflate(out []byte, entry int) ([]byte, error) {
	p := w.pack
	length := p.offsets[entry+1] - p.offsets[entry]
	if length > maxWhole+maxWhole/8 {
		return nil, errTooLarge
	}
	packed, err := p.read(&w.packed, p.offsets[entry], length)
	if err != nil {
		return nil, err
	}
	h, err := parseEntryHeader(packed, p.hash)
	if err != nil {
		return nil, err
	}
	if h.size > maxWhole {
		return nil, errTooLarge
	}
	if cap(out) < int(h.size) {
		out = make([]byte, 0, int(h.size)+int(h.size)/8)
	}
	w.source.Reset(packed[h.len:])
	if w.reader == nil {
		w.reader, err = zlib.NewReader(&w.source)
	} else {
		err = w.reader.(zlib.Resetter).Reset(&w.source, nil)
	}
	if err != nil {
		return nil, err
	}
	out = out[:h.size]
	if _, err := io.ReadFull(w.reader, out); err != nil {
		return nil, err
	}
	var more [1]byte
	if n, err := w.reader.Read(more[:]); n != 0 || !errors.Is(err, io.EOF) {
		return nil, errors.New("it is longer than it says, or damaged")
	}
	return out, nil
}

// eachLoose visits the objects that are files of their own.
func (s *store) eachLoose(ctx context.Context, got visit) error {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, folder := range s.folders {
		for i := range 256 {
			prefix := fmt.Sprintf("%02x", i)
			files, err := os.ReadDir(filepath.Join(folder, prefix))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return errors.Join(err, group.Wait())
			}
			group.Go(func() error {
				buffer := buffers.Get().(*bytes.Buffer)
				defer buffers.Put(buffer)
				for _, file := range files {
					id, err := parseObjectID(prefix + file.Name())
					if err != nil || s.elsewhere(len(s.packs), id) {
						continue // a temporary file, or an object that was visited
					}
					if ctx.Err() != nil {
						return context.Cause(ctx)
					}
					kind, data := readLoose(filepath.Join(folder, prefix, file.Name()), buffer)
					if kind == "tree" {
						continue
					}
					if _, err := got(named{loose: id}, kind, data, nil); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	return group.Wait()
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// readLoose reads an object that is a file of its own: compressed, its kind, its
// size, and its content. data is nil when it is large or cannot be read; kind is
// then what could be read of it.
func readLoose(path string, buffer *bytes.Buffer) (kind string, data []byte) {
	file, err := os.Open(path)
	if err != nil {
		return "", nil
	}
	defer file.Close()
	z, err := zlib.NewReader(bufio.NewReader(file))
	if err != nil {
		return "", nil
	}
	defer z.Close()
	r := bufio.NewReader(z)
	header, err := r.ReadSlice(0)
	if err != nil {
		return "", nil
	}
	kind, length, _ := strings.Cut(string(header[:len(header)-1]), " ")
	size, err := strconv.ParseInt(length, 10, 64)
	if err != nil || size < 0 || size > maxWhole || kind == "tree" {
		return kind, nil
	}
	buffer.Reset()
	if n, err := buffer.ReadFrom(io.LimitReader(r, size+1)); err != nil || n != size {
		return kind, nil
	}
	if size == 0 {
		return kind, []byte{}
	}
	return kind, buffer.Bytes()
}
