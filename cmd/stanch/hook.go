package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const hookUsage = `Usage: stanch hook install   [FLAGS] [pre-commit] [pre-push]
       stanch hook uninstall [FLAGS] [pre-commit] [pre-push]
       stanch hook run [--rules FILE] pre-commit|pre-push [ARGUMENTS]

Lets git ask Stanch in this repository: pre-commit scans what is staged, pre-push
scans the commits that the remote does not have yet. What they find stops the
commit or the push. Without a name both hooks are meant.

A hook that is there already is kept and runs first. core.hooksPath is respected.
Secrets that ` + baselineDefault + ` in the repository's top folder lists are let through.

Exit status: 0 done or nothing found, 1 secrets found, 2 could not be done, or not
everything could be scanned.
`

// The hooks that Stanch serves.
const (
	preCommit = "pre-commit"
	prePush   = "pre-push"
)

const (
	// hookMark is how Stanch knows its own hooks.
	hookMark = "# Installed by “stanch hook install”; “stanch hook uninstall” takes it out."
	// chained is the end of the name that a hook gets that was there before.
	chained = ".before-stanch"
)

func runHook(ctx context.Context, env *environment, args []string) int {
	verbs := []string{"install", "uninstall", "run"}
	switch {
	case len(args) == 0:
		fmt.Fprint(env.stderr, hookUsage)
		return exitFailed
	case args[0] == "install":
		return env.changeHooks(ctx, args[0], args[1:], hookFolder.install)
	case args[0] == "uninstall":
		return env.changeHooks(ctx, args[0], args[1:], hookFolder.uninstall)
	case args[0] == "run":
		return env.runHookNow(ctx, args[1:])
	case strings.HasPrefix(args[0], "-"):
		_, err := env.parseFlags(flag.NewFlagSet("hook", flag.ContinueOnError), hookUsage, args)
		return env.exit(cmp.Or(err, unknown("hook command", args[0], nil, "stanch hook --help")))
	}
	return env.fail(unknown("hook command", args[0], verbs, "stanch hook --help"))
}

// changeHooks installs or takes out the named hooks.
func (env *environment) changeHooks(ctx context.Context, verb string, args []string, change func(hookFolder, string) (string, error)) int {
	o, err := env.hookOptions(verb, args)
	if err != nil {
		return env.exit(err)
	}
	folder, err := findHooks(ctx, o)
	if err != nil {
		return env.fail(err)
	}
	code := exitDone
	for _, name := range o.names {
		said, err := change(folder, name)
		if err != nil {
			code = env.fail(fmt.Errorf("%s: %w", name, err))
			continue
		}
		fmt.Fprintf(env.stdout, "%s: %s\n", name, said)
	}
	return code
}

// hookOptions are the flags and words of stanch hook install and uninstall.
type hookOptions struct {
	shared bool
	rules  []string
	names  []string
}

func (env *environment) hookOptions(verb string, args []string) (o hookOptions, err error) {
	f := flag.NewFlagSet("hook "+verb, flag.ContinueOnError)
	f.BoolVar(&o.shared, "shared", false, "also where core.hooksPath is one folder for all of your repositories")
	if verb == "install" {
		f.Func("rules", "let the hooks use the rules in `FILE`, from the repository’s top folder on, too; may be repeated", listOf(&o.rules))
	}
	if o.names, err = env.parseFlags(f, hookUsage, args); err != nil {
		return o, err
	}
	all := []string{preCommit, prePush}
	for _, name := range o.names {
		if !slices.Contains(all, name) {
			return o, unknown("hook", name, all, "stanch hook --help")
		}
	}
	if len(o.names) == 0 {
		o.names = all
	}
	return o, nil
}

// A hookFolder is where git looks for a repository's hooks.
type hookFolder struct {
	dir     string
	program string // this program, or empty when only PATH can tell
	rules   []string
}

// findHooks asks the user's git, with all of the user's configuration, where the
// hooks of the repository in the working directory are.
func findHooks(ctx context.Context, o hookOptions) (hookFolder, error) {
	dir, err := userGit(ctx, "rev-parse", "--git-path", "hooks")
	if err != nil {
		return hookFolder{}, fmt.Errorf("find the repository’s hooks: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return hookFolder{}, fmt.Errorf("find the repository’s hooks: %w", err)
	}
	// No core.hooksPath at all is no error of ours.
	configured, _ := userGit(ctx, "config", "--show-scope", "--get", "core.hooksPath")
	scope, _, _ := strings.Cut(configured, "\t")
	if !o.shared && slices.Contains([]string{"global", "system"}, scope) {
		return hookFolder{}, fmt.Errorf("the %s configuration of git sets core.hooksPath to %s, so a hook there runs in every repository: "+
			"say --shared if you want that, or give this repository its own with “git config core.hooksPath .git/hooks”", scope, dir)
	}
	if filepath.Base(filepath.Dir(dir)) == ".husky" {
		return hookFolder{}, errors.New("this repository's hooks belong to Husky: add the line “stanch hook run pre-commit” to " +
			".husky/pre-commit, and “stanch hook run pre-push \"$@\"” to .husky/pre-push")
	}
	program, err := thisProgram()
	return hookFolder{dir, program, o.rules}, err
}

// userGit runs git as the user would, and returns its one line of output.
func userGit(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", errors.New("git is not installed, or not in PATH")
	case strings.Contains(stderr.String(), "not a git repository"):
		return "", errors.New("there is no git repository here: go to one’s folder, or make one with “git init”")
	case err != nil:
		return "", fmt.Errorf("git %s: %s", args[0], reason(stderr.String(), err))
	}
	return strings.TrimRight(string(out), "\r\n"), nil
}

// thisProgram is the path of this program, for hooks to call it by. What “go run”
// built is gone when it ends; then PATH must have a program.
func thisProgram() (string, error) {
	path, err := os.Executable()
	if err == nil && !strings.Contains(filepath.ToSlash(path), "/go-build") {
		return path, nil
	}
	if _, err := exec.LookPath("stanch"); err != nil {
		return "", errors.New("this stanch is gone when it ends, and PATH has no other: install it with “go install ./cmd/stanch” first")
	}
	return "", nil
}

// A hookState is what stands at a hook's name.
type hookState int

const (
	hookAbsent hookState = iota
	hookOurs
	hookForeign
)

func look(path string) (hookState, []byte, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(path); err == nil { // a link to nowhere
			return hookForeign, nil, nil
		}
		return hookAbsent, nil, nil
	case err != nil:
		return hookForeign, nil, fmt.Errorf("read the hook: %w", err)
	case bytes.Contains(text, []byte(hookMark)):
		return hookOurs, text, nil
	}
	return hookForeign, text, nil
}

// install puts Stanch's hook in place and says what it did. To do so again
// changes nothing.
func (h hookFolder) install(name string) (string, error) {
	path := filepath.Join(h.dir, name)
	state, text, err := look(path)
	if err != nil {
		return "", err
	}
	script := h.script(name)
	switch state {
	case hookOurs:
		if string(text) == script {
			return "is installed already", nil
		}
		return "brought up to date in " + path, h.put(path, script)
	case hookForeign:
		if err := manager(text, name); err != nil {
			return "", err
		}
		if err := chain(path); err != nil {
			return "", err
		}
		return "installed in " + path + "; the hook that was there is now " + name + chained + " and runs first", h.put(path, script)
	}
	return "installed in " + path, h.put(path, script)
}

// managers are programs that write hooks, and would write over ours. Each is known
// by a word in the hooks that it writes.
func managers() map[string]string {
	return map[string]string{
		"pre-commit.com": "add Stanch to .pre-commit-config.yaml: “repo: https://github.com/stanch-dev/stanch”, hooks “stanch” and “stanch-push”",
		"lefthook":       "add the command “stanch hook run %s” to lefthook.yml",
		"overcommit":     "add the command “stanch hook run %s” to .overcommit.yml",
		"husky":          "add the line “stanch hook run %s \"$@\"” to .husky/%[1]s",
	}
}

// manager refuses a hook that another program keeps writing.
func manager(text []byte, name string) error {
	for word, advice := range managers() {
		if bytes.Contains(text, []byte(word)) {
			if strings.Contains(advice, "%") {
				advice = fmt.Sprintf(advice, name)
			}
			return fmt.Errorf("another program (%s) writes this hook: %s", word, advice)
		}
	}
	return nil
}

// chain moves a hook out of the way, to where ours calls it.
func chain(path string) error {
	if _, err := os.Lstat(path + chained); err == nil {
		return fmt.Errorf("there are a foreign hook and an older one, %s: remove one of them", path+chained)
	}
	if err := os.Rename(path, path+chained); err != nil {
		return fmt.Errorf("keep the hook that is there: %w", err)
	}
	return nil
}

func (h hookFolder) put(path, script string) error {
	if err := os.MkdirAll(h.dir, 0o777); err != nil { // as git does; the umask decides
		return fmt.Errorf("make the folder of hooks: %w", err)
	}
	if err := os.WriteFile(path, []byte(script), 0o777); err != nil {
		return fmt.Errorf("write the hook: %w", err)
	}
	return os.Chmod(path, 0o755) // the file may have been there without
}

// uninstall takes Stanch's hook out and puts back what was there before.
func (h hookFolder) uninstall(name string) (string, error) {
	path := filepath.Join(h.dir, name)
	state, _, err := look(path)
	switch {
	case err != nil:
		return "", err
	case state == hookAbsent:
		return "is not installed", nil
	case state == hookForeign:
		return "is not Stanch's and was left alone", nil
	}
	if err := os.Remove(path); err != nil {
		return "", fmt.Errorf("remove the hook: %w", err)
	}
	err = os.Rename(path+chained, path)
	if errors.Is(err, fs.ErrNotExist) {
		return "taken out", nil
	}
	if err != nil {
		return "", fmt.Errorf("put back the hook that was there before: %w", err)
	}
	return "taken out; the hook that was there before is back", nil
}

// script is the hook: the one that was there before, then Stanch. git for Windows
// runs it with the shell that it brings along.
func (h hookFolder) script(name string) string {
	call := `"$stanch" hook run`
	for _, file := range h.rules {
		call += " --rules " + quoteShell(file)
	}
	call += " " + name + ` "$@"`
	run := `if [ -x "$before" ]; then "$before" "$@" || exit $?; fi
` + call
	if name == prePush { // both read what git says on standard input
		run = `pushed=$(cat)
say() { [ -z "$pushed" ] || printf '%s\n' "$pushed"; }
if [ -x "$before" ]; then say | "$before" "$@" || exit $?; fi
say | ` + call
	}
	return `#!/bin/sh
` + hookMark + `
before="$0` + chained + `"
stanch=` + quoteShell(filepath.ToSlash(h.program)) + `
[ -x "$stanch" ] || stanch=stanch
if ! command -v "$stanch" >/dev/null 2>&1; then
  echo "stanch: the program is gone, so nothing was scanned. Install it again, or remove $0" >&2
  exit 2
fi
` + run + "\n"
}

// quoteShell writes a text as one word of a POSIX shell.
func quoteShell(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
