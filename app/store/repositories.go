package store

import (
	"context"

	"github.com/stanch-dev/stanch/app/github"
)

// A RepositoryState says whether the App may work on a repository.
type RepositoryState string

// The states.
const (
	Active    RepositoryState = "active"
	Suspended RepositoryState = "suspended" // the installation is, for now
	Gone      RepositoryState = "gone"      // removed, deleted, or the App was uninstalled
)

// A Repository is a repository as it is now, with the installation that sees it.
type Repository struct {
	github.Repository
	Installation int64
	State        RepositoryState
}

const repositoryColumns = `id, installation, owner, name, default_branch, private, state`

// SaveRepository records how a repository is.
func (tx *Tx) SaveRepository(ctx context.Context, r Repository) error {
	_, err := tx.q.ExecContext(ctx, `insert into repositories (`+repositoryColumns+`) values (?, ?, ?, ?, ?, ?, ?)
		on conflict (id) do update set installation = excluded.installation, owner = excluded.owner, name = excluded.name,
			default_branch = case excluded.default_branch when '' then default_branch else excluded.default_branch end,
			private = excluded.private, state = excluded.state`,
		r.ID, r.Installation, r.Owner, r.Name, r.DefaultBranch, r.Private, r.State)
	return err
}

// MeetRepository records a repository that an event speaks of, unless it is known.
// Events come out of order: what is known is not unlearned from them.
func (tx *Tx) MeetRepository(ctx context.Context, installation int64, r github.Repository) error {
	_, err := tx.q.ExecContext(ctx, `insert into repositories (`+repositoryColumns+`) values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing`,
		r.ID, installation, r.Owner, r.Name, r.DefaultBranch, r.Private, Active)
	return err
}

// SetRepositoryState changes the state of a repository.
func (tx *Tx) SetRepositoryState(ctx context.Context, id int64, state RepositoryState) error {
	_, err := tx.q.ExecContext(ctx, `update repositories set state = ? where id = ?`, state, id)
	return err
}

// Repository returns a repository by GitHub's number, or ErrNotFound.
func (q queries) Repository(ctx context.Context, id int64) (Repository, error) {
	r, err := readRepository(q.q.QueryRowContext(ctx, `select `+repositoryColumns+` from repositories where id = ?`, id))
	return r, notFound(err)
}

// RepositoriesIn returns the repositories of an installation, whatever their state.
func (q queries) RepositoriesIn(ctx context.Context, installation int64) ([]Repository, error) {
	return collect(q, ctx, readRepository, `select `+repositoryColumns+` from repositories where installation = ? order by id`, installation)
}

// RepositoryNamed returns the active repository of a name, or ErrNotFound.
func (q queries) RepositoryNamed(ctx context.Context, owner, name string) (Repository, error) {
	r, err := readRepository(q.q.QueryRowContext(ctx,
		`select `+repositoryColumns+` from repositories where lower(owner) = lower(?) and lower(name) = lower(?) and state = ?`, owner, name, Active))
	return r, notFound(err)
}

// ActiveRepositories returns the active repositories of all installations.
func (q queries) ActiveRepositories(ctx context.Context) ([]Repository, error) {
	return collect(q, ctx, readRepository, `select `+repositoryColumns+` from repositories where state = ? order by id`, Active)
}

func readRepository(row scanner) (r Repository, err error) {
	err = row.Scan(&r.ID, &r.Installation, &r.Owner, &r.Name, &r.DefaultBranch, &r.Private, &r.State)
	return r, err
}
