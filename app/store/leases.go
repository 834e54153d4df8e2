package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/stanch-dev/stanch/app/incident"
)

// Lease gives a resource to an incident, unless another one, whose id it returns, is
// at work on it. A lease ends with the work: when the incident is resolved, waits for a
// person, or only waits for its hold to end.
func (tx *Tx) Lease(ctx context.Context, resource, id string, now time.Time) (holder string, err error) {
	if _, err := tx.q.ExecContext(ctx, `insert into leases (resource, incident, taken) values (?, ?, ?) on conflict (resource) do nothing`,
		resource, id, micros(now)); err != nil {
		return "", err
	}
	if err := tx.q.QueryRowContext(ctx, `select incident from leases where resource = ?`, resource).Scan(&holder); err != nil || holder == id {
		return "", err
	}
	other, err := tx.Incident(ctx, holder)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	if err == nil && other.Verb != "" && other.State() != incident.Resolved && other.Held.IsZero() {
		return holder, nil
	}
	_, err = tx.q.ExecContext(ctx, `update leases set incident = ?, taken = ? where resource = ?`, id, micros(now), resource)
	return "", err
}

// AutomaticSince counts the incidents that the policy alone had remediated since a time.
func (q queries) AutomaticSince(ctx context.Context, since time.Time) (n int, err error) {
	return n, q.q.QueryRowContext(ctx, `select count(*) from incidents where approver = 'policy' and approved >= ?`, micros(since)).Scan(&n)
}

// A Halt says who stopped all remediations, when and why.
type Halt struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// haltName is where the halt is kept in the table meta.
const haltName = "halt"

// SetHalt stops all remediations.
func (tx *Tx) SetHalt(ctx context.Context, h Halt) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	_, err = tx.q.ExecContext(ctx, `insert into meta (name, value) values (?, ?) on conflict (name) do update set value = excluded.value`, haltName, string(b))
	return err
}

// EndHalt lets remediations go on.
func (tx *Tx) EndHalt(ctx context.Context) error {
	_, err := tx.q.ExecContext(ctx, `delete from meta where name = ?`, haltName)
	return err
}

// Halted tells whether all remediations are stopped, and by whom; nil when they are not.
func (q queries) Halted(ctx context.Context) (*Halt, error) {
	var text string
	err := q.q.QueryRowContext(ctx, `select value from meta where name = ?`, haltName).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var h Halt
	return &h, json.Unmarshal([]byte(text), &h)
}
