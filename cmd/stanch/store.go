package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/checks"
)

const storeUsage = `Usage: stanch store list
       stanch store put PATH FIELD <VALUE
       stanch store get PATH FIELD

Keeps live credentials in the encrypted file that STANCH_STORE_FILE names, for
teams without Vault. stanch serve finds leaked credentials there and replaces
them. put reads the value from standard input; get is the one command that prints
a credential, to standard output. Read a credential with it when you need it, so
that you have the new one after a rotation:

  export GITHUB_TOKEN=$(stanch store get ci/deploy token)

The key is in the file's twin with .key at its end: keep it elsewhere in backups.

Exit status: 0 done, 2 could not do what was asked.
`

// maxValue bounds a credential: far more than any key file has.
const maxValue = 1 << 20

func runStore(ctx context.Context, env *environment, args []string) int {
	rest, err := env.parseFlags(flag.NewFlagSet("store", flag.ContinueOnError), storeUsage, args)
	if err != nil {
		return env.exit(err)
	}
	if err := env.store(ctx, rest); err != nil {
		return env.fail(err)
	}
	return exitDone
}

func (env *environment) store(ctx context.Context, args []string) error {
	verb := strings.Join(args[:min(len(args), 1)], "")
	switch {
	case verb == "list" && len(args) == 1, (verb == "put" || verb == "get") && len(args) == 3:
	default:
		return errors.New("store wants list, put PATH FIELD or get PATH FIELD: “stanch store --help” tells more")
	}
	file, err := env.openStore()
	if err != nil {
		return err
	}
	switch verb {
	case "put":
		return env.storePut(ctx, file, args[1], args[2])
	case "get":
		return env.storeGet(ctx, file, args[1], args[2])
	}
	paths, err := file.Paths()
	for _, p := range paths {
		fmt.Fprintln(env.stdout, p)
	}
	return err
}

func (env *environment) openStore() (*secretstore.File, error) {
	path, err := lookup(env.getenv, "STANCH_STORE_FILE")
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, errors.New("STANCH_STORE_FILE is not set: it names the encrypted file, for instance secrets.age")
	}
	// Fingerprints are for finding leaked values. Nothing is looked for here, so
	// any key will do.
	key := make([]byte, 32)
	rand.Read(key)
	return secretstore.OpenFile(path, path+".key", key)
}

func (env *environment) storePut(ctx context.Context, file *secretstore.File, path, field string) error {
	b, err := io.ReadAll(io.LimitReader(env.stdin, maxValue+1))
	if err != nil {
		return fmt.Errorf("read the value from standard input: %w", err)
	}
	value := strings.TrimRight(string(b), "\r\n")
	switch {
	case value == "":
		return errors.New("the value on standard input is empty: nothing was changed")
	case len(b) > maxValue:
		return fmt.Errorf("the value on standard input has more than %d bytes: nothing was changed", maxValue)
	}
	at := secretstore.Location{Store: file.Name(), Path: path, Field: field}
	now, err := file.Get(ctx, at)
	if err != nil && !errors.Is(err, secretstore.ErrNotFound) {
		return err
	}
	at.Version = now.Version
	put, err := file.Put(ctx, at, map[string]checks.Secret{field: checks.NewSecret(value)}, "stanch store put")
	if err != nil {
		return err
	}
	fmt.Fprintf(env.stderr, "stored %s\n", put)
	return nil
}

func (env *environment) storeGet(ctx context.Context, file *secretstore.File, path, field string) error {
	now, err := file.Get(ctx, secretstore.Location{Store: file.Name(), Path: path, Field: field})
	value, ok := now.Fields[field]
	if errors.Is(err, secretstore.ErrNotFound) || err == nil && !ok {
		return fmt.Errorf("%s has no field %s: “stanch store list” lists the paths", path, field)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.stdout, value.Expose())
	return err
}
