package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// An Allowance says that a credential is no leak in one repository, for a reason and
// until a day. It names the content, not the place.
type Allowance struct {
	Installation int64
	Repository   int64
	Fingerprint  checks.Fingerprint
	Reason       string
	Owner        string // who answers for it: "@dana"
	Made         time.Time
	Expires      time.Time
}

// Allow records an allowance. A later one for the same credential takes its place.
func (tx *Tx) Allow(ctx context.Context, a Allowance) error {
	switch {
	case a.Fingerprint == "" || a.Owner == "" || strings.TrimSpace(a.Reason) == "":
		return errors.New("an allowance needs a credential, an owner and a reason")
	case !a.Expires.After(a.Made):
		return errors.New("an allowance needs a time in the future at which it ends")
	}
	_, err := tx.q.ExecContext(ctx, `insert into allowances (installation, repository_id, fingerprint, reason, owner, made, expires)
		values (?, ?, ?, ?, ?, ?, ?) on conflict (installation, repository_id, fingerprint)
		do update set reason = excluded.reason, owner = excluded.owner, made = excluded.made, expires = excluded.expires`,
		a.Installation, a.Repository, a.Fingerprint, a.Reason, a.Owner, micros(a.Made), micros(a.Expires))
	return err
}

// Disallow takes an allowance back.
func (tx *Tx) Disallow(ctx context.Context, a Allowance) error {
	_, err := tx.q.ExecContext(ctx, `delete from allowances where installation = ? and repository_id = ? and fingerprint = ?`,
		a.Installation, a.Repository, a.Fingerprint)
	return err
}

// Allowances returns what the people of a repository said is no leak, also what is
// over by now, by fingerprint.
func (q queries) Allowances(ctx context.Context, installation, repository int64) (map[checks.Fingerprint]Allowance, error) {
	all, err := collect(q, ctx, func(row scanner) (Allowance, error) {
		a := Allowance{Installation: installation, Repository: repository}
		var made, expires int64
		err := row.Scan(&a.Fingerprint, &a.Reason, &a.Owner, &made, &expires)
		a.Made, a.Expires = fromMicros(made), fromMicros(expires)
		return a, err
	}, `select fingerprint, reason, owner, made, expires from allowances where installation = ? and repository_id = ?`, installation, repository)
	byFingerprint := make(map[checks.Fingerprint]Allowance, len(all))
	for _, a := range all {
		byFingerprint[a.Fingerprint] = a
	}
	return byFingerprint, err
}
