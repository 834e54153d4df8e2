package app

import (
	"encoding/json"
	"testing"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/rules"
)

// What a credential can do sets how bad it is, and a policy overrules that.
func TestSeverityFollowsReach(t *testing.T) {
	a := &App{rules: map[string]*rules.Rule{"acme-token": {ID: "acme-token", Severity: rules.High}}}
	of := func(r *provider.Radius, p Policy) rules.Severity {
		evidence, err := json.Marshal(provider.Evidence{Radius: r})
		if err != nil {
			t.Fatal(err)
		}
		rule, err := a.ruleOf(store.Incident{Incident: incident.Incident{Rule: "acme-token"}, Evidence: evidence}, judgement{Policy: p})
		if err != nil {
			t.Fatal(err)
		}
		return rule.Severity
	}
	for _, test := range []struct {
		radius *provider.Radius
		want   rules.Severity
	}{
		{nil, rules.High},
		{&provider.Radius{Owner: "ada"}, rules.High},
		{&provider.Radius{Access: rules.AccessRead}, rules.Medium},
		{&provider.Radius{Access: rules.AccessWrite}, rules.High},
		{&provider.Radius{Access: rules.AccessAdmin}, rules.Critical},
	} {
		if got := of(test.radius, Policy{}); got != test.want {
			t.Errorf("%+v: %s, want %s", test.radius, got, test.want)
		}
	}
	p := Policy{Rules: map[string]RulePolicy{"acme-token": {Severity: rules.Low}}}
	if got := of(&provider.Radius{Access: rules.AccessAdmin}, p); got != rules.Low {
		t.Errorf("a policy that says low: %s", got)
	}
	if a.rules["acme-token"].Severity != rules.High {
		t.Error("the catalogue's rule was changed")
	}
}
