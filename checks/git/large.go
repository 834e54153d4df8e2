package git

import (
	"context"
	"errors"
	"io"
)

// withoutCleanLarge leaves out the large blobs that hold nothing. They are scanned
// as they stream by: only those that hold something are worth their memory, which
// tells them from the versions before.
func (s *scan) withoutCleanLarge(ctx context.Context, places []place, objects map[objectID]object) ([]place, error) {
	var kept, large []place
	var ids []objectID
	for _, p := range places {
		if objects[p.blob].size <= maxWhole {
			kept = append(kept, p)
			continue
		}
		large = append(large, p)
		ids = append(ids, p.blob)
	}
	next := 0
	err := s.view.read(ctx, ids, func(_ objectID, _ int64, r io.Reader) error {
		p := large[next]
		next++
		if s.holds(p.path, r) {
			kept = append(kept, p)
		}
		_, err := io.Copy(io.Discard, r)
		return errors.Join(err, context.Cause(ctx))
	})
	return kept, err
}

// holds reports whether something is found in what r gives, or not all of it could
// be looked at.
func (s *scan) holds(path string, r io.Reader) bool {
	for range s.scanner.Scan(path, r) {
		return true
	}
	return false
}

// room is memory for a file's content. Files that are alone in memory share it, so
// that no garbage of their size is left.
func (s *scan) room(size int64) []byte {
	if size < maxInFlight {
		return make([]byte, size)
	}
	if s.large == nil {
		s.large = make([]byte, MaxBlob)
	}
	return s.large[:size]
}
