package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/stanch-dev/stanch/app/audit"
)

const selectAudit = `select seq, at, actor, verb, subject, detail, prev, hash from audit_log`

// Audit appends an entry to the audit log. Transactions run one after another, so no
// two entries follow the same one.
func (tx *Tx) Audit(ctx context.Context, e audit.Entry) error {
	prev, err := readEntry(tx.q.QueryRowContext(ctx, selectAudit+` order by seq desc limit 1`))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read audit log: %w", err)
	}
	e = tx.keys.Audit.Follow(prev, e)
	detail, err := json.Marshal(e.Detail)
	if err != nil {
		return err
	}
	if _, err := tx.q.ExecContext(ctx, `insert into audit_log (seq, at, actor, verb, subject, detail, prev, hash) values (?, ?, ?, ?, ?, ?, ?, ?)`,
		e.Seq, micros(e.At), e.Actor, e.Verb, e.Subject, string(detail), e.Prev, e.Hash); err != nil {
		return fmt.Errorf("append to audit log: %w", err)
	}
	return nil
}

// AuditLog walks the audit log from its first entry.
func (s *Store) AuditLog(ctx context.Context) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		rows, err := s.q.QueryContext(ctx, selectAudit+` order by seq`)
		if err != nil {
			yield(audit.Entry{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			e, err := readEntry(rows)
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(audit.Entry{}, err)
		}
	}
}

func readEntry(row scanner) (audit.Entry, error) {
	var e audit.Entry
	var at int64
	var detail []byte
	if err := row.Scan(&e.Seq, &at, &e.Actor, &e.Verb, &e.Subject, &detail, &e.Prev, &e.Hash); err != nil {
		return audit.Entry{}, err
	}
	e.At = fromMicros(at)
	return e, json.Unmarshal(detail, &e.Detail)
}
