package store

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app/audit"
)

// A Filter chooses incidents. What it leaves empty does not choose.
type Filter struct {
	State      string // a key of stateConditions
	Rule       string
	Repository int64
	Before     string // an incident's id: only older ones
	Limit      int
}

// stateConditions tell the states apart as people ask for them. They follow
// incident.State, except that what waits for a person and what never worked, about
// which nobody does anything, have their own names.
var stateConditions = map[string]string{
	"":            `true`,
	"open":        `resolved = 0 and dead = 0 and rotated = 0 and contained = 0 and stuck = '' and validity <> 'inactive'`,
	"stuck":       `resolved = 0 and dead = 0 and stuck <> ''`,
	"contained":   `resolved = 0 and dead = 0 and rotated = 0 and contained > 0 and stuck = ''`,
	"rotated":     `resolved = 0 and dead = 0 and rotated > 0 and stuck = ''`,
	"proved_dead": `dead > 0`,
	"dismissed":   `resolved > 0 and dead = 0`,
	"resolved":    `resolved > 0`,
	"never_live":  `resolved = 0 and dead = 0 and validity = 'inactive' and stuck = ''`,
}

// States are the states that a Filter can have, but for the empty one, which is any.
func States() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(stateConditions)), func(s string) bool { return s == "" })
}

// KnownState reports whether a Filter can have that state.
func KnownState(state string) bool {
	_, known := stateConditions[state]
	return known
}

// List returns the incidents that fit, the newest first.
func (q queries) List(ctx context.Context, f Filter) ([]Incident, error) {
	where := []string{stateConditions[f.State]}
	var args []any
	add := func(condition string, arg any) {
		where, args = append(where, condition), append(args, arg)
	}
	if f.Rule != "" {
		add(`rule = ?`, f.Rule)
	}
	if f.Repository != 0 {
		add(`id in (select o.incident from checks c join scans s on s.check_id = c.id join occurrences o on o.delivery = s.delivery
			where c.repository_id = ?)`, f.Repository)
	}
	if f.Before != "" {
		add(`id < ?`, f.Before) // ids grow with time
	}
	return collect(q, ctx, func(row scanner) (Incident, error) { return readIncident(row) },
		`select `+incidentColumns+` from incidents where `+strings.Join(where, " and ")+` order by id desc limit ?`, append(args, f.Limit)...)
}

// NewestCheckOf returns the newest check of a repository that shows an incident, or
// ErrNotFound.
func (q queries) NewestCheckOf(ctx context.Context, incident string, repository int64) (Check, error) {
	var id string
	err := q.q.QueryRowContext(ctx, `select c.id from occurrences o join scans s on s.delivery = o.delivery join checks c on c.id = s.check_id
		where o.incident = ? and c.repository_id = ? order by c.received desc, c.rowid desc limit 1`, incident, repository).Scan(&id)
	if err != nil {
		return Check{}, notFound(err)
	}
	return q.Check(ctx, id)
}

// LatestChecks returns the newest checks of a repository, the newest first.
func (q queries) LatestChecks(ctx context.Context, repository int64, limit int) ([]Check, error) {
	return collect(q, ctx, func(row scanner) (Check, error) { return scanCheck(row) },
		selectCheck+` where repository_id = ? order by received desc, rowid desc limit ?`, repository, limit)
}

// AuditOf returns the newest entries of the audit log about a subject, the oldest of
// them first.
func (q queries) AuditOf(ctx context.Context, subject string, limit int) ([]audit.Entry, error) {
	return collect(q, ctx, func(row scanner) (audit.Entry, error) { return readEntry(row) },
		`select * from (`+selectAudit+` where subject = ? order by seq desc limit ?) newest order by seq`, subject, limit)
}

// HasDone reports whether the audit log says that something was done to a subject.
func (q queries) HasDone(ctx context.Context, verb, subject string) (bool, error) {
	n, err := collect(q, ctx, func(row scanner) (n int, err error) {
		return n, row.Scan(&n)
	}, `select 1 from audit_log where subject = ? and verb = ? limit 1`, subject, verb)
	return len(n) > 0, err
}

// Places returns where an incident's credential was found in a repository, each place
// once, the newest first.
func (q queries) Places(ctx context.Context, incident string, repository int64) ([]Occurrence, error) {
	return collect(q, ctx, func(row scanner) (Occurrence, error) {
		var o Occurrence
		var date int64
		err := row.Scan(&o.Incident, &o.Commit, &o.Path, &o.Line, &o.Column, &o.Author, &date, &o.InTip)
		o.Date = fromMicros(date)
		return o, err
	}, `select o.incident, o.commit_sha, o.path, o.line, o.col, o.author, o.date, max(o.in_tip)
		from occurrences o join scans s on s.delivery = o.delivery join checks c on c.id = s.check_id
		where o.incident = ? and c.repository_id = ? group by o.incident, o.commit_sha, o.path, o.line, o.col, o.author, o.date order by o.date desc, o.path, o.line`,
		incident, repository)
}
