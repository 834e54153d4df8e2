package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// widgets is a scanner of tokens that no provider has.
func widgets(t testing.TB) *checks.Scanner {
	t.Helper()
	scanner, err := checks.New(&rules.Rule{
		ID: "widget", Title: "Widget token", Severity: rules.High,
		Detect: rules.Detect{Keywords: []string{"wdgt_"}, Pattern: `wdgt_[0-9a-z]{16}`},
	})
	if err != nil {
		t.Fatal(err)
	}
	return scanner
}

func widget() string {
	random := rand.New(rand.NewPCG(rand.Uint64(), 1))
	b := []byte("wdgt" + "_")
	for range 16 {
		b = append(b, "0123456789abcdefghijklmnopqrstuvwxyz"[random.IntN(36)])
	}
	return string(b)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// found scans paths and lists where secrets are.
func found(t testing.TB, paths, exclude []string) (places []string, s scanned) {
	t.Helper()
	s, err := scanPaths(t.Context(), paths, exclude, widgets(t), &progress{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range s.findings {
		places = append(places, fmt.Sprintf("%s:%d:%d", f.Path, f.Line, f.Column))
	}
	return places, s
}

func TestScanBinaryAndOddNames(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "bin", "\x00\xff\x01"+widget()+"\x00\x7f")
	write(t, "new\nline", widget())
	write(t, "bad\xff\xfe", widget())
	write(t, "-dash", widget())
	places, s := found(t, []string{"."}, nil)
	want := []string{"-dash:1:1", "bad\xff\xfe:1:1", "bin:1:4", "new\nline:1:1"}
	if diff := cmp.Diff(want, places); diff != "" || len(s.problems) > 0 {
		t.Error(diff, s.problems)
	}
}

// TestScanLongFiles puts secrets around all the borders that reading has.
func TestScanLongFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	var want []string
	for _, at := range []int{wholeFile - 30, wholeFile - 10, wholeFile, wholeFile + 1, 2*wholeFile - 7, 3 * wholeFile} {
		name := fmt.Sprintf("f%08d", at)
		write(t, name, strings.Repeat("a\n", at/2)+" "+widget()+"\n"+strings.Repeat(".", 100))
		want = append(want, fmt.Sprintf("%s:%d:2", name, at/2+1))
	}
	for _, size := range []int{wholeFile - 1, wholeFile, wholeFile + 1} {
		token := widget()
		name := fmt.Sprintf("g%08d", size)
		write(t, name, strings.Repeat(" ", size-len(token))+token)
		want = append(want, fmt.Sprintf("%s:1:%d", name, size-len(token)+1))
	}
	places, s := found(t, []string{"."}, nil)
	if diff := cmp.Diff(want, places); diff != "" || len(s.problems) > 0 {
		t.Error(diff, s.problems)
	}
}

func TestScanStdinOfAnySize(t *testing.T) {
	for _, size := range []int{100, wholeFile - 5, wholeFile, 3*wholeFile + 1} {
		text := strings.Repeat("x\n", size/2) + widget()
		s, err := scanStdin(t.Context(), strings.NewReader(text), widgets(t))
		if err != nil || len(s.findings) != 1 || s.findings[0].Line != size/2+1 || s.bytes != int64(len(text)) {
			t.Errorf("%d bytes: %d findings in %d bytes, %v", len(text), len(s.findings), s.bytes, err)
		}
	}
	broken := io.MultiReader(strings.NewReader(widget()), brokenReader{})
	s, err := scanStdin(t.Context(), broken, widgets(t))
	if err != nil || len(s.findings) != 1 || len(s.problems) != 1 || !strings.Contains(s.problems[0], "the disk is gone") {
		t.Errorf("what came before a fault is scanned and the fault told: %d findings, %q, %v", len(s.findings), s.problems, err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, fmt.Errorf("the disk is gone") }

// TestScanFileThatChanges cuts a file short while it is read.
func TestScanFileThatChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write(t, path, strings.Repeat("x", 2*wholeFile))
	f, err := openFile(place{path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := newFileReader(widgets(t))
	if n, err := fill(f, r.buffer); n != wholeFile || err != nil {
		t.Fatal(n, err)
	}
	ctx := &atFirst{Context: t.Context(), do: func() {
		if err := os.Truncate(path, wholeFile); err != nil {
			t.Error(err)
		}
	}}
	if result := r.scanLong(ctx, path, f); result.problem == nil || !strings.Contains(result.problem.Error(), "changed while it was read") {
		t.Errorf("a file that was cut short is reported as %v", result.problem)
	}
}

// atFirst is a context that does something when it is first asked.
type atFirst struct {
	context.Context
	do func()
}

func (c *atFirst) Err() error {
	if c.do != nil {
		c.do()
		c.do = nil
	}
	return c.Context.Err()
}

// TestScanInterrupted is never a result: the last files may be missing.
func TestScanInterrupted(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "nothing")
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := scanPaths(ctx, []string{dir}, nil, widgets(t), &progress{w: writerFunc(cancel)}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

// TestScanEndlessFile stops where a file gives much more than its size says.
func TestScanEndlessFile(t *testing.T) {
	if _, err := os.Stat("/proc/self/pagemap"); err != nil {
		t.Skip(err)
	}
	result := newFileReader(widgets(t)).scanFile(t.Context(), place{path: "/proc/self/pagemap"})
	if !errors.Is(result.problem, errEndless) || result.bytes > endless+2*wholeFile {
		t.Errorf("after %d bytes: %v", result.bytes, result.problem)
	}
}

// TestScanLongArchive reads a zip archive that is a file here and there.
func TestScanLongArchive(t *testing.T) {
	var data bytes.Buffer
	archive := zip.NewWriter(&data)
	for _, member := range []struct{ name, text string }{{"filler", random(2 * wholeFile)}, {"secret", "\n" + widget()}} {
		w, err := archive.Create(member.name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, member.text)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.zip")
	write(t, path, data.String())
	result := newFileReader(widgets(t)).scanFile(t.Context(), place{path: path})
	if len(result.findings) != 1 || result.findings[0].Inside != "secret:2" || result.problem != nil || result.bytes != int64(data.Len()) {
		t.Errorf("%d findings in %d of %d bytes, %v", len(result.findings), result.bytes, data.Len(), result.problem)
	}
}

// random is text that cannot be packed.
func random(size int) string {
	text := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(text)
	return string(text)
}

func TestScanVanishingFile(t *testing.T) {
	r := newFileReader(widgets(t))
	result := r.scanFile(t.Context(), place{path: filepath.Join(t.TempDir(), "gone")})
	var s scanned
	s.add(result)
	if len(s.problems) != 1 || !strings.HasSuffix(s.problems[0], "gone: no such file or directory") {
		t.Errorf("a file that vanished is told as %q", s.problems)
	}
}

func TestScanLinksAndLoops(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a/b/file", widget())
	for link, target := range map[string]string{"a/loop": "..", "a/b/self": "self", "a/other": "b/file", "named": "a"} {
		if err := os.Symlink(target, link); err != nil {
			t.Skip(err)
		}
	}
	places, s := found(t, []string{".", "named/b", "a", "a/b/file", "./a"}, nil)
	if diff := cmp.Diff([]string{"a/b/file:1:1", "named/b/file:1:1"}, places); diff != "" || len(s.problems) > 0 {
		t.Error(diff, s.problems)
	}
	if len(s.notes) != 1 || !strings.Contains(s.notes[0], "symbolic links not followed") {
		t.Errorf("notes %q", s.notes)
	}
}

func TestExclude(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"src/a.go", "src/gen/b.pb.go", "node_modules/x/i.js", "src/node_modules/y.js", "docs/deep/er/c.md", "docs/d.md"} {
		write(t, name, widget())
	}
	for _, test := range []struct {
		exclude []string
		want    []string
	}{
		{[]string{"node_modules"}, []string{"docs/d.md", "docs/deep/er/c.md", "src/a.go", "src/gen/b.pb.go"}},
		{[]string{"node_modules/", "*.md"}, []string{"src/a.go", "src/gen/b.pb.go"}},
		{[]string{"docs/**/*.md", "**/node_modules/**", "src/gen"}, []string{"src/a.go"}},
		{[]string{"*.{go,js}", "./docs/*.md"}, []string{"docs/deep/er/c.md"}},
	} {
		places, s := found(t, []string{"."}, test.exclude)
		for i := range places {
			places[i] = strings.TrimSuffix(places[i], ":1:1")
		}
		if diff := cmp.Diff(test.want, places); diff != "" || len(s.problems) > 0 {
			t.Errorf("%q: %s %q", test.exclude, diff, s.problems)
		}
	}
	if _, s := found(t, []string{"docs"}, []string{"*.md"}); len(s.problems) != 1 {
		t.Errorf("a scan of nothing has the problems %q", s.problems)
	}
	if err := checkGlobs([]string{"ok/**", "["}); err == nil || !strings.Contains(err.Error(), `"["`) {
		t.Errorf("a broken pattern gives %v", err)
	}
}

// TestScanDeepFolders goes where no path leads that a system takes: two and a half
// thousand folders, one in the other.
func TestScanDeepFolders(t *testing.T) {
	const depth = 2500
	top := t.TempDir()
	root, err := os.OpenRoot(top)
	if err != nil {
		t.Fatal(err)
	}
	for range depth {
		if err := root.Mkdir("deep", 0o755); err != nil {
			t.Skip(err)
		}
		next, err := root.OpenRoot("deep")
		root.Close()
		if err != nil {
			t.Fatal(err)
		}
		root = next
	}
	f, err := root.Create("secret")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, widget())
	f.Close()
	root.Close()
	places, s := found(t, []string{top}, nil)
	if len(places) != 1 || len(s.problems) > 0 {
		t.Fatalf("%d secrets found, %q", len(places), s.problems)
	}
	if got, want := len(places[0]), len(top)+len("/deep")*depth+len("/secret:1:1"); got != want {
		t.Errorf("the path has %d bytes, want %d", got, want)
	}
}

// TestScanManyFiles: what is known of files that were scanned does not stay.
func TestScanManyFiles(t *testing.T) {
	dir := t.TempDir()
	scanner := widgets(t)
	const files = 20_000
	for i := range files {
		write(t, filepath.Join(dir, fmt.Sprintf("f%06d", i)), "x")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, err := scanPaths(t.Context(), []string{dir}, nil, scanner, &progress{})
	if err != nil || s.what != "20000 files" {
		t.Fatalf("scanned %s, %v", s.what, err)
	}
	runtime.ReadMemStats(&after)
	// Names, places and results of the files, all that was ever allocated.
	if each := (after.TotalAlloc - before.TotalAlloc - uint64(runtime.GOMAXPROCS(0))*wholeFile) / files; each > 1000 {
		t.Errorf("%d bytes were allocated for each empty file", each)
	}
}

func BenchmarkScanPaths(b *testing.B) {
	dir := b.TempDir()
	for i := range 500 {
		write(b, filepath.Join(dir, fmt.Sprint(i%20), fmt.Sprint(i)), strings.Repeat("nothing to see here, move on\n", 350))
	}
	scanner := widgets(b)
	b.SetBytes(500 * 350 * 29)
	for b.Loop() {
		if _, err := scanPaths(context.Background(), []string{dir}, nil, scanner, &progress{}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestReportsAtOnce(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Chdir(t.TempDir())
	write(t, "clean", "nothing")
	var stdout, stderr bytes.Buffer
	args := []string{"scan", "--format", "csv", "--report", "sarif=a.sarif", "--report=junit=b.xml", "--color=always", "clean"}
	if code := run(t.Context(), args, nil, &stdout, &stderr, func(string) string { return "" }); code != exitDone {
		t.Fatalf("exit status %d: %s", code, stderr.String())
	}
	for name, want := range map[string]string{"a.sarif": `"version": "2.1.0"`, "b.xml": "<testsuites"} {
		if content, err := os.ReadFile(name); err != nil || !strings.Contains(string(content), want) {
			t.Errorf("%s does not have %q: %v", name, want, err)
		}
	}
	if !strings.HasPrefix(stdout.String(), "rule,description,") {
		t.Errorf("standard output is %q, want CSV", stdout.String())
	}
}
