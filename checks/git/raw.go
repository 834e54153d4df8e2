package git

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

const (
	// maxToken is the longest path that is read. File systems end at 4096 bytes; a
	// tree object may name more, and a path beyond this fails the scan.
	maxToken = 1 << 20

	modeAbsent  = 0
	modeGitlink = 0o160000 // a submodule's commit: not an object of this repository
)

// An objectID is the name of an object, SHA-1 or SHA-256.
type objectID struct {
	sum  [32]byte
	size uint8
}

// parseObjectID reads the hexadecimal form.
func parseObjectID[T string | []byte](text T) (objectID, error) {
	var id objectID
	if len(text) != 40 && len(text) != 64 {
		return id, fmt.Errorf("%q, which is not an object id", trim(string(text)))
	}
	n, err := hex.Decode(id.sum[:], []byte(text))
	if err != nil {
		return id, fmt.Errorf("%q, which is not an object id", trim(string(text)))
	}
	id.size = uint8(n)
	return id, nil
}

// trim keeps messages about strange output short.
func trim(s string) string { return s[:min(len(s), 80)] }

func (id objectID) String() string { return hex.EncodeToString(id.sum[:id.size]) }

// none reports whether id is the all-zero id, which stands for no object.
func (id objectID) none() bool { return id.sum == [32]byte{} }

// An entry is one path of one commit that differs from all of the commit's
// parents, as git diff-tree reports it.
type entry struct {
	path    string
	mode    uint32
	blob    objectID   // the zero id when the path is gone
	parents []objectID // the path's blob in each parent, the zero id where it has none
}

// parseRaw reads the output of git diff-tree --stdin --always -c --raw -z: for
// each commit its id, then its entries. emit is called once for each commit, also
// for one without entries.
func parseRaw(r *bufio.Reader, emit func(commit objectID, entries []entry) error) error {
	var commit objectID
	var entries []entry
	for {
		token, err := readToken(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if token[0] == ':' {
			if commit.size == 0 {
				return errors.New("git diff-tree: a path before any commit")
			}
			e, err := parseEntry(token, r)
			if err != nil {
				return fmt.Errorf("git diff-tree: commit %s: %w", commit, err)
			}
			entries = append(entries, e)
			continue
		}
		if commit.size != 0 {
			if err := emit(commit, entries); err != nil {
				return err
			}
		}
		entries = nil
		if commit, err = parseObjectID(token); err != nil {
			return fmt.Errorf("git diff-tree: answered with %w", err)
		}
	}
	if commit.size == 0 {
		return nil
	}
	return emit(commit, entries)
}

// parseEntry reads an entry whose first token is record:
//
//	:100644 100644 OLD NEW M NUL path NUL
//
// and for a merge of n parents n colons, n+1 modes, n+1 ids and n letters.
func parseEntry(record []byte, r *bufio.Reader) (entry, error) {
	parents := len(record) - len(bytes.TrimLeft(record, ":"))
	fields := bytes.Split(record[parents:], []byte(" "))
	if len(fields) != 2*(parents+1)+1 || len(fields[len(fields)-1]) == 0 {
		return entry{}, fmt.Errorf("cannot read the record %q", trim(string(record)))
	}
	modes := make([]uint32, parents+1)
	ids := make([]objectID, parents+1)
	for i := range modes {
		mode, err := strconv.ParseUint(string(fields[i]), 8, 32)
		if err != nil {
			return entry{}, fmt.Errorf("cannot read the mode %q", trim(string(fields[i])))
		}
		id, err := parseObjectID(fields[parents+1+i])
		if err != nil {
			return entry{}, err
		}
		if mode == modeAbsent || mode == modeGitlink {
			id = objectID{size: id.size}
		}
		modes[i], ids[i] = uint32(mode), id
	}
	path, err := readToken(r)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return entry{path: string(path), mode: modes[parents], blob: ids[parents], parents: ids[:parents:parents]}, err
}

// readToken reads up to the next NUL, which it drops. It returns io.EOF only at
// the very end. The token is valid until the next read.
func readToken(r *bufio.Reader) ([]byte, error) {
	var long []byte
	for {
		part, err := r.ReadSlice(0)
		switch {
		case err == nil && long == nil && len(part) > 1:
			return part[:len(part)-1], nil
		case err == nil && len(long)+len(part) > 1:
			return append(long, part[:len(part)-1]...), nil
		case err == nil:
			return nil, errors.New("git diff-tree: an empty word")
		case errors.Is(err, io.EOF) && len(long)+len(part) > 0:
			return nil, fmt.Errorf("git diff-tree: output ends in a word: %w", io.ErrUnexpectedEOF)
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(long)+len(part) > maxToken:
			return nil, fmt.Errorf("git diff-tree: a path longer than %d bytes", maxToken)
		}
		long = append(long, part...)
	}
}

// A change is a blob that a commit brings to a path.
type change struct {
	commit objectID
	entry
	all []entry // of the commit
}

// newBlobs picks the entries that bring content which the commit's parents do
// not have at that path. A change of mode brings none, a submodule is a pointer
// to elsewhere, and a file that was only renamed was there before: each path at
// which the commit deletes some content pays for one at which it adds the same.
func newBlobs(commit objectID, entries []entry) []change {
	deleted := make(map[objectID]int)
	for _, e := range entries {
		if e.mode != modeAbsent {
			continue
		}
		for i, p := range e.parents {
			if !slices.Contains(e.parents[:i], p) {
				deleted[p]++
			}
		}
	}
	var changes []change
	for _, e := range entries {
		switch {
		case e.blob.none() || slices.Contains(e.parents, e.blob):
		case deleted[e.blob] > 0:
			deleted[e.blob]--
		default:
			changes = append(changes, change{commit, e, entries})
		}
	}
	return changes
}
