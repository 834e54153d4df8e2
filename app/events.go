package app

import (
	"context"
	"time"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// A Stage is a point that a push, or a credential in it, has passed.
type Stage = incident.Stage

// The stages, in the usual order. Verified means that the provider was asked, whatever
// it answered.
const (
	Delivered  = incident.StageDelivered
	Detected   = incident.StageDetected
	Verified   = incident.StageVerified
	Contained  = incident.StageContained
	Rotated    = incident.StageRotated
	ProvedDead = incident.StageProvedDead

	Checked Stage = "checked" // the check run is completed and nothing is under way
)

// An Event tells an observer that a stage was passed. It holds no secret.
type Event struct {
	Stage      Stage
	At         time.Time
	Repository string // owner/name
	HeadSHA    string // the commit that the check run stands on
	Commit     string // the commit that added the credential; empty for Delivered and Checked
	Rule       string
	File       string
	Line       int
	Validity   checks.Validity // for Verified
	Detail     string          // Rotated: the place in the store; Checked: the conclusion
}

// A Moment is a point of a step of a remediation.
type Moment string

// The moments, in their order. A crash between two of them is the next start's to settle.
const (
	Begun    Moment = "begun"    // the attempt is recorded, and nothing is done yet
	Acted    Moment = "acted"    // it is done, and not recorded
	Recorded Moment = "recorded" // it is recorded that it is done
)

// A Progress says how far a remediation has come.
type Progress struct {
	Incident string
	Step     incident.Step
	Moment   Moment
}

func (a *App) progress(id string, step incident.Step, m Moment) {
	if a.cfg.Step != nil {
		a.cfg.Step(Progress{id, step, m})
	}
}

func (a *App) observe(e Event) {
	a.metrics.stage(e)
	if a.cfg.Observe != nil {
		a.cfg.Observe(e)
	}
}

func (a *App) observeLeaks(stage Stage, s scanArgs, leaks []judged, verdict provider.VerdictOf) {
	for _, leak := range leaks {
		a.observe(Event{Stage: stage, At: a.now(), Repository: s.Repository.FullName(), HeadSHA: s.Head, Commit: leak.Commit,
			Rule: leak.Rule.ID, File: leak.Path, Line: leak.Line, Validity: verdict(leak.Finding).Validity})
	}
}

// observeIncident tells, for each check that shows the incident, that it passed
// a stage.
func (a *App) observeIncident(ctx context.Context, i store.Incident, stage Stage, detail string) error {
	ids, err := a.store.ChecksOf(ctx, i.ID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		check, err := a.store.Check(ctx, id)
		if err != nil {
			return err
		}
		places, err := a.store.Occurrences(ctx, id)
		if err != nil {
			return err
		}
		for _, p := range places {
			if p.Incident == i.ID {
				a.observe(Event{Stage: stage, At: a.now(), Repository: check.Repository.FullName(), HeadSHA: check.HeadSHA,
					Commit: p.Commit, Rule: i.Rule, File: p.Path, Line: p.Line, Detail: detail})
				break
			}
		}
	}
	return nil
}
