package app_test

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/rules"
)

// TestDashboardOfProviders: a host that takes anything is shown to who may see an
// incident, with what was answered, and without a credential.
func TestDashboardOfProviders(t *testing.T) {
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"id":42,"user_id":7,"name":"deploy","active":true,"revoked":false,"scopes":["api"]}`))
	}))
	t.Cleanup(gateway.Close)
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy(), tamper: func(w *world, cfg *app.Config) {
		withDashboard(w, cfg)
		cfg.Providers.BaseURLs["gitlab"] = gateway.URL
	}})
	w.person("visitor", "read")
	w.person("stranger", "none")
	holds(t, w.browser().must("/providers"), "Sign in with GitHub")
	if status, _ := w.browse("dana").get("/providers"); status != http.StatusNotFound {
		t.Errorf("without an incident: %d", status)
	}

	g := w.seeded()
	leaked, live := sampleOf(t, "gitlab-pat"), w.token("live")
	head := w.leak(g, "held", "a.env", "GITLAB_TOKEN="+leaked+"\n"+env(live))
	w.check(head, "is red", completed("failure"))
	for _, who := range []string{"dana", "visitor"} {
		b := w.browse(who)
		holds(t, b.must("/incidents"), `href="/providers"`)
		page := b.must("/providers")
		holds(t, page, "Held at grade C", "<code>gitlab-pat</code>", gateway.URL, "200 with identity", "<time datetime=",
			"takes anything", "unknown", // what came of the question
			"<b>github</b>", "active") // who answers as he should is counted and not held
		if _, held, _ := strings.Cut(page, "Held at grade C"); strings.Contains(held[:strings.Index(held, "Answers since")], "github-pat") {
			t.Errorf("GitHub is held:\n%s", page)
		}
		for _, token := range []string{leaked, live} {
			if githubtest.Holds([]byte(page), token) {
				t.Error("the page holds a credential")
			}
		}
	}
	if status, page := w.browse("stranger").get("/providers"); status != http.StatusNotFound || strings.Contains(page, "gitlab") {
		t.Errorf("a stranger gets %d:\n%s", status, page)
	}
}

// sampleOf makes up a credential of a kind.
func sampleOf(t *testing.T, id string) string {
	t.Helper()
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range catalogue {
		if r.ID == id {
			value, err := rules.Expand(r.Sample, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("there is no rule %s", id)
	return ""
}
