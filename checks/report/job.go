package report

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const (
	// MaxJobSummary bounds what a step may write to GITHUB_STEP_SUMMARY: 1 MiB
	// (docs.github.com, "Workflow commands"). Runners of GitHub Enterprise Server
	// before that limit took 128 KiB, which is more than anybody reads.
	MaxJobSummary = 128 << 10
	// maxJobRows bounds the findings that a summary lists: the SARIF file has all.
	maxJobRows = 200
)

// A Job is what a step of a GitHub workflow found.
type Job struct {
	What     string // "the push to main"
	Findings []checks.Finding
	// InTip says which findings still stand in the files of the last commit, by
	// their number; nil means all.
	InTip []bool
	// Known is how many more findings the baseline has.
	Known    int
	Coverage []checks.Coverage
	Problems []string // why not everything was scanned
	Notes    []string // what is worth knowing besides
	Failing  bool     // the step fails for the findings
	FailOn   string   // the least severity for which it does, or "never"
	// NoFile is the path of findings that stand in no file: what a commit says.
	NoFile string
	// Blob is the URL of the repository's files, "https://github.com/o/r/blob/",
	// to which a commit and a path are appended. Empty means no links.
	Blob string
	// Public says that everybody can read the log. Then it tells nothing that would
	// help a thief.
	Public bool
}

// masked returns the job without secrets in its texts.
func (j Job) masked() Job {
	m := newMask(j.Findings)
	j.What = m.text(j.What)
	findings := make([]checks.Finding, len(j.Findings))
	for i, f := range j.Findings {
		findings[i] = m.finding(f)
		if j.Public {
			findings[i].Redacted, findings[i].Validity = "", ""
		}
	}
	j.Findings = findings
	j.Problems, j.Notes = slices.Clone(j.Problems), slices.Clone(j.Notes)
	for _, texts := range [][]string{j.Problems, j.Notes} {
		for i := range texts {
			texts[i] = m.text(texts[i])
		}
	}
	j.Coverage = slices.Clone(j.Coverage)
	for i, c := range j.Coverage {
		j.Coverage[i] = m.coverage(c)
	}
	return j
}

// Title is the job's result in one line.
func (j Job) Title() string {
	title := Count(len(j.Findings), "secret") + " found"
	switch {
	case len(j.Problems) > 0 && len(j.Coverage) == 0 && len(j.Findings) == 0:
		title = "could not scan"
	case len(j.Problems) > 0:
		title = "not everything was scanned, " + title
	}
	if j.Known > 0 {
		title += fmt.Sprintf(", %d known to the baseline", j.Known)
	}
	return title
}

// Annotations are the job's remarks: one for each finding, and one for a scan that
// is not complete, which no finding pushes aside.
func (j Job) Annotations() []Annotation {
	j = j.masked()
	var all []Annotation
	if len(j.Problems) > 0 {
		all = append(all, Annotation{Level: "failure", Title: "Not everything was scanned", Message: Printable(j.Problems[0]) + more(len(j.Problems)-1)})
	}
	order := j.bySeverity()
	for _, i := range order {
		all = append(all, j.annotation(i))
	}
	return all
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", n)
}

// bySeverity is the order in which findings are told: the worst first.
func (j Job) bySeverity() []int {
	severities := []rules.Severity{rules.Critical, rules.High, rules.Medium, rules.Low}
	order := make([]int, len(j.Findings))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return slices.Index(severities, severity(j.Findings[a])) - slices.Index(severities, severity(j.Findings[b]))
	})
	return order
}

func (j Job) annotation(i int) Annotation {
	f := j.Findings[i]
	a := Annotation{
		Path: f.Path, StartLine: max(f.Line, 1), EndLine: max(f.EndLine, f.Line, 1),
		Level: levelOf(severity(f)), Title: Printable(kind(f)),
		Message: cutBytes(j.remark(i), MaxAnnotationBytes),
	}
	if f.Path == j.NoFile {
		a.Path = "" // GitHub would look for a file of that name
		return a
	}
	if last := f.EndColumn - 1; j.inTip(i) && a.StartLine == a.EndLine && f.Column >= 1 && last >= f.Column {
		a.StartColumn, a.EndColumn = f.Column, last
	}
	return a
}

func (j Job) inTip(i int) bool { return j.InTip == nil || j.InTip[i] }

// remark is plain text: what was found where, and the next step.
func (j Job) remark(i int) string {
	f := j.Findings[i]
	var b strings.Builder
	b.WriteString(Printable(kind(f)))
	if f.Redacted != "" {
		b.WriteString(" (" + Printable(f.Redacted) + ")")
	}
	b.WriteString(where(Leak{Finding: f, InTip: j.inTip(i)}))
	if f.Validity == checks.Active {
		b.WriteString(". It is live: its provider took it")
	}
	b.WriteString(". Treat it as stolen: replace it where it is used, and revoke it. ")
	if j.inTip(i) {
		b.WriteString("Then take it out of the file.")
	} else {
		b.WriteString("It is not in the files any more, but the commit stays readable.")
	}
	if f.Rule != nil && f.Rule.Runbook != "" {
		b.WriteString("\n" + strings.TrimSpace(f.Rule.Runbook))
	}
	return b.String()
}

// Summary is the job's summary in Markdown.
func (j Job) Summary() string {
	j = j.masked()
	var b strings.Builder
	fmt.Fprintf(&b, "### Stanch: %s\n\n", plain(j.Title()))
	b.WriteString(j.verdict())
	b.WriteString(j.table())
	for _, note := range j.Notes {
		fmt.Fprintf(&b, "%s.\n\n", plain(note))
	}
	b.WriteString(j.runbooks())
	b.WriteString(Scan{Coverage: j.Coverage}.manifest())
	return cutBytes(b.String(), MaxJobSummary)
}

// verdict says what the result means and what to do about it.
func (j Job) verdict() string {
	var b strings.Builder
	if len(j.Problems) > 0 {
		b.WriteString("**This check cannot pass before everything is scanned:**\n\n")
		for _, p := range j.Problems[:min(len(j.Problems), maxSkips)] {
			fmt.Fprintf(&b, "- %s\n", plain(cutRunes(p, maxProblem)))
		}
		if left := len(j.Problems) - maxSkips; left > 0 {
			fmt.Fprintf(&b, "- and %d more\n", left)
		}
		b.WriteString("\n")
	}
	switch {
	case len(j.Findings) == 0 && len(j.Problems) == 0:
		fmt.Fprintf(&b, "Nothing to do: %s brings no secret.\n\n", plain(j.What))
	case len(j.Findings) == 0:
	case j.Failing:
		fmt.Fprintf(&b, "Found in %s. **Treat each as stolen:** replace it where it is used, revoke it, and take it out of the file. "+
			"Taking it out alone does not help: the commit stays readable.\n\n", plain(j.What))
	default:
		fmt.Fprintf(&b, "Found in %s. The check passes all the same, because %s.\n\n", plain(j.What), passing(j.FailOn))
	}
	return b.String()
}

func passing(failOn string) string {
	if failOn == "never" {
		return "fail-on is never"
	}
	return "none is of severity " + plain(failOn) + " or above"
}

// table lists the findings, the worst first.
func (j Job) table() string {
	if len(j.Findings) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| Severity | Secret | Place | Commit | Still there | Validity |\n|---|---|---|---|---|---|\n")
	order := j.bySeverity()
	for _, i := range order[:min(len(order), maxJobRows)] {
		f := j.Findings[i]
		still := "yes"
		if !j.inTip(i) {
			still = "in the history"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", plain(string(severity(f))), plain(kind(f)), j.link(f), commit(f.Commit), still, orDash(string(f.Validity)))
	}
	if left := len(order) - maxJobRows; left > 0 {
		fmt.Fprintf(&b, "\nand %d more: the SARIF file lists all.\n", left)
	}
	return b.String() + "\n"
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return plain(s)
}

// link is the place of a finding, linked to its line as it was committed.
func (j Job) link(f checks.Finding) string {
	text := place(Leak{Finding: f})
	switch {
	case j.Blob == "" || f.Commit == "" || len(f.Path) > maxPlace:
		return text
	case f.Path == j.NoFile:
		return fmt.Sprintf("[%s](%s/commit/%s)", text, strings.TrimSuffix(j.Blob, "/blob/"), url.PathEscape(f.Commit))
	}
	parts := strings.Split(f.Path, "/")
	for i := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(parts[i]), "@", "%40") // no mention either
	}
	return fmt.Sprintf("[%s](%s%s/%s#L%d)", text, j.Blob, url.PathEscape(f.Commit), strings.Join(parts, "/"), f.Line)
}

// runbooks tells what a person does about each kind.
func (j Job) runbooks() string {
	s := Scan{}
	for _, f := range j.Findings {
		s.Leaks = append(s.Leaks, Leak{Finding: f})
	}
	return s.runbooks()
}
