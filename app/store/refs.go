package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// A Ref is what a branch or a tag pointed at when it was last scanned to the end.
type Ref struct {
	Installation int64
	Repository   int64
	Name         string // "refs/heads/main"
	SHA          string
}

// Refs returns what was last scanned of each ref of a repository, by name.
func (q queries) Refs(ctx context.Context, installation, repository int64) (map[string]string, error) {
	refs := map[string]string{}
	_, err := collect(q, ctx, func(row scanner) (r Ref, err error) {
		err = row.Scan(&r.Name, &r.SHA)
		refs[r.Name] = r.SHA
		return r, err
	}, `select ref, sha from refs where installation = ? and repository_id = ?`, installation, repository)
	return refs, err
}

// Ref returns what was last scanned of a ref, or ErrNotFound.
func (q queries) Ref(ctx context.Context, installation, repository int64, name string) (sha string, err error) {
	err = q.q.QueryRowContext(ctx, `select sha from refs where installation = ? and repository_id = ? and ref = ?`,
		installation, repository, name).Scan(&sha)
	return sha, notFound(err)
}

// RefBatch is how many refs one transaction may move or forget: SQLite has one writer
// at a time, and somebody's delivery waits for it.
const RefBatch = 500

// MoveRef records that a ref was scanned up to r.SHA, if what was last scanned of
// it is one of from, or nothing is known of it. Otherwise another scan was faster,
// which knew more.
func (tx *Tx) MoveRef(ctx context.Context, r Ref, from ...string) error {
	_, err := tx.MoveRefs(ctx, r, []string{r.Name}, from...)
	return err
}

// MoveRefs does for refs of these names what MoveRef does for one, and reports how
// many moved.
func (tx *Tx) MoveRefs(ctx context.Context, r Ref, names []string, from ...string) (moved int, err error) {
	if len(names) == 0 {
		return 0, nil
	}
	var args []any
	for _, name := range names {
		args = append(args, r.Installation, r.Repository, name, r.SHA)
	}
	for _, sha := range from {
		args = append(args, sha)
	}
	rows := strings.TrimSuffix(strings.Repeat(`(?, ?, ?, ?), `, len(names)), `, `)
	known := marks(len(from))
	if known == "" {
		known = `null` // nothing is equal to that
	}
	res, err := tx.q.ExecContext(ctx, `insert into refs (installation, repository_id, ref, sha) values `+rows+`
		on conflict (installation, repository_id, ref) do update set sha = excluded.sha where refs.sha in (`+known+`)`, args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// ForgetRefs forgets refs that were deleted.
func (tx *Tx) ForgetRefs(ctx context.Context, installation, repository int64, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	args := []any{installation, repository}
	for _, name := range names {
		args = append(args, name)
	}
	_, err := tx.q.ExecContext(ctx, `delete from refs where installation = ? and repository_id = ? and ref in (`+marks(len(names))+`)`, args...)
	return err
}

// Scanned reports whether a commit was scanned to the end as the head of something.
func (q queries) Scanned(ctx context.Context, installation, repository int64, head string) (scanned bool, err error) {
	err = q.q.QueryRowContext(ctx, `select exists (select 1 from checks join scans on check_id = id
		where installation = ? and repository_id = ? and head_sha = ? and finished > 0 and problem = '')`,
		installation, repository, head).Scan(&scanned)
	return scanned, err
}

// QueuedRefs returns the refs of a repository about which jobs of a kind wait or
// run.
func (q queries) QueuedRefs(ctx context.Context, kind string, repository int64) (map[string]bool, error) {
	queued := map[string]bool{}
	_, err := collect(q, ctx, func(row scanner) (names []string, err error) {
		var list []byte
		if err := row.Scan(&list); err != nil || list == nil {
			return nil, err
		}
		err = json.Unmarshal(list, &names)
		for _, name := range names {
			queued[name] = true
		}
		return names, err
	}, `select cast(args -> 'refs' as text) from river_job where kind = ? and `+jobRepository+` = ?
		and state in ('available', 'pending', 'running', 'retryable', 'scheduled')`, kind, repository)
	return queued, err
}

// Scanning reports whether a job about a repository waits or runs in one of the queues.
func (q queries) Scanning(ctx context.Context, installation, repository int64, queues ...string) (scanning bool, err error) {
	args := []any{installation, repository}
	for _, queue := range queues {
		args = append(args, queue)
	}
	return scanning, q.q.QueryRowContext(ctx, `select exists (select 1 from river_job where `+jobInstallation+` = ?
		and finalized_at is null and `+jobRepository+` = ? and queue in (`+marks(len(queues))+`))`, args...).Scan(&scanning)
}

// Mark returns a time that SetMark kept under a name, the zero time without one.
func (q queries) Mark(ctx context.Context, name string) (time.Time, error) {
	var text string
	err := q.q.QueryRowContext(ctx, `select value from meta where name = ?`, name).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, text)
}

// SetMark keeps a time under a name.
func (tx *Tx) SetMark(ctx context.Context, name string, at time.Time) error {
	_, err := tx.q.ExecContext(ctx, `insert into meta (name, value) values (?, ?) on conflict (name) do update set value = excluded.value`,
		name, at.UTC().Format(time.RFC3339Nano))
	return err
}
