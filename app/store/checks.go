package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/checks"
)

// A Check is one commit on which Stanch reports. Its ID is the check run's
// external_id: with it the run is found again after a crash.
type Check struct {
	ID           string
	Installation int64
	Repository   github.Repository
	HeadSHA      string
	Received     time.Time // when the first delivery that named the commit came in
	RunID        int64     // GitHub's id of the check run, 0 until it exists
	Reported     string    // digest of what the check run was last completed with
	Pulls        []int     // the pull requests whose head it is, as far as they were told
}

// A Scan is the examination of one range of commits because of one delivery.
type Scan struct {
	Delivery string
	CheckID  string
	Job      json.RawMessage // the job's arguments, to run it again
	Coverage checks.Coverage
	Problem  string // why it could not be scanned
	// Judgement is the policy that counted, as package app wrote it.
	Judgement json.RawMessage
	Finished  time.Time
}

// EnsureCheck returns the check of a commit, which it makes if there is none.
func (tx *Tx) EnsureCheck(ctx context.Context, c Check) (Check, error) {
	repo, err := json.Marshal(c.Repository)
	if err != nil {
		return Check{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Check{}, err
	}
	if _, err := tx.q.ExecContext(ctx, `insert into checks (id, installation, repository, repository_id, head_sha, received)
		values (?, ?, ?, ?, ?, ?) on conflict (installation, repository_id, head_sha) do nothing`,
		id.String(), c.Installation, string(repo), c.Repository.ID, c.HeadSHA, micros(c.Received)); err != nil {
		return Check{}, err
	}
	pulls := c.Pulls
	if c, err = scanCheck(tx.q.QueryRowContext(ctx, selectCheck+` where installation = ? and repository_id = ? and head_sha = ?`,
		c.Installation, c.Repository.ID, c.HeadSHA)); err != nil {
		return Check{}, err
	}
	for _, n := range pulls {
		if _, err := tx.q.ExecContext(ctx, `insert into check_pulls (check_id, number) values (?, ?) on conflict do nothing`, c.ID, n); err != nil {
			return Check{}, err
		}
	}
	c.Pulls, err = tx.pulls(ctx, c.ID)
	return c, err
}

// selectCheck takes what the repository is called now, not what it was called then.
const selectCheck = `select id, installation, repository, known, owner, name, private, default_branch,
		head_sha, received, run_id, reported
	from checks left join (select id as known, owner, name, private, default_branch from repositories) r on known = repository_id`

// Check returns a check by its id, or ErrNotFound.
func (q queries) Check(ctx context.Context, id string) (Check, error) {
	c, err := scanCheck(q.q.QueryRowContext(ctx, selectCheck+` where id = ?`, id))
	if err != nil {
		return Check{}, err
	}
	c.Pulls, err = q.pulls(ctx, id)
	return c, err
}

// CheckOf returns the id of a commit's check, or ErrNotFound.
func (q queries) CheckOf(ctx context.Context, installation, repository int64, head string) (id string, err error) {
	err = q.q.QueryRowContext(ctx, `select id from checks where installation = ? and repository_id = ? and head_sha = ?`,
		installation, repository, head).Scan(&id)
	return id, notFound(err)
}

func scanCheck(row interface{ Scan(...any) error }) (Check, error) {
	var c Check
	var repo []byte
	var received int64
	var known sql.NullInt64
	var owner, name, branch sql.NullString
	var private sql.NullBool
	if err := row.Scan(&c.ID, &c.Installation, &repo, &known, &owner, &name, &private, &branch,
		&c.HeadSHA, &received, &c.RunID, &c.Reported); err != nil {
		return Check{}, notFound(err)
	}
	c.Received = fromMicros(received)
	if known.Valid {
		c.Repository = github.Repository{ID: known.Int64, Owner: owner.String, Name: name.String, Private: private.Bool, DefaultBranch: branch.String}
		return c, nil
	}
	if err := json.Unmarshal(repo, &c.Repository); err != nil {
		return Check{}, fmt.Errorf("check %s: repository: %w", c.ID, err)
	}
	return c, nil
}

func (q queries) pulls(ctx context.Context, check string) ([]int, error) {
	return collect(q, ctx, func(row scanner) (n int, err error) {
		return n, row.Scan(&n)
	}, `select number from check_pulls where check_id = ? order by number`, check)
}

// SetCheckRun remembers GitHub's id of a check's run.
func (tx *Tx) SetCheckRun(ctx context.Context, check string, runID int64) error {
	_, err := tx.q.ExecContext(ctx, `update checks set run_id = ? where id = ?`, runID, check)
	return err
}

// SetReported remembers the digest of what a check's run was completed with.
func (tx *Tx) SetReported(ctx context.Context, check, digest string) error {
	_, err := tx.q.ExecContext(ctx, `update checks set reported = ? where id = ?`, digest, check)
	return err
}

// StartScan records that a delivery's range is being examined. A scan that was
// finished stays finished.
func (tx *Tx) StartScan(ctx context.Context, s Scan) error {
	_, err := tx.q.ExecContext(ctx, `insert into scans (delivery, check_id, job) values (?, ?, ?) on conflict (delivery) do nothing`,
		s.Delivery, s.CheckID, string(s.Job))
	return err
}

// FinishScan records what a scan covered, and the job that covers the same again. A
// zero time says that this is a part of it, and that the job goes on.
func (tx *Tx) FinishScan(ctx context.Context, s Scan) error {
	coverage, err := json.Marshal(s.Coverage)
	if err != nil {
		return err
	}
	_, err = tx.q.ExecContext(ctx, `update scans set job = ?, coverage = ?, judgement = ?, problem = '', finished = ? where delivery = ?`,
		string(s.Job), string(coverage), string(s.Judgement), micros(s.Finished), s.Delivery)
	return err
}

// FailScan records why a range could not be scanned. What an earlier scan of it
// found stays. A zero time says that it is still being tried.
func (tx *Tx) FailScan(ctx context.Context, delivery, problem string, at time.Time) error {
	_, err := tx.q.ExecContext(ctx, `update scans set problem = ?, finished = ? where delivery = ?`, problem, micros(at), delivery)
	return err
}

// ReopenScan makes a finished scan run again, by a job.
func (tx *Tx) ReopenScan(ctx context.Context, delivery string, job json.RawMessage) error {
	_, err := tx.q.ExecContext(ctx, `update scans set job = ?, problem = '', finished = 0 where delivery = ?`, string(job), delivery)
	return err
}

// NewestCheck returns the id of the check of the newest head of a pull request that is known.
func (q queries) NewestCheck(ctx context.Context, installation, repository int64, pull int) (id string, err error) {
	err = q.q.QueryRowContext(ctx, `select id from checks join check_pulls on check_id = id
		where installation = ? and repository_id = ? and number = ? order by checks.received desc, checks.rowid desc limit 1`,
		installation, repository, pull).Scan(&id)
	return id, notFound(err)
}

// Scans returns the scans of a check in the order in which they came.
func (q queries) Scans(ctx context.Context, check string) ([]Scan, error) {
	return collect(q, ctx, readScan, `select delivery, check_id, job, coverage, problem, judgement, finished from scans where check_id = ? order by rowid`, check)
}

// Scan returns the scan of a delivery, or ErrNotFound.
func (q queries) Scan(ctx context.Context, delivery string) (Scan, error) {
	s, err := readScan(q.q.QueryRowContext(ctx, `select delivery, check_id, job, coverage, problem, judgement, finished from scans where delivery = ?`, delivery))
	return s, notFound(err)
}

func readScan(row scanner) (Scan, error) {
	var s Scan
	var job, coverage, judgement []byte
	var finished int64
	if err := row.Scan(&s.Delivery, &s.CheckID, &job, &coverage, &s.Problem, &judgement, &finished); err != nil {
		return Scan{}, err
	}
	s.Job, s.Judgement, s.Finished = job, judgement, fromMicros(finished)
	if len(coverage) > 0 {
		if err := json.Unmarshal(coverage, &s.Coverage); err != nil {
			return Scan{}, fmt.Errorf("scan %s: coverage: %w", s.Delivery, err)
		}
	}
	return s, nil
}

// A scanner is a row of a result.
type scanner interface{ Scan(...any) error }

// collect reads all rows of a query.
func collect[T any](q queries, ctx context.Context, read func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := read(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
