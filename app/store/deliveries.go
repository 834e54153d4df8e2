package store

import (
	"context"
	"time"
)

// A Delivery is one webhook delivery as it is remembered. The payload is not
// kept: what a job needs of it stands in the job, and GitHub gives it again.
type Delivery struct {
	ID           string
	Event        string
	Action       string
	Installation int64
	Received     time.Time
	Outcome      string // "queued", or why there is nothing to do
}

// RecordDelivery remembers a delivery and reports whether it is new. A delivery
// that was seen before changes nothing.
func (tx *Tx) RecordDelivery(ctx context.Context, d Delivery) (fresh bool, err error) {
	res, err := tx.q.ExecContext(ctx, `insert into deliveries (id, event, action, installation, received, outcome)
		values (?, ?, ?, ?, ?, ?) on conflict (id) do nothing`,
		d.ID, d.Event, d.Action, d.Installation, micros(d.Received), d.Outcome)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// Delivery returns a delivery by its id, or ErrNotFound.
func (q queries) Delivery(ctx context.Context, id string) (Delivery, error) {
	d := Delivery{ID: id}
	var received int64
	err := q.q.QueryRowContext(ctx, `select event, action, installation, received, outcome from deliveries where id = ?`, id).
		Scan(&d.Event, &d.Action, &d.Installation, &received, &d.Outcome)
	d.Received = fromMicros(received)
	return d, notFound(err)
}
