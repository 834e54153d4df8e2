package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks"
)

// An Incident is an incident with what the store keeps beside it.
type Incident struct {
	incident.Incident
	Grade    string          // of the evidence that came with Validity
	Evidence json.RawMessage // what the provider said

	// When it came to where it is, at its first occurrence. Pushed is what GitHub says,
	// in whole seconds, and zero where it does not say.
	Pushed, Received, Detected, Verified time.Time

	incident.Remedy           // that was approved; its Verb is empty while none is
	Approver        string    // on whose word: "policy", or an actor of the audit log
	Approved        time.Time // and when
	// Hold is for how long a Reversible remedy can be taken back.
	Hold      time.Duration
	Confirmed time.Time // when a person said that nobody uses the credential any more
	// WithoutReplacement is what the policy that counted then says of a credential
	// that no store holds.
	WithoutReplacement string
	Adopt              string          // the store and path that take the replacement then
	Stored             json.RawMessage // where the credential is kept, as package app wrote it

	AskAgain time.Time // when the provider is to be asked again; the zero Time means never
}

// Timeline is how far the incident has come, and when.
func (i Incident) Timeline() incident.Timeline {
	return incident.NewTimeline(map[incident.Stage]time.Time{
		incident.StagePushed: i.Pushed, incident.StageDelivered: i.Received, incident.StageDetected: i.Detected,
		incident.StageVerified: i.Verified, incident.StageContained: i.Contained, incident.StageRotated: i.Rotated,
		incident.StageProvedDead: i.Dead,
	})
}

// An Occurrence is one place at which an incident's credential was found.
type Occurrence struct {
	Incident string
	Delivery string // whose scan found it
	checks.Location
	InTip bool // whether the tip of the scanned range still has it
	// Conclusion is what it does to the check unless it is live, failure when empty,
	// and Why is who says so.
	Conclusion string
	Why        string
}

// ErrErased reports a sealed credential that is not kept any more.
var ErrErased = errors.New("the credential is not kept any more")

const incidentColumns = `id, fingerprint, rule, redacted, validity, grade, evidence, opened, received,
	contained, rotated, dead, resolved, resolution, stuck, verb, plan_order, without_replacement, stored, ask_again,
	reversible, hold, held, confirmed, adopt, approver, approved, pushed, detected, verified`

// OpenIncident returns the incident of a credential, made from i if there is
// none; opened reports which.
func (tx *Tx) OpenIncident(ctx context.Context, i Incident) (_ Incident, opened bool, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Incident{}, false, err
	}
	res, err := tx.q.ExecContext(ctx, `insert into incidents (id, fingerprint, rule, redacted, validity, grade, evidence, opened, received, pushed, detected, verified)
		values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (fingerprint) do nothing`,
		id.String(), i.Fingerprint, i.Rule, i.Redacted, i.Validity, i.Grade, string(i.Evidence), micros(i.Opened), micros(i.Received),
		micros(i.Pushed), micros(i.Detected), micros(i.Verified))
	if err != nil {
		return Incident{}, false, err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return Incident{}, false, err
	}
	i, err = tx.IncidentOf(ctx, i.Fingerprint)
	return i, n == 1, err
}

// SaveIncident writes back everything about an incident that can change. When
// it is resolved, what was sealed for it is erased.
func (tx *Tx) SaveIncident(ctx context.Context, i Incident) error {
	_, err := tx.q.ExecContext(ctx, `update incidents set rule = ?, redacted = ?, validity = ?, grade = ?, evidence = ?,
		received = ?, contained = ?, rotated = ?, dead = ?, resolved = ?, resolution = ?, stuck = ?, verb = ?, plan_order = ?, without_replacement = ?, stored = ?, ask_again = ?,
		reversible = ?, hold = ?, held = ?, confirmed = ?, adopt = ?, approver = ?, approved = ?, pushed = ?, detected = ?, verified = ? where id = ?`,
		i.Rule, i.Redacted, i.Validity, i.Grade, string(i.Evidence), micros(i.Received), micros(i.Contained), micros(i.Rotated), micros(i.Dead), micros(i.Resolved),
		i.Resolution, i.Stuck, i.Verb, i.Order, i.WithoutReplacement, string(i.Stored), micros(i.AskAgain),
		i.Reversible, i.Hold.Microseconds(), micros(i.Held), micros(i.Confirmed), i.Adopt, i.Approver, micros(i.Approved),
		micros(i.Pushed), micros(i.Detected), micros(i.Verified), i.ID)
	if err != nil || i.Resolved.IsZero() {
		return err
	}
	return tx.EraseSealed(ctx, i.ID)
}

// Incident returns an incident by its id, or ErrNotFound.
func (q queries) Incident(ctx context.Context, id string) (Incident, error) {
	return readIncident(q.q.QueryRowContext(ctx, `select `+incidentColumns+` from incidents where id = ?`, id))
}

// IncidentOf returns the incident of a credential, or ErrNotFound.
func (q queries) IncidentOf(ctx context.Context, f checks.Fingerprint) (Incident, error) {
	return readIncident(q.q.QueryRowContext(ctx, `select `+incidentColumns+` from incidents where fingerprint = ?`, f))
}

// Incidents returns the incidents found by the scans of a check.
func (q queries) Incidents(ctx context.Context, check string) ([]Incident, error) {
	return collect(q, ctx, func(row scanner) (Incident, error) { return readIncident(row) },
		`select `+incidentColumns+` from incidents where id in (
			select incident from occurrences join scans using (delivery) where check_id = ?) order by opened, id`, check)
}

// DueIncidents returns the ids of at most so many incidents whose provider is to be asked
// again by now, those that wait longest first: also about further accounts, of those that
// are over.
func (q queries) DueIncidents(ctx context.Context, now time.Time, most int) ([]string, error) {
	return collect(q, ctx, func(row scanner) (id string, err error) {
		return id, row.Scan(&id)
	}, `select id from (select id, ask_again as due from incidents where ask_again > 0
			union select id, ask from incidents join accounts on incident = id where resolved > 0) as waiting
		where due <= ? group by id order by min(due), id limit ?`, micros(now), most)
}

// Occurrences returns the places found by the scans of a check, each once. Scans that
// found the same place may have followed different policies: the strictest counts.
func (q queries) Occurrences(ctx context.Context, check string) ([]Occurrence, error) {
	all, err := collect(q, ctx, func(row scanner) (Occurrence, error) {
		var o Occurrence
		var date int64
		err := row.Scan(&o.Incident, &o.Delivery, &o.Commit, &o.Path, &o.Line, &o.Column, &o.EndLine, &o.EndColumn, &o.Author, &date,
			&o.InTip, &o.Conclusion, &o.Why)
		o.Date = fromMicros(date)
		return o, err
	}, `select incident, o.delivery, commit_sha, path, line, col, end_line, end_col, author, date, in_tip, conclusion, why
		from occurrences o join scans s on s.delivery = o.delivery where s.check_id = ? order by o.rowid`, check)
	type place struct {
		incident, commit, path string
		line, column           int
	}
	seen := map[place]int{}
	var once []Occurrence
	for _, o := range all {
		at := place{o.Incident, o.Commit, o.Path, o.Line, o.Column}
		n, known := seen[at]
		if !known {
			seen[at] = len(once)
			once = append(once, o)
			continue
		}
		once[n].InTip = once[n].InTip || o.InTip
		if strictness(o.Conclusion) > strictness(once[n].Conclusion) {
			once[n].Conclusion, once[n].Why = o.Conclusion, o.Why
		}
	}
	return once, err
}

// strictness orders conclusions.
func strictness(conclusion string) int {
	switch conclusion {
	case "success":
		return 0
	case "neutral":
		return 1
	}
	return 2
}

// ChecksOf returns the ids of the checks that show an incident.
func (q queries) ChecksOf(ctx context.Context, incident string) ([]string, error) {
	return collect(q, ctx, func(row scanner) (id string, err error) {
		return id, row.Scan(&id)
	}, `select distinct check_id from occurrences join scans using (delivery) where incident = ? order by check_id`, incident)
}

// RepositoriesOf returns the ids of the repositories in which an incident's
// credential was found.
func (q queries) RepositoriesOf(ctx context.Context, incident string) ([]int64, error) {
	return collect(q, ctx, func(row scanner) (id int64, err error) {
		return id, row.Scan(&id)
	}, `select distinct repository_id from occurrences join scans using (delivery) join checks on checks.id = check_id
		where incident = ? order by repository_id`, incident)
}

// AddOccurrence records a place. A place that is known already stays as it is.
func (tx *Tx) AddOccurrence(ctx context.Context, o Occurrence) error {
	_, err := tx.q.ExecContext(ctx, `insert into occurrences
		(incident, delivery, commit_sha, path, line, col, end_line, end_col, author, date, in_tip, conclusion, why)
		values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing`,
		o.Incident, o.Delivery, o.Commit, o.Path, o.Line, o.Column, o.EndLine, o.EndColumn, o.Author, micros(o.Date), o.InTip,
		o.Conclusion, o.Why)
	return err
}

// DropOccurrences forgets what a scan found, before it runs again.
func (tx *Tx) DropOccurrences(ctx context.Context, delivery string) error {
	_, err := tx.q.ExecContext(ctx, `delete from occurrences where delivery = ?`, delivery)
	return err
}

func readIncident(row scanner) (Incident, error) {
	var i Incident
	var evidence, stored string
	var opened, received, contained, rotated, dead, resolved, askAgain, hold, held, confirmed, approved, pushed, detected, verified int64
	err := row.Scan(&i.ID, &i.Fingerprint, &i.Rule, &i.Redacted, &i.Validity, &i.Grade, &evidence, &opened, &received,
		&contained, &rotated, &dead, &resolved, &i.Resolution, &i.Stuck, &i.Verb, &i.Order, &i.WithoutReplacement, &stored, &askAgain,
		&i.Reversible, &hold, &held, &confirmed, &i.Adopt, &i.Approver, &approved, &pushed, &detected, &verified)
	if err != nil {
		return Incident{}, notFound(err)
	}
	i.Evidence, i.Stored = json.RawMessage(evidence), json.RawMessage(stored)
	i.Opened, i.Received = fromMicros(opened), fromMicros(received)
	i.Contained, i.Rotated = fromMicros(contained), fromMicros(rotated)
	i.Dead, i.Resolved, i.AskAgain = fromMicros(dead), fromMicros(resolved), fromMicros(askAgain)
	i.Hold, i.Held, i.Approved = time.Duration(hold)*time.Microsecond, fromMicros(held), fromMicros(approved)
	i.Confirmed = fromMicros(confirmed)
	i.Pushed, i.Detected, i.Verified = fromMicros(pushed), fromMicros(detected), fromMicros(verified)
	return i, nil
}

// The two credentials that are kept sealed while an incident is open.
const (
	Leaked      = "sealed_old" // the leaked credential
	Replacement = "sealed_new" // its replacement
)

// Seal keeps a credential, encrypted, until the incident is resolved. The column
// is Leaked or Replacement.
func (tx *Tx) Seal(ctx context.Context, incident, column string, c checks.Credential) error {
	box, err := tx.keys.sealCredential(c, incident+" "+column)
	if err != nil {
		return fmt.Errorf("seal credential: %w", err)
	}
	query, err := sealedColumn(`update incidents set %s = ? where id = ?`, column)
	if err != nil {
		return err
	}
	_, err = tx.q.ExecContext(ctx, query, box, incident)
	return err
}

// EraseSealed forgets both sealed credentials of an incident.
func (tx *Tx) EraseSealed(ctx context.Context, incident string) error {
	_, err := tx.q.ExecContext(ctx, `update incidents set sealed_old = null, sealed_new = null where id = ?`, incident)
	return err
}

// Unseal returns a credential that Seal kept, or ErrErased.
func (q queries) Unseal(ctx context.Context, incident, column string) (checks.Credential, error) {
	query, err := sealedColumn(`select %s from incidents where id = ?`, column)
	if err != nil {
		return checks.Credential{}, err
	}
	var box []byte
	if err := q.q.QueryRowContext(ctx, query, incident).Scan(&box); err != nil {
		return checks.Credential{}, notFound(err)
	}
	if box == nil {
		return checks.Credential{}, ErrErased
	}
	return q.keys.open(box, incident+" "+column)
}

func sealedColumn(query, column string) (string, error) {
	if column != Leaked && column != Replacement {
		return "", fmt.Errorf("no sealed column %q", column)
	}
	return fmt.Sprintf(query, column), nil
}
