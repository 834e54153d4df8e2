package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
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
	list, err := json.Marshal([2]any{names, from})
	if err != nil {
		return 0, err
	}
	res, err := tx.q.ExecContext(ctx, `insert into refs (installation, repository_id, ref, sha)
		select ?1, ?2, value, ?3 from json_each(?4, '$[0]') where true
		on conflict (installation, repository_id, ref) do update set sha = excluded.sha
			where refs.sha in (select value from json_each(?4, '$[1]'))`, r.Installation, r.Repository, r.SHA, string(list))
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
	list, err := json.Marshal(names)
	if err != nil {
		return err
	}
	_, err = tx.q.ExecContext(ctx, `delete from refs where installation = ? and repository_id = ?
		and ref in (select value from json_each(?))`, installation, repository, string(list))
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
	_, err := collect(q, ctx, func(row scanner) (name string, err error) {
		err = row.Scan(&name)
		queued[name] = true
		return name, err
	}, `select value from river_job, json_each(river_job.args, '$.refs') where kind = ? and json_extract(river_job.args, '$.repository.id') = ?
		and state in ('available', 'pending', 'running', 'retryable', 'scheduled')`, kind, repository)
	return queued, err
}

// Scanning reports whether a job about a repository waits or runs in one of the queues.
func (q queries) Scanning(ctx context.Context, installation, repository int64, queues ...string) (scanning bool, err error) {
	list, err := json.Marshal(queues)
	if err != nil {
		return false, err
	}
	return scanning, q.q.QueryRowContext(ctx, `select exists (select 1 from river_job where queue in (select value from json_each(?))
		and json_extract(args, '$.installation') = ? and finalized_at is null and json_extract(args, '$.repository.id') = ?)`,
		string(list), installation, repository).Scan(&scanning)
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
