package git

import (
	"bytes"
	"errors"

	"github.com/stanch-dev/stanch/checks"
)

const (
	// maxPointer is the size of the biggest pointer of Git LFS (its specification,
	// docs/spec.md: "must be smaller than 1024 bytes").
	maxPointer = 1024
	// maxElsewhere is how many submodules are listed.
	maxElsewhere = 100
)

// pointerVersions begin the pointers of Git LFS: the first line of its specification's
// present version, and of the one before it.
var pointerVersions = [][]byte{
	[]byte("version https://git-lfs.github.com/spec/v1\n"),
	[]byte("version https://hawser.github.com/spec/v1\n"),
}

// errPointer is why a pointer of Git LFS is not all that was pushed.
var errPointer = errors.New("it is a pointer of Git LFS; the file that it stands for is kept outside of the repository and was not scanned")

// isPointer reports whether a file stands for one that Git LFS keeps outside of the
// repository.
func isPointer(data []byte) bool {
	if len(data) >= maxPointer || !bytes.Contains(data, []byte("\noid sha256:")) {
		return false
	}
	for _, version := range pointerVersions {
		if bytes.HasPrefix(data, version) {
			return true
		}
	}
	return false
}

// notePointers lists the submodules that a commit brings or moves.
func (s *scan) notePointers(commit objectID, entries []entry) {
	for _, e := range entries {
		if e.mode == modeGitlink && len(s.coverage.Elsewhere) < maxElsewhere {
			s.coverage.Elsewhere = append(s.coverage.Elsewhere, checks.Skip{Commit: commit.String(), Path: s.scanner.Hide(e.path), Reason: "a submodule"})
		}
	}
}
