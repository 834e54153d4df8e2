package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// commandsIn finds what the runner would take for commands in a log: “::” at the
// start of a line, and “##[” anywhere (actions/runner, ActionCommand.cs).
func commandsIn(log string) (commands []string) {
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "::") || strings.Contains(line, "##[") {
			commands = append(commands, line)
		}
	}
	return commands
}

func TestActionHostileNames(t *testing.T) {
	h := newHistory(t)
	names := []string{
		"a\n::add-mask::x\n::error::b.env", "##[error]c.env", "::warning file=x,line=1::d.env", "e|`<img src=x>`%0A::f.env",
		"%0A::notice::g,h=i.env", "\x1b[31mred.env",
	}
	for _, name := range names {
		h.commit(name, h.leak("gitlab-pat"))
	}
	tip := h.git("rev-parse", "HEAD")
	ref := "refs/heads/x,y=1%0A##z"
	h.git("update-ref", ref, tip)
	s := newStep(t, "push", pushEvent(t, ref, h.old, tip), h.checkout("refs/heads/main", "0").dir).run(nil)
	s.ended(exitFound, concludedFailure)
	commands := commandsIn(s.log)
	if len(commands) != len(names) {
		t.Errorf("%d commands in the log, want one for each of %d findings:\n%s", len(commands), len(names), strings.Join(commands, "\n"))
	}
	for _, c := range commands {
		properties, _, ok := strings.Cut(strings.TrimPrefix(c, "::error "), "::")
		var keys []string
		for property := range strings.SplitSeq(properties, ",") { // as the runner reads them
			key, _, _ := strings.Cut(property, "=")
			keys = append(keys, key)
		}
		if want := "file line endLine col endColumn title"; !ok || strings.Join(keys, " ") != want {
			t.Errorf("not the annotation of a finding, its properties are %q: %q", keys, c)
		}
	}
	if strings.Contains(s.summary, "<img") || strings.Contains(s.summary, "\x1b") {
		t.Errorf("the summary shows strangers' HTML or control characters:\n%s", s.summary)
	}
	if got := len(s.sarif()); got != len(names) {
		t.Errorf("SARIF has %d results, want %d", got, len(names))
	}
}

// A branch whose name is no name of a branch is no argument of git.
func TestActionHostileEvents(t *testing.T) {
	h := newHistory(t)
	clone := h.checkout("refs/heads/main", "1").dir
	for name, spoil := range map[string]func(map[string]any){
		"an option for a commit":  func(p map[string]any) { p["after"] = "--upload-pack=touch /tmp/x" },
		"a short id":              func(p map[string]any) { p["before"] = "abc" },
		"a refspec for a branch":  func(p map[string]any) { at(p, "repository")["default_branch"] = "x:refs/heads/main" },
		"a line end in a ref":     func(p map[string]any) { p["ref"] = "refs/heads/a\n::error::b" },
		"a number for the branch": func(p map[string]any) { p["ref"] = 7 },
	} {
		p := pushEvent(t, "refs/heads/feature", h.old, strings.Repeat("12", 20))
		spoil(p)
		s := newStep(t, "push", p, clone).run(nil).ended(exitFailed, concludedIncomplete)
		if got := commandsIn(s.log); len(got) != 1 || !strings.HasPrefix(got[0], "::error title=Stanch could not scan::") {
			t.Errorf("%s: the log has %q", name, got)
		}
	}
}

func TestActionAnnotations(t *testing.T) {
	h := newHistory(t)
	const leaks = 25
	for range leaks {
		h.commit("many.env", h.leak("gitlab-pat"))
	}
	tip := h.git("rev-parse", "HEAD")
	s := newStep(t, "push", pushEvent(t, "refs/heads/main", h.old, tip), h.checkout("refs/heads/main", "0").dir).run(nil)
	s.ended(exitFound, concludedFailure)
	if got := strings.Count(s.log, "\n::error "); got != 10 {
		t.Errorf("%d errors, want the 10 that GitHub takes from a step", got)
	}
	if want := "15 more findings have no annotation"; !strings.Contains(s.log, want) {
		t.Errorf("the log does not say %q", want)
	}
	if got := strings.Count(s.summary, "| GitLab"); got != leaks {
		t.Errorf("the summary lists %d findings, want all %d", got, leaks)
	}
	if s.outputs["findings"] != strconv.Itoa(leaks) {
		t.Errorf("findings is %s", s.outputs["findings"])
	}
}

func TestActionFailOn(t *testing.T) {
	h := newHistory(t)
	tip := h.commit("new.env", h.leak("gitlab-pat"))
	clone := h.checkout("refs/heads/main", "0").dir
	step := func(inputs map[string]string) *step {
		return newStep(t, "push", pushEvent(t, "refs/heads/main", h.old, tip), clone).run(inputs)
	}
	s := step(map[string]string{"fail-on": "never"}).ended(exitDone, concludedNeutral)
	if !strings.Contains(s.summary, "passes all the same, because fail-on is never") {
		t.Errorf("the summary does not say why it passes:\n%s", s.summary)
	}
	step(map[string]string{"fail-on": "critical"}).ended(exitFound, concludedFailure)
	step(map[string]string{"fail-on": "none"}).ended(exitFailed, concludedIncomplete)
	step(map[string]string{"scan": "all"}).ended(exitFailed, concludedIncomplete)
	step(map[string]string{"verify": "maybe"}).ended(exitFailed, concludedIncomplete)
	step(map[string]string{"path": "nowhere"}).ended(exitFailed, concludedIncomplete)
	step(map[string]string{"baseline": "nowhere"}).ended(exitFailed, concludedIncomplete)
	s = step(map[string]string{"scan": "files", "sarif": "out.sarif"}).found("new.env:1", "old.env:1")
	if want := clone + "/out.sarif"; s.outputs["sarif"] != want {
		t.Errorf("sarif is %s, want %s", s.outputs["sarif"], want)
	}
}

// Everybody can read a public repository's log: it must not tell which secret is
// worth stealing, nor how it begins.
func TestActionPublic(t *testing.T) {
	h := newHistory(t)
	tip := h.commit("new.env", h.leak("gitlab-pat"))
	clone := h.checkout("refs/heads/main", "0").dir
	for _, private := range []bool{true, false} {
		p := pushEvent(t, "refs/heads/main", h.old, tip)
		at(p, "repository")["private"] = private
		s := newStep(t, "push", p, clone).run(nil).found("new.env:1")
		if shown := strings.Contains(s.log, "glpat-"); shown != private {
			t.Errorf("private is %t, the log shows the kind of value: %t\n%s", private, shown, s.log)
		}
	}
}

func TestActionOutsideOfActions(t *testing.T) {
	code, out, errs := runHere(t, "action")
	if code != exitFailed || !strings.Contains(out, "use “stanch scan” elsewhere") {
		t.Errorf("status %d, %q, %q", code, out, errs)
	}
	if code, _, errs = runHere(t, "action", "now"); code != exitFailed || !strings.Contains(errs, "unexpected argument") {
		t.Errorf("status %d, %q", code, errs)
	}
	if code, out, _ = runHere(t, "action", "--help"); code != exitDone || !strings.Contains(out, "INPUT_FAIL_ON") {
		t.Errorf("status %d, %q", code, out)
	}
}

// The parser of the tests is the measure of what the action writes.
func TestParseOutputs(t *testing.T) {
	got, err := parseOutputs("a=b<<c\nd<<END\n1\n2\nEND\n")
	if err != nil || got["a"] != "b<<c" || got["d"] != "1\n2" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := parseOutputs("d<<END\n1\n"); err == nil {
		t.Error("an output without an end passed")
	}
	if data, err := json.Marshal(newCovered(actionResult{})); err != nil || !strings.Contains(string(data), `"complete":true`) {
		t.Errorf("coverage %s, %v", data, err)
	}
}

// Whoever leaks a key may not excuse it in the same change.
func TestActionBelievesNoMarker(t *testing.T) {
	h := newHistory(t)
	tip := h.commit("new.env", strings.TrimSpace(h.leak("gitlab-pat"))+" # stanch:allow\n")
	s := newStep(t, "push", pushEvent(t, "refs/heads/main", h.old, tip), h.checkout("refs/heads/main", "0").dir).run(nil).found("new.env:1")
	if want := "that counts before a commit, not for a change's judge"; !strings.Contains(s.log, want) {
		t.Errorf("the log does not say %q:\n%s", want, s.log)
	}
}
