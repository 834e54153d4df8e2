package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const apiKeyParent = "projects/20000000001/locations/global"

type fakeAPIKey struct {
	text          string
	said          map[string]any
	deleted, gone bool // gone: purged
	later         int  // how often its text is not known yet
}

// fakeAPIKeys is Google's API Keys API, and an API that wants a key.
type fakeAPIKeys struct {
	*cloudtest.Cloud
	t    *testing.T
	p    *Providers
	keys map[string]*fakeAPIKey // by their ids
	lag  int
}

func newFakeAPIKeys(t *testing.T) *fakeAPIKeys {
	f := &fakeAPIKeys{t: t, keys: map[string]*fakeAPIKey{}}
	var own []byte
	f.Cloud, own = cloudtest.Google(t)
	f.Find(f.find)
	f.Public(f.models)
	account, err := cloud.NewGoogle(own)
	if err != nil {
		t.Fatal(err)
	}
	f.p = newProviders(t, Config{BaseURLs: map[string]string{"gcp": f.URL}, Google: account})
	f.p.revokers[driverGCPAPIKey].(*googleAPIKeys).pause = 0
	return f
}

func (f *fakeAPIKeys) add(id string, cred checks.Credential) {
	f.Do(func() {
		f.keys[id] = &fakeAPIKey{text: cred.Secret().Expose(), said: map[string]any{
			"displayName": "Maps of the shop, for customers in Europe and elsewhere (web)", "etag": "e-" + id,
			"restrictions": map[string]any{"apiTargets": []any{map[string]any{"service": "maps.googleapis.com"}}}}}
	})
}

// models says whether a key works.
func (f *fakeAPIKeys) models(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/v1beta/models" {
		return false
	}
	for _, k := range f.keys {
		if k.text == r.Header.Get("X-Goog-Api-Key") && !k.deleted && !k.gone {
			answer(w, 200, "application/json", `{"models":[{"name":"m"}]}`)
			return true
		}
	}
	answer(w, 400, "application/json", `{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}`)
	return true
}

var apiKeyPath = regexp.MustCompile(`^/v2/` + apiKeyParent + `/keys(?:/([a-z0-9-]+)(/keyString|:undelete)?)?$`)

func (f *fakeAPIKeys) find(r *http.Request) (cloudtest.Operation, bool) {
	do := func(needs string, do func() (int, any)) (cloudtest.Operation, bool) {
		return cloudtest.Operation{Needs: "apikeys.keys." + needs, Do: do}, true
	}
	if r.URL.Path == "/v2/keys:lookupKey" {
		return do("lookup", func() (int, any) { return f.lookUp(r.URL.Query().Get("keyString")) })
	}
	m := apiKeyPath.FindStringSubmatch(r.URL.Path)
	if m == nil {
		return cloudtest.Operation{}, false
	}
	id, k := m[1], f.keys[m[1]]
	if id != "" && k == nil {
		return do("get", func() (int, any) { return cloudtest.GoogleError(404, "NOT_FOUND") })
	}
	switch r.Method + m[2] {
	case "POST":
		return do("create", func() (int, any) { return f.create(r) })
	case "GET":
		return do("get", func() (int, any) { return 200, f.shown(id) })
	case "GET/keyString":
		return do("getKeyString", func() (int, any) {
			if k.later--; k.later >= 0 {
				return cloudtest.GoogleError(404, "NOT_FOUND")
			}
			return 200, map[string]string{"keyString": k.text}
		})
	case "DELETE":
		return do("delete", func() (int, any) {
			if r.URL.Query().Get("etag") != k.said["etag"] {
				return cloudtest.GoogleError(409, "ABORTED")
			}
			k.deleted = true
			return 200, map[string]string{"name": "operations/1"}
		})
	case "POST:undelete":
		return do("undelete", func() (int, any) { k.deleted = false; return 200, map[string]string{"name": "operations/2"} })
	}
	return cloudtest.Operation{}, false
}

func (f *fakeAPIKeys) lookUp(text string) (int, any) {
	for id, k := range f.keys {
		if k.text == text && k.gone {
			return 200, map[string]string{"parent": apiKeyParent}
		}
		if k.text == text {
			return 200, map[string]string{"parent": apiKeyParent, "name": apiKeyParent + "/keys/" + id}
		}
	}
	return cloudtest.GoogleError(404, "NOT_FOUND")
}

func (f *fakeAPIKeys) shown(id string) map[string]any {
	shown := map[string]any{"name": apiKeyParent + "/keys/" + id}
	for name, value := range f.keys[id].said {
		shown[name] = value
	}
	if f.keys[id].deleted {
		shown["deleteTime"] = "2026-11-27T12:00:00Z"
	}
	return shown
}

func (f *fakeAPIKeys) create(r *http.Request) (int, any) {
	id := r.URL.Query().Get("keyId")
	if f.keys[id] != nil {
		return cloudtest.GoogleError(409, "ALREADY_EXISTS")
	}
	said := cloudtest.Body[map[string]any](r)
	if name, _ := said["displayName"].(string); len(name) > 63 || !regexp.MustCompile(`^[a-z][a-z0-9-]{0,61}[a-z0-9]$`).MatchString(id) {
		return cloudtest.GoogleError(400, "INVALID_ARGUMENT")
	}
	said["etag"] = "e-" + id
	f.keys[id] = &fakeAPIKey{text: sample(f.t, "gcp-api-key").Secret().Expose(), said: said, later: f.lag}
	return 200, map[string]string{"name": "operations/0"}
}

func TestGoogleAPIKeyRotation(t *testing.T) {
	f := newFakeAPIKeys(t)
	leaked, alike := sample(t, "gcp-api-key"), sample(t, "gcp-api-key")
	text := leaked.Secret().Expose()
	nearly := credential("gcp-api-key", text[:len(text)-1]+string(text[len(text)-1]^1))
	f.add("web", leaked)
	f.add("web-2", alike)
	f.add("web-3", nearly)
	f.lag = 3
	fresh, _, err := operate(t, f.p, leaked, "op-1")
	if err != nil {
		t.Fatal(err)
	}
	f.Do(func() {
		made := f.keys[apiKeyID("op-1")]
		if diff := cmp.Diff(f.keys["web"].said["restrictions"], made.said["restrictions"]); diff != "" {
			t.Errorf("restrictions (-old +new):\n%s", diff)
		}
		if fmt.Sprint(made.said["annotations"]) != "map[stanch_operation:op-1]" {
			t.Errorf("the operation is not noted: %v", made.said)
		}
	})
	wantValidity(t, f.p, fresh, checks.Active)
	wantValidity(t, f.p, leaked, checks.Active)
	target := Target{Credential: leaked}
	for _, want := range []rules.Meaning{rules.MeansRevoked, rules.MeansAlreadyDead} {
		if got, err := f.p.Disable(t.Context(), target); err != nil || got.Meaning != want {
			t.Errorf("%+v, %v; want %s", got, err, want)
		}
		wantValidity(t, f.p, leaked, checks.Inactive)
	}
	for range 2 {
		if _, err := f.p.Enable(t.Context(), target); err != nil {
			t.Error(err)
		}
		wantValidity(t, f.p, leaked, checks.Active)
	}
	for _, want := range []rules.Meaning{rules.MeansRevoked, rules.MeansAlreadyDead} {
		got, err := f.p.Revoke(t.Context(), target)
		if said, _ := json.Marshal(got); err != nil || got.Meaning != want || strings.Contains(string(said), text) {
			t.Errorf("%s, %v; want %s", said, err, want)
		}
	}
	for _, alive := range []checks.Credential{fresh, alike, nearly} {
		wantValidity(t, f.p, alive, checks.Active)
	}
	f.Do(func() { f.keys["web"].gone = true })
	if got, err := f.p.Revoke(t.Context(), target); err != nil || got.Meaning != rules.MeansAlreadyDead {
		t.Errorf("a purged key: %+v, %v", got, err)
	}
	if _, err := f.p.Enable(t.Context(), target); !errors.Is(err, ErrCannotDisable) {
		t.Errorf("a purged key came back: %v", err)
	}
	if _, _, err := operate(t, f.p, sample(t, "gcp-api-key"), "op-2"); !errors.Is(err, ErrCannotIssue) {
		t.Errorf("an unknown key was replaced: %v", err)
	}
}

func TestGoogleAPIKeyLostAnswers(t *testing.T) {
	for _, lag := range []int{0, 2, 15} {
		f := newFakeAPIKeys(t)
		leaked := sample(t, "gcp-api-key")
		f.add("web", leaked)
		f.lag = lag
		f.Lose("POST /v2/" + apiKeyParent + "/keys")
		_, r, err := operate(t, f.p, leaked, "op-1")
		if err == nil || errors.Is(err, ErrCannotIssue) || strings.Contains(err.Error(), leaked.Secret().Expose()) {
			t.Fatalf("%v", err)
		}
		r.Again = true
		var fresh checks.Credential
		for range 3 {
			if fresh, err = f.p.Issue(t.Context(), r); err == nil {
				break
			}
		}
		if err != nil || len(f.keys) != 2 {
			t.Fatalf("%v, %d keys", err, len(f.keys))
		}
		wantValidity(t, f.p, fresh, checks.Active)
	}
}

func TestGoogleAPIKeyPolicyIsSufficientAndMinimal(t *testing.T) {
	f := newFakeAPIKeys(t)
	leaked := sample(t, "gcp-api-key")
	n := 0
	checkPolicy(t, f.Cloud, GoogleAPIKeyPolicy(), func(action string) (err error) {
		f.add("web", leaked)
		target := Target{Credential: leaked}
		switch n++; action {
		case "issue":
			_, _, err = operate(t, f.p, leaked, fmt.Sprint("op-", n))
		case "disable":
			_, err = f.p.Disable(t.Context(), target)
		case "enable":
			f.Do(func() { f.keys["web"].deleted = true })
			_, err = f.p.Enable(t.Context(), target)
		case "revoke":
			_, err = f.p.Revoke(t.Context(), target)
		}
		return err
	})
}
