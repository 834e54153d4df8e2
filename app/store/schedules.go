package store

import (
	"context"
	"errors"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// A Schedule is how a credential stands that is rotated from time to time.
type Schedule struct {
	Secret      string // by which the policy names it
	Fingerprint checks.Fingerprint
	Since       time.Time // that the credential of the Fingerprint is there
	Incident    string    // of its rotation, empty before that has begun
	Problem     string    // why that cannot begin, empty if it can
	Checked     time.Time
}

// Schedule returns how a scheduled credential stands. Of one that was never looked at
// only the Secret is known.
func (q queries) Schedule(ctx context.Context, secret string) (Schedule, error) {
	s := Schedule{Secret: secret}
	var since, checked int64
	err := notFound(q.q.QueryRowContext(ctx, `select fingerprint, since, incident, problem, checked from schedules where secret = ?`, secret).
		Scan(&s.Fingerprint, &since, &s.Incident, &s.Problem, &checked))
	if errors.Is(err, ErrNotFound) {
		return s, nil
	}
	s.Since, s.Checked = fromMicros(since), fromMicros(checked)
	return s, err
}

// SaveSchedule keeps how a scheduled credential stands.
func (tx *Tx) SaveSchedule(ctx context.Context, s Schedule) error {
	_, err := tx.q.ExecContext(ctx, `insert into schedules (secret, fingerprint, since, incident, problem, checked) values (?, ?, ?, ?, ?, ?)
		on conflict (secret) do update set fingerprint = excluded.fingerprint, since = excluded.since, incident = excluded.incident,
			problem = excluded.problem, checked = excluded.checked`,
		s.Secret, s.Fingerprint, micros(s.Since), s.Incident, s.Problem, micros(s.Checked))
	return err
}
