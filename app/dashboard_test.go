package app_test

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// TestDashboardShowsWhatGitHubAllows shows one dead credential to everybody.
func TestDashboardShowsWhatGitHubAllows(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: withDashboard})
	w.person("root", "admin")
	w.person("visitor", "read")
	w.person("tess", "triage")
	w.person("stranger", "none")
	g := w.seeded()
	leaked := w.token("shown")
	head, number := w.pulled(g, "shown", "deploy/a&b.env", env(leaked))
	run := w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.settled(head)
	w.mustRotate("shown", leaked)

	checkPage := "/checks/acme/shop/" + head
	if run.DetailsURL != dashboardURL+checkPage {
		t.Errorf("the check run's details are at %s", run.DetailsURL)
	}
	w.eventually("the comment leads to the dashboard", func() bool {
		for _, c := range w.github.Comments(w.repoName, number) {
			if strings.Contains(c.Body, "[Details]("+dashboardURL+"/checks/acme/shop/") {
				return true
			}
		}
		return false
	})

	var browsers []*browser
	var id string
	for _, who := range []string{"dana", "root"} {
		b := w.browse(who)
		browsers = append(browsers, b)
		holds(t, b.must("/incidents"), "Rotated, proved dead", "GitHub personal access token", "acme/shop")
		id = b.incident()
		page := b.must("/incidents/" + id)
		holds(t, page, "Delivered", "Detected", "Verified", "Contained", "Rotated", "Proved dead", "after ", // the timeline
			"deploy/a&amp;b.env:2", w.github.URL()+"/acme/shop/blob/"+head+"/deploy/a&amp;b.env#L2", // the place
			"evidence of grade A", "Negative control", "GET "+w.github.APIURL()+"user", // the evidence
			"A replacement is issued", "The provider refuses the leaked one", "shown", // what was done
			"<b>policy</b> approve rotate", "<b>stanch</b> done prove dead") // who decided
		holds(t, b.must(checkPage), "Rotated", "deploy/a&amp;b.env", "What was scanned")
		holds(t, b.must("/repositories/acme/shop"), head[:7], "Coverage of the last scans", "private")
		holds(t, b.must("/repositories/ACME/Shop"), "acme/shop")
	}
	for _, who := range []string{"visitor", "tess"} {
		b := w.browse(who)
		browsers = append(browsers, b)
		for _, path := range []string{"/incidents", "/incidents/" + id, checkPage, "/repositories/acme/shop"} {
			page := b.must(path)
			holds(t, page, "acme/shop")
			holdsNot(t, page, "a&amp;b.env", "personal access token", "ghp_", "grade", "Who decided", `name="button"`)
		}
		holds(t, b.must("/incidents/"+id), "Proved dead", "Those who may write")
	}
	b := w.browse("stranger")
	browsers = append(browsers, b)
	holdsNot(t, b.must("/incidents"), "acme", id)
	_, missing := b.get("/incidents/01900000-0000-7000-8000-000000000000")
	for _, path := range []string{"/incidents/" + id, checkPage, "/repositories/acme/shop", "/incidents?repository=acme/shop", "/nowhere"} {
		// What is there and may not be seen looks like what is not there.
		if status, page := b.get(path); status != http.StatusNotFound || page != missing {
			t.Errorf("a stranger gets %d for %s:\n%s", status, path, page)
		}
	}
	nobody := w.browser()
	for _, path := range []string{"/", "/incidents/" + id, checkPage, "/nowhere"} {
		holds(t, nobody.must(path), "Sign in with GitHub")
	}
	w.findNone(w.issued...)
	for _, b := range append(browsers, nobody) {
		for _, page := range b.seen {
			for _, token := range w.issued {
				if githubtest.Holds([]byte(page), token) {
					t.Error("a page holds a credential")
				}
			}
		}
	}
}

// TestDashboardOfAPublicRepository: everybody can read it, so reading is not enough.
func TestDashboardOfAPublicRepository(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy(), public: true, cloud: true, tamper: withDashboard})
	w.github.CreateUser("anybody")
	g := w.seeded()
	head := w.leak(g, "public", "a.env", env(w.token("public")))
	w.check(head, "is red", completed("failure"))
	holds(t, w.browse("dana").must("/incidents"), "acme/shop", "Live")
	b := w.browse("anybody")
	holdsNot(t, b.must("/incidents"), "acme/shop")
	if status, _ := b.get("/checks/acme/shop/" + head); status != http.StatusNotFound {
		t.Errorf("anybody gets %d", status)
	}
}

// TestDashboardOfTwoRepositories: who may write to one of an incident's repositories
// learns nothing of the other.
func TestDashboardOfTwoRepositories(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy(), tamper: withDashboard})
	leaked := w.token("both")
	w.repoName = "acme/elsewhere"
	_, err := w.github.CreateRepository("acme", "elsewhere", githubtest.RepoOptions{Private: true})
	w.must(err)
	w.person("erin", "write")
	g := w.seeded()
	there := w.leak(g, "there", "hidden/place.env", env(leaked))
	w.check(there, "is red", completed("failure"))
	erin := w.browse("erin")
	id := erin.incident()
	if status, page := erin.order(id, "rotate", ""); status != http.StatusOK {
		t.Fatalf("%d\n%s", status, page)
	}
	w.check(there, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.settled(there)

	w.repoName = "acme/shop"
	g = w.seeded()
	here := w.leak(g, "here", "open/place.env", env(leaked))
	w.check(here, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	for who, sees := range map[string][2]string{"dana": {"shop", "elsewhere"}, "erin": {"elsewhere", "shop"}} {
		b := w.browse(who)
		place := map[string]string{"shop": "open/place.env", "elsewhere": "hidden/place.env"}
		page := b.must("/incidents/"+id) + b.must("/incidents")
		holds(t, page, "acme/"+sees[0], place[sees[0]], "github:erin")
		holdsNot(t, page, "acme/"+sees[1], place[sees[1]])
		if status, _ := b.post("/incidents/"+id+"/orders", "same-origin", url.Values{"repository": {"acme/" + sees[1]}, "button": {"revoke"}}); status != http.StatusNotFound {
			t.Errorf("%s may order for acme/%s: %d", who, sees[1], status)
		}
		if status, _ := b.get("/incidents?repository=acme/" + sees[1]); status != http.StatusNotFound {
			t.Errorf("%s may list acme/%s: %d", who, sees[1], status)
		}
	}
}

// TestDashboardPages walks a list that is longer than a page, by itself and through its filters.
func TestDashboardPages(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy(), tamper: withDashboard})
	g := w.seeded()
	var text strings.Builder
	const secrets = 60
	for n := range secrets {
		fmt.Fprintf(&text, "S%d_PASSWORD = \"kX9-fq%02d-LLw3-pZ81\"\n", n, n+10)
	}
	head := w.leak(g, "many", "a.env", text.String())
	w.check(head, "is red", completed("failure"))
	dana := w.browse("dana")
	next := regexp.MustCompile(`href="([^"]*)" rel="next"`)
	for _, filter := range []string{"", "?state=open", "?kind=password-assignment", "?repository=acme/shop&state=open"} {
		seen := map[string]bool{}
		for path, pages := "/incidents"+filter, 1; path != ""; pages++ {
			page := dana.must(path)
			before := len(seen)
			for _, found := range incidentLink.FindAllStringSubmatch(page, -1) {
				seen[found[1]] = true
			}
			path = ""
			if link := next.FindStringSubmatch(page); link != nil {
				path = html.UnescapeString(link[1])
			}
			if len(seen) == before || pages > 4 {
				t.Fatalf("%q: page %d shows nothing new", filter, pages)
			}
		}
		if len(seen) != secrets {
			t.Errorf("%q: %d incidents, want %d", filter, len(seen), secrets)
		}
	}
	holds(t, dana.must("/incidents?state=proved_dead"), "There is no such incident")
	if status, _ := dana.get("/incidents?state=nonsense"); status != http.StatusBadRequest {
		t.Errorf("a state that there is not: %d", status)
	}

	// Much that the reader may not see lies above: the list says so, and goes on behind it.
	w.must(w.memory.InTx(t.Context(), func(tx *store.Tx) error { return hide(t.Context(), tx, 1100) }))
	seen, early := map[string]bool{}, 0
	for path := "/incidents"; path != ""; {
		page := dana.must(path)
		for _, found := range incidentLink.FindAllStringSubmatch(page, -1) {
			seen[found[1]] = true
		}
		early += strings.Count(page, "This page stopped early")
		path = ""
		if link := next.FindStringSubmatch(page); link != nil {
			path = html.UnescapeString(link[1])
		}
	}
	if len(seen) != secrets || early != 2 {
		t.Errorf("%d incidents, want %d; %d pages stopped early", len(seen), secrets, early)
	}

	// While GitHub does not say who may see it, nobody does.
	w.person("late", "write")
	w.github.BrowseAs("late")
	late := w.browser()
	late.get("/sign-in/github?next=/nowhere")
	for _, test := range []struct {
		answer *githubtest.LimitAnswer
		status int
	}{{githubtest.BadGateway(), http.StatusBadGateway}, {githubtest.SecondaryLimit(time.Minute), http.StatusServiceUnavailable}} {
		w.github.Limit(func(*http.Request) *githubtest.LimitAnswer { return test.answer })
		for _, path := range []string{"/incidents", "/checks/acme/shop/" + head} {
			if status, page := late.get(path); status != test.status || strings.Contains(page, "Password") {
				t.Errorf("%s: %d, want %d\n%s", path, status, test.status, page)
			}
		}
	}
}

// hide records incidents of a repository that nobody knows on GitHub.
func hide(ctx context.Context, tx *store.Tx, n int) error {
	repo := github.Repository{ID: 99, Owner: "acme", Name: "hidden", Private: true}
	if err := tx.SaveRepository(ctx, store.Repository{Repository: repo, Installation: 1, State: store.Active}); err != nil {
		return err
	}
	c, err := tx.EnsureCheck(ctx, store.Check{Installation: 1, Repository: repo, HeadSHA: "aa"})
	if err != nil {
		return err
	}
	if _, err := tx.RecordDelivery(ctx, store.Delivery{ID: "hidden"}); err != nil {
		return err
	}
	if err := tx.StartScan(ctx, store.Scan{Delivery: "hidden", CheckID: c.ID}); err != nil {
		return err
	}
	for k := range n {
		i, _, err := tx.OpenIncident(ctx, store.Incident{Incident: incident.Incident{Fingerprint: checks.Fingerprint(fmt.Sprint(k)), Rule: "github-pat"}})
		if err != nil {
			return err
		}
		if err := tx.AddOccurrence(ctx, store.Occurrence{Incident: i.ID, Delivery: "hidden"}); err != nil {
			return err
		}
	}
	return nil
}

// TestDashboardSessions: a session is of one browser, for a working day, until it is ended.
func TestDashboardSessions(t *testing.T) {
	var ahead atomic.Int64
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy(), tamper: func(w *world, cfg *app.Config) {
		withDashboard(w, cfg)
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}})
	dana := w.browse("dana")
	at, err := url.Parse(dashboardURL)
	w.must(err)
	kept := dana.client.Jar.Cookies(at)
	if len(kept) != 1 {
		t.Fatalf("the browser keeps %v", kept)
	}
	secret := kept[0].Value

	// Whoever brings a code must have begun: the state is the browser's.
	other := w.browser()
	for _, path := range []string{"/sign-in/callback?code=abc&state=def", "/sign-in/callback", "/sign-in/callback?code=abc&state="} {
		if status, _ := other.get(path); status != http.StatusBadRequest {
			t.Errorf("%s: %d", path, status)
		}
	}
	holds(t, other.must("/incidents"), "Sign in with GitHub")
	// With the state of another browser, too.
	lured := w.browser()
	lured.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/sign-in/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	resp, err := lured.client.Get(dashboardURL + "/sign-in/github")
	w.must(err)
	resp.Body.Close()
	link, err := resp.Location()
	w.must(err)
	if status, _ := other.get(link.RequestURI()); status != http.StatusBadRequest || strings.Contains(other.must("/"), "Sign out") {
		t.Errorf("another browser's sign-in: %d", status)
	}
	// The link leads its own browser in, once, and never to another site.
	if status, page := lured.get(link.RequestURI()); status != http.StatusOK && status != http.StatusSeeOther {
		t.Errorf("its own browser: %d\n%s", status, page)
	}
	if status, _ := lured.get(link.RequestURI()); status != http.StatusBadRequest {
		t.Errorf("the same link again: %d", status)
	}
	if n := w.github.LiveTokens("dana"); n != 2 { // refresh tokens, which nobody keeps
		t.Errorf("%d tokens of dana live", n)
	}

	if status, _ := dana.post("/sign-out", "cross-site", nil); status != http.StatusForbidden {
		t.Errorf("another site can sign out: %d", status)
	}
	holds(t, dana.must("/incidents"), "Sign out")
	ahead.Store(int64(8*time.Hour + time.Minute))
	holds(t, dana.must("/incidents"), "Sign in with GitHub")
	ahead.Store(0)
	holds(t, dana.must("/incidents"), "Sign out")
	if _, page := dana.post("/sign-out", "same-origin", nil); !strings.Contains(page, "Sign in with GitHub") {
		t.Errorf("after signing out:\n%s", page)
	}
	dana.client.Jar.SetCookies(at, kept) // somebody kept a copy
	holds(t, dana.must("/incidents"), "Sign in with GitHub")
	if _, err := w.memory.Session(t.Context(), secret, time.Now()); err != store.ErrNotFound {
		t.Errorf("the session is kept: %v", err)
	}
	written := append(w.logs.all(), w.remembered()...)
	if !strings.Contains(string(written), `"login":"dana"`) || githubtest.Holds(written, secret) {
		t.Error("the session's secret is kept, or the search looks in the wrong places")
	}
}

func TestDashboardIsOff(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	resp, err := http.Get(w.hook.URL + "/incidents")
	w.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	w.must(err)
	if resp.StatusCode != http.StatusNotFound || !strings.Contains(string(body), "STANCH_GITHUB_CLIENT_ID") {
		t.Errorf("%s: %s", resp.Status, body)
	}
	g := w.seeded()
	run := w.check(g.git("rev-parse", "HEAD"), "is green", completed("success"))
	if strings.Contains(run.DetailsURL, "/checks/") {
		t.Errorf("its details are at %s", run.DetailsURL)
	}
}
