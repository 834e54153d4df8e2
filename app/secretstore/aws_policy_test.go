package secretstore

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/grants"
)

// iam is a request to moto's IAM, past the front.
func (m *moto) iam(action string, fields ...string) string {
	m.t.Helper()
	form := url.Values{"Version": {"2010-05-08"}, "Action": {action}}
	for n := 0; n < len(fields); n += 2 {
		form.Set(fields[n], fields[n+1])
	}
	req, _ := http.NewRequest("POST", m.base.String(), strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 {
		m.t.Fatalf("%s %q: %d %s", action, fields, resp.StatusCode, body)
	}
	return string(body)
}

func (m *moto) askRights(on bool) {
	m.t.Helper()
	after := "inf"
	if on {
		after = "0"
	}
	resp, err := http.Post(m.base.String()+"/moto-api/reset-auth", "text/plain", strings.NewReader(after))
	if err != nil || resp.StatusCode != 200 {
		m.t.Fatal(resp, err)
	}
	resp.Body.Close()
}

// allow gives Stanch a policy and no other right. Moto does not know which secret a
// request is about, so all of them are meant.
func (m *moto) allow(policy grants.Policy) {
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
	m.iam("PutUserPolicy", "UserName", "stanch", "PolicyName", "stanch", "PolicyDocument", string(document))
}

// What the policy says is enough for each action, and none of it can be left out.
func TestAWSPolicy(t *testing.T) {
	m := startMoto(t)
	m.iam("CreateUser", "UserName", "stanch")
	made := m.iam("CreateAccessKey", "UserName", "stanch")
	between := func(text, start, end string) string {
		_, rest, _ := strings.Cut(text, start)
		middle, _, _ := strings.Cut(rest, end)
		return middle
	}
	t.Setenv("AWS_ACCESS_KEY_ID", between(made, "<AccessKeyId>", "<"))
	t.Setenv("AWS_SECRET_ACCESS_KEY", between(made, "<SecretAccessKey>", "<"))
	policy := AWSPolicy("123456789012", motoRegion, "us-east-1")
	for n := -1; n < len(policy.Lines); n++ {
		name, granted := "all", policy
		if n >= 0 {
			name, granted = policy.Lines[n].Grant, policy.Without(n)
		}
		t.Run(name, func(t *testing.T) {
			m.t = t
			m.askRights(false)
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
				if n < 0 || !found || !strings.Contains(policy.Lines[n].Grant, `"`+lacks+`"`) || !strings.Contains(policy.Lines[n].For, action) {
					t.Errorf("%s: %v", action, err)
				}
			}
			m.askRights(false)
		})
	}
}

// actAll does all that can be done with a store, and returns what failed.
func actAll(t *testing.T, m *moto) map[string]error {
	t.Helper()
	failed := map[string]error{}
	note := func(action string, err error) {
		if err != nil {
			failed[action] = err
		}
	}
	name := "policy/" + string(fingerprint(fresh()))[:12]
	value := fresh()
	made := m.do("CreateSecret", map[string]any{"Name": name, "SecretString": `{"token":"` + value.Expose() + `"}`})
	one := m.at(name, "token", Version(made["VersionId"].(string)))
	made = m.do("PutSecretValue", map[string]any{"SecretId": name, "SecretString": `{"token":"` + fresh().Expose() + `"}`})
	two := m.at(name, "token", Version(made["VersionId"].(string)))
	s := m.store(AWSConfig{})
	m.askRights(true)
	_, err := s.Locate(t.Context(), fingerprint(value))
	note("locate", err)
	_, err = s.History(t.Context(), two)
	note("history", err)
	_, err = s.Restore(t.Context(), one, "op-restore")
	note("restore", err)
	m.askRights(false)
	now := m.at(name, "token", Version(m.stages(name)[awsCurrent]))
	m.askRights(true)
	_, err = putOne(t.Context(), s, now, fresh(), "op-put")
	note("put", err)
	m.askRights(false)
	old := m.at(name, "token", Version(m.stages(name)["AWSPREVIOUS"]))
	m.askRights(true)
	note("retire", s.Retire(t.Context(), old))
	_, err = putOne(t.Context(), s, m.at(name+"-new", "token", ""), fresh(), "op-adopt")
	note("adopt", err)
	m.askRights(false)
	return failed
}
