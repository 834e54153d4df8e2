package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// A server does what is ordered of it, and what it found by itself is shown.
func TestRemediateByServer(t *testing.T) {
	const token = "the API token of these tests, long enough"
	w := newServeWorld(t, func(w *serveWorld, keys store.Keys) {
		withGitHubToken(w, keys)
		policy := filepath.Join(w.dir, "scheduling.yml")
		w.must(os.WriteFile(policy, []byte("remediation: automatic\nschedule:\n  - {secret: 'file:nowhere', every: 720h}\n"), 0o600))
		w.env = append(w.env, "STANCH_API_TOKEN="+token, "STANCH_POLICY="+policy)
	})
	head := w.push()
	w.finish(func() error { return w.finished(head) })
	hand := &handWorld{t: t, dir: w.dir, github: w.github, secret: []string{w.leaked, w.stored()}, env: map[string]string{
		"STANCH_SERVER_URL": "http://" + w.addr, "STANCH_API_TOKEN": token, "STANCH_CALLER": "ada",
	}}
	var page app.IncidentList
	w.finish(func() error {
		page = app.IncidentList{}
		w.must(json.Unmarshal([]byte(hand.expect(exitDone, "", []string{"incidents", "list", "--format", "json", "--repository", "acme/shop", "--state", "resolved"})), &page))
		if len(page.Incidents) != 1 {
			return fmt.Errorf("there are %d resolved incidents", len(page.Incidents))
		}
		return nil
	})
	id := page.Incidents[0].ID
	hand.expect(exitDone, "", []string{"incidents", "show", id}, "resolved as rotated", "acme/shop prod.env:1", "proved_dead", "replaced by", "approved by  policy", "found        repository")
	hand.expect(exitFailed, "", []string{"incidents", "approve", id, "revoke"}, "it is resolved (rotated)")

	other, err := w.github.IssueToken("bot", githubtest.ClassicToken)
	w.must(err)
	_, err = w.secrets.Put(t.Context(), secretstore.Location{Store: w.secrets.Name(), Path: "other", Field: "token"}, map[string]checks.Secret{"token": checks.NewSecret(other)}, "test")
	w.must(err)
	hand.secret = append(hand.secret, other)
	hand.expect(exitDone, other, []string{"rotate", "--dry-run"}, "other, field token, version 1", "Nothing was done")
	if !w.github.TokenLive(other) {
		t.Fatal("the dry run killed it")
	}
	hand.expect(exitDone, other, []string{"rotate", "--yes", "--reason", "it is old"}, "Proved dead", "other, field token, version 2")
	if w.github.TokenLive(other) {
		t.Error("it is live")
	}
	out := hand.expect(exitDone, "", []string{"incidents", "list"})
	if strings.Count(out, "github-pat") != 2 {
		t.Errorf("the list is\n%s", out)
	}
	w.finish(func() error {
		if out := hand.expect(exitDone, "", []string{"incidents", "schedule"}, "SECRET", "file:nowhere", "720h0m0s"); !strings.Contains(out, "file:nowhere: get file: nowhere: no such secret") {
			return fmt.Errorf("the schedule's problem is not told:\n%s", out)
		}
		return nil
	})
	hand.expect(exitDone, "", []string{"incidents", "schedule", "--format", "json"}, `"secret": "file:nowhere"`, `"overlap": true`)
	hand.expect(exitDone, "", []string{"incidents", "halt", "--reason", "a drill"}, "halted, by api:ada")
	hand.expect(exitDone, "", []string{"incidents", "resume", "--reason", "over"}, "not halted")
	// A server without an API, and one that is not there.
	hand.env["STANCH_API_TOKEN"] = token + "x"
	hand.expect(exitFailed, other, []string{"revoke", "--yes"}, "say the API's token")
	hand.env["STANCH_SERVER_URL"] = w.github.URL()
	hand.expect(exitFailed, "", []string{"incidents", "list"}, "there is no API")
	hand.findNoSecret()
	w.findNoSecret()
}

// A token of a real OpenBao or Vault server that it keeps in KV is rotated on this machine,
// with the policies of deploy/vault and nothing else.
func TestRotateVaultTokenByHand(t *testing.T) {
	v := newVault(t)
	w := newHandWorld(t)
	for name, file := range map[string]string{"stanch": "stanch.hcl", "stanch-issue": "stanch-issue.hcl"} {
		policy, err := os.ReadFile(filepath.Join("..", "..", "deploy", "vault", file))
		w.must(err)
		v.must(t, string(policy), "policy", "write", name, "-")
	}
	v.must(t, `path "secret/data/app/*" { capabilities = ["read"] }`, "policy", "write", "ci-deploy", "-")
	v.must(t, "", "write", "auth/token/roles/stanch-issue", "orphan=true", "renewable=true", "allowed_policies_glob=ci-*")
	own := v.must(t, "", "token", "create", "-orphan", "-policy=stanch", "-policy=stanch-issue", "-field=token")
	old := v.must(t, "", "token", "create", "-orphan", "-policy=ci-deploy", "-ttl=2h", "-field=token")
	v.must(t, "", "kv", "put", "secret/ci/vault", "token="+old)
	w.secret = append(w.secret, old, own)
	w.env["VAULT_ADDR"], w.env["VAULT_TOKEN"], w.env["STANCH_VAULT_MOUNTS"], w.env["STANCH_VAULT_ISSUE_ROLE"] = v.addr, own, "secret", "stanch-issue"
	w.expect(exitDone, "VAULT_TOKEN="+old, []string{"rotate", "--dry-run"}, "secret/ci/vault, field token, version 1", "POST "+v.addr+"/v1/auth/token/create/stanch-issue")
	if !v.live(t, old) {
		t.Fatal("the dry run killed it")
	}
	out := w.expect(exitDone, "VAULT_TOKEN="+old, []string{"rotate", "--yes", "--format", "json"})
	var done app.Ordered
	w.must(json.Unmarshal([]byte(out), &done))
	if done.Incident.Resolution != incident.ResolutionRotated || v.live(t, old) {
		t.Errorf("%+v", done.Incident)
	}
	now := v.must(t, "", "kv", "get", "-field=token", "secret/ci/vault")
	w.secret = append(w.secret, now)
	if now == old || !v.live(t, now) {
		t.Error("the store holds no working replacement")
	}
	// It does not kill what it lives on itself.
	w.expect(exitFailed, "VAULT_TOKEN="+own, []string{"revoke", "--yes"}, "This is Stanch's own credential")
	if !v.live(t, own) {
		t.Error("it killed its own token")
	}
	w.findNoSecret()
}
