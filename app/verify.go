package app

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

const (
	// verifyAtOnce bounds the providers' answers that one scan waits for at the
	// same time.
	verifyAtOnce = 8
	// verifyAtMost bounds the credentials of one scan that are verified. Beyond
	// it their validity is unknown, which no check run calls good.
	verifyAtMost = 500
)

// verify asks the providers once about each distinct credential.
func (a *App) verify(ctx context.Context, leaks []git.Leak) (map[checks.Fingerprint]provider.Verdict, error) {
	distinct := map[checks.Fingerprint]checks.Credential{}
	for _, l := range leaks {
		if len(distinct) < verifyAtMost {
			distinct[l.Fingerprint] = l.Credential
		}
	}
	verdicts := make(map[checks.Fingerprint]provider.Verdict, len(distinct))
	var mu sync.Mutex
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(verifyAtOnce)
	for fp, cred := range distinct {
		g.Go(func() error {
			v, err := a.providers.Verify(each, cred)
			mu.Lock()
			defer mu.Unlock()
			verdicts[fp] = v
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	// Verify answers "unknown" when it is interrupted. That must not be recorded
	// as what the provider said.
	return verdicts, ctx.Err()
}

// openIncident finds or makes the incident of a leak, brings it up to date with
// the verdict, and decides what is to be done.
func (a *App) openIncident(ctx context.Context, tx *store.Tx, s scanArgs, leak git.Leak, v provider.Verdict) (store.Incident, error) {
	if v.Validity == checks.Unverified {
		v.Validity, v.Grade = checks.Unknown, provider.GradeC
	}
	evidence, err := json.Marshal(v.Evidence)
	if err != nil {
		return store.Incident{}, err
	}
	i, opened, err := tx.OpenIncident(ctx, store.Incident{
		Incident: incident.Incident{
			Fingerprint: leak.Fingerprint, Rule: leak.Rule.ID, Redacted: leak.Redacted, Validity: v.Validity, Opened: a.now(),
		},
		Grade: string(v.Grade), Evidence: evidence, Received: s.Received,
	})
	if err != nil {
		return store.Incident{}, err
	}
	if !opened && !learn(&i, v, evidence) {
		return i, nil
	}
	verb := "open incident"
	if !opened {
		verb = "update incident"
		// Steps of an earlier life do not count for this one.
		if err := tx.DropActions(ctx, i.ID); err != nil {
			return store.Incident{}, err
		}
	}
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: "stanch", Verb: verb, Subject: i.ID, Detail: map[string]string{
		"fingerprint": string(i.Fingerprint), "rule": i.Rule, "validity": string(v.Validity), "grade": string(v.Grade),
		"request": v.Evidence.Request, "answer": v.Evidence.Answer, "control": v.Evidence.Control,
		"repository": s.Repository.FullName(), "commit": leak.Commit,
	}}); err != nil {
		return store.Incident{}, err
	}
	return i, a.decide(ctx, tx, &i, leak.Credential)
}

// learn brings an incident up to date with a newer verdict and reports whether
// that changed anything. A credential that is found live again is live, whatever
// was said of it before, even by a person; one that Stanch proved dead while it
// was open stays as it is, because what the provider said first is its history.
func learn(i *store.Incident, v provider.Verdict, evidence json.RawMessage) bool {
	switch {
	case v.Validity == checks.Active && i.State() == incident.Resolved:
		i.Contained, i.Rotated, i.Dead, i.Resolved = noTime, noTime, noTime, noTime
		i.Resolution, i.Verb = incident.Unresolved, ""
	case i.State() != incident.Open, i.Verb != "":
		return false
	case v.Validity == i.Validity && string(v.Grade) == i.Grade, v.Validity == checks.Unknown:
		return false
	}
	i.Validity, i.Grade, i.Evidence = v.Validity, string(v.Grade), evidence
	return true
}

// decide keeps what is needed to act on a credential, and starts to act where
// the policy and the evidence allow it without a person.
func (a *App) decide(ctx context.Context, tx *store.Tx, i *store.Incident, cred checks.Credential) error {
	remedy, can := a.cfg.Policy.For(i.Rule), a.providers.Can(i.Rule)
	if remedy.Remediation == Observe || i.Validity == checks.Inactive || !can.Revoke {
		return tx.SaveIncident(ctx, *i)
	}
	if err := tx.Seal(ctx, i.ID, store.Leaked, cred); err != nil {
		return err
	}
	if slices.Contains(a.cfg.Own, i.Fingerprint) {
		i.Stuck = "This is Stanch's own credential, which it will not kill: give Stanch another one, restart it, and press Rotate now."
		return tx.SaveIncident(ctx, *i)
	}
	if remedy.Remediation == Automatic && i.Validity == checks.Active && i.Grade == string(provider.GradeA) {
		return a.approve(ctx, tx, i, incident.Rotate, "policy")
	}
	return tx.SaveIncident(ctx, *i)
}

// approve starts a remediation on somebody's word.
func (a *App) approve(ctx context.Context, tx *store.Tx, i *store.Incident, verb incident.Verb, actor string) error {
	i.Verb, i.Order, i.Stuck = verb, a.cfg.Policy.For(i.Rule).Order, ""
	if err := tx.SaveIncident(ctx, *i); err != nil {
		return err
	}
	if err := tx.Audit(ctx, audit.Entry{At: a.now(), Actor: actor, Verb: "approve " + string(verb), Subject: i.ID,
		Detail: map[string]string{"order": string(i.Order)}}); err != nil {
		return err
	}
	return tx.Enqueue(ctx, remediateArgs{Incident: i.ID})
}
