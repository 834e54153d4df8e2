package web

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/incident"
)

const (
	// timesOver is over how long the times to death are told, and maxTimes bounds how
	// many credentials are looked at for that, the last ones.
	timesOver = 30 * 24 * time.Hour
	maxTimes  = 10_000
)

// A timesPage tells how long credentials lived after they leaked.
type timesPage struct {
	Days int
	Rows []timesRow
	Cut  bool // more died than were looked at
}

// A timesRow tells of one kind of credential.
type timesRow struct {
	Kind, Rule string // without a rule it is of all kinds
	incident.Spread
}

// showTimes is for whoever may see an incident: it tells of no credential.
func (s *server) showTimes(r *http.Request, who github.Person) (view, error) {
	if sees, err := s.seesAny(r.Context(), who); err != nil || !sees {
		return view{}, cmp.Or(err, errNotFound)
	}
	kinds, err := s.Store.TimesToDead(r.Context(), s.Now().Add(-timesOver), maxTimes)
	if err != nil {
		return view{}, err
	}
	p := &timesPage{Days: int(timesOver / (24 * time.Hour))}
	var all []time.Duration
	for rule, times := range kinds {
		all = append(all, times...)
		p.Rows = append(p.Rows, timesRow{s.kind(rule), rule, incident.SpreadOf(times)})
	}
	slices.SortFunc(p.Rows, func(a, b timesRow) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Rule, b.Rule))
	})
	if len(p.Rows) > 1 {
		p.Rows = slices.Insert(p.Rows, 0, timesRow{"All kinds", "", incident.SpreadOf(all)})
	}
	p.Cut = len(all) == maxTimes
	return view{template: "times.html", title: "Time to dead", data: p}, nil
}
