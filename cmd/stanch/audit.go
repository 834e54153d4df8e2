package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strconv"
	"strings"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/store"
)

const auditUsage = `Usage: stanch audit verify [--noted NUMBER:HASH]
       stanch audit export

The audit log holds what Stanch decided and did, and on whose word, each entry before
it was done. Every entry carries a keyed hash of itself and of the one before it.

verify walks the whole log and says whether an entry was changed, removed or put in
between. It prints the last entry's number and hash: note them elsewhere, and give
them with --noted the next time, which tells whether the end was cut off.

export prints the log, one JSON object a line, the oldest entry first. It says so when
the log is broken, and prints it all the same.

Both read the database that STANCH_DATABASE_URL names (default sqlite:stanch.db), with
the key in STANCH_KEY or STANCH_KEY_FILE or beside it, and may run beside a server.

Exit status: 0 the log is unbroken, 2 it is not, or it could not be read.
`

func runAudit(ctx context.Context, env *environment, args []string) int {
	f := flag.NewFlagSet("audit", flag.ContinueOnError)
	noted := f.String("noted", "", "verify that entry `NUMBER:HASH`, as printed before, is still in the log")
	rest, err := env.parseFlags(f, auditUsage, args)
	if err == nil && (len(rest) != 1 || rest[0] != "verify" && rest[0] != "export" || rest[0] == "export" && *noted != "") {
		err = errors.New("say stanch audit verify [--noted NUMBER:HASH], or stanch audit export")
	}
	var number int64
	var hash string
	if err == nil {
		number, hash, err = parseNoted(*noted)
	}
	if err != nil {
		return env.exit(err)
	}
	if err := env.audit(ctx, rest[0] == "export", number, hash); err != nil {
		return env.fail(err)
	}
	return exitDone
}

// parseNoted reads what a person noted of an entry: its number and its hash. No entry
// has the number 0.
func parseNoted(text string) (number int64, hash string, err error) {
	if text == "" {
		return 0, "", nil
	}
	first, hash, ok := strings.Cut(text, ":")
	number, err = strconv.ParseInt(first, 10, 64)
	if !ok || err != nil || number < 1 || hash == "" {
		return 0, "", fmt.Errorf("--noted %q is not of the form NUMBER:HASH, as stanch audit verify prints it", text)
	}
	return number, hash, nil
}

// audit walks the audit log to its end, and prints it or where it ends.
func (env *environment) audit(ctx context.Context, export bool, number int64, hash string) error {
	memory, key, err := env.view(ctx)
	if err != nil {
		return err
	}
	defer memory.Close()
	kept := number == 0
	entries := func(yield func(audit.Entry, error) bool) {
		for e, err := range memory.AuditLog(ctx) {
			kept = kept || err == nil && e.Seq == number && e.Hash == hash
			if !yield(e, err) {
				return
			}
		}
	}
	if export {
		if err := env.printEntries(entries); err != nil {
			return err
		}
	}
	last, err := key.Verify(entries)
	switch {
	case err != nil:
		return fmt.Errorf("the audit log is broken: %w. Entries up to %d are as they were written; keep the database, and find out who can write to it", err, last.Seq)
	case !kept:
		return fmt.Errorf("the audit log does not have the entry %d that was noted: its end was cut off or written anew; what it has ends with %d:%s", number, last.Seq, last.Hash)
	case export:
		return nil
	case last.Seq == 0:
		_, err = fmt.Fprintln(env.stdout, "The audit log is empty.")
	default:
		_, err = fmt.Fprintf(env.stdout, "The audit log is unbroken: %d entries, the last of %s.\nNote elsewhere, for --noted: %d:%s\n",
			last.Seq, last.At.Format("2006-01-02 15:04:05 MST"), last.Seq, last.Hash)
	}
	return err
}

func (env *environment) printEntries(entries iter.Seq2[audit.Entry, error]) error {
	out := json.NewEncoder(env.stdout)
	for e, err := range entries {
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		if err := out.Encode(e); err != nil {
			return err
		}
	}
	return nil
}

// view opens the server's database for reading, and returns its audit log's key.
func (env *environment) view(ctx context.Context) (*store.Store, audit.Key, error) {
	var where struct {
		DatabaseURL string `env:"STANCH_DATABASE_URL, default=sqlite:stanch.db" help:"where the server remembers"`
		Key         string `env:"STANCH_KEY" help:"its master key"`
	}
	if err := readEnvironment(ctx, env.getenv, &where); err != nil {
		return nil, nil, err
	}
	database, err := store.ParseURL(where.DatabaseURL)
	if err != nil {
		return nil, nil, err
	}
	if database.File() != "" {
		if _, err := os.Stat(database.File()); err != nil {
			return nil, nil, fmt.Errorf("no database to read: %w: STANCH_DATABASE_URL names the server's", err)
		}
		_, err := os.Stat(keyFile(database))
		if where.Key == "" && errors.Is(err, fs.ErrNotExist) { // or else one would be made
			return nil, nil, fmt.Errorf("the master key of %s is not there: set STANCH_KEY or STANCH_KEY_FILE, or put it into %s", database, keyFile(database))
		}
	}
	keys, err := settings{Key: where.Key}.keys(database)
	if err != nil {
		return nil, nil, err
	}
	memory, err := store.View(ctx, where.DatabaseURL, keys)
	return memory, keys.Audit, err
}
