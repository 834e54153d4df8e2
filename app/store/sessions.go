package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/stanch-dev/stanch/app/github"
)

// sessionKey is the name under which a session is kept. What the browser holds is
// long and random, so that its bare hash gives nothing away.
func sessionKey(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// AddSession records that a browser, which holds the secret, is a person's until the
// session expires. Sessions that have expired by now are forgotten.
func (tx *Tx) AddSession(ctx context.Context, secret string, who github.Person, now, expires time.Time) error {
	person, err := json.Marshal(who)
	if err != nil {
		return err
	}
	if _, err := tx.q.ExecContext(ctx, `delete from sessions where expires <= ?`, micros(now)); err != nil {
		return err
	}
	_, err = tx.q.ExecContext(ctx, `insert into sessions (id, person, expires) values (?, ?, ?)`, sessionKey(secret), string(person), micros(expires))
	return err
}

// EndSession forgets a session.
func (tx *Tx) EndSession(ctx context.Context, secret string) error {
	_, err := tx.q.ExecContext(ctx, `delete from sessions where id = ?`, sessionKey(secret))
	return err
}

// Session returns whose session it is, or ErrNotFound when there is none, or no more.
func (q queries) Session(ctx context.Context, secret string, now time.Time) (who github.Person, err error) {
	var person []byte
	err = q.q.QueryRowContext(ctx, `select person from sessions where id = ? and expires > ?`, sessionKey(secret), micros(now)).Scan(&person)
	if err != nil {
		return github.Person{}, notFound(err)
	}
	return who, json.Unmarshal(person, &who)
}
