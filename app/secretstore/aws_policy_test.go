package secretstore

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/ownaws/awstest"
)

// allow gives Stanch a policy and no other right. Moto does not know which secret a
// request is about, so all of them are meant.
func (m *manager) allow(policy grants.Policy) {
	m.t.Helper()
	var statements []map[string]any
	for _, line := range policy.Lines {
		var s map[string]any
		if err := json.Unmarshal([]byte(line.Grant), &s); err != nil {
			m.t.Fatalf("%s: %v", line.Grant, err)
		}
		s["Resource"] = "*"
		delete(s, "Condition") // moto knows no keys of KMS
		statements = append(statements, s)
	}
	document, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		m.t.Fatal(err)
	}
	m.IAM("PutUserPolicy", "UserName", "stanch", "PolicyName", "stanch", "PolicyDocument", string(document))
}

// What the policy says is enough for each action, and none of it can be left out.
func TestAWSPolicy(t *testing.T) {
	m := newManager(t)
	policy := AWSPolicy(awstest.Account, awstest.Region, "us-east-1")
	for n := -1; n < len(policy.Lines); n++ {
		name, granted := "all", policy
		if n >= 0 {
			name, granted = policy.Lines[n].Grant, policy.Without(n)
		}
		t.Run(name, func(t *testing.T) {
			m.under(t)
			m.AskRights(false)
			m.allow(granted)
			failed := actAll(t, m)
			switch optional := n < 0 || policy.Lines[n].Optional; {
			case optional && len(failed) > 0:
				t.Errorf("not enough: %v", failed)
			case !optional && len(failed) == 0:
				t.Error("nothing needs it")
			}
			for action, err := range failed {
				_, lacks, _ := strings.Cut(err.Error(), "does not let Stanch do ")
				lacks, _, found := strings.Cut(lacks, ": allow")
				if n < 0 || !found || !strings.Contains(policy.Lines[n].Grant, `"`+lacks+`"`) {
					t.Errorf("%s: %v", action, err)
				}
			}
			if said := strings.Join(slices.Sorted(maps.Keys(failed)), ", "); n >= 0 && !policy.Lines[n].Optional && said != policy.Lines[n].For {
				t.Errorf("without it fails %s, and its line says that it is for: %s", said, policy.Lines[n].For)
			}
			m.AskRights(false)
		})
	}
}

// actAll does all that can be done with a store, and returns what failed.
func actAll(t *testing.T, m *manager) map[string]error {
	t.Helper()
	failed := map[string]error{}
	note := func(action string, err error) {
		if err != nil {
			failed[action] = err
		}
	}
	name := "policy/" + string(fingerprint(fresh()))[:12]
	value := fresh()
	made := m.Secrets("CreateSecret", map[string]any{"Name": name, "SecretString": `{"token":"` + value.Expose() + `"}`})
	one := m.at(name, "token", Version(made["VersionId"].(string)))
	made = m.Secrets("PutSecretValue", map[string]any{"SecretId": name, "SecretString": `{"token":"` + fresh().Expose() + `"}`})
	two := m.at(name, "token", Version(made["VersionId"].(string)))
	s := m.store(AWSConfig{})
	m.AskRights(true)
	_, err := s.Locate(t.Context(), fingerprint(value))
	note("locate", err)
	_, err = s.History(t.Context(), two)
	note("history", err)
	_, err = s.Restore(t.Context(), one, "op-restore")
	note("restore", err)
	m.AskRights(false)
	now := m.at(name, "token", Version(m.stages(name)[awsCurrent]))
	m.AskRights(true)
	_, err = putOne(t.Context(), s, now, fresh(), "op-put")
	note("put", err)
	m.AskRights(false)
	old := m.at(name, "token", Version(m.stages(name)["AWSPREVIOUS"]))
	m.AskRights(true)
	note("retire", s.Retire(t.Context(), old))
	_, err = putOne(t.Context(), s, m.at(name+"-new", "token", ""), fresh(), "op-adopt")
	note("adopt", err)
	m.AskRights(false)
	return failed
}
