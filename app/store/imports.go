package store

import "context"

// AddImport records that others found an incident's credential, in a repository or, with
// 0, in none that they named.
func (tx *Tx) AddImport(ctx context.Context, incident string, repository int64) error {
	_, err := tx.q.ExecContext(ctx, `insert into imports (incident, repository_id) values (?, ?) on conflict do nothing`, incident, repository)
	return err
}

// ImportsOf returns the repositories that others found an incident's credential in, 0
// standing for none that they named.
func (q queries) ImportsOf(ctx context.Context, incident string) ([]int64, error) {
	return collect(q, ctx, func(row scanner) (id int64, err error) {
		return id, row.Scan(&id)
	}, `select repository_id from imports where incident = ? order by repository_id`, incident)
}
