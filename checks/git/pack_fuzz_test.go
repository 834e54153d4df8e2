package git

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stanch-dev/stanch/checks"

	"github.com/klauspost/compress/zlib"
)

// deflated is data as zlib packs it.
func deflated(data []byte) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

// packed makes a pack of entries, and its index (gitformat-pack(5)). The names are
// made up: nobody checks them.
func packed(entries [][]byte) (pack, index []byte) {
	pack = binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(entries)))
	type object struct {
		name   [20]byte
		crc    uint32
		offset uint32
	}
	var objects []object
	for i, e := range entries {
		objects = append(objects, object{madeUp(i), crc32.ChecksumIEEE(e), uint32(len(pack))})
		pack = append(pack, e...)
	}
	slices.SortFunc(objects, func(a, b object) int { return bytes.Compare(a.name[:], b.name[:]) })
	sum := sha1.Sum(pack)
	pack = append(pack, sum[:]...)

	index = []byte("\xfftOc\x00\x00\x00\x02")
	for first := range 256 {
		n := 0
		for _, o := range objects {
			if int(o.name[0]) <= first {
				n++
			}
		}
		index = binary.BigEndian.AppendUint32(index, uint32(n))
	}
	for _, o := range objects {
		index = append(index, o.name[:]...)
	}
	for _, o := range objects {
		index = binary.BigEndian.AppendUint32(index, o.crc)
	}
	for _, o := range objects {
		index = binary.BigEndian.AppendUint32(index, o.offset)
	}
	return pack, append(append(index, sum[:]...), make([]byte, 20)...)
}

// madeUp is the name of the i-th entry.
func madeUp(i int) [20]byte { return sha1.Sum([]byte{byte(i)}) }

// small is the header of an entry whose size is below 2048, and what follows it.
func small(kind byte, size int, rest ...byte) []byte {
	return append([]byte{0x80 | kind<<4 | byte(size&15), byte(size >> 4)}, rest...)
}

// samplePack has a file, one that differs from it by its distance, one by its name,
// and a commit.
func samplePack() (pack, index []byte) {
	text := []byte("the first file\n")
	grow := append([]byte{byte(len(text)), byte(len(text) + 4), 0x90, byte(len(text)), 4}, "more"...)
	file := append(small(entryBlob, len(text)), deflated(text)...)
	name := madeUp(0)
	return packed([][]byte{
		file,
		append(small(entryOfsDelta, len(grow), byte(len(file))), deflated(grow)...),
		append(append(small(entryRefDelta, len(grow)), name[:]...), deflated(grow)...),
		append(small(entryCommit, 4), deflated([]byte("tree"))...),
	})
}

// readPacked reads all objects of a pack and of one loose file, as history does.
func readPacked(t testing.TB, pack, index, loose []byte) (seen map[string]int, err error) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string][]byte{"pack/pack-1.pack": pack, "pack/pack-1.idx": index, "ab/" + rawID("c")[2:]: loose} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	store, err := openStore(dir, "sha1")
	if err != nil {
		return nil, err
	}
	type sight struct {
		kind string
		data []byte
	}
	sights := make(chan sight)
	done := make(chan error, 1)
	go func() {
		done <- errors.Join(store.each(context.Background(), func(_ named, kind string, data []byte, _ []checks.Span) (bool, error) {
			sights <- sight{kind, slices.Clone(data)}
			return true, nil
		}, func(int) {}), store.Close())
		close(sights)
	}()
	seen = make(map[string]int)
	for s := range sights {
		if len(s.data) > maxWhole {
			t.Errorf("%d bytes of an object are in memory", len(s.data))
		}
		seen[s.kind+" "+string(s.data)]++
	}
	return seen, <-done
}

func TestReadPacked(t *testing.T) {
	pack, index := samplePack()
	seen, err := readPacked(t, pack, index, deflated([]byte("blob 5\x00loose")))
	for _, want := range []string{"blob the first file\n", "blob the first file\nmore", "commit tree", "blob loose"} {
		if seen[want] == 0 || len(seen) != 4 {
			t.Errorf("%q is not among what was read: %v", want, seen)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// FuzzPack reads hostile packs with hostile indexes, and hostile loose objects.
func FuzzPack(f *testing.F) {
	pack, index := samplePack()
	f.Add(pack, index, deflated([]byte("blob 5\x00loose")))
	f.Add(pack, index, []byte{})
	empty, none := packed(nil)
	f.Add(empty, none, deflated([]byte("commit 999999999999\x00")))
	f.Add(empty[:4], none, []byte{})
	f.Add([]byte{}, none, []byte{})
	f.Fuzz(func(t *testing.T, pack, index, loose []byte) { readPacked(t, pack, index, loose) })
}

// FuzzPackEntry packs hostile entries well: what is fuzzed is behind the index.
func FuzzPackEntry(f *testing.F) {
	f.Add(byte(entryBlob), byte(4), []byte("text"), byte(entryOfsDelta), byte(12), []byte("\x04\x05\x90\x04\x01x"))
	f.Add(byte(entryTag), byte(0), []byte{}, byte(entryRefDelta), byte(0), []byte("\x00\x00"))
	f.Fuzz(func(t *testing.T, kind, size byte, content []byte, kind2, back byte, content2 []byte) {
		name := madeUp(int(back & 3))
		second := small(kind2&7, len(content2)&2047)
		switch kind2 & 7 {
		case entryOfsDelta:
			second = append(second, back&0x7f)
		case entryRefDelta:
			second = append(second, name[:]...)
		}
		pack, index := packed([][]byte{
			append(small(kind&7, len(content)&2047), deflated(content)...),
			append(second, deflated(content2)...),
			append(small(entryBlob, int(size)), deflated(content)...),
		})
		readPacked(t, pack, index, nil)
	})
}

// FuzzDelta applies hostile differences: what comes out has the size that they say,
// and between its changes stands what stood together in the base.
func FuzzDelta(f *testing.F) {
	f.Add([]byte("base"), []byte("\x04\x05\x90\x04\x01x"))
	f.Add([]byte("base"), []byte("\x04\x84\x00\x91\x00\x04"))
	f.Add([]byte("a base"), []byte("\x06\x04\x91\x02\x04")) // without its beginning
	f.Fuzz(func(t *testing.T, base, delta []byte) {
		from, to, instructions, err := deltaSizes(delta)
		if err != nil || from != int64(len(base)) || to > 1<<20 {
			return
		}
		before := slices.Clone(base)
		out, changed, err := applyDelta([]byte("kept"), base, instructions, to, nil)
		if err == nil && int64(len(out)) != to+4 || int64(len(out)) > to+4 || !bytes.HasPrefix(out, []byte("kept")) {
			t.Errorf("%d bytes, want %d, error %v", len(out), to, err)
		}
		if !bytes.Equal(base, before) {
			t.Error("the base was changed")
		}
		if err != nil {
			return
		}
		at, out := 0, out[len("kept"):]
		for i, c := range append(changed, checks.Span{Start: len(out), End: len(out)}) {
			same := out[at:c.Start]
			if !bytes.Contains(base, same) || i == 0 && !bytes.HasPrefix(base, same) || c.Start == len(out) && len(changed) == 0 && !bytes.Equal(base, out) {
				t.Errorf("%q, which is said to be in %q, between %v", same, base, changed)
			}
			at = c.End
		}
	})
}

// FuzzEntryHeader reads hostile headers: none is longer than there are bytes.
func FuzzEntryHeader(f *testing.F) {
	f.Add([]byte("\x95\x0aabc"), false)
	f.Add(append([]byte("\xf5\x0a"), make([]byte, 32)...), true)
	f.Fuzz(func(t *testing.T, data []byte, long bool) {
		hash := 20
		if long {
			hash = 32
		}
		h, err := parseEntryHeader(data, hash)
		if err == nil && (h.len > len(data) || h.len > maxEntryHeader || h.size < 0 || h.back < 0) {
			t.Errorf("%+v", h)
		}
	})
}
