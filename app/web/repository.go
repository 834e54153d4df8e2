package web

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
)

const (
	// maxChecks bounds the commits that a repository's page lists.
	maxChecks = 20
	// maxChoices bounds the incidents that can be called no secret there.
	maxChoices = 50
)

// A repositoryPage is how a repository does.
type repositoryPage struct {
	Repository string
	URL        string
	Private    bool
	Branch     string
	Backfill   *store.Backfill
	Checks     []checkRow
	Hidden     bool // the reader sees only how far things have come
	Told       string
	Allowances []allowanceRow
	Choices    []choice // incidents that nobody can ask a provider about
}

// A checkRow is a commit with what was scanned for it.
type checkRow struct {
	HeadSHA  string
	Received time.Time
	Title    string
	Tone     report.Tone
	Commits  int
	Blobs    int
	Bytes    int64
	Skipped  int
}

// An allowanceRow is something that people of the repository called no secret.
type allowanceRow struct {
	store.Allowance
	Incident, Kind, Redacted string
	Over                     bool
}

func itoa(n int) string { return strconv.Itoa(n) }

func (s *server) showRepository(r *http.Request, who github.Person) (view, error) {
	repo, seen, err := s.repository(r.Context(), who, r.PathValue("owner"), r.PathValue("repo"))
	if err != nil {
		return view{}, err
	}
	p := &repositoryPage{
		Repository: repo.FullName(), URL: s.at(repo, ""), Private: repo.Private, Branch: repo.DefaultBranch,
		Hidden: seen < everything, Told: orders[r.FormValue("told")],
	}
	switch b, err := s.Store.Backfill(r.Context(), repo.ID); {
	case err == nil:
		p.Backfill = &b
	case !errors.Is(err, store.ErrNotFound):
		return view{}, err
	}
	if err := s.latest(r, repo, p); err != nil {
		return view{}, err
	}
	if !p.Hidden {
		if err := s.allowances(r, repo, p); err != nil {
			return view{}, err
		}
	}
	return view{template: "repository.html", title: p.Repository, data: p}, nil
}

// latest adds the commits that were scanned last.
func (s *server) latest(r *http.Request, repo store.Repository, p *repositoryPage) error {
	all, err := s.Store.LatestChecks(r.Context(), repo.ID, maxChecks)
	if err != nil {
		return err
	}
	for _, check := range all {
		scan, err := s.Scan(r.Context(), check)
		if err != nil {
			return err
		}
		scan.Public = false // nobody else reads along
		run := report.NewCheckRun(scan)
		c := checkRow{HeadSHA: check.HeadSHA, Received: check.Received, Title: run.Title, Tone: toneOf(run.Conclusion)}
		if len(scan.Coverage) == 0 && scan.Problem == "" {
			c.Title, c.Tone = "Being scanned", report.Pending
		}
		for _, covered := range scan.Coverage {
			c.Commits, c.Blobs, c.Bytes = c.Commits+covered.Commits, c.Blobs+covered.Blobs, c.Bytes+covered.Bytes
			c.Skipped += len(covered.Skipped)
		}
		p.Checks = append(p.Checks, c)
	}
	return nil
}

// allowances adds what was called no secret, and what could be.
func (s *server) allowances(r *http.Request, repo store.Repository, p *repositoryPage) error {
	said, err := s.Store.Allowances(r.Context(), repo.Installation, repo.ID)
	if err != nil {
		return err
	}
	for _, a := range said {
		i, err := s.Store.IncidentOf(r.Context(), a.Fingerprint)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		p.Allowances = append(p.Allowances, allowanceRow{a, i.ID, s.kind(i.Rule), i.Redacted, !s.Now().Before(a.Expires)})
	}
	slices.SortFunc(p.Allowances, func(a, b allowanceRow) int { return b.Made.Compare(a.Made) })
	open, err := s.Store.List(r.Context(), store.Filter{State: "open", Repository: repo.ID, Limit: maxChoices})
	for _, i := range open {
		if i.Validity == checks.Unknown {
			p.Choices = append(p.Choices, choice{Value: i.ID, Text: s.kind(i.Rule) + ", " + i.Redacted + ", " + string(i.Fingerprint[:8])})
		}
	}
	return err
}

// takeAllowance has something called no secret, or not any more.
func (s *server) takeAllowance(r *http.Request, who github.Person) (view, error) {
	if err := r.ParseForm(); err != nil {
		return view{}, err
	}
	repo, seen, err := s.repository(r.Context(), who, r.PathValue("owner"), r.PathValue("repo"))
	switch {
	case err != nil:
		return view{}, err
	case seen < everything:
		return view{}, errNotFound
	}
	if b := r.PostFormValue("button"); b != report.ButtonNotASecret && b != EndAllowance {
		return view{}, refused(http.StatusBadRequest, "There is no such button.")
	}
	i, err := s.Store.Incident(r.Context(), r.PostFormValue("incident"))
	if err != nil {
		return view{}, err
	}
	return s.order(r, who, i, repo, "/repositories/"+repo.FullName())
}
