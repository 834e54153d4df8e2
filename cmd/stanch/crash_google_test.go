package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
)

// A crashGoogle is Google Cloud with Stanch's account there.
type crashGoogle struct {
	*cloudtest.Cloud
	iam     *cloudtest.IAM
	keys    *cloudtest.APIKeys
	secrets *cloudtest.SecretManager
	own     []byte
	dir     string
	other   *rsa.PrivateKey // of the keys that do not leak, as making one takes a while
	n       atomic.Int64
}

func newCrashGoogle(t *testing.T) *crashGoogle {
	g := &crashGoogle{dir: t.TempDir()}
	g.Cloud, g.own = cloudtest.Google(t)
	g.iam, g.secrets = cloudtest.NewIAM(g.Cloud), cloudtest.NewSecretManager(g.Cloud)
	g.keys = cloudtest.NewAPIKeys(g.Cloud, func() string { return sampleOf(t, "gcp-api-key") })
	g.other = newServiceKey(t)
	return g
}

func newServiceKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// env names a key file that has the account log in through via.
func (g *crashGoogle) env(via func(string) string) []string {
	url := via(g.URL)
	path := filepath.Join(g.dir, url[strings.LastIndex(url, ":")+1:]+".json")
	if err := os.WriteFile(path, bytes.ReplaceAll(g.own, []byte(g.URL), []byte(url)), 0o600); err != nil {
		panic(err)
	}
	return []string{"GOOGLE_APPLICATION_CREDENTIALS=" + path, "STANCH_PROVIDER_URLS=gcp:" + url}
}

// serviceKeys are key files of service accounts, each of which has a key of Google's own
// and one that somebody disabled.
type serviceKeys struct{ *crashGoogle }

func (k serviceKeys) begin(t *testing.T) crashCase {
	c := &serviceKey{google: k.crashGoogle, email: fmt.Sprintf("job%d@shop.iam.gserviceaccount.com", k.n.Add(1))}
	key := newServiceKey(t)
	leaked, other := certificateText(t, key), certificateText(t, k.other)
	k.Do(func() {
		k.iam.Insert(c.email, other, "SYSTEM_MANAGED")
		c.id = k.iam.Insert(c.email, leaked, "USER_MANAGED").ID
		k.iam.Insert(c.email, other, "USER_MANAGED").Disabled = true
	})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c.key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE" + " KEY", Bytes: der}))
	return c
}

func certificateText(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	text, err := cloudtest.CertificateOf(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

type serviceKey struct {
	google         *crashGoogle
	email, id, key string
	publicHalves   sync.Map // of private keys in PEM, whose reading takes a while
}

func (c *serviceKey) stored() map[string]string {
	return map[string]string{"type": "service_account", "project_id": "shop", "client_email": c.email, "private_key_id": c.id, "private_key": c.key}
}
func (c *serviceKey) rule() string                         { return "gcp-service-account-key" }
func (c *serviceKey) secret() string                       { return strings.ReplaceAll(c.key, "\n", `\n`) }
func (c *serviceKey) leakedWorks() bool                    { return c.opens(c.id, c.key) }
func (c *serviceKey) env(via func(string) string) []string { return c.google.env(via) }

func (c *serviceKey) leak() string {
	text, _ := json.MarshalIndent(c.stored(), "", "  ") // texts can always be
	return string(text)
}

func (c *serviceKey) works(fields map[string]string) bool {
	return fields["client_email"] == c.email && c.opens(fields["private_key_id"], fields["private_key"])
}

// opens reports whether a private key is that of the account's enabled key of an id.
func (c *serviceKey) opens(id, private string) (ok bool) {
	mine := c.publicHalf(private)
	c.google.Do(func() {
		k := c.google.iam.Key(c.email, id)
		if k == nil || k.Disabled {
			return
		}
		block, _ := pem.Decode([]byte(k.Certificate))
		certificate, err := x509.ParseCertificate(block.Bytes)
		ok = err == nil && bytes.Equal(certificate.RawSubjectPublicKeyInfo, mine)
	})
	return ok
}

func (c *serviceKey) publicHalf(private string) []byte {
	if known, ok := c.publicHalves.Load(private); ok {
		return known.([]byte)
	}
	block, _ := pem.Decode([]byte(private))
	if block == nil {
		return nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil
	}
	der, _ := x509.MarshalPKIXPublicKey(key.(*rsa.PrivateKey).Public()) // RSA always can be
	c.publicHalves.Store(private, der)
	return der
}

// live counts the keys that somebody can have, without the one that was disabled before.
func (c *serviceKey) live() (n int) {
	c.google.Do(func() {
		for _, k := range c.google.iam.Accounts[c.email] {
			if k.Kind == "USER_MANAGED" && !k.Disabled {
				n++
			}
		}
	})
	return n
}

// googleAPIKeys are API keys of projects, each of which has one more that begins alike.
type googleAPIKeys struct{ *crashGoogle }

func (k googleAPIKeys) begin(t *testing.T) crashCase {
	n := k.n.Add(1)
	c := &googleAPIKey{google: k.crashGoogle, parent: fmt.Sprintf("projects/%d/locations/global", 30000000000+n), text: sampleOf(t, "gcp-api-key")}
	k.Do(func() {
		for id, text := range map[string]string{"web": c.text, "alike": c.text[:20] + sampleOf(t, "gcp-api-key")[20:]} {
			id = fmt.Sprint(id, n)
			k.keys.Keys[id] = &cloudtest.APIKey{Text: text, Parent: c.parent, Said: map[string]any{
				"displayName": id, "etag": "e-" + id, "restrictions": map[string]any{"apiTargets": []any{map[string]any{"service": "maps.googleapis.com"}}},
			}}
		}
	})
	return c
}

type googleAPIKey struct {
	google       *crashGoogle
	parent, text string
}

func (c *googleAPIKey) stored() map[string]string            { return map[string]string{"token": c.text} }
func (c *googleAPIKey) rule() string                         { return "gcp-api-key" }
func (c *googleAPIKey) secret() string                       { return c.text }
func (c *googleAPIKey) leak() string                         { return "GOOGLE_API_KEY=" + c.text }
func (c *googleAPIKey) leakedWorks() bool                    { return c.known(c.text) }
func (c *googleAPIKey) works(fields map[string]string) bool  { return c.known(fields["token"]) }
func (c *googleAPIKey) env(via func(string) string) []string { return c.google.env(via) }

func (c *googleAPIKey) known(text string) bool {
	return slices.Contains(c.all(), text)
}

// live counts the project's keys without the one that has nothing to do with it.
func (c *googleAPIKey) live() int { return len(c.all()) - 1 }

func (c *googleAPIKey) all() (texts []string) {
	c.google.Do(func() {
		for _, k := range c.google.keys.Keys {
			if k.Parent == c.parent && !k.Deleted {
				texts = append(texts, k.Text)
			}
		}
	})
	return texts
}

// inGoogle is Secret Manager.
type inGoogle struct{ *crashGoogle }

func (s inGoogle) begin(t *testing.T, _ string, _ checks.FingerprintKey) crashPlace {
	p := &googlePlace{s.crashGoogle, fmt.Sprintf("ci-job%d", s.n.Add(1))}
	t.Cleanup(func() { s.Do(func() { s.secrets.Remove(p.name) }) }) // or every later case would read it
	return p
}

type googlePlace struct {
	*crashGoogle
	name string
}

func (p *googlePlace) put(fields map[string]string) {
	text, _ := json.Marshal(fields) // texts can always be
	p.Do(func() { p.secrets.Insert(p.name, string(text)) })
}

func (p *googlePlace) fields() map[string]string {
	fields := map[string]string{}
	json.Unmarshal([]byte(p.secrets.Text(p.name)), &fields) // what is not read does not work
	return fields
}

func (p *googlePlace) env(via func(string) string) []string {
	return append(p.crashGoogle.env(via), "STANCH_GCP_PROJECTS=shop")
}
