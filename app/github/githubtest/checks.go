package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// A CheckRun is a check run as it stands, with all its annotations.
type CheckRun struct {
	ID          int64
	Repository  string
	AppID       int64
	Name        string
	HeadSHA     string
	Status      string
	Conclusion  string
	ExternalID  string
	DetailsURL  string
	Title       string
	Summary     string
	Text        string
	Annotations []Annotation
	Actions     []Action
	StartedAt   time.Time
	CompletedAt time.Time
	Updates     int    // how often it was updated
	URL         string // of its page
}

// An Annotation is a remark on lines of a file.
type Annotation struct {
	Path        string `json:"path"`
	StartLine   int    `json:"start_line"`
	EndLine     int    `json:"end_line"`
	StartColumn *int   `json:"start_column,omitempty"`
	EndColumn   *int   `json:"end_column,omitempty"`
	Level       string `json:"annotation_level"`
	Title       string `json:"title,omitempty"`
	Message     string `json:"message"`
	RawDetails  string `json:"raw_details,omitempty"`
}

// An Action is a button of a check run.
type Action struct {
	Label       string `json:"label"`
	Description string `json:"description"`
	Identifier  string `json:"identifier"`
}

type checkRun struct {
	CheckRun
	repo   *repository
	app    *app
	suite  int64
	branch *any // the suite's, once somebody looked
}

// A suiteKey names the check suite that an App has for a commit.
type suiteKey struct {
	repo, app int64
	sha       string
}

// CheckRun returns a check run by its id.
func (s *Server) CheckRun(id int64) (CheckRun, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.checkRuns[id]
	if run == nil {
		return CheckRun{}, false
	}
	return run.export(), true
}

// CheckRuns lists a repository's check runs, oldest first.
func (s *Server) CheckRuns(repository string) []CheckRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	return each(s.runsOf(repository), (*checkRun).export)
}

func (run *checkRun) export() CheckRun {
	shown := run.CheckRun
	shown.Annotations = slices.Clone(run.Annotations)
	shown.Actions = slices.Clone(run.Actions)
	return shown
}

// runsOf lists a repository's check runs, oldest first.
func (s *Server) runsOf(repository string) []*checkRun {
	var list []*checkRun
	for _, run := range s.checkRuns {
		if key(run.Repository) == key(repository) {
			list = append(list, run)
		}
	}
	slices.SortFunc(list, func(a, b *checkRun) int { return int(a.ID - b.ID) })
	return list
}

func createCheckRun(c *call) (int, any, error) {
	ask, err := c.checkRunRequest()
	if err != nil {
		return 0, nil, err
	}
	if err := ask.complete(); err != nil {
		return 0, nil, err
	}
	if c.git.commit(c.repo.dir, *ask.HeadSHA) != *ask.HeadSHA {
		return 0, nil, invalid("No commit found for SHA: %s", *ask.HeadSHA)
	}
	run := &checkRun{repo: c.repo, app: c.app, suite: c.suite(c.repo, c.app, *ask.HeadSHA)}
	id := c.nextID()
	run.CheckRun = CheckRun{
		ID: id, Repository: c.repo.fullName(), AppID: c.app.id, Name: *ask.Name, HeadSHA: *ask.HeadSHA,
		Status: "queued", StartedAt: c.now(), DetailsURL: c.web("/apps/%s", c.app.slug),
		URL: c.web("/%s/runs/%d", c.repo.fullName(), id),
	}
	ask.apply(&run.CheckRun, c.now())
	c.checkRuns[id] = run
	c.sendCheckRun(run, "created", run.app.bot, nil)
	if run.Status == "completed" {
		c.sendCheckRun(run, "completed", run.app.bot, nil)
	}
	return http.StatusCreated, run.json(c.Server), nil
}

// suite is the check suite that an App has for a commit.
func (s *Server) suite(repo *repository, a *app, sha string) int64 {
	k := suiteKey{repo.id, a.id, sha}
	if s.suites[k] == 0 {
		s.suites[k] = s.nextID()
	}
	return s.suites[k]
}

// checkRun is the check run that the path names.
func (c *call) checkRun() (*checkRun, error) {
	run := c.checkRuns[c.id("id")]
	if run == nil || run.repo != c.repo {
		return nil, errNotFound
	}
	return run, nil
}

func showCheckRun(c *call) (int, any, error) {
	run, err := c.checkRun()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, run.json(c.Server), nil
}

func updateCheckRun(c *call) (int, any, error) {
	run, err := c.checkRun()
	if err != nil {
		return 0, nil, err
	}
	if run.app != c.app {
		return 0, nil, &apiError{Status: http.StatusForbidden, Message: "Invalid app_id `" + fmt.Sprint(c.app.id) + "` - check run can only be modified by the GitHub App that created it."}
	}
	ask, err := c.checkRunRequest()
	if err != nil {
		return 0, nil, err
	}
	was := run.Status
	ask.apply(&run.CheckRun, c.now())
	run.Updates++
	if run.Status == "completed" && was != "completed" {
		c.sendCheckRun(run, "completed", run.app.bot, nil)
	}
	return http.StatusOK, run.json(c.Server), nil
}

// listCheckRuns answers with the check runs of a commit, newest first. Unless
// all are asked for, only the newest of each App and name is shown.
func listCheckRuns(c *call, ref string) (int, any, error) {
	sha := c.git.commit(c.repo.dir, ref)
	if sha == "" {
		return 0, nil, invalid("No commit found for SHA: %s", ref)
	}
	query := c.query()
	all := query.Get("filter") == "all"
	type name struct {
		app  int64
		name string
	}
	seen := map[name]bool{}
	list := []*checkRun{}
	for _, run := range slices.Backward(c.runsOf(c.repo.fullName())) {
		n := name{run.AppID, run.Name}
		if run.HeadSHA != sha || !all && seen[n] || !fits(query.Get("check_name"), run.Name) ||
			!fits(query.Get("app_id"), fmt.Sprint(run.AppID)) || !fits(query.Get("status"), run.Status) {
			continue
		}
		seen[n] = true
		list = append(list, run)
	}
	return http.StatusOK, object{
		"total_count": len(list),
		"check_runs":  each(page(c, list), func(run *checkRun) object { return run.json(c.Server) }),
	}, nil
}

func listAnnotations(c *call) (int, any, error) {
	run, err := c.checkRun()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, each(page(c, run.Annotations), func(a Annotation) object { return a.json(c.Server, run) }), nil
}

func (a Annotation) json(s *Server, run *checkRun) object {
	return object{
		"path": a.Path, "start_line": a.StartLine, "end_line": a.EndLine,
		"start_column": column(a.StartColumn), "end_column": column(a.EndColumn),
		"annotation_level": a.Level, "title": nullable(a.Title), "message": a.Message,
		"raw_details": nullable(a.RawDetails),
		"blob_href":   s.web("/%s/blob/%s/%s", run.Repository, run.HeadSHA, a.Path),
	}
}

func column(n *int) any {
	if n == nil {
		return nil
	}
	return *n
}

// json is the check run as the API shows it; webhooks add the suite to it.
func (run *checkRun) json(s *Server) object {
	at := s.api("/repos/%s/check-runs/%d", run.Repository, run.ID)
	return object{
		"id": run.ID, "node_id": fmt.Sprintf("CR_%d", run.ID), "head_sha": run.HeadSHA, "name": run.Name,
		"external_id": run.ExternalID, "url": at, "html_url": run.URL, "details_url": run.DetailsURL,
		"status": run.Status, "conclusion": nullable(run.Conclusion),
		"started_at": stamp(run.StartedAt), "completed_at": stamp(run.CompletedAt),
		"output": object{
			"title": nullable(run.Title), "summary": nullable(run.Summary), "text": nullable(run.Text),
			"annotations_count": len(run.Annotations), "annotations_url": at + "/annotations",
		},
		"check_suite": object{"id": run.suite}, "app": run.app.json(s), "pull_requests": run.pulls(s),
	}
}

// pulls lists the open pull requests of the run's commit, those of forks left
// out, as GitHub leaves them out.
func (run *checkRun) pulls(s *Server) []object {
	list := []object{}
	for _, p := range run.repo.pulls {
		if p.headSHA == run.HeadSHA && p.head == run.repo && p.closed.IsZero() {
			list = append(list, p.minimal(s))
		}
	}
	return list
}

func (p *pull) minimal(s *Server) object {
	side := func(repo *repository, ref, sha string) object {
		return object{"ref": ref, "sha": sha, "repo": object{
			"id": repo.id, "name": repo.name, "url": s.api("/repos/%s", repo.fullName()),
		}}
	}
	return object{
		"id": p.id, "number": p.number, "url": s.api("/repos/%s/pulls/%d", p.base.fullName(), p.number),
		"head": side(p.head, p.headRef, p.headSHA),
		"base": side(p.base, p.baseRef, s.git.commit(p.base.dir, "refs/heads/"+p.baseRef)),
	}
}

// sendCheckRun tells the run's App, and no other, of it.
func (s *Server) sendCheckRun(run *checkRun, action string, sender *account, more object) {
	shown := run.json(s)
	shown["check_suite"] = run.suiteJSON(s)
	payload := object{"action": action, "check_run": shown, "sender": sender.simple(s)}
	for field, value := range more {
		payload[field] = value
	}
	s.send(run.app, run.app.installedAt(run.repo), run.repo, "check_run", payload)
}

func (run *checkRun) suiteJSON(s *Server) object {
	return object{
		"id": run.suite, "node_id": fmt.Sprintf("CS_%d", run.suite), "head_sha": run.HeadSHA,
		"head_branch": s.headBranch(run), "status": run.Status, "conclusion": nullable(run.Conclusion),
		"url":    s.api("/repos/%s/check-suites/%d", run.Repository, run.suite),
		"before": nil, "after": run.HeadSHA, "pull_requests": run.pulls(s), "app": run.app.json(s),
		"created_at": stamp(run.StartedAt), "updated_at": stamp(s.now()),
	}
}

// headBranch names the branch whose tip a run is about; null when it is a
// fork's.
func (s *Server) headBranch(run *checkRun) any {
	if run.branch != nil {
		return *run.branch
	}
	refs, err := s.git.refs(run.repo.dir)
	if err != nil {
		return nil
	}
	var branch any
	if name, ok := baseRef(refs, Push{After: run.HeadSHA}).(string); ok {
		branch = name[len("refs/heads/"):]
	}
	run.branch = &branch
	return branch
}

// PressButton sends what GitHub sends when somebody presses a check run's
// button.
func (s *Server) PressButton(checkRunID int64, identifier, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.checkRuns[checkRunID]
	if run == nil || !slices.ContainsFunc(run.Actions, func(a Action) bool { return a.Identifier == identifier }) {
		return fmt.Errorf("press %s of check run %d: there is no such button", identifier, checkRunID)
	}
	s.sendCheckRun(run, "requested_action", s.account(login, "User"),
		object{"requested_action": object{"identifier": identifier}})
	return nil
}

// Rerequest sends what GitHub sends when somebody presses "Re-run". The check
// run itself stays as it is: what becomes of it is the App's affair.
func (s *Server) Rerequest(checkRunID int64, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.checkRuns[checkRunID]
	if run == nil {
		return fmt.Errorf("re-run check run %d: there is no such one", checkRunID)
	}
	s.sendCheckRun(run, "rerequested", s.account(login, "User"), nil)
	return nil
}

// rerequest answers POST …/check-runs/{id}/rerequest.
func rerequest(c *call) (int, any, error) {
	run, err := c.checkRun()
	if err != nil {
		return 0, nil, err
	}
	c.sendCheckRun(run, "rerequested", run.app.bot, nil)
	return http.StatusCreated, object{}, nil
}
