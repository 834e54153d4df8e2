package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
)

// crashAppKey is a private key for a GitHub App that nobody asks anything of.
var crashAppKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE " + "KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
})

// gitHubTokens are tokens that the operator's broker issues.
type gitHubTokens struct {
	server *githubtest.Server
	n      atomic.Int64
}

func newGitHubTokens(t *testing.T) *gitHubTokens {
	server, err := githubtest.New(githubtest.Config{Dir: filepath.Join(t.TempDir(), "github")})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(func() { server.Close() })
	return &gitHubTokens{server: server}
}

func (k *gitHubTokens) begin(t *testing.T) crashCase {
	c := &gitHubToken{kind: k, user: fmt.Sprintf("bot%d", k.n.Add(1))}
	k.server.CreateUser(c.user)
	token, err := k.server.IssueToken(c.user, githubtest.ClassicToken)
	if err != nil {
		t.Fatal(err)
	}
	c.token = token
	return c
}

type gitHubToken struct {
	kind        *gitHubTokens
	user, token string
}

func (c *gitHubToken) stored() map[string]string { return map[string]string{"token": c.token} }
func (c *gitHubToken) rule() string              { return "github-pat" }
func (c *gitHubToken) secret() string            { return c.token }
func (c *gitHubToken) leak() string              { return "GITHUB_TOKEN=" + c.token }
func (c *gitHubToken) leakedWorks() bool         { return c.kind.server.TokenLive(c.token) }
func (c *gitHubToken) live() int                 { return c.kind.server.LiveTokens(c.user) }
func (c *gitHubToken) works(fields map[string]string) bool {
	return c.kind.server.TokenLive(fields["token"])
}

func (c *gitHubToken) env(via func(string) string) []string {
	s := c.kind.server
	return []string{
		"STANCH_PROVIDER_URLS=github:" + via(s.APIURL()),
		"STANCH_BROKER_URL=" + via(s.BrokerURL()), "STANCH_BROKER_TOKEN=" + s.BrokerToken(),
	}
}

// A crashVault is a server with Stanch's own token.
type crashVault struct {
	*baotest.Server
	own string
	n   atomic.Int64
}

func newCrashVault(t *testing.T) *crashVault {
	v := &crashVault{Server: baotest.Start(t)}
	policies := []string{"stanch", "stanch-issue", "stanch-tokens", "stanch-approle", "stanch-database", "stanch-transit"}
	for _, name := range policies {
		v.Policy(name, anyMount(t, filepath.Join("..", "..", "deploy", "vault", name+".hcl")))
	}
	v.Must("POST", "auth/token/roles/stanch-issue", map[string]any{"orphan": true, "renewable": true, "allowed_policies_glob": "ci-*"})
	v.own = v.Token(map[string]any{"policies": policies})
	return v
}

// anyMount is a policy of deploy/vault for wherever AppRole is mounted, as its comments say
// that it be edited.
func anyMount(t *testing.T, file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), `"auth/approle/`, `"auth/+/`)
}

func (v *crashVault) env(via func(string) string) []string {
	return []string{"VAULT_ADDR=" + via(v.Addr), "VAULT_TOKEN=" + v.own, "STANCH_VAULT_MOUNTS=secret", "STANCH_VAULT_ISSUE_ROLE=stanch-issue"}
}

// vaultTokens are tokens of the server itself.
type vaultTokens struct{ *crashVault }

func (k vaultTokens) begin(*testing.T) crashCase {
	c := &vaultToken{vault: k.crashVault, policy: fmt.Sprintf("ci-job%d", k.n.Add(1))}
	k.Policy(c.policy, `path "secret/data/app/*" { capabilities = ["read"] }`)
	c.token = k.Token(map[string]any{"policies": []string{c.policy}, "ttl": "2h"})
	return c
}

type vaultToken struct {
	vault         *crashVault
	policy, token string
}

func (c *vaultToken) stored() map[string]string            { return map[string]string{"token": c.token} }
func (c *vaultToken) rule() string                         { return "vault-service-token" }
func (c *vaultToken) secret() string                       { return c.token }
func (c *vaultToken) leak() string                         { return "export VAULT_TOKEN=" + c.token }
func (c *vaultToken) leakedWorks() bool                    { return c.alive(c.token) }
func (c *vaultToken) works(fields map[string]string) bool  { return c.alive(fields["token"]) }
func (c *vaultToken) env(via func(string) string) []string { return c.vault.env(via) }

func (c *vaultToken) alive(token string) bool {
	status, _ := c.vault.Do(token, "GET", "auth/token/lookup-self", nil)
	return status == http.StatusOK
}

// live counts the tokens with the policy that only this case's have.
func (c *vaultToken) live() (n int) {
	keys, _ := c.vault.Must("LIST", "auth/token/accessors", nil)["keys"].([]any)
	for _, accessor := range keys {
		status, data := c.vault.Do(c.vault.Root, "POST", "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
		policies, _ := data["policies"].([]any)
		if status == http.StatusOK && slices.Contains(policies, any(c.policy)) {
			n++
		}
	}
	return n
}

// inFile is the encrypted file.
type inFile struct{}

func (inFile) begin(t *testing.T, dir string, key checks.FingerprintKey) crashPlace {
	path := filepath.Join(dir, "secrets.age")
	file, err := secretstore.OpenFile(path, path+".key", key)
	if err != nil {
		t.Fatal(err)
	}
	return &filePlace{t, path, file, "ci"}
}

type filePlace struct {
	t    *testing.T
	path string
	file *secretstore.File
	name string // of the secret
}

func (p *filePlace) at() secretstore.Location {
	return secretstore.Location{Store: p.file.Name(), Path: p.name, Field: "token"}
}

func (p *filePlace) put(fields map[string]string) {
	values := map[string]checks.Secret{}
	for name, value := range fields {
		values[name] = checks.NewSecret(value)
	}
	at := p.at()
	if now, err := p.file.Get(p.t.Context(), at); err == nil {
		at.Version = now.Version
	}
	if _, err := p.file.Put(p.t.Context(), at, values, "test"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *filePlace) fields() map[string]string {
	now, err := p.file.Get(p.t.Context(), p.at())
	if err != nil {
		p.t.Error(err)
	}
	fields := map[string]string{}
	for name, value := range now.Fields {
		fields[name] = value.Expose()
	}
	return fields
}

func (p *filePlace) env(func(string) string) []string { return []string{"STANCH_STORE_FILE=" + p.path} }

// inVault is KV version 2.
type inVault struct{ *crashVault }

func (s inVault) begin(t *testing.T, _ string, _ checks.FingerprintKey) crashPlace {
	name := fmt.Sprintf("ci/job%d", s.n.Add(1))
	t.Cleanup(func() { s.Do(s.Root, "DELETE", "secret/metadata/"+name, nil) }) // or every later case would read it
	return &vaultPlace{s.crashVault, "secret/data/" + name}
}

type vaultPlace struct {
	*crashVault
	path string
}

func (p *vaultPlace) put(fields map[string]string) {
	p.Must("POST", p.path, map[string]any{"data": fields})
}

func (p *vaultPlace) fields() map[string]string {
	data, _ := p.Must("GET", p.path, nil)["data"].(map[string]any)
	fields := map[string]string{}
	for name, value := range data {
		fields[name], _ = value.(string)
	}
	return fields
}
