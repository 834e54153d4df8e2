package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

const allowUsage = `Usage: stanch allow --until DAY --owner @WHO --reason TEXT <CREDENTIAL

Prints the line for .github/stanch-allow.txt that says that a credential is no leak,
wherever it stands, until the end of that day. The line does not tell the credential:
it is made under the server's key, which STANCH_KEY or STANCH_KEY_FILE must hold. The
check run of a finding shows the same line. A credential that is live is a leak
whatever any list says.

  stanch allow --until 2030-12-31 --owner @dana --reason 'a key of the test server' <key

Exit status: 0 done, 2 could not do what was asked.
`

func runAllow(_ context.Context, env *environment, args []string) int {
	f := flag.NewFlagSet("allow", flag.ContinueOnError)
	until := f.String("until", "", "the last `DAY` on which it is allowed, as 2030-12-31")
	owner := f.String("owner", "", "who answers for it: `@login` or @organisation/team")
	reason := f.String("reason", "", "why it is no leak, in one line of `TEXT`")
	rest, err := env.parseFlags(f, allowUsage, args)
	if err == nil && len(rest) > 0 {
		err = errors.New("allow takes no arguments: the credential is read from standard input, so that no list of processes shows it")
	}
	if err != nil {
		return env.exit(err)
	}
	if err := env.allow(*until, *owner, *reason); err != nil {
		return env.fail(err)
	}
	return exitDone
}

func (env *environment) allow(until, owner, reason string) error {
	keys, known, err := env.serverKeys()
	switch {
	case err != nil:
		return err
	case !known:
		return errors.New("allow needs the server's key: set STANCH_KEY or STANCH_KEY_FILE, or take the line from the check run")
	}
	value, err := io.ReadAll(io.LimitReader(env.stdin, maxValue+1))
	if err != nil {
		return fmt.Errorf("read the credential from standard input: %w", err)
	}
	secret := checks.NewSecret(strings.TrimRight(string(value), "\r\n"))
	if secret.Len() == 0 || secret.Len() > maxValue {
		return errors.New("standard input holds no credential: write stanch allow … <FILE")
	}
	id := secret.Fingerprint(keys.Fingerprint).AllowID(keys.Allow)
	entry, err := checks.ParseAllowEntry(fmt.Sprintf("%s %s %s %s", id, orBlank(until), orBlank(owner), reason))
	if err != nil {
		return fmt.Errorf("the line would not count: %w", err)
	}
	_, err = fmt.Fprintln(env.stdout, entry)
	return err
}

// orBlank stands for a part of an entry that was not given, so that the error speaks
// of that part.
func orBlank(s string) string {
	if s == "" {
		return "?"
	}
	return s
}

// serverKeys are the keys of the server, if this environment has them.
func (env *environment) serverKeys() (keys store.Keys, known bool, err error) {
	text, err := lookup(env.getenv, "STANCH_KEY")
	if err != nil || text == "" {
		return keys, false, err
	}
	master, err := store.DecodeKey(text)
	if err != nil {
		return keys, false, fmt.Errorf("STANCH_KEY: %w", err)
	}
	keys, err = store.NewKeys(master)
	return keys, err == nil, err
}
