package provider

import (
	"strings"

	"github.com/stanch-dev/stanch/rules"
)

// Calls say in words what is sent, and to whom, for what can be done about a kind of
// credential. What cannot be done is empty. Nothing in them is secret: placeholders
// stand as they stand in the catalogue.
type Calls struct {
	Verify, Disable, Enable, Revoke, Issue string
}

// A teller is a driver that can tell what it sends.
type teller interface {
	tell(*rules.Rule) Calls
}

// Calls tells what would be sent about a rule's credentials, as things are configured.
func (p *Providers) Calls(rule string) Calls {
	r, ok := p.rules[rule]
	if !ok {
		return Calls{}
	}
	var c Calls
	can := p.Can(rule)
	if can.Verify {
		c.Verify = callOf(p.verifiers[r.Verify.DriverName()], r, r.Verify, func(c Calls) string { return c.Verify })
	}
	if can.Revoke {
		driver := p.revokers[r.Revoke.DriverName()]
		c.Revoke = callOf(driver, r, r.Revoke, func(c Calls) string { return c.Revoke })
		if can.Reversible {
			c.Disable = callOf(driver, r, r.Revoke, func(c Calls) string { return c.Disable })
			c.Enable = callOf(driver, r, r.Revoke, func(c Calls) string { return c.Enable })
		}
	}
	if can.Issue {
		c.Issue = callOf(p.issuers[r.Issue.DriverName()], r, r.Issue, func(c Calls) string { return c.Issue })
	}
	return c
}

// callOf is what a driver tells of an action, or else its name.
func callOf(driver any, r *rules.Rule, action rules.Action, which func(Calls) string) string {
	if t, ok := driver.(teller); ok {
		if text := which(t.tell(r)); text != "" {
			return text
		}
	}
	return "the driver " + action.DriverName()
}

func (w *web) tell(rule *rules.Rule) Calls {
	call := func(action rules.Action) string {
		var all []string
		for _, step := range action.Steps() {
			base, _ := w.base(rule, step.Request)
			all = append(all, step.Request.Method+" "+base+step.Request.Path)
		}
		return strings.Join(all, ", then ")
	}
	return Calls{Verify: call(rule.Verify), Revoke: call(rule.Revoke)}
}

func (v *vault) tell(*rules.Rule) Calls {
	at := func(call string) string {
		method, path, _ := strings.Cut(call, " ")
		return method + " " + v.addr + path
	}
	return Calls{Verify: at(lookupSelf), Revoke: at(revokeSelf), Issue: at(v.createPath(tokenClass{}))}
}

func (b *broker) tell(*rules.Rule) Calls { return Calls{Issue: "POST " + b.url} }
