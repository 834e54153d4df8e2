package store

import (
	"context"
	"errors"
	"strings"
	"time"
)

// A Backfill is how far the scan of a repository's whole history has come.
type Backfill struct {
	Repository   int64
	Installation int64
	Reached      []string // commits whose history is scanned
	Commits      int      // scanned so far
	Started      time.Time
	Finished     time.Time
}

// StartBackfill records that a repository's history is to be scanned, unless it is
// already, and reports whether it was not.
func (tx *Tx) StartBackfill(ctx context.Context, b Backfill) (fresh bool, err error) {
	res, err := tx.q.ExecContext(ctx, `insert into backfills (repository_id, installation, started) values (?, ?, ?) on conflict do nothing`,
		b.Repository, b.Installation, micros(b.Started))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// SaveBackfill records how far a backfill has come. One that was erased, and may
// have been started anew since, is ErrNotFound.
func (tx *Tx) SaveBackfill(ctx context.Context, b Backfill) error {
	res, err := tx.q.ExecContext(ctx, `update backfills set reached = ?, commits = ?, finished = ? where repository_id = ? and started = ?`,
		strings.Join(b.Reached, "\n"), b.Commits, micros(b.Finished), b.Repository, micros(b.Started))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(ErrNotFound, err)
	}
	return nil
}

// Backfill returns a repository's backfill, or ErrNotFound.
func (q queries) Backfill(ctx context.Context, repository int64) (Backfill, error) {
	b := Backfill{Repository: repository}
	var reached string
	var started, finished int64
	err := q.q.QueryRowContext(ctx, `select installation, reached, commits, started, finished from backfills where repository_id = ?`, repository).
		Scan(&b.Installation, &reached, &b.Commits, &started, &finished)
	b.Reached, b.Started, b.Finished = strings.Fields(reached), fromMicros(started), fromMicros(finished)
	return b, notFound(err)
}
