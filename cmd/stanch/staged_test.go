package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStagedIsComplete finds what is staged, once and at its line, whatever the
// file is called and holds; and nothing that was committed, or is not staged.
func TestStagedIsComplete(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	git := func(args ...string) {
		t.Helper()
		args = append([]string{"-c", "user.name=Ada", "-c", "user.email=ada@example.com"}, args...)
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	git("init", "-q", ".")
	old := widget()
	write(t, "committed", "a\n"+old+"\nb\n")
	write(t, "renamed", "a\nb\nc\nd\n"+old+"\n")
	git("add", "-A")
	git("commit", "-q", "-m", "one")

	write(t, "committed", "edited\na\nb\n"+old+"\n") // moved in its file
	git("mv", "renamed", "new name")
	write(t, "new name", "edited\nb\nc\nd\n"+old+"\n")
	want := []string{}
	for name, file := range map[string]struct{ before, after string }{
		"crlf":             {"a\r\nkey = ", "\r\n"},
		"latin1":           {"\xe9\n", "\xfc\n"},
		"no end":           {"a\n", ""},
		"binary":           {"\x00\x01\n\xff ", "\x00"},
		"new\nline":        {"\n", "\n"},
		"tab\t\"quoted\"":  {"\n", "\n"},
		"-dash":            {"\n", "\n"},
		":colon":           {"\n", "\n"},
		"bytes\xff":        {"\n", "\n"},
		"b/dev/null":       {"\n", "\n"},
		"back\\slash":      {"\n", "\n"},
		".gitattributes":   {"* -text -diff binary\n", "\n"},
		"sub/new/.dotfile": {"\n", "\n"},
	} {
		write(t, name, file.before+widget()+file.after)
		want = append(want, name+":2")
	}
	git("--literal-pathspecs", "add", "-A")
	write(t, "not staged", widget())
	write(t, "crlf", widget()+"\n") // staged otherwise

	s, err := scanStaged(t.Context(), dir, widgets(t))
	if err != nil || len(s.problems) > 0 {
		t.Fatal(err, s.problems)
	}
	got := []string{}
	for _, f := range s.findings {
		got = append(got, f.Path+":"+string(rune('0'+f.Line)))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}
