package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/stanch-dev/stanch/app/incident"
)

// An Action is one step of one incident's remediation.
type Action struct {
	Incident  string
	Step      incident.Step
	Operation string // idempotency key for the outside world, the same for every attempt
	Attempts  int
	Attempted time.Time
	Done      time.Time // zero while the outcome is not known
	Prepared  string    // what SetPrepared kept
	Detail    map[string]string
}

// Attempt records that a step is about to be tried and returns its record. With
// Attempts above 1, an earlier attempt was made whose outcome is not known.
func (tx *Tx) Attempt(ctx context.Context, incident string, step incident.Step, at time.Time) (Action, error) {
	operation, err := uuid.NewV7()
	if err != nil {
		return Action{}, err
	}
	if _, err := tx.q.ExecContext(ctx, `insert into actions (incident, step, operation, attempts, attempted) values (?, ?, ?, 1, ?)
		on conflict (incident, step) do update set attempts = actions.attempts + 1, attempted = excluded.attempted where actions.done = 0`,
		incident, step, operation.String(), micros(at)); err != nil {
		return Action{}, err
	}
	return readAction(tx.q.QueryRowContext(ctx, selectAction+` where incident = ? and step = ?`, incident, step))
}

// SetPrepared records what is known before the first request of a step is sent.
func (tx *Tx) SetPrepared(ctx context.Context, incident string, step incident.Step, prepared string) error {
	_, err := tx.q.ExecContext(ctx, `update actions set prepared = ? where incident = ? and step = ? and done = 0`, prepared, incident, step)
	return err
}

// ForgetAttempts records that the attempts of a step are known to have done
// nothing, so that the next one is a first one again.
func (tx *Tx) ForgetAttempts(ctx context.Context, incident string, step incident.Step) error {
	_, err := tx.q.ExecContext(ctx, `update actions set attempts = 0, prepared = '' where incident = ? and step = ? and done = 0`, incident, step)
	return err
}

// DropActions forgets all steps of an incident that begins anew.
func (tx *Tx) DropActions(ctx context.Context, incident string) error {
	_, err := tx.q.ExecContext(ctx, `delete from actions where incident = ?`, incident)
	return err
}

// DropAction forgets a step whose effect somebody else has taken back.
func (tx *Tx) DropAction(ctx context.Context, incident string, step incident.Step) error {
	_, err := tx.q.ExecContext(ctx, `delete from actions where incident = ? and step = ?`, incident, step)
	return err
}

// FinishAction records that a step is done.
func (tx *Tx) FinishAction(ctx context.Context, incident string, step incident.Step, detail map[string]string, at time.Time) error {
	b, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	_, err = tx.q.ExecContext(ctx, `update actions set done = ?, detail = ? where incident = ? and step = ?`, micros(at), string(b), incident, step)
	return err
}

// Actions returns an incident's steps in the order in which they were tried.
func (q queries) Actions(ctx context.Context, incident string) ([]Action, error) {
	return collect(q, ctx, readAction, selectAction+` where incident = ? order by rowid`, incident)
}

// StepsDone returns the steps of an incident that are done, in order.
func (q queries) StepsDone(ctx context.Context, of string) ([]incident.Step, error) {
	return collect(q, ctx, func(row scanner) (s incident.Step, err error) {
		return s, row.Scan(&s)
	}, `select step from actions where incident = ? and done > 0 order by done, rowid`, of)
}

const selectAction = `select incident, step, operation, attempts, attempted, done, detail, prepared from actions`

func readAction(row scanner) (Action, error) {
	var a Action
	var attempted, done int64
	var detail []byte
	if err := row.Scan(&a.Incident, &a.Step, &a.Operation, &a.Attempts, &attempted, &done, &detail, &a.Prepared); err != nil {
		return Action{}, notFound(err)
	}
	a.Attempted, a.Done = fromMicros(attempted), fromMicros(done)
	if len(detail) == 0 {
		return a, nil
	}
	return a, json.Unmarshal(detail, &a.Detail)
}
