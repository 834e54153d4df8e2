package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
)

// A crashAzure is Azure with Stanch's app there.
type crashAzure struct {
	*cloudtest.Cloud
	entra *cloudtest.Entra
	arm   *cloudtest.ARM
	vault *cloudtest.KeyVault
	own   cloudtest.AzureAccount
	n     atomic.Int64
}

func newCrashAzure(t *testing.T) *crashAzure {
	a := &crashAzure{}
	a.Cloud, a.own = cloudtest.Azure(t)
	a.entra = cloudtest.NewEntra(a.Cloud, func() string { return sampleOf(t, "azure-client-secret") })
	a.arm, a.vault = cloudtest.NewARM(a.Cloud), cloudtest.NewKeyVault(a.Cloud)
	return a
}

func (a *crashAzure) env(via func(string) string) []string {
	return []string{
		"AZURE_TENANT_ID=" + cloudtest.AzureTenant, "AZURE_CLIENT_ID=" + cloudtest.AzureClient, "AZURE_CLIENT_SECRET=" + a.own.Secret,
		"AZURE_AUTHORITY_HOST=" + via(a.URL), "STANCH_PROVIDER_URLS=azure:" + via(a.URL),
	}
}

// appSecrets are secrets of apps, each of which has one more, which begins otherwise, or
// as the leaked one does.
type appSecrets struct {
	*crashAzure
	alike bool
}

func (k appSecrets) begin(t *testing.T) crashCase {
	c := &appSecret{azure: k.crashAzure, app: fmt.Sprintf("aaaaaaaa-bbbb-cccc-dddd-%012x", k.n.Add(1)), text: "abc" + sampleOf(t, "azure-client-secret")[3:]}
	beside := "aBc"
	if k.alike {
		beside = "abc"
	}
	c.other = beside + sampleOf(t, "azure-client-secret")[3:]
	k.Do(func() {
		for _, text := range []string{c.text, c.other} {
			k.entra.Insert(c.app, "by hand", text).Start = time.Now().Add(-time.Hour)
		}
	})
	if k.alike {
		return alikeSecret{c}
	}
	return c
}

type appSecret struct {
	azure            *crashAzure
	app, text, other string
}

func (c *appSecret) stored() map[string]string {
	return map[string]string{"tenant": cloudtest.AzureTenant, "client": c.app, "secret": c.text}
}
func (c *appSecret) rule() string                         { return "azure-client-secret" }
func (c *appSecret) secret() string                       { return c.text }
func (c *appSecret) leakedWorks() bool                    { return slices.Contains(c.all(), c.text) }
func (c *appSecret) live() int                            { return len(c.all()) }
func (c *appSecret) env(via func(string) string) []string { return c.azure.env(via) }

func (c *appSecret) leak() string {
	return "AZURE_TENANT_ID=" + cloudtest.AzureTenant + " AZURE_CLIENT_ID=" + c.app + " AZURE_CLIENT_SECRET=" + c.text
}

func (c *appSecret) works(fields map[string]string) bool {
	return fields["tenant"] == cloudtest.AzureTenant && fields["client"] == c.app && slices.Contains(c.all(), fields["secret"])
}

// all are the app's secrets without the one that has nothing to do with it. That one is
// counted as too many when it is gone.
func (c *appSecret) all() (texts []string) {
	other := false
	c.azure.Do(func() {
		for _, s := range c.azure.entra.Apps[c.app] {
			if s.Text == c.other {
				other = true
			} else {
				texts = append(texts, s.Text)
			}
		}
	})
	if !other {
		return nil
	}
	return texts
}

// An alikeSecret is one of two of which Entra tells the same three characters.
type alikeSecret struct{ *appSecret }

func (alikeSecret) asks() string { return "begin as the leaked one does" }

// storageKeys are keys of storage accounts.
type storageKeys struct{ *crashAzure }

func (k storageKeys) begin(t *testing.T) crashCase {
	c := &storageKey{azure: k.crashAzure, account: fmt.Sprintf("job%d", k.n.Add(1)), keys: [2]string{sampleOf(t, "azure-storage-key"), sampleOf(t, "azure-storage-key")}}
	k.Do(func() { k.arm.Insert(c.account, c.keys[0], c.keys[1]) })
	t.Cleanup(func() { k.Do(func() { k.arm.Remove(c.account) }) }) // or every later case would read it
	return c
}

type storageKey struct {
	azure   *crashAzure
	account string
	keys    [2]string // the first of which leaks
}

func (c *storageKey) stored() map[string]string {
	return map[string]string{"account": c.account, "key": c.keys[0]}
}
func (c *storageKey) rule() string      { return "azure-storage-key" }
func (c *storageKey) secret() string    { return c.keys[0] }
func (c *storageKey) leakedWorks() bool { return slices.Contains(c.now(), c.keys[0]) }

func (c *storageKey) leak() string {
	return "DefaultEndpointsProtocol=https;AccountName=" + c.account + ";AccountKey=" + c.keys[0] + ";EndpointSuffix=core.windows.net"
}

func (c *storageKey) works(fields map[string]string) bool {
	return fields["account"] == c.account && slices.Contains(c.now(), fields["key"])
}

// live counts the two keys that there were: the one that is made anew nobody has read.
func (c *storageKey) live() (n int) {
	for _, key := range c.now() {
		if slices.Contains(c.keys[:], key) {
			n++
		}
	}
	return n
}

func (c *storageKey) now() (keys []string) {
	c.azure.Do(func() {
		now := c.azure.arm.Accounts[c.account]
		keys = now[:]
	})
	return keys
}

func (c *storageKey) env(via func(string) string) []string {
	return append(c.azure.env(via), "STANCH_AZURE_SUBSCRIPTIONS="+cloudtest.AzureSubscription)
}

// inAzure is Key Vault.
type inAzure struct{ *crashAzure }

func (s inAzure) begin(t *testing.T, _ string, _ checks.FingerprintKey) crashPlace {
	p := &azurePlace{s.crashAzure, fmt.Sprintf("ci-job%d", s.n.Add(1))}
	t.Cleanup(func() { s.Do(func() { s.vault.Remove(p.name) }) }) // or every later case would read it
	return p
}

type azurePlace struct {
	*crashAzure
	name string
}

func (p *azurePlace) put(fields map[string]string) {
	text, _ := json.Marshal(fields) // texts can always be
	p.Do(func() { p.vault.Insert(p.name, string(text)) })
}

func (p *azurePlace) fields() map[string]string {
	fields := map[string]string{}
	json.Unmarshal([]byte(p.vault.Text(p.name)), &fields) // what is not read does not work
	return fields
}

func (p *azurePlace) env(via func(string) string) []string {
	return append(p.crashAzure.env(via), "STANCH_AZURE_KEY_VAULTS=shop-vault")
}
