package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/stanch-dev/stanch/checks/intake"
	"github.com/stanch-dev/stanch/rules"
)

// credentialText reads standard input or asks for the credential at the terminal,
// which does not show it.
func (env *environment) credentialText(ctx context.Context, o verifyOptions, rule *rules.Rule) (string, error) {
	terminal, ok := env.stdin.(*os.File)
	switch {
	case !ok || !term.IsTerminal(int(terminal.Fd())):
		return env.pipedText()
	case !o.parts:
		return env.prompt(ctx, terminal, "credential")
	}
	var lines strings.Builder
	for _, name := range intake.PartsOf(rule) {
		value, err := env.prompt(ctx, terminal, name)
		if err != nil {
			return "", err
		}
		if value != "" {
			fmt.Fprintf(&lines, "%s: %s\n", name, value)
		}
	}
	return lines.String(), nil
}

// pipedText reads standard input to its end.
func (env *environment) pipedText() (string, error) {
	b, err := io.ReadAll(io.LimitReader(env.stdin, maxValue+1))
	text := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return "", fmt.Errorf("read standard input: %w", err)
	case len(b) > maxValue:
		return "", fmt.Errorf("standard input has more than %d bytes: give one credential; “stanch scan --verify” looks through whole files", maxValue)
	case text == "":
		return "", errors.New("standard input is empty: there is no credential to ask about")
	}
	return text, nil
}

// prompt asks for one line that is not shown. When ctx ends, the terminal shows again
// what is typed.
func (env *environment) prompt(ctx context.Context, terminal *os.File, what string) (string, error) {
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read the terminal's state: %w", err)
	}
	fmt.Fprintf(env.stderr, "%s (not shown): ", what)
	type line struct {
		text []byte
		err  error
	}
	typed := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		typed <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	case l := <-typed:
		fmt.Fprintln(env.stderr)
		if l.err != nil {
			return "", fmt.Errorf("read from the terminal: %w", l.err)
		}
		return strings.TrimSpace(string(l.text)), nil
	}
}

// identityText writes what a provider says of a credential's owner in one line.
func identityText(identity map[string]string) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(identity)) {
		texts = append(texts, name+"="+identity[name])
	}
	return strings.Join(texts, ", ")
}
