package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns a terminal and the side at which a person sits.
func openTerminal(t *testing.T) (terminal, person *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close(); person.Close() })
	return terminal, person
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// awaitEcho waits until the terminal shows what is typed, or does not.
func awaitEcho(t *testing.T, terminal *os.File, want bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); echoes(t, terminal) != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the terminal's echo did not become %t", want)
		}
	}
}

// What is typed at the prompt is not shown, and the terminal is as it was afterwards.
func TestVerifyPrompt(t *testing.T) {
	live := sampleOf(t, "gitlab-pat")
	gitlab := newFakeGitLab(t, live)
	getenv := func(name string) string {
		return map[string]string{"STANCH_PROVIDER_URLS": "gitlab:" + gitlab.URL}[name]
	}
	for _, args := range [][]string{{"verify"}, {"verify", "--rule", "gitlab-pat", "--parts"}} {
		terminal, person := openTerminal(t)
		var out, errs strings.Builder
		ended := make(chan int, 1)
		go func() { ended <- run(t.Context(), args, terminal, &out, &errs, getenv) }()
		awaitEcho(t, terminal, false)
		if _, err := person.WriteString(live + "\n"); err != nil {
			t.Fatal(err)
		}
		if code := <-ended; code != exitLive || !strings.Contains(errs.String(), "(not shown): ") {
			t.Errorf("%q: status %d\n%s%s", args, code, out.String(), errs.String())
		}
		awaitEcho(t, terminal, true)
		terminal.WriteString("end")
		shown := make([]byte, 4096)
		n, err := person.Read(shown)
		if err != nil || strings.Contains(string(shown[:n])+out.String()+errs.String(), live) {
			t.Errorf("%q: the terminal shows %q: %v", args, shown[:n], err)
		}
	}
}

// At a terminal the plan is shown, unless --yes says to do it.
func TestRevokePrompt(t *testing.T) {
	w := newHandWorld(t)
	token := w.token("")
	for _, args := range [][]string{{"revoke"}, {"revoke", "--rule", "github-pat", "--parts"}, {"revoke", "--yes"}} {
		terminal, person := openTerminal(t)
		var out, errs strings.Builder
		ended := make(chan int, 1)
		go func() {
			ended <- run(t.Context(), args, terminal, &out, &errs, func(name string) string { return w.env[name] })
		}()
		awaitEcho(t, terminal, false)
		if _, err := person.WriteString(token + "\n"); err != nil {
			t.Fatal(err)
		}
		code := <-ended
		yes := args[len(args)-1] == "--yes"
		if code != exitDone || yes == w.github.TokenLive(token) || yes == strings.Contains(out.String(), "this was a dry run") {
			t.Errorf("%q: status %d\n%s%s", args, code, out.String(), errs.String())
		}
		w.told += out.String() + errs.String()
	}
	w.findNoSecret()
}

// A prompt that is interrupted leaves no terminal that shows nothing.
func TestVerifyPromptInterrupted(t *testing.T) {
	terminal, person := openTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"verify"}, terminal, new(strings.Builder), new(strings.Builder), func(string) string { return "" })
	}()
	awaitEcho(t, terminal, false)
	cancel()
	if code := <-ended; code != exitFailed {
		t.Errorf("status %d", code)
	}
	awaitEcho(t, terminal, true)
	person.WriteString("\n") // ends the reading
}
