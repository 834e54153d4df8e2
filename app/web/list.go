package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
)

const (
	// pageSize is how many incidents a page lists.
	pageSize = 25
	// maxLooked bounds the incidents that are looked at for one page, most of which
	// its reader may not see. The next page goes on behind them.
	maxLooked = 500
	// maxAsked bounds the repositories that GitHub is asked about for one page.
	maxAsked = 100
)

// A row is an incident in a list.
type row struct {
	ID           string
	Kind         string
	Redacted     string
	Repositories []string // that the reader may see
	State        string
	Tone         report.Tone
	Received     time.Time
	DeadAfter    time.Duration
	Hidden       bool // the reader sees only how far it has come
}

// A list is one page of incidents.
type list struct {
	Filter filter
	States []choice
	Rows   []row
	Next   string // the address of the next page
	Cut    bool   // more were looked at than may be for one page
}

// A filter is what the reader of a list chose.
type filter struct{ State, Kind, Repository string }

// A choice is one of a form.
type choice struct {
	Value, Text string
	Chosen      bool
}

// states are the choices of the list, in the order in which incidents reach them.
var states = []choice{
	{Value: "", Text: "All"}, {Value: "open", Text: "Open"}, {Value: "stuck", Text: "Waiting for a person"},
	{Value: "contained", Text: "Revoked, proof pending"}, {Value: "rotated", Text: "Rotated, proof pending"},
	{Value: "proved_dead", Text: "Proved dead"}, {Value: "dismissed", Text: "No secret"}, {Value: "never_live", Text: "Never live"},
}

// address is the address of the list behind an incident.
func (f filter) address(before string) string {
	q := url.Values{}
	for name, value := range map[string]string{"state": f.State, "kind": f.Kind, "repository": f.Repository, "before": before} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return "/incidents?" + q.Encode()
}

func (s *server) showStart(*http.Request, github.Person) (view, error) {
	return view{redirect: "/incidents"}, nil
}

func (s *server) showIncidents(r *http.Request, who github.Person) (view, error) {
	l := list{Filter: filter{r.FormValue("state"), strings.TrimSpace(r.FormValue("kind")), strings.TrimSpace(r.FormValue("repository"))}}
	f := store.Filter{State: l.Filter.State, Rule: l.Filter.Kind, Before: r.FormValue("before")}
	if !store.KnownState(f.State) {
		return view{}, refused(http.StatusBadRequest, "There is no such state of incidents.")
	}
	if l.Filter.Repository != "" {
		owner, name, _ := strings.Cut(l.Filter.Repository, "/")
		repo, _, err := s.repository(r.Context(), who, owner, name)
		if err != nil {
			return view{}, err
		}
		f.Repository = repo.ID
	}
	for _, c := range states {
		c.Chosen = c.Value == f.State
		l.States = append(l.States, c)
	}
	return view{template: "incidents.html", title: "Incidents", data: &l}, s.fill(r.Context(), who, f, &l)
}

// fill looks for incidents that the reader may see, until the page is full.
func (s *server) fill(ctx context.Context, who github.Person, f store.Filter, l *list) error {
	repos := repositories{server: s, known: map[int64]store.Repository{}, levels: map[int64]level{}}
	for looked := 0; ; {
		f.Limit = pageSize
		batch, err := s.Store.List(ctx, f)
		if err != nil {
			return err
		}
		places, err := repos.of(ctx, who, batch)
		if err != nil {
			return err
		}
		for _, i := range batch {
			if len(l.Rows) == pageSize {
				l.Next = l.Filter.address(f.Before)
				return nil
			}
			f.Before = i.ID
			looked++
			if shown, ok := s.row(i, places[i.ID], repos.levels, f.Repository); ok {
				l.Rows = append(l.Rows, shown)
			}
		}
		if len(batch) < f.Limit {
			return nil
		}
		if looked >= maxLooked || len(repos.levels) >= maxAsked {
			l.Next, l.Cut = l.Filter.address(f.Before), len(l.Rows) < pageSize
			return nil
		}
	}
}

// repositories are those that a page speaks of, each looked up once.
type repositories struct {
	server *server
	known  map[int64]store.Repository
	levels map[int64]level
}

// of returns the repositories of incidents, and learns what the reader sees of them.
func (r *repositories) of(ctx context.Context, who github.Person, incidents []store.Incident) (map[string][]store.Repository, error) {
	places := map[string][]store.Repository{}
	var fresh []store.Repository
	for _, i := range incidents {
		ids, err := r.server.Store.RepositoriesOf(ctx, i.ID)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			repo, ok := r.known[id]
			if !ok {
				if repo, err = r.server.Store.Repository(ctx, id); errors.Is(err, store.ErrNotFound) {
					continue
				} else if err != nil {
					return nil, err
				}
				r.known[id] = repo
				fresh = append(fresh, repo)
			}
			places[i.ID] = append(places[i.ID], repo)
		}
	}
	levels, err := r.server.access.ofAll(ctx, who, fresh)
	for id, l := range levels {
		r.levels[id] = l
	}
	return places, err
}

// row is an incident in a list, if the reader may see it there.
func (s *server) row(i store.Incident, places []store.Repository, levels map[int64]level, only int64) (row, bool) {
	shown := row{ID: i.ID, Received: i.Received, Hidden: true}
	for _, repo := range places {
		if levels[repo.ID] == nothing || only != 0 && repo.ID != only {
			continue
		}
		shown.Repositories = append(shown.Repositories, repo.FullName())
		shown.Hidden = shown.Hidden && levels[repo.ID] < everything
	}
	slices.Sort(shown.Repositories)
	shown.State, shown.Tone = standing(i)
	if !i.Dead.IsZero() {
		shown.DeadAfter, _ = i.Timeline().Until(incident.StageProvedDead)
	}
	if !shown.Hidden {
		shown.Kind, shown.Redacted = s.kind(i.Rule), i.Redacted
	}
	return shown, len(shown.Repositories) > 0
}

// kind is what a rule finds, in words. A repository's own rules have none here.
func (s *server) kind(rule string) string {
	if known := s.rules[rule]; known != nil {
		return known.Title
	}
	return rule
}

// standing says in a few words how far an incident has come.
func standing(i store.Incident) (string, report.Tone) {
	switch state := i.State(); {
	case state == incident.Resolved && i.Resolution == incident.ResolutionFalsePositive:
		return "No secret", report.Settled
	case state == incident.Resolved && i.Resolution == incident.ResolutionRotated:
		return "Rotated, proved dead", report.Settled
	case state == incident.Resolved && i.Resolution == incident.ResolutionUsedInTests:
		return "Used in tests", report.Settled
	case state == incident.Resolved && i.Resolution == incident.ResolutionWontFix:
		return "Will not be fixed", report.Settled
	case state == incident.Resolved && i.Dead.IsZero() && i.Validity != checks.Inactive:
		return "Revoked, says a person", report.Settled
	case state == incident.Resolved, state == incident.ProvedDead:
		return "Proved dead", report.Settled
	case i.Stuck != "":
		return "A person must act", report.Urgent
	case state == incident.Rotated:
		return "Rotated, proof pending", report.Pending
	case state == incident.Contained:
		return "Revoked, proof pending", report.Pending
	case i.Verb != "":
		return "Live, being replaced", report.Pending
	case i.Validity == checks.Active:
		return "Live", report.Urgent
	case i.Validity == checks.Inactive:
		return "Never live", report.Settled
	}
	return "Validity unknown", report.Urgent
}
