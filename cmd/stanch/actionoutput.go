package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
)

// log writes what people look for in a log, and the annotations.
func (a *action) log(job report.Job, r actionResult) {
	say := func(format string, args ...any) {
		fmt.Fprintln(a.env.stdout, "stanch: "+report.LogLine(fmt.Sprintf(format, args...)))
	}
	say("scanning %s%s", a.session.hide(a.plan.what), a.plan.span())
	lines, left := report.WorkflowCommands(job.Annotations())
	for _, line := range lines {
		fmt.Fprintln(a.env.stdout, line)
	}
	if left > 0 {
		say("%d more findings have no annotation: GitHub takes %d of a kind from a step; the summary and the SARIF file list all", left, report.MaxCommandAnnotations)
	}
	for _, problem := range r.problems {
		say("not scanned: %s", problem)
	}
	for _, note := range job.Notes {
		say("%s", note)
	}
	say("scanned %s, %s: %s", r.what, report.Size(r.bytes), job.Title())
}

// blobURL is where the repository's files are shown, if it is GitHub's.
func (a *action) blobURL() string {
	server, repository := a.checkout.server, a.env.getenv("GITHUB_REPOSITORY")
	if server == "" || repository == "" {
		return ""
	}
	return server + "/" + repository + "/blob/"
}

// writeSARIF writes the findings. In a public repository everybody can download the
// file, so it does not tell what is live.
func (a *action) writeSARIF(r actionResult, public bool) error {
	if a.session == nil {
		return nil
	}
	s := r.scanned
	s.findings = slices.Clone(s.findings)
	if a.env.getenv(fingerprintVariable) == "" && a.env.getenv(fingerprintVariable+"_FILE") == "" {
		a.steady(s.findings)
	}
	for i := range s.findings {
		if public {
			s.findings[i].Validity = ""
		}
	}
	return writeFile(a.in.sarif, func(w io.Writer) error { return a.session.render(w, "sarif", s) })
}

// steady gives findings fingerprints that are the same in every run of a
// repository's workflows, so that code scanning knows its alerts again, although a
// runner keeps no key. They are made as those of a baseline, which may be public.
func (a *action) steady(findings []checks.Finding) {
	salt := sha256.Sum256([]byte(a.checkout.server + "/" + a.env.getenv("GITHUB_REPOSITORY")))
	d := derivation{deriveTime, deriveMemory, hex.EncodeToString(salt[:])}
	known := map[checks.Fingerprint]checks.Fingerprint{}
	for i, f := range findings {
		if known[f.Fingerprint] == "" {
			known[f.Fingerprint] = checks.Fingerprint(d.key(f.Credential.Secret()))
		}
		findings[i].Fingerprint = known[f.Fingerprint]
	}
}

func (a *action) writeSummary(markdown string) error {
	return appendTo(a.env.getenv("GITHUB_STEP_SUMMARY"), markdown)
}

// appendTo adds to one of the runner's files; without a runner there is none.
func appendTo(path, text string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write for the runner: %w", err)
	}
	_, err = io.WriteString(f, text)
	return errors.Join(err, f.Close())
}

// writeOutputs hands the step's outputs to the runner.
func (a *action) writeOutputs(conclusion string, r actionResult) error {
	coverage, err := json.Marshal(newCovered(r))
	if err != nil {
		return fmt.Errorf("write coverage: %w", err)
	}
	sarif := a.in.sarif
	if a.session == nil {
		sarif = ""
	}
	var b strings.Builder
	for _, o := range [][2]string{
		{"conclusion", conclusion}, {"findings", strconv.Itoa(len(r.findings))}, {"sarif", sarif}, {"coverage", a.session.hide(string(coverage))},
	} {
		// A delimiter that nobody can guess: a path may hold line ends.
		end := uuid.NewString()
		fmt.Fprintf(&b, "%s<<%s\n%s\n%[2]s\n", o[0], end, o[1])
	}
	return appendTo(a.env.getenv("GITHUB_OUTPUT"), b.String())
}

// A covered is the output “coverage”: what was scanned, in a line.
type covered struct {
	Base     string `json:"base"`
	Tip      string `json:"tip"`
	Commits  int    `json:"commits"`
	Blobs    int    `json:"blobs"`
	Bytes    int64  `json:"bytes"`
	Skipped  int    `json:"skipped"` // things that should have been scanned and were not
	Complete bool   `json:"complete"`
}

func newCovered(r actionResult) covered {
	c := covered{Bytes: r.bytes, Skipped: len(r.problems), Complete: len(r.problems) == 0}
	for _, each := range r.coverage {
		c.Base, c.Tip = each.Base, each.Tip
		c.Commits, c.Blobs = c.Commits+each.Commits, c.Blobs+each.Blobs
	}
	return c
}

// broken tells that nothing could be scanned: never green and unscanned.
func (a *action) broken(err error) int {
	message := a.session.hide(err.Error())
	job := report.Job{What: a.plan.what, Problems: []string{message}}
	return a.say(errors.Join(errors.New(message), a.writeSummary(job.Summary()), a.writeOutputs(concludedIncomplete, actionResult{scanned: scanned{problems: []string{message}}})))
}

// say tells of an error as an annotation.
func (a *action) say(err error) int {
	lines, _ := report.WorkflowCommands([]report.Annotation{{Level: "failure", Title: "Stanch could not scan", Message: a.session.hide(err.Error())}})
	fmt.Fprintln(a.env.stdout, lines[0])
	return exitFailed
}
