package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// complete asks bash what it offers for a line that ends at the cursor.
func complete(t *testing.T, script string, words ...string) []string {
	t.Helper()
	cmd := exec.Command("bash", "--norc", "--noprofile", "-c", `source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_stanch; printf '%s\n' "${COMPREPLY[@]}"`, "bash", script)
	cmd.Args = append(cmd.Args, append([]string{"stanch"}, words...)...)
	cmd.Dir = filepath.Dir(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("bash: %v: %s", err, out)
	}
	offered := strings.Fields(string(out))
	slices.Sort(offered)
	return offered
}

func TestCompletionBash(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("needs bash")
	}
	code, text, errs := runHere(t, "completion", "bash")
	if code != exitDone {
		t.Fatal(errs)
	}
	script := filepath.Join(t.TempDir(), "stanch.bash")
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		line string // the cursor is behind the last word; a space ends the word before
		want []string
	}{
		{"sc", []string{"scan"}},
		{"rules ", []string{"lint", "list", "show", "test"}},
		{"rules l", []string{"lint", "list"}},
		{"rules list --f", []string{"--format"}},
		{"rules list --format ", []string{"json", "text"}},
		{"rules list --format j", []string{"json"}},
		{"rules list --format = j", []string{"json"}}, // as bash splits --format=j
		{"hook install --s", []string{"--shared"}},
		{"completion ", []string{"bash", "fish", "zsh"}},
		{"scan --color ", []string{"always", "auto", "never"}},
		{"scan --format j", []string{"json", "jsonl", "junit"}},
		{"scan --he", []string{"--help"}},
		{"scan --output st", []string{"stanch.bash"}},
		{"scan st", []string{"stanch.bash"}},
		{"nothing", nil},
	} {
		words := strings.Split(test.line, " ")
		if got := complete(t, script, words...); !slices.Equal(got, test.want) {
			t.Errorf("stanch %s: offered %q, want %q", test.line, got, test.want)
		}
	}
	if got := complete(t, script, ""); !slices.Contains(got, "scan") || !slices.Contains(got, "help") {
		t.Errorf("commands offered: %q", got)
	}
}

// Every flag that --help shows can be completed, in every shell that is here.
func TestCompletionKnowsAllFlags(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		code, text, errs := runHere(t, "completion", shell)
		if code != exitDone {
			t.Fatal(errs)
		}
		for _, place := range completables(t.Context()) {
			_, help, _ := runHere(t, append(strings.Fields(place.path), "--help")...)
			for line := range strings.Lines(help) {
				name, ok := strings.CutPrefix(line, "  --")
				if !ok {
					continue
				}
				if name = strings.Fields(name)[0]; !strings.Contains(text, name) {
					t.Errorf("%s does not complete stanch %s --%s", shell, place.path, name)
				}
			}
		}
		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		cmd := exec.Command(shell, "-n", "/dev/stdin")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s finds fault with its completion: %v: %s", shell, err, out)
		}
	}
	if code, _, errs := runHere(t, "completion"); code != exitFailed || !strings.Contains(errs, "which shell?") {
		t.Errorf("without a shell: status %d, %q", code, errs)
	}
	if code, _, errs := runHere(t, "completion", "fsh"); code != exitFailed || !strings.Contains(errs, `did you mean "fish"`) {
		t.Errorf("a wrong shell: status %d, %q", code, errs)
	}
}
