package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// jobFinding is a finding of a severity at a path.
func jobFinding(severity rules.Severity, path string) checks.Finding {
	return checks.Finding{
		Rule:     &rules.Rule{ID: "kind", Title: "Kind " + string(severity), Severity: severity},
		Redacted: "pre_****", Fingerprint: checks.Fingerprint(path), Validity: checks.Active,
		Location: checks.Location{Path: path, Line: 3, Column: 2, EndLine: 3, EndColumn: 9, Commit: strings.Repeat("ab", 20)},
	}
}

func TestWorkflowCommands(t *testing.T) {
	lines, left := WorkflowCommands([]Annotation{
		{Level: "notice", Message: "last"},
		{Path: "a,b:c%\n.go", StartLine: 1, EndLine: 2, Level: "warning", Title: "x\ny, z: %", Message: "one\r\ntwo 100%"},
		{Path: "d", StartLine: 4, EndLine: 4, StartColumn: 5, EndColumn: 6, Level: "failure", Title: "first", Message: "::error::no"},
	})
	want := []string{
		"::error file=d,line=4,endLine=4,col=5,endColumn=6,title=first::::error::no",
		`::warning file=a%2Cb%3Ac%25%0A.go,line=1,endLine=2,title=x\x0ay%2C z%3A %25::one%0D%0Atwo 100%25`,
		"::notice ::last",
	}
	if diff := cmp.Diff(want, lines); diff != "" || left != 0 {
		t.Errorf("%d left, lines (-want +got):\n%s", left, diff)
	}
}

func TestWorkflowCommandsAreBounded(t *testing.T) {
	var all []Annotation
	for i := range 12 {
		for _, level := range []string{"notice", "warning", "failure"} {
			all = append(all, Annotation{Level: level, Message: fmt.Sprint(i) + strings.Repeat("é", maxCommandMessage)})
		}
	}
	lines, left := WorkflowCommands(all)
	if len(lines) != 30 || left != 6 {
		t.Fatalf("%d lines and %d left, want 30 and 6", len(lines), left)
	}
	for i, line := range lines {
		if want := []string{"error", "warning", "notice"}[i/10]; !strings.HasPrefix(line, "::"+want+" ::") {
			t.Errorf("line %d is no %s: %.20s", i, want, line)
		}
		if n := len([]rune(line)); n > maxCommandMessage+20 {
			t.Errorf("line %d has %d characters", i, n)
		}
	}
}

// FuzzLogLine: no text makes a line of the log a command, if something stands
// before it.
func FuzzLogLine(f *testing.F) {
	f.Add("::error::a\n::b\r##[c]")
	f.Fuzz(func(t *testing.T, text string) {
		got := "stanch: " + LogLine(text)
		if strings.Contains(got, "##[") || strings.ContainsAny(got, "\n\r\x1b") || strings.HasPrefix(got, "::") {
			t.Errorf("%q becomes %q", text, got)
		}
	})
}

func TestJobOrder(t *testing.T) {
	job := Job{
		What: "the push", Problems: []string{"a hole"}, FailOn: "low", Failing: true,
		Findings: []checks.Finding{jobFinding(rules.Low, "low"), jobFinding(rules.Critical, "critical"), jobFinding(rules.Medium, "medium"), jobFinding(rules.High, "high")},
		InTip:    []bool{true, false, true, true},
	}
	var got []string
	for _, a := range job.Annotations() {
		got = append(got, fmt.Sprint(a.Level, " ", a.Path, " ", a.StartColumn))
	}
	want := []string{"failure  0", "failure critical 0", "failure high 2", "warning medium 2", "notice low 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	summary := job.Summary()
	at := -1
	for _, name := range []string{"a hole", "`critical:3`", "`high:3`", "`medium:3`", "`low:3`"} {
		next := strings.Index(summary, name)
		if next <= at {
			t.Errorf("%s is missing or stands too early in:\n%s", name, summary)
		}
		at = next
	}
}

func TestJobTellsThePublicLess(t *testing.T) {
	job := Job{What: "the push", Findings: []checks.Finding{jobFinding(rules.High, "a")}, FailOn: "low", Failing: true}
	for _, public := range []bool{false, true} {
		job.Public = public
		text := job.Summary() + fmt.Sprint(job.Annotations())
		if told := strings.Contains(text, "live") || strings.Contains(text, "| active |"); told == public {
			t.Errorf("public is %t, liveness is told: %t\n%s", public, told, text)
		}
		if told := strings.Contains(text, "pre_"); told == public {
			t.Errorf("public is %t, the kind of value is told: %t", public, told)
		}
	}
}

func TestJobSummaryIsSafeAndBounded(t *testing.T) {
	job := Job{What: "a push to `x|<b>`@someone", FailOn: "critical", Blob: "https://github.com/o/r/blob/"}
	for i := range 3000 {
		f := jobFinding(rules.Medium, fmt.Sprintf("d%d/a|b)](x <i>@me.txt", i))
		job.Findings = append(job.Findings, f)
		job.Problems = append(job.Problems, "problem <script> "+strings.Repeat("x", 5000))
		job.Notes = append(job.Notes, "note <b>")
	}
	summary := job.Summary()
	if len(summary) > MaxJobSummary {
		t.Errorf("%d bytes, at most %d are allowed", len(summary), MaxJobSummary)
	}
	for _, bad := range []string{"<script", "<i>", "<b>", "@someone", "@me", ")](x"} {
		if strings.Contains(summary, bad) {
			t.Errorf("the summary holds %q", bad)
		}
	}
	job.Problems, job.Notes, job.Findings = nil, nil, job.Findings[:1]
	if want := "](https://github.com/o/r/blob/" + strings.Repeat("ab", 20) + "/d0/a%7Cb%29%5D%28x%20%3Ci%3E%40me.txt#L3)"; !strings.Contains(job.Summary(), want) {
		t.Errorf("no link to the line in:\n%s", job.Summary())
	}
}

func TestJobWithoutFile(t *testing.T) {
	job := Job{What: "all", Findings: []checks.Finding{jobFinding(rules.High, "(message)")}, NoFile: "(message)", Blob: "https://github.com/o/r/blob/"}
	if lines, _ := WorkflowCommands(job.Annotations()); len(lines) != 1 || !strings.HasPrefix(lines[0], "::error title=") {
		t.Errorf("the annotation names a file: %q", lines)
	}
	if want := "[`(message):3`](https://github.com/o/r/commit/" + strings.Repeat("ab", 20) + ")"; !strings.Contains(job.Summary(), want) {
		t.Errorf("no link to the commit in:\n%s", job.Summary())
	}
}

func TestJobMasks(t *testing.T) {
	f := jobFinding(rules.High, "secret-in-path/hunter22hunter22")
	f.Credential = checks.Credential{Parts: map[string]checks.Secret{checks.PartSecret: checks.NewSecret("hunter22hunter22")}}
	job := Job{
		What: "refs/heads/hunter22hunter22", Findings: []checks.Finding{f}, Problems: []string{"at hunter22hunter22"}, Notes: []string{"hunter22hunter22"},
		Coverage: []checks.Coverage{{Tip: "x", Skipped: []checks.Skip{{Path: "hunter22hunter22"}}}},
	}
	if text := job.Summary() + fmt.Sprint(job.Annotations()); strings.Contains(text, "hunter22") {
		t.Errorf("a secret is told:\n%s", text)
	}
}
