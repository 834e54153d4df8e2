package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/riverqueue/river/rivermigrate"
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// schema returns the steps that make the tables, in the order of their names. The
// first makes version 1, each other one brings the tables from the version before
// it to its own. Steps that were released never change. They are written for SQLite;
// each dialect makes its own of them, and of what stands behind “-- [sqlite]” and
// “-- [postgres]”, up to “-- [both]”, takes what is for it.
func (d *dialect) schema() ([]string, error) {
	names, err := fs.Glob(schemaFiles, "schema/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	steps := make([]string, len(names))
	for n, name := range names {
		text, err := schemaFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if steps[n], err = d.step(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return steps, nil
}

// known is the version of the tables that this program makes.
func known() (int, error) {
	steps, err := sqlite.schema()
	return len(steps), err
}

// migrate brings the tables up to date. Of several processes that start, one does.
func (s *Store) migrate(ctx context.Context) error {
	if !s.dialect.shared {
		return s.migrateAlone(ctx)
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	// This transaction only keeps the lock meanwhile, however long that takes.
	for _, query := range []string{`set local idle_in_transaction_session_timeout = 0`, migrationLock} {
		if _, err := tx.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	return s.migrateAlone(ctx)
}

func (s *Store) migrateAlone(ctx context.Context) error {
	steps, err := s.dialect.schema()
	if err != nil {
		return err
	}
	river, err := rivermigrate.New(s.dialect.queue(s.db), &rivermigrate.Config{Logger: s.quietLog()})
	if err != nil {
		return err
	}
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	if version > len(steps) {
		return newer(version, len(steps))
	}
	if _, err := river.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("make the queue's tables: %w", err)
	}
	if err := s.upgrade(ctx, version, steps); err != nil {
		return err
	}
	if _, err := s.db.ExecContext(ctx, turnsIndex); err != nil {
		return fmt.Errorf("index the queue's table: %w", err)
	}
	return s.checkKey(ctx)
}

func newer(version, known int) error {
	return fmt.Errorf("its tables are of version %d and this program knows version %d: use a newer stanch", version, known)
}

func (s *Store) version(ctx context.Context) (int, error) {
	return s.dialect.version(ctx, s.q)
}

// upgrade takes the steps that are left, each with its version number in a
// transaction of its own: what is interrupted goes on from there.
func (s *Store) upgrade(ctx context.Context, version int, steps []string) error {
	for n := version; n < len(steps); n++ {
		err := s.InTx(ctx, func(tx *Tx) error {
			if _, err := tx.tx.ExecContext(ctx, steps[n]); err != nil {
				return err
			}
			if n == 0 {
				if _, err := tx.q.ExecContext(ctx, `insert into meta (name, value) values ('key', ?)`, tx.keys.check()); err != nil {
					return err
				}
			}
			_, err := tx.tx.ExecContext(ctx, fmt.Sprintf(s.dialect.setVersion, n+1))
			return err
		})
		if err != nil {
			return fmt.Errorf("bring tables from version %d to %d: %w", n, n+1, err)
		}
	}
	return nil
}
