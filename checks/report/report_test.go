package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

var update = flag.Bool("update", false, "write the golden files")

var widget = &rules.Rule{
	ID: "widget-token", Title: "Widget API token", Severity: rules.Critical,
	Runbook:  "Delete the token in the settings: https://widgets.example/settings",
	Provider: &rules.Provider{Name: "widgets", Website: "https://widgets.example/docs"},
}

const (
	headSHA = "1111111111111111111111111111111111111111"
	baseSHA = "2222222222222222222222222222222222222222"
	value   = "wdg-" + "correct-horse-battery"
)

func finding(path string) checks.Finding {
	return checks.Finding{
		Rule:        widget,
		Credential:  checks.Credential{Rule: widget.ID, Parts: map[string]checks.Secret{checks.PartSecret: checks.NewSecret(value)}},
		Fingerprint: "f00d",
		Redacted:    "wdg-************",
		Excerpt:     "  grün: wdg-************ # \x1b[2Jgone",
		Location: checks.Location{
			Path: path, Line: 3, Column: 7, EndLine: 3, EndColumn: 32, CharColumn: 5, EndCharColumn: 30,
			Commit: headSHA, Author: "Ada <ada@example.org>", Date: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		},
	}
}

func leak(change func(*Leak)) Leak {
	l := Leak{Finding: finding("deploy/prod.env"), InTip: true, State: StateOpen, Incident: "inc-7"}
	change(&l)
	return l
}

func whole() []checks.Coverage {
	return []checks.Coverage{{Base: baseSHA, Tip: headSHA, Commits: 2, Blobs: 5, Bytes: 12345}}
}

func holed() []checks.Coverage {
	c := whole()
	c[0].Skipped = []checks.Skip{{Commit: headSHA, Path: "big.bin", Reason: "larger than 256 MiB"}}
	return c
}

// pastTimeline is that of what is live.
const pastTimeline = "pushed 03:03:56 UTC · delivered +1.2 s · found +1.5 s · verified +1.9 s"

func isLive(l *Leak) {
	l.Validity, l.CanRotate, l.CanRevoke, l.Timeline = checks.Active, true, true, pastTimeline
}
func waiting(l *Leak) { isLive(l); l.Actionable = true }
func isStuck(l *Leak) {
	isLive(l)
	l.State, l.Stuck = StateStuck, "Give Stanch write access to kv/ci/deploy"
}
func isUnknown(l *Leak) { l.Validity, l.CanDismiss = checks.Unknown, true }
func isDead(l *Leak) {
	isLive(l)
	l.State, l.DeadAfter, l.Stored = StateProvedDead, 9*time.Second, "vault: kv/ci/deploy, field token, version 4"
	l.Timeline = pastTimeline + " · contained +7.9 s · rotated +7.9 s · dead +8.4 s"
	l.Proof = "asked with the leaked credential, GET https://api.github.com/user answered 401 at 2026-01-02 03:04:05 UTC"
}
func isGone(l *Leak) {
	isDead(l)
	l.InTip = false
	l.State, l.Resolution = StateResolved, resolvedRotated
}
func isAllowed(l *Leak) {
	isUnknown(l)
	l.Conclusion, l.Why, l.Reason = Success, ".github/stanch-allow.txt:3, by @dana until 2030-12-31", "a key of the test server"
}
func isAllowable(l *Leak) {
	isUnknown(l)
	l.AllowID = "allow1-0123456789abcdef0123456789abcdef"
}
func liveWithID(l *Leak) {
	isAllowable(l)
	isLive(l)
}
func isMarked(l *Leak) {
	isUnknown(l)
	l.Conclusion, l.Why = Neutral, "the comment gitleaks:allow beside it"
}
func liveAndMarked(l *Leak)      { isMarked(l); isLive(l) }
func containedAndMarked(l *Leak) { isMarked(l); l.State = StateContained }
func deadAndMarked(l *Leak)      { isMarked(l); isDead(l) }
func inactiveAndMarked(l *Leak)  { isMarked(l); l.Validity = checks.Inactive }
func pressable(l *Leak) {
	waiting(l)
	l.Number, l.Reach = 1, "acts as deploy-bot; scopes: repo, workflow"
}
func rotationAsked(l *Leak) {
	pressable(l)
	l.Asked = []Request{{Verb: verbRotate, By: "dana", Until: time.Date(2026, 3, 11, 5, 6, 7, 0, time.UTC)}}
}
func maybeBypassed(l *Leak) { isUnknown(l); l.CanDismiss, l.CanBypass, l.Number = false, true, 1 }
func bypassAsked(l *Leak) {
	maybeBypassed(l)
	l.Asked = []Request{{Verb: verbBypass, By: "dana", Reason: "a demo | key of @vendor", Until: time.Date(2026, 3, 11, 5, 6, 7, 0, time.UTC)}}
}
func isBypassed(l *Leak) {
	maybeBypassed(l)
	l.Bypass = &Bypass{By: "dana", Approver: "erin", Reason: "a demo | key of @vendor", Until: time.Date(2026, 3, 11, 5, 6, 7, 0, time.UTC)}
}
func liveAndBypassed(l *Leak) { isBypassed(l); isLive(l) }
func isInactive(l *Leak)      { l.Validity = checks.Inactive }
func isDismissed(l *Leak) {
	l.State, l.Resolution = StateResolved, resolvedFalsePositive
	l.Conclusion, l.Why, l.Reason = Success, "@dana until 2027-03-11", "an example"
}
func inContained(l *Leak) {
	isLive(l)
	l.State, l.Timeline = StateContained, pastTimeline+" · contained +7.9 s"
}
func liveAndNone(l *Leak)  { isLive(l); l.State, l.Resolution = StateResolved, resolvedUsedInTests }
func diedByItself(l *Leak) { isInactive(l); l.State = StateContained }

// scans are the situations that a check run has to tell apart.
var scans = []struct {
	name    string
	scan    Scan
	want    Conclusion
	title   string
	comment bool
}{
	{"nothing", Scan{Coverage: whole()}, Success, "No credentials found", false},
	{"no-coverage", Scan{}, ActionRequired, "Could not scan everything", false},
	{"problem", Scan{Problem: "the commit is not there", Coverage: whole()}, ActionRequired, "Could not scan everything", false},
	{"incomplete", Scan{Coverage: holed()}, ActionRequired, "Could not scan everything", false},
	{"incomplete-live", Scan{Coverage: holed(), Leaks: []Leak{leak(isLive)}}, Failure,
		"1 live credential, being rotated; scan incomplete", true},
	{"incomplete-gone", Scan{Coverage: holed(), Leaks: []Leak{leak(isGone)}}, ActionRequired, "Could not scan everything", true},
	{"live", Scan{Coverage: whole(), Leaks: []Leak{leak(isLive)}}, Failure, "1 live credential, being rotated", true},
	{"waiting", Scan{Coverage: whole(), Leaks: []Leak{leak(waiting), leak(isUnknown)}}, Failure,
		"1 live credential, decision needed", true},
	{"contained", Scan{Coverage: whole(), Leaks: []Leak{leak(inContained)}}, Failure,
		"1 credential revoked, proof pending", true},
	{"stuck", Scan{Coverage: whole(), Leaks: []Leak{leak(isStuck)}}, Failure, "1 credential: a person must act", true},
	{"unknown", Scan{Coverage: whole(), Leaks: []Leak{leak(isUnknown)}}, Failure, "1 credential found, validity unknown", false},
	{"dead-in-tip", Scan{Coverage: whole(), Leaks: []Leak{leak(isDead)}}, Failure,
		"Rotated, dead after 9 s; remove it", true},
	{"gone", Scan{Coverage: whole(), Leaks: []Leak{leak(isGone)}}, Success, "Rotated, dead after 9 s", true},
	{"never-live", Scan{Coverage: whole(), Leaks: []Leak{leak(isInactive)}}, Success, "1 credential found, not live", false},
	{"dismissed", Scan{Coverage: whole(), Leaks: []Leak{leak(isDismissed)}}, Success, "1 finding, dismissed as no secret", false},
	{"live-overrules-dismissal", Scan{Coverage: whole(), Leaks: []Leak{leak(liveAndNone)}}, Failure,
		"1 live credential, being rotated", true},
	{"contained-is-not-never-live", Scan{Coverage: whole(), Leaks: []Leak{leak(diedByItself)}}, Failure,
		"1 credential revoked, proof pending", true},
	{"allowed", Scan{Coverage: whole(), Leaks: []Leak{leak(isAllowed), leak(isGone)}, Notes: []string{"2 not shown, allowed by .gitleaksignore"}}, Success,
		"1 finding, allowed by the policy", true},
	{"allowable", Scan{Coverage: whole(), AllowFile: ".github/stanch-allow.txt", Leaks: []Leak{leak(isAllowable), leak(isAllowable)}}, Failure,
		"2 credentials found, validity unknown", false},
	{"live-is-not-allowable", Scan{Coverage: whole(), AllowFile: ".github/stanch-allow.txt", Leaks: []Leak{leak(liveWithID)}}, Failure,
		"1 live credential, being rotated", true},
	{"marked", Scan{Coverage: whole(), Leaks: []Leak{leak(isMarked)}}, Neutral, "1 finding, allowed by the policy", false},
	{"marked-in-a-hole", Scan{Coverage: holed(), Leaks: []Leak{leak(isMarked)}}, ActionRequired, "Could not scan everything", false},
	{"marked-and-not-live", Scan{Coverage: whole(), Leaks: []Leak{leak(inactiveAndMarked)}}, Success, "1 credential found, not live", false},
	{"live-overrules-marker", Scan{Coverage: whole(), Leaks: []Leak{leak(liveAndMarked)}}, Failure, "1 live credential, being rotated", true},
	{"contained-overrules-marker", Scan{Coverage: whole(), Leaks: []Leak{leak(containedAndMarked)}}, Failure,
		"1 credential revoked, proof pending", true},
	{"dead-and-marked", Scan{Coverage: whole(), Leaks: []Leak{leak(deadAndMarked)}}, Neutral, "1 finding, allowed by the policy", true},
	{"policy-problem", Scan{Coverage: whole(), PolicyProblems: []string{".github/stanch.yml:2: conclusion.high is \"neutrl\": it must be success, neutral or failure"}},
		Neutral, "A policy file must be mended", false},
	{"policy-problem-live", Scan{Coverage: whole(), PolicyProblems: []string{".github/stanch.yml:2: wrong"}, Leaks: []Leak{leak(isLive)}},
		Failure, "1 live credential, being rotated", true},
	{"no-comment", Scan{NoComment: true, Coverage: whole(), Leaks: []Leak{leak(isLive)}}, Failure, "1 live credential, being rotated", false},
	{"pull-request", Scan{Coverage: whole(), Commands: true, Leaks: []Leak{leak(pressable)}}, Failure,
		"1 live credential, decision needed", true},
	{"second-person", Scan{Coverage: whole(), Commands: true, Leaks: []Leak{leak(rotationAsked)}}, Failure,
		"1 live credential, second person needed", true},
	{"bypass-possible", Scan{Coverage: whole(), Commands: true, Leaks: []Leak{leak(maybeBypassed)}}, Failure, "1 credential found, validity unknown", false},
	{"bypass-asked", Scan{Coverage: whole(), Leaks: []Leak{leak(bypassAsked)}}, Failure, "1 credential found, validity unknown", false},
	{"bypassed", Scan{Coverage: whole(), Leaks: []Leak{leak(isBypassed)}}, Neutral, "Bypassed by dana until 2026-03-11", false},
	{"bypassed-but-live", Scan{Coverage: whole(), Leaks: []Leak{leak(liveAndBypassed)}}, Failure, "1 live credential, being rotated", true},
	{"bypassed-but-another", Scan{Coverage: whole(), Leaks: []Leak{leak(isBypassed), leak(isUnknown)}}, Failure,
		"1 credential found, validity unknown", false},
	{"bypassed-but-incomplete", Scan{Coverage: holed(), Leaks: []Leak{leak(isBypassed)}}, ActionRequired, "Could not scan everything", false},
	{"public-bypassed", Scan{Public: true, Coverage: whole(), Leaks: []Leak{leak(isBypassed)}}, Neutral,
		"Bypassed by dana until 2026-03-11", false},
	{"public-live", Scan{Public: true, Coverage: whole(), Leaks: []Leak{leak(isLive), leak(isUnknown), leak(isStuck)}}, Failure,
		"3 credentials found", false},
	{"public-dead", Scan{Public: true, Coverage: whole(), Leaks: []Leak{leak(isDead)}}, Failure,
		"Rotated, dead after 9 s; remove it", true},
}

func TestCheckRun(t *testing.T) {
	for _, test := range scans {
		t.Run(test.name, func(t *testing.T) {
			test.scan.HeadSHA = headSHA
			run, comment := NewCheckRun(test.scan), Comment(test.scan)
			if run.Conclusion != test.want || run.Title != test.title {
				t.Errorf("got %s %q, want %s %q", run.Conclusion, run.Title, test.want, test.title)
			}
			if (comment != "") != test.comment {
				t.Errorf("comment is %q, want one: %v", comment, test.comment)
			}
			golden(t, test.name+".md", show(run, comment))
		})
	}
}

func show(run CheckRun, comment string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n---- summary\n%s\n---- text\n%s\n", run.Conclusion, run.Title, run.Summary, run.Text)
	for _, a := range run.Actions {
		fmt.Fprintf(&b, "---- button %s: %s (%s)\n", a.Identifier, a.Label, a.Description)
	}
	for _, a := range run.Annotations {
		fmt.Fprintf(&b, "---- %s %s:%d:%d-%d:%d %s\n%s\n",
			a.Level, a.Path, a.StartLine, a.StartColumn, a.EndLine, a.EndColumn, a.Title, a.Message)
	}
	fmt.Fprintf(&b, "---- comment\n%s", comment)
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); -update writes it anew:\n%s", path, diff)
	}
}

// TestPublicHidesReasons: what colleagues tell each other is not for everybody.
func TestPublicHidesReasons(t *testing.T) {
	for name, change := range map[string]func(*Leak){"allowed": isAllowed, "dismissed": isDismissed, "bypassed": isBypassed} {
		l := leak(change)
		reason := l.Reason
		if l.Bypass != nil {
			reason = l.Bypass.Reason[:6]
		}
		for _, public := range []bool{true, false} {
			run := NewCheckRun(Scan{Public: public, Coverage: whole(), Leaks: []Leak{l}})
			if told := run.Title + run.Summary + run.Text; strings.Contains(told, reason) == public {
				t.Errorf("%s, in public %v:\n%s", name, public, told)
			}
		}
	}
}

// In public, leaks that work and leaks that nobody could test look the same.
func TestPublicHidesLiveness(t *testing.T) {
	unknown := Scan{Public: true, Coverage: whole(), Leaks: []Leak{leak(isAllowable)}}
	want := NewCheckRun(unknown)
	for name, change := range map[string]func(*Leak){
		"live": isLive, "contained": inContained, "stuck": isStuck, "waiting": waiting,
	} {
		s := unknown
		s.Leaks = []Leak{leak(change)}
		s.Leaks[0].AllowID = unknown.Leaks[0].AllowID
		got := NewCheckRun(s)
		got.Actions = want.Actions // only those who may write see buttons
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s differs from unknown:\n%s", name, diff)
		}
		if c := Comment(s); c != "" {
			t.Errorf("%s: a public comment before the proof: %s", name, c)
		}
	}
	two := Scan{Public: true, Coverage: whole(), Leaks: []Leak{leak(isDead), leak(isLive)}}
	if c := Comment(two); c != "" {
		t.Errorf("a public comment while one is live: %s", c)
	}
}

func TestAnnotationsDoNotGoStale(t *testing.T) {
	message := func(change func(*Leak)) string {
		return NewCheckRun(Scan{Coverage: whole(), Leaks: []Leak{leak(change)}}).Annotations[0].Message
	}
	for _, change := range []func(*Leak){isDead, isStuck, isUnknown, isInactive} {
		if diff := cmp.Diff(message(isLive), message(change)); diff != "" {
			t.Errorf("the message depends on the state:\n%s", diff)
		}
	}
}

func TestAnnotationColumns(t *testing.T) {
	one := leak(isLive)
	many := leak(isLive)
	many.EndLine, many.EndColumn = 9, 2
	a := NewCheckRun(Scan{Coverage: whole(), Leaks: []Leak{one, many}}).Annotations
	if a[0].StartColumn != 7 || a[0].EndColumn != 31 {
		t.Errorf("columns %d-%d, want 7-31: GitHub's end is the last character", a[0].StartColumn, a[0].EndColumn)
	}
	if a[1].StartLine != 3 || a[1].EndLine != 9 || a[1].StartColumn != 0 || a[1].EndColumn != 0 {
		t.Errorf("GitHub takes no columns for several lines: %+v", a[1])
	}
}

// What an earlier commit held stands elsewhere at the head commit, or nowhere.
func TestAnnotationOfEarlierCommit(t *testing.T) {
	l := leak(isLive)
	l.InTip = false
	a := NewCheckRun(Scan{Coverage: whole(), Leaks: []Leak{l}}).Annotations[0]
	if a.StartColumn != 0 || a.EndColumn != 0 {
		t.Errorf("columns %d-%d, want none", a.StartColumn, a.EndColumn)
	}
	if strings.Contains(a.Message, "this line") || !strings.Contains(a.Message, " in commit 1111111, line 3. ") {
		t.Errorf("the message is %q", a.Message)
	}
}

func TestSummaryTellsOfFindingsWithoutAnnotation(t *testing.T) {
	summary := func(n int) string {
		s := Scan{Coverage: whole()}
		for range n {
			s.Leaks = append(s.Leaks, leak(isUnknown))
		}
		return NewCheckRun(s).Summary
	}
	if got := summary(MaxAnnotations); !strings.Contains(got, "and 200 more: see the annotations.") {
		t.Error("the summary of 250 findings does not point to the annotations")
	}
	if got := summary(MaxAnnotations + 1); !strings.Contains(got, "and 201 more: see the annotations of the first 250;") {
		t.Error("the summary of 251 findings does not say that some have no annotation")
	}
}

// TestMaskRemembers: findings share paths and authors, and each is masked once.
func TestMaskRemembers(t *testing.T) {
	m := newMask([]checks.Finding{finding("a")})
	path := "dir/" + value + "/" + strings.Repeat("x", 100)
	want := "dir/[redacted]/" + strings.Repeat("x", 100)
	if m.text(path) != want {
		t.Error("the path is not masked")
	}
	if n := testing.AllocsPerRun(10, func() { m.text(path) }); n > 0 {
		t.Errorf("masking again allocates %v times", n)
	}
}

func TestLimits(t *testing.T) {
	s := Scan{Public: false, Coverage: holed(), Problem: strings.Repeat("é", 9000)}
	for i := range 300 {
		l := leak(isStuck)
		l.Path = strings.Repeat("<ü|`>/", 700) + fmt.Sprint(i)
		l.Stuck = strings.Repeat("&ß", 3000)
		s.Leaks = append(s.Leaks, l)
	}
	run := NewCheckRun(s)
	if len(run.Summary) > MaxTextBytes || !utf8.ValidString(run.Summary) {
		t.Errorf("summary of %d bytes, valid UTF-8: %v", len(run.Summary), utf8.ValidString(run.Summary))
	}
	if !strings.HasSuffix(run.Summary, cutNote) {
		t.Error("the summary does not say that it was cut")
	}
	if n := utf8.RuneCountInString(Comment(s)); n > MaxCommentRunes {
		t.Errorf("comment of %d characters", n)
	}
	if len(run.Annotations) != MaxAnnotations || !strings.HasSuffix(run.Annotations[MaxAnnotations-1].Path, "249") {
		t.Errorf("%d annotations, want the first %d", len(run.Annotations), MaxAnnotations)
	}
	all := Scan{Coverage: whole(), Leaks: []Leak{leak(waiting), leak(isUnknown)}}
	buttons := NewCheckRun(all).Actions
	if len(buttons) != MaxButtons {
		t.Errorf("%d buttons, want %d", len(buttons), MaxButtons)
	}
	for _, b := range buttons {
		if len(b.Label) > MaxButtonLabel || len(b.Description) > MaxButtonDescription || len(b.Identifier) > MaxButtonIdentifier {
			t.Errorf("button too long for GitHub: %+v", b)
		}
	}
}

func TestNotASecretOnlyWhereNothingSaysLive(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Leak)
		want   bool
	}{
		"live": {isLive, false}, "stuck live": {isStuck, false}, "unknown": {isUnknown, true},
		"dead": {isDead, false}, "dismissed": {isDismissed, false}, "inactive": {isInactive, false},
	} {
		var got bool
		for _, b := range NewCheckRun(Scan{Coverage: whole(), Leaks: []Leak{leak(test.change)}}).Actions {
			got = got || b.Identifier == ButtonNotASecret
		}
		if got != test.want {
			t.Errorf("%s: button shown: %v, want %v", name, got, test.want)
		}
	}
}

func TestMarkdownInjection(t *testing.T) {
	hostile := "x`|</code></td><img src=x onerror=alert(1)> @admin #1 [a](http://b) \n# head\n|a|b|\x1b[31m\u202e\xff**b**"
	l := leak(isStuck)
	l.Path, l.Stuck, l.Stored, l.Commit, l.Incident = hostile, hostile, hostile, hostile, hostile
	c := holed()
	c[0].Base, c[0].Tip = hostile, hostile
	c[0].Skipped[0] = checks.Skip{Commit: hostile, Path: hostile, Reason: hostile}
	s := Scan{Coverage: c, Leaks: []Leak{l}, Problem: hostile}
	run := NewCheckRun(s)
	for name, text := range map[string]string{"summary": run.Summary, "comment": Comment(s)} {
		for _, bad := range []string{"<img", "</td>", "@admin", "\n# head", "\n|a|", "\x1b", "\u202e", "**b**", "[a](", "http://b", " #1"} {
			if strings.Contains(text, bad) {
				t.Errorf("the %s lets %q through:\n%s", name, bad, text)
			}
		}
		for line := range strings.Lines(text) {
			if n := strings.Count(line, "|"); strings.HasPrefix(line, "|") && n != 6 && n != 7 {
				t.Errorf("the %s has a table row of %d bars: %s", name, n, line)
			}
		}
	}
	for _, a := range run.Annotations {
		if strings.ContainsAny(a.Message, "\x1b\u202e") {
			t.Errorf("annotation holds control characters: %q", a.Message)
		}
	}
}

func TestCode(t *testing.T) {
	for in, want := range map[string]string{
		"a/b_c.go":  "`a/b_c.go`",
		"a|b":       "<code>a&#124;b</code>",
		"a`b":       "<code>a&#96;b</code>",
		"a\nb":      "<code>a&#92;x0ab</code>",
		"":          "<code></code>",
		"@org/team": "`@org/team`",
		"<b>":       "`<b>`",
		"grün":      "`grün`",
	} {
		if got := code(in); got != want {
			t.Errorf("code(%q) = %s, want %s", in, got, want)
		}
	}
}

// TestProgress: what goes on is never told as if it were over.
func TestProgress(t *testing.T) {
	s := Scan{Progress: Progress{Done: 5000, Of: 12000}}
	clean := NewCheckRun(s)
	if clean.Title != "Scanning: 5000 of 12000 commits" || clean.Conclusion != ActionRequired ||
		!strings.Contains(clean.Summary, "5000 of 12000 commits so far, and the scan goes on") || !strings.Contains(clean.Summary, "Nothing to do yet") {
		t.Errorf("%+v", clean)
	}
	s.Leaks = []Leak{leak(isLive)}
	red := NewCheckRun(s)
	if !strings.HasSuffix(red.Title, "; scan incomplete") || red.Conclusion != Failure || !strings.Contains(red.Summary, "the scan goes on") {
		t.Errorf("%+v", red)
	}
	s.Leaks, s.Coverage = nil, whole()
	if run := NewCheckRun(s); run.Conclusion != ActionRequired {
		t.Errorf("it is %s while a range is still being scanned", run.Conclusion)
	}
}

func FuzzNoReportHoldsTheSecret(f *testing.F) {
	f.Add("deploy/", ".env", "Ada", "no access")
	f.Add("a|`", "\x1b[2J", "\xff\u202e", "<b>")
	f.Fuzz(func(t *testing.T, before, after, author, problem string) {
		l := leak(isStuck)
		hostile := before + value + after
		l.Path, l.Author, l.Stuck, l.Stored = hostile, author+value, problem+value, value+value
		c := holed()
		c[0].Skipped[0].Path, c[0].Base = hostile, value
		c[0].Elsewhere = []checks.Skip{{Path: hostile}}
		s := Scan{Coverage: c, Problem: problem + value, Leaks: []Leak{l}}
		for name, text := range everything(t, s) {
			if strings.Contains(text, value) {
				t.Errorf("%s holds the secret, before %q, after %q", name, before, after)
			}
		}
	})
}

// everything renders a scan in every way there is.
func everything(t *testing.T, s Scan) map[string]string {
	t.Helper()
	findings := []checks.Finding{}
	for _, l := range s.Leaks {
		findings = append(findings, l.Finding)
	}
	var text, array, lines, sarif bytes.Buffer
	for _, err := range []error{
		Text(&text, findings, true), JSON(&array, findings), JSONLines(&lines, findings),
		SARIF(&sarif, findings, Run{Rules: []*rules.Rule{widget}, Problems: []string{s.Problem}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	run, err := json.Marshal(NewCheckRun(s))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"text": text.String(), "json": array.String(), "jsonl": lines.String(), "sarif": sarif.String(),
		"check run": string(run), "comment": Comment(s),
	}
}

func TestFilesFoundByTheirPathsAreNamed(t *testing.T) {
	f := checks.Finding{
		Rule:       &rules.Rule{ID: "key-file", Title: "Key file", Detect: rules.Detect{Path: `id_rsa$`}},
		Credential: checks.Credential{Parts: map[string]checks.Secret{checks.PartSecret: checks.NewSecret("deploy/id_rsa")}},
		Location:   checks.Location{Path: "deploy/id_rsa", Line: 1, Column: 1},
	}
	var out bytes.Buffer
	if err := Text(&out, []checks.Finding{f}, false); err != nil || !strings.HasPrefix(out.String(), "deploy/id_rsa:1:1: Key file\n") {
		t.Errorf("%v: %s", err, out.String())
	}
}
