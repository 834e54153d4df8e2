package web

import (
	"net/http"
	"slices"

	"github.com/stanch-dev/stanch/app/github"
)

// A Plan is what would be done about an incident, call by call. It tells of no repository.
type Plan struct {
	Verb, Order  string
	Steps        []PlannedStep
	Risks, Notes []string
	Stops        string // why nothing would be done before a person has done something
}

// A PlannedStep is one step of a plan.
type PlannedStep struct {
	What, Call     string
	Places         []string // of secret stores
	Final, Changes bool
	Undo           string
	Done           bool
}

// A planPage is the plan of an incident.
type planPage struct {
	ID, Kind, Redacted string
	Plan
}

// showPlan shows what a button would do. Who sees only how far an incident has come sees
// no such page.
func (s *server) showPlan(r *http.Request, who github.Person) (view, error) {
	verb := r.FormValue("verb")
	if verb != "rotate" && verb != "revoke" {
		return view{}, refused(http.StatusBadRequest, "A plan is to rotate or to revoke.")
	}
	i, seen, err := s.incident(r.Context(), who, r.PathValue("id"))
	if err != nil {
		return view{}, err
	}
	if !slices.ContainsFunc(seen, func(repo sight) bool { return repo.level == everything }) {
		return view{}, errNotFound
	}
	p := planPage{ID: i.ID, Kind: s.kind(i.Rule), Redacted: i.Redacted}
	p.Plan, err = s.Plan(r.Context(), i.ID, verb)
	return view{template: "plan.html", title: "What would be done", data: p}, err
}
