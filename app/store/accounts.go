package store

import (
	"context"
	"fmt"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// KeepAccount keeps, encrypted, a credential with the secret of an incident that is
// another account's, to be asked about when the incident is over.
func (tx *Tx) KeepAccount(ctx context.Context, incident, account string, c checks.Credential) error {
	box, err := tx.keys.sealCredential(c, accountPlace(incident, account))
	if err != nil {
		return fmt.Errorf("seal credential: %w", err)
	}
	_, err = tx.q.ExecContext(ctx, `insert into accounts (incident, account, sealed, ask) values (?, ?, ?, 0)
		on conflict (incident, account) do update set sealed = excluded.sealed`, incident, account, box)
	return err
}

// NextAccount returns one of those that KeepAccount keeps, the one that is to be asked about first,
// or ErrNotFound.
func (q queries) NextAccount(ctx context.Context, incident string) (account string, c checks.Credential, err error) {
	var box []byte
	if err := q.q.QueryRowContext(ctx, `select account, sealed from accounts where incident = ? order by ask, account limit 1`, incident).
		Scan(&account, &box); err != nil {
		return "", checks.Credential{}, notFound(err)
	}
	c, err = q.keys.open(box, accountPlace(incident, account))
	return account, c, err
}

// Accounts names those that KeepAccount keeps.
func (q queries) Accounts(ctx context.Context, incident string) ([]string, error) {
	return collect(q, ctx, func(row scanner) (account string, err error) {
		return account, row.Scan(&account)
	}, `select account from accounts where incident = ? order by account`, incident)
}

// PostponeAccount has an account asked about later.
func (tx *Tx) PostponeAccount(ctx context.Context, incident, account string, until time.Time) error {
	_, err := tx.q.ExecContext(ctx, `update accounts set ask = ? where incident = ? and account = ?`, micros(until), incident, account)
	return err
}

// DropAccount forgets an account.
func (tx *Tx) DropAccount(ctx context.Context, incident, account string) error {
	_, err := tx.q.ExecContext(ctx, `delete from accounts where incident = ? and account = ?`, incident, account)
	return err
}

// accountPlace is what the credential of an account is sealed for.
func accountPlace(incident, account string) string { return incident + " account " + account }
