package store

import (
	"context"
	"time"

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
	Swept        time.Time // when its refs were last compared with what was scanned
}

// repositoryColumns are those that say how a repository is.
const repositoryColumns = `id, installation, owner, name, default_branch, private, state`

// SaveRepository records how a repository is.
func (tx *Tx) SaveRepository(ctx context.Context, r Repository) error {
	_, err := tx.q.ExecContext(ctx, `insert into repositories (`+repositoryColumns+`) values (?, ?, ?, ?, ?, ?, ?)
		on conflict (id) do update set installation = excluded.installation, owner = excluded.owner, name = excluded.name,
			default_branch = case excluded.default_branch when '' then repositories.default_branch else excluded.default_branch end,
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

// SetSwept records when the refs of a repository were compared with what was scanned.
func (tx *Tx) SetSwept(ctx context.Context, id int64, at time.Time) error {
	_, err := tx.q.ExecContext(ctx, `update repositories set swept = ? where id = ?`, micros(at), id)
	return err
}

// Repository returns a repository by GitHub's number, or ErrNotFound.
func (q queries) Repository(ctx context.Context, id int64) (Repository, error) {
	r, err := readRepository(q.q.QueryRowContext(ctx, `select `+repositoryColumns+`, swept from repositories where id = ?`, id))
	return r, notFound(err)
}

// RepositoriesIn returns the repositories of an installation, whatever their state.
func (q queries) RepositoriesIn(ctx context.Context, installation int64) ([]Repository, error) {
	return collect(q, ctx, readRepository, `select `+repositoryColumns+`, swept from repositories where installation = ? order by id`, installation)
}

// RepositoryNamed returns the active repository of a name, or ErrNotFound.
func (q queries) RepositoryNamed(ctx context.Context, owner, name string) (Repository, error) {
	r, err := readRepository(q.q.QueryRowContext(ctx,
		`select `+repositoryColumns+`, swept from repositories where lower(owner) = lower(?) and lower(name) = lower(?) and state = ?`, owner, name, Active))
	return r, notFound(err)
}

// ActiveRepositories returns the active repositories of all installations.
func (q queries) ActiveRepositories(ctx context.Context) ([]Repository, error) {
	return collect(q, ctx, readRepository, `select `+repositoryColumns+`, swept from repositories where state = ? order by id`, Active)
}

func readRepository(row scanner) (r Repository, err error) {
	var swept int64
	err = row.Scan(&r.ID, &r.Installation, &r.Owner, &r.Name, &r.DefaultBranch, &r.Private, &r.State, &swept)
	r.Swept = fromMicros(swept)
	return r, err
}
