package cloudtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A ServiceKey is a key of a service account at an IAM.
type ServiceKey struct {
	ID, Kind    string
	Certificate string
	Disabled    bool
	Reason      string // why Google disabled it
	Hidden      int    // how many lists do not show it yet
}

// IAM is Google's, as far as keys of service accounts go.
type IAM struct {
	*Cloud
	Accounts  map[string][]*ServiceKey
	Forbidden []string // policies of the organisation
	Lag       int      // how many lists do not show a new key
	next      int
}

// NewIAM adds one to a Google Cloud.
func NewIAM(c *Cloud) *IAM {
	f := &IAM{Cloud: c, Accounts: map[string][]*ServiceKey{}, next: 0x100}
	c.Find(f.find)
	c.Public(f.published)
	return f
}

// CertificateOf is a certificate of a key, as PEM.
func CertificateOf(private crypto.Signer) (string, error) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), err
}

// Insert makes a key of an account, by whomever.
func (f *IAM) Insert(email, certificate, kind string) *ServiceKey {
	f.next++
	k := &ServiceKey{ID: fmt.Sprintf("%040x", f.next), Kind: kind, Certificate: certificate, Hidden: f.Lag}
	f.Accounts[email] = append([]*ServiceKey{k}, f.Accounts[email]...) // in no order that means anything
	return k
}

// Key is the one of an id, or nil.
func (f *IAM) Key(email, id string) *ServiceKey {
	for _, k := range f.Accounts[email] {
		if k.ID == id {
			return k
		}
	}
	return nil
}

// published are the certificates with which anybody can check an account's signatures.
func (f *IAM) published(w http.ResponseWriter, r *http.Request) bool {
	email, ok := strings.CutPrefix(r.URL.Path, "/robot/v1/metadata/x509/")
	if ok {
		all := map[string]string{}
		for _, k := range f.Accounts[email] {
			if !k.Disabled {
				all[k.ID] = k.Certificate
			}
		}
		f.answer(w, 200, all)
	}
	return ok
}

func (f *IAM) find(r *http.Request) (Operation, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/v1/projects/-/serviceAccounts/")
	email, rest, _ := strings.Cut(rest, "/keys")
	id, verb, _ := strings.Cut(strings.TrimPrefix(rest, "/"), ":")
	switch {
	case !ok:
		return Operation{}, false
	case r.Method == "GET" && id == "":
		return Operation{Needs: "iam.serviceAccountKeys.list", Do: func() (int, any) { return f.list(email) }}, true
	case r.Method == "POST" && id == "":
		return Operation{Needs: "iam.serviceAccountKeys.create", Do: func() (int, any) { return f.create(email, verb == "upload", r) }}, true
	}
	needs, do := "iam.serviceAccountKeys.get", func(k *ServiceKey) { k.Hidden = 0 }
	switch r.Method + verb {
	case "POSTdisable":
		needs, do = "iam.serviceAccountKeys.disable", func(k *ServiceKey) { k.Disabled = true }
	case "POSTenable":
		needs, do = "iam.serviceAccountKeys.enable", func(k *ServiceKey) { k.Disabled = false }
	case "DELETE":
		needs, do = "iam.serviceAccountKeys.delete", func(k *ServiceKey) {
			f.Accounts[email] = slices.DeleteFunc(f.Accounts[email], func(o *ServiceKey) bool { return o == k })
		}
	}
	return Operation{Needs: needs, Do: func() (int, any) {
		k := f.Key(email, id)
		if k == nil {
			return GoogleError(404, "NOT_FOUND")
		}
		do(k)
		return 200, f.shown(email, k, r.URL.Query().Get("publicKeyType") == "TYPE_X509_PEM_FILE")
	}}, true
}

func (f *IAM) shown(email string, k *ServiceKey, public bool) map[string]any {
	shown := map[string]any{"name": "projects/shop/serviceAccounts/" + email + "/keys/" + k.ID, "keyType": k.Kind, "disabled": k.Disabled, "disableReason": k.Reason}
	if public {
		shown["publicKeyData"] = base64.StdEncoding.EncodeToString([]byte(k.Certificate))
	}
	return shown
}

func (f *IAM) list(email string) (int, any) {
	keys, ok := f.Accounts[email]
	if !ok {
		return GoogleError(403, "PERMISSION_DENIED") // what a wildcard for the project makes of it
	}
	all := []any{}
	for _, k := range keys {
		if k.Hidden > 0 {
			k.Hidden--
			continue
		}
		all = append(all, f.shown(email, k, false))
	}
	return 200, map[string]any{"keys": all}
}

func (f *IAM) create(email string, upload bool, r *http.Request) (int, any) {
	policy := map[bool]string{true: "iam.disableServiceAccountKeyUpload", false: "iam.managed.disableServiceAccountKeyCreation"}[upload]
	if slices.Contains(f.Forbidden, policy) {
		return 400, map[string]any{"error": map[string]any{"code": 400, "status": "FAILED_PRECONDITION",
			"details": []any{map[string]any{"violations": []any{map[string]string{"type": "constraints/" + policy}}}}}}
	}
	if len(f.Accounts[email]) >= 10 {
		return GoogleError(400, "FAILED_PRECONDITION")
	}
	body := Body[struct{ PublicKeyData []byte }](r)
	if upload {
		block, _ := pem.Decode(body.PublicKeyData)
		if block == nil {
			return GoogleError(400, "INVALID_ARGUMENT")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || c.NotAfter.Before(time.Now()) || c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
			return GoogleError(400, "INVALID_ARGUMENT")
		}
		return 200, f.shown(email, f.Insert(email, string(body.PublicKeyData), "USER_MANAGED"), false)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return GoogleError(500, "INTERNAL")
	}
	certificate, err := CertificateOf(key)
	if err != nil {
		return GoogleError(500, "INTERNAL")
	}
	der, _ := x509.MarshalPKCS8PrivateKey(key) // RSA always can be
	k := f.Insert(email, certificate, "USER_MANAGED")
	file, _ := json.Marshal(map[string]string{
		"private_key_id": k.ID, "client_email": email, "private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE" + " KEY", Bytes: der})),
	})
	shown := f.shown(email, k, false)
	shown["privateKeyData"] = base64.StdEncoding.EncodeToString(file)
	return 200, shown
}

// Keys is how many keys an account has that its users made.
func (f *IAM) Keys(email string) (n int) {
	f.Do(func() { n = len(f.Accounts[email]) })
	return n
}
