package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
)

// A checkPage is what is known about one head commit.
type checkPage struct {
	Repository string
	HeadSHA    string
	CommitURL  string
	Pulls      []pull
	Received   time.Time
	Title      string
	Conclusion string
	Tone       report.Tone
	Scanning   bool
	Problem    string
	Coverage   []checks.Coverage
	Skipped    []checks.Skip
	More       int // skipped things that are not shown
	Problems   []string
	Notes      []string
	Leaks      []leakRow
	Hidden     bool // the reader sees only how far things have come
}

// A pull is a pull request whose head it is.
type pull struct {
	Number int
	URL    string
}

// A leakRow is one finding.
type leakRow struct {
	report.Leak
	report.Advice
	Kind    string
	FileURL string
}

// maxSkipped bounds the list of what was not scanned.
const maxSkipped = 200

func (s *server) showCheck(r *http.Request, who github.Person) (view, error) {
	repo, seen, err := s.repository(r.Context(), who, r.PathValue("owner"), r.PathValue("repo"))
	if err != nil {
		return view{}, err
	}
	id, err := s.Store.CheckOf(r.Context(), repo.Installation, repo.ID, strings.ToLower(r.PathValue("sha")))
	if err != nil {
		return view{}, err
	}
	check, err := s.Store.Check(r.Context(), id)
	if err != nil {
		return view{}, err
	}
	scan, err := s.Scan(r.Context(), check)
	if err != nil {
		return view{}, err
	}
	scan.Public = false // nobody else reads along
	run := report.NewCheckRun(scan)
	p := &checkPage{
		Repository: repo.FullName(), HeadSHA: check.HeadSHA, CommitURL: s.at(repo, "", "commit", check.HeadSHA), Received: check.Received,
		Title: run.Title, Conclusion: string(run.Conclusion), Tone: toneOf(run.Conclusion), Hidden: seen < everything,
		Scanning: len(scan.Coverage) == 0 && scan.Problem == "",
	}
	if p.Scanning {
		p.Title, p.Conclusion, p.Tone = "Being scanned", "in progress", report.Pending
	}
	for _, n := range check.Pulls {
		p.Pulls = append(p.Pulls, pull{n, s.at(repo, "", "pull", itoa(n))})
	}
	if !p.Hidden {
		s.fillCheck(p, repo, scan)
	}
	v := view{template: "check.html", title: p.Title, data: p}
	if p.Scanning {
		v.refresh = refreshAfter
	}
	return v, nil
}

// fillCheck adds what was scanned, what was found, and how it was judged.
func (s *server) fillCheck(p *checkPage, repo store.Repository, scan report.Scan) {
	for _, l := range scan.Leaks {
		p.Leaks = append(p.Leaks, leakRow{l, report.Advise(l), l.Rule.Title, s.file(repo, l.Commit, l.Path, l.Line)})
	}
	p.Problem, p.Problems, p.Notes, p.Coverage = scan.Problem, scan.PolicyProblems, scan.Notes, scan.Coverage
	for _, c := range scan.Coverage {
		for _, skip := range c.Skipped {
			if len(p.Skipped) == maxSkipped {
				p.More++
				continue
			}
			p.Skipped = append(p.Skipped, skip)
		}
	}
}

func toneOf(c report.Conclusion) report.Tone {
	switch c {
	case report.Success:
		return report.Settled
	case report.Neutral:
		return report.Pending
	}
	return report.Urgent
}
