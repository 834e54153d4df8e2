package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks/report"
)

// printIncidents writes a list of incidents, a line each.
func (env *environment) printIncidents(page app.IncidentList) error {
	if len(page.Incidents) == 0 {
		_, err := fmt.Fprintln(env.stderr, "no incidents")
		return err
	}
	table := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTATE\tVALIDITY\tSEVERITY\tRULE\tRECEIVED\tWHERE")
	for _, i := range page.Incidents {
		state := string(i.State)
		if i.Stuck != "" {
			state = "stuck"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, state, i.Validity, dash(string(i.Severity)), i.Rule,
			i.Received.UTC().Format(time.RFC3339), dash(report.Printable(strings.Join(i.Repositories, ", "))))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if page.Next != "" {
		fmt.Fprintf(env.stderr, "there are more: --before %s\n", page.Next)
	}
	return nil
}

// dash stands for what is empty in a table.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// rows writes names with their values, those that have none left out.
func rows(w io.Writer, all [][2]string) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range all {
		if row[1] != "" {
			fmt.Fprintf(table, "  %s\t%s\n", row[0], report.Printable(row[1]))
		}
	}
	table.Flush()
}

// printIncident writes all that is told of an incident.
func (env *environment) printIncident(i app.WholeIncident) error {
	w := env.stdout
	held := ""
	if i.Held != nil {
		held = "deleted after " + i.Held.UTC().Format(time.RFC3339)
	}
	fmt.Fprintf(w, "%s\n", report.Printable(strings.TrimSpace(i.Description+"  "+i.Redacted)))
	rows(w, [][2]string{
		{"incident", i.ID}, {"state", ended(&i)}, {"waits for", i.Stuck}, {"under way", string(i.Doing)}, {"approved by", i.Approver}, {"held", held},
		{"validity", string(i.Validity)}, {"grade", i.Grade}, {"asked", i.Evidence.Request}, {"answer", i.Evidence.Answer},
		{"identity", identityText(i.Evidence.Identity)}, {"can do", i.Reach}, {"severity", string(i.Severity)}, {"rule", i.Rule},
		{"fingerprint", i.Fingerprint}, {"found", strings.Join(i.Sources, ", ")}, {"proof", i.Proof},
	})
	fmt.Fprintln(w, "Timeline")
	for _, m := range i.Timeline {
		at := "not yet"
		switch {
		case m.At == nil && m.Stage == incident.StagePushed:
			at = "not known"
		case m.At != nil:
			at = fmt.Sprintf("%s  after %.3f s", m.At.UTC().Format(time.RFC3339), *m.Seconds)
		}
		fmt.Fprintf(w, "  %-11s  %s\n", m.Stage, at)
	}
	printSection(w, "Steps", i.Steps, func(s app.StepTaken) string {
		state := fmt.Sprintf("not done, %s, the last at %s", report.Count(s.Attempts, "attempt"), s.Attempted.UTC().Format(time.RFC3339))
		if s.Done != nil {
			state = fmt.Sprintf("done %s, %s%s", s.Done.UTC().Format(time.RFC3339), report.Count(s.Attempts, "attempt"), stepText(s.Detail))
		}
		return fmt.Sprintf("%-11s  %s", s.Step, state)
	})
	printSection(w, "In repositories", i.Places, func(p app.FoundAt) string {
		gone := ""
		if !p.InTip {
			gone = " (not in the newest files)"
		}
		return fmt.Sprintf("%s %s:%d in %.12s by %s%s", p.Repository, p.File, p.Line, p.Commit, p.Author, gone)
	})
	printSection(w, "In secret stores", i.Stored, func(s app.StoredAt) string {
		switch {
		case s.Left != "":
			return s.Leaked + "; left as it is: " + s.Left
		case s.Replacement == "":
			return s.Leaked
		}
		return s.Leaked + "; replaced by " + s.Replacement
	})
	printSection(w, "The same password leaked for", i.Accounts, func(account string) string { return account })
	printSection(w, "Requests", i.Requests, requestText)
	_, err := fmt.Fprintf(w, "Next\n  %s\n", report.Printable(i.Next))
	return err
}

func requestText(r app.RequestMade) string {
	text := fmt.Sprintf("%s asked for %s at %s", r.Asker, r.Verb, r.Asked.UTC().Format(time.RFC3339))
	if r.Reason != "" {
		text += fmt.Sprintf(" (%s)", r.Reason)
	}
	switch {
	case r.Granted != nil && r.Approver != "":
		return text + ", and " + r.Approver + " agreed"
	case r.Ended != nil:
		return text + ", which is over"
	case r.Granted == nil:
		return text + ", and nobody has agreed yet"
	}
	return text
}

// printSection writes a heading and a line for each thing below it, if there is any.
func printSection[T any](w io.Writer, heading string, all []T, line func(T) string) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w, heading)
	for _, one := range all {
		fmt.Fprintf(w, "  %s\n", report.Printable(line(one)))
	}
}

// showPlan tells a plan. The status says whether it could be carried out.
func (env *environment) showPlan(plan app.Plan, format, last string) (int, error) {
	code := exitDone
	if plan.Stops != "" {
		code = exitFailed
	}
	if format == "json" {
		return code, writeJSON(env.stdout, plan)
	}
	w := env.stdout
	fmt.Fprintf(w, "%s\n", report.Printable(strings.TrimSpace(plan.Description+"  "+plan.Redacted)))
	verb := string(plan.Verb)
	if plan.Order != "" {
		verb += ", " + string(plan.Order)
	}
	rows(w, [][2]string{{"plan", verb}, {"validity", string(plan.Validity)}, {"identity", plan.Identity}, {"fingerprint", plan.Fingerprint}, {"incident", plan.Incident}})
	if plan.Stops != "" {
		_, err := fmt.Fprintf(w, "Nothing would be done: %s\n", report.Printable(plan.Stops))
		return code, err
	}
	fmt.Fprintln(w, "Steps")
	for n, s := range plan.Steps {
		printStep(w, n+1, s)
	}
	printSection(w, "What could break", plan.Risks, func(r string) string { return "- " + r })
	printSection(w, "Notes", plan.Notes, func(n string) string { return "- " + n })
	_, err := fmt.Fprintln(w, last)
	return code, err
}

// effects say whether a step can be taken back.
var effects = map[app.Effect]string{app.EffectNone: "changes nothing", app.EffectReversible: "can be taken back", app.EffectFinal: "cannot be taken back"}

func printStep(w io.Writer, n int, s app.PlannedStep) {
	effect := effects[s.Effect]
	if s.Undo != "" {
		effect += ": " + s.Undo
	}
	if s.Done {
		effect = "done already"
	}
	var copies []string
	for _, c := range s.Copies {
		copies = append(copies, "and its copy "+c)
	}
	fmt.Fprintf(w, "  %d %-11s  %s\n", n, s.Step, report.Printable(s.What))
	for _, line := range slices.Concat([]string{s.Call}, s.Places, copies, []string{effect}) {
		if line != "" {
			fmt.Fprintf(w, "                 %s\n", report.Printable(line))
		}
	}
}

func (env *environment) printHalt(halt app.HaltTold) error {
	text := "Remediations are not halted."
	if halt.Halted {
		text = fmt.Sprintf("All remediations are halted, by %s at %s: %s. “stanch incidents resume” lets them go on.", halt.By, halt.At.UTC().Format(time.RFC3339), halt.Reason)
	}
	_, err := fmt.Fprintln(env.stdout, report.Printable(text))
	return err
}
