package cloudtest

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A VaultVersion is one of a secret at a KeyVault.
type VaultVersion struct {
	ID, Value, ContentType string
	Tags                   map[string]string
	Enabled                bool
	created, updated       int64
}

// KeyVault is Azure's of the name "shop-vault", with pages of two.
type KeyVault struct {
	*Cloud
	Names     []string                   // in the order in which they are listed
	Secrets   map[string][]*VaultVersion // the oldest first
	Clock     int64                      // the last change
	Tick      int64                      // how many seconds go by from one change to the next
	BeforeSet func(name string)          // somebody else, who is quicker
	Closed    string                     // a secret that Stanch's account may not read
	Managed   string                     // one of a certificate
}

// NewKeyVault adds one to an Azure. Its changes began an hour ago.
func NewKeyVault(c *Cloud) *KeyVault {
	f := &KeyVault{Cloud: c, Clock: time.Now().Add(-time.Hour).Unix(), Tick: 1}
	f.Empty()
	c.Find(f.find)
	return f
}

// Empty removes all secrets.
func (f *KeyVault) Empty() { f.Names, f.Secrets = nil, map[string][]*VaultVersion{} }

// Remove removes a secret.
func (f *KeyVault) Remove(name string) {
	f.Names = slices.DeleteFunc(f.Names, func(n string) bool { return n == name })
	delete(f.Secrets, name)
}

func (f *KeyVault) now() int64 {
	f.Clock += f.Tick
	return f.Clock
}

// Insert sets a secret, by whomever.
func (f *KeyVault) Insert(name, value string) *VaultVersion {
	if f.Secrets[name] == nil {
		f.Names = append(f.Names, name)
	}
	id := make([]byte, 16)
	rand.Read(id)
	at := f.now()
	v := &VaultVersion{ID: hex.EncodeToString(id), Value: value, Enabled: true, created: at, updated: at}
	f.Secrets[name] = append(f.Secrets[name], v)
	return v
}

func (f *KeyVault) find(r *http.Request) (Operation, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/shop-vault/secrets")
	name, below, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	do := func(needs string, do func() (int, any)) (Operation, bool) {
		return Operation{Needs: "Microsoft.KeyVault/vaults/secrets/" + needs + "/action", Do: do}, true
	}
	versions := f.Secrets[name]
	switch {
	case !ok || r.Header.Get("Scope") != "https://vault.azure.net" || r.URL.Query().Get("api-version") == "":
		return Operation{}, false
	case name == "":
		return do("readMetadata", func() (int, any) { return f.listSecrets(r) })
	case below == "versions":
		return do("readMetadata", func() (int, any) { return f.listVersions(r, name) })
	case r.Method == "PUT" && below == "":
		return do("setSecret", func() (int, any) { return f.set(r, name) })
	case r.Method == "PATCH":
		return do("update", func() (int, any) { return f.update(r, name, below) })
	case r.Method != "GET":
		return Operation{}, false
	}
	return do("getSecret", func() (int, any) {
		n := slices.IndexFunc(versions, func(v *VaultVersion) bool { return v.ID == below })
		if below == "" {
			n = len(versions) - 1
		}
		switch {
		case n < 0:
			return AzureError(404, "SecretNotFound")
		case name == f.Closed:
			return AzureError(403, "Forbidden")
		case !versions[n].Enabled:
			return 403, map[string]any{"error": map[string]any{"code": "Forbidden", "innererror": map[string]string{"code": "SecretDisabled"}}}
		}
		return 200, f.shown(r, name, versions[n], true)
	})
}

func (f *KeyVault) shown(r *http.Request, name string, v *VaultVersion, whole bool) map[string]any {
	shown := map[string]any{"id": base(r) + "/shop-vault/secrets/" + name + "/" + v.ID, "tags": v.Tags, "contentType": v.ContentType,
		"attributes": map[string]any{"enabled": v.Enabled, "created": v.created, "updated": v.updated}}
	if whole {
		shown["value"] = v.Value
	}
	return shown
}

// link is where a list goes on.
func (f *KeyVault) link(r *http.Request, next string) string {
	if next == "" {
		return ""
	}
	return base(r) + r.URL.Path + "?api-version=7.4&pageToken=" + next
}

func (f *KeyVault) listSecrets(r *http.Request) (int, any) {
	from, to, next := page(r, len(f.Names))
	all := []any{}
	for _, name := range f.Names[from:to] {
		shown := f.shown(r, name, f.Secrets[name][len(f.Secrets[name])-1], false)
		shown["id"], shown["managed"] = base(r)+"/shop-vault/secrets/"+name, name == f.Managed
		all = append(all, shown)
	}
	return 200, map[string]any{"value": all, "nextLink": f.link(r, next)}
}

func (f *KeyVault) listVersions(r *http.Request, name string) (int, any) {
	versions := f.Secrets[name]
	from, to, next := page(r, len(versions))
	all := []any{}
	for _, v := range versions[from:to] {
		all = append(all, f.shown(r, name, v, false))
	}
	return 200, map[string]any{"value": all, "nextLink": f.link(r, next)}
}

func (f *KeyVault) set(r *http.Request, name string) (int, any) {
	if before := f.BeforeSet; before != nil {
		f.BeforeSet = nil
		before(name)
	}
	body := Body[struct {
		Value, ContentType string
		Tags               map[string]string
	}](r)
	v := f.Insert(name, body.Value)
	v.ContentType, v.Tags = body.ContentType, body.Tags
	return 200, f.shown(r, name, v, true)
}

func (f *KeyVault) update(r *http.Request, name, id string) (int, any) {
	body := Body[struct{ Attributes struct{ Enabled *bool } }](r)
	for _, v := range f.Secrets[name] {
		if v.ID == id && body.Attributes.Enabled != nil {
			v.Enabled, v.updated = *body.Attributes.Enabled, f.now()
			return 200, f.shown(r, name, v, false)
		}
	}
	return AzureError(404, "SecretNotFound")
}

// Text is what readers get.
func (f *KeyVault) Text(name string) (text string) {
	f.Do(func() {
		if v := f.Secrets[name][len(f.Secrets[name])-1]; v.Enabled {
			text = v.Value
		}
	})
	return text
}
