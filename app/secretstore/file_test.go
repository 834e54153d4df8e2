package secretstore

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/checks"
)

func openFile(t *testing.T, dir string) *File {
	t.Helper()
	f, err := OpenFile(filepath.Join(dir, "store.age"), filepath.Join(dir, "store.key"), testKey)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	testStore(t, openFile(t, dir), openFile(t, dir), "")
}

// put writes one value and returns it.
func put(t *testing.T, f *File, loc Location) checks.Secret {
	t.Helper()
	value := fresh()
	if _, err := putOne(t.Context(), f, loc, value, "op"); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestFileHidesValuesAndNames(t *testing.T) {
	dir := t.TempDir()
	value := put(t, openFile(t, dir), Location{Path: "ci/hidden-path", Field: "hidden-field"})
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{value.Expose(), "hidden-path", "hidden-field"} {
			if bytes.Contains(data, []byte(text)) {
				t.Errorf("%s shows what it must hide", entry.Name())
			}
		}
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && strings.HasPrefix(entry.Name(), "store.") && !strings.HasSuffix(entry.Name(), ".lock") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", entry.Name(), info.Mode())
		}
	}
}

func TestFileKeepsTenVersions(t *testing.T) {
	f := openFile(t, t.TempDir())
	var values []checks.Secret
	for version := range 12 {
		values = append(values, put(t, f, Location{Path: "p", Field: "f", Version: numbered(version)}))
	}
	for i, value := range values {
		found, err := f.Locate(t.Context(), fingerprint(value))
		if kept := len(found) == 1; err != nil || kept != (i >= 2) {
			t.Errorf("version %d: %v, %v", i+1, found, err)
		}
	}
}

func TestFileRefusesWrongKeys(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	put(t, openFile(t, dir), Location{Path: "p", Field: "f"})
	put(t, openFile(t, other), Location{Path: "p", Field: "f"})
	store := filepath.Join(dir, "store.age")
	before, err := os.ReadFile(store)
	if err != nil {
		t.Fatal(err)
	}
	lax := filepath.Join(other, "lax.key")
	garbage := filepath.Join(other, "garbage.key")
	key, err := os.ReadFile(filepath.Join(dir, "store.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lax, key, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(garbage, key[:20], 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		filepath.Join(other, "store.key"): "another key",
		filepath.Join(other, "no.key"):    "is missing",
		lax:                               "can be read by others",
		garbage:                           "holds no age identity",
	} {
		_, err := OpenFile(store, name, testKey)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), string(key[:20])) {
			t.Errorf("%s: %v, want %q", filepath.Base(name), err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(other, "no.key")); err == nil {
		t.Error("a key was made for a store that has another")
	}
	after, err := os.ReadFile(store)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the store was changed: %v", err)
	}
}

func TestFileLeavesDamagedStoresAlone(t *testing.T) {
	dir := t.TempDir()
	f := openFile(t, dir)
	put(t, f, Location{Path: "p", Field: "f"})
	path := filepath.Join(dir, "store.age")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-1] ^= 1
	for name, data := range map[string][]byte{
		"empty": {}, "cut": whole[:len(whole)-5], "header only": whole[:60], "flipped": flipped, "text": []byte("not a store"),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFile(path, filepath.Join(dir, "store.key"), testKey); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := putOne(t.Context(), f, Location{Path: "q", Field: "f"}, fresh(), "op"); err == nil {
			t.Errorf("%s: a put went through", name)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, data) {
			t.Errorf("%s: the store was changed: %v", name, err)
		}
	}
}

// A process that dies between writing the new file and renaming it leaves the
// old one; what it left behind is swept up.
func TestFileSurvivesACrash(t *testing.T) {
	if dir := os.Getenv("STANCH_TEST_CRASH"); dir != "" {
		f := openFile(t, dir)
		f.beforeRename = func() { os.Exit(7) }
		putOne(t.Context(), f, Location{Path: "p", Field: "f", Version: "1"}, fresh(), "op")
		return
	}
	dir := t.TempDir()
	value := put(t, openFile(t, dir), Location{Path: "p", Field: "f"})
	crash := exec.Command(os.Args[0], "-test.run=^TestFileSurvivesACrash$")
	crash.Env = append(os.Environ(), "STANCH_TEST_CRASH="+dir)
	if out, _ := crash.CombinedOutput(); crash.ProcessState.ExitCode() != 7 {
		t.Fatalf("the process did not crash where it should: %s", out)
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".store.age.*.tmp"))
	if len(left) != 1 {
		t.Fatalf("the crash left %v; it did not happen between writing and renaming", left)
	}
	f := openFile(t, dir)
	if got, err := f.Get(t.Context(), Location{Path: "p", Field: "f"}); err != nil || got.Fields["f"] != value || got.Version != "1" {
		t.Errorf("version %s, %v; want the old value", got.Version, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".store.age.*.tmp")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	put(t, f, Location{Path: "p", Field: "f", Version: "1"})
}

func TestFileRefusesNewerFormats(t *testing.T) {
	f := openFile(t, t.TempDir())
	if err := f.write(&contents{Format: formatVersion + 1, Secrets: map[string]*secret{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Paths(); err == nil || !strings.Contains(err.Error(), "newer program") {
		t.Error(err)
	}
}
