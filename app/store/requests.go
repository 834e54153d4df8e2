package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/stanch-dev/stanch/app/github"
)

// A Request is what a person asked for and another one may have to agree to. It is
// open until it has been carried out or, for a bypass, until it expires.
type Request struct {
	ID         string
	Incident   string
	Repository int64  // the id of the repository whose people decide
	Verb       string // "rotate", "revoke" or "bypass"
	Reason     string
	Asker      github.Person
	Asked      time.Time
	Approver   github.Person // zero while nobody agreed, or when nobody had to
	Granted    time.Time     // zero while it waits for a second person
	Expires    time.Time     // of a bypass that was granted
	Ended      time.Time
}

const selectRequest = `select id, incident, repository_id, verb, reason, asker, asked, approver, granted, expires, ended from requests`

// AddRequest records a request and returns it with its id. Only one for a verb can
// be open for an incident in a repository.
func (tx *Tx) AddRequest(ctx context.Context, r Request) (Request, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Request{}, err
	}
	r.ID = id.String()
	asker, err := json.Marshal(r.Asker)
	if err != nil {
		return Request{}, err
	}
	_, err = tx.q.ExecContext(ctx, `insert into requests (id, incident, repository_id, verb, reason, asker, asked) values (?, ?, ?, ?, ?, ?, ?)`,
		r.ID, r.Incident, r.Repository, r.Verb, r.Reason, string(asker), micros(r.Asked))
	return r, err
}

// SaveRequest writes back what of a request can change.
func (tx *Tx) SaveRequest(ctx context.Context, r Request) error {
	approver := ""
	if r.Approver != (github.Person{}) {
		b, err := json.Marshal(r.Approver)
		if err != nil {
			return err
		}
		approver = string(b)
	}
	_, err := tx.q.ExecContext(ctx, `update requests set reason = ?, approver = ?, granted = ?, expires = ?, ended = ? where id = ?`,
		r.Reason, approver, micros(r.Granted), micros(r.Expires), micros(r.Ended), r.ID)
	return err
}

// EndRequests closes the open requests of an incident, in every repository, for
// the verbs that have become pointless.
func (tx *Tx) EndRequests(ctx context.Context, incident string, at time.Time, verbs ...string) error {
	for _, verb := range verbs {
		if _, err := tx.q.ExecContext(ctx, `update requests set ended = ? where incident = ? and verb = ? and ended = 0`,
			micros(at), incident, verb); err != nil {
			return err
		}
	}
	return nil
}

// Request returns a request by its id, or ErrNotFound.
func (q queries) Request(ctx context.Context, id string) (Request, error) {
	r, err := readRequest(q.q.QueryRowContext(ctx, selectRequest+` where id = ?`, id))
	return r, notFound(err)
}

// OpenRequests returns what is open about an incident in a repository, oldest first.
func (q queries) OpenRequests(ctx context.Context, incident string, repository int64) ([]Request, error) {
	return collect(q, ctx, readRequest, selectRequest+` where incident = ? and repository_id = ? and ended = 0 order by asked, id`, incident, repository)
}

// Requests returns all that was asked for about an incident, oldest first.
func (q queries) Requests(ctx context.Context, incident string) ([]Request, error) {
	return collect(q, ctx, readRequest, selectRequest+` where incident = ? order by asked, id`, incident)
}

func readRequest(row scanner) (Request, error) {
	var r Request
	var asker, approver []byte
	var asked, granted, expires, ended int64
	if err := row.Scan(&r.ID, &r.Incident, &r.Repository, &r.Verb, &r.Reason, &asker, &asked, &approver, &granted, &expires, &ended); err != nil {
		return Request{}, err
	}
	r.Asked, r.Granted, r.Expires, r.Ended = fromMicros(asked), fromMicros(granted), fromMicros(expires), fromMicros(ended)
	if len(approver) > 0 {
		if err := json.Unmarshal(approver, &r.Approver); err != nil {
			return Request{}, err
		}
	}
	return r, json.Unmarshal(asker, &r.Asker)
}
