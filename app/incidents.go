package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A TellIncident is what is told of an incident in a list. It holds no secret.
type TellIncident struct {
	ID           string              `json:"id"`
	Rule         string              `json:"rule"`
	Description  string              `json:"description"`
	Severity     rules.Severity      `json:"severity"`
	Redacted     string              `json:"redacted"`
	Fingerprint  string              `json:"fingerprint"`
	Validity     checks.Validity     `json:"validity"` // when it was found
	Grade        string              `json:"grade"`
	State        incident.State      `json:"state"`
	Resolution   incident.Resolution `json:"resolution"`
	Stuck        string              `json:"stuck"` // what a person must do, empty when nobody must
	Doing        incident.Verb       `json:"doing"` // the remediation that is under way
	Repositories []string            `json:"repositories"`
	Received     time.Time           `json:"received"`
}

// A WholeIncident is all that is told of an incident. It holds no secret.
type WholeIncident struct {
	TellIncident
	Sources  []string          `json:"sources"` // repository, import, by hand, schedule
	Evidence provider.Evidence `json:"evidence"`
	Reach    string            `json:"reach"` // what it can do
	Timeline []Reached         `json:"timeline"`
	Steps    []StepTaken       `json:"steps"`
	Places   []FoundAt         `json:"places"` // in repositories
	Stored   []StoredAt        `json:"stored"` // in secret stores
	// Accounts are others with the same password, which leaked as well: each is asked about
	// when this is over.
	Accounts []string      `json:"accounts"`
	Requests []RequestMade `json:"requests"`
	Proof    string        `json:"proof"`
	Held     *time.Time    `json:"held"` // until when its death can be undone
	Approver string        `json:"approver"`
	Can      []string      `json:"can"` // what can be done now: rotate, revoke, resolve, undo, end-hold, confirm
	Next     string        `json:"next"`
}

// A Reached is a stage of the timeline. A stage that was not passed has no time.
type Reached struct {
	Stage   Stage      `json:"stage"`
	At      *time.Time `json:"at"`
	Seconds *float64   `json:"seconds"` // since the push, or since its delivery where the push is not known
}

// A StepTaken is a step of a remediation that was tried.
type StepTaken struct {
	Step      incident.Step     `json:"step"`
	Attempts  int               `json:"attempts"`
	Attempted time.Time         `json:"attempted"`
	Done      *time.Time        `json:"done"`
	Detail    map[string]string `json:"detail"`
}

// A FoundAt is a place in a repository.
type FoundAt struct {
	Repository string `json:"repository"`
	File       string `json:"file"`
	Line       int    `json:"line"`
	Commit     string `json:"commit"`
	Author     string `json:"author"`
	InTip      bool   `json:"in_tip"`
}

// A StoredAt is a place in a secret store, as it was, and as it is since the replacement
// was put there.
type StoredAt struct {
	Leaked      string `json:"leaked"`
	Replacement string `json:"replacement"`
	Left        string `json:"left"` // why it is left as it is: another account has the same password there
}

// A RequestMade is what somebody asked for, and who agreed.
type RequestMade struct {
	Verb     string     `json:"verb"`
	Reason   string     `json:"reason"`
	Asker    string     `json:"asker"`
	Asked    time.Time  `json:"asked"`
	Approver string     `json:"approver"`
	Granted  *time.Time `json:"granted"`
	Ended    *time.Time `json:"ended"`
}

// An IncidentList is one page of incidents, the newest first.
type IncidentList struct {
	Incidents []TellIncident `json:"incidents"`
	Next      string         `json:"next"` // the page behind it: before=NEXT; empty at the end
}

const (
	defaultPage = 50
	largestPage = 200
)

func (a *App) listIncidents(r *http.Request) (any, error) {
	ctx, q := r.Context(), r.URL.Query()
	f := store.Filter{State: q.Get("state"), Rule: q.Get("rule"), Before: q.Get("before"), Limit: defaultPage}
	if !store.KnownState(f.State) {
		return nil, &refusal{http.StatusBadRequest, "there is no such state: the states are " + strings.Join(store.States(), ", ")}
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > largestPage {
			return nil, &refusal{http.StatusBadRequest, fmt.Sprintf("limit is a number from 1 to %d", largestPage)}
		}
		f.Limit = n
	}
	if name := q.Get("repository"); name != "" {
		owner, repo, _ := strings.Cut(name, "/")
		known, err := a.store.RepositoryNamed(ctx, owner, repo)
		if errors.Is(err, store.ErrNotFound) {
			return nil, &refusal{http.StatusNotFound, "the App sees no such repository: write OWNER/NAME, or leave it out"}
		}
		if err != nil {
			return nil, err
		}
		f.Repository = known.ID
	}
	f.Limit++ // to know whether there are more
	found, err := a.store.List(ctx, f)
	if err != nil {
		return nil, err
	}
	page := IncidentList{Incidents: []TellIncident{}}
	for n, i := range found {
		if n == f.Limit-1 {
			page.Next = found[n-1].ID
			break
		}
		names, _, err := a.foundIn(ctx, i.ID)
		if err != nil {
			return nil, err
		}
		page.Incidents = append(page.Incidents, a.tellIncident(i, names))
	}
	return page, nil
}

// foundIn names the repositories in which an incident's credential was found, and their
// ids, in the same order.
func (a *App) foundIn(ctx context.Context, id string) (names []string, ids []int64, err error) {
	all, err := a.store.RepositoriesOf(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	names = []string{} // never null in JSON
	for _, repository := range all {
		known, err := a.store.Repository(ctx, repository)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		names, ids = append(names, known.FullName()), append(ids, repository)
	}
	return names, ids, nil
}

func (a *App) tellIncident(i store.Incident, repositories []string) TellIncident {
	t := TellIncident{
		ID: i.ID, Rule: i.Rule, Description: i.Rule, Redacted: i.Redacted, Fingerprint: string(i.Fingerprint), Validity: i.Validity, Grade: i.Grade,
		State: i.State(), Resolution: i.Resolution, Stuck: i.Stuck, Doing: i.Verb, Repositories: repositories, Received: i.Received.UTC(),
	}
	if t.State == incident.Resolved {
		t.Doing = ""
	}
	if rule := a.rules[i.Rule]; rule != nil { // a repository's own rules are not in the catalogue
		t.Description, t.Severity = rule.Title, rule.Severity
		if can := radius(i); can != nil {
			t.Severity = t.Severity.Adjusted(can.Access)
		}
	}
	return t
}

func (a *App) showIncident(r *http.Request) (any, error) {
	return a.wholeIncident(r.Context(), r.PathValue("id"))
}

// wholeIncident gathers all that is told of an incident.
func (a *App) wholeIncident(ctx context.Context, id string) (*WholeIncident, error) {
	i, err := a.store.Incident(ctx, id)
	if err != nil {
		return nil, err
	}
	names, ids, err := a.foundIn(ctx, id)
	if err != nil {
		return nil, err
	}
	w := &WholeIncident{TellIncident: a.tellIncident(i, names), Evidence: evidence(i), Reach: reach(i), Timeline: timeline(i), Places: []FoundAt{}, Held: passed(i.Held), Approver: i.Approver}
	for n, repository := range ids {
		places, err := a.store.Places(ctx, id, repository)
		if err != nil {
			return nil, err
		}
		for _, p := range places {
			w.Places = append(w.Places, FoundAt{names[n], p.Path, p.Line, p.Commit, p.Author, p.InTip})
		}
	}
	if w.Sources, err = a.sources(ctx, id, len(w.Places) > 0); err != nil {
		return nil, err
	}
	if w.Steps, err = a.stepsTaken(ctx, id); err != nil {
		return nil, err
	}
	if w.Stored, err = storedAt(i); err != nil {
		return nil, err
	}
	if !i.Dead.IsZero() {
		if w.Proof, err = a.proof(ctx, id); err != nil {
			return nil, err
		}
	}
	if w.Requests, err = a.requestsMade(ctx, id); err != nil {
		return nil, err
	}
	policy, err := a.policyForPeople(ctx, id)
	if err != nil {
		return nil, err
	}
	done, err := a.store.StepsDone(ctx, id)
	if err != nil {
		return nil, err
	}
	w.Can = a.chances(i, policy, done)
	w.Next = a.next(i, w.Can, w.Requests)
	accounts, err := a.store.Accounts(ctx, id)
	if err != nil {
		return nil, err
	}
	if w.Accounts = append([]string{}, accounts...); len(accounts) > 0 { // never null in JSON
		w.Next += fmt.Sprintf(" The same password leaked for %s as well, which is asked about when this is over.", strings.Join(accounts, " and "))
	}
	return w, nil
}

// sources are how an incident came to be known.
func (a *App) sources(ctx context.Context, id string, found bool) ([]string, error) {
	all := []string{}
	if found {
		all = append(all, "repository")
	}
	imported, err := a.store.ImportsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(imported) > 0 {
		all = append(all, "import")
	}
	for _, source := range [][2]string{{verbHandOver, "by hand"}, {verbFindDue, "schedule"}} {
		done, err := a.store.HasDone(ctx, source[0], id)
		if err != nil {
			return nil, err
		}
		if done {
			all = append(all, source[1])
		}
	}
	return all, nil
}

func (a *App) stepsTaken(ctx context.Context, id string) ([]StepTaken, error) {
	actions, err := a.store.Actions(ctx, id)
	taken := make([]StepTaken, 0, len(actions)) // never null in JSON
	for _, act := range actions {
		taken = append(taken, StepTaken{act.Step, act.Attempts, act.Attempted.UTC(), passed(act.Done), act.Detail})
	}
	return taken, err
}

func storedAt(i store.Incident) ([]StoredAt, error) {
	all := []StoredAt{}
	ps, err := places(i)
	for _, p := range ps {
		s := StoredAt{Leaked: p.Leaked.String(), Left: p.Left}
		if p.Replacement != nil {
			s.Replacement = p.Replacement.String()
		}
		all = append(all, s)
	}
	return all, err
}

func (a *App) requestsMade(ctx context.Context, id string) ([]RequestMade, error) {
	requests, err := a.store.Requests(ctx, id)
	all := make([]RequestMade, 0, len(requests))
	for _, r := range requests {
		made := RequestMade{Verb: r.Verb, Reason: r.Reason, Asker: requester(r, r.Asker.Login), Asked: r.Asked.UTC(), Granted: passed(r.Granted), Ended: passed(r.Ended)}
		if r.Approver.Login != "" {
			made.Approver = requester(r, r.Approver.Login)
		}
		all = append(all, made)
	}
	return all, err
}

// requester is how the audit log names who asked for something or agreed to it.
func requester(r store.Request, login string) string {
	if r.Repository == ofNoRepository {
		return login
	}
	return "github:" + login
}

// evidence is what the provider said when the credential was found.
func evidence(i store.Incident) (e provider.Evidence) {
	if json.Unmarshal(i.Evidence, &e) != nil {
		return provider.Evidence{}
	}
	return e
}

// passed is a time that has come, nil of the zero Time.
func passed(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// timeline is when an incident passed its stages, all of them in their usual order.
func timeline(i store.Incident) []Reached {
	all := []Reached{}
	passed := i.Timeline()
	for _, stage := range incident.Stages {
		one := Reached{Stage: stage}
		if p, ok := passed.Of(stage); ok {
			one.At, one.Seconds = &p.At, &p.Seconds
		}
		all = append(all, one)
	}
	return all
}
