package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// demoGit is the developer of the demo at his keyboard: real git in a work tree.
// After an error it does nothing more.
type demoGit struct {
	ctx context.Context
	dir string
	err error
}

func (g *demoGit) run(args ...string) { g.output(args...) }

func (g *demoGit) output(args ...string) string {
	if g.err != nil {
		return ""
	}
	cmd := exec.CommandContext(g.ctx, "git", args...)
	cmd.Dir = g.dir
	// Nothing of the reader's own git configuration, hooks or credentials.
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Dana Developer", "GIT_AUTHOR_EMAIL=dana@acme.example",
		"GIT_COMMITTER_NAME=Dana Developer", "GIT_COMMITTER_EMAIL=dana@acme.example")
	out, err := cmd.Output()
	if err != nil {
		g.err = fmt.Errorf("git %s: %w", args[0], err)
		if exit, ok := err.(*exec.ExitError); ok {
			g.err = fmt.Errorf("git %s: %s", args[0], strings.TrimSpace(string(exit.Stderr)))
		}
	}
	return strings.TrimSpace(string(out))
}

func (g *demoGit) write(name, text string) {
	if g.err != nil {
		return
	}
	path := filepath.Join(g.dir, filepath.FromSlash(name))
	if g.err = os.MkdirAll(filepath.Dir(path), 0o700); g.err == nil {
		g.err = os.WriteFile(path, []byte(text), 0o600)
	}
}

func (g *demoGit) commit(message string) {
	g.run("add", "--all")
	g.run("commit", "--quiet", "-m", message)
}
