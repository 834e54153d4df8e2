package github

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/stanch-dev/stanch/checks/git"
)

// FetchBlobs brings files by their ids; it is a git.Fetcher. Files that the
// server does not have are left out without an error, as long as they are few.
func (m *Mirror) FetchBlobs(ctx context.Context, oids []string) error {
	for batch := range slices.Chunk(oids, fetchBatch) {
		if err := m.fetchBatch(ctx, slices.Clone(batch)); err != nil {
			return fmt.Errorf("fetch %d files from %s: %w", len(batch), m.origin, err)
		}
	}
	return nil
}

// fetchBatch fetches ids. The server refuses a request for the sake of one
// missing object, so that one is taken out and the others are asked for again.
func (m *Mirror) fetchBatch(ctx context.Context, ids []string) error {
	for range maxRetries {
		if len(ids) == 0 {
			return nil
		}
		err := m.fetch(ctx, "", ids...)
		var refused *git.CommandError
		if err == nil || !errors.Is(err, ErrMissing) || !errors.As(err, &refused) {
			return err
		}
		left := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == refusedObject(refused.Stderr) })
		if len(left) == len(ids) {
			return err
		}
		ids = left
	}
	return fmt.Errorf("more than %d files of a batch: %w", maxRetries, ErrMissing)
}

// refusedObject finds the id in upload-pack's refusal.
func refusedObject(stderr string) string {
	m := regexp.MustCompile(`not our ref ([0-9a-f]+)`).FindStringSubmatch(stderr)
	if m == nil {
		return ""
	}
	return m[1]
}
