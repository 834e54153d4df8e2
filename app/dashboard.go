package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/web"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
)

// A Dashboard says where the dashboard is, and as whom people sign in to it.
type Dashboard struct {
	URL          string // public, without a slash at its end
	ClientID     string // the App's own
	ClientSecret checks.Secret
}

// noDashboard is what there is without one.
const noDashboard = "The dashboard of this Stanch is off. Its operator switches it on by STANCH_URL, STANCH_GITHUB_CLIENT_ID and STANCH_GITHUB_CLIENT_SECRET."

// dashboard serves the pages for people.
func (a *App) dashboard() (http.Handler, error) {
	d := a.cfg.Dashboard
	if d == nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, noDashboard, http.StatusNotFound) }), nil
	}
	return web.New(web.Config{
		URL: d.URL, GitHub: a.github, SignIn: a.github.SignIn(d.ClientID, d.ClientSecret, d.URL+web.CallbackPath),
		Store: a.store, Providers: a.providers, Rules: a.cfg.Catalogue, Now: a.now, Logger: a.log,
		Scan: func(ctx context.Context, check store.Check) (report.Scan, error) {
			s, _, err := a.state(ctx, check)
			return s, err
		},
		Obey: a.takeOrder, Plan: a.showPlan,
	})
}

// showPlan is the plan of an incident for the dashboard, whose reader may not see all of
// its repositories.
func (a *App) showPlan(ctx context.Context, id, verb string) (web.Plan, error) {
	plan, err := a.planOf(ctx, id, incident.Verb(verb), a.planFor)
	if err != nil {
		return web.Plan{}, err
	}
	shown := web.Plan{Verb: string(plan.Verb), Order: string(plan.Order), Risks: plan.Risks, Notes: plan.Notes, Stops: plan.Stops}
	for _, s := range plan.Steps {
		shown.Steps = append(shown.Steps, web.PlannedStep{
			What: s.What, Call: s.Call, Places: slices.Concat(s.Places, s.Copies), Final: s.Effect == EffectFinal, Changes: s.Effect != EffectNone, Undo: s.Undo, Done: s.Done,
		})
	}
	return shown, nil
}

// takeOrder carries out what a person orders on the dashboard: by the rules of the
// buttons and commands, and with a reason as commands have one.
func (a *App) takeOrder(ctx context.Context, given web.Order) (web.Answer, error) {
	o, known := pressed(given.Button)
	if !known || given.Finding == "" {
		return web.Answer{}, errors.New("an order names a button and an incident")
	}
	o.by, o.given, o.finding, o.until = given.By, "dashboard", string(given.Finding), given.Until
	o.reason = cutReason(a.scanner.Hide(given.Reason)) // people paste anything
	var got answer
	err := a.carryOut(ctx, given.Check, o, func(_ *store.Tx, what answer) error {
		got = what
		return nil
	})
	return web.Answer{Done: got.done, Why: got.why}, err
}

// detailsURL is the page of a check on the dashboard; empty without one.
func (a *App) detailsURL(check store.Check) string {
	if a.cfg.Dashboard == nil {
		return ""
	}
	return fmt.Sprintf("%s/checks/%s/%s/%s", a.cfg.Dashboard.URL, url.PathEscape(check.Repository.Owner), url.PathEscape(check.Repository.Name), check.HeadSHA)
}
