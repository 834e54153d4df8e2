package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// A Plan is what a remediation would do as things are now, call by call. It holds no
// secret.
type Plan struct {
	Incident    string          `json:"incident"` // empty while there is none
	Rule        string          `json:"rule"`
	Description string          `json:"description"`
	Redacted    string          `json:"redacted"`
	Fingerprint string          `json:"fingerprint"`
	Validity    checks.Validity `json:"validity"`
	Identity    string          `json:"identity"` // whose it is, and what it can do
	Verb        incident.Verb   `json:"verb"`     // that is carried out
	Order       incident.Order  `json:"order"`
	Steps       []PlannedStep   `json:"steps"`
	Risks       []string        `json:"risks"` // what could break
	Notes       []string        `json:"notes"`
	// Stops says why nothing would be done before a person has done something.
	Stops string `json:"stops"`
	// Approvals is how many others must agree.
	Approvals int `json:"approvals"`

	places []place // that hold it
}

// An Effect says whether what a step does can be taken back.
type Effect string

// The effects.
const (
	EffectNone       Effect = "none"
	EffectReversible Effect = "reversible"
	EffectFinal      Effect = "final"
)

// A PlannedStep is one step of a plan.
type PlannedStep struct {
	Step   incident.Step `json:"step"`
	What   string        `json:"what"`
	Call   string        `json:"call"`   // what is sent to the provider
	Places []string      `json:"places"` // of secret stores that it changes
	Copies []string      `json:"copies"` // of these at GitHub, which are written too
	Effect Effect        `json:"effect"`
	Undo   string        `json:"undo"` // how it is taken back, where it can be
	Done   bool          `json:"done"`
}

func (a *App) planIncident(r *http.Request) (any, error) {
	verb := incident.Verb(r.URL.Query().Get("verb"))
	if verb != "" && verb != incident.Undo && checkVerb(verb) != nil {
		return nil, &refusal{http.StatusBadRequest, "verb is rotate, revoke or undo"}
	}
	return a.planOf(r.Context(), r.PathValue("id"), verb, a.planWhole)
}

// planOf is the plan of an incident, made by make. Without a verb it is what is under way,
// or else a rotation.
func (a *App) planOf(ctx context.Context, id string, verb incident.Verb,
	make func(context.Context, store.Incident, checks.Credential, incident.Verb, Policy, []incident.Step) (*Plan, error)) (*Plan, error) {
	i, err := a.store.Incident(ctx, id)
	if err != nil {
		return nil, err
	}
	policy, err := a.policyForPeople(ctx, id)
	if err != nil {
		return nil, err
	}
	cred, err := a.store.Unseal(ctx, id, store.Leaked)
	if err != nil && !errors.Is(err, store.ErrErased) {
		return nil, err
	}
	done, err := a.store.StepsDone(ctx, id)
	if err != nil {
		return nil, err
	}
	return make(ctx, i, cred, cmp.Or(verb, i.Verb, incident.Rotate), policy, done)
}

// planFor is the plan of a remediation of an incident, some of whose steps may be done.
// It looks into the stores and asks
// the provider for the last use, and changes nothing.
func (a *App) planFor(ctx context.Context, i store.Incident, cred checks.Credential, verb incident.Verb, p Policy, done []incident.Step) (*Plan, error) {
	plan := &Plan{
		Incident: i.ID, Rule: i.Rule, Description: i.Rule, Redacted: i.Redacted, Fingerprint: string(i.Fingerprint),
		Validity: i.Validity, Identity: reach(i), Verb: verb, Steps: []PlannedStep{}, Risks: []string{}, Notes: []string{}, Approvals: p.People.Approvals,
	}
	if rule := a.rules[i.Rule]; rule != nil {
		plan.Description = rule.Title
	}
	if plan.Stops = a.whyNotPlanned(i, verb, p, done); plan.Stops != "" {
		return plan, nil
	}
	remedy := p.For(i.Rule)
	if verb == incident.Undo {
		i.Verb = verb
	} else if i.Verb == "" {
		i.Remedy = incident.Remedy{Verb: verb, Order: a.orderOf(i, remedy), Reversible: a.reversible(i)}
		i.WithoutReplacement, i.Adopt, i.Hold = string(remedy.WithoutReplacement), remedy.Adopt, remedy.HoldFor()
	}
	kept, err := a.planPlaces(ctx, &i, cred, plan)
	if err != nil || plan.Stops != "" {
		return plan, err
	}
	plan.Verb, plan.places = i.Verb, kept
	if plan.Verb == incident.Rotate {
		plan.Order = i.Order
	}
	calls := a.providers.Calls(i.Rule)
	for _, step := range i.Plan(done) {
		planned := planStep(step, calls, kept, i.Hold)
		if i.Order == incident.Rewrap {
			planned.rewrap(i.Reversible)
		}
		planned.Done = slices.Contains(done, step)
		for _, p := range kept {
			for _, c := range a.copiesOf(p) {
				if step == incident.Put {
					planned.Copies = append(planned.Copies, c.To.String())
				}
			}
		}
		plan.Steps = append(plan.Steps, planned)
	}
	if verb == incident.Undo {
		plan.Risks = append(plan.Risks, "it is live again, for whoever has it")
		return plan, nil
	}
	a.planRisks(ctx, plan, i, cred, kept)
	return plan, nil
}

// whyNotPlanned says why a verb cannot be carried out now; empty when it can.
func (a *App) whyNotPlanned(i store.Incident, verb incident.Verb, p Policy, done []incident.Step) string {
	switch {
	case i.State() == incident.Resolved:
		return a.whyNotNow(i, p)
	case verb == incident.Undo && !incident.Undoable(done):
		return ErrNoUndo.Error()
	case verb == incident.Undo, i.Verb == verb:
		return ""
	case i.Verb != "":
		return fmt.Sprintf("another remediation is under way (%s)", i.Verb)
	case !a.actionable(i, p):
		return a.whyNotNow(i, p)
	}
	return ""
}

// planPlaces finds where the credential is kept, and turns a rotation that cannot be into
// what is done instead, as a remediation does.
func (a *App) planPlaces(ctx context.Context, i *store.Incident, cred checks.Credential, plan *Plan) (kept []place, err error) {
	if kept, err = places(*i); err != nil || len(kept) > 0 {
		return kept, err
	}
	if i.Order == incident.Rewrap {
		return nil, nil
	}
	if i.Verb != incident.Rotate {
		kept, _, err = a.find(ctx, i.Fingerprint, cred)
		return kept, err
	}
	opened := *i
	opened.ID = cmp.Or(i.ID, "INCIDENT") // which is a part of where a replacement is adopted
	w, err := a.whereabouts(ctx, opened, cred)
	person := new(personError)
	switch {
	case errors.As(err, &person):
		plan.Stops = strings.TrimSpace(person.todo + " " + a.runbook(i.Rule))
		return nil, nil
	case err != nil:
		return nil, err
	case w.revoke:
		plan.Notes = append(plan.Notes, w.why)
		i.Verb = incident.Revoke
		kept, _, err = a.find(ctx, i.Fingerprint, cred)
		return kept, err
	}
	return w.kept, nil
}

func (a *App) runbook(rule string) string {
	if known := a.rules[rule]; known != nil {
		return strings.Join(strings.Fields(known.Runbook), " ")
	}
	return ""
}

// planStep says what a step does.
func planStep(step incident.Step, calls provider.Calls, kept []place, hold time.Duration) PlannedStep {
	p := PlannedStep{Step: step, What: whatSteps[step], Places: []string{}, Copies: []string{}, Effect: EffectNone}
	switch step {
	case incident.Issue:
		p.Call, p.Effect, p.Undo = calls.Issue, EffectReversible, "a replacement that nobody needs is revoked"
	case incident.Put:
		p.Effect, p.Undo = EffectReversible, "the versions before it stay until they are destroyed"
		p.Places = placeTexts(kept, func(pl place) bool { return !pl.Leaked.Superseded })
	case incident.VerifyNew, incident.ProveDead, incident.VerifyOld:
		p.Call = calls.Verify
	case incident.DisableOld:
		p.Call, p.Effect, p.Undo = calls.Disable, EffectReversible, fmt.Sprintf("for %s: %s", hold, calls.Enable)
	case incident.Hold:
		p.What = fmt.Sprintf(p.What, hold)
	case incident.EnableOld:
		p.Call, p.Effect, p.Undo = calls.Enable, EffectReversible, "it is disabled again when it is revoked"
	case incident.RevokeOld, incident.Discard:
		p.Call, p.Effect = calls.Revoke, EffectFinal
	case incident.Retire:
		p.Effect = EffectFinal
		p.Places = placeTexts(kept, func(pl place) bool { return !pl.Adopted })
	case incident.Restore:
		p.Effect, p.Undo = EffectReversible, "the versions before it stay"
		p.Places = placeTexts(kept, func(pl place) bool { return pl.Replacement != nil })
	}
	return p
}

// rewrap says what is different where the replacement is a newer version in an engine.
func (p *PlannedStep) rewrap(reversible bool) {
	if !reversible {
		p.handOver()
		return
	}
	switch p.Step {
	case incident.Issue:
		p.What, p.Undo = "a newer version is made in the engine, with which alone it encrypts from then on", "the older ones decrypt still"
	case incident.VerifyNew:
		p.What = "the engine is asked whether it encrypts with newer versions alone"
	case incident.Confirm:
		p.What = "nothing happens until a person confirms that nothing needs the leaked versions any more"
	case incident.RevokeOld:
		p.What = "nothing happens until a person, after the hold, tells Stanch to destroy the leaked versions: then they are"
	}
}

// handOver says what is different where the replacement stands beside the old one in an
// engine, which then deletes that.
func (p *PlannedStep) handOver() {
	switch p.Step {
	case incident.Issue:
		p.What, p.Undo = "a new one is made in the engine, which uses it from then on", "the old one is there still"
	case incident.VerifyNew:
		p.What = "the engine is asked whether it uses the new one"
	case incident.Confirm:
		p.What = "nothing happens until a person confirms that nobody needs the leaked one any more"
	case incident.RevokeOld:
		p.What = "the engine deletes the leaked one"
	}
}

// whatSteps say what the steps do.
var whatSteps = map[incident.Step]string{
	incident.Issue:      "a replacement is issued",
	incident.Put:        "the replacement is written as a new version, if nobody else has changed the secret",
	incident.VerifyNew:  "the provider is asked whether the replacement works, and for whom",
	incident.Confirm:    "nothing happens until nobody uses the old one any more: its provider tells, or a person confirms it",
	incident.DisableOld: "the provider is told to refuse the old one",
	incident.RevokeOld:  "the provider is told to kill the old one for good",
	incident.ProveDead:  "the provider is asked until it refuses the old one",
	incident.Hold:       "nothing happens for %s, in which it can be undone",
	incident.Retire:     "the versions that hold the old one are destroyed",
	incident.Discard:    "a replacement that nobody needs is revoked",
	incident.EnableOld:  "the provider is told to take the old one again",
	incident.VerifyOld:  "the provider is asked until it takes the old one",
	incident.Restore:    "the old one is put where its replacement is",
}

func placeTexts(kept []place, which func(place) bool) []string {
	texts := []string{}
	for _, p := range ours(kept) {
		if which(p) {
			texts = append(texts, p.Leaked.String())
		}
	}
	return texts
}

// planRisks says what could break.
func (a *App) planRisks(ctx context.Context, plan *Plan, i store.Incident, cred checks.Credential, kept []place) {
	risk := func(format string, args ...any) { plan.Risks = append(plan.Risks, fmt.Sprintf(format, args...)) }
	if plan.Approvals > 0 {
		plan.Notes = append(plan.Notes, "The policy wants a second person to agree.")
	}
	if i.Validity != checks.Active {
		risk("its provider does not say that it works (%s): perhaps it is dead, or another host’s", i.Validity)
	}
	if i.Order == incident.Rewrap {
		a.planRewrap(plan, i, risk)
		return
	}
	current := placeTexts(kept, func(p place) bool { return !p.Leaked.Superseded && !p.Adopted })
	switch {
	case len(kept) > 0 && kept[0].Adopted:
		risk("no secret store that Stanch knows holds it: whoever uses it is to read its replacement from %s from then on", kept[0].Leaked)
	case len(current) == 0:
		risk("no secret store that Stanch knows holds it: whoever uses it is not told, and fails from then on")
	case plan.Verb == incident.Revoke:
		risk("%s: whoever reads it there gets a dead one", strings.Join(current, "; "))
	default:
		risk("whoever has read it from %s before keeps the old one until they read it again", strings.Join(current, "; "))
	}
	if plan.Verb == incident.Rotate && i.Order == incident.RevokeFirst {
		risk("the order is revoke_first: from the revocation until the replacement is stored nobody has a working one")
	}
	for _, s := range a.cfg.SecretStores {
		if denied := s.Skipped(); len(denied) > 0 {
			risk("%s does not let Stanch look into %s: copies there are not replaced", s.Name(), strings.Join(denied, ", "))
		}
	}
	if left := leftText(kept); left != "" {
		plan.Notes = append(plan.Notes, "It is left as it is where another account has the same password: "+left+".")
	}
	a.riskOfUse(ctx, i, cred, risk)
}

// planRewrap says what could break where the replacement stays in the engine.
func (a *App) planRewrap(plan *Plan, i store.Incident, risk func(string, ...any)) {
	if !i.Reversible {
		plan.Notes = append(plan.Notes, "Before the leaked one is deleted: "+a.moves(i)+".")
		risk("who trusts the leaked one and not yet the new one refuses what the engine signs from the first step on")
		return
	}
	plan.Notes = append(plan.Notes,
		"Before the leaked versions end: "+a.moves(i)+".",
		"Destroying them is never automatic: it waits for a person’s order of its own, “Revoke now”, given after the hold.",
		"Who has the leaked key decrypts what was encrypted with it wherever they find it, whatever becomes of the key here.")
	if plan.Verb == incident.Revoke {
		risk("what was not encrypted anew cannot be decrypted from then on, until that is undone")
	}
	risk("what was not encrypted anew when the leaked versions are destroyed is lost for good")
}

// planWhole is the plan with what is to be told of who reads it from its stores, and of
// files that hold it or name where it is kept, in whatever repository.
func (a *App) planWhole(ctx context.Context, i store.Incident, cred checks.Credential, verb incident.Verb, p Policy, done []incident.Step) (*Plan, error) {
	plan, err := a.planFor(ctx, i, cred, verb, p, done)
	if err != nil || plan.Stops != "" || verb == incident.Undo {
		return plan, err
	}
	a.riskOfConsumers(ctx, plan)
	if err := a.riskOfMentions(ctx, plan, i, cred); err != nil || i.ID == "" {
		return plan, err
	}
	names, ids, err := a.foundIn(ctx, i.ID)
	if err != nil {
		return nil, err
	}
	for n, repository := range ids {
		found, err := a.store.Places(ctx, i.ID, repository)
		if err != nil {
			return nil, err
		}
		for _, at := range found {
			if at.InTip {
				plan.Risks = append(plan.Risks, fmt.Sprintf("%s: %s:%d still holds it: what reads it from there fails", names[n], at.Path, at.Line))
			}
		}
	}
	return plan, nil
}

// riskOfUse tells when the credential was last used, where its provider tells.
func (a *App) riskOfUse(ctx context.Context, i store.Incident, cred checks.Credential, risk func(string, ...any)) {
	if len(cred.Parts) == 0 {
		return
	}
	use, known, err := a.providers.LastUse(ctx, provider.Target{Credential: cred, Identity: identity(i)})
	switch {
	case err != nil:
		a.log.WarnContext(ctx, "the last use of a credential cannot be asked for", "rule", i.Rule, "error", err)
		risk("its provider did not say when it was last used: Stanch’s log says why")
	default:
		risk("%s", useText(use, known))
	}
}

// useText says what is known of a credential's last use.
func useText(use provider.Use, known bool) string {
	text, more := "it was last used at "+use.At.UTC().Format("2006-01-02 15:04:05 MST"), use.Partial
	switch {
	case !known:
		text, more = "its provider does not tell when it was last used", use.Evidence.Answer
	case use.At.IsZero():
		text = "its provider knows of no use of it"
	case use.By != "":
		text += ", by " + use.By
	}
	if more != "" {
		text += " (" + more + ")"
	}
	return text
}
