package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// TestDashboardRotates plays the whole chain from a button of the page.
func TestDashboardRotates(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy(), tamper: withDashboard})
	w.person("visitor", "read")
	w.person("stranger", "none")
	g := w.seeded()
	leaked := w.token("page")
	head := w.leak(g, "page", "a.env", env(leaked))
	w.check(head, "is red with buttons", func(r githubtest.CheckRun) bool { return buttons(r) == "rotate revoke" })
	dana := w.browse("dana")
	id := dana.incident()
	holds(t, dana.must("/incidents/"+id), ">Live<", "1 live credential", `value="rotate"`, `value="revoke"`)

	for _, test := range []struct {
		who    *browser
		what   string
		site   string
		form   url.Values
		status int
	}{
		{w.browse("visitor"), "a reader", "same-origin", url.Values{"button": {"rotate"}}, http.StatusNotFound},
		{w.browse("stranger"), "a stranger", "same-origin", url.Values{"button": {"rotate"}}, http.StatusNotFound},
		{w.browser(), "nobody", "same-origin", url.Values{"button": {"rotate"}}, http.StatusOK}, // the page to sign in
		{dana, "another site", "cross-site", url.Values{"button": {"rotate"}}, http.StatusForbidden},
		{dana, "a neighbour", "same-site", url.Values{"button": {"rotate"}}, http.StatusForbidden},
		{dana, "a wrong button", "same-origin", url.Values{"button": {"explode"}}, http.StatusBadRequest},
		{dana, "another repository", "same-origin", url.Values{"button": {"rotate"}, "repository": {"acme/other"}}, http.StatusNotFound},
		{dana, "not a secret, without a reason", "same-origin", url.Values{"button": {"not_a_secret"}}, http.StatusBadRequest},
		{dana, "not a secret, but live", "same-origin", url.Values{"button": {"not_a_secret"}, "reason": {"it works"}}, http.StatusConflict},
		{dana, "a bypass, but live", "same-origin", url.Values{"button": {"bypass"}, "reason": {"it works"}}, http.StatusConflict},
		{dana, "too long a form", "same-origin", url.Values{"button": {"bypass"}, "reason": {strings.Repeat("x", 1<<20)}}, http.StatusRequestEntityTooLarge},
	} {
		if !test.form.Has("repository") {
			test.form.Set("repository", w.repoName)
		}
		if status, page := test.who.post("/incidents/"+id+"/orders", test.site, test.form); status != test.status {
			t.Errorf("%s: %d, want %d\n%s", test.what, status, test.status, page)
		}
	}
	if !w.github.TokenLive(leaked) || w.audited("approve rotate") != 0 {
		t.Fatal("something was done that nobody may have done")
	}

	if status, page := dana.order(id, "rotate", ""); status != http.StatusOK || !strings.Contains(page, "It is being replaced") {
		t.Fatalf("%d\n%s", status, page)
	}
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	var page string
	w.eventually("the incident is resolved", func() bool {
		page = dana.must("/incidents/" + id)
		return strings.Contains(page, "Rotated, proved dead") && !strings.Contains(page, "http-equiv")
	})
	w.mustRotate("page", leaked)
	holds(t, page, "Rotated, proved dead", "<b>github:dana</b> approve rotate")
	holdsNot(t, page, `name="button"`, "not yet", "http-equiv")
	if status, page := dana.order(id, "rotate", ""); status != http.StatusConflict || !strings.Contains(page, "nothing can be done about it now") {
		t.Errorf("again: %d\n%s", status, page)
	}
	if w.audited("dashboard rotate") != 2 || w.audited("refuse rotate") != 1 {
		t.Error("the audit log does not tell what was ordered on the dashboard")
	}
}

func TestDashboardNeedsTwoPeople(t *testing.T) {
	w := newWorld(t, worldOptions{policy: asking(app.People{Press: app.PermissionMaintain, Approvals: 1}), tamper: withDashboard})
	w.person("ann", "maintain")
	w.person("erin", "admin")
	g := w.seeded()
	leaked := w.token("two")
	head := w.leak(g, "two", "a.env", env(leaked))
	w.check(head, "is red with buttons", func(r githubtest.CheckRun) bool { return buttons(r) == "rotate revoke" })
	dana, ann, erin := w.browse("dana"), w.browse("ann"), w.browse("erin")
	id := dana.incident()
	if status, page := dana.order(id, "rotate", ""); status != http.StatusConflict || !strings.Contains(page, "the permission maintain is needed") {
		t.Errorf("who may write only: %d\n%s", status, page)
	}
	if status, page := ann.order(id, "confirm_rotate", ""); status != http.StatusConflict || !strings.Contains(page, "nobody asked for it") {
		t.Errorf("agreed to nothing: %d\n%s", status, page)
	}
	pasted := w.token("pasted")
	if status, page := ann.order(id, "rotate", "see "+pasted); status != http.StatusOK {
		t.Errorf("%d\n%s", status, page)
	}
	page := erin.must("/incidents/" + id)
	holds(t, page, "ann asked for a rotation: “see ", `value="confirm_rotate"`)
	holdsNot(t, page, pasted)
	if status, page := ann.order(id, "confirm_rotate", ""); status != http.StatusConflict || !strings.Contains(page, "a second person must agree") {
		t.Errorf("agreed with herself: %d\n%s", status, page)
	}
	if !w.github.TokenLive(leaked) {
		t.Fatal("one person could have it rotated")
	}
	if status, page := erin.order(id, "confirm_rotate", ""); status != http.StatusOK {
		t.Errorf("%d\n%s", status, page)
	}
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.mustRotate("two", leaked)
	holds(t, dana.must("/incidents/"+id), "<b>github:ann</b> ask rotate", "<b>github:erin</b> agree rotate")
	w.findNone(pasted)
}

// TestDashboardAllowsAndBypasses says on pages what buttons and commands say.
func TestDashboardAllowsAndBypasses(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy(), tamper: withDashboard})
	w.person("visitor", "read")
	g := w.seeded()
	head := w.leak(g, "allow", "a.env", unverifiable("DB"))
	w.check(head, "is red", completed("failure"))
	dana := w.browse("dana")
	id := dana.incident()
	if status, page := dana.order(id, "bypass", "the demo is at <noon>"); status != http.StatusOK {
		t.Fatalf("%d\n%s", status, page)
	}
	run := w.check(head, "is neutral", completed("neutral"))
	if !strings.HasPrefix(run.Title, "Bypassed by dana until ") {
		t.Errorf("the title is %q", run.Title)
	}
	holds(t, dana.must("/incidents/"+id), "Bypassed by dana until ", "the demo is at &lt;noon&gt;")

	const allowances = "/repositories/acme/shop/allowances"
	until := time.Now().AddDate(0, 2, 0).UTC()
	form := url.Values{"incident": {id}, "reason": {"the <b>manual</b> has it"}, "until": {until.Format(time.DateOnly)}, "button": {"not_a_secret"}}
	holds(t, dana.must("/repositories/acme/shop"), `<option value="`+id+`"`)
	if status, _ := w.browse("visitor").post(allowances, "same-origin", form); status != http.StatusNotFound {
		t.Errorf("a reader may allow: %d", status)
	}
	past := url.Values{"incident": {id}, "reason": {"r"}, "until": {"2020-01-01"}, "button": {"not_a_secret"}}
	if status, _ := dana.post(allowances, "same-origin", past); status != http.StatusBadRequest {
		t.Errorf("allowed until the past: %d", status)
	}
	if status, page := dana.post(allowances, "same-origin", form); status != http.StatusOK {
		t.Fatalf("%d\n%s", status, page)
	}
	w.says(head, "success", "by @dana until "+until.Format(time.DateOnly)+": the <b>manual</b> has it")
	holds(t, dana.must("/repositories/acme/shop"), "the &lt;b&gt;manual&lt;/b&gt; has it", "@dana", until.Format(time.DateOnly))
	holds(t, dana.must("/incidents?state=dismissed"), "No secret", id)

	if status, page := dana.post(allowances, "same-origin", url.Values{"incident": {id}, "button": {"end_allowance"}}); status != http.StatusOK {
		t.Fatalf("%d\n%s", status, page)
	}
	w.check(head, "is red again", completed("failure"))
	holds(t, dana.must("/incidents/"+id), "Validity unknown", "<b>github:dana</b> end allowance")
	if status, page := dana.post(allowances, "same-origin", url.Values{"incident": {id}, "button": {"end_allowance"}}); status != http.StatusConflict {
		t.Errorf("ended twice: %d\n%s", status, page)
	}
}
