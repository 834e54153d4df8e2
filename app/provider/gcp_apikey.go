package provider

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// googleAPIKeys replaces and deletes Google's API keys. Google tells which key a text
// is, so that no other can be meant. A deleted key works nowhere, and can be brought
// back for thirty days, after which Google purges it: there is no sooner end, and so
// disabling a key and revoking it are the same.
// https://cloud.google.com/api-keys/docs/reference/rest/v2/projects.locations.keys
type googleAPIKeys struct {
	gcp   *google
	pause time.Duration // before a new key is asked for again
}

const (
	googleAPIKeysBase = "https://apikeys.googleapis.com"
	lookupKey         = "/v2/keys:lookupKey"
	// newKeyTries is how often a new key is asked for, which takes Google some seconds.
	newKeyTries = 10
	newKeyPause = time.Second
	// googleNameLength is the longest name that a key can have for people.
	googleNameLength = 63
)

// What Stanch's account needs for them.
const (
	mayLookUpAPIKey   = "apikeys.keys.lookup"
	mayGetAPIKey      = "apikeys.keys.get"
	mayCreateAPIKey   = "apikeys.keys.create"
	mayReadAPIKey     = "apikeys.keys.getKeyString"
	mayDeleteAPIKey   = "apikeys.keys.delete"
	mayUndeleteAPIKey = "apikeys.keys.undelete"
)

// GoogleAPIKeyPolicy is what Stanch's account needs for API keys, as permissions of a
// custom role in their projects.
func GoogleAPIKeyPolicy() grants.Policy {
	return grants.Policy{Name: "Google Cloud API keys", Syntax: "gcloud", Lines: []grants.Line{
		{Grant: mayLookUpAPIKey, For: "issue, disable, enable, revoke"},
		{Grant: mayGetAPIKey, For: "issue, disable, enable, revoke"},
		{Grant: mayCreateAPIKey, For: "issue"},
		{Grant: mayReadAPIKey, For: "issue"},
		{Grant: mayDeleteAPIKey, For: "disable, revoke"},
		{Grant: mayUndeleteAPIKey, For: "enable"},
	}}
}

// An apiKey is what Google says of one, besides its text.
type apiKey struct {
	Name                string
	Parent              string `json:"-"`
	DisplayName         string
	Etag                string
	DeleteTime          string
	Restrictions        json.RawMessage // who may use it for what
	ServiceAccountEmail string          // that it acts as, if it does
}

var apiKeyName = regexp.MustCompile(`^(projects/[0-9a-z.:-]+/locations/global)/keys/[0-9A-Za-z_-]+$`)

// errNoAPIKey means that Google knows no such key any more.
var errNoAPIKey = errors.New("no such key at Google, or it is purged")

func (g *googleAPIKeys) keysAPI() cloud.API {
	return g.gcp.web.api("gcp", googleAPIKeysBase, g.gcp.account.Token)
}

func (g *googleAPIKeys) whyNoRevoke(rule *rules.Rule) string { return g.gcp.whyNoRevoke(rule) }

func (g *googleAPIKeys) whyNoIssue(rule *rules.Rule) string { return g.gcp.whyNoIssue(rule) }

func (*googleAPIKeys) tell(*rules.Rule) Calls {
	const found = "GET " + googleAPIKeysBase + lookupKey + ", then "
	return Calls{
		Disable: found + "DELETE /v2/{key}", Enable: found + "POST /v2/{key}:undelete", Revoke: found + "DELETE /v2/{key}", Issue: found + "POST /v2/{parent}/keys",
	}
}

// find asks which key a text is.
func (g *googleAPIKeys) find(ctx context.Context, t Target) (k apiKey, err error) {
	var found struct{ Parent, Name string }
	call := cloud.Call{Method: http.MethodGet, Path: lookupKey + "?keyString=" + url.QueryEscape(t.Secret().Expose()), Name: lookupKey, Needs: mayLookUpAPIKey}
	err = g.keysAPI().Do(ctx, call, &found)
	switch m := apiKeyName.FindStringSubmatch(found.Name); {
	case cloud.Answered(err, http.StatusNotFound):
		return k, errNoAPIKey
	case err != nil:
		return k, err
	case found.Name == "" && found.Parent != "":
		return k, errNoAPIKey
	case m == nil:
		return k, errors.New("GET " + lookupKey + " named no key")
	default:
		k.Parent = m[1]
	}
	err = g.keysAPI().Do(ctx, cloud.Call{Method: http.MethodGet, Path: "/v2/" + found.Name, Needs: mayGetAPIKey}, &k)
	if cloud.Answered(err, http.StatusNotFound) {
		return k, errNoAPIKey
	}
	if err == nil && k.Name != found.Name {
		return k, errors.New("GET /v2/" + found.Name + " answered with another key")
	}
	return k, err
}

func (g *googleAPIKeys) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	k, err := g.find(ctx, t)
	receipt := Receipt{Meaning: rules.MeansAlreadyDead, Evidence: Evidence{Request: "GET " + g.keysAPI().Base + lookupKey, At: g.gcp.now()}}
	switch {
	case errors.Is(err, errNoAPIKey):
		receipt.Evidence.Answer = errNoAPIKey.Error()
		return receipt, nil
	case err != nil:
		return Receipt{}, fmt.Errorf("%s: %w", rule.ID, err)
	case k.DeleteTime != "":
		receipt.Evidence.Answer = "deleted already: " + k.Name
		return receipt, nil
	}
	call := cloud.Call{Method: http.MethodDelete, Path: "/v2/" + k.Name + "?etag=" + url.QueryEscape(k.Etag), Needs: mayDeleteAPIKey}
	if err := g.keysAPI().Do(ctx, call, nil); err != nil {
		return Receipt{}, fmt.Errorf("%s: %w", rule.ID, err)
	}
	return Receipt{Meaning: rules.MeansRevoked, Evidence: Evidence{
		Request: g.keysAPI().Told(call), Status: http.StatusOK, Answer: "deleted; it can be restored for 30 days", At: g.gcp.now(),
	}}, nil
}

func (g *googleAPIKeys) disable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	return g.revoke(ctx, rule, t)
}

// enable brings a deleted key back.
func (g *googleAPIKeys) enable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	k, err := g.find(ctx, t)
	switch {
	case errors.Is(err, errNoAPIKey):
		return Receipt{}, fmt.Errorf("%s: %w: %w", rule.ID, ErrCannotDisable, err)
	case err != nil:
		return Receipt{}, fmt.Errorf("%s: %w", rule.ID, err)
	}
	call := cloud.Call{Method: http.MethodPost, Path: "/v2/" + k.Name + ":undelete", Needs: mayUndeleteAPIKey, Body: struct{}{}}
	receipt := Receipt{Meaning: rules.MeansAccepted, Evidence: Evidence{Request: g.keysAPI().Told(call), Answer: "it is not deleted", At: g.gcp.now()}}
	if k.DeleteTime == "" {
		return receipt, nil
	}
	if err := g.keysAPI().Do(ctx, call, nil); err != nil {
		return Receipt{}, fmt.Errorf("%s: %w", rule.ID, err)
	}
	receipt.Evidence.Status, receipt.Evidence.Answer = http.StatusOK, "restored"
	return receipt, nil
}

// keyID is the id that an operation gives its key.
func apiKeyID(operation string) string {
	sum := sha256.Sum256([]byte(operation))
	return "stanch-" + hex.EncodeToString(sum[:10])
}

// issue makes a key that may do what the old one may. Its id is the operation's, so
// that it is made once, and Google tells its text as often as it is asked.
func (g *googleAPIKeys) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	old, err := g.find(ctx, r.Old)
	switch {
	case errors.Is(err, errNoAPIKey), !r.Again && cloud.Denied(err):
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %w", rule.ID, ErrCannotIssue, err)
	case err != nil:
		return checks.Credential{}, fmt.Errorf("issue %s: %w", rule.ID, err)
	}
	id := apiKeyID(r.Operation)
	name := old.DisplayName + " " + id
	name = strings.ToValidUTF8(name[max(0, len(name)-googleNameLength):], "")
	body := map[string]any{"displayName": name, "annotations": map[string]string{"stanch_operation": r.Operation}}
	if old.Restrictions != nil {
		body["restrictions"] = old.Restrictions
	}
	if old.ServiceAccountEmail != "" {
		body["serviceAccountEmail"] = old.ServiceAccountEmail
	}
	err = g.keysAPI().Do(ctx, cloud.Call{Method: http.MethodPost, Path: "/v2/" + old.Parent + "/keys?keyId=" + id, Needs: mayCreateAPIKey, Body: body}, nil)
	var said *cloud.Error
	switch {
	case err == nil, cloud.Answered(err, http.StatusConflict): // an earlier request made it
	case !r.Again && errors.As(err, &said) && said.Refused() && said.Status != http.StatusTooManyRequests:
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %w", rule.ID, ErrCannotIssue, err)
	default:
		return checks.Credential{}, fmt.Errorf("issue %s: %w", rule.ID, err)
	}
	return g.text(ctx, rule, old.Parent+"/keys/"+id)
}

// text asks for a new key's text until there is one.
func (g *googleAPIKeys) text(ctx context.Context, rule *rules.Rule, name string) (checks.Credential, error) {
	call := cloud.Call{Method: http.MethodGet, Path: "/v2/" + name + "/keyString", Needs: mayReadAPIKey}
	for n := 0; ; n++ {
		var got struct{ KeyString string }
		err := g.keysAPI().Do(ctx, call, &got)
		switch {
		case err == nil && got.KeyString != "":
			return checks.Credential{Rule: rule.ID, Parts: map[string]checks.Secret{checks.PartSecret: checks.NewSecret(got.KeyString)}}, nil
		case err != nil && !cloud.Answered(err, http.StatusNotFound) || n == newKeyTries:
			return checks.Credential{}, fmt.Errorf("issue %s: the key %s is made, and its text does not come: %w", rule.ID, name, err)
		}
		select {
		case <-ctx.Done():
			return checks.Credential{}, fmt.Errorf("issue %s: the key %s is being made: %w", rule.ID, name, ctx.Err())
		case <-time.After(g.pause):
		}
	}
}
