package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
)

// A providersPage is what this process has learnt of the providers.
type providersPage struct {
	Held    []heldRow
	Answers []answerRow
}

// A heldRow is a kind of credential at a host that did not refuse a random value.
type heldRow struct {
	Provider, Kind, Rule string
	Host                 string // empty where it would tell of a credential's neighbours
	Answer               string
	Since                time.Time
}

// An answerRow counts the verdicts of one sort.
type answerRow struct {
	Provider, Validity, Grade, Reason string
	Count                             int
}

// showProviders is for whoever may see an incident: it tells of no credential.
func (s *server) showProviders(r *http.Request, who github.Person) (view, error) {
	if sees, err := s.seesAny(r.Context(), who); err != nil || !sees {
		return view{}, cmp.Or(err, errNotFound)
	}
	return view{template: "providers.html", title: "Providers", data: &providersPage{s.held(), s.answers()}}, nil
}

// seesAny says whether a person may see an incident, of as many as a page looks at.
func (s *server) seesAny(ctx context.Context, who github.Person) (bool, error) {
	var l list
	err := s.fill(ctx, who, store.Filter{}, &l)
	return len(l.Rows) > 0, err
}

func (s *server) held() (rows []heldRow) {
	for _, h := range s.Providers.Held() {
		if h.Named { // in a repository that the reader may not see
			h.Host = ""
		}
		rows = append(rows, heldRow{h.Provider, s.kind(h.Rule), h.Rule, h.Host, h.Answer, h.Since})
	}
	return rows
}

func (s *server) answers() (rows []answerRow) {
	for c, n := range s.Providers.Counts() {
		rows = append(rows, answerRow{c.Provider, string(c.Validity), string(c.Grade), string(c.Reason), n})
	}
	slices.SortFunc(rows, func(a, b answerRow) int {
		return cmp.Or(strings.Compare(a.Provider, b.Provider), strings.Compare(a.Validity, b.Validity),
			strings.Compare(a.Grade, b.Grade), strings.Compare(a.Reason, b.Reason))
	})
	return rows
}

// reasons say in words why a validity is unknown.
var reasons = map[provider.Reason]string{
	provider.ReasonNotAsked:    "was not asked",
	provider.ReasonUnreachable: "cannot be reached",
	provider.ReasonLimited:     "wants to be asked later",
	provider.ReasonServerError: "is not well",
	provider.ReasonNoAnswer:    "somebody else answered",
	provider.ReasonUnfit:       "an answer that is not documented",
	provider.ReasonLies:        "takes anything",
}
