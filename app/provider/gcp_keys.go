package provider

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/rules"
)

// Keys of service accounts are looked after with Stanch's own account:
// https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts.keys
// Access tokens that were made with a key work on for up to an hour after it is
// disabled; only disabling the whole service account would end them.
const (
	googleIAM     = "https://iam.googleapis.com"
	googleKeys    = "/v1/projects/-/serviceAccounts/{client_email}/keys"
	googleKeyPath = googleKeys + "/{private_key_id}"
)

// What Stanch's account needs for them.
const (
	mayListKeys    = "iam.serviceAccountKeys.list"
	mayReadKey     = "iam.serviceAccountKeys.get"
	mayCreateKey   = "iam.serviceAccountKeys.create"
	mayDisableKey  = "iam.serviceAccountKeys.disable"
	mayEnableKey   = "iam.serviceAccountKeys.enable"
	mayDeleteKey   = "iam.serviceAccountKeys.delete"
	noGoogle       = "Stanch has no account at Google Cloud: set GOOGLE_APPLICATION_CREDENTIALS or STANCH_GCP_PROJECTS"
	notGoogleEmail = "the address of the service account does not stand beside the key"
)

// GoogleKeyPolicy is what Stanch's account needs for keys of service accounts, as
// permissions of a custom role in their projects.
func GoogleKeyPolicy() grants.Policy {
	return grants.Policy{Name: "Google Cloud service account keys", Syntax: "gcloud", Lines: []grants.Line{
		{Grant: mayListKeys, For: "issue, disable, enable, revoke, last use"},
		{Grant: mayReadKey, For: "issue, disable, enable, revoke, last use"},
		{Grant: mayCreateKey, For: "issue"},
		{Grant: mayDisableKey, For: "disable"},
		{Grant: mayEnableKey, For: "enable"},
		{Grant: mayDeleteKey, For: "revoke"},
		{Grant: mayQueryUse, For: "last use", Optional: true},
	}}
}

// googleReasons are why Google disables keys by itself.
// https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts.keys
var googleReasons = []string{"SERVICE_ACCOUNT_KEY_DISABLE_REASON_EXPOSED", "SERVICE_ACCOUNT_KEY_DISABLE_REASON_COMPROMISE_DETECTED"}

var googleEmail = regexp.MustCompile(`^[0-9a-z_.-]{3,100}@[0-9a-z.-]{3,100}\.gserviceaccount\.com$`)

// A userKey is one of the keys of a service account that its users made.
type userKey struct {
	id, name string
	disabled bool
	byGoogle bool   // which found it leaked, and disabled it
	spki     []byte // of the public key
}

// keyCall is a call about the keys of an account, or about one of them.
func keyCall(method, email, id, verb, needs string) cloud.Call {
	c := cloud.Call{Method: method, Path: "/v1/projects/-/serviceAccounts/" + url.PathEscape(email) + "/keys", Name: googleKeys, Needs: needs}
	if id != "" {
		c.Path, c.Name = c.Path+"/"+url.PathEscape(id), googleKeyPath
	}
	if method == http.MethodPost {
		c.Body = struct{}{}
	}
	c.Path, c.Name = c.Path+verb, c.Name+verb
	return c
}

func (g *google) iam() cloud.API { return g.web.api("gcp", googleIAM, g.account.Token) }

// userKeys lists the keys of an account with their public halves. Those that Google
// keeps for itself are not among them.
func (g *google) userKeys(ctx context.Context, email string) ([]userKey, error) {
	var listed struct {
		Keys []struct {
			Name, KeyType, DisableReason string
			Disabled                     bool
		}
	}
	list := keyCall(http.MethodGet, email, "", "", mayListKeys)
	list.Path += "?keyTypes=USER_MANAGED"
	if err := g.iam().Do(ctx, list, &listed); err != nil {
		return nil, err
	}
	var all []userKey
	for _, k := range listed.Keys {
		if k.KeyType != "USER_MANAGED" {
			continue
		}
		key := userKey{id: path.Base(k.Name), name: k.Name, disabled: k.Disabled, byGoogle: slices.Contains(googleReasons, k.DisableReason)}
		spki, err := g.publicHalf(ctx, email, key.id)
		if cloud.Answered(err, http.StatusNotFound) {
			continue // deleted since it was listed
		}
		if err != nil {
			return nil, err
		}
		key.spki = spki
		all = append(all, key)
	}
	return all, nil
}

func (g *google) publicHalf(ctx context.Context, email, id string) ([]byte, error) {
	var read struct{ PublicKeyData []byte }
	get := keyCall(http.MethodGet, email, id, "", mayReadKey)
	get.Path += "?publicKeyType=TYPE_X509_PEM_FILE"
	if err := g.iam().Do(ctx, get, &read); err != nil {
		return nil, err
	}
	block, _ := pem.Decode(read.PublicKeyData)
	if block == nil {
		return nil, fmt.Errorf("key %s of the service account has no certificate in PEM", short(id))
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the certificate of key %s of the service account cannot be read", short(id))
	}
	return c.RawSubjectPublicKeyInfo, nil
}

// ofKey returns the keys with this public half. Uploaded twice, it has two ids, and
// the private half works as long as one of them does.
func ofKey(all []userKey, spki []byte) []userKey {
	return slices.DeleteFunc(slices.Clone(all), func(k userKey) bool { return !bytes.Equal(k.spki, spki) })
}

// errMixed means that the parts of a leaked key file do not belong together.
var errMixed = errors.New("the key of the id that stands in the file is another one than the file's: a person must find out which of the two leaked")

// victims finds the leaked key among those of its account: by its public half, and not
// by the id that stands beside it, which must not name another one.
func (g *google) victims(ctx context.Context, t Target) ([]userKey, string, error) {
	email := t.Parts["email"].Expose()
	leaked, err := readKey(t.Secret().Expose())
	switch {
	case err != nil || leaked.spki == nil:
		return nil, "", errors.New("the private key cannot be read")
	case !googleEmail.MatchString(email):
		return nil, "", errors.New(notGoogleEmail)
	case bytes.Equal(leaked.spki, g.ownKey):
		return nil, "", errors.New("it is the key that Stanch itself logs in with: a person replaces it")
	}
	all, err := g.userKeys(ctx, email)
	if err != nil {
		return nil, "", err
	}
	id := t.Parts["id"].Expose()
	if slices.ContainsFunc(all, func(k userKey) bool { return k.id == id && !bytes.Equal(k.spki, leaked.spki) }) {
		return nil, "", errMixed
	}
	return ofKey(all, leaked.spki), email, nil
}

func (g *google) whyNoRevoke(*rules.Rule) string {
	if g.account == nil {
		return "revoke: " + noGoogle
	}
	return ""
}

func (*google) tell(*rules.Rule) Calls {
	return Calls{
		Verify: "GET " + googleCertificates + googleCertificatesPath + "{client_email}", Disable: "POST " + googleIAM + googleKeyPath + ":disable",
		Enable: "POST " + googleIAM + googleKeyPath + ":enable", Revoke: "DELETE " + googleIAM + googleKeyPath, Issue: "POST " + googleIAM + googleKeys + ":upload",
	}
}

// revoke deletes the leaked key, for good.
func (g *google) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	return g.each(ctx, rule, t, keyChange{http.MethodDelete, "", mayDeleteKey, "deleted", rules.MeansRevoked, ErrCannotRevoke}, func(userKey) bool { return true })
}

func (g *google) disable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	return g.each(ctx, rule, t, keyChange{http.MethodPost, ":disable", mayDisableKey, "disabled", rules.MeansRevoked, ErrCannotDisable}, func(k userKey) bool { return !k.disabled })
}

// enable takes back what disable did, and not what Google did.
func (g *google) enable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	return g.each(ctx, rule, t, keyChange{http.MethodPost, ":enable", mayEnableKey, "enabled", rules.MeansAccepted, ErrCannotDisable}, func(k userKey) bool { return k.disabled })
}

// A keyChange is what is done to a key.
type keyChange struct {
	method, verb, needs, done string
	means                     rules.Meaning
	cannot                    error // for what a program must not decide
}

// each does something to the leaked key under each of its ids that want it.
func (g *google) each(ctx context.Context, rule *rules.Rule, t Target, c keyChange, wants func(userKey) bool) (Receipt, error) {
	api, call := g.iam(), keyCall(c.method, "-", "-", c.verb, c.needs)
	receipt := Receipt{Meaning: c.means, Evidence: Evidence{Request: api.Told(call), At: g.now()}}
	keys, email, err := g.victims(ctx, t)
	var said *cloud.Error
	if err != nil && !errors.As(err, &said) {
		return Receipt{}, fmt.Errorf("%s: %w: %w", rule.ID, c.cannot, err)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("find the key of %s: %w", rule.ID, err)
	}
	if c.verb == ":enable" && slices.ContainsFunc(keys, func(k userKey) bool { return k.disabled && k.byGoogle }) {
		return Receipt{}, fmt.Errorf("%s: %w: Google found the key leaked and disabled it: a person decides whether it is enabled", rule.ID, c.cannot)
	}
	var ids []string
	for _, k := range slices.DeleteFunc(slices.Clone(keys), func(k userKey) bool { return !wants(k) }) {
		err := api.Do(ctx, keyCall(c.method, email, k.id, c.verb, c.needs), nil)
		if err != nil && !cloud.Answered(err, http.StatusNotFound) {
			return Receipt{}, fmt.Errorf("%s: %w", rule.ID, err)
		}
		ids = append(ids, k.id)
	}
	switch {
	case len(ids) > 0:
		receipt.Evidence.Status, receipt.Evidence.Answer = http.StatusOK, c.done+" key "+strings.Join(ids, " and ")
	case len(keys) > 0:
		receipt.Evidence.Answer = "it is " + c.done + " already"
	default:
		receipt.Meaning, receipt.Evidence.Answer = rules.MeansAlreadyDead, "the account has no such key"
	}
	return receipt, nil
}

// certificateData is how a public key is uploaded, and how Google hands it out.
func certificateData(der []byte) string {
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
