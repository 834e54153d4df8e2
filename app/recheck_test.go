package app_test

import (
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// A moody provider stands before GitHub and says something else while it is in a mood.
type moody struct {
	mood  atomic.Pointer[http.HandlerFunc]
	asked atomic.Int32 // who a token belongs to
}

// put makes an App ask the moody one, and look at a clock that can be moved.
func (m *moody) put(t *testing.T, ahead *atomic.Int64) func(*world, *app.Config) {
	return func(w *world, c *app.Config) {
		api, err := url.Parse(w.github.APIURL())
		w.must(err)
		real := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(api)
			r.Out.URL.Path = r.In.URL.Path
		}}
		at := serve(t, func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/user") {
				m.asked.Add(1)
			}
			if mood := m.mood.Load(); mood != nil {
				(*mood)(rw, r)
				return
			}
			real.ServeHTTP(rw, r)
		})
		c.Providers.BaseURLs["github"] = at + api.Path
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		c.Providers.Now = c.Now
	}
}

func unwell(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) }

// incidentOf is the incident of a leaked token.
func (w *world) incidentOf(token string) store.Incident {
	w.t.Helper()
	i, err := w.memory.IncidentOf(w.t.Context(), checks.NewSecret(token).Fingerprint(w.keys.Fingerprint))
	w.must(err)
	return i
}

// TestUnknownIsAskedAgain: what nobody knew when it was pushed is rotated by itself as
// soon as the provider tells.
func TestUnknownIsAskedAgain(t *testing.T) {
	var m moody
	var ahead atomic.Int64
	bad := http.HandlerFunc(unwell)
	m.mood.Store(&bad)
	w := newWorld(t, worldOptions{sweep: app.Sweep{Verdicts: often}, tamper: m.put(t, &ahead)})
	g := w.seeded()
	leaked := w.token("again")
	head := w.leak(g, "again", "a.env", env(leaked))
	w.check(head, "is red", completed("failure"))
	w.settled(head)
	i := w.incidentOf(leaked)
	if i.Validity != checks.Unknown || i.AskAgain.IsZero() || m.asked.Load() != 1 {
		t.Fatalf("%s after %d questions, to be asked again at %s", i.Validity, m.asked.Load(), i.AskAgain)
	}
	ahead.Add(int64(2 * time.Minute))
	w.eventually("it is asked again", func() bool { return m.asked.Load() == 2 })
	w.eventually("it waits longer", func() bool { return w.incidentOf(leaked).AskAgain.Sub(i.AskAgain) >= 2*time.Minute })
	if !w.github.TokenLive(leaked) {
		t.Fatal("it acted on nothing")
	}
	m.mood.Store(nil)
	ahead.Add(int64(10 * time.Minute))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.mustRotate("again", leaked)
	if n := w.audited("recheck incident"); n != 1 {
		t.Errorf("%d changes by asking again in the audit log, want 1", n)
	}
	if i := w.incidentOf(leaked); !i.Resolved.IsZero() && !i.AskAgain.IsZero() {
		_, err := w.app.Recheck(t.Context(), i.ID)
		if err == nil || !w.incidentOf(leaked).AskAgain.IsZero() {
			t.Errorf("a resolved incident is asked about: %v", err)
		}
	}
}

// TestStatusAsksTheProvider: when the owners have ended a token by hand, the check tells
// so by itself after a while, and at once when somebody wants to know.
func TestStatusAsksTheProvider(t *testing.T) {
	var m moody
	var ahead atomic.Int64
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy(), sweep: app.Sweep{Verdicts: often}, tamper: m.put(t, &ahead)})
	g := w.seeded()
	one, two := w.token("one"), w.token("two")
	head, number := w.pulled(g, "status", "a.env", env(one)+env(two))
	w.check(head, "is red with buttons", func(r githubtest.CheckRun) bool { return buttons(r) == "rotate revoke" })
	w.settled(head)
	w.github.KillToken(one)
	if got := w.say(number, "dana", "/stanch status"); got != "eyes +1" {
		t.Errorf("reactions %q", got)
	}
	w.check(head, "tells of the first", func(r githubtest.CheckRun) bool { return strings.HasPrefix(r.Title, "1 live") })
	if i := w.incidentOf(one); i.Resolution != "revoked" || i.Dead.IsZero() {
		t.Errorf("%+v", i)
	}
	w.github.KillToken(two)
	ahead.Add(int64(11 * time.Minute))
	w.check(head, "tells of both", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "2 credentials proved dead") })
	if _, err := w.memory.Unseal(t.Context(), w.incidentOf(two).ID, store.Leaked); err == nil {
		t.Error("the dead credential is still kept")
	}
}

// TestProvidersAreMeasured: what providers were asked, and which are held, can be seen.
func TestProvidersAreMeasured(t *testing.T) {
	var m moody
	var ahead atomic.Int64
	gullible := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.Write([]byte(`{"login":"anybody","id":1}`))
	})
	m.mood.Store(&gullible)
	w := newWorld(t, worldOptions{tamper: m.put(t, &ahead)})
	g := w.seeded()
	leaked := w.token("measured")
	head := w.leak(g, "measured", "a.env", env(leaked))
	w.check(head, "is red", completed("failure"))
	w.settled(head)
	if !w.github.TokenLive(leaked) {
		t.Error("it acted on the word of who accepts anything")
	}
	resp, err := http.Get(w.hook.URL + "/metrics")
	w.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	w.must(err)
	for _, line := range []string{
		`stanch_verifications_total{grade="C",provider="github",reason="accepts_any",validity="unknown"} 1`,
		`stanch_providers_held{provider="github"} 1`,
	} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("the metrics have no line %s:\n%s", line, text)
		}
	}
}
