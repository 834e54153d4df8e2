package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/rules"
)

// Limits of GitHub Actions.
const (
	// MaxCommandAnnotations bounds the annotations of each level that a step can
	// make; more are dropped (actions/runner, ExecutionContext.cs,
	// _maxCountPerIssueType).
	MaxCommandAnnotations = 10
	// maxCommandMessage bounds an annotation's message, in characters
	// (actions/runner, ExecutionContext.cs, _maxIssueMessageLength).
	maxCommandMessage = 4096
)

// LogLine makes a text fit for a line of a workflow's log: nothing in it is a
// workflow command, whoever wrote it, if something else stands before it on the
// line. The runner takes “::” at the start of a line for one, and “##[” anywhere
// (actions/runner, ActionCommand.cs).
func LogLine(s string) string {
	return strings.ReplaceAll(Printable(s), "##[", `#\x23[`)
}

// WorkflowCommands writes annotations as GitHub's workflow commands, a line each:
// the most severe first, of each level no more than a step may make. It returns
// how many there was no room for.
func WorkflowCommands(all []Annotation) (lines []string, left int) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Annotation) int { return rank(a.Level) - rank(b.Level) })
	count := map[string]int{}
	for _, a := range all {
		if count[a.Level]++; count[a.Level] > MaxCommandAnnotations {
			left++
			continue
		}
		lines = append(lines, a.command())
	}
	return lines, left
}

func rank(level string) int {
	return slices.Index([]string{"failure", "warning", "notice"}, level)
}

// command is the annotation as a workflow command.
func (a Annotation) command() string {
	name := a.Level
	if name == "failure" {
		name = "error"
	}
	var properties []string
	add := func(name, value string) {
		properties = append(properties, name+"="+escapeProperty(value))
	}
	if a.Path != "" {
		add("file", a.Path)
		add("line", fmt.Sprint(a.StartLine))
		add("endLine", fmt.Sprint(a.EndLine))
	}
	if a.StartColumn > 0 {
		add("col", fmt.Sprint(a.StartColumn))
		add("endColumn", fmt.Sprint(a.EndColumn))
	}
	if a.Title != "" {
		add("title", Printable(a.Title))
	}
	return "::" + name + " " + strings.Join(properties, ",") + "::" + escapeData(cutRunes(a.Message, maxCommandMessage))
}

// escapeData and escapeProperty write texts as the runner reads them back
// (actions/toolkit, packages/core/src/command.ts).
func escapeData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func escapeProperty(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}

// levelOf is how loud an annotation about a kind of credential is.
func levelOf(s rules.Severity) string {
	switch s {
	case rules.Critical, rules.High:
		return "failure"
	case rules.Medium:
		return "warning"
	}
	return "notice"
}
