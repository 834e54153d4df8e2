package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks"
)

// call sends a call to the API, for somebody, and reads the answer into what into points
// to, unless that is nil.
func (w *world) call(caller, method, path string, body, into any) (int, string) {
	w.t.Helper()
	var text strings.Builder
	if body != nil {
		w.must(json.NewEncoder(&text).Encode(body))
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.hook.URL+"/api/v1"+path, strings.NewReader(text.String()))
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+apiToken)
	if caller != "" {
		req.Header.Set(app.CallerHeader, caller)
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	w.must(err)
	for _, secret := range w.issued {
		if strings.Contains(string(answer), secret) {
			w.t.Errorf("%s %s: the answer holds a secret", method, path)
		}
	}
	if into != nil && resp.StatusCode == http.StatusOK {
		w.must(json.Unmarshal(answer, into))
	}
	return resp.StatusCode, string(answer)
}

// whole is an incident as the API tells it.
func (w *world) whole(id string) (i app.WholeIncident) {
	w.t.Helper()
	if status, text := w.call("", "GET", "/incidents/"+id, nil, &i); status != http.StatusOK {
		w.t.Fatalf("%d: %s", status, text)
	}
	return i
}

// done waits until an incident is resolved.
func (w *world) done(id string) app.WholeIncident {
	w.t.Helper()
	w.eventually("the incident is resolved", func() bool { return w.whole(id).State == incident.Resolved })
	return w.whole(id)
}

// actors are who did what the audit log calls by a verb.
func (w *world) actors(verb string) (all []string) {
	w.t.Helper()
	for e, err := range w.memory.AuditLog(w.t.Context()) {
		w.must(err)
		if e.Verb == verb {
			all = append(all, e.Actor)
		}
	}
	return all
}

// A credential that leaked in a repository is looked at and rotated over the API.
func TestIncidentsOverTheAPI(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: withAPI, policy: policyOf(app.Ask, app.Ask)})
	g := w.seeded()
	leaked := w.token("api")
	head := w.leak(g, "api", "a.env", env(leaked))
	w.settled(head)
	var page app.IncidentList
	if status, text := w.call("", "GET", "/incidents?state=open&rule=github-pat&repository=acme/shop", nil, &page); status != 200 || len(page.Incidents) != 1 {
		t.Fatalf("%d: %s", status, text)
	}
	line := page.Incidents[0]
	if line.State != incident.Open || line.Validity != checks.Active || line.Grade != "A" || line.Repositories[0] != "acme/shop" ||
		line.Description != "GitHub personal access token (classic)" || line.Severity != "critical" {
		t.Errorf("the list says %+v", line)
	}
	for _, nothing := range []string{"state=stuck", "rule=gitlab-pat", "before=" + line.ID, "state=resolved"} {
		if _, text := w.call("", "GET", "/incidents?"+nothing, nil, &page); len(page.Incidents) != 0 || !strings.Contains(text, `"incidents":[]`) {
			t.Errorf("%s: %s", nothing, text)
		}
	}
	whole := w.whole(line.ID)
	if strings.Join(whole.Can, " ") != "rotate revoke resolve" || !strings.Contains(whole.Next, "stanch incidents approve "+line.ID+" rotate") ||
		len(whole.Places) != 1 || whole.Places[0] != (app.FoundAt{Repository: "acme/shop", File: "a.env", Line: 2, Commit: head, Author: "Dana <dana@acme.example>", InTip: true}) ||
		whole.Sources[0] != "repository" || whole.Evidence.Identity["login"] != "bot" || len(whole.Steps) != 0 || whole.Timeline[6].At != nil {
		t.Errorf("the incident is %+v", whole)
	}
	var ordered app.Ordered
	if status, text := w.call("Ada", "POST", "/incidents/"+line.ID+"/approve", map[string]string{"verb": "rotate", "reason": "it leaked, said " + leaked}, &ordered); status != 200 || ordered.Waits != "" {
		t.Fatalf("%d: %s", status, text)
	}
	whole = w.done(line.ID)
	if whole.Resolution != incident.ResolutionRotated || whole.Doing != "" || len(whole.Can) != 0 || whole.Next != "Nothing." || whole.Proof == "" ||
		len(whole.Steps) < 6 || len(whole.Stored) != 1 || !strings.Contains(whole.Stored[0].Replacement, "version 2") {
		t.Errorf("in the end the incident is %+v", whole)
	}
	for _, m := range whole.Timeline {
		if m.At == nil || m.Seconds == nil || *m.Seconds < 0 {
			t.Errorf("the stage %s is %+v", m.Stage, m)
		}
	}
	if who := w.actors("order rotate"); len(who) != 1 || who[0] != "api:ada" || w.actors("approve rotate")[0] != "api:ada" {
		t.Errorf("the audit log names %v", who)
	}
	w.mustRotate("api", leaked)
	if status, text := w.call("ada", "POST", "/incidents/"+line.ID+"/approve", map[string]string{"verb": "revoke"}, nil); status != 409 || !strings.Contains(text, "it is resolved (rotated)") {
		t.Errorf("%d: %s", status, text)
	}
	w.findNone(w.issued...)
}

func TestAPIRefuses(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: withAPI, policy: policyOf(app.Ask, app.Ask)})
	long := strings.Repeat("x", 3<<20)
	type body = map[string]any
	for name, test := range map[string]struct {
		method, path string
		body         any
		status       int
		want         string
	}{
		"no such incident":   {"GET", "/incidents/0199", nil, 404, "no such incident"},
		"no such plan":       {"GET", "/incidents/0199/plan", nil, 404, "no such incident"},
		"no such state":      {"GET", "/incidents?state=lost", nil, 400, "the states are contained, dismissed"},
		"no such limit":      {"GET", "/incidents?limit=0", nil, 400, "from 1 to 200"},
		"no such repository": {"GET", "/incidents?repository=acme/none", nil, 404, "no such repository"},
		"another method":     {"DELETE", "/incidents/0199", nil, 405, ""},
		"no such verb":       {"POST", "/incidents/0199/approve", body{"verb": "rotat"}, 400, "verb is rotate or revoke"},
		"approves nothing":   {"POST", "/incidents/0199/approve", body{"verb": "rotate"}, 404, "no such incident"},
		"another field":      {"POST", "/incidents/0199/approve", body{"verb": "rotate", "force": true}, 400, "not the JSON object"},
		"no resolution":      {"POST", "/incidents/0199/resolve", body{"resolution": "rotated", "reason": "x"}, 400, "resolution is false_positive"},
		"no reason":          {"POST", "/incidents/0199/resolve", body{"resolution": "wont_fix", "reason": " "}, 400, "give a reason"},
		"resolves nothing":   {"POST", "/incidents/0199/resolve", body{"resolution": "wont_fix", "reason": "x"}, 404, "no such incident"},
		"no credential":      {"POST", "/remediations", body{"verb": "revoke"}, 422, "as text or as parts"},
		"both":               {"POST", "/remediations", body{"verb": "revoke", "text": "x", "parts": map[string]string{"secret": "x"}}, 422, "not as both"},
		"no such rule":       {"POST", "/remediations", body{"verb": "revoke", "text": "x", "rule": "github-pet"}, 422, "there is no rule"},
		"nothing known":      {"POST", "/remediations", body{"verb": "revoke", "text": "some words"}, 422, "no credential of a kind"},
		"parts without rule": {"POST", "/remediations", body{"verb": "revoke", "parts": map[string]string{"secret": "swordfish"}}, 422, "parts need the rule"},
		"another part":       {"POST", "/remediations", body{"verb": "revoke", "rule": "github-pat", "parts": map[string]string{"key": "swordfish"}}, 422, "none of the parts"},
		"hidden part":        {"POST", "/remediations", body{"verb": "revoke", "rule": "github-pat", "parts": map[string]string{"secret": "a\nsecret: b"}}, 422, "more than one line"},
		"too large":          {"POST", "/remediations", body{"verb": "revoke", "text": long}, 413, "bytes"},
	} {
		status, text := w.call("", test.method, test.path, test.body, nil)
		if status != test.status || !strings.Contains(text, test.want) || strings.Contains(text, "swordfish") {
			t.Errorf("%s: %d: %s", name, status, text)
		}
	}
	for _, caller := range []string{"-", "a b", strings.Repeat("a", 65), "é"} {
		if status, text := w.call(caller, "GET", "/incidents", nil, nil); status != 400 || !strings.Contains(text, "names who calls") {
			t.Errorf("the caller %q: %d: %s", caller, status, text)
		}
	}
	req, err := http.NewRequest("GET", w.hook.URL+"/api/v1/incidents", nil)
	w.must(err)
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %d", resp.StatusCode)
	}
}

// Who calls may end incidents, but none of what a provider takes.
func TestResolveOverTheAPI(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: withAPI, policy: policyOf(app.Ask, app.Ask)})
	g := w.seeded()
	live := w.token("live")
	head := w.leak(g, "resolve", "a.env", env(live)+unverifiable("DB"))
	w.settled(head)
	var page app.IncidentList
	w.call("", "GET", "/incidents?limit=1", nil, &page)
	if len(page.Incidents) != 1 || page.Next == "" {
		t.Fatalf("the first page is %+v", page)
	}
	var rest app.IncidentList
	w.call("", "GET", "/incidents?limit=1&before="+page.Next, nil, &rest)
	if len(rest.Incidents) != 1 || rest.Next != "" {
		t.Fatalf("the second page is %+v", rest)
	}
	for _, i := range append(page.Incidents, rest.Incidents...) {
		isLive := i.Rule == "github-pat"
		status, text := w.call("ada", "POST", "/incidents/"+i.ID+"/resolve", map[string]string{"resolution": "used_in_tests", "reason": "a fixture, not " + live}, nil)
		if isLive != (status == 409 && strings.Contains(text, "the provider says that this credential is live")) || !isLive && status != 200 {
			t.Errorf("%s: %d: %s", i.Rule, status, text)
		}
		if isLive {
			continue
		}
		if whole := w.whole(i.ID); whole.Resolution != incident.ResolutionUsedInTests || whole.State != incident.Resolved {
			t.Errorf("it is %+v", whole)
		}
		if status, text := w.call("ada", "POST", "/incidents/"+i.ID+"/resolve", map[string]string{"resolution": "wont_fix", "reason": "x"}, nil); status != 409 || !strings.Contains(text, "already resolved as used_in_tests") {
			t.Errorf("again: %d: %s", status, text)
		}
	}
	if who := w.actors("resolve"); len(who) != 1 || who[0] != "api:ada" {
		t.Errorf("the audit log names %v", who)
	}
	// Its provider is asked when somebody says that it is revoked.
	id := w.incidentOf(live).ID
	revoked := map[string]string{"resolution": "revoked", "reason": "on its page"}
	if status, text := w.call("ada", "POST", "/incidents/"+id+"/resolve", revoked, nil); status != 409 {
		t.Errorf("while it is live: %d: %s", status, text)
	}
	w.github.KillToken(live)
	if status, text := w.call("ada", "POST", "/incidents/"+id+"/resolve", revoked, nil); status != 200 {
		t.Errorf("when it is dead: %d: %s", status, text)
	}
	if whole := w.whole(id); whole.Resolution != incident.ResolutionRevoked || whole.Timeline[6].At == nil {
		t.Errorf("it is %+v", whole)
	}
	// The check follows, and a new one with the same text passes.
	w.check(head, "fails no more for what is used in tests", func(r githubtest.CheckRun) bool { return strings.Contains(r.Summary, "used") })
	g.git("checkout", "--quiet", "-b", "again", "main")
	next := g.commit("again", map[string]string{"b.env": unverifiable("DB")})
	g.push("again")
	w.check(next, "is green", completed("success"))
	w.findNone(w.issued...)
}
