package store

import (
	"context"
	"fmt"
)

// Erased counts what EraseRepository took away, and what it had to leave.
type Erased struct {
	Checks, Incidents int
	// Kept are the incidents whose credentials are needed until a remediation that
	// runs has ended, which erases them.
	Kept int
}

// EraseRepository forgets what is kept of a repository: its refs, its checks with
// all places, what its people asked for and allowed, and the credentials that were sealed for incidents which no other
// repository has. What is known of the incidents otherwise holds no secret, and
// stays for the audit log's sake.
func (tx *Tx) EraseRepository(ctx context.Context, id int64) (e Erased, err error) {
	const own = `id in (select o.incident from occurrences o join scans s on s.delivery = o.delivery join checks c on c.id = s.check_id
			where c.repository_id = ?1)
		and id not in (select o.incident from occurrences o join scans s on s.delivery = o.delivery join checks c on c.id = s.check_id
			where c.repository_id <> ?1)`
	const imported = `id in (select incident from imports where repository_id = ?1)
		and id not in (select incident from imports where repository_id <> ?1)
		and id not in (select o.incident from occurrences o join scans s on s.delivery = o.delivery join checks c on c.id = s.check_id
			where c.repository_id <> ?1)`
	const idle = ` and verb = '' and sealed_new is null`
	if err := tx.q.QueryRowContext(ctx, `select count(*) from incidents where resolved = 0 and not (verb = '' and sealed_new is null) and `+own, id).
		Scan(&e.Kept); err != nil {
		return e, err
	}
	counted := []struct {
		into  *int
		query string
	}{
		{nil, `delete from accounts where incident in (select id from incidents where ` + own + `)`},
		{&e.Incidents, `update incidents set sealed_old = null where sealed_old is not null and ` + own + idle},
		{nil, `delete from accounts where incident in (select id from incidents where ` + imported + `)`},
		{nil, `update incidents set sealed_old = null where sealed_old is not null and ` + imported + idle},
		{nil, `delete from imports where repository_id = ?1`},
		{nil, `delete from occurrences where delivery in (select delivery from scans join checks on checks.id = check_id where repository_id = ?1)`},
		{nil, `delete from scans where check_id in (select id from checks where repository_id = ?1)`},
		{nil, `delete from check_pulls where check_id in (select id from checks where repository_id = ?1)`},
		{&e.Checks, `delete from checks where repository_id = ?1`},
		{nil, `delete from refs where repository_id = ?1`},
		{nil, `delete from backfills where repository_id = ?1`},
		{nil, `delete from alerts where repository_id = ?1`},
		{nil, `delete from allowances where repository_id = ?1`},
		{nil, `delete from requests where repository_id = ?1`},
		{nil, `update repositories set state = 'gone', swept = 0 where id = ?1`},
	}
	for _, step := range counted {
		res, err := tx.q.ExecContext(ctx, step.query, id)
		if err != nil {
			return e, err
		}
		if step.into == nil {
			continue
		}
		n, err := res.RowsAffected()
		if err != nil {
			return e, err
		}
		*step.into = int(n)
	}
	return e, nil
}

// HandOver takes what is known of a repository along to the installation of its
// new owner.
func (tx *Tx) HandOver(ctx context.Context, repository, to int64) error {
	// Of rows about the same, the new owner's stays, or the last one's goes along.
	const unless = ` and not exists (select 1 from %[1]s o where o.repository_id = ?1 and o.%[2]s = %[1]s.%[2]s
		and (o.installation = ?2 or o.installation > %[1]s.installation))`
	for _, query := range []string{
		`update checks set installation = ?2 where repository_id = ?1` + fmt.Sprintf(unless, "checks", "head_sha"),
		`update refs set installation = ?2 where repository_id = ?1` + fmt.Sprintf(unless, "refs", "ref"),
		`update backfills set installation = ?2 where repository_id = ?1`,
		`update alerts set installation = ?2 where repository_id = ?1`,
		`update allowances set installation = ?2 where repository_id = ?1` + fmt.Sprintf(unless, "allowances", "fingerprint"),
	} {
		if _, err := tx.q.ExecContext(ctx, query, repository, to); err != nil {
			return err
		}
	}
	return nil
}

// SuspendInstallation has nothing more done in an installation for now.
func (tx *Tx) SuspendInstallation(ctx context.Context, installation int64) error {
	_, err := tx.q.ExecContext(ctx, `update repositories set state = ? where installation = ? and state = ?`, Suspended, installation, Active)
	return err
}

// OpenChecks returns the ids of a repository's checks that show incidents which
// are not resolved.
func (q queries) OpenChecks(ctx context.Context, repository int64) ([]string, error) {
	return collect(q, ctx, func(row scanner) (id string, err error) {
		return id, row.Scan(&id)
	}, `select distinct c.id from checks c join scans s on s.check_id = c.id join occurrences o on o.delivery = s.delivery
		join incidents i on i.id = o.incident where c.repository_id = ? and i.resolved = 0 order by c.id`, repository)
}
