package main

import (
	"context"
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/checks/report"
)

// listSchedule is the command that lists what is rotated from time to time.
func listSchedule(ctx context.Context, env *environment, a *api, o incidentsOptions) (int, error) {
	var list app.ScheduleList
	if err := a.call(ctx, http.MethodGet, "/schedule", nil, &list); err != nil {
		return 0, err
	}
	if o.format == "json" {
		return exitDone, writeJSON(env.stdout, list)
	}
	return exitDone, env.printSchedule(list.Schedule)
}

// printSchedule writes a schedule, a line each, and below each why it cannot be kept.
func (env *environment) printSchedule(all []app.TellScheduled) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(env.stderr, "nothing is rotated from time to time: the operator's policy says what is, in schedule")
		return err
	}
	table := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SECRET\tFIELD\tEVERY\tSINCE\tDUE\tINCIDENT")
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", report.Printable(s.Secret), dash(report.Printable(s.Field)), s.Every, moment(s.Since), moment(s.Due), dash(s.Incident))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		switch {
		case s.Problem != "":
			fmt.Fprintf(env.stdout, "%s: %s\n", report.Printable(s.Secret), report.Printable(s.Problem))
		case s.Checked == nil:
			fmt.Fprintf(env.stdout, "%s: no server has looked at it yet\n", report.Printable(s.Secret))
		}
	}
	return nil
}

// moment is a time in a table.
func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
