package provider

import (
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/rules"
)

func (p *Providers) whyNoVerify(rule *rules.Rule) string {
	if v := p.verifier(rule); v != nil {
		return p.closed(rule, v)
	}
	return whyNot("verify", rule.Verify)
}

func (p *Providers) whyNoRevoke(rule *rules.Rule) string {
	if p.engineOf(rule) != nil {
		return ""
	}
	return p.whyNoDriverRevokes(rule)
}

// whyNoDriverRevokes is why what no engine keeps is not revoked.
func (p *Providers) whyNoDriverRevokes(rule *rules.Rule) string {
	if r := p.revokers[rule.Revoke.DriverName()]; r != nil {
		return r.whyNoRevoke(rule)
	}
	return whyNot("revoke", rule.Revoke)
}

func (p *Providers) whyNoIssue(rule *rules.Rule) string {
	if p.engineOf(rule) != nil {
		return ""
	}
	return p.whyNoDriverIssues(rule)
}

// whyNoDriverIssues is why what no engine keeps is not replaced.
func (p *Providers) whyNoDriverIssues(rule *rules.Rule) string {
	if i := p.issuers[rule.Issue.DriverName()]; i != nil {
		return i.whyNoIssue(rule)
	}
	return whyNot("issue", rule.Issue)
}

// whyNot says why nothing here does an action.
func whyNot(verb string, action rules.Action) string {
	name := action.DriverName()
	switch {
	case action.Because != "":
		return fmt.Sprintf("%s: %s", verb, action.Because)
	case name == driverManual:
		return verb + ": a person does it, see the runbook"
	case name == "-":
		return verb + ": there is no way for this kind"
	}
	return fmt.Sprintf("%s: this build has no driver %q", verb, name)
}

// joinReasons joins what there is, each reason once.
func joinReasons(reasons []string) string {
	var all []string
	seen := map[string]bool{"": true}
	for _, r := range reasons {
		if !seen[r] {
			seen[r] = true
			all = append(all, r)
		}
	}
	return strings.Join(all, "; ")
}
