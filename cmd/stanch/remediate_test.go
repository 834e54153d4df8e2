package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
)

// A handWorld is a machine without a server and without a GitHub App: providers, an
// encrypted store, and the environment that names them.
type handWorld struct {
	t      *testing.T
	dir    string
	github *githubtest.Server
	env    map[string]string
	told   string // all that was ever written
	secret []string
}

func newHandWorld(t *testing.T) *handWorld {
	t.Helper()
	w := &handWorld{t: t, dir: t.TempDir()}
	var err error
	w.github, err = githubtest.New(githubtest.Config{Dir: filepath.Join(w.dir, "github")})
	w.must(err)
	w.github.Start()
	t.Cleanup(func() { w.github.Close() })
	w.github.CreateUser("bot")
	w.env = map[string]string{
		"STANCH_DATABASE_URL": "sqlite:" + filepath.Join(w.dir, "stanch.db"), "STANCH_GITHUB_URL": w.github.URL(),
		"STANCH_BROKER_URL": w.github.BrokerURL(), "STANCH_BROKER_TOKEN": w.github.BrokerToken(),
		"STANCH_STORE_FILE": filepath.Join(w.dir, "secrets.age"), "STANCH_CALLER": "Ada",
	}
	return w
}

func (w *handWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// token is a live token, which the store holds at a path unless that is empty.
func (w *handWorld) token(path string) string {
	w.t.Helper()
	token, err := w.github.IssueToken("bot", githubtest.ClassicToken)
	w.must(err)
	w.secret = append(w.secret, token)
	if path != "" {
		if code, out, errs := w.run(token, "store", "put", path, "token"); code != exitDone {
			w.t.Fatalf("%d: %s%s", code, out, errs)
		}
	}
	return token
}

func (w *handWorld) run(stdin string, args ...string) (code int, out, errs string) {
	w.t.Helper()
	var o, e strings.Builder
	code = run(w.t.Context(), args, strings.NewReader(stdin), &o, &e, func(name string) string { return w.env[name] })
	if args[0] != "store" {
		w.told += o.String() + e.String()
	}
	return code, o.String(), e.String()
}

// expect runs stanch and wants a status, and texts in what it writes.
func (w *handWorld) expect(code int, stdin string, args []string, texts ...string) string {
	w.t.Helper()
	got, out, errs := w.run(stdin, args...)
	if got != code {
		w.t.Errorf("stanch %s: status %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, errs)
	}
	for _, text := range texts {
		if !strings.Contains(out+errs, text) {
			w.t.Errorf("stanch %s does not say %q:\n%s%s", strings.Join(args, " "), text, out, errs)
		}
	}
	return out
}

// stored is what the store holds at a path.
func (w *handWorld) stored(path string) string {
	w.t.Helper()
	_, out, _ := w.run("", "store", "get", path, "token")
	value := strings.TrimSpace(out)
	w.secret = append(w.secret, value)
	return value
}

// findNoSecret looks through all that was written, and through the database.
func (w *handWorld) findNoSecret() {
	w.t.Helper()
	texts := map[string][]byte{"the output": []byte(w.told)}
	for _, name := range []string{"stanch.db", "stanch.db-wal"} {
		if text, err := os.ReadFile(filepath.Join(w.dir, name)); err == nil { // the second comes and goes
			texts[name] = text
		}
	}
	if len(texts) < 2 || len(w.secret) == 0 {
		w.t.Error("this test looks for nothing, or nowhere")
	}
	for _, secret := range w.secret {
		for name, text := range texts {
			if githubtest.Holds(text, secret) {
				w.t.Errorf("%s holds a credential", name)
			}
		}
	}
}

func TestRotateByHand(t *testing.T) {
	w := newHandWorld(t)
	old := w.token("ci/deploy")
	// The dry run makes no database.
	plan := w.expect(exitDone, old, []string{"rotate", "--dry-run"},
		"plan         rotate, replace_first", "1 issue", "POST "+w.github.BrokerURL(), "2 put", "ci/deploy, field token, version 1",
		"revoke_old", "cannot be taken back", "6 retire", "What could break", "its provider does not tell when it was last used",
		"Nothing was done: this was a dry run. “stanch rotate --yes” does it.")
	if _, err := os.Stat(filepath.Join(w.dir, "stanch.db")); err == nil || strings.Contains(plan, "Incident") {
		t.Error("the dry run made a database or an incident")
	}
	if w.stored("ci/deploy") != old || !w.github.TokenLive(old) {
		t.Error("the dry run changed something")
	}
	out := w.expect(exitDone, "GITHUB_TOKEN="+old, []string{"rotate", "--yes", "--reason", "a laptop was lost"},
		"put          done: ", "prove_dead   done: GET ", "Proved dead: asked with the leaked credential", "Its replacement is in ", "ci/deploy, field token, version 2",
		"resolved as rotated", "recorded in "+filepath.Join(w.dir, "stanch.db"))
	now := w.stored("ci/deploy")
	if w.github.TokenLive(old) || now == old || !w.github.TokenLive(now) {
		t.Error("it was not rotated")
	}
	var steps []string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 2 && strings.HasPrefix(words[2], "done") {
			steps = append(steps, words[1])
		}
	}
	if want := []string{"issue", "put", "verify_new", "revoke_old", "prove_dead", "retire"}; !slices.Equal(steps, want) {
		t.Errorf("it told the steps %v, want %v", steps, want)
	}
	// Again there is nothing to do, and nothing is done.
	w.expect(exitDone, old, []string{"rotate", "--yes"}, "Proved dead")
	if w.stored("ci/deploy") != now {
		t.Error("it was rotated twice")
	}
	w.expect(exitFailed, old, []string{"rotate", "--dry-run"}, "Nothing would be done: it is resolved (rotated)")
	out = w.expect(exitDone, "", []string{"audit", "export"})
	if strings.Count(out, `"actor":"cli:ada"`) < 4 || !strings.Contains(out, "a laptop was lost") {
		t.Errorf("the audit log does not name who ordered it:\n%s", out)
	}
	w.expect(exitDone, "", []string{"audit", "verify"})
	w.findNoSecret()
}

func TestRevokeByHand(t *testing.T) {
	w := newHandWorld(t)
	token := w.token("")
	w.expect(exitDone, token, []string{"revoke", "--dry-run", "--format", "json"}, `"step": "revoke_old"`, `"effect": "final"`)
	out := w.expect(exitDone, "secret: "+token, []string{"revoke", "--yes", "--rule", "github-pat", "--parts", "--format", "json"})
	var done app.Ordered
	w.must(json.Unmarshal([]byte(out), &done))
	if done.Incident.Resolution != incident.ResolutionRevoked || w.github.TokenLive(token) || done.Incident.Sources[0] != "by hand" {
		t.Errorf("%+v", done.Incident)
	}
	// What is dead is proved to be.
	dead := w.token("")
	w.github.KillToken(dead)
	w.expect(exitDone, dead, []string{"revoke", "--dry-run"}, "its provider does not say that it works (unknown)")
	w.expect(exitDone, dead, []string{"revoke", "--yes"}, "Proved dead")
	// A rotation of what no store holds waits for a person, who revokes it.
	nowhere := w.token("")
	w.expect(exitFailed, nowhere, []string{"rotate", "--dry-run"}, "Nothing would be done: No secret store that Stanch knows holds this credential.")
	w.expect(exitFailed, nowhere, []string{"rotate", "--yes"}, "It waits for a person: No secret store", "stanch incidents approve")
	if !w.github.TokenLive(nowhere) {
		t.Error("it was revoked without an order")
	}
	w.expect(exitDone, nowhere, []string{"revoke", "--yes"}, "Proved dead")
	w.findNoSecret()
}

func TestIncidentsByHand(t *testing.T) {
	w := newHandWorld(t)
	w.expect(exitFailed, "", []string{"incidents", "list"}, "no database to read", "--server")
	w.expect(exitFailed, "", []string{"incidents", "approve", "0199", "revoke"}, "no database to read")
	token := w.token("")
	w.expect(exitFailed, token, []string{"rotate", "--yes"}, "It waits for a person")
	w.expect(exitDone, "", []string{"incidents", "list"}, "ID ", "STATE", "stuck", "github-pat", "active", "critical")
	var page app.IncidentList
	w.must(json.Unmarshal([]byte(w.expect(exitDone, "", []string{"incidents", "list", "--format", "json", "--state", "stuck"})), &page))
	id := page.Incidents[0].ID
	w.expect(exitDone, "", []string{"incidents", "show", id}, "waits for", "found        by hand", "Timeline", "delivered", "Next", "stanch incidents approve "+id+" rotate")
	w.expect(exitDone, "", []string{"incidents", "show", "--format", "json", id}, `"state": "open"`)
	w.expect(exitDone, "", []string{"incidents", "plan", id, "revoke"}, "revoke_old", "stanch incidents approve "+id+" revoke")
	w.expect(exitFailed, "", []string{"incidents", "plan", id}, "Nothing would be done")
	w.expect(exitFailed, "", []string{"incidents", "resolve", id, "wont_fix", "--reason", "it is fine"}, "the provider says that this credential is live")
	w.expect(exitDone, "", []string{"incidents", "halt", "--reason", "an audit"}, "All remediations are halted, by cli:ada")
	w.expect(exitDone, "", []string{"incidents", "halted"}, "an audit")
	w.expect(exitDone, "", []string{"incidents", "schedule"}, "nothing is rotated from time to time")
	w.expect(exitDone, "", []string{"incidents", "resume", "--reason", "it is over"}, "not halted")
	w.expect(exitFailed, "", []string{"incidents", "undo", id, "--reason", "x"}, "nothing can be taken back")
	w.expect(exitDone, "", []string{"incidents", "approve", id, "revoke", "--reason", "it is old"}, "Proved dead")
	if w.github.TokenLive(token) {
		t.Error("it is live")
	}
	for _, wrong := range []struct{ args, want string }{
		{"show", "say stanch incidents show ID"}, {"show 0199", "no such incident"}, {"lst", `did you mean "incidents list"`}, {"list --state lost", "the states are"},
		{"approve " + id, "say stanch incidents approve ID rotate|revoke"}, {"approve " + id + " kill", "verb is rotate or revoke"},
		{"resolve " + id + " rotated --reason x", "resolution is false_positive"}, {"resolve " + id + " revoked", "give a --reason"}, {"halt", "give a --reason"},
		{"list --format yaml", "must be text or json"}, {"list --limit 0", "from 1 to 200"},
	} {
		w.expect(exitFailed, "", append([]string{"incidents"}, strings.Fields(wrong.args)...), wrong.want)
	}
	w.findNoSecret()
}

// A copy at GitHub that nobody could write keeps a rotation from beginning.
func TestRotateWithoutWhoWritesCopies(t *testing.T) {
	w := newHandWorld(t)
	token := w.token("ci")
	w.env["STANCH_GITHUB_COPIES"] = "acme/shop:actions:DEPLOY_TOKEN=file:ci#token"
	for _, how := range []string{"--dry-run", "--yes"} {
		w.expect(exitFailed, token, []string{"rotate", how}, "acme/shop:actions:DEPLOY_TOKEN is a copy of", "set STANCH_GITHUB_APP_ID")
	}
	if !w.github.TokenLive(token) || w.github.LiveTokens("bot") != 1 || w.stored("ci") != token {
		t.Error("something was done")
	}
	w.findNoSecret()
}

// Where the policy wants two people, the second one says the same.
func TestTwoPeopleByHand(t *testing.T) {
	w := newHandWorld(t)
	w.env["STANCH_POLICY"] = filepath.Join(w.dir, "policy.yml")
	w.must(os.WriteFile(w.env["STANCH_POLICY"], []byte("people: {approvals: 1}\n"), 0o600))
	token := w.token("two")
	w.expect(exitDone, token, []string{"rotate", "--dry-run"}, "The policy wants a second person to agree.")
	for range 2 {
		w.expect(exitFailed, token, []string{"rotate", "--yes"}, "Nothing was done yet: ", "somebody else than cli:ada must agree")
	}
	var page app.IncidentList
	w.must(json.Unmarshal([]byte(w.expect(exitDone, "", []string{"incidents", "list", "--format", "json"})), &page))
	id := page.Incidents[0].ID
	w.expect(exitDone, "", []string{"incidents", "show", id}, "cli:ada asked for rotate", "nobody has agreed yet", "A second person must agree")
	w.expect(exitFailed, "", []string{"incidents", "approve", id, "rotate"}, "somebody else than cli:ada")
	if !w.github.TokenLive(token) || w.stored("two") != token {
		t.Fatal("it was done on one word")
	}
	w.env["STANCH_CALLER"] = "bob"
	w.expect(exitDone, "", []string{"incidents", "approve", id, "rotate"}, "Proved dead")
	w.expect(exitDone, "", []string{"incidents", "show", id}, "and cli:bob agreed", "approved by  cli:bob")
	if w.github.TokenLive(token) || w.stored("two") == token {
		t.Error("it was not done on two")
	}
	w.findNoSecret()
}

// Where a process has the database open, it is told to do it.
func TestRemediateBesideAServer(t *testing.T) {
	w := newHandWorld(t)
	token := w.token("")
	w.expect(exitFailed, token, []string{"rotate", "--yes"})
	a, err := (&environment{stderr: &strings.Builder{}, getenv: func(name string) string { return w.env[name] }}).localAPI(t.Context(), toOrder)
	w.must(err)
	w.expect(exitFailed, token, []string{"revoke", "--yes"}, "another stanch has it open", "STANCH_SERVER_URL")
	w.expect(exitDone, "", []string{"incidents", "list"}, "github-pat")
	w.expect(exitDone, token, []string{"revoke", "--dry-run"}, "revoke_old")
	w.must(a.close())
	w.expect(exitDone, token, []string{"revoke", "--yes"}, "Proved dead")
	w.findNoSecret()
}

func TestRemediateRefuses(t *testing.T) {
	w := newHandWorld(t)
	token := w.token("")
	for _, wrong := range []struct{ stdin, args, want string }{
		{token, "revoke", "nothing was done: without a terminal say --dry-run"},
		{token, "rotate --format json", "without a terminal"},
		{token, "rotate --yes --dry-run", "say one of them"},
		{token, "revoke --yes " + token[:10], "a credential is no argument"},
		{token, "revoke --yes --parts", "--parts needs --rule"},
		{token, "revoke --yes --format yaml", "must be text or json"},
		{token, "revoke --yes --rule github-pet", `did you mean "github-pat"`},
		{token, "revoke --yes --rule gitlab-pat", "no credential of the kind gitlab-pat"},
		{"", "revoke --yes", "standard input is empty"},
		{"some words", "revoke --yes", "no credential of a kind that is known"},
		{token, "revoke --yes --rule github-pat --parts", "no colon"},
		{token, "revoke --yes --server http://stanch.example.com", "not https"},
		{token, "revoke --yes --server https://stanch.example.com", "the server wants its token"},
	} {
		w.expect(exitFailed, wrong.stdin, strings.Fields(wrong.args), wrong.want)
	}
	if strings.Contains(w.told, token) || !w.github.TokenLive(token) {
		t.Error("something was done or told")
	}
	w.env["STANCH_DATABASE_URL"] = "postgres://stanch:changeme@db/stanch"
	w.expect(exitFailed, token, []string{"revoke", "--yes"}, "PostgreSQL")
	// What no program revokes is a person's.
	w.env["STANCH_DATABASE_URL"] = "sqlite:" + filepath.Join(w.dir, "stanch.db")
	manual := sampleOf(t, "gitlab-deploy-token")
	w.secret = append(w.secret, manual, token)
	w.expect(exitFailed, manual, []string{"revoke", "--dry-run"}, "Nothing would be done: A person does it")
	w.expect(exitFailed, manual, []string{"revoke", "--yes"}, "A person does it", "https://")
	w.findNoSecret()
}
