package cloudtest

import (
	"net/http"
	"regexp"
	"strings"
)

// An APIKey is one at an APIKeys.
type APIKey struct {
	Text          string
	Parent        string // its project's
	Said          map[string]any
	Deleted, Gone bool // Gone: purged
	later         int  // how often its text is not known yet
}

// APIKeys is Google's API Keys API, and an API that wants a key.
type APIKeys struct {
	*Cloud
	Keys map[string]*APIKey // by their ids
	Lag  int                // how often the text of a new one is not known yet
	text func() string      // a new key's
}

// NewAPIKeys adds the two to a Google Cloud.
func NewAPIKeys(c *Cloud, text func() string) *APIKeys {
	f := &APIKeys{Cloud: c, Keys: map[string]*APIKey{}, text: text}
	c.Find(f.find)
	c.Public(f.models)
	return f
}

// models is an API for which a key that is restricted to others is none, and which says so
// with the key's project.
func (f *APIKeys) models(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/v1beta/models" {
		return false
	}
	refuse := func(status int, detail map[string]any) {
		f.answer(w, status, map[string]any{"error": map[string]any{"code": status, "details": []any{detail}}})
	}
	for _, k := range f.Keys {
		switch {
		case k.Text != r.Header.Get("X-Goog-Api-Key") || k.Deleted || k.Gone:
			continue
		case k.Said["restrictions"] == nil:
			f.answer(w, 200, map[string]any{"models": []any{map[string]string{"name": "m"}}})
		default:
			project, _, _ := strings.Cut(k.Parent, "/locations/")
			refuse(403, map[string]any{"reason": "API_KEY_SERVICE_BLOCKED", "metadata": map[string]string{"consumer": project}})
		}
		return true
	}
	refuse(400, map[string]any{"reason": "API_KEY_INVALID"})
	return true
}

var apiKeyPath = regexp.MustCompile(`^/v2/(projects/[0-9]+/locations/global)/keys(?:/([a-z0-9-]+)(/keyString|:undelete)?)?$`)

func (f *APIKeys) find(r *http.Request) (Operation, bool) {
	do := func(needs string, do func() (int, any)) (Operation, bool) {
		return Operation{Needs: "apikeys.keys." + needs, Do: do}, true
	}
	if r.URL.Path == "/v2/keys:lookupKey" {
		return do("lookup", func() (int, any) { return f.lookUp(r.URL.Query().Get("keyString")) })
	}
	m := apiKeyPath.FindStringSubmatch(r.URL.Path)
	if m == nil {
		return Operation{}, false
	}
	id, k := m[2], f.Keys[m[2]]
	if id != "" && (k == nil || k.Parent != m[1]) {
		return do("get", func() (int, any) { return GoogleError(404, "NOT_FOUND") })
	}
	switch r.Method + m[3] {
	case "POST":
		return do("create", func() (int, any) { return f.create(m[1], r) })
	case "GET":
		return do("get", func() (int, any) { return 200, f.shown(id) })
	case "GET/keyString":
		return do("getKeyString", func() (int, any) {
			if k.later--; k.later >= 0 {
				return GoogleError(404, "NOT_FOUND")
			}
			return 200, map[string]string{"keyString": k.Text}
		})
	case "DELETE":
		return do("delete", func() (int, any) {
			if r.URL.Query().Get("etag") != k.Said["etag"] {
				return GoogleError(409, "ABORTED")
			}
			k.Deleted = true
			return 200, map[string]string{"name": "operations/1"}
		})
	case "POST:undelete":
		return do("undelete", func() (int, any) { k.Deleted = false; return 200, map[string]string{"name": "operations/2"} })
	}
	return Operation{}, false
}

func (f *APIKeys) lookUp(text string) (int, any) {
	for id, k := range f.Keys {
		if k.Text == text && k.Gone {
			return 200, map[string]string{"parent": k.Parent}
		}
		if k.Text == text {
			return 200, map[string]string{"parent": k.Parent, "name": k.Parent + "/keys/" + id}
		}
	}
	return GoogleError(404, "NOT_FOUND")
}

func (f *APIKeys) shown(id string) map[string]any {
	shown := map[string]any{"name": f.Keys[id].Parent + "/keys/" + id}
	for name, value := range f.Keys[id].Said {
		shown[name] = value
	}
	if f.Keys[id].Deleted {
		shown["deleteTime"] = "2026-11-27T12:00:00Z"
	}
	return shown
}

func (f *APIKeys) create(parent string, r *http.Request) (int, any) {
	id := r.URL.Query().Get("keyId")
	if f.Keys[id] != nil {
		return GoogleError(409, "ALREADY_EXISTS")
	}
	said := Body[map[string]any](r)
	if name, _ := said["displayName"].(string); len(name) > 63 || !regexp.MustCompile(`^[a-z][a-z0-9-]{0,61}[a-z0-9]$`).MatchString(id) {
		return GoogleError(400, "INVALID_ARGUMENT")
	}
	said["etag"] = "e-" + id
	f.Keys[id] = &APIKey{Text: f.text(), Parent: parent, Said: said, later: f.Lag}
	return 200, map[string]string{"name": "operations/0"}
}
