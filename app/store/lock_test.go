package store

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestLockIsGivenUp opens a database again and again while programs are started, which
// have the process's files for a moment.
func TestLockIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stanch.db.lock")
	for range 100 {
		started := make(chan error, 1)
		go func() { started <- exec.Command("git", "version").Run() }()
		for done := false; !done; {
			unlock, err := Lock(path)
			if err != nil {
				t.Fatal(err)
			}
			if other, err := Lock(path); err == nil {
				other()
				t.Fatal("two have the lock")
			}
			unlock()
			select {
			case err := <-started:
				if done = true; err != nil {
					t.Fatal(err)
				}
			default:
			}
		}
	}
}
