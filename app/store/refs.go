package store

import (
	"context"
	"errors"
	"slices"
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

// MoveRef records that a ref was scanned up to r.SHA, if what was last scanned of
// it is one of from, or nothing is known of it. Otherwise another scan was faster,
// which knew more.
func (tx *Tx) MoveRef(ctx context.Context, r Ref, from ...string) error {
	was, err := tx.Ref(ctx, r.Installation, r.Repository, r.Name)
	if err == nil && !slices.Contains(from, was) {
		return nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	_, err = tx.q.ExecContext(ctx, `insert into refs (installation, repository_id, ref, sha) values (?, ?, ?, ?)
		on conflict (installation, repository_id, ref) do update set sha = excluded.sha`, r.Installation, r.Repository, r.Name, r.SHA)
	return err
}

// ForgetRef forgets a ref that was deleted.
func (tx *Tx) ForgetRef(ctx context.Context, installation, repository int64, name string) error {
	_, err := tx.q.ExecContext(ctx, `delete from refs where installation = ? and repository_id = ? and ref = ?`, installation, repository, name)
	return err
}

// Scanned reports whether a commit was scanned to the end as the head of something.
func (q queries) Scanned(ctx context.Context, installation, repository int64, head string) (scanned bool, err error) {
	err = q.q.QueryRowContext(ctx, `select exists (select 1 from checks join scans on check_id = id
		where installation = ? and repository_id = ? and head_sha = ? and finished > 0 and problem = '')`,
		installation, repository, head).Scan(&scanned)
	return scanned, err
}
