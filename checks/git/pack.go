package git

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"
)

// The kinds of a pack's entries (gitformat-pack(5)).
const (
	entryCommit   = 1
	entryTree     = 2
	entryBlob     = 3
	entryTag      = 4
	entryOfsDelta = 6
	entryRefDelta = 7
)

// kindNames are the names that git gives to the kinds of objects.
var kindNames = map[byte]string{entryCommit: "commit", entryTree: "tree", entryBlob: "blob", entryTag: "tag"}

// A pack is a pack file with its index: which objects it holds, and which are
// stored as differences from which. Entries are numbered in the order of their
// offsets.
type pack struct {
	file    *os.File
	index   *os.File
	whole   []byte   // the pack, when it is small
	hash    int      // bytes of an object's name
	offsets []int64  // entry → where it begins; one more is where the last one ends
	names   []uint32 // entry → its place in the index's sorted list of names
	kinds   []byte   // entry → its kind; for differences that of what they lead to
	deltas  []bool   // entry → it is a difference
	child   []int32  // entry → the first of those that differ from it, or -1
	sibling []int32  // entry → the next one that differs from the same, or -1
	fanout  [256]uint32
}

const (
	packHeader = 12 // "PACK", version, number of entries
	idxHeader  = 8  // magic, version
	idxFanout  = 4 * 256
	// maxWholePack is the size up to which a pack is read at once. Objects that differ
	// from each other are all over it.
	maxWholePack = 16 << 20
	// maxEntryHeader is enough for a size of 64 bits, and an offset or a name.
	maxEntryHeader = 10 + 32
)

// openPack opens the pack whose index is at path.
func openPack(path, format string) (*pack, error) {
	p := &pack{hash: 20}
	if format == "sha256" {
		p.hash = 32
	}
	var err error
	if p.index, err = os.Open(path); err != nil {
		return nil, err
	}
	if p.file, err = os.Open(strings.TrimSuffix(path, ".idx") + ".pack"); err != nil {
		return nil, errors.Join(err, p.index.Close())
	}
	for _, read := range []func() error{p.readIndex, p.readWhole, p.readHeaders} {
		if err := read(); err != nil {
			return nil, errors.Join(fmt.Errorf("read pack %s: %w", path, err), p.Close())
		}
	}
	return p, nil
}

// Close closes the pack's files.
func (p *pack) Close() error { return errors.Join(p.file.Close(), p.index.Close()) }

// readIndex reads an index of version 2: where each entry begins.
func (p *pack) readIndex() error {
	info, err := p.index.Stat()
	if err != nil {
		return err
	}
	var head [idxHeader + idxFanout]byte
	if _, err := p.index.ReadAt(head[:], 0); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if string(head[:8]) != "\xfftOc\x00\x00\x00\x02" {
		return errors.New("the index is not of version 2")
	}
	for i := range p.fanout {
		p.fanout[i] = binary.BigEndian.Uint32(head[idxHeader+4*i:])
		if i > 0 && p.fanout[i] < p.fanout[i-1] {
			return errors.New("the index is not sorted")
		}
	}
	n := int64(p.fanout[255])
	if least := idxHeader + idxFanout + n*int64(p.hash+8) + 2*int64(p.hash); info.Size() < least {
		return fmt.Errorf("the index has %d bytes, too few for %d objects", info.Size(), n)
	}
	packInfo, err := p.file.Stat()
	if err != nil {
		return err
	}
	small := make([]byte, 4*n)
	at := idxHeader + idxFanout + n*int64(p.hash+4)
	if _, err := p.index.ReadAt(small, at); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	end := packInfo.Size() - int64(p.hash)
	if end < packHeader {
		return fmt.Errorf("the pack has %d bytes, too few for a pack", packInfo.Size())
	}
	p.offsets = make([]int64, n+1)
	p.names = make([]uint32, n)
	byIndex := make([]int64, n)
	for i := range byIndex {
		offset := int64(binary.BigEndian.Uint32(small[4*i:]))
		if offset >= 1<<31 { // a place in the table of large offsets
			var large [8]byte
			if _, err := p.index.ReadAt(large[:], at+4*n+(offset-1<<31)*8); err != nil {
				return fmt.Errorf("index: %w", err)
			}
			offset = int64(binary.BigEndian.Uint64(large[:]))
		}
		if offset < packHeader || offset >= end {
			return fmt.Errorf("the index has an object at %d, which is outside of the pack", offset)
		}
		byIndex[i] = offset
		p.names[i] = uint32(i)
	}
	slices.SortFunc(p.names, func(a, b uint32) int { return int(min(1, max(-1, byIndex[a]-byIndex[b]))) })
	for entry, i := range p.names {
		p.offsets[entry] = byIndex[i]
	}
	p.offsets[n] = end
	return nil
}

// readWhole reads a small pack at once.
func (p *pack) readWhole() error {
	end := p.offsets[len(p.names)]
	if end > maxWholePack {
		return nil
	}
	p.whole = make([]byte, end)
	_, err := p.file.ReadAt(p.whole, 0)
	return err
}

// read returns so many bytes of the pack, good until buffer is used again.
func (p *pack) read(buffer *[]byte, offset, length int64) ([]byte, error) {
	if p.whole != nil {
		return p.whole[offset : offset+length], nil
	}
	if int64(cap(*buffer)) < length {
		*buffer = make([]byte, length+length/8)
	}
	data := (*buffer)[:length]
	_, err := p.file.ReadAt(data, offset)
	return data, err
}

// readHeaders finds the kind of each entry, and what each difference is from.
func (p *pack) readHeaders() error {
	n := len(p.names)
	p.kinds, p.deltas = make([]byte, n), make([]bool, n)
	p.child, p.sibling = make([]int32, n), make([]int32, n)
	for i := range n {
		p.child[i], p.sibling[i] = -1, -1
	}
	var window []byte // the pack's bytes from start on
	start := int64(0)
	if window = p.whole; window == nil {
		window = make([]byte, 0, 256<<10)
	}
	for i := range n {
		at := p.offsets[i]
		if p.whole == nil && (at < start || at+maxEntryHeader > start+int64(len(window))) {
			got, err := p.file.ReadAt(window[:cap(window)], at)
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			start, window = at, window[:got]
		}
		h, err := parseEntryHeader(window[at-start:], p.hash)
		if err != nil {
			return fmt.Errorf("object at %d: %w", at, err)
		}
		p.kinds[i] = h.kind
		if h.kind < entryOfsDelta {
			continue
		}
		base, ok := p.base(h, at)
		if !ok || base == i {
			return fmt.Errorf("object at %d: what it differs from is not in the pack", at)
		}
		p.deltas[i] = true
		p.sibling[i], p.child[base] = p.child[base], int32(i)
	}
	return nil
}

// base finds the entry that a difference at an offset is from.
func (p *pack) base(h entryHeader, at int64) (int, bool) {
	if h.kind == entryRefDelta {
		return p.find(h.name)
	}
	return p.entryAt(at - h.back)
}

// entryAt finds the entry that begins at an offset.
func (p *pack) entryAt(offset int64) (int, bool) {
	return slices.BinarySearch(p.offsets[:len(p.names)], offset)
}

// An entryHeader is what an entry begins with.
type entryHeader struct {
	kind byte
	size int64  // of what is compressed
	back int64  // how far before it the base begins
	name []byte // of the base
	len  int    // of the header
}

// parseEntryHeader reads an entry's header.
func parseEntryHeader(data []byte, hash int) (h entryHeader, err error) {
	short := errors.New("its header is cut off")
	if len(data) == 0 {
		return h, short
	}
	b := data[0]
	h.kind, h.size, h.len = b>>4&7, int64(b&15), 1
	for shift := 4; b&0x80 != 0; shift += 7 {
		if h.len == len(data) || shift > 56 {
			return h, short
		}
		b = data[h.len]
		h.size |= int64(b&0x7f) << shift
		h.len++
	}
	switch h.kind {
	case entryCommit, entryTree, entryBlob, entryTag:
	case entryOfsDelta:
		for first := true; ; first = false {
			if h.len == len(data) || h.back > 1<<55 {
				return h, short
			}
			b = data[h.len]
			h.len++
			if !first {
				h.back++
			}
			h.back = h.back<<7 | int64(b&0x7f)
			if b&0x80 == 0 {
				break
			}
		}
	case entryRefDelta:
		if len(data) < h.len+hash {
			return h, short
		}
		h.name = data[h.len : h.len+hash]
		h.len += hash
	default:
		return h, fmt.Errorf("its kind is %d, which git does not have", h.kind)
	}
	if h.size < 0 {
		return h, errors.New("its size is negative")
	}
	return h, nil
}

// find returns the entry of a name.
func (p *pack) find(name []byte) (int, bool) {
	low := uint32(0)
	if name[0] > 0 {
		low = p.fanout[name[0]-1]
	}
	n := int(p.fanout[name[0]] - low)
	i := low + uint32(sort.Search(n, func(i int) bool {
		id, err := p.nameAt(low + uint32(i))
		return err == nil && string(id.sum[:id.size]) >= string(name)
	}))
	id, err := p.nameAt(i)
	if i >= p.fanout[name[0]] || err != nil || string(id.sum[:id.size]) != string(name) {
		return 0, false
	}
	large := p.offsetAt(i)
	return p.entryAt(large)
}

// offsetAt returns the offset of the i-th name of the index, or -1.
func (p *pack) offsetAt(i uint32) int64 {
	n := int64(len(p.names))
	at := idxHeader + idxFanout + n*int64(p.hash+4)
	var word [8]byte
	if _, err := p.index.ReadAt(word[:4], at+4*int64(i)); err != nil {
		return -1
	}
	offset := int64(binary.BigEndian.Uint32(word[:4]))
	if offset < 1<<31 {
		return offset
	}
	if _, err := p.index.ReadAt(word[:], at+4*n+(offset-1<<31)*8); err != nil {
		return -1
	}
	return int64(binary.BigEndian.Uint64(word[:]))
}

// nameAt returns the i-th name of the index.
func (p *pack) nameAt(i uint32) (objectID, error) {
	id := objectID{size: uint8(p.hash)}
	_, err := p.index.ReadAt(id.sum[:p.hash], idxHeader+idxFanout+int64(i)*int64(p.hash))
	return id, err
}

// name returns the name of an entry.
func (p *pack) name(entry int) (objectID, error) { return p.nameAt(p.names[entry]) }

// has reports whether the pack holds an object.
func (p *pack) has(id objectID) bool {
	_, ok := p.find(id.sum[:id.size])
	return ok
}
