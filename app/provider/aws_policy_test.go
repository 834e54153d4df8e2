package provider

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/ownaws/awstest"
)

// allow gives Stanch a policy and no other right. Moto does not know which resource a
// request is about, so all of them are meant.
func (w *awsWorld) allow(policy grants.Policy) {
	w.t.Helper()
	var statements []map[string]string
	cloudtrail := false
	for _, line := range policy.Lines {
		var s map[string]string
		if err := json.Unmarshal([]byte(line.Grant), &s); err != nil {
			w.t.Fatal(err)
		}
		s["Resource"] = "*"
		statements = append(statements, s)
		cloudtrail = cloudtrail || strings.Contains(line.Grant, `"cloudtrail:LookupEvents"`)
	}
	document, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		w.t.Fatal(err)
	}
	w.AskRights(false)
	w.IAM("PutUserPolicy", "UserName", "stanch", "PolicyName", "stanch", "PolicyDocument", string(document))
	// The front's own part has its rights asked for here.
	w.On("LookupEvents", nil)
	if !cloudtrail {
		w.On("LookupEvents", func(rw http.ResponseWriter, _ *http.Request) {
			answer(rw, 400, "application/x-amz-json-1.1", `{"__type":"AccessDeniedException","Message":"User stanch is not authorized to perform: cloudtrail:LookupEvents"}`)
		})
	}
}

// What the policy says is enough for each action, and none of it can be left out.
func TestAWSPolicy(t *testing.T) {
	w := newAWSWorld(t)
	w.IAM("CreateRole", "RoleName", "deployer", "AssumeRolePolicyDocument", "{}")
	policy := AWSPolicy("*")
	for n := -1; n < len(policy.Lines); n++ {
		name, lacks, granted := "all", "", policy
		if n >= 0 {
			var line struct{ Action string }
			if err := json.Unmarshal([]byte(policy.Lines[n].Grant), &line); err != nil {
				t.Fatal(err)
			}
			name, lacks, granted = line.Action, line.Action, policy.Without(n)
		}
		t.Run(name, func(t *testing.T) {
			w.under(t)
			p := w.providers(Config{}) // with a rate of its own
			w.AskRights(false)
			user := fmt.Sprintf("leaky%d", n+1)
			w.User(user)
			old := w.leak(p, user)
			w.allow(granted)
			w.AskRights(true)
			failed := actAll(t, p, old)
			optional := n >= 0 && policy.Lines[n].Optional
			switch {
			case (lacks == "" || optional) && len(failed) > 0:
				t.Errorf("not enough: %v", failed)
			case lacks != "" && !optional && len(failed) == 0:
				t.Errorf("nothing needs %s", lacks)
			}
			for action, err := range failed {
				if !strings.Contains(err.Error(), "does not let Stanch do "+lacks+":") {
					t.Errorf("%s: %v; want it to name %s", action, err, lacks)
				}
			}
			if said := slices.Sorted(maps.Keys(failed)); n >= 0 && !optional && strings.Join(said, ", ") != policy.Lines[n].For {
				t.Errorf("without %s fails %q, and its line says that it is for: %s", lacks, said, policy.Lines[n].For)
			}
		})
	}
}

// actAll does all that can be done to keys, and returns what failed.
func actAll(t *testing.T, p *Providers, old Target) map[string]error {
	t.Helper()
	failed := map[string]error{}
	note := func(action string, err error) {
		if err != nil {
			failed[action] = err
		}
	}
	session := Target{Credential: pair("ASIA"+idOf(t, awstest.Account)[4:], old.Secret().Expose(), "IQoJ"+"x"),
		Identity: map[string]string{"arn": "arn:aws:sts::" + awstest.Account + ":assumed-role/deployer/ci"}}
	_, _, err := replace(p, old, "op-policy")
	note("issue", err)
	_, err = p.Disable(t.Context(), old)
	note("disable", err)
	_, err = p.Enable(t.Context(), old)
	if failed["disable"] == nil {
		note("enable", err)
	}
	_, _, err = p.LastUse(t.Context(), old)
	note("last use", err)
	_, err = p.Revoke(t.Context(), old)
	note("revoke", err)
	_, err = p.Disable(t.Context(), session)
	note("disable a role's session", err)
	_, err = p.Enable(t.Context(), session)
	if failed["disable a role's session"] == nil {
		note("enable a role's session", err)
	}
	return failed
}

// A role in another account is assumed, by its name, where one is set; without it the
// other account's keys are left alone.
func TestAWSOtherAccount(t *testing.T) {
	w := newAWSWorld(t)
	id, secret := newKey(t, "AKIA")
	other := Target{Credential: pair(id, secret, ""), Identity: map[string]string{"arn": "arn:aws:iam::" + awsAccount(id) + ":user/shop"}}
	p := w.providers(Config{})
	_, err := p.Revoke(t.Context(), other)
	if err == nil || !strings.Contains(err.Error(), "STANCH_AWS_ROLE") || len(w.Requests("ListAccessKeys")) > 0 {
		t.Errorf("%v; asked %q", err, w.Requests("ListAccessKeys"))
	}
	p = w.providers(Config{}, "stanch")
	var acted []string
	w.On("ListAccessKeys", func(rw http.ResponseWriter, r *http.Request) {
		acted = append(acted, awstest.Between(r.Header.Get("Authorization"), "Credential=", "/"))
		answer(rw, 200, "text/xml", "<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata><member><UserName>shop</UserName><AccessKeyId>"+id+
			"</AccessKeyId><Status>Active</Status></member></AccessKeyMetadata><IsTruncated>false</IsTruncated></ListAccessKeysResult></ListAccessKeysResponse>")
	})
	deleted := ""
	w.On("DeleteAccessKey", func(rw http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		deleted = r.Form.Get("UserName") + " " + r.Form.Get("AccessKeyId")
		answer(rw, 200, "text/xml", "<DeleteAccessKeyResponse/>")
	})
	if _, err := p.Revoke(t.Context(), other); err != nil || deleted != "shop "+id {
		t.Errorf("deleted %q, %v", deleted, err)
	}
	if len(acted) == 0 || !strings.HasPrefix(acted[0], "ASIA") || awsAccount(acted[0]) != awsAccount(id) {
		t.Errorf("acted as %q, not by the role in account %s", acted, awsAccount(id))
	}
	_, err = w.providers(Config{AWSAccounts: []string{awstest.Account}}, "stanch").Revoke(t.Context(), other)
	if err == nil || !strings.Contains(err.Error(), "STANCH_AWS_ACCOUNTS") {
		t.Errorf("%v", err)
	}
	w.allow(AWSPolicy("*"))
	w.AskRights(true)
	_, err = w.providers(Config{}, "stanch").Revoke(t.Context(), other)
	if err == nil || !strings.Contains(err.Error(), "does not let Stanch do sts:AssumeRole:") {
		t.Errorf("%v; want it to name sts:AssumeRole", err)
	}
}
