package main

import (
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/secretstore/kubetest"
	"github.com/stanch-dev/stanch/checks"
)

// A crashGitHub is a GitHub in which each case has an App and a repository of its own.
type crashGitHub struct {
	server *githubtest.Server
	n      atomic.Int64
}

func newCrashGitHub(t *testing.T) *crashGitHub {
	return &crashGitHub{server: newGitHubTokens(t).server}
}

// A crashApp is Stanch's own App in one repository.
type crashApp struct {
	t          *testing.T
	server     *githubtest.Server
	app        githubtest.App
	keyFile    string
	repository string
}

// app makes an App that may write what the permission is for.
func (g *crashGitHub) app(t *testing.T, permission string) crashApp {
	n := g.n.Add(1)
	owner := fmt.Sprintf("acme%d", n)
	a := crashApp{t: t, server: g.server, keyFile: filepath.Join(t.TempDir(), "app.pem"), repository: owner + "/shop"}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	a.app, err = g.server.CreateApp(fmt.Sprintf("Stanch %d", n))
	must(err)
	must(g.server.Allow(a.app.ID, permission, "write"))
	g.server.CreateOrganization(owner)
	_, err = g.server.CreateRepository(owner, "shop", githubtest.RepoOptions{Private: true})
	must(err)
	_, err = g.server.Install(a.app.ID, owner)
	must(err)
	must(os.WriteFile(a.keyFile, []byte(a.app.PrivateKeyPEM), 0o600))
	return a
}

// env is said after what the world says of an App that there is none of.
func (a crashApp) env(via func(string) string) []string {
	return []string{
		"STANCH_GITHUB_APP_ID=" + strconv.FormatInt(a.app.ID, 10), "STANCH_GITHUB_PRIVATE_KEY_FILE=" + a.keyFile,
		"STANCH_GITHUB_URL=" + via(a.server.URL()),
	}
}

// deployKeyKind are private keys that GitHub lets into one repository.
type deployKeyKind struct{ *crashGitHub }

func (k deployKeyKind) begin(t *testing.T) crashCase {
	c := &deployKey{crashApp: k.app(t, "administration")}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	c.private = strings.TrimSpace(string(pem.EncodeToMemory(block)))
	if _, err := k.server.SetDeployKey(c.repository, githubtest.DeployKey{Title: "deploy", Key: publicHalf(c.private), ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	return c
}

type deployKey struct {
	crashApp
	private string
}

// publicHalf is a key's public half as GitHub keeps it; empty for what is no key.
func publicHalf(private string) string {
	signer, err := ssh.ParsePrivateKey([]byte(private))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

func (c *deployKey) stored() map[string]string           { return map[string]string{"token": c.private} }
func (c *deployKey) rule() string                        { return "private-key" }
func (c *deployKey) secret() string                      { return c.private }
func (c *deployKey) leak() string                        { return c.private }
func (c *deployKey) leakedWorks() bool                   { return c.letsIn(c.private) }
func (c *deployKey) works(fields map[string]string) bool { return c.letsIn(fields["token"]) }
func (c *deployKey) live() int                           { return len(c.server.DeployKeys(c.repository)) }

func (c *deployKey) letsIn(private string) bool {
	public := publicHalf(private)
	for _, k := range c.server.DeployKeys(c.repository) {
		if public != "" && k.Key == public && k.ReadOnly {
			return true
		}
	}
	return false
}

func (c *deployKey) env(via func(string) string) []string {
	return append(c.crashApp.env(via), "STANCH_GITHUB_DEPLOY_KEYS="+c.repository)
}

// copiedToGitHub is the name of inFileAndGitHub in the matrix.
const copiedToGitHub = "encrypted file, copied to GitHub"

// copiedFields are what is copied of kinds of which one text changes: two secrets cannot be
// written at GitHub at once. A process has one App, so that the deploy keys, which have
// theirs, are not among them.
var copiedFields = map[string]string{
	"GitHub token (broker)": "token", "Vault token": "token", "Google API key": "token", "AppRole secret id": "secret_id",
	"Azure storage account key": "key", "Entra client secret": "secret", "Vault database static role": "password",
	"MySQL user": "password", "MariaDB user": "password", "Redis user": "password",
	"PostgreSQL user in a URL": "url", "MySQL user in a URL": "url", "MariaDB user in a URL": "url", "Redis user in a URL": "url", "MongoDB user in a URL": "url",
}

// inFileAndGitHub is the encrypted file, with a copy of a field at GitHub.
type inFileAndGitHub struct {
	*crashGitHub
	field string
}

func (s inFileAndGitHub) begin(t *testing.T, dir string, key checks.FingerprintKey) crashPlace {
	return &copiedFile{inFile{}.begin(t, dir, key), s.app(t, "secrets"), s.field}
}

type copiedFile struct {
	crashPlace
	app   crashApp
	field string
}

func (p *copiedFile) secret() string { return p.app.repository + ":actions:DEPLOY_TOKEN" }

func (p *copiedFile) put(fields map[string]string) {
	p.crashPlace.put(fields)
	if err := p.app.server.SetSecret(p.secret(), fields[p.field]); err != nil {
		p.app.t.Fatal(err)
	}
}

// copies is what a workflow gets.
func (p *copiedFile) copies() []map[string]string {
	fields := p.fields()
	fields[p.field], _ = p.app.server.Secret(p.secret())
	return []map[string]string{fields}
}

func (p *copiedFile) env(via func(string) string) []string {
	return append(append(p.crashPlace.env(via), p.app.env(via)...), "STANCH_GITHUB_COPIES="+p.secret()+"=file:ci#"+p.field)
}

// inKubernetes is a secret of a cluster, in a namespace of its own, with a workload that is
// to be restarted.
type inKubernetes struct {
	*kubetest.Server
	n *atomic.Int64
}

func newInKubernetes(t *testing.T) inKubernetes {
	k := inKubernetes{kubetest.Start(t), new(atomic.Int64)}
	k.Allow("stanch", kubetest.RulesOf(t, secretstore.KubernetesPolicy(true)))
	return k
}

func (k inKubernetes) begin(t *testing.T, _ string, _ checks.FingerprintKey) crashPlace {
	p := &kubernetesPlace{k.Server, fmt.Sprintf("job%d", k.n.Add(1))}
	k.Set("apps", "deployments", p.namespace, "api", readsAtStart("deploy"))
	t.Cleanup(func() {
		meta, _ := k.Get("apps", "deployments", p.namespace, "api")["metadata"].(kubetest.Object)
		if meta["generation"] != 1.0 {
			t.Errorf("who reads the secret when it starts was changed %v times, want one restart", meta["generation"])
		}
	})
	return p
}

// readsAtStart is a workload that has a secret in its environment.
func readsAtStart(secret string) kubetest.Object {
	pods := kubetest.Object{"containers": []any{kubetest.Object{"envFrom": []any{kubetest.Object{"secretRef": kubetest.Object{"name": secret}}}}}}
	return kubetest.Object{"spec": kubetest.Object{"template": kubetest.Object{"spec": pods}}}
}

type kubernetesPlace struct {
	*kubetest.Server
	namespace string
}

func (p *kubernetesPlace) put(fields map[string]string) {
	p.Secret(p.namespace, "deploy", fields, nil)
}

func (p *kubernetesPlace) fields() map[string]string { return p.Values(p.namespace, "deploy") }

func (p *kubernetesPlace) env(via func(string) string) []string {
	return []string{
		"STANCH_KUBERNETES_URL=" + via(p.URL), "STANCH_KUBERNETES_TOKEN_FILE=" + p.Path("stanch"), "STANCH_KUBERNETES_CA_FILE=" + p.Path("ca.crt"),
		"STANCH_KUBERNETES_NAMESPACES=" + p.namespace, "STANCH_KUBERNETES_RESTART=true",
	}
}
