package checks_test

import (
	"bytes"
	"go/build"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// corpus returns about a megabyte of source code without a credential in it: the
// standard library's, which is wherever Go is.
func corpus(b *testing.B) []byte {
	b.Helper()
	files, err := filepath.Glob(filepath.Join(build.Default.GOROOT, "src/net/http/*.go"))
	if err != nil || len(files) == 0 {
		b.Skip("the standard library's source is not installed")
	}
	var all bytes.Buffer
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		if all.Write(data); all.Len() > 1<<20 {
			break
		}
	}
	return all.Bytes()
}

func BenchmarkScanSource(b *testing.B) {
	s, data := scanner(b), corpus(b)
	if found := scan(s, "file", data); len(found) != 0 {
		b.Fatalf("the corpus is not clean: %v", ids(found))
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		scan(s, "file", data)
	}
}

func BenchmarkScanBinary(b *testing.B) {
	s := scanner(b)
	data := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		scan(s, "file", data)
	}
}

// BenchmarkScanProse scans text without any keyword: what the table alone costs.
func BenchmarkScanProse(b *testing.B) {
	s := scanner(b)
	data := bytes.Repeat([]byte("The quick brown fox jumps over the lazy dog.\n"), 1<<20/45)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		scan(s, "file", data)
	}
}

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
