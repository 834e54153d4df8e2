package provider

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"

	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
)

// A fakeKey is a key of a service account at a fakeIAM.
type fakeKey struct {
	id, kind    string
	certificate string
	disabled    bool
	reason      string // why Google disabled it
	hidden      int    // how many lists do not show it yet
}

// fakeIAM is Google's IAM, as far as keys of service accounts go.
type fakeIAM struct {
	*cloudtest.Cloud
	t         *testing.T
	own       []byte
	accounts  map[string][]*fakeKey
	forbidden []string // policies of the organisation
	next      int
	lag       int // how many lists do not show a new key
}

func newFakeIAM(t *testing.T) *fakeIAM {
	f := &fakeIAM{t: t, accounts: map[string][]*fakeKey{}, next: 0x100}
	f.Cloud, f.own = cloudtest.Google(t)
	f.Find(f.find)
	f.Public(f.published)
	return f
}

// providers are Stanch's, with its account there.
func (f *fakeIAM) providers() *Providers {
	f.t.Helper()
	account, err := cloud.NewGoogle(f.own)
	if err != nil {
		f.t.Fatal(err)
	}
	return newProviders(f.t, Config{BaseURLs: map[string]string{"gcp": f.URL}, Google: account})
}

// add makes a key of an account, and returns its file.
func (f *fakeIAM) add(email string, key *rsa.PrivateKey, kind string) (id string, file checks.Credential) {
	f.Do(func() { id = f.insert(email, certificateOf(f.t, key), kind).id })
	return id, parts("gcp-service-account-key", map[string]string{
		"email": email, "id": id, "project": "shop", checks.PartSecret: strings.ReplaceAll(pkcs8(f.t, key), "\n", `\n`),
	})
}

func (f *fakeIAM) insert(email, certificate, kind string) *fakeKey {
	f.next++
	k := &fakeKey{id: fmt.Sprintf("%040x", f.next), kind: kind, certificate: certificate, hidden: f.lag}
	f.accounts[email] = append([]*fakeKey{k}, f.accounts[email]...) // in no order that means anything
	return k
}

func (f *fakeIAM) key(email, id string) *fakeKey {
	for _, k := range f.accounts[email] {
		if k.id == id {
			return k
		}
	}
	return nil
}

// published are the certificates with which anybody can check an account's signatures.
func (f *fakeIAM) published(w http.ResponseWriter, r *http.Request) bool {
	email, ok := strings.CutPrefix(r.URL.Path, "/robot/v1/metadata/x509/")
	if ok {
		all := map[string]string{}
		for _, k := range f.accounts[email] {
			if !k.disabled {
				all[k.id] = k.certificate
			}
		}
		text, _ := json.Marshal(all)
		answer(w, 200, "application/json", string(text))
	}
	return ok
}

func (f *fakeIAM) find(r *http.Request) (cloudtest.Operation, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/v1/projects/-/serviceAccounts/")
	email, rest, _ := strings.Cut(rest, "/keys")
	id, verb, _ := strings.Cut(strings.TrimPrefix(rest, "/"), ":")
	switch {
	case !ok:
		return cloudtest.Operation{}, false
	case r.Method == "GET" && id == "":
		return cloudtest.Operation{Needs: "iam.serviceAccountKeys.list", Do: func() (int, any) { return f.list(email) }}, true
	case r.Method == "POST" && id == "":
		return cloudtest.Operation{Needs: "iam.serviceAccountKeys.create", Do: func() (int, any) { return f.create(email, verb == "upload", r) }}, true
	}
	needs, do := "iam.serviceAccountKeys.get", func(k *fakeKey) { k.hidden = 0 }
	switch r.Method + verb {
	case "POSTdisable":
		needs, do = "iam.serviceAccountKeys.disable", func(k *fakeKey) { k.disabled = true }
	case "POSTenable":
		needs, do = "iam.serviceAccountKeys.enable", func(k *fakeKey) { k.disabled = false }
	case "DELETE":
		needs, do = "iam.serviceAccountKeys.delete", func(k *fakeKey) {
			f.accounts[email] = slices.DeleteFunc(f.accounts[email], func(o *fakeKey) bool { return o == k })
		}
	}
	return cloudtest.Operation{Needs: needs, Do: func() (int, any) {
		k := f.key(email, id)
		if k == nil {
			return cloudtest.GoogleError(404, "NOT_FOUND")
		}
		do(k)
		return 200, f.shown(email, k, r.URL.Query().Get("publicKeyType") == "TYPE_X509_PEM_FILE")
	}}, true
}

func (f *fakeIAM) shown(email string, k *fakeKey, public bool) map[string]any {
	shown := map[string]any{"name": "projects/shop/serviceAccounts/" + email + "/keys/" + k.id, "keyType": k.kind, "disabled": k.disabled, "disableReason": k.reason}
	if public {
		shown["publicKeyData"] = base64.StdEncoding.EncodeToString([]byte(k.certificate))
	}
	return shown
}

func (f *fakeIAM) list(email string) (int, any) {
	keys, ok := f.accounts[email]
	if !ok {
		return cloudtest.GoogleError(403, "PERMISSION_DENIED") // what a wildcard for the project makes of it
	}
	all := []any{}
	for _, k := range keys {
		if k.hidden > 0 {
			k.hidden--
			continue
		}
		all = append(all, f.shown(email, k, false))
	}
	return 200, map[string]any{"keys": all}
}

func (f *fakeIAM) create(email string, upload bool, r *http.Request) (int, any) {
	policy := map[bool]string{true: "iam.disableServiceAccountKeyUpload", false: "iam.managed.disableServiceAccountKeyCreation"}[upload]
	if slices.Contains(f.forbidden, policy) {
		return 400, map[string]any{"error": map[string]any{"code": 400, "status": "FAILED_PRECONDITION",
			"details": []any{map[string]any{"violations": []any{map[string]string{"type": "constraints/" + policy}}}}}}
	}
	if len(f.accounts[email]) >= 10 {
		return cloudtest.GoogleError(400, "FAILED_PRECONDITION")
	}
	body := cloudtest.Body[struct{ PublicKeyData []byte }](r)
	if upload {
		block, _ := pem.Decode(body.PublicKeyData)
		if block == nil {
			return cloudtest.GoogleError(400, "INVALID_ARGUMENT")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || c.NotAfter.Before(time.Now()) || c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
			return cloudtest.GoogleError(400, "INVALID_ARGUMENT")
		}
		return 200, f.shown(email, f.insert(email, string(body.PublicKeyData), "USER_MANAGED"), false)
	}
	key := newRSA(f.t)
	k := f.insert(email, certificateOf(f.t, key), "USER_MANAGED")
	file, _ := json.Marshal(map[string]string{"private_key_id": k.id, "client_email": email, "private_key": pkcs8(f.t, key)})
	shown := f.shown(email, k, false)
	shown["privateKeyData"] = base64.StdEncoding.EncodeToString(file)
	return 200, shown
}

// rsaPool are keys that tests share: making one takes a while.
var rsaPool = sync.OnceValue(func() (keys [4]*rsa.PrivateKey) {
	for n := range keys {
		keys[n], _ = rsa.GenerateKey(rand.Reader, 2048) // never fails: see crypto/rand
	}
	return keys
})

func pooledRSA(n int) *rsa.PrivateKey { return rsaPool()[n] }

// count is how many keys an account has that its users made.
func (f *fakeIAM) count(email string) (n int) {
	f.Do(func() { n = len(f.accounts[email]) })
	return n
}
