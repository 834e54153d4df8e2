package main

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stanch-dev/stanch/app/ownaws/awstest"
	"github.com/stanch-dev/stanch/checks"
)

// A crashAWS is AWS with Stanch as a user there.
type crashAWS struct {
	*awstest.Server
	id, secret string
	n          atomic.Int64
}

func newCrashAWS(t *testing.T) *crashAWS {
	a := &crashAWS{Server: awstest.Start(t)}
	a.User("stanch")
	a.id, a.secret = a.Key("stanch")
	return a
}

func (a *crashAWS) env(via func(string) string) (env []string) {
	variables := awstest.Environment(a.id, a.secret)
	variables["AWS_ENDPOINT_URL"] = via(a.URL)
	for name, value := range variables {
		env = append(env, name+"="+value)
	}
	return append(env, "STANCH_AWS=on", "STANCH_AWS_SECRETS="+awstest.Region)
}

// awsKeys are access keys of users.
type awsKeys struct{ *crashAWS }

func (k awsKeys) begin(*testing.T) crashCase {
	c := &awsKey{aws: k.crashAWS, user: fmt.Sprintf("job%d", k.n.Add(1))}
	k.User(c.user)
	c.id, c.key = k.Key(c.user)
	return c
}

type awsKey struct {
	aws           *crashAWS
	user, id, key string
}

func (c *awsKey) stored() map[string]string { return map[string]string{"id": c.id, "token": c.key} }
func (c *awsKey) rule() string              { return "aws-access-key" }
func (c *awsKey) secret() string            { return c.key }
func (c *awsKey) leakedWorks() bool         { return c.aws.STS.Works(c.id, c.key) }
func (c *awsKey) works(fields map[string]string) bool {
	return c.aws.STS.Works(fields["id"], fields["token"])
}
func (c *awsKey) live() int { return len(c.aws.Keys(c.user)) }

func (c *awsKey) leak() string {
	return "AWS_ACCESS_KEY_ID=" + c.id + " AWS_SECRET_ACCESS_KEY=" + c.key
}

func (c *awsKey) env(via func(string) string) []string {
	return append(c.aws.env(via), "STANCH_PROVIDER_URLS=aws:"+via(c.aws.URL))
}

// inAWS is Secrets Manager.
type inAWS struct{ *crashAWS }

func (s inAWS) begin(t *testing.T, _ string, _ checks.FingerprintKey) crashPlace {
	p := &awsPlace{s.crashAWS, fmt.Sprintf("ci/job%d", s.n.Add(1))}
	t.Cleanup(func() { // or every later case would read it
		s.Secrets("DeleteSecret", map[string]any{"SecretId": p.name, "ForceDeleteWithoutRecovery": true})
	})
	return p
}

type awsPlace struct {
	*crashAWS
	name string
}

func (p *awsPlace) put(fields map[string]string) {
	text, _ := json.Marshal(fields) // texts can always be
	p.Secrets("CreateSecret", map[string]any{"Name": p.name, "SecretString": string(text)})
}

func (p *awsPlace) fields() map[string]string {
	fields := map[string]string{}
	text, _ := p.Secrets("GetSecretValue", map[string]any{"SecretId": p.name, "VersionStage": "AWSCURRENT"})["SecretString"].(string)
	json.Unmarshal([]byte(text), &fields) // what is not read does not work
	return fields
}
