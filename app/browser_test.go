package app_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/checks"
)

// dashboardURL is what the world's browsers call the App's server.
const dashboardURL = "http://stanch.example"

// withDashboard switches the dashboard on.
func withDashboard(w *world, cfg *app.Config) {
	w.github.SetCallback(w.self.ID, dashboardURL+"/sign-in/callback")
	cfg.Dashboard = &app.Dashboard{URL: dashboardURL, ClientID: w.self.ClientID, ClientSecret: checks.NewSecret(w.self.ClientSecret)}
}

// A browser is somebody who looks at the dashboard. What it has seen is kept.
type browser struct {
	w      *world
	client *http.Client
	seen   []string
}

func (w *world) browser() *browser {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	w.must(err)
	return &browser{w: w, client: &http.Client{Jar: jar, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "stanch.example:80" {
				addr = strings.TrimPrefix(w.hook.URL, "http://")
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}}}
}

// browse is a browser in which somebody has signed in.
func (w *world) browse(who string) *browser {
	w.t.Helper()
	b := w.browser()
	w.github.BrowseAs(who)
	if status, page := b.get("/sign-in/github?next=/incidents"); status != http.StatusOK || !strings.Contains(page, ">"+who+"<") {
		w.t.Fatalf("%s signs in: %d\n%s", who, status, page)
	}
	return b
}

func (b *browser) do(req *http.Request) (int, string) {
	b.w.t.Helper()
	resp, err := b.client.Do(req)
	b.w.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	b.w.must(err)
	if policy := resp.Header.Get("Content-Security-Policy"); resp.Request.URL.Host == "stanch.example" && !strings.Contains(policy, "default-src 'none'") {
		b.w.t.Errorf("%s has the content policy %q", req.URL, policy)
	}
	b.seen = append(b.seen, string(body))
	return resp.StatusCode, string(body)
}

func (b *browser) get(path string) (int, string) {
	b.w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, dashboardURL+path, nil)
	b.w.must(err)
	return b.do(req)
}

// post sends a form as a browser does from a page of that site.
func (b *browser) post(path, site string, form url.Values) (int, string) {
	b.w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, dashboardURL+path, strings.NewReader(form.Encode()))
	b.w.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", site)
	return b.do(req)
}

// order presses a button on an incident's page.
func (b *browser) order(id, button, reason string) (int, string) {
	b.w.t.Helper()
	return b.post("/incidents/"+id+"/orders", "same-origin", url.Values{"repository": {b.w.repoName}, "button": {button}, "reason": {reason}})
}

// must get a page.
func (b *browser) must(path string) string {
	b.w.t.Helper()
	status, page := b.get(path)
	if status != http.StatusOK {
		b.w.t.Fatalf("%s: %d\n%s", path, status, page)
	}
	return page
}

var incidentLink = regexp.MustCompile(`/incidents/([0-9a-f-]{36})`)

// incident is the id of the newest incident that a browser is shown.
func (b *browser) incident() string {
	b.w.t.Helper()
	found := incidentLink.FindStringSubmatch(b.must("/incidents"))
	if found == nil {
		b.w.t.Fatal("the list shows no incident")
	}
	return found[1]
}

func holds(t *testing.T, page string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
}

func holdsNot(t *testing.T, page string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if strings.Contains(page, want) {
			t.Errorf("the page says %q:\n%s", want, page)
		}
	}
}
