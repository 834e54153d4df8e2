package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

const (
	// maxOutput is how much Run keeps of a command's output. What is bigger than
	// that is streamed, not collected.
	maxOutput = 1 << 20
	// maxStderr is how much of the end of standard error is kept for messages.
	maxStderr = 4 << 10
	// waitDelay is how long a killed git may keep its pipes open.
	waitDelay = 2 * time.Second
	// streamBuffer is the size of the buffer that git's output is read through.
	streamBuffer = 64 << 10
)

// settings are git's options for every run. A repository's own configuration is
// the work of strangers and can name programs to run; what stands on the command
// line overrules it.
func settings() []string {
	return []string{
		"--no-pager", "--no-replace-objects", "--literal-pathspecs",
		"-c", "core.hooksPath=" + os.DevNull,
		"-c", "core.fsmonitor=false",
		"-c", "core.sshCommand=false",
		"-c", "core.askPass=",
		"-c", "credential.helper=",
		"-c", "core.attributesFile=" + os.DevNull,
		"-c", "core.quotePath=false",
		"-c", "log.showSignature=false",
		"-c", "protocol.allow=never",
		"-c", "submodule.recurse=false",
		"-c", "gc.auto=0",
		"-c", "maintenance.auto=false",
		// A commit-graph is a cache that a repository brings along and git believes;
		// a forged one could leave commits out.
		"-c", "core.commitGraph=false",
		// git refuses repositories of other users because their configuration could
		// run programs. Nothing here runs any, whoever owns the repository, and with
		// the global configuration switched off a user in a container, where
		// ownership differs as a rule, would have no way to allow it.
		"-c", "safe.directory=*",
	}
}

// environment is all that git inherits. GIT_* variables of the caller are left
// behind: a hook's GIT_DIR would point us at another repository, and GIT_TRACE
// would write headers to files.
func environment() []string {
	env := []string{
		"HOME=" + os.DevNull,
		"LC_ALL=C", // messages are compared with English text
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_NO_LAZY_FETCH=1",
		// protocol.allow=never gives way to a repository's protocol.ext.allow=always;
		// this list gives way to nothing, and "none" is no protocol.
		"GIT_ALLOW_PROTOCOL=none",
	}
	for _, name := range []string{"PATH", "TMPDIR", "TEMP", "TMP", "SystemRoot"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// Command returns a git command that runs in dir, cut off from the machine's and
// the user's configuration, from every protocol and from every program that a
// repository's configuration could name. When ctx ends, git and all that it
// started are killed. All runs of git go through Command.
func Command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append(settings(), args...)...)
	cmd.Dir = dir
	cmd.Env = environment()
	cmd.WaitDelay = waitDelay
	killGroup(cmd)
	return cmd
}

// A CommandError is a git that could not be started or did not succeed.
type CommandError struct {
	Name   string // git's subcommand
	Stderr string // the end of what git said, without URLs' user names and passwords
	Err    error
}

// Error gives the last line that git wrote, or how it ended when it wrote none.
func (e *CommandError) Error() string {
	lines := strings.Split(strings.TrimSpace(e.Stderr), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return fmt.Sprintf("git %s: %s", e.Name, last)
	}
	return fmt.Sprintf("git %s: %v", e.Name, e.Err)
}

// Unwrap returns how git ended.
func (e *CommandError) Unwrap() error { return e.Err }

// Run runs a Command to its end and returns what it wrote to standard output,
// which must fit in a mebibyte. Its error is a *CommandError, or the context's.
func Run(ctx context.Context, cmd *exec.Cmd) ([]byte, error) {
	var stdout bytes.Buffer
	stderr := tail{max: maxStderr}
	cmd.Stdout, cmd.Stderr = &limited{w: &stdout, left: maxOutput}, &stderr
	err := cmd.Run()
	return stdout.Bytes(), failure(ctx, cmd, &stderr, err)
}

// stream runs cmd, which must have been made with ctx: feed writes its standard
// input while consume reads its standard output, which it must do to the end.
func stream(ctx context.Context, cmd *exec.Cmd, feed func(io.Writer) error, consume func(*bufio.Reader) error) error {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr := tail{max: maxStderr}
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return failure(ctx, cmd, &stderr, err)
	}
	fed := make(chan error, 1)
	go func() {
		w := bufio.NewWriterSize(stdin, streamBuffer)
		fed <- errors.Join(feed(w), w.Flush(), stdin.Close())
	}()
	consumed := consume(bufio.NewReaderSize(stdout, streamBuffer))
	if consumed != nil && !errors.Is(consumed, io.ErrUnexpectedEOF) {
		// Output that ended early means that git is dying and will say why; any
		// other reason is ours, and git would wait for us for ever.
		cmd.Cancel()
	}
	feedErr := <-fed
	ended := failure(ctx, cmd, &stderr, cmd.Wait())
	exit := (*exec.ExitError)(nil)
	switch {
	case ended != nil && (ctx.Err() != nil || errors.As(ended, &exit) && exit.Exited()):
		return ended // git's own word on what went wrong
	case consumed != nil:
		return consumed
	case ended != nil:
		return ended
	}
	return feedErr
}

// failure makes the error of a command that ended with err.
func failure(ctx context.Context, cmd *exec.Cmd, stderr *tail, err error) error {
	if err == nil {
		return nil
	}
	name := subcommand(cmd.Args)
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("git %s: %w", name, cause)
	}
	return &CommandError{Name: name, Stderr: clean(stderr.kept), Err: err}
}

// subcommand finds the word after git's own options.
func subcommand(args []string) string {
	for i := 1; i < len(args); i++ {
		switch {
		case args[i] == "-c":
			i++
		case !strings.HasPrefix(args[i], "-"):
			return args[i]
		}
	}
	return ""
}

// clean makes what git wrote fit for a message: no credentials of URLs, no
// control characters, which a hostile server can send.
func clean(text []byte) string {
	userinfo := regexp.MustCompile(`://[^/@\s]*@`)
	return strings.Map(func(r rune) rune {
		if r != '\n' && (r < ' ' || r == 0x7f) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(userinfo.ReplaceAllString(string(text), "://"), "?"))
}

// A tail keeps the last max bytes that are written to it.
type tail struct {
	max  int
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p[max(0, len(p)-t.max):]...)
	t.kept = t.kept[max(0, len(t.kept)-t.max):]
	return len(p), nil
}

// A limited fails when more than left bytes are written to it.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errors.New("git wrote more than could be meant")
	}
	return l.w.Write(p)
}
