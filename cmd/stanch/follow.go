package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
)

const (
	// followEvery is how often this process is asked how far a remediation is, and
	// followServerEvery how often a server is.
	followEvery       = 50 * time.Millisecond
	followServerEvery = 500 * time.Millisecond
	// lastWord is how long an interrupted command takes to say how things stand.
	lastWord = 5 * time.Second
)

// follow tells each step of a remediation as it happens, until it has ended, waits for a
// person, or only waits for the end of its hold.
func (env *environment) follow(ctx context.Context, a *api, done app.Ordered, format string) (int, error) {
	if done.Waits == "" {
		i, err := env.await(ctx, a, done.Incident, format)
		if err != nil {
			return 0, err
		}
		done.Incident = i
	}
	code, err := env.outcome(done, format)
	if held := done.Incident.Held; err == nil && held != nil && a.local != nil {
		fmt.Fprintf(env.stderr, "stanch: this process ends before the hold does: run it again after %s to have the old one deleted, or let a server do it\n", held.UTC().Format(time.RFC3339))
	}
	return code, err
}

// followUndo does the same while what was done is taken back.
func (env *environment) followUndo(ctx context.Context, a *api, done app.Ordered, format string) (int, error) {
	i, err := env.await(ctx, a, done.Incident, format)
	if err != nil {
		return 0, err
	}
	code := exitFailed
	if i.State == incident.Open && len(i.Steps) == 0 { // it has begun anew
		code = exitDone
	}
	if format == "json" {
		return code, writeJSON(env.stdout, app.Ordered{Incident: i})
	}
	_, err = fmt.Fprintf(env.stdout, "%s\nIncident %s.\n", report.Printable(i.Next), i.ID)
	return code, err
}

// await tells each step until nothing more happens soon.
func (env *environment) await(ctx context.Context, a *api, i *app.WholeIncident, format string) (*app.WholeIncident, error) {
	told := &telling{env: env, quiet: format == "json", attempts: map[incident.Step]int{}}
	for told.tell(i); !settled(i); told.tell(i) {
		select {
		case <-ctx.Done():
			return nil, env.interrupted(ctx, a, i, told)
		case <-time.After(a.pause()):
		}
		next := new(app.WholeIncident)
		err := a.call(ctx, http.MethodGet, "/incidents/"+i.ID, nil, next)
		switch {
		case ctx.Err() != nil:
			return nil, env.interrupted(ctx, a, i, told)
		case err != nil:
			return nil, fmt.Errorf("incident %s: %w (what was ordered goes on: “stanch incidents show %[1]s” tells how far it is)", i.ID, err)
		}
		i = next
	}
	return i, nil
}

// pause is how long to wait before asking again.
func (a *api) pause() time.Duration {
	if a.local != nil {
		return followEvery
	}
	return followServerEvery
}

// settled reports whether nothing more happens to an incident soon.
func settled(i *app.WholeIncident) bool {
	return i.State == incident.Resolved || i.Doing == "" || i.Held != nil && i.Held.After(time.Now())
}

// A telling remembers what of a remediation was told.
type telling struct {
	env      *environment
	quiet    bool
	done     []incident.Step
	attempts map[incident.Step]int
	stuck    string
}

// tell tells what is new about an incident.
func (p *telling) tell(i *app.WholeIncident) {
	for _, s := range i.Steps {
		if slices.Contains(p.done, s.Step) {
			continue
		}
		switch {
		case s.Done != nil:
			p.done = append(p.done, s.Step)
			p.line(s.Done, string(s.Step), "done"+stepText(s.Detail))
		case s.Attempts > 1 && s.Attempts > p.attempts[s.Step]:
			p.line(&s.Attempted, string(s.Step), fmt.Sprintf("tried again, %s so far", report.Count(s.Attempts, "attempt")))
		}
		p.attempts[s.Step] = s.Attempts
	}
	if i.Stuck != p.stuck && i.Stuck != "" && i.Doing != "" {
		p.line(nil, "waits", i.Stuck)
	}
	p.stuck = i.Stuck
}

func (p *telling) line(at *time.Time, what, text string) {
	if p.quiet {
		return
	}
	clock := "        "
	if at != nil {
		clock = at.UTC().Format(time.TimeOnly)
	}
	fmt.Fprintf(p.env.stdout, "%s  %-11s  %s\n", clock, what, report.Printable(text))
}

// stepText is what a step has to tell, in one line.
func stepText(detail map[string]string) string {
	var texts []string
	if detail["request"] != "" {
		texts = append(texts, detail["request"]+": "+detail["answer"])
	}
	for _, name := range []string{"places", "copies", "left", "last_use", "confirmed"} {
		if detail[name] != "" {
			texts = append(texts, detail[name])
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return ": " + strings.Join(texts, "; ")
}

// outcome tells how it has ended, and returns the exit status.
func (env *environment) outcome(done app.Ordered, format string) (int, error) {
	i := done.Incident
	code := exitFailed
	if done.Waits == "" && proved(i) {
		code = exitDone
	}
	if format == "json" {
		return code, writeJSON(env.stdout, done)
	}
	switch {
	case done.Waits != "":
		fmt.Fprintf(env.stdout, "Nothing was done yet: %s. Incident %s.\n", report.Printable(done.Waits), i.ID)
	case i.Validity == checks.Inactive && i.Proof == "":
		fmt.Fprintf(env.stdout, "Its provider refuses it: %s answered %s. There is nothing to do. Incident %s.\n", i.Evidence.Request, report.Printable(i.Evidence.Answer), i.ID)
	case code == exitDone:
		fmt.Fprintf(env.stdout, "Proved dead: %s.\n", report.Printable(i.Proof))
		for _, s := range i.Stored {
			if s.Replacement != "" {
				fmt.Fprintf(env.stdout, "Its replacement is in %s.\n", report.Printable(s.Replacement))
			}
		}
		fmt.Fprintf(env.stdout, "Incident %s: %s. %s\n", i.ID, ended(i), report.Printable(i.Next))
	case i.State == incident.Resolved:
		fmt.Fprintf(env.stdout, "Incident %s is resolved as %s, and nothing proves it dead.\n", i.ID, i.Resolution)
	default:
		fmt.Fprintf(env.stdout, "It waits for a person: %s\nIncident %s.\n", report.Printable(i.Next), i.ID)
	}
	return code, nil
}

// proved reports whether the provider refuses the credential, and nobody has to do
// anything more.
func proved(i *app.WholeIncident) bool {
	dead := slices.ContainsFunc(i.Timeline, func(m app.Reached) bool { return m.Stage == incident.StageProvedDead && m.At != nil })
	return dead && (i.Stuck == "" || i.Doing != "") || i.Validity == checks.Inactive
}

// ended says how an incident has ended, or where it stands.
func ended(i *app.WholeIncident) string {
	if i.State == incident.Resolved {
		return "resolved as " + string(i.Resolution)
	}
	return strings.ReplaceAll(string(i.State), "_", " ")
}

// interrupted lets the step that is under way come to its end, and says how things stand
// and how to go on.
func (env *environment) interrupted(ctx context.Context, a *api, i *app.WholeIncident, told *telling) error {
	var err error
	if a.local != nil {
		err = a.local.stop()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	now := new(app.WholeIncident)
	if a.call(ctx, http.MethodGet, "/incidents/"+i.ID, nil, now) == nil {
		told.tell(now)
	}
	done := "nothing"
	if len(told.done) > 0 {
		var names []string
		for _, s := range told.done {
			names = append(names, string(s))
		}
		done = strings.Join(names, ", ")
	}
	if a.local == nil {
		return errors.Join(fmt.Errorf("interrupted, and the server goes on by itself. Done so far: %s. “stanch incidents show %s” tells how far it is", done, i.ID), err)
	}
	return errors.Join(fmt.Errorf("interrupted. Done so far: %s. Run it again to go on: what is done is not done again. Incident %s in %s", done, i.ID, a.local.database), err)
}
