package web

import (
	"cmp"
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/checks/report"
)

// functions are what the templates call. All that they return is escaped there.
func (s *server) functions() template.FuncMap {
	return template.FuncMap{
		"short":     func(id string) string { return fmt.Sprintf("%.7s", id) },
		"tail":      func(id string) string { return id[max(0, len(id)-8):] }, // the beginning is the time
		"clock":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"day":       func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
		"machine":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"ago":       func(t time.Time) string { return ago(s.Now().Sub(t)) },
		"elapsed":   elapsed,
		"seconds":   func(n float64) string { return elapsed(time.Duration(n * float64(time.Second))) },
		"size":      report.Size,
		"printable": report.Printable,
		"words":     func(text string) string { return strings.ReplaceAll(text, "_", " ") },
		"count":     report.Count,
		"why":       func(reason string) string { return cmp.Or(reasons[provider.Reason(reason)], reason) },
		"base":      func(id string) bool { return strings.Trim(id, "0") != "" }, // a new branch has none
	}
}

func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	}
	return elapsed(d) + " ago"
}

// elapsed writes a duration as people say it, and short ones so that they can be compared.
func elapsed(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
