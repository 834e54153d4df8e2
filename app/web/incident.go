package web

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/report"
)

const (
	// maxPlaces bounds the places of an incident that are shown, and maxAudit the
	// entries of the audit log.
	maxPlaces = 100
	maxAudit  = 200
	// refreshAfter is when a page is loaded again that shows something under way.
	refreshAfter = 2
)

// An incidentPage is all that a reader may know about an incident.
type incidentPage struct {
	ID      string
	Title   string
	State   string
	Tone    report.Tone
	Stages  []stage
	Pushed  bool   // the timeline begins with the push
	Told    string // what the reader has just had done
	Desks   []desk // one for each repository
	Facts   *facts // nil for who sees only how far it has come
	Actions []action
	Places  []place
	More    int // places that are not shown
	Log     []entry
}

// A stage is a point of the timeline.
type stage struct {
	Name    string
	At      time.Time // zero: it was not passed
	First   bool
	Seconds float64 // since the first
	Note    string  // instead of the time
}

// A desk is where the people of one repository decide about an incident.
type desk struct {
	Repository string
	Check      string // the id
	HeadSHA    string
	report.Advice
	Offers []report.Button
	Plans  []string // verbs among the offers
	Reason bool     // one of the offers takes a reason
	Bypass *report.Bypass
}

// facts are what was found out about a credential.
type facts struct {
	Kind, Rule, Severity, Provider string
	Redacted, Fingerprint, AllowID string
	Validity, Grade, Meaning       string
	Request, Answer, Control       string
	Asked                          time.Time
	Identity                       [][2]string
	Reach, Stored, Proof           string
}

// An action is a step of a remediation with its outcome.
type action struct {
	Name     string
	Attempts int
	At       time.Time
	Done     bool
	Detail   [][2]string
}

// A place is where the credential stands.
type place struct {
	Repository, Path, Commit, Author string
	Line                             int
	InTip                            bool
	FileURL, CommitURL               string
}

// An entry is what the audit log says of the incident.
type entry struct {
	At          time.Time
	Actor, Verb string
	Detail      [][2]string
}

func (s *server) showIncident(r *http.Request, who github.Person) (view, error) {
	i, seen, err := s.incident(r.Context(), who, r.PathValue("id"))
	if err != nil {
		return view{}, err
	}
	p, err := s.describe(r.Context(), i, seen)
	if err != nil {
		return view{}, err
	}
	p.Told = orders[r.FormValue("told")]
	v := view{template: "incident.html", title: p.Title, data: p}
	if i.Verb != "" && i.Resolved.IsZero() {
		v.refresh = refreshAfter
	}
	return v, nil
}

// A sight is a repository of an incident with how much of it the reader sees.
type sight struct {
	store.Repository
	level level
}

// incident is an incident of which a person may see something, with the repositories
// by which that is.
func (s *server) incident(ctx context.Context, who github.Person, id string) (store.Incident, []sight, error) {
	i, err := s.Store.Incident(ctx, id)
	if err != nil {
		return i, nil, err
	}
	repos := repositories{server: s, known: map[int64]store.Repository{}, levels: map[int64]level{}}
	places, err := repos.of(ctx, who, []store.Incident{i})
	if err != nil {
		return i, nil, err
	}
	var seen []sight
	for _, repo := range places[i.ID] {
		if l := repos.levels[repo.ID]; l != nothing {
			seen = append(seen, sight{repo, l})
		}
	}
	if len(seen) == 0 {
		return i, nil, errNotFound
	}
	return i, seen, nil
}

// describe gathers what may be shown of an incident to who sees that much of its
// repositories. What is of other repositories is left out.
func (s *server) describe(ctx context.Context, i store.Incident, seen []sight) (*incidentPage, error) {
	p := &incidentPage{ID: i.ID, Title: "Incident", Stages: stages(i), Pushed: !i.Pushed.IsZero()}
	p.State, p.Tone = standing(i)
	open := map[string]bool{} // repositories of which the log may tell, by name and by id
	for _, repo := range seen {
		d, leak, err := s.desk(ctx, i, repo)
		if err != nil {
			return nil, err
		}
		p.Desks = append(p.Desks, d)
		if repo.level < everything {
			continue
		}
		open[repo.FullName()], open[fmt.Sprint(repo.ID)] = true, true
		if err := s.places(ctx, i.ID, repo.Repository, p); err != nil {
			return nil, err
		}
		p.Facts = s.facts(i, leak)
		p.Title = p.Facts.Kind
	}
	if p.Facts == nil {
		return p, nil
	}
	steps, err := s.Store.Actions(ctx, i.ID)
	if err != nil {
		return nil, err
	}
	for _, step := range steps {
		p.Actions = append(p.Actions, actionOf(step))
	}
	log, err := s.Store.AuditOf(ctx, i.ID, maxAudit)
	if err != nil {
		return nil, err
	}
	all, err := s.Store.RepositoriesOf(ctx, i.ID)
	whole := !slices.ContainsFunc(all, func(id int64) bool { return !open[fmt.Sprint(id)] })
	p.Log = entries(log, open, whole)
	return p, err
}

// stageNames are the stages as the timeline's headings.
var stageNames = map[incident.Stage]string{
	incident.StagePushed: "Pushed", incident.StageDelivered: "Delivered", incident.StageDetected: "Detected", incident.StageVerified: "Verified",
	incident.StageContained: "Contained", incident.StageRotated: "Rotated", incident.StageProvedDead: "Proved dead",
}

// stages are the timeline: what was passed, and then what was not.
func stages(i store.Incident) (all []stage) {
	passed := map[incident.Stage]bool{incident.StagePushed: true} // nobody will tell any more
	for n, p := range i.Timeline() {
		passed[p.Stage] = true
		all = append(all, stage{Name: stageNames[p.Stage], At: p.At, First: n == 0, Seconds: p.Seconds})
	}
	for _, s := range incident.Stages {
		if !passed[s] {
			all = append(all, stage{Name: stageNames[s], Note: missing(i, s)})
		}
	}
	return all
}

// missing says why an incident has not passed a stage.
func missing(i store.Incident, s incident.Stage) string {
	switch {
	case s == incident.StageVerified && i.Validity == checks.Unknown:
		return "nobody could tell"
	case !i.Resolved.IsZero() || i.Validity == checks.Inactive:
		return "not needed"
	}
	return "not yet"
}

// desk says where an incident stands for a repository, and what can be decided there.
func (s *server) desk(ctx context.Context, i store.Incident, repo sight) (desk, report.Leak, error) {
	check, err := s.Store.NewestCheckOf(ctx, i.ID, repo.ID)
	if err != nil {
		return desk{}, report.Leak{}, err
	}
	scan, err := s.Scan(ctx, check)
	if err != nil {
		return desk{}, report.Leak{}, err
	}
	scan.Public = false // nobody else reads along
	d := desk{Repository: repo.FullName(), Check: check.ID, HeadSHA: check.HeadSHA}
	n := slices.IndexFunc(scan.Leaks, func(l report.Leak) bool { return l.Incident == i.ID })
	if n < 0 {
		return d, report.Leak{}, nil
	}
	leak := scan.Leaks[n]
	d.Advice = report.Advise(leak)
	if repo.level < everything {
		d.Next = "Those who may write to the repository see what to do."
		return d, leak, nil
	}
	d.Offers, d.Bypass = scan.Offers(leak), leak.Bypass
	for _, b := range d.Offers {
		if b.Identifier == report.ButtonRotate || b.Identifier == report.ButtonRevoke {
			d.Plans = append(d.Plans, b.Identifier)
		}
	}
	d.Reason = slices.ContainsFunc(d.Offers, func(b report.Button) bool { return takesReason[b.Identifier] })
	return d, leak, nil
}

// places adds where the credential stands in a repository.
func (s *server) places(ctx context.Context, id string, repo store.Repository, p *incidentPage) error {
	all, err := s.Store.Places(ctx, id, repo.ID)
	if err != nil {
		return err
	}
	for _, o := range all {
		if len(p.Places) == maxPlaces {
			p.More++
			continue
		}
		p.Places = append(p.Places, place{
			Repository: repo.FullName(), Path: o.Path, Line: o.Line, Commit: o.Commit, Author: o.Author, InTip: o.InTip,
			FileURL:   s.file(repo, o.Commit, o.Path, o.Line),
			CommitURL: s.at(repo, "", "commit", o.Commit),
		})
	}
	return nil
}

// at is an address of a repository on GitHub; empty for a path that would lead elsewhere.
func (s *server) at(repo store.Repository, fragment string, elements ...string) string {
	path := strings.Join(append([]string{repo.Owner, repo.Name}, elements...), "/")
	if !plainPath(path) {
		return ""
	}
	return s.GitHub.URL() + (&url.URL{Path: "/" + path, Fragment: fragment}).String()
}

// file is where a finding stands: a line of a file, or what a commit says.
func (s *server) file(repo store.Repository, commit, path string, line int) string {
	if path == git.CommitMessage {
		return s.at(repo, "", "commit", commit)
	}
	return s.at(repo, "L"+itoa(line), "blob", commit, path)
}

// plainPath reports whether a path leads down only.
func plainPath(path string) bool {
	for element := range strings.SplitSeq(path, "/") {
		if element == "" || element == "." || element == ".." {
			return false
		}
	}
	return true
}

// gradeMeanings say what a grade of evidence can bear.
var gradeMeanings = map[string]string{
	"A": "the provider named the owner, and refused a random value of the same shape",
	"B": "a documented answer, which does not name the owner or was not controlled",
	"C": "no answer that says anything for sure: nothing happens on its strength",
}

// evidence is what the provider said, as package app keeps it.
func evidence(i store.Incident) (e provider.Evidence) {
	if json.Unmarshal(i.Evidence, &e) != nil {
		return provider.Evidence{}
	}
	return e
}

func (s *server) facts(i store.Incident, leak report.Leak) *facts {
	e := evidence(i)
	f := &facts{
		Kind: s.kind(i.Rule), Rule: i.Rule, Redacted: i.Redacted, Fingerprint: string(i.Fingerprint), AllowID: string(leak.AllowID),
		Validity: string(i.Validity), Grade: i.Grade, Meaning: gradeMeanings[i.Grade],
		Request: e.Request, Answer: e.Answer, Control: e.Control, Asked: e.At, Identity: pairs(e.Identity),
		Reach: leak.Reach, Stored: leak.Stored, Proof: leak.Proof,
	}
	if rule := s.rules[i.Rule]; rule != nil {
		f.Severity, f.Provider = string(rule.Severity), rule.Provider.Title
	}
	return f
}

// pairs are the entries of a map in the order of their names.
func pairs(m map[string]string) [][2]string {
	var all [][2]string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if m[name] != "" {
			all = append(all, [2]string{strings.ReplaceAll(name, "_", " "), m[name]})
		}
	}
	return all
}

// stepNames say what the steps of a remediation do.
var stepNames = map[incident.Step]string{
	incident.Issue: "A replacement is issued", incident.Put: "It is put where the leaked one stood",
	incident.VerifyNew: "The provider takes the replacement", incident.RevokeOld: "The leaked one is revoked",
	incident.ProveDead: "The provider refuses the leaked one", incident.Retire: "The leaked value is destroyed in the store",
	incident.Discard: "The unused replacement is revoked",
}

func actionOf(step store.Action) action {
	a := action{Name: stepNames[step.Step], Attempts: step.Attempts, At: step.Attempted, Done: !step.Done.IsZero()}
	if a.Done {
		a.At = step.Done
	}
	detail := maps.Clone(step.Detail)
	delete(detail, "fingerprint") // of the replacement: nobody needs it here
	a.Detail = pairs(detail)
	return a
}

// entries are what may be shown of the audit log: nothing of other repositories, of
// which there are none when it is whole. What the page says elsewhere is left out.
func entries(log []audit.Entry, open map[string]bool, whole bool) []entry {
	var all []entry
	for _, e := range log {
		of := cmp.Or(e.Detail["repository"], e.Detail["repository_id"])
		if of != "" && !open[of] {
			continue
		}
		detail := maps.Clone(e.Detail)
		for _, name := range []string{"fingerprint", "operation", "repository_id"} {
			delete(detail, name)
		}
		if of == "" && !whole && strings.HasPrefix(e.Actor, "github:") {
			detail = nil // perhaps the words of another repository's people
		}
		all = append(all, entry{e.At, e.Actor, e.Verb, pairs(detail)})
	}
	return all
}
