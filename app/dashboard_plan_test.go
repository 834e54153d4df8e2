package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
)

// The dashboard shows what a button would do, to those who may press it.
func TestDashboardShowsThePlan(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: withDashboard, policy: policyOf(app.Ask, app.Ask)})
	w.person("visitor", "read")
	g := w.seeded()
	leaked := w.token("plan")
	w.settled(w.leak(g, "plan", "a.env", env(leaked)))
	b := w.browse("dana")
	id := b.incident()
	holds(t, b.must("/incidents/"+id), "What would be done", "/incidents/"+id+"/plan?verb=rotate", "/incidents/"+id+"/plan?verb=revoke")
	page := b.must("/incidents/" + id + "/plan?verb=rotate")
	holds(t, page, "rotate, replace first", "a replacement is issued", "POST "+w.github.BrokerURL(), "plan, field token, version 1", "cannot be taken back",
		"What could break", "whoever has read it from", "Nothing was done")
	if strings.Contains(page, "a.env") || strings.Contains(page, leaked) {
		t.Error("the plan tells of files, or the secret")
	}
	holds(t, b.must("/incidents/"+id+"/plan?verb=revoke"), "the provider is told to kill the old one for good", "gets a dead one")
	if !w.github.TokenLive(leaked) || w.audited("attempt issue") != 0 {
		t.Error("something was done")
	}
	for path, want := range map[string]int{"/incidents/" + id + "/plan": http.StatusBadRequest, "/incidents/0199/plan?verb=rotate": http.StatusNotFound} {
		if status, _ := b.get(path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	if status, _ := w.browse("visitor").get("/incidents/" + id + "/plan?verb=rotate"); status != http.StatusNotFound {
		t.Errorf("who may only read: %d", status)
	}
	if status, page := b.order(id, "revoke", ""); status != http.StatusOK && status != http.StatusSeeOther {
		t.Fatalf("%d: %s", status, page)
	}
	w.eventually("it is over", func() bool { return !w.incidentOf(leaked).Resolved.IsZero() })
	holds(t, b.must("/incidents/"+id+"/plan?verb=rotate"), "Nothing, before a person has done something", "it is resolved (revoked)")
}
