package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// held makes an incident that is disabled, proved dead and waits for the end of its hold.
func (w *world) held(token string) string {
	w.t.Helper()
	evidence, err := json.Marshal(map[string]any{"request": "GET /user", "identity": map[string]string{"login": "bot"}})
	w.must(err)
	now := time.Now()
	var id string
	w.must(w.memory.InTx(w.t.Context(), func(tx *store.Tx) error {
		i, _, err := tx.OpenIncident(w.t.Context(), store.Incident{
			Incident: incident.Incident{Fingerprint: checks.NewSecret(token).Fingerprint(w.keys.Fingerprint), Rule: "github-pat", Validity: checks.Active, Opened: now},
			Grade:    "A", Evidence: evidence, Received: now,
		})
		if err != nil {
			return err
		}
		id = i.ID
		if err := tx.Seal(w.t.Context(), id, store.Leaked, checks.Credential{Rule: "github-pat", Parts: map[string]checks.Secret{checks.PartSecret: checks.NewSecret(token)}}); err != nil {
			return err
		}
		i.Remedy = incident.Remedy{Verb: incident.Revoke, Reversible: true}
		i.Contained, i.Dead, i.Hold, i.Held = now, now, time.Hour, now.Add(time.Hour)
		for _, step := range []incident.Step{incident.DisableOld, incident.ProveDead} {
			if _, err := tx.Attempt(w.t.Context(), id, step, now); err != nil {
				return err
			}
			if err := tx.FinishAction(w.t.Context(), id, step, map[string]string{"request": "GET /user", "answer": "401"}, now); err != nil {
				return err
			}
		}
		return tx.SaveIncident(w.t.Context(), i)
	}))
	return id
}

// While a credential is only disabled the API says so, and takes that back or ends it.
func TestHeldOverTheAPI(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: withAPI, policy: policyOf(app.Ask, app.Ask)})
	token := w.token("held")
	id := w.held(token)
	whole := w.whole(id)
	if strings.Join(whole.Can, " ") != "undo end-hold" || whole.Held == nil || whole.State != incident.ProvedDead ||
		!strings.Contains(whole.Next, "“stanch incidents undo "+id+"” brings it back") {
		t.Errorf("while it is held it is %+v", whole)
	}
	var plan app.Plan
	if status, text := w.call("", "GET", "/incidents/"+id+"/plan?verb=undo", nil, &plan); status != 200 || len(plan.Steps) != 2 ||
		plan.Steps[0].Step != incident.EnableOld || plan.Steps[1].Step != incident.VerifyOld || plan.Risks[0] != "it is live again, for whoever has it" {
		t.Errorf("the plan to undo: %d: %s", status, text)
	}
	if status, text := w.call("", "GET", "/incidents/"+id+"/plan", nil, &plan); status != 200 || len(plan.Steps) != 4 ||
		plan.Steps[2].Step != incident.Hold || !plan.Steps[1].Done || plan.Steps[3].Done || !strings.Contains(plan.Steps[2].What, "1h0m0s") {
		t.Errorf("the plan: %d: %s", status, text)
	}
	if status, text := w.call("", "POST", "/incidents/"+id+"/undo", handed{"reason": ""}, nil); status != 400 || !strings.Contains(text, "give a reason") {
		t.Errorf("without a reason: %d: %s", status, text)
	}
	if status, text := w.call("", "POST", "/incidents/"+id+"/confirm", handed{"reason": "x"}, nil); status != 409 || !strings.Contains(text, "nothing waits for the users") {
		t.Errorf("nothing to confirm: %d: %s", status, text)
	}
	if status, text := w.call("ada", "POST", "/incidents/"+id+"/approve", handed{"verb": "rotate"}, nil); status != 409 || !strings.Contains(text, "another remediation is under way (revoke)") {
		t.Errorf("another order: %d: %s", status, text)
	}
	if status, text := w.call("ada", "POST", "/halt", handed{"reason": "a drill"}, nil); status != 200 || !strings.Contains(text, `"halted":true,"by":"api:ada","reason":"a drill"`) {
		t.Errorf("halt: %d: %s", status, text)
	}
	var done app.Ordered
	if status, text := w.call("ada", "POST", "/incidents/"+id+"/undo", handed{"reason": "the old job still runs"}, &done); status != 200 || done.Incident.Doing != incident.Undo {
		t.Errorf("undo: %d: %s", status, text)
	}
	if who := w.actors("approve undo"); len(who) != 1 || who[0] != "api:ada" {
		t.Errorf("the audit log names %v", who)
	}
	w.eventually("the incident tells that all is halted", func() bool { return strings.Contains(w.whole(id).Next, "stanch incidents resume") })
	if status, text := w.call("bob", "POST", "/resume", handed{"reason": "over"}, nil); status != 200 || !strings.Contains(text, `"halted":false`) {
		t.Errorf("resume: %d: %s", status, text)
	}
	// Nobody can enable a token of GitHub's, which is no reason to go on trying.
	w.eventually("a person is told", func() bool {
		whole := w.whole(id)
		return whole.Doing == "" && strings.Contains(whole.Stuck, "does not let Stanch enable the old credential again: ")
	})
	if status, text := w.call("", "GET", "/halt", nil, nil); status != http.StatusOK || !strings.Contains(text, `"halted":false`) {
		t.Errorf("%d: %s", status, text)
	}
	for what, want := range map[string]string{"undo": "nothing can be taken back", "end-hold": "does not wait for the end of a hold", "confirm": "nothing waits"} {
		other := w.handOver(w.token(what))
		if status, text := w.call("ada", "POST", "/incidents/"+other+"/"+what, handed{"reason": "x"}, nil); status != 409 || !strings.Contains(text, want) {
			t.Errorf("%s of what has ended: %d: %s", what, status, text)
		}
	}
}

// handOver has a credential revoked by hand, to its end.
func (w *world) handOver(token string) string {
	w.t.Helper()
	var ordered app.Ordered
	if status, text := w.call("ada", "POST", "/remediations", handed{"text": token, "verb": "revoke"}, &ordered); status != 200 {
		w.t.Fatalf("%d: %s", status, text)
	}
	w.done(ordered.Incident.ID)
	return ordered.Incident.ID
}
