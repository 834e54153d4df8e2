package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

func TestFingerprintKeyIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	var stderr bytes.Buffer
	env := &environment{stderr: &stderr, getenv: func(string) string { return "" }}
	keys := make([]string, 8)
	var group sync.WaitGroup
	for i := range keys {
		group.Go(func() {
			key, err := env.fingerprintKey()
			if err != nil {
				t.Error(err)
			}
			keys[i] = string(key)
		})
	}
	group.Wait()
	if len(slices.Compact(keys)) != 1 || len(keys[0]) != fingerprintKeySize {
		t.Error("programs that start together have different keys")
	}
	info, err := os.Stat(filepath.Join(dir, "stanch", "fingerprint.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v; want mode 0600", info, err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "stanch"))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files are left, want the key alone: %v", len(entries), err)
	}
}

func TestFingerprintKeyThatCannotBeKept(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", "relative/is/refused")
	var stderr bytes.Buffer
	env := &environment{stderr: &stderr, getenv: func(string) string { return "" }}
	key, err := env.fingerprintKey()
	if err != nil || len(key) != fingerprintKeySize {
		t.Fatalf("key of %d bytes, %v", len(key), err)
	}
	if !strings.Contains(stderr.String(), "for this run only") {
		t.Errorf("nobody is told: %q", stderr.String())
	}
}

func TestFingerprintKeyFileThatIsNone(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	path := filepath.Join(dir, "stanch", "fingerprint.key")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := &environment{stderr: io.Discard, getenv: func(string) string { return "" }}
	if _, err := env.fingerprintKey(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names %s", err, path)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	text := func(s string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
	}
	if err := writeFile(path, text("first")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a new report has %v, %v; want mode 0600", info, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(link, text("second")); err != nil {
		t.Fatal(err)
	}
	broken := func(w io.Writer) error { return fmt.Errorf("half of it: %w", io.ErrShortWrite) }
	if err := writeFile(path, broken); err == nil {
		t.Error("an error of the writer is lost")
	}
	content, err := os.ReadFile(path)
	if err != nil || string(content) != "second" {
		t.Errorf("the report is %q, %v; want the last whole one", content, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode became %v, %v; want what it was", info, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("%d files, want the report and the link: %v", len(entries), err)
	}
}

func TestWriteFileLeavesDevicesAlone(t *testing.T) {
	before, err := os.Stat(os.DevNull)
	if err != nil {
		t.Skip(err)
	}
	if err := writeFile(os.DevNull, func(w io.Writer) error { _, err := io.WriteString(w, "x"); return err }); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(os.DevNull); err != nil || !os.SameFile(before, after) {
		t.Fatalf("%s was replaced: %v", os.DevNull, err)
	}
}

func TestInterruptedScanIsNotClean(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	silent, _ := io.Pipe() // a terminal at which nobody types
	for _, args := range [][]string{{"scan", "."}, {"scan", "--stdin"}, {"scan", "--git", "HEAD"}} {
		var stdout, stderr bytes.Buffer
		code := run(ctx, args, silent, &stdout, &stderr, func(string) string { return "" })
		if code != exitFailed || stdout.Len() > 0 {
			t.Errorf("%v: exit status %d, %q; want %d and nothing", args, code, stdout.String(), exitFailed)
		}
	}
}

func TestComparePaths(t *testing.T) {
	paths := []string{"b", "a.txt", "a/z", "a/c/f", "a"}
	slices.SortFunc(paths, comparePaths)
	if diff := cmp.Diff([]string{"a", "a/c/f", "a/z", "a.txt", "b"}, paths); diff != "" {
		t.Error(diff)
	}
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"scan", "scan", 0}, {"scna", "scan", 1}, {"scn", "scan", 1}, {"", "abc", 3}, {"rules", "version", 6}} {
		if got := editDistance(test.a, test.b); got != test.want {
			t.Errorf("%q and %q are %d apart, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestScanHidesWhatPathsTell(t *testing.T) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	scanner, err := checks.NewScanner(catalogue, newKey())
	if err != nil {
		t.Fatal(err)
	}
	k, err := rules.Expand("ghp_{30:base62}{crc32}", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := scanned{notes: []string{k + "/pipe was skipped"}, problems: []string{"leak/big-" + k + ".txt: it is big"}}
	s.hide(scanner)
	if s.notes[0] != "[redacted]/pipe was skipped" || s.problems[0] != "leak/big-[redacted].txt: it is big" {
		t.Error("a note or a problem shows a secret")
	}
}
