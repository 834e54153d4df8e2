//go:build !race

package checks_test

// Under the race detector sync.Pool forgets at random what is given back to it, and
// these would count that.

import (
	"bytes"
	"go/build"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/checks"
)

// TestCleanTextCostsNoAllocation scans code in which keywords stand and nothing that
// may be a credential: once all rules that it asks are ready, nothing is left to be
// made.
func TestCleanTextCostsNoAllocation(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(build.Default.GOROOT, "src/strings/*.go"))
	if err != nil || len(names) == 0 {
		t.Skip("the standard library's source is not installed")
	}
	s := scanner(t)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection takes away what is kept
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue // values that are made up are judged, which takes memory
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		examine := func() {
			if found, err := s.Examine("push.diff", data); len(found) > 0 || err != nil {
				t.Errorf("%s is not clean: %v, %v", name, ids(found), err)
			}
		}
		if n := testing.AllocsPerRun(200, examine); n > 0 {
			t.Errorf("%s: %v allocations", filepath.Base(name), n)
		}
	}
}

func TestChangesCostNoAllocation(t *testing.T) {
	s, f := scanner(t), newForger(t)
	data := bytes.Join(f.lines, nil)
	if _, quiet := s.Holds(data, nil); !quiet {
		t.Fatal("the text is not quiet")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection takes away what is kept
	changed := []checks.Span{{Start: 100, End: 100}, {Start: 20_000, End: 20_100}, {Start: len(data), End: len(data)}}
	look := func() {
		if holds, quiet := s.Holds(data, changed); holds || !quiet {
			t.Error("the changes are not quiet")
		}
	}
	if n := testing.AllocsPerRun(100, look); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
