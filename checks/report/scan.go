package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A Scan is what is known about one head commit: what was looked at, what was
// found, and what has been done about it since.
type Scan struct {
	Repository string // "owner/name"
	HeadSHA    string
	// Public says that everybody can read the repository, and so the check too.
	Public   bool
	Coverage []checks.Coverage
	Leaks    []Leak
	Problem  string // why it could not be scanned; empty when it could
	Progress Progress
	// PolicyProblems are what is wrong with the files that say how findings are judged.
	// The check does not pass as if all were well, but nothing is stopped: the change that
	// mends the file must get through.
	PolicyProblems []string
	Notes          []string // what is worth knowing besides, and how much is not shown
	NoComment      bool     // the policy wants none
	AllowFile      string   // the repository's allowlist
	// NoFile is the path of findings that stand in no file, but in a message.
	NoFile string
	// Commands says that the commit is a pull request's head, on which people can
	// give commands in comments.
	Commands bool
	Details  string // the address of the page that tells more; empty without one
}

// Progress is how far the scan of a long range has come. Of is zero when nothing is
// being scanned.
type Progress struct{ Done, Of int }

func (p Progress) String() string { return fmt.Sprintf("%d of %s", p.Done, Count(p.Of, "commit")) }

// A Leak is one finding with its incident as far as it has come.
type Leak struct {
	checks.Finding      // Validity is what the provider said when first asked
	InTip          bool // the file still holds it at the head commit

	Number     int    // names the credential in commands, 1 for the first of the check
	Incident   string // the incident's id
	State      LeakState
	Resolution string        // one of GitHub's resolutions, or "rotated"
	DeadAfter  time.Duration // from the push to the proof of death
	Timeline   string        // how far it has come, and when, in one line
	Stored     string        // where its replacement is: "vault: kv/ci/deploy, field token, version 4"
	Proof      string        // how the provider refused it, with the time
	Reach      string        // what it can do, in its provider's words
	Stuck      string        // what a person must do before anything goes on

	Actionable bool // a person may press a button now
	CanRotate  bool
	CanRevoke  bool
	CanDismiss bool // a person may say that it is no secret

	// Conclusion is what it does to the check unless it is live: Failure when empty. Why
	// says who decided that, and Reason why.
	Conclusion Conclusion
	Why        string
	Reason     string
	// AllowID names it in the repository's allowlist.
	AllowID   checks.AllowID
	CanBypass bool // a person may ask to merge all the same

	Asked  []Request // what waits for a second person
	Bypass *Bypass   // nil when there is none
}

// A Request is what one person asked for and another one must agree to.
type Request struct {
	Verb   string // "rotate", "revoke" or "bypass"
	By     string // who asked
	Reason string
	Until  time.Time // when nobody can agree any more
}

// The verbs of requests.
const (
	verbRotate = "rotate"
	verbRevoke = "revoke"
	verbBypass = "bypass"
)

// A Bypass lets a commit pass with a credential that is not known to be live.
type Bypass struct {
	By       string
	Approver string // empty when nobody had to agree
	Reason   string
	Until    time.Time
}

// LeakState is how far the incident of a leak has come.
type LeakState string

// The states. The first five are the incident's own.
const (
	StateOpen       LeakState = "open"
	StateContained  LeakState = "contained"
	StateRotated    LeakState = "rotated"
	StateProvedDead LeakState = "proved_dead"
	StateResolved   LeakState = "resolved"
	StateStuck      LeakState = "stuck"
)

// The resolutions that matter to a check.
const (
	resolvedRotated       = "rotated"
	resolvedRevoked       = "revoked"
	resolvedFalsePositive = "false_positive"
	resolvedUsedInTests   = "used_in_tests"
	resolvedWontFix       = "wont_fix"
	// RevokedOnWord is what somebody says of a credential about which nobody can be asked.
	RevokedOnWord = "revoked, on a person’s word"
)

// dismissals are the resolutions behind which stands somebody's word and no proof.
var dismissals = []string{resolvedFalsePositive, resolvedUsedInTests, resolvedWontFix, RevokedOnWord}

// phase is what a leak means to the reader of a check. Smaller is worse.
type phase int

const (
	hidden     phase = iota // not known to be dead, and everybody reads along
	stuck                   // a person must act before anything goes on
	live                    // it works, and nothing has happened to it
	contained               // it was revoked; the proof is missing
	unverified              // nobody could tell whether it works
	exposed                 // dead, but still in the file
	bypassed                // somebody answers for it until a certain time
	excused                 // the policy or a list says that it stops nothing
	gone                    // dead and out of the file
	neverLive               // it did not work when it was first seen
	dismissed               // somebody said that nothing has to be done
)

// phase judges the leak, as far as the policy and people let it stop anything.
// Nothing excuses what is live, or was and is not proved dead.
func (l Leak) phase() phase {
	p := l.standing()
	switch {
	case l.excusable(p) && (l.Conclusion == Neutral || l.Conclusion == Success):
		return excused
	case l.Bypass != nil && !p.passes() && (l.Validity != checks.Active || l.proved()):
		return bypassed
	}
	return p
}

// excusable says that a policy may let pass a leak that stands like that.
func (l Leak) excusable(p phase) bool {
	return p == exposed || (p == unverified || p == stuck) && l.Validity != checks.Active &&
		l.State != StateContained && l.State != StateRotated
}

// standing is where the leak stands whatever a policy or a bypass says. A live
// credential overrules whoever dismissed it, and only a proof makes a live one dead.
func (l Leak) standing() phase {
	switch {
	case l.proved() && l.InTip:
		return exposed
	case l.proved():
		return gone
	case l.State == StateStuck || l.Stuck != "":
		return stuck
	case l.State == StateContained || l.State == StateRotated:
		return contained
	case l.Validity == checks.Active:
		return live
	case slices.Contains(dismissals, l.Resolution):
		return dismissed
	case l.Validity == checks.Inactive:
		return neverLive
	}
	return unverified
}

// proved says that the provider refused the credential after it was revoked.
func (l Leak) proved() bool {
	return l.State == StateProvedDead ||
		l.State == StateResolved && (l.Resolution == resolvedRotated || l.Resolution == resolvedRevoked)
}

// wasLive says that the credential worked when it was found.
func (l Leak) wasLive() bool {
	return l.Validity == checks.Active || l.State == StateStuck || l.proved() || l.standing() == contained
}

// dismissable says that a person may call it no secret: it fails the check, and
// the provider never said that it works.
func (l Leak) dismissable() bool {
	p := l.phase()
	return l.CanDismiss && l.Validity != checks.Active && (p == unverified || p == stuck)
}

// asked returns the request with a verb, nil when nobody asked for that.
func (l Leak) asked(verb string) *Request {
	i := slices.IndexFunc(l.Asked, func(r Request) bool { return r.Verb == verb })
	if i < 0 {
		return nil
	}
	return &l.Asked[i]
}

// passes says that the phase is no reason to stop a merge: the secret never
// worked, is none, is excused, is dead and out of the file, or somebody answers for it.
func (p phase) passes() bool { return p >= bypassed }

// kind is the title of what was found, as people write it.
func kind(f checks.Finding) string {
	if f.Rule == nil {
		return "Secret"
	}
	return f.Rule.Title
}

// severity is the severity of what was found.
func severity(f checks.Finding) rules.Severity {
	if f.Rule == nil {
		return rules.High
	}
	return f.Rule.Severity
}

// complete says that all was scanned that had to be. Nothing scanned is not all.
func (s Scan) complete() bool {
	return s.Problem == "" && s.Progress.Of == 0 && len(s.Coverage) > 0 &&
		!slices.ContainsFunc(s.Coverage, func(c checks.Coverage) bool { return !c.Complete() })
}

// phase is the leak's phase as far as the readers of the check may know it. In
// public all that is not dead looks alike: what is shown does not help a thief.
func (s Scan) phase(l Leak) phase {
	if p := l.phase(); !s.Public || p >= exposed {
		return p
	}
	return hidden
}

// worst is the worst phase among the leaks, and the leaks that are in it.
func (s Scan) worst() (phase, []Leak) {
	worst := dismissed
	for _, l := range s.Leaks {
		worst = min(worst, s.phase(l))
	}
	var in []Leak
	for _, l := range s.Leaks {
		if s.phase(l) == worst {
			in = append(in, l)
		}
	}
	return worst, in
}

// conclusion is never Success for what was not scanned, and a hole in the scan
// never hides a leak. It is not Success either where a policy wants a person to look.
func (s Scan) conclusion() Conclusion {
	worst, _ := s.worst()
	neutral := func(l Leak) bool { return l.phase() == excused && l.Conclusion == Neutral }
	switch {
	case !worst.passes():
		return Failure
	case !s.complete():
		return ActionRequired
	case worst == bypassed, len(s.PolicyProblems) > 0, slices.ContainsFunc(s.Leaks, neutral):
		return Neutral
	}
	return Success
}
