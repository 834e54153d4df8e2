package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// How much the tables of a summary show, so that the end of it survives the cut.
// The first MaxAnnotations findings have their annotation all the same.
const (
	maxRows    = 50
	maxSkips   = 20
	maxRanges  = 20
	maxProblem = 1000 // characters
)

// summary is the check's Markdown: the state first, then the next step, then the
// findings and what was scanned.
func (s Scan) summary() string {
	var b strings.Builder
	if !s.complete() {
		fmt.Fprintf(&b, "**Not everything was scanned:** %s\n\n", s.hole())
	}
	b.WriteString(s.policyProblems())
	b.WriteString(s.state())
	b.WriteString(s.findings(s.Leaks))
	b.WriteString(s.proofs())
	b.WriteString(s.timelines())
	b.WriteString(s.allowLines())
	b.WriteString(s.notes())
	b.WriteString(s.manifest())
	return b.String()
}

// hole says in one line why the scan is incomplete.
func (s Scan) hole() string {
	switch {
	case s.Problem != "":
		return plain(cutRunes(s.Problem, maxProblem))
	case s.Progress.Of > 0:
		return s.Progress.String() + " so far, and the scan goes on."
	case len(s.Coverage) == 0:
		return "there is no record of what was scanned, so nothing was."
	}
	skipped, lost, first := 0, false, ""
	for _, c := range distinct(s.Coverage) {
		skipped += len(c.Skipped)
		lost = lost || c.Tip == ""
		if len(c.Skipped) > 0 && first == "" {
			first = skip(c.Skipped[0])
		}
	}
	switch {
	case lost:
		return "the last commit is not known."
	case skipped == 1:
		return first + "."
	}
	return fmt.Sprintf("%s. %s skipped, listed below with the reasons.", first, Count(skipped, "object"))
}

// state is the first lines: where things stand, and the next step.
func (s Scan) state() string {
	worst, leaks := s.worst()
	switch {
	case s.Progress.Of > 0 && worst.passes() && s.Problem == "":
		return "Nothing to do yet: the check ends when all commits are scanned.\n\n"
	case !s.complete() && worst.passes() && s.Problem == "" && len(s.Coverage) > 0:
		return "This check cannot pass before everything is scanned. Take what is listed below out of the commit, " +
			"or put it there in a form that can be read, and push again.\n\n"
	case !s.complete() && worst.passes():
		return "This check cannot pass before everything is scanned. Run it again; if it stays so, " +
			"the log of Stanch names the cause.\n\n"
	case len(s.Leaks) == 0:
		return "**No credentials found** in what was added. Nothing to do.\n\n"
	}
	return fmt.Sprintf("**%s.** %s\n\n", leakTitle(worst, leaks), nextStep(worst, leaks))
}

// nextStep says in plain words what the reader does now.
func nextStep(p phase, leaks []Leak) string {
	if ask := firstAsked(leaks); ask != nil && p != hidden {
		return ask.nextStep()
	}
	switch p {
	case hidden:
		return "Treat it as stolen: whoever owns it replaces it. Take it out of the file in a new commit; " +
			"the maintainers see the rest in Stanch" + incidents(leaks) + "."
	case stuck:
		return "The table says what to do. Stanch goes on by itself afterwards."
	case live:
		if leaks[0].Actionable {
			return "Press a button of the check to replace or kill it. Then take it out of the file in a new commit."
		}
		return "Take it out of the file in a new commit; deleting the line alone leaves it readable in the history. " +
			"This check changes by itself when the credential is proved dead."
	case contained:
		return "Nothing to press: Stanch asks the provider until it refuses the old one. " +
			"Meanwhile take it out of the file in a new commit."
	case unverified:
		return "Nobody could tell whether it works, so it counts as stolen. Replace it where it is used and take it " +
			"out of the file" + otherwise(leaks) + "."
	case bypassed:
		return "The check passes until then, and is red again afterwards: take it out of the file before."
	case excused:
		return "Nothing to do: the policy lets it pass. The table says who decided so."
	case exposed:
		return "It cannot be used any more. The check passes when it is no longer in the file; " +
			"the history needs no rewriting."
	}
	return "Nothing to do."
}

// incidents names the incidents, for those who may look them up.
func incidents(leaks []Leak) string {
	var ids []string
	for _, l := range leaks {
		if l.Incident != "" && !slices.Contains(ids, l.Incident) && len(ids) < maxRows {
			ids = append(ids, l.Incident)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	for i, id := range ids {
		ids[i] = code(id)
	}
	return " under " + strings.Join(ids, ", ")
}

// otherwise is what a person may do about credentials that nobody could verify,
// instead of replacing them.
func otherwise(leaks []Leak) string {
	switch {
	case slices.ContainsFunc(leaks, Leak.dismissable):
		return "; if it is no secret, press “Not a secret”"
	case slices.ContainsFunc(leaks, Leak.bypassable):
		return "; if the merge cannot wait, press “Ask for bypass”"
	}
	return ""
}

// firstAsked is the first request that waits for a second person.
func firstAsked(leaks []Leak) *Request {
	for _, l := range leaks {
		if len(l.Asked) > 0 {
			return &l.Asked[0]
		}
	}
	return nil
}

// nextStep says what a second person does.
func (r Request) nextStep() string {
	button := map[string]string{verbRotate: "Confirm rotation", verbRevoke: "Confirm revocation", verbBypass: "Approve bypass"}[r.Verb]
	return fmt.Sprintf("%s asked for %s%s. Waiting for a second person: one with the permission, who is not %[1]s, presses “%[4]s” by %[5]s.",
		plain(r.By), deed(r.Verb), because(r.Reason), button, r.Until.UTC().Format(time.DateOnly))
}

// deed is what a verb asks for.
func deed(verb string) string {
	return map[string]string{verbRotate: "a rotation", verbRevoke: "a revocation", verbBypass: "a bypass"}[verb]
}

// because is the reason that somebody gave, which may be none.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": “" + plain(shorten(reason)) + "”"
}

// findings is the table of the leaks, worst first.
func (s Scan) findings(leaks []Leak) string {
	if len(leaks) == 0 {
		return ""
	}
	leaks = slices.Clone(leaks)
	slices.SortStableFunc(leaks, func(a, b Leak) int { return int(s.phase(a)) - int(s.phase(b)) })
	var b strings.Builder
	b.WriteString("| # | Credential | Place | Validity | What it can do | What has been done |\n|--:|---|---|---|---|---|\n")
	for _, l := range leaks[:min(len(leaks), maxRows)] {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n",
			number(l), plain(kind(l.Finding)), placeIn(l), s.validity(l), s.reach(l), s.done(l))
	}
	if more := len(leaks) - maxRows; more > 0 {
		fmt.Fprintf(&b, "\nand %d more: %s.\n", more, elsewhere(len(leaks)))
	}
	return b.String() + "\n"
}

// elsewhere says where the findings are that the table does not show.
func elsewhere(leaks int) string {
	if leaks <= MaxAnnotations {
		return "see the annotations"
	}
	return fmt.Sprintf("see the annotations of the first %d; “stanch scan --git” lists all", MaxAnnotations)
}

func place(l Leak) string {
	return code(fmt.Sprintf("%s:%d", shorten(l.Path), l.Line))
}

// placeIn is the place with the commit that added it.
func placeIn(l Leak) string {
	if l.Commit == "" {
		return place(l)
	}
	return place(l) + " in " + commit(l.Commit)
}

func number(l Leak) string {
	if l.Number == 0 {
		return "–"
	}
	return strconv.Itoa(l.Number)
}

// reach is what the credential can do, or could. It is not for the public, whatever
// has become of it: what replaces it can do the same.
func (s Scan) reach(l Leak) string {
	switch {
	case s.Public || l.phase() >= neverLive:
		return "–"
	case l.Reach == "":
		return "not known"
	}
	return plain(shorten(l.Reach))
}

func commit(id string) string {
	if id == "" {
		return "–"
	}
	return code(short(id))
}

// validity is what the provider says, as far as the reader may know it.
func (s Scan) validity(l Leak) string {
	switch p := s.phase(l); {
	case p == exposed || p == gone:
		return "dead"
	case p == hidden:
		return "–"
	case p == contained:
		return "revoked"
	case p == excused && l.proved():
		return "dead"
	case l.Validity == checks.Unverified:
		return "not asked"
	}
	return plain(string(l.Validity))
}

// done says what has happened to a leak, and what a person must do.
func (s Scan) done(l Leak) string {
	switch p := s.phase(l); {
	case p == hidden:
		return "Reported to the maintainers"
	case p == exposed || p == gone:
		return s.fate(l)
	case p == bypassed:
		return s.bypassed(*l.Bypass)
	case p == dismissed:
		return "Dismissed: " + plain(l.Resolution) + s.because(l)
	case p == excused && l.proved():
		return s.fate(l) + "; allowed: " + s.excuse(l)
	case p == excused:
		return "Allowed: " + s.excuse(l)
	case p == neverLive:
		return "Nothing to do: it does not work"
	case p == stuck:
		return l.need()
	case p == contained:
		return "Revoked" + stored(l) + "; proof pending"
	case len(l.Asked) > 0:
		return l.waiting()
	case l.Actionable:
		return "Waiting for a decision"
	case p == live:
		return "Found live" + underway([]Leak{l})
	}
	return "Found"
}

// fate says how a dead credential died. Where the new one is kept, and what is
// still to do there, is not for the public.
func (s Scan) fate(l Leak) string {
	fate := l.death()
	if !s.Public {
		fate += stored(l)
	}
	if l.InTip {
		fate += "; still in the file"
	}
	if l.Stuck != "" && !s.Public {
		fate += "; to do: " + plain(l.Stuck)
	}
	return fate
}

// bypassed says who answers for it. Reasons are for colleagues, not for the public.
func (s Scan) bypassed(b Bypass) string {
	text := fmt.Sprintf("Bypassed by %s until %s", plain(b.By), b.Until.UTC().Format("2006-01-02 15:04 MST"))
	if b.Approver != "" {
		text += ", approved by " + plain(b.Approver)
	}
	if s.Public {
		return text
	}
	return text + because(b.Reason)
}

// because says who dismissed it, and why.
func (s Scan) because(l Leak) string {
	if l.Conclusion != Success || l.Why == "" || s.Public {
		return ""
	}
	return ", by " + s.excuse(l)
}

// excuse says who lets it pass, and why. Reasons are for colleagues.
func (s Scan) excuse(l Leak) string {
	if l.Reason == "" || s.Public {
		return plain(l.Why)
	}
	return plain(l.Why + ": " + l.Reason)
}

// waiting names what was asked for and by whom.
func (l Leak) waiting() string {
	var texts []string
	for _, r := range l.Asked {
		texts = append(texts, fmt.Sprintf("%s, asked for by %s%s", deed(r.Verb), plain(r.By), because(r.Reason)))
	}
	return "Waiting for a second person: " + strings.Join(texts, "; ")
}

func (l Leak) need() string {
	if l.Stuck == "" {
		return "A person must act"
	}
	return "To do: " + plain(l.Stuck)
}

func stored(l Leak) string {
	if l.Stored == "" {
		return ""
	}
	return "; the new one is in " + code(shorten(l.Stored))
}

// proofs lists how the providers refused what is dead, each credential once.
func (s Scan) proofs() string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, l := range s.Leaks {
		if l.Proof == "" || !l.proved() || seen[l.Proof] || len(seen) == maxRows {
			continue
		}
		seen[l.Proof] = true
		fmt.Fprintf(&b, "- %s: %s\n", place(l), plain(cutRunes(l.Proof, maxProblem)))
	}
	if b.Len() == 0 {
		return ""
	}
	return "#### Proof of death\n\n" + b.String() + "\n"
}

// timelines tells when each credential that was live passed which stage. In public
// they are told of what is dead alone.
func (s Scan) timelines() string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, l := range s.Leaks {
		if l.Timeline == "" || seen[l.Incident] || len(seen) == maxRows || !l.proved() && (s.Public || l.Validity != checks.Active) {
			continue
		}
		seen[l.Incident] = true
		fmt.Fprintf(&b, "- %s: %s\n", place(l), l.Timeline) // our own words alone
	}
	if b.Len() == 0 {
		return ""
	}
	return "#### Time to dead\n\n" + b.String() + "\n"
}

// runbooks tells for each kind of leak what a person does when no program can.
// Rules are the operator's own words: they may hold links.
func (s Scan) runbooks() string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, l := range s.Leaks {
		if l.Rule == nil || l.Rule.Runbook == "" || seen[l.Rule.ID] || l.phase() >= exposed {
			continue
		}
		seen[l.Rule.ID] = true
		fmt.Fprintf(&b, "**%s**\n\n%s\n\n", plain(l.Rule.Title), strings.TrimSpace(l.Rule.Runbook))
	}
	if b.Len() == 0 {
		return ""
	}
	return "#### By hand\n\n" + b.String()
}
