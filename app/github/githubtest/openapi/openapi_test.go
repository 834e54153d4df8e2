package openapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
)

// description is loaded once: it takes its time.
var description = sync.OnceValues(func() (*Validator, error) { return Load(os.Getenv(Variable)) })

func load(t *testing.T) *Validator {
	t.Helper()
	Path(t)
	v, err := description()
	if err != nil {
		t.Fatal(err)
	}
	return v.Fresh()
}

// TestViolations breaks the description on purpose: from either side, and by
// calling what there is not.
func TestViolations(t *testing.T) {
	loaded := load(t)
	const token = `{"token":"x","expires_at":"2026-01-01T00:00:00Z"}`
	for name, test := range map[string]struct {
		method, path, request string
		status                int
		response              string
		says                  string // "" when nothing is wrong
	}{
		"good":              {"POST", "/app/installations/1/access_tokens", `{}`, 201, token, ""},
		"good with prefix":  {"POST", "/api/v3/app/installations/1/access_tokens", `{}`, 201, token, ""},
		"slashes in a path": {"GET", "/api/v3/repos/o/r/contents/a/b/c.txt?ref=main", "", 404, `{}`, ""},
		"slashes in a ref":  {"GET", "/api/v3/repos/o/r/commits/feature/x/check-runs", "", 200, `{"total_count":0,"check_runs":[]}`, ""},
		"request":           {"POST", "/api/v3/repos/o/r/issues/1/comments", `{"text":"x"}`, 401, `{}`, "request: /body"},
		"request's enum":    {"PATCH", "/api/v3/repos/o/r/check-runs/1", `{"status":"done"}`, 422, `{"message":"x","documentation_url":"y"}`, "request: "},
		"label":             {"PATCH", "/api/v3/repos/o/r/check-runs/1", `{"actions":[{"label":"` + strings.Repeat("a", 21) + `","description":"d","identifier":"i"}]}`, 401, `{}`, "request: "},
		"query":             {"GET", "/api/v3/repos/o/r/pulls?state=ajar", "", 200, `[]`, "request: "},
		"response":          {"POST", "/api/v3/app/installations/1/access_tokens", `{}`, 201, `{"token":"x"}`, "response 201: /expires_at"},
		"response's status": {"POST", "/api/v3/app/installations/1/access_tokens", `{}`, 299, token, "status 299"},
		"no such operation": {"GET", "/api/v3/nothing/here", "", 404, `{}`, "GitHub has no such operation"},
	} {
		v := loaded.Fresh()
		var passed string
		server := httptest.NewServer(v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			passed = string(body)
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(test.status)
			io.WriteString(w, test.response)
		})))
		got := call(t, test.method, server.URL+test.path, test.request)
		server.Close()
		if passed != test.request || got != test.response {
			t.Errorf("%s: the request or the answer did not come through as it was", name)
		}
		if found := v.Violations(); test.says == "" && len(found) > 0 {
			t.Errorf("%s: violations: %v, want none", name, found)
		} else if test.says != "" && (len(found) != 1 || !strings.Contains(found[0].String(), test.says)) {
			t.Errorf("%s: violations %v, want one that says %q", name, found, test.says)
		}
	}
}

func call(t *testing.T, method, url, body string) string {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestUnknownRoute(t *testing.T) {
	v := load(t)
	server := httptest.NewServer(v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Unknown-Route", "1")
		w.WriteHeader(http.StatusNotFound)
	})))
	defer server.Close()
	call(t, "GET", server.URL+"/api/v3/zen", "")
	if got := v.Violations(); len(got) != 1 || !strings.Contains(got[0].What, "simulated GitHub has no such operation") {
		t.Errorf("violations %v, want one", got)
	}
}

func TestWebhook(t *testing.T) {
	v := load(t)
	if err := v.Webhook("ping", "", []byte(`{"zen":"x","hook_id":1}`)); err != nil {
		t.Errorf("a good ping: %v", err)
	}
	for name, err := range map[string]error{
		"a ping of the wrong type": v.Webhook("ping", "", []byte(`{"zen":7}`)),
		"an empty push":            v.Webhook("push", "", []byte(`{}`)),
		"an event of no schema":    v.Webhook("no_such", "thing", []byte(`{}`)),
		"no JSON":                  v.Webhook("ping", "", []byte(`{`)),
	} {
		if err == nil {
			t.Errorf("%s is allowed", name)
		}
	}
}
