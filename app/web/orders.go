package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks/report"
)

// orders are what can be ordered, with what is told of it afterwards.
var orders = map[string]string{
	report.ButtonRotate:        "It is being replaced, or waits for a second person.",
	report.ButtonConfirmRotate: "You agreed: it is being replaced.",
	report.ButtonRevoke:        "It is being revoked, or waits for a second person.",
	report.ButtonConfirmRevoke: "You agreed: it is being revoked.",
	report.ButtonNotASecret:    "It counts as no secret.",
	report.ButtonBypass:        "The check passes for now, or waits for a second person.",
	report.ButtonApproveBypass: "You agreed: the check passes for now.",
	EndAllowance:               "It does not count as no secret any more.",
}

// takesReason are the orders that need a reason here, as commands do. The check run's
// buttons cannot carry one.
var takesReason = map[string]bool{report.ButtonNotASecret: true, report.ButtonBypass: true}

// takeOrder has something done about an incident.
func (s *server) takeOrder(r *http.Request, who github.Person) (view, error) {
	if err := r.ParseForm(); err != nil {
		return view{}, err
	}
	i, seen, err := s.incident(r.Context(), who, r.PathValue("id"))
	if err != nil {
		return view{}, err
	}
	for _, repo := range seen {
		if repo.level == everything && repo.FullName() == r.PostFormValue("repository") {
			return s.order(r, who, i, repo.Repository, "/incidents/"+i.ID)
		}
	}
	return view{}, errNotFound
}

// order has something done about an incident on behalf of a repository whose people the
// reader belongs to, and leads back. Whether this person may order it is not decided here.
func (s *server) order(r *http.Request, who github.Person, i store.Incident, repo store.Repository, back string) (view, error) {
	button, reason := r.PostFormValue("button"), strings.TrimSpace(r.PostFormValue("reason"))
	if orders[button] == "" {
		return view{}, refused(http.StatusBadRequest, "There is no such button.")
	}
	if takesReason[button] && reason == "" {
		return view{}, refused(http.StatusBadRequest, "This needs a reason, for those who read the audit log. Go back and give one.")
	}
	until, err := s.until(r.PostFormValue("until"))
	if err != nil {
		return view{}, err
	}
	check, err := s.Store.NewestCheckOf(r.Context(), i.ID, repo.ID)
	if err != nil {
		return view{}, err
	}
	got, err := s.Obey(r.Context(), Order{Check: check.ID, Button: button, Finding: i.Fingerprint, Reason: reason, Until: until, By: who})
	switch {
	case err != nil:
		return view{}, err
	case !got.Done:
		return view{}, refused(http.StatusConflict, "Nothing was done: "+got.Why+".")
	}
	return view{redirect: back + "?told=" + button}, nil
}

// until is the end of a day that a form names; zero when it names none.
func (s *server) until(day string) (time.Time, error) {
	if day == "" {
		return time.Time{}, nil
	}
	d, err := time.Parse(time.DateOnly, day)
	if err != nil || !d.After(s.Now().Add(-24*time.Hour)) {
		return time.Time{}, refused(http.StatusBadRequest, "The last day must be today or later, in the form 2031-12-31.")
	}
	return d.Add(24*time.Hour - time.Second), nil
}
