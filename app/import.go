package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/intake"
	"github.com/stanch-dev/stanch/rules"
)

const (
	// MaxImported bounds the findings of one import, as of one scan. Whoever has more
	// sends them piece by piece.
	MaxImported = maxFindings
	// importsAtOnce bounds the reports that are held in memory.
	importsAtOnce = 2
	// importTimeout bounds an import: providers that are asked at their rate take time.
	importTimeout = 5 * time.Minute
)

// An Imported is the answer to an import.
type Imported struct {
	Formats     []string          `json:"formats"`
	Findings    []ImportedFinding `json:"findings"`
	Closed      int               `json:"closed"`       // findings that need nothing
	NotImported []Left            `json:"not_imported"` // and those that nothing can be done about
}

// Left is how many findings were not imported for a reason.
type Left struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// An ImportedFinding is a finding with what has become of it. It holds no secret.
type ImportedFinding struct {
	Rule        string          `json:"rule"`
	Description string          `json:"description"`
	Severity    rules.Severity  `json:"severity"`
	File        string          `json:"file"`
	Line        int             `json:"line"`
	Commit      string          `json:"commit"`
	Redacted    string          `json:"redacted"`
	Fingerprint string          `json:"fingerprint"`
	Validity    checks.Validity `json:"validity"`
	Grade       string          `json:"grade"`
	Reach       string          `json:"reach"`
	Incident    string          `json:"incident"`
	State       incident.State  `json:"state"`
}

// An importer takes in what other scanners found.
type importer struct {
	app  *App
	room chan struct{}
}

func newImporter(a *App) *importer { return &importer{a, make(chan struct{}, importsAtOnce)} }

// A refusal is an answer that says why nothing was done.
type refusal struct {
	status  int
	message string
}

func (e *refusal) Error() string { return e.message }

// ServeHTTP reads a report, has its credentials verified, and answers with what has
// become of them. It may be sent again: an incident is one, however often it is told.
func (h *importer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case h.room <- struct{}{}:
		defer func() { <-h.room }()
	default:
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "other imports are under way: try again in a while")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), importTimeout)
	defer cancel()
	// Not every ResponseWriter can do this; then the server's own timeouts count.
	deadline := time.Now().Add(importTimeout)
	control := http.NewResponseController(w)
	_, _ = control.SetReadDeadline(deadline), control.SetWriteDeadline(deadline.Add(time.Second))
	done, err := h.take(ctx, w, r)
	var why *refusal
	switch {
	case errors.As(err, &why):
		refuse(w, why.status, why.message)
	case err != nil:
		h.app.log.ErrorContext(ctx, "an import failed", "error", err)
		refuse(w, http.StatusInternalServerError, "the import failed: Stanch’s log says why; send it again")
	default:
		answerJSON(w, http.StatusOK, done)
	}
}

func (h *importer) take(ctx context.Context, w http.ResponseWriter, r *http.Request) (*Imported, error) {
	a := h.app
	s, judge, err := a.importInto(ctx, r.URL.Query().Get("repository"))
	if err != nil {
		return nil, err
	}
	report, err := intake.Read(http.MaxBytesReader(w, r.Body, intake.MaxSize))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the report has more than %d MiB: split it", intake.MaxSize>>20)}
	}
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, err.Error()}
	}
	if len(report.Leaks) > MaxImported {
		return nil, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the report tells of %d findings, and one import takes %d: split it", len(report.Leaks), MaxImported)}
	}
	return a.importLeaks(ctx, s, judge, report)
}

// importInto says whose the findings are and who judges them: those of a repository
// that the App sees as it wants, or else nobody but the operator's policy.
func (a *App) importInto(ctx context.Context, repository string) (s scanArgs, judge *Judge, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return s, nil, err
	}
	s = scanArgs{Delivery: "import-" + id.String(), Received: a.now()}
	if repository == "" {
		return s, &Judge{Policy: a.cfg.Policy}, nil
	}
	owner, name, _ := strings.Cut(repository, "/")
	known, err := a.store.RepositoryNamed(ctx, owner, name)
	if errors.Is(err, store.ErrNotFound) {
		return s, nil, &refusal{http.StatusNotFound, "the App sees no such repository: write OWNER/NAME, or leave it out"}
	}
	if err != nil {
		return s, nil, err
	}
	s.Installation, s.Repository = known.Installation, known.Repository
	judge, err = a.judgeNow(ctx, s)
	return s, judge, err
}

// importLeaks verifies what a report tells of and opens its incidents.
// What the repository allows, and is not live, is none.
func (a *App) importLeaks(ctx context.Context, s scanArgs, judge *Judge, report *intake.Report) (*Imported, error) {
	found, left := report.Resolve(a.scanner)
	found = found[:min(len(found), MaxImported)] // a text may hold more than one
	leaks := make([]judged, len(found))
	for n, f := range found {
		leaks[n].Leak = git.Leak{Finding: f}
		if s.Repository.ID != 0 {
			leaks[n].Verdict = judge.Of(&f, a.now())
		}
	}
	verdict, at, err := a.verify(ctx, leaks, s.Received)
	if err != nil {
		return nil, err
	}
	leaks = slices.DeleteFunc(leaks, func(l judged) bool {
		allowed := l.Allowed && verdict(l.Finding).Validity != checks.Active
		if allowed {
			left["allowed by the repository: "+l.Why]++
		}
		return allowed
	})
	done := &Imported{Formats: report.Formats(), Closed: report.Closed, NotImported: []Left{}}
	for why, n := range left {
		done.NotImported = append(done.NotImported, Left{why, n})
	}
	slices.SortFunc(done.NotImported, func(x, y Left) int { return strings.Compare(x.Reason, y.Reason) })
	err = a.store.InTx(ctx, func(tx *store.Tx) (err error) {
		if done.Findings, err = a.recordImported(ctx, tx, s, leaks, verdict, judge.Policy, at); err != nil {
			return err
		}
		return tx.Audit(ctx, audit.Entry{At: a.now(), Actor: callerOf(ctx), Verb: "import", Subject: s.Delivery, Detail: map[string]string{
			"repository": s.Repository.FullName(), "formats": strings.Join(done.Formats, ","),
			"findings": fmt.Sprint(len(found)), "closed": fmt.Sprint(report.Closed), "not_imported": strings.Join(intake.Reasons(left), "; "),
		}})
	})
	return done, err
}

// recordImported opens the incidents of imported leaks.
func (a *App) recordImported(ctx context.Context, tx *store.Tx, s scanArgs, leaks []judged, verdict provider.VerdictOf, p Policy, at moments) ([]ImportedFinding, error) {
	all := make([]ImportedFinding, 0, len(leaks)) // never null in JSON
	for _, l := range leaks {
		i, _, err := a.openIncident(ctx, tx, s, l.Leak, verdict(l.Finding), p, at)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(tx.AddImport(ctx, i.ID, s.Repository.ID), a.enqueueReports(ctx, tx, i.ID)); err != nil {
			return nil, err
		}
		all = append(all, imported(l.Finding, i))
	}
	return all, nil
}

// importPolicies are the policies that count for what others found of an incident.
// Those of a repository that the App does not see any more let nothing be done.
func (a *App) importPolicies(ctx context.Context, id string) ([]Policy, error) {
	named, err := a.store.ImportsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	var all []Policy
	for _, repository := range named {
		if repository == 0 {
			all = append(all, a.cfg.Policy)
			continue
		}
		known, err := a.store.Repository(ctx, repository)
		if errors.Is(err, store.ErrNotFound) || err == nil && known.State != store.Active {
			continue
		}
		if err != nil {
			return nil, err
		}
		judge, err := a.judgeNow(ctx, scanArgs{Installation: known.Installation, Repository: known.Repository})
		if err != nil {
			return nil, a.postpone(err)
		}
		all = append(all, judge.Policy)
	}
	return all, nil
}

// imported is what is told of a finding.
func imported(f checks.Finding, i store.Incident) ImportedFinding {
	severity := f.Rule.Severity
	if can := radius(i); can != nil {
		severity = severity.Adjusted(can.Access)
	}
	return ImportedFinding{
		Rule: f.Rule.ID, Description: f.Rule.Title, Severity: severity, File: f.Path, Line: f.Line, Commit: f.Commit,
		Redacted: f.Redacted, Fingerprint: string(f.Fingerprint), Validity: i.Validity, Grade: i.Grade, Reach: reach(i),
		Incident: i.ID, State: i.State(),
	}
}
