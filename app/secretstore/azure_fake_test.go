package secretstore

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
)

// A fakeAzureVersion is a version at a fakeKeyVault.
type fakeAzureVersion struct {
	id, value, contentType string
	tags                   map[string]string
	enabled                bool
	created, updated       int64
}

// fakeKeyVault is a Key Vault with pages of two.
type fakeKeyVault struct {
	*cloudtest.Cloud
	t         *testing.T
	own       cloudtest.AzureAccount
	names     []string
	secrets   map[string][]*fakeAzureVersion // the oldest first
	clock     int64
	tick      int64 // how many seconds go by from one change to the next
	beforeSet func(name string)
	closed    string
	managed   string
}

func newFakeKeyVault(t *testing.T) *fakeKeyVault {
	f := &fakeKeyVault{t: t, secrets: map[string][]*fakeAzureVersion{}, clock: time.Now().Add(-time.Hour).Unix(), tick: 1}
	f.Cloud, f.own = cloudtest.Azure(t)
	f.Find(f.find)
	return f
}

func (f *fakeKeyVault) open() *Azure {
	f.t.Helper()
	account, err := cloud.NewAzure(cloud.AzureConfig{
		Tenant: cloudtest.AzureTenant, Client: cloudtest.AzureClient, Secret: checks.NewSecret(f.own.Secret), Authority: f.URL})
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := NewAzure(AzureConfig{Account: account, Vaults: []string{"shop-vault"}, Key: testKey, BaseURL: f.URL + "/{vault}"})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *fakeKeyVault) now() int64 {
	f.clock += f.tick
	return f.clock
}

// insert sets a secret, by whomever.
func (f *fakeKeyVault) insert(name, value string) *fakeAzureVersion {
	if f.secrets[name] == nil {
		f.names = append(f.names, name)
	}
	id := make([]byte, 16)
	rand.Read(id)
	at := f.now()
	v := &fakeAzureVersion{id: hex.EncodeToString(id), value: value, enabled: true, created: at, updated: at}
	f.secrets[name] = append(f.secrets[name], v)
	return v
}

func (f *fakeKeyVault) find(r *http.Request) (cloudtest.Operation, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/shop-vault/secrets")
	name, below, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	do := func(needs string, do func() (int, any)) (cloudtest.Operation, bool) {
		return cloudtest.Operation{Needs: "Microsoft.KeyVault/vaults/secrets/" + needs + "/action", Do: do}, true
	}
	versions := f.secrets[name]
	switch {
	case !ok || r.Header.Get("Scope") != "https://vault.azure.net" || r.URL.Query().Get("api-version") == "":
		return cloudtest.Operation{}, false
	case name == "":
		return do("readMetadata", func() (int, any) { return f.listSecrets(r) })
	case below == "versions":
		return do("readMetadata", func() (int, any) { return f.listVersions(r, name) })
	case r.Method == "PUT" && below == "":
		return do("setSecret", func() (int, any) { return f.set(r, name) })
	case r.Method == "PATCH":
		return do("update", func() (int, any) { return f.update(r, name, below) })
	case r.Method != "GET":
		return cloudtest.Operation{}, false
	}
	return do("getSecret", func() (int, any) {
		n := slices.IndexFunc(versions, func(v *fakeAzureVersion) bool { return v.id == below })
		if below == "" {
			n = len(versions) - 1
		}
		switch {
		case n < 0:
			return cloudtest.AzureError(404, "SecretNotFound")
		case name == f.closed:
			return cloudtest.AzureError(403, "Forbidden")
		case !versions[n].enabled:
			return 403, map[string]any{"error": map[string]any{"code": "Forbidden", "innererror": map[string]string{"code": "SecretDisabled"}}}
		}
		return 200, f.shown(name, versions[n], true)
	})
}

func (f *fakeKeyVault) shown(name string, v *fakeAzureVersion, whole bool) map[string]any {
	shown := map[string]any{"id": f.URL + "/shop-vault/secrets/" + name + "/" + v.id, "tags": v.tags, "contentType": v.contentType,
		"attributes": map[string]any{"enabled": v.enabled, "created": v.created, "updated": v.updated}}
	if whole {
		shown["value"] = v.value
	}
	return shown
}

// link is where a list goes on.
func (f *fakeKeyVault) link(r *http.Request, next string) string {
	if next == "" {
		return ""
	}
	return f.URL + r.URL.Path + "?api-version=7.4&pageToken=" + next
}

func (f *fakeKeyVault) listSecrets(r *http.Request) (int, any) {
	from, to, next := page(r, len(f.names))
	all := []any{}
	for _, name := range f.names[from:to] {
		shown := f.shown(name, f.secrets[name][len(f.secrets[name])-1], false)
		shown["id"], shown["managed"] = f.URL+"/shop-vault/secrets/"+name, name == f.managed
		all = append(all, shown)
	}
	return 200, map[string]any{"value": all, "nextLink": f.link(r, next)}
}

func (f *fakeKeyVault) listVersions(r *http.Request, name string) (int, any) {
	versions := f.secrets[name]
	from, to, next := page(r, len(versions))
	all := []any{}
	for _, v := range versions[from:to] {
		all = append(all, f.shown(name, v, false))
	}
	return 200, map[string]any{"value": all, "nextLink": f.link(r, next)}
}

func (f *fakeKeyVault) set(r *http.Request, name string) (int, any) {
	if before := f.beforeSet; before != nil {
		f.beforeSet = nil
		before(name)
	}
	body := cloudtest.Body[struct {
		Value, ContentType string
		Tags               map[string]string
	}](r)
	v := f.insert(name, body.Value)
	v.contentType, v.tags = body.ContentType, body.Tags
	return 200, f.shown(name, v, true)
}

func (f *fakeKeyVault) update(r *http.Request, name, id string) (int, any) {
	body := cloudtest.Body[struct{ Attributes struct{ Enabled *bool } }](r)
	for _, v := range f.secrets[name] {
		if v.id == id && body.Attributes.Enabled != nil {
			v.enabled, v.updated = *body.Attributes.Enabled, f.now()
			return 200, f.shown(name, v, false)
		}
	}
	return cloudtest.AzureError(404, "SecretNotFound")
}

// text is what readers get.
func (f *fakeKeyVault) text(name string) (text string) {
	f.Do(func() {
		if v := f.secrets[name][len(f.secrets[name])-1]; v.enabled {
			text = v.value
		}
	})
	return text
}

func (f *fakeKeyVault) calls() (n int) {
	f.Do(func() { n = len(f.Calls) })
	return n
}

// versions are the ids of a secret's versions, the oldest first.
func (f *fakeKeyVault) versions(name string) (all []Version) {
	f.Do(func() {
		for _, v := range f.secrets[name] {
			all = append(all, Version(v.id))
		}
	})
	return all
}

func vaultDeploy(version Version, field string) Location {
	return Location{Store: "azure", Path: "shop-vault/deploy", Field: field, Version: version}
}
