package app_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/checks"
)

type handed = map[string]any

// attempted are the steps of an incident that the audit log says were attempted, each
// once, with what it says of how they were done.
func (w *world) attempted(id string) (steps []incident.Step, details map[incident.Step]map[string]string) {
	w.t.Helper()
	details = map[incident.Step]map[string]string{}
	for e, err := range w.memory.AuditLog(w.t.Context()) {
		w.must(err)
		if step, ok := strings.CutPrefix(e.Verb, "attempt "); ok && e.Subject == id && !slices.Contains(steps, incident.Step(step)) {
			steps = append(steps, incident.Step(step))
		}
		if step, ok := strings.CutPrefix(e.Verb, "done "); ok && e.Subject == id {
			details[incident.Step(step)] = e.Detail
		}
	}
	return steps, details
}

// The plan is what is then done: the same steps in the same order, the same requests and
// the same places.
func TestPlanIsWhatIsDone(t *testing.T) {
	for name, test := range map[string]struct {
		order incident.Order
		mode  app.Mode // without a replacement
		verb  incident.Verb
		kept  string // in the store: the token, nothing, or what its owners have put there since
		want  incident.Resolution
	}{
		"replace first":   {incident.ReplaceFirst, app.Ask, incident.Rotate, "token", incident.ResolutionRotated},
		"revoke first":    {incident.RevokeFirst, app.Ask, incident.Rotate, "token", incident.ResolutionRotated},
		"revoke":          {incident.ReplaceFirst, app.Ask, incident.Revoke, "token", incident.ResolutionRevoked},
		"kept nowhere":    {incident.ReplaceFirst, app.RevokeAnyway, incident.Rotate, "", incident.ResolutionRevoked},
		"adopted":         {incident.ReplaceFirst, app.Adopt, incident.Rotate, "", incident.ResolutionRotated},
		"replaced":        {incident.ReplaceFirst, app.Ask, incident.Rotate, "owners", incident.ResolutionRevoked},
		"revoked nowhere": {incident.ReplaceFirst, app.Ask, incident.Revoke, "", incident.ResolutionRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			policy := app.Policy{Remedy: app.Remedy{Remediation: app.Ask, Order: test.order, WithoutReplacement: test.mode, Adopt: "file:adopted"}}
			w := newWorld(t, worldOptions{tamper: withAPI, policy: policy})
			token := w.token("hand")
			if test.kept != "token" {
				w.replaceInStore("hand", test.kept)
			}
			before := w.auditLength()
			var plan app.Plan
			if status, text := w.call("ada", "POST", "/remediations", handed{"text": token, "verb": test.verb, "dry_run": true}, &plan); status != 200 || plan.Stops != "" || plan.Incident != "" {
				t.Fatalf("%d: %s", status, text)
			}
			if w.auditLength() != before || !w.github.TokenLive(token) {
				t.Error("the dry run changed something")
			}
			var done app.Ordered
			if status, text := w.call("ada", "POST", "/remediations", handed{"text": "token: " + token, "verb": test.verb, "reason": "a laptop was lost"}, &done); status != 200 || done.Waits != "" {
				t.Fatalf("%d: %s", status, text)
			}
			whole := w.done(done.Incident.ID)
			if whole.Resolution != test.want || w.github.TokenLive(token) || strings.Join(whole.Sources, " ") != "by hand" || len(whole.Repositories) != 0 {
				t.Errorf("in the end it is %+v", whole)
			}
			if who := append(w.actors("hand over"), w.actors("order "+string(test.verb))...); strings.Join(who, " ") != "api:ada api:ada" {
				t.Errorf("the audit log names %v", who)
			}
			steps, details := w.attempted(whole.ID)
			var planned []incident.Step
			for _, s := range plan.Steps {
				planned = append(planned, s.Step)
				if told := details[s.Step]["request"]; told != "" && told != s.Call {
					t.Errorf("%s: planned %q, done %q", s.Step, s.Call, told)
				}
				if s.Step == incident.Put && (len(s.Places) != 1 || strings.Replace(s.Places[0], "INCIDENT", whole.ID, 1) != whole.Stored[0].Leaked) {
					t.Errorf("planned to put into %v, and put into %v", s.Places, whole.Stored)
				}
				if s.What == "" || s.Effect == app.EffectReversible && s.Undo == "" || s.Done {
					t.Errorf("the plan says %+v", s)
				}
			}
			if !slices.Equal(planned, steps) {
				t.Errorf("planned %v, done %v", planned, steps)
			}
			if test.want == incident.ResolutionRotated && test.kept == "token" {
				w.mustRotate("hand", token)
			}
			w.findNone(w.issued...)
		})
	}
}

// replaceInStore puts a live token of the owners' where one is kept, or destroys that.
func (w *world) replaceInStore(path, by string) {
	w.t.Helper()
	at := secretstore.Location{Store: w.secrets.Name(), Path: path, Field: "token", Version: "1"}
	value := "another"
	if by == "owners" {
		var err error
		value, err = w.github.IssueToken("bot", githubtest.ClassicToken)
		w.must(err)
		w.issued = append(w.issued, value)
	}
	_, err := w.secrets.Put(w.t.Context(), at, map[string]checks.Secret{"token": checks.NewSecret(value)}, "test")
	w.must(err)
	if by == "" {
		w.must(w.secrets.Retire(w.t.Context(), at))
	}
}

// auditLength counts the entries of the audit log.
func (w *world) auditLength() (n int) {
	for _, err := range w.memory.AuditLog(w.t.Context()) {
		w.must(err)
		n++
	}
	return n
}

// What is handed over is dealt with once: handed over again it is the same incident.
func TestHandedOverAgain(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: withAPI, policy: policyOf(app.Ask, app.Ask)})
	token := w.token("again")
	parts := handed{"rule": "github-pat", "parts": map[string]string{"secret": token}, "verb": "rotate"}
	var first, second app.Ordered
	if status, text := w.call("ada", "POST", "/remediations", parts, &first); status != 200 {
		t.Fatalf("%d: %s", status, text)
	}
	if status, text := w.call("bob", "POST", "/remediations", parts, &second); status != 200 || second.Incident.ID != first.Incident.ID {
		t.Fatalf("%d: %s", status, text)
	}
	w.done(first.Incident.ID)
	if status, text := w.call("ada", "POST", "/remediations", parts, &second); status != 200 || second.Incident.State != incident.Resolved || second.Incident.ID != first.Incident.ID {
		t.Errorf("%d: %s", status, text)
	}
	if w.audited("approve rotate") != 1 || w.audited("done issue") != 1 || w.audited("hand over") != 3 {
		t.Error("it was rotated more than once, or not each handing over is in the audit log")
	}
	w.mustRotate("again", token)
	// What a provider never took is no incident of anybody's.
	dead := w.token("dead")
	w.github.KillToken(dead)
	if status, text := w.call("ada", "POST", "/remediations", handed{"text": dead, "verb": "revoke"}, &second); status != 200 ||
		second.Incident.Validity != checks.Inactive || second.Incident.Doing != "" || second.Incident.Next != "Nothing: its provider refuses it." {
		t.Errorf("%d: %s", status, text)
	}
}

// Where the policy wants two people, two callers must say so.
func TestTwoCallers(t *testing.T) {
	policy := policyOf(app.Ask, app.Ask)
	policy.People.Approvals = 1
	w := newWorld(t, worldOptions{tamper: withAPI, policy: policy})
	token := w.token("two")
	ask := handed{"text": token, "verb": "revoke", "reason": "it is old"}
	if status, text := w.call("", "POST", "/remediations", ask, nil); status != 403 || !strings.Contains(text, "say who calls") {
		t.Errorf("without a name: %d: %s", status, text)
	}
	var done app.Ordered
	for range 2 { // the same caller twice is one
		if status, text := w.call("ada", "POST", "/remediations", ask, &done); status != 200 || !strings.Contains(done.Waits, "somebody else than api:ada must agree") {
			t.Fatalf("%d: %s", status, text)
		}
	}
	i := done.Incident
	if status, text := w.call("ADA", "POST", "/incidents/"+i.ID+"/approve", handed{"verb": "revoke"}, &done); status != 200 || done.Waits == "" {
		t.Errorf("in capitals: %d: %s", status, text)
	}
	whole := w.whole(i.ID)
	if len(whole.Requests) != 1 || whole.Requests[0].Asker != "api:ada" || whole.Requests[0].Reason != "it is old" || whole.Requests[0].Granted != nil ||
		!strings.Contains(whole.Next, "A second person must agree to what api:ada asked for: revoke") || !w.github.TokenLive(token) {
		t.Errorf("while it waits the incident is %+v", whole)
	}
	var plan app.Plan
	if status, text := w.call("", "GET", "/incidents/"+i.ID+"/plan?verb=revoke", nil, &plan); status != 200 || plan.Approvals != 1 || len(plan.Steps) != 2 {
		t.Errorf("the plan: %d: %s", status, text)
	}
	if status, text := w.call("bob", "POST", "/incidents/"+i.ID+"/approve", handed{"verb": "revoke"}, &done); status != 200 || done.Waits != "" {
		t.Fatalf("%d: %s", status, text)
	}
	if whole = w.done(i.ID); whole.Requests[0].Approver != "api:bob" || whole.Requests[0].Granted == nil || w.github.TokenLive(token) {
		t.Errorf("in the end the incident is %+v", whole)
	}
	if who := append(w.actors("ask revoke"), w.actors("agree revoke")...); strings.Join(who, " ") != "api:ada api:bob" {
		t.Errorf("the audit log names %v", who)
	}
	w.issued = append(w.issued, token)
	w.findNone(w.issued...)
}

// Who has a token of their own is who it names, whatever they say, and nobody else is.
func TestCallersWithTheirOwnTokens(t *testing.T) {
	policy := policyOf(app.Ask, app.Ask)
	policy.People.Approvals = 1
	tokens := map[string]checks.Secret{"Ada": checks.NewSecret("the token that only Ada has, long enough"), "bob": checks.NewSecret("the token that only Bob has, long enough")}
	w := newWorld(t, worldOptions{policy: policy, tamper: func(w *world, cfg *app.Config) {
		withAPI(w, cfg)
		cfg.APITokens = tokens
	}})
	leaked := w.token("own")
	post := func(token, caller string) (int, string) {
		body := `{"verb": "revoke", "text": "` + leaked + `"}`
		req, err := http.NewRequestWithContext(t.Context(), "POST", w.hook.URL+"/api/v1/remediations", strings.NewReader(body))
		w.must(err)
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set(app.CallerHeader, caller)
		resp, err := http.DefaultClient.Do(req)
		w.must(err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		w.must(err)
		return resp.StatusCode, string(text)
	}
	if status, text := post(tokens["Ada"].Expose(), "bob"); status != 200 || !strings.Contains(text, "somebody else than api:ada must agree") {
		t.Fatalf("%d: %s", status, text)
	}
	if status, text := post(tokens["Ada"].Expose(), "carol"); status != 200 || !strings.Contains(text, "somebody else than api:ada must agree") {
		t.Errorf("as somebody else: %d: %s", status, text)
	}
	if status, text := post(apiToken, "BOB"); status != 403 || !strings.Contains(text, "bob has a token of their own") {
		t.Errorf("with the token for all: %d: %s", status, text)
	}
	if status, _ := post("the token that only Eve has, long enough", "bob"); status != 401 {
		t.Errorf("with no token of these: %d", status)
	}
	if !w.github.TokenLive(leaked) {
		t.Fatal("it was done on one word")
	}
	if status, text := post(tokens["bob"].Expose(), ""); status != 200 || !strings.Contains(text, `"waits":""`) {
		t.Errorf("%d: %s", status, text)
	}
	w.eventually("it is dead", func() bool { return !w.github.TokenLive(leaked) })
	if who := append(w.actors("ask revoke"), w.actors("agree revoke")...); strings.Join(who, " ") != "api:ada api:bob" {
		t.Errorf("the audit log names %v", who)
	}
}

// What nothing can be done about is said, with what a person does.
func TestPlanThatStops(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: withAPI, policy: policyOf(app.Ask, app.Ask)})
	token, err := w.github.IssueToken("bot", githubtest.ClassicToken)
	w.must(err)
	w.issued = append(w.issued, token)
	var plan app.Plan
	if status, text := w.call("", "POST", "/remediations", handed{"text": token, "verb": "rotate", "dry_run": true}, &plan); status != 200 ||
		!strings.Contains(plan.Stops, "No secret store that Stanch knows holds this credential.") || len(plan.Steps) != 0 {
		t.Errorf("kept nowhere: %d: %s", status, text)
	}
	var done app.Ordered
	if status, text := w.call("", "POST", "/remediations", handed{"text": token, "verb": "rotate"}, &done); status != 200 {
		t.Fatalf("%d: %s", status, text)
	}
	w.eventually("it waits for a person", func() bool { return w.whole(done.Incident.ID).Stuck != "" })
	whole := w.whole(done.Incident.ID)
	if !strings.Contains(whole.Next, "stanch incidents approve") || whole.Doing != "" || !w.github.TokenLive(token) {
		t.Errorf("%+v", whole)
	}
	// It is revoked then, in the same incident.
	if status, text := w.call("", "POST", "/incidents/"+whole.ID+"/approve", handed{"verb": "revoke"}, nil); status != 200 {
		t.Fatalf("%d: %s", status, text)
	}
	if whole = w.done(whole.ID); whole.Resolution != incident.ResolutionRevoked || whole.Stuck != "" {
		t.Errorf("%+v", whole)
	}
	if status, text := w.call("", "GET", "/incidents/"+whole.ID+"/plan", nil, &plan); status != 200 || !strings.Contains(plan.Stops, "it is resolved (revoked)") {
		t.Errorf("afterwards: %d: %s", status, text)
	}
	watching := policyOf(app.Observe, app.Ask)
	w.restart(worldOptions{tamper: withAPI, policy: watching})
	other := w.token("watched")
	if status, text := w.call("", "POST", "/remediations", handed{"text": other, "verb": "revoke"}, nil); status != 409 || !strings.Contains(text, "the policy says observe") || !w.github.TokenLive(other) {
		t.Errorf("while only watching: %d: %s", status, text)
	}
}
