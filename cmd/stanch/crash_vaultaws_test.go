package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/secretstore/baotest"
)

// vaultAWSKeys are access keys that static roles of Vault's AWS engine give out.
type vaultAWSKeys struct {
	*crashVault
	aws *crashAWS
}

func newVaultAWSKeys(t *testing.T, aws *crashAWS) vaultAWSKeys {
	v := &crashVault{Server: baotest.StartAWS(t)}
	v.Policy("stanch", anyMount(t, filepath.Join("..", "..", "deploy", "vault", "stanch.hcl")))
	return vaultAWSKeys{v, aws}
}

func (k vaultAWSKeys) begin(t *testing.T) crashCase {
	n := k.n.Add(1)
	c := &vaultAWSKey{vaultAWSKeys: k, mount: fmt.Sprintf("aws%d", n), user: fmt.Sprintf("static%d", n)} // of its own: no other case's roles are asked
	engine := fmt.Sprintf("vault%d", n)
	k.aws.User(engine)
	k.aws.User(c.user)
	id, secret := k.aws.Key(engine)
	k.Must("POST", "sys/mounts/"+c.mount, map[string]any{"type": baotest.AWSEngine})
	t.Cleanup(func() { k.Do(k.Root, "DELETE", "sys/mounts/"+c.mount, nil) })
	k.Must("POST", c.mount+"/config/root", map[string]any{
		"access_key": id, "secret_key": secret, "region": "us-east-1", "iam_endpoint": k.aws.URL, "sts_endpoint": k.aws.URL, "sts_region": "us-east-1",
	})
	k.Must("POST", c.mount+"/static-roles/job", map[string]any{"username": c.user, "rotation_period": "24h"})
	given := k.Must("GET", c.mount+"/static-creds/job", nil)
	c.id, c.key = fmt.Sprint(given["access_key"]), fmt.Sprint(given["secret_key"])
	k.Policy(c.mount, strings.ReplaceAll(anyMount(t, filepath.Join("..", "..", "deploy", "vault", "stanch-aws.hcl")), "aws/", c.mount+"/"))
	c.own = k.Token(map[string]any{"policies": []string{"stanch", c.mount}})
	return c
}

type vaultAWSKey struct {
	vaultAWSKeys
	mount, user string
	own         string // Stanch's token
	id, key     string
}

func (c *vaultAWSKey) stored() map[string]string {
	return map[string]string{"id": c.id, "token": c.key}
}
func (c *vaultAWSKey) rule() string      { return "aws-access-key" }
func (c *vaultAWSKey) secret() string    { return c.key }
func (c *vaultAWSKey) leakedWorks() bool { return c.aws.STS.Works(c.id, c.key) }
func (c *vaultAWSKey) live() int         { return len(c.aws.Keys(c.user)) }
func (*vaultAWSKey) gap() string         { return "the role gives out one key" }

func (c *vaultAWSKey) leak() string {
	return "AWS_ACCESS_KEY_ID=" + c.id + " AWS_SECRET_ACCESS_KEY=" + c.key
}

// works asks AWS, and whether it is the key that the role gives out.
func (c *vaultAWSKey) works(fields map[string]string) bool {
	_, given := c.Do(c.Root, "GET", c.mount+"/static-creds/job", nil)
	return fields["id"] == given["access_key"] && c.aws.STS.Works(fields["id"], fields["token"])
}

func (c *vaultAWSKey) env(via func(string) string) []string {
	return append(c.crashVault.env(via), "VAULT_TOKEN="+c.own, "STANCH_VAULT_AWS_MOUNTS="+c.mount, "STANCH_PROVIDER_URLS=aws:"+via(c.aws.URL))
}
