package main

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// process runs stanch as a process of its own, which is sent a signal at the first request
// to the simulated GitHub that fits.
func (w *handWorld) process(stdin string, signal os.Signal, at func(*http.Request) bool, args ...string) (code int, text string) {
	w.t.Helper()
	self, err := os.Executable()
	w.must(err)
	var out bytes.Buffer
	cmd := &exec.Cmd{Path: self, Args: append([]string{"stanch"}, args...), Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &out,
		Env: []string{"HOME=" + w.dir, "TMPDIR=" + w.dir}}
	for name, value := range w.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var once sync.Once
	w.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if at(r) {
			once.Do(func() {
				cmd.Process.Signal(signal)
				time.Sleep(time.Second) // it is heeded before the answer comes, on a busy machine too
			})
		}
		return nil
	})
	err = cmd.Run()
	w.github.Limit(nil)
	if failed := new(exec.ExitError); err != nil && !errors.As(err, &failed) {
		w.t.Fatal(err)
	}
	w.told += out.String()
	return cmd.ProcessState.ExitCode(), out.String()
}

// Whoever is interrupted, or killed, is told what is done, and goes on by running the same
// command again: nothing is repeated, and the store always holds a working credential.
func TestInterruptedRotation(t *testing.T) {
	revokes := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/credentials/revoke") }
	// asks is the first question with another credential than the old one.
	asks := func(old string) func(*http.Request) bool {
		return func(r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/user") && strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ghp_") && !strings.HasSuffix(r.Header.Get("Authorization"), old)
		}
	}
	for name, test := range map[string]struct {
		signal os.Signal
		at     func(old string) func(*http.Request) bool
		told   string
	}{
		"interrupted while the old one is revoked": {os.Interrupt, func(string) func(*http.Request) bool { return revokes }, "Done so far: issue, put, verify_new"},
		"terminated while the old one is revoked":  {syscall.SIGTERM, func(string) func(*http.Request) bool { return revokes }, "Done so far: issue, put, verify_new"},
		"interrupted while the first is asked":     {os.Interrupt, asks, "run it again"},
		"killed while the old one is revoked":      {os.Kill, func(string) func(*http.Request) bool { return revokes }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newHandWorld(t)
			old := w.token("ci")
			code, text := w.process(old, test.signal, test.at(old), "rotate", "--yes")
			if code == exitDone || !strings.Contains(strings.ToLower(text), strings.ToLower(test.told)) {
				t.Errorf("status %d\n%s", code, text)
			}
			if test.signal != os.Kill && !strings.Contains(strings.ToLower(text), "run it again") {
				t.Errorf("it does not say how to go on:\n%s", text)
			}
			if !w.github.TokenLive(w.stored("ci")) {
				t.Error("the store holds no working credential")
			}
			// A dry run tells what is done already.
			if strings.Contains(text, "verify_new") {
				w.expect(exitDone, old, []string{"rotate", "--dry-run"}, "done already")
			}
			w.expect(exitDone, old, []string{"rotate", "--yes"}, "Proved dead", "resolved as rotated")
			now := w.stored("ci")
			if w.github.TokenLive(old) || !w.github.TokenLive(now) || w.github.LiveTokens("bot") != 1 {
				t.Errorf("in the end %d tokens are live, and the stored one %t", w.github.LiveTokens("bot"), w.github.TokenLive(now))
			}
			w.findNoSecret()
		})
	}
}
