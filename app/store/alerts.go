package store

import (
	"context"
	"time"
)

// An Alert is one of GitHub's own alerts, with the incident of its secret.
type Alert struct {
	Repository   int64
	Number       int
	Installation int64
	Incident     string
	Resolved     time.Time // when GitHub was told
}

// SaveAlert records an alert that was taken over, which is open again if it was
// not.
func (tx *Tx) SaveAlert(ctx context.Context, a Alert) error {
	_, err := tx.q.ExecContext(ctx, `insert into alerts (repository_id, number, installation, incident, resolved) values (?, ?, ?, ?, ?)
		on conflict (repository_id, number) do update set incident = excluded.incident, resolved = excluded.resolved`,
		a.Repository, a.Number, a.Installation, a.Incident, micros(a.Resolved))
	return err
}

// OpenAlerts returns the alerts of an incident that GitHub was not told to close.
func (q queries) OpenAlerts(ctx context.Context, incident string) ([]Alert, error) {
	return collect(q, ctx, readAlert, `select repository_id, number, installation, incident, resolved from alerts
		where incident = ? and resolved = 0 order by repository_id, number`, incident)
}

// Alert returns an alert, or ErrNotFound.
func (q queries) Alert(ctx context.Context, repository int64, number int) (Alert, error) {
	a, err := readAlert(q.q.QueryRowContext(ctx, `select repository_id, number, installation, incident, resolved from alerts
		where repository_id = ? and number = ?`, repository, number))
	return a, notFound(err)
}

func readAlert(row scanner) (a Alert, err error) {
	var resolved int64
	err = row.Scan(&a.Repository, &a.Number, &a.Installation, &a.Incident, &resolved)
	a.Resolved = fromMicros(resolved)
	return a, err
}
