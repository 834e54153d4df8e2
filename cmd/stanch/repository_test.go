package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Rules about the repository as a whole, held by tests.

// tokenShapes are the shapes of credentials that no tracked file may contain, not
// even made up: push protection and other people's scanners would find them, and
// so would ours. Write a template for rules.Expand, or join the text at run time.
// The shapes are looser than the catalogue's rules, and apart from them, so that
// a mistake there does not hide a leak here.
var tokenShapes = map[string]*regexp.Regexp{
	"GitHub token":        regexp.MustCompile("gh" + "[opusr]_[0-9A-Za-z]{36}"),
	"GitHub fine-grained": regexp.MustCompile("github" + "_pat_[0-9A-Za-z_]{40}"),
	"GitLab token":        regexp.MustCompile("gl" + "pat-[0-9A-Za-z_-]{20}"),
	"AWS access key id":   regexp.MustCompile("(AK|AS)" + "IA[A-Z2-7]{16}"),
	"Google API key":      regexp.MustCompile("AI" + "za[0-9A-Za-z_-]{35}"),
	"Slack token":         regexp.MustCompile("xo" + "x[abeprs]-[0-9]{8,}-[0-9A-Za-z-]{8,}"),
	"Stripe key":          regexp.MustCompile("[rs]k" + "_live_[0-9A-Za-z]{20}"),
	"npm token":           regexp.MustCompile("np" + "m_[0-9A-Za-z]{36}"),
	"Vault token":         regexp.MustCompile("hv" + "[bs]\\.[0-9A-Za-z_-]{24}"),
	"JSON Web Token":      regexp.MustCompile("ey" + "J[0-9A-Za-z_-]{10,}\\.ey" + "J[0-9A-Za-z_-]{10,}\\.[0-9A-Za-z_-]{10,}"),
	"private key":         regexp.MustCompile("-----BEGIN " + "[A-Z ]*PRIVATE KEY-----\\s+[0-9A-Za-z+/=]{40}"),
}

func TestNoTokenShapedText(t *testing.T) {
	root := moduleRoot(t)
	for _, name := range trackedFiles(t, root) {
		for _, fault := range tokensIn(name, readTracked(t, filepath.Join(root, name))) {
			t.Error(fault)
		}
	}
}

func TestNoTokenShapedTextBites(t *testing.T) {
	fill := func(n int) string { return strings.Repeat("aB3xQ7mZ9kLw", n/12+1)[:n] }
	for kind, text := range map[string]string{
		"GitHub token":        "gh" + "p_" + fill(36),
		"GitHub fine-grained": "github" + "_pat_" + fill(60),
		"GitLab token":        "gl" + "pat-" + fill(20),
		"AWS access key id":   "AK" + "IA" + strings.Repeat("Q7MZ3KLW", 2),
		"Google API key":      "AI" + "za" + fill(35),
		"Slack token":         "xo" + "xb-" + strings.Repeat("1", 12) + "-" + fill(24),
		"Stripe key":          "sk" + "_live_" + fill(24),
		"npm token":           "np" + "m_" + fill(36),
		"Vault token":         "hv" + "s." + fill(24),
		"JSON Web Token":      "ey" + "J" + fill(20) + ".ey" + "J" + fill(20) + "." + fill(20),
		"private key":         "-----BEGIN " + "RSA PRIVATE KEY-----\n" + fill(64),
	} {
		faults := tokensIn("notes.md", []byte("first line\nkey: "+text+"\n"))
		if len(faults) != 1 || !strings.HasPrefix(faults[0], "notes.md:2: "+kind) {
			t.Errorf("a made-up %s on line 2: got %d faults, want one that names its line and kind", kind, len(faults))
		}
		for _, fault := range faults {
			if strings.Contains(fault, text) {
				t.Errorf("the fault for a %s repeats the token", kind)
			}
		}
	}
	for _, harmless := range []string{
		"sample: 'gh" + "p_{30:base62}{crc32}'",
		"gh" + "p_" + strings.Repeat("x", 36),
		"hv" + "s.your-token-goes-here-or-there",
	} {
		if faults := tokensIn("rules/github.yaml", []byte(harmless)); len(faults) != 0 {
			t.Errorf("%q is a template or a placeholder, but: %q", harmless, faults)
		}
	}
}

// tokensIn names the place and the kind of each token in a file, never the token.
func tokensIn(name string, content []byte) (faults []string) {
	for kind, shape := range tokenShapes {
		for _, at := range shape.FindAllIndex(content, -1) {
			if placeholder(content[at[0]:at[1]]) {
				continue
			}
			line := 1 + bytes.Count(content[:at[0]], []byte{'\n'})
			faults = append(faults, fmt.Sprintf("%s:%d: %s: build it at run time, with rules.Expand or by joining strings", name, line, kind))
		}
	}
	slices.Sort(faults)
	return faults
}

// placeholder reports whether nobody could take text for a credential: the same
// few characters over and over, or words. The catalogue's counterexamples are such.
func placeholder(text []byte) bool {
	distinct := map[byte]bool{}
	for _, c := range text {
		distinct[c] = true
	}
	return len(distinct) < 8 || !bytes.ContainsAny(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
}

// readmeCommands are what a newcomer copies first: the demonstration, and the
// tests. Continuous integration runs both.
var readmeCommands = []string{"go run ./cmd/stanch demo", "go test ./..."}

func TestReadmeSaysHowToTryAndTest(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(moduleRoot(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range readmeCommands {
		if !bytes.Contains(readme, []byte(command)) {
			t.Errorf("README.md does not give the command %q", command)
		}
	}
}

// pinned is an action named by a full commit, with the version for people; the
// repository's own actions need none.
var (
	usesLine = regexp.MustCompile(`(?m)^\s*-?\s*uses:\s*(.+?)\s*$`)
	pinned   = regexp.MustCompile(`^([\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d[\w.]*|\./.*)$`)
)

func TestActionsArePinned(t *testing.T) {
	root := moduleRoot(t)
	for _, name := range trackedFiles(t, root) {
		if name != "action.yml" && !strings.HasPrefix(name, ".github/workflows/") {
			continue
		}
		for _, unpinned := range unpinnedActions(readTracked(t, filepath.Join(root, name))) {
			t.Errorf("%s: %s: pin it to a full commit, with its version in a comment: a tag can be moved", name, unpinned)
		}
	}
}

func TestActionsArePinnedBites(t *testing.T) {
	workflow := "steps:\n  - uses: actions/checkout@v7\n  - uses: ./\n  - name: x\n    uses: a/b@" +
		strings.Repeat("0f", 20) + " # v1.2.3\n"
	if got := unpinnedActions([]byte(workflow)); !slices.Equal(got, []string{"actions/checkout@v7"}) {
		t.Errorf("unpinned actions: %q, want the tag alone", got)
	}
}

func unpinnedActions(workflow []byte) (unpinned []string) {
	for _, match := range usesLine.FindAllSubmatch(workflow, -1) {
		if !pinned.Match(match[1]) {
			unpinned = append(unpinned, string(match[1]))
		}
	}
	return unpinned
}

// trackedFiles are the files that git would publish, from the root, with slashes.
func trackedFiles(t *testing.T, root string) []string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, ".git")); errors.Is(err, fs.ErrNotExist) {
		if os.Getenv("STANCH_CI") == "1" {
			t.Fatalf("%s is no git checkout: continuous integration needs one", root)
		}
		t.Skipf("%s is no git checkout, so there is no list of tracked files", root)
	}
	cmd := exec.Command("git", "-C", root, "ls-files", "-z")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files in %s: %v: %s", root, err, stderr.String())
	}
	names := strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
	if len(names) == 0 {
		t.Fatalf("git lists no tracked file in %s", root)
	}
	return names
}

// readTracked reads a tracked file; one that was removed but not committed yet
// counts as empty, and a symbolic link as the path that it holds.
func readTracked(t *testing.T, name string) []byte {
	t.Helper()
	if target, err := os.Readlink(name); err == nil {
		return []byte(target)
	}
	content, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return content
}

// parseModule parses every Go file of the module but test data.
func parseModule(t *testing.T) (files []goFile) {
	t.Helper()
	root := moduleRoot(t)
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != root && ignored(entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parse(filepath.ToSlash(rel), src)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatalf("read the module's sources: %v", err)
	}
	if !slices.ContainsFunc(files, func(f goFile) bool { return f.path == "rules/rules.go" }) {
		t.Fatalf("rules/rules.go is not among the %d Go files under %s: the walk looks in the wrong place", len(files), root)
	}
	return files
}

// ignored are the folders that the go command leaves out too.
func ignored(name string) bool {
	return name == "testdata" || name == "vendor" || name == "node_modules" ||
		strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}

// moduleRoot is the folder that go.mod stands in.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("find the working directory: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod here or above: run the tests inside the module")
		}
		dir = parent
	}
}
