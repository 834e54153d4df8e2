package report

import (
	"fmt"
	"time"
)

// Count writes "1 live credential" and "2 live credentials".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// elapsed writes a duration as people say it.
func elapsed(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.1f s", max(d.Seconds(), 0.1))
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(time.Second).Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Round(time.Hour).Hours()))
}

// Size writes a number of bytes as people say it: "4.5 MB".
func Size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000*1000*1000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// short is a commit's id as people read it. What is no id stays as it is.
func short(commit string) string {
	const shown = 7 // as git shows it
	if len(commit) != 40 && len(commit) != 64 {
		return commit
	}
	return commit[:shown]
}

// death says how the credential died and when.
func (l Leak) death() string { return l.ended() + " and proved dead" + l.after() }

// ended says what was done to the credential that is dead.
func (l Leak) ended() string {
	if l.Resolution == resolvedRotated || l.Stored != "" {
		return "Rotated"
	}
	return "Revoked"
}

func (l Leak) after() string {
	if l.DeadAfter <= 0 {
		return ""
	}
	return " after " + elapsed(l.DeadAfter)
}

// title is the check's one line: the state in about five words, for a list of checks
// cuts off what is longer.
func (s Scan) title() string {
	worst, leaks := s.worst()
	switch {
	case s.Progress.Of > 0 && worst.passes() && s.Problem == "":
		return "Scanning: " + s.Progress.String()
	case !s.complete() && worst.passes():
		return "Could not scan everything"
	case !s.complete():
		return leakTitle(worst, leaks) + "; scan incomplete"
	case len(s.PolicyProblems) > 0 && worst.passes():
		return "A policy file must be mended"
	case len(s.Leaks) == 0:
		return "No credentials found"
	case worst == exposed:
		return leakTitle(worst, leaks) + "; remove it"
	}
	return leakTitle(worst, leaks)
}

// leakTitle says where the worst of the leaks stand.
func leakTitle(p phase, leaks []Leak) string {
	n := len(leaks)
	switch {
	case p == hidden:
		return Count(n, "credential") + " found"
	case p == stuck:
		return Count(n, "credential") + ": a person must act"
	case p == live:
		return Count(n, "live credential") + underway(leaks)
	case p == contained:
		return Count(n, "credential") + " revoked, proof pending"
	case p == unverified:
		return Count(n, "credential") + " found, validity unknown"
	case p == excused:
		return Count(n, "finding") + ", allowed by the policy"
	case p == neverLive:
		return Count(n, "credential") + " found, not live"
	case p == dismissed:
		return Count(n, "finding") + ", dismissed as no secret"
	case p == bypassed:
		return leaks[0].Bypass.title()
	case n == 1:
		return leaks[0].ended() + ", dead" + leaks[0].after()
	}
	return Count(n, "credential") + " proved dead"
}

func (b Bypass) title() string {
	return fmt.Sprintf("Bypassed by %s until %s", Printable(b.By), b.Until.UTC().Format(time.DateOnly))
}

// underway says what is being done about live credentials.
func underway(leaks []Leak) string {
	rotate, revoke := true, true
	for _, l := range leaks {
		switch {
		case l.Actionable && len(l.Asked) > 0:
			return ", second person needed"
		case l.Actionable:
			return ", decision needed"
		}
		rotate, revoke = rotate && l.CanRotate, revoke && l.CanRevoke
	}
	switch {
	case rotate:
		return ", being rotated"
	case revoke:
		return ", being revoked"
	}
	return ""
}
