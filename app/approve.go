package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/web"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
)

// approveArgs is the job of answering a button of a check run.
type approveArgs struct {
	Check  string        `json:"check"`
	Button string        `json:"button"`
	Sender github.Person `json:"sender"`
}

func (approveArgs) Kind() string { return "approve" }

type approveWorker struct {
	river.WorkerDefaults[approveArgs]
	app *App
}

// stepObey is the step in which an order is carried out. It ends with the
// transaction that does so, so that a crash does not repeat the order.
const stepObey = "obey"

// Work carries out what the button stands for. GitHub shows the buttons to people
// who may not press them too.
func (w approveWorker) Work(ctx context.Context, job *river.Job[approveArgs]) error {
	press := job.Args
	o, known := pressed(press.Button)
	if !known {
		return river.JobCancel(fmt.Errorf("check %s has no button %q", press.Check, press.Button))
	}
	o.by, o.given = press.Sender, "press"
	river.ResumableStep(ctx, stepObey, nil, func(ctx context.Context) error {
		return w.app.postpone(w.app.carryOut(ctx, press.Check, o, func(tx *store.Tx, _ answer) error { return store.FinishStep(ctx, tx, job) }))
	})
	return nil
}

// pressed is the order that a button stands for.
func pressed(button string) (o order, known bool) {
	verb, known := buttonVerbs[button]
	confirms := slices.Contains([]string{report.ButtonConfirmRotate, report.ButtonConfirmRevoke, report.ButtonApproveBypass}, button)
	return order{name: button, verb: verb, confirms: confirms}, known
}

// buttonVerbs are what the buttons stand for.
var buttonVerbs = map[string]string{
	report.ButtonRotate: verbRotate, report.ButtonConfirmRotate: verbRotate,
	report.ButtonRevoke: verbRevoke, report.ButtonConfirmRevoke: verbRevoke,
	report.ButtonBypass: verbBypass, report.ButtonApproveBypass: verbBypass,
	report.ButtonNotASecret: verbAllow, web.EndAllowance: verbEndAllowance,
}

// The verbs of orders.
const (
	verbRotate = "rotate"
	verbRevoke = "revoke"
	verbAllow  = "allow"
	verbBypass = "bypass"
	verbStatus = "status"
	// verbEndAllowance takes back what verbAllow did. Only the dashboard has it.
	verbEndAllowance = web.EndAllowance
)

// An order is what a person wants to be done about the findings of a check.
type order struct {
	name     string // of the button or command, for the audit log
	given    string // "press", "command" or "dashboard", likewise
	verb     string
	confirms bool   // it agrees to what another person asked for, and does nothing else
	finding  string // number or fingerprint of one finding; empty for all that the verb fits
	reason   string
	until    time.Time // of what is allowed; zero for as long as possible
	by       github.Person

	policy     Policy          // by which the check was judged
	permission string          // what by may do in the repository, asked when the order came
	authors    []github.Person // of what was found; asked for bypasses only
}

// An answer is what became of an order.
type answer struct {
	done    bool
	unclear bool   // there is no such finding
	why     string // nothing was done
}

// carryOut does what a person orders, if that person may order it, together with
// what finish does, in one transaction.
func (a *App) carryOut(ctx context.Context, id string, o order, finish func(*store.Tx, answer) error) error {
	check, err := a.store.Check(ctx, id)
	if err != nil {
		return err
	}
	inst := a.github.Installation(check.Installation)
	if o.policy, err = a.policyOf(ctx, check.ID); err != nil {
		return err
	}
	if o.permission, err = inst.Permission(ctx, check.Repository, o.by); err != nil {
		return err
	}
	if o.verb == verbBypass {
		if o.authors, err = a.authors(ctx, inst, check); err != nil {
			return err
		}
	}
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		got, err := a.obey(ctx, tx, check, o)
		if err != nil {
			return err
		}
		return finish(tx, got)
	})
}

// obey carries out an order on each incident of the check that it fits.
func (a *App) obey(ctx context.Context, tx *store.Tx, check store.Check, o order) (answer, error) {
	if least := o.policy.People.Least(); slices.Index(permissions, Permission(o.permission)) < slices.Index(permissions, least) {
		return a.refuse(ctx, tx, check, o, fmt.Sprintf("the permission %s is needed", least))
	}
	if err := a.auditOrder(ctx, tx, check, o, o.given, ""); err != nil {
		return answer{}, err
	}
	incidents, err := tx.Incidents(ctx, check.ID)
	if err != nil {
		return answer{}, err
	}
	if o.verb == verbStatus {
		return answer{done: true}, errors.Join(a.tellAgain(ctx, tx, check), a.askAgain(ctx, tx, incidents))
	}
	chosen := pick(incidents, o.finding)
	if len(chosen) == 0 {
		got, err := a.refuse(ctx, tx, check, o, "there is no such finding")
		got.unclear = true
		return got, err
	}
	var got answer
	for _, i := range chosen {
		why, err := a.obeyFor(ctx, tx, i, check, o)
		if err != nil {
			return answer{}, err
		}
		got.done = got.done || why == ""
		got.why = why
	}
	if got.done {
		return got, nil
	}
	return a.refuse(ctx, tx, check, o, got.why)
}

func (a *App) refuse(ctx context.Context, tx *store.Tx, check store.Check, o order, why string) (answer, error) {
	return answer{why: why}, a.auditOrder(ctx, tx, check, o, "refuse", why)
}

func (a *App) auditOrder(ctx context.Context, tx *store.Tx, check store.Check, o order, verb, why string) error {
	detail := map[string]string{"permission": o.permission}
	for name, text := range map[string]string{"finding": o.finding, "reason": o.reason, "why": why} {
		if text != "" {
			detail[name] = text
		}
	}
	return tx.Audit(ctx, audit.Entry{At: a.now(), Actor: actor(o.by), Verb: verb + " " + o.name, Subject: check.ID, Detail: detail})
}

// actor is how the audit log names a person on GitHub.
func actor(p github.Person) string { return "github:" + p.Login }

// pick returns the incidents that an order speaks of: all without a name, the one
// of that number in the check's table, or those whose fingerprint begins like that.
func pick(incidents []store.Incident, finding string) []store.Incident {
	if finding == "" {
		return incidents
	}
	if n, err := strconv.Atoi(finding); err == nil && len(finding) <= maxNumber {
		if n < 1 || n > len(incidents) {
			return nil
		}
		return incidents[n-1 : n]
	}
	return slices.DeleteFunc(slices.Clone(incidents), func(i store.Incident) bool {
		return !strings.HasPrefix(string(i.Fingerprint), finding)
	})
}

// tellAgain has the check run and the comment written anew, whatever they say now.
func (a *App) tellAgain(ctx context.Context, tx *store.Tx, check store.Check) error {
	if err := tx.SetReported(ctx, check.ID, ""); err != nil {
		return err
	}
	return tx.Enqueue(ctx, reportArgs{Check: check.ID, Installation: check.Installation})
}

// obeyFor carries out an order on one incident, or says why not.
func (a *App) obeyFor(ctx context.Context, tx *store.Tx, i store.Incident, check store.Check, o order) (why string, err error) {
	switch o.verb {
	case verbRotate, verbRevoke:
		why, err = a.remediateFor(ctx, tx, i, check, o)
	case verbAllow:
		why, err = a.dismissFor(ctx, tx, i, check, o)
	case verbBypass:
		why, err = a.bypassFor(ctx, tx, i, check, o)
	case verbEndAllowance:
		why, err = a.endAllowanceFor(ctx, tx, i, check, o)
	}
	if why != "" || err != nil {
		return why, err
	}
	return "", a.enqueueReports(ctx, tx, i.ID)
}

// remediateFor starts a remediation, or, where two people must agree, records that
// the first one asked for it.
func (a *App) remediateFor(ctx context.Context, tx *store.Tx, i store.Incident, check store.Check, o order) (why string, err error) {
	if !a.actionable(i, o.policy) {
		return "nothing can be done about it now", nil
	}
	asked, err := pending(ctx, tx, i, check, o.verb)
	if err != nil {
		return "", err
	}
	switch {
	case o.policy.People.Approvals == 0 && !o.confirms:
	case asked == nil && o.confirms:
		return "nobody asked for it", nil
	case asked == nil:
		return "", a.ask(ctx, tx, i, check, o)
	case asked.Asker.Is(o.by):
		return "a second person must agree", nil
	default:
		if err := a.agree(ctx, tx, asked, o); err != nil {
			return "", err
		}
	}
	// A person has looked: an unknown outcome is settled.
	if err := tx.ForgetAttempts(ctx, i.ID, incident.Issue); err != nil {
		return "", err
	}
	return "", a.approve(ctx, tx, &i, incident.Verb(o.verb), actor(o.by), o.policy)
}

// pending is the open request for a verb; nil when there is none.
func pending(ctx context.Context, tx *store.Tx, i store.Incident, check store.Check, verb string) (*store.Request, error) {
	open, err := tx.OpenRequests(ctx, i.ID, check.Repository.ID)
	for n := range open {
		if open[n].Verb == verb {
			return &open[n], err
		}
	}
	return nil, err
}

// waitsFor is how long a request waits for a second person. What was asked for long ago
// may not be wanted any more.
const waitsFor = 7 * 24 * time.Hour

// ask records what a person asked for, for a second one to agree to.
func (a *App) ask(ctx context.Context, tx *store.Tx, i store.Incident, check store.Check, o order) error {
	r, err := tx.AddRequest(ctx, store.Request{
		Incident: i.ID, Repository: check.Repository.ID, Verb: o.verb, Reason: o.reason, Asker: o.by, Asked: a.now(),
	})
	if err != nil {
		return err
	}
	if err := tx.Enqueue(ctx, expireArgs{Request: r.ID, At: r.Asked.Add(waitsFor)}); err != nil {
		return err
	}
	return tx.Audit(ctx, audit.Entry{At: a.now(), Actor: actor(o.by), Verb: "ask " + o.verb, Subject: i.ID,
		Detail: map[string]string{"reason": o.reason, "repository": check.Repository.FullName()}})
}

// agree records that a second person agrees to a request.
func (a *App) agree(ctx context.Context, tx *store.Tx, r *store.Request, o order) error {
	r.Approver, r.Granted = o.by, a.now()
	if err := tx.SaveRequest(ctx, *r); err != nil {
		return err
	}
	return tx.Audit(ctx, audit.Entry{At: a.now(), Actor: actor(o.by), Verb: "agree " + r.Verb, Subject: r.Incident,
		Detail: map[string]string{"asker": actor(r.Asker), "reason": r.Reason}})
}

// allowedFor is how long it counts that somebody called a text no secret.
const allowedFor = 365 * 24 * time.Hour

// dismissFor ends an incident because the text is no secret, and records who says so
// and until when that counts.
func (a *App) dismissFor(ctx context.Context, tx *store.Tx, i store.Incident, check store.Check, o order) (why string, err error) {
	if !a.dismissable(i) {
		return "it is live, or its provider knows better", nil
	}
	// Where it was found in other repositories too, their people do not agree by that.
	known, err := tx.RepositoriesOf(ctx, i.ID)
	switch {
	case err != nil:
		return "", err
	case !slices.Equal(known, []int64{check.Repository.ID}):
		return "it was found in other repositories too", nil
	}
	if err := i.Dismiss(a.now()); err != nil {
		return "", err
	}
	if err := tx.SaveIncident(ctx, i); err != nil {
		return "", err
	}
	if err := tx.EndRequests(ctx, i.ID, a.now(), verbRotate, verbRevoke, verbBypass); err != nil {
		return "", err
	}
	if err := tx.Allow(ctx, store.Allowance{
		Installation: check.Installation, Repository: check.Repository.ID, Fingerprint: i.Fingerprint,
		Reason: cmp.Or(o.reason, "said to be no secret by the button"), Owner: "@" + o.by.Login, Made: a.now(), Expires: a.allowedUntil(o),
	}); err != nil {
		return "", err
	}
	return "", tx.Audit(ctx, audit.Entry{At: a.now(), Actor: actor(o.by), Verb: "dismiss", Subject: i.ID,
		Detail: map[string]string{"resolution": string(i.Resolution), "reason": o.reason}})
}

// allowedUntil is when what a person called no secret counts no more: when the person
// said, and not later than it may.
func (a *App) allowedUntil(o order) time.Time {
	latest := a.now().Add(allowedFor)
	if o.until.IsZero() || o.until.After(latest) {
		return latest
	}
	return o.until
}

// endAllowanceFor takes back what was called no secret in a repository: the incident
// is open again.
func (a *App) endAllowanceFor(ctx context.Context, tx *store.Tx, i store.Incident, check store.Check, o order) (why string, err error) {
	said, err := tx.Allowances(ctx, check.Installation, check.Repository.ID)
	if err != nil {
		return "", err
	}
	allowed, ok := said[i.Fingerprint]
	if !ok {
		return "nobody called it no secret here", nil
	}
	if err := tx.Disallow(ctx, allowed); err != nil {
		return "", err
	}
	if i.Dismissed() {
		i.Reopen()
		if err := tx.SaveIncident(ctx, i); err != nil {
			return "", err
		}
	}
	return "", tx.Audit(ctx, audit.Entry{At: a.now(), Actor: actor(o.by), Verb: "end allowance", Subject: i.ID,
		Detail: map[string]string{"owner": allowed.Owner, "reason": allowed.Reason, "repository": check.Repository.FullName()}})
}

// actionable reports whether a person may start a remediation of the incident.
func (a *App) actionable(i store.Incident, p Policy) bool {
	return i.Verb == "" && i.Validity != checks.Inactive && p.For(i.Rule).Remediation != Observe &&
		i.State() != incident.Resolved && a.providers.Can(i.Rule).Revoke && !a.isOwn(i)
}

// dismissable reports whether a person may say that it is no secret: only where
// no provider can be asked, for the provider knows better.
func (a *App) dismissable(i store.Incident) bool {
	return i.Verb == "" && i.State() == incident.Open && i.Validity == checks.Unknown && !a.providers.Can(i.Rule).Verify
}
