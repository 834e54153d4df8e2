//go:build linux

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestScanStrangeFiles meets everything that a folder can hold and that is no file.
// What stands beside it is found, and nothing waits.
func TestScanStrangeFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "zz-secret", widget())
	write(t, strings.Repeat("n", 255), widget())
	for name, err := range map[string]error{
		"pipe":     syscall.Mkfifo("pipe", 0o644),
		"itself":   os.Symlink("itself", "itself"),
		"folder":   os.Symlink(".", "folder"),
		"dangling": os.Symlink("nowhere", "dangling"),
		"infinite": os.Symlink("/dev/zero", "infinite"),
	} {
		if err != nil {
			t.Fatal(name, err)
		}
	}
	listener, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := syscall.Mknod("device", syscall.S_IFCHR|0o666, 1<<8|5); err != nil { // as /dev/zero
		t.Log("no device was made:", err)
	}
	places, s := found(t, []string{"."}, nil)
	if diff := cmp.Diff([]string{strings.Repeat("n", 255) + ":1:1", "zz-secret:1:1"}, places); diff != "" || len(s.problems) > 0 {
		t.Error(diff, s.problems)
	}
	for _, want := range []string{"pipe was skipped: it is a named pipe", "socket was skipped: it is a socket", "4 symbolic links not followed"} {
		if !strings.Contains(strings.Join(s.notes, "\n"), want) {
			t.Errorf("%q is not said: %q", want, s.notes)
		}
	}
	for path, want := range map[string]string{
		"pipe": "a named pipe", "socket": "a socket", "infinite": "a device", "/dev/zero": "a device",
		"itself": "too many levels of symbolic links", "dangling": "no such file",
	} {
		if _, s := found(t, []string{path}, nil); len(s.problems) != 1 || !strings.Contains(s.problems[0], want) {
			t.Errorf("%s named: %q", path, s.problems)
		}
	}
}

// TestScanGrowingFile ends at what the file had when it was opened, or soon after.
func TestScanGrowingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write(t, path, strings.Repeat("x", 2*wholeFile))
	f, err := openFile(place{path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := newFileReader(widgets(t))
	if _, err := fill(f, r.buffer); err != nil {
		t.Fatal(err)
	}
	ctx := &atFirst{Context: t.Context(), do: func() {
		if err := os.Truncate(path, 3*wholeFile); err != nil {
			t.Error(err)
		}
	}}
	if result := r.scanLong(ctx, path, f); result.problem == nil || !strings.Contains(result.problem.Error(), "changed while it was read") {
		t.Errorf("a file that grew is reported as %v", result.problem)
	}
}
