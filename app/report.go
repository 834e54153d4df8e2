package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

// reportArgs is the job of telling GitHub what is known about a commit.
type reportArgs struct {
	Check        string `json:"check"`
	Installation int64  `json:"installation,omitempty"`
	// Background says that nobody waits for it.
	Background bool `json:"background,omitempty"`
}

func (reportArgs) Kind() string { return "report" }

// InsertOpts puts reports that nobody waits for behind all others.
func (r reportArgs) InsertOpts() river.InsertOpts {
	opts := river.InsertOpts{Queue: queueReport}
	if r.Background {
		opts.Priority = priorityBackground
	}
	return opts
}

// Turn lets the installations take turns. What a remediation has to tell is of no
// installation in particular, and goes first.
func (r reportArgs) Turn() store.Turn {
	return store.Turn{Installation: r.Installation, Cost: time.Second}
}

type reportWorker struct {
	river.WorkerDefaults[reportArgs]
	app *App
}

// Work completes the check run, and writes the pull requests' comment, from what
// the store says now. Every change enqueues a report, so the last one tells the
// last state.
func (w reportWorker) Work(ctx context.Context, job *river.Job[reportArgs]) error {
	a := w.app
	if job.Args.Background {
		ctx = github.InBackground(ctx)
	}
	switch err := a.showProgress(ctx, job.Args.Check, false); {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, github.ErrGone), errors.Is(err, github.ErrNoCommit) && job.Attempt >= confessAfter:
		return river.JobCancel(err) // erased, uninstalled, or nothing that a check run could stand on
	case err != nil:
		return a.postpone(err)
	}
	// Two reports of one check at the same time could finish in the wrong order.
	release, err := a.store.Hold(ctx, holdCheck(job.Args.Check))
	if err != nil {
		return err
	}
	defer release()
	check, err := a.store.Check(ctx, job.Args.Check)
	if err != nil {
		return err
	}
	state, done, err := a.state(ctx, check)
	if err != nil {
		return err
	}
	run, comment := report.NewCheckRun(state), report.Comment(state)
	if !done.scans && run.Conclusion != report.Failure && state.Problem == "" {
		a.tellProgress(ctx, check, state, run)
		return nil // more of what the commit brings is still being scanned
	}
	digest, err := digestOf(run, comment, check.Pulls)
	if err != nil {
		return err
	}
	mark := digest
	if done.scans && done.incidents {
		mark += settledMark
	}
	if mark == check.Reported {
		return nil // GitHub shows this already
	}
	if strings.TrimSuffix(check.Reported, settledMark) != digest {
		if err := a.tell(ctx, check, run, comment); err != nil {
			return err
		}
	}
	if err := a.store.InTx(ctx, func(tx *store.Tx) error { return tx.SetReported(ctx, check.ID, mark) }); err != nil {
		return err
	}
	if mark != digest {
		a.observe(Event{Stage: Checked, At: a.now(), Repository: check.Repository.FullName(), HeadSHA: check.HeadSHA, Detail: string(run.Conclusion)})
	}
	return nil
}

// tellProgress shows how far a long scan is, where the check run shows nothing else.
// Nothing waits for that: the next part tells more.
func (a *App) tellProgress(ctx context.Context, check store.Check, state report.Scan, run report.CheckRun) {
	if state.Progress.Of == 0 || check.Reported != "" {
		return
	}
	if err := a.github.Installation(check.Installation).ShowProgress(ctx, check.Repository, check.RunID, run); err != nil {
		a.log.WarnContext(ctx, "the check run does not show how far the scan is", "check", check.ID, "error", err)
	}
}

// settledMark is added to the digest of a report after which nothing is under way.
const settledMark = " settled"

// tell completes the check run and writes the comment.
func (a *App) tell(ctx context.Context, check store.Check, run report.CheckRun, comment string) error {
	inst := a.github.Installation(check.Installation)
	switch err := inst.CompleteCheck(ctx, check.Repository, check.RunID, run); {
	case errors.Is(err, github.ErrNotFound):
		return river.JobCancel(fmt.Errorf("complete check run: %w", err))
	case err != nil:
		return a.postpone(fmt.Errorf("complete check run: %w", err))
	}
	return a.postpone(a.comment(ctx, inst, check, comment))
}

// digestOf names what is told to GitHub, to tell it once.
func digestOf(run report.CheckRun, comment string, pulls []int) (string, error) {
	b, err := json.Marshal(struct {
		Run     report.CheckRun
		Comment string
		Pulls   []int
	}{run, comment, pulls})
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), err
}

// comment writes the one comment on each pull request. Without a text there is
// nothing to say, and a comment that is there stays as it is.
func (a *App) comment(ctx context.Context, inst *github.Installation, check store.Check, text string) error {
	if text == "" {
		return nil
	}
	for _, pull := range check.Pulls {
		if err := a.commentOn(ctx, inst, check, pull, text); err != nil {
			return fmt.Errorf("comment on pull request %d: %w", pull, err)
		}
	}
	return nil
}

// holdCheck is held by who writes to a check run, and holdPull by who writes comments on
// a pull request.
func holdCheck(id string) string { return "check " + id }

func holdPull(check store.Check, number int) string {
	return fmt.Sprintf("pull %d/%d/%d", check.Installation, check.Repository.ID, number)
}

// commentOn writes the comment of a pull request, unless a newer head of it does.
func (a *App) commentOn(ctx context.Context, inst *github.Installation, check store.Check, pull int, text string) error {
	release, err := a.store.Hold(ctx, holdPull(check, pull))
	if err != nil {
		return err
	}
	defer release()
	newest, err := a.store.NewestCheck(ctx, check.Installation, check.Repository.ID, pull)
	if err != nil || newest != check.ID {
		return err
	}
	_, err = inst.UpsertComment(ctx, check.Repository, pull, report.CommentMarker, text)
	if errors.Is(err, github.ErrCommentsClosed) {
		return nil
	}
	return err
}

// settled says what of a check is not under way any more.
type settled struct{ scans, incidents bool }

// state gathers what a check run says.
func (a *App) state(ctx context.Context, check store.Check) (report.Scan, settled, error) {
	s := report.Scan{Repository: check.Repository.FullName(), HeadSHA: check.HeadSHA, NoFile: git.CommitMessage, Commands: len(check.Pulls) > 0}
	var done settled
	scans, err := a.store.Scans(ctx, check.ID)
	if err != nil {
		return s, done, err
	}
	s.Details = a.detailsURL(check)
	judgement, err := a.judgementFor(scans)
	if err != nil {
		return s, done, err
	}
	s.Public, s.NoComment = judgement.Policy.ForEverybody(check.Repository.Private), !judgement.Policy.Comments()
	s.AllowFile = judgement.Policy.AllowFile()
	s.PolicyProblems, s.Notes = judgement.Problems, union(judgement.Notes, judgement.allowances(s.Public))
	if done.scans, err = coverageOf(scans, &s); err != nil {
		return s, done, err
	}
	leaks, ended, err := a.leaksOf(ctx, check, judgement)
	if err != nil {
		return s, done, err
	}
	done.incidents = ended
	s.Leaks, err = a.placesOf(ctx, check, leaks)
	return s, done, err
}

// coverageOf gathers what the scans of a check looked at and what went wrong, and
// reports whether they are over.
func coverageOf(scans []store.Scan, s *report.Scan) (done bool, err error) {
	done = true
	var problems []string
	for _, scan := range scans {
		switch {
		case scan.Problem != "":
			problems = append(problems, scan.Problem)
		case scan.Finished.IsZero():
			done = false
			job, err := resumed(scanArgs{}, scan)
			if err != nil {
				return false, err
			}
			if job.begun() {
				s.Progress.Done += scan.Coverage.Commits
				s.Progress.Of += job.Parts.Commits
			}
		default:
			s.Coverage = append(s.Coverage, scan.Coverage)
		}
	}
	s.Problem = strings.Join(problems, " ")
	return done, nil
}

// leaksOf gathers the incidents of a check, as leaks without a place, and reports
// whether nothing is being done about any of them.
func (a *App) leaksOf(ctx context.Context, check store.Check, j judgement) (leaks map[string]report.Leak, ended bool, err error) {
	incidents, err := a.store.Incidents(ctx, check.ID)
	if err != nil {
		return nil, false, err
	}
	leaks, ended = map[string]report.Leak{}, true
	for n, i := range incidents {
		leak, err := a.leak(ctx, i, j)
		if err != nil {
			return nil, false, err
		}
		leak.Number = n + 1
		if err := a.wishes(ctx, check, i, &leak); err != nil {
			return nil, false, err
		}
		leaks[i.ID] = leak
		if i.Verb != "" && i.State() != incident.Resolved && i.Held.IsZero() {
			ended = false
		}
	}
	return leaks, ended, nil
}

// placesOf is each leak at each of its places.
func (a *App) placesOf(ctx context.Context, check store.Check, leaks map[string]report.Leak) ([]report.Leak, error) {
	occurrences, err := a.store.Occurrences(ctx, check.ID)
	if err != nil {
		return nil, err
	}
	allowances, err := a.store.Allowances(ctx, check.Installation, check.Repository.ID)
	if err != nil {
		return nil, err
	}
	var all []report.Leak
	for _, o := range occurrences {
		leak := leaks[o.Incident]
		leak.Location, leak.InTip = o.Location, o.InTip
		leak.Conclusion, leak.Why = report.Conclusion(o.Conclusion), o.Why
		if allowed, ok := allowances[leak.Fingerprint]; ok {
			a.allow(&leak, allowed)
		}
		all = append(all, leak)
	}
	return all, nil
}

// allow shows a leak as what people of the repository said of it.
func (a *App) allow(l *report.Leak, said store.Allowance) {
	until := said.Expires.Format(time.DateOnly)
	if !a.now().Before(said.Expires) {
		l.Why = fmt.Sprintf("what %s allowed ended on %s", said.Owner, until)
		return
	}
	l.Conclusion, l.Why, l.Reason = report.Success, fmt.Sprintf("%s until %s", said.Owner, until), said.Reason
}

// reach is what a credential can do, as far as its provider said so when it was
// asked whose it is.
func reach(i store.Incident) string {
	if text := radius(i).Text(); text != "" {
		return text
	}
	said := identity(i)
	var texts []string
	for _, field := range []string{"login", "username", "user", "display_name", "name", "user_id", "account_id", "team_id", "id"} {
		if said[field] != "" {
			texts = append(texts, "acts as "+said[field])
			break
		}
	}
	for _, field := range slices.Sorted(maps.Keys(said)) {
		switch name := strings.ToLower(field); {
		case said[field] == "":
		case strings.Contains(name, "scope"):
			texts = append(texts, "scopes "+said[field])
		case strings.Contains(name, "polic"):
			texts = append(texts, "policies "+said[field])
		}
	}
	return strings.Join(texts, "; ")
}

// radius is what the provider said that a credential can do, nil when it said nothing.
func radius(i store.Incident) *provider.Radius {
	var e provider.Evidence
	if json.Unmarshal(i.Evidence, &e) != nil {
		return nil
	}
	return e.Radius
}

// leak is an incident as reports show it at each of its places.
func (a *App) leak(ctx context.Context, i store.Incident, j judgement) (report.Leak, error) {
	rule, err := a.ruleOf(i, j)
	if err != nil {
		return report.Leak{}, err
	}
	can := a.providers.Can(i.Rule)
	leak := report.Leak{
		Finding:  checks.Finding{Rule: rule, Fingerprint: i.Fingerprint, Redacted: i.Redacted, Validity: i.Validity},
		AllowID:  i.Fingerprint.AllowID(a.cfg.Keys.Allow),
		Incident: i.ID, Reach: reach(i), State: report.LeakState(i.State()), Resolution: string(i.Resolution),
		Stuck: i.Stuck, Actionable: a.actionable(i, j.Policy), CanRotate: can.Issue && can.Revoke, CanRevoke: can.Revoke,
		CanDismiss: a.dismissable(i), CanBypass: a.bypassable(i, j.Policy),
	}
	timeline := i.Timeline()
	leak.Timeline = timeline.String()
	if i.Resolution == incident.ResolutionRevoked && i.Dead.IsZero() && i.Validity != checks.Inactive {
		leak.Resolution = report.RevokedOnWord
	}
	if !i.Rotated.IsZero() {
		leak.Stored = placesText(i.Stored)
	}
	if i.Stuck != "" {
		leak.State = report.StateStuck
	}
	if !i.Dead.IsZero() {
		var err error
		if leak.Proof, err = a.proof(ctx, i.ID); err != nil {
			return report.Leak{}, err
		}
		// Whole seconds, rounded up: no promise that was not kept.
		took, _ := timeline.Until(incident.StageProvedDead)
		leak.DeadAfter = max(took+time.Second-1, time.Second).Truncate(time.Second)
	}
	return leak, nil
}

// ruleOf is the rule of an incident, one of the catalogue or of the repository's own. It
// is as severe as the policy says, or else as what the credential can do.
func (a *App) ruleOf(i store.Incident, j judgement) (*rules.Rule, error) {
	rule := &rules.Rule{ID: i.Rule}
	if known := a.rules[i.Rule]; known != nil {
		*rule = *known
	} else if own, ok := j.Rules[i.Rule]; ok {
		rule.Title, rule.Severity = own.Title, own.Severity
	} else {
		return nil, fmt.Errorf("incident %s: its rule %q is not in the catalogue any more", i.ID, i.Rule)
	}
	if can := radius(i); can != nil {
		rule.Severity = rule.Severity.Adjusted(can.Access)
	}
	rule.Severity = j.Policy.SeverityOf(rule)
	return rule, nil
}

// proof is how the provider refused the leaked credential.
func (a *App) proof(ctx context.Context, id string) (string, error) {
	actions, err := a.store.Actions(ctx, id)
	if err != nil {
		return "", err
	}
	for _, act := range actions {
		if act.Step == incident.ProveDead && !act.Done.IsZero() {
			return fmt.Sprintf("asked with the leaked credential, %s answered %s at %s",
				act.Detail["request"], act.Detail["answer"], act.Done.Format("2006-01-02 15:04:05 MST")), nil
		}
	}
	return "", nil
}

// enqueueReports has every check run that shows the incident, and every alert of
// GitHub's about it, brought up to date.
func (a *App) enqueueReports(ctx context.Context, tx *store.Tx, incident string) error {
	if err := a.enqueueAlerts(ctx, tx, incident); err != nil {
		return err
	}
	ids, err := tx.ChecksOf(ctx, incident)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := tx.Enqueue(ctx, reportArgs{Check: id}); err != nil {
			return err
		}
	}
	return nil
}
