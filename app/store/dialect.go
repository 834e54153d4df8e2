package store

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riversqlite"
)

// A dialect is what SQLite and PostgreSQL say differently. Queries are written once,
// in what both understand, with ? or ?1 for their arguments; no query has a question
// mark for anything else.
type dialect struct {
	name string
	// shared says that several processes may work on one database.
	shared bool
	// begin is said first in each transaction that writes, or is empty.
	begin string
	// translate brings a query and its arguments into the database's form.
	translate func(query string, args []any) (string, []any)
	// types brings a step of the schema into the database's form.
	types *strings.Replacer
	// version is that of the tables, 0 where there are none; setVersion changes it.
	version    func(context.Context, conn) (int, error)
	setVersion string
	// failures is how many of a job's attempts ended with an error.
	failures string
	// queue is River's driver.
	queue func(*sql.DB) riverdriver.Driver[*sql.Tx]
}

var sqlite = dialect{
	name:      "sqlite",
	translate: func(query string, args []any) (string, []any) { return query, args },
	types:     strings.NewReplacer(),
	version: func(ctx context.Context, c conn) (version int, err error) {
		return version, c.QueryRowContext(ctx, `pragma user_version`).Scan(&version)
	},
	setVersion: `pragma user_version = %d`,
	failures:   `json_array_length(coalesce(errors, '[]'))`,
	queue:      func(db *sql.DB) riverdriver.Driver[*sql.Tx] { return riversqlite.New(db) },
}

// A conn is a database or a transaction that is spoken to in its dialect.
type conn struct {
	raw interface {
		QueryContext(context.Context, string, ...any) (*sql.Rows, error)
		QueryRowContext(context.Context, string, ...any) *sql.Row
		ExecContext(context.Context, string, ...any) (sql.Result, error)
	}
	dialect *dialect
}

func (c conn) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	query, args = c.dialect.translate(query, args)
	return c.raw.QueryContext(ctx, query, args...)
}

func (c conn) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	query, args = c.dialect.translate(query, args)
	return c.raw.QueryRowContext(ctx, query, args...)
}

func (c conn) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	query, args = c.dialect.translate(query, args)
	return c.raw.ExecContext(ctx, query, args...)
}

// placeholder is where a query wants an argument, the next one or that of a number.
var placeholder = regexp.MustCompile(`\?\d*`)

// numbered writes a query's arguments as PostgreSQL does, $1 for ?1 and for the first ?.
func numbered(query string) string {
	n := 0
	return placeholder.ReplaceAllStringFunc(query, func(mark string) string {
		if mark != "?" {
			return "$" + mark[1:]
		}
		n++
		return "$" + strconv.Itoa(n)
	})
}

// marks are n arguments of a list.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// section begins a part of a step of the schema that one database alone is told, or,
// with "both", ends it.
var section = regexp.MustCompile(`(?m)^-- \[(\w+)\]\n`)

// step brings a step of the schema into the database's form.
func (d *dialect) step(text string) (string, error) {
	var mine strings.Builder
	about, from := "both", 0
	take := func(to int) {
		if about == "both" || about == d.name {
			mine.WriteString(text[from:to])
		}
	}
	for _, at := range section.FindAllStringSubmatchIndex(text, -1) {
		take(at[0])
		about, from = text[at[2]:at[3]], at[1]
		if about != "both" && about != sqlite.name && about != postgres.name {
			return "", fmt.Errorf("a section for %q, which is no database", about)
		}
	}
	take(len(text))
	return d.types.Replace(mine.String()), nil
}
