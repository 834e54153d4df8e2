package provider

import (
	"testing"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

func TestCallsTellWhatIsSent(t *testing.T) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{
		Catalogue: catalogue, BaseURLs: map[string]string{"github": "http://127.0.0.1:1/api/v3/"},
		VaultAddr: "http://127.0.0.1:2", VaultToken: checks.NewSecret("own"), VaultIssueRole: "issue",
		BrokerURL: "http://127.0.0.1:3/broker", BrokerToken: checks.NewSecret("broker"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for rule, want := range map[string]Calls{
		"github-pat": {Verify: "GET http://127.0.0.1:1/api/v3/user", Revoke: "POST http://127.0.0.1:1/api/v3/credentials/revoke", Issue: "POST http://127.0.0.1:3/broker"},
		"vault-service-token": {Verify: "GET http://127.0.0.1:2/v1/auth/token/lookup-self", Revoke: "POST http://127.0.0.1:2/v1/auth/token/revoke-self",
			Issue: "POST http://127.0.0.1:2/v1/auth/token/create/issue"},
		"no-such-rule": {},
	} {
		if got := p.Calls(rule); got != want {
			t.Errorf("%s: %+v, want %+v", rule, got, want)
		}
	}
	for _, r := range catalogue {
		can, calls := p.Can(r.ID), p.Calls(r.ID)
		if can.Verify != (calls.Verify != "") || can.Revoke != (calls.Revoke != "") || can.Issue != (calls.Issue != "") ||
			can.Reversible != (calls.Disable != "") || can.Reversible != (calls.Enable != "") {
			t.Errorf("%s can %+v, and its calls are %+v", r.ID, can, calls)
		}
	}
}
