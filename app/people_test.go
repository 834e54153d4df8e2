package app_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// unverifiable is a line whose secret no provider can be asked about.
func unverifiable(name string) string { return name + "_PASSWORD" + " = \"kX9-fq27-LLw3-pZ81\"\n" }

// asking is the default policy with other rules for people.
func asking(people app.People) app.Policy {
	p := app.DefaultPolicy()
	p.People = people
	return p
}

// reacted waits until a comment has a reaction besides that it was taken, and
// returns all of the App's, in order.
func (w *world) reacted(number int, id int64) string {
	w.t.Helper()
	var all []string
	w.eventually("the command is answered", func() bool {
		all = nil
		for _, c := range w.github.Comments(w.repoName, number) {
			for _, r := range c.Reactions {
				if c.ID == id && r.User == w.self.Slug+"[bot]" {
					all = append(all, r.Content)
				}
			}
		}
		return len(all) > 0 && !slices.Equal(all, []string{"eyes"})
	})
	return strings.Join(all, " ")
}

// say comments on a pull request and returns the reactions.
func (w *world) say(number int, who, text string) string {
	w.t.Helper()
	id, err := w.github.Comment(w.repoName, number, who, text)
	w.must(err)
	return w.reacted(number, id)
}

// person makes an account with a permission on the repository.
func (w *world) person(login, permission string) {
	w.t.Helper()
	w.github.CreateUser(login)
	w.must(w.github.SetPermission(w.repoName, login, permission))
}

func TestPolicySaysWhoMayPress(t *testing.T) {
	w := newWorld(t, worldOptions{policy: asking(app.People{Press: app.PermissionMaintain})})
	g := w.seeded()
	leaked := w.token("press")
	head := w.leak(g, "press", "a.env", env(leaked))
	run := w.check(head, "is red with buttons", func(r githubtest.CheckRun) bool { return buttons(r) == "rotate revoke" })
	w.must(w.github.PressButton(run.ID, "rotate", "dana")) // may write
	w.eventually("the writer is refused", func() bool { return w.audited("refuse rotate") == 1 })
	w.person("tess", "triage")
	w.must(w.github.PressButton(run.ID, "rotate", "tess"))
	w.eventually("who may triage is refused", func() bool { return w.audited("refuse rotate") == 2 })
	if !w.github.TokenLive(leaked) {
		t.Fatal("somebody without the permission could have it rotated")
	}
	// A role that the organisation named itself, and that may maintain.
	w.github.CreateUser("max")
	w.must(w.github.SetRole(w.repoName, "max", "release-captain", "maintain"))
	w.must(w.github.PressButton(run.ID, "rotate", "max"))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.mustRotate("press", leaked)
}

// TestSideBranchDoesNotSayWhoMayPress: who may write to a branch does not choose, by a
// pull request to it, who may press.
func TestSideBranchDoesNotSayWhoMayPress(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	g.git("branch", "side") // without a policy
	g.push("side")
	w.judged(g, "only administrators", map[string]string{".github/stanch.yml": "people: {press: admin, bypass: false}\n"})
	w.github.CreateUser("eve")
	fork, err := w.github.Fork(w.repoName, "eve")
	w.must(err)
	leaked := w.token("side")
	g.git("checkout", "--quiet", "-b", "gift", "side")
	head := g.commit("leak", map[string]string{"a.env": env(leaked)})
	g.git("push", "--quiet", w.github.CloneURL(fork), "gift")
	_, err = w.github.OpenPull(w.repoName, "eve:gift", "side", "A gift")
	w.must(err)
	run := w.check(head, "is red with buttons", func(r githubtest.CheckRun) bool { return buttons(r) == "rotate revoke" })
	w.must(w.github.PressButton(run.ID, "rotate", "dana")) // may write
	w.eventually("the writer is refused", func() bool { return w.audited("refuse rotate") == 1 })
	if !w.github.TokenLive(leaked) {
		t.Error("the side branch's policy let a writer have it rotated")
	}
	w.person("ada", "admin")
	w.must(w.github.PressButton(run.ID, "rotate", "ada"))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.mustRotate("side", leaked)
}

func TestTwoPeopleMustAgree(t *testing.T) {
	w := newWorld(t, worldOptions{policy: asking(app.People{Approvals: 1})})
	w.person("erin", "write")
	w.person("visitor", "read")
	g := w.seeded()
	leaked := w.token("two")
	head := w.leak(g, "two", "a.env", env(leaked))
	run := w.check(head, "is red with buttons", func(r githubtest.CheckRun) bool { return buttons(r) == "rotate revoke" })
	w.must(w.github.PressButton(run.ID, "rotate", "dana"))
	run = w.check(head, "waits for a second person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && buttons(r) == "confirm_rotate revoke" && strings.Contains(r.Summary, "Waiting for a second person")
	})
	shortLabels(t, run)
	if !strings.Contains(run.Summary, "dana asked for a rotation") || run.Title != "1 live credential, second person needed" {
		t.Errorf("%q: %s", run.Title, run.Summary)
	}
	w.must(w.github.PressButton(run.ID, "confirm_rotate", "dana"))
	w.must(w.github.PressButton(run.ID, "confirm_rotate", "visitor"))
	w.eventually("both are refused", func() bool { return w.audited("refuse confirm_rotate") == 2 })
	if !w.github.TokenLive(leaked) || w.stored("two") != leaked {
		t.Fatal("one person could have it rotated")
	}
	w.must(w.github.PressButton(run.ID, "confirm_rotate", "erin"))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") && buttons(r) == "" })
	w.mustRotate("two", leaked)
	if w.audited("ask rotate") != 1 || w.audited("agree rotate") != 1 || w.audited("approve rotate") != 1 {
		t.Error("the audit log does not tell who asked, who agreed, and what was approved")
	}
}

func TestCommands(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	w.person("visitor", "read")
	g := w.seeded()
	one, two := w.token("one"), w.token("two")
	head, number := w.pulled(g, "commands", "a.env", env(one)+env(two))
	w.check(head, "is red", func(r githubtest.CheckRun) bool {
		return buttons(r) == "rotate revoke" && strings.Contains(r.Text, "/stanch")
	})

	for _, test := range []struct{ who, text, want string }{
		{"visitor", "/stanch rotate", "eyes -1"},
		{"dana", "/stanch dance", "confused"},
		{"dana", "/stanch rotate 7", "eyes confused"},
		{"dana", "/stanch allow it works", "eyes -1"}, // it is live
		{"dana", "/stanch bypass it works", "eyes -1"},
		{"dana", "/stanch status", "eyes +1"},
	} {
		if got := w.say(number, test.who, test.text); got != test.want {
			t.Errorf("%s says %q: reactions %q, want %q", test.who, test.text, got, test.want)
		}
	}
	if !w.github.TokenLive(one) || !w.github.TokenLive(two) {
		t.Fatal("something was done that nobody may have done")
	}
	if got := w.say(number, "dana", "I agree.\n\n/stanch rotate 2"); got != "eyes +1" {
		t.Errorf("reactions %q", got)
	}
	w.eventually("the second one is dead", func() bool { return !w.github.TokenLive(two) })
	if !w.github.TokenLive(one) {
		t.Error("the first one was not meant")
	}
	if got := w.say(number, "dana", "/stanch revoke 1"); got != "eyes +1" {
		t.Errorf("reactions %q", got)
	}
	w.check(head, "tells that both are dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "2 credentials proved dead") })
	if w.github.TokenLive(one) {
		t.Error("the first one lives")
	}
	var own int
	for _, c := range w.github.Comments(w.repoName, number) {
		if c.AppID == w.self.ID {
			own++
		}
	}
	if own != 1 {
		t.Errorf("%d comments of the App, want the one", own)
	}
}

func TestWhatIsNoCommand(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	leaked := w.token("none")
	head, number := w.pulled(g, "none", "a.env", env(leaked))
	w.check(head, "is red", func(r githubtest.CheckRun) bool {
		return buttons(r) == "rotate revoke" && strings.Contains(r.Text, "/stanch")
	})
	id, err := w.github.Comment(w.repoName, number, "dana", "See below:\n```\n/stanch rotate\n```\n> /stanch rotate")
	w.must(err)
	w.must(w.github.EditComment(id, "/stanch rotate"))
	// A program's comment, and one on an issue that is no pull request.
	w.comments(number, map[string]any{"sender": map[string]any{"login": "robo[bot]", "id": 99, "type": "Bot"}})
	w.comments(number, map[string]any{"issue": map[string]any{"number": number}})
	w.must(w.github.WaitDeliveries(t.Context()))
	if got := w.say(number, "dana", "/stanch status"); got != "eyes +1" { // jobs of before are done by now
		t.Errorf("reactions %q", got)
	}
	for _, c := range w.github.Comments(w.repoName, number) {
		if c.ID == id && len(c.Reactions) > 0 {
			t.Errorf("reactions to what is no command: %v", c.Reactions)
		}
	}
	if !w.github.TokenLive(leaked) || w.audited("command rotate") != 0 {
		t.Error("something was done that nobody said")
	}
}

// comments sends the event of a comment "/stanch rotate" with changes.
func (w *world) comments(number int, change map[string]any) {
	w.t.Helper()
	payload := map[string]any{
		"action": "created", "issue": map[string]any{"number": number, "pull_request": map[string]any{}},
		"comment": map[string]any{"id": 4711, "body": "/stanch rotate", "user": map[string]any{"login": "dana", "id": 98, "type": "User"}},
		"sender":  map[string]any{"login": "dana", "id": 98, "type": "User"},
	}
	for field, value := range change {
		payload[field] = value
	}
	_, err := w.github.Send(w.self.ID, w.repoName, "issue_comment", payload)
	w.must(err)
}

func TestAllowByCommand(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.seeded()
	head, number := w.pulled(g, "allow", "a.env", unverifiable("DB"))
	w.check(head, "is red with a button", func(r githubtest.CheckRun) bool {
		return strings.Contains(buttons(r), "not_a_secret") && strings.Contains(r.Text, "/stanch allow")
	})
	// What looks like a secret in a reason is not kept.
	pasted := w.token("pasted")
	if got := w.say(number, "dana", "/stanch allow the manual has it, unlike "+pasted); got != "eyes +1" {
		t.Errorf("reactions %q", got)
	}
	run := w.check(head, "is green", completed("success"))
	w.says(head, "success", "by @dana until ")
	check, err := w.memory.Check(t.Context(), run.ExternalID)
	w.must(err)
	allowed, err := w.memory.Allowances(t.Context(), check.Installation, check.Repository.ID)
	w.must(err)
	if len(allowed) != 1 {
		t.Errorf("allowances %v", allowed)
	}
	for _, said := range allowed {
		if said.Owner != "@dana" || strings.Contains(said.Reason, pasted) || !strings.HasPrefix(said.Reason, "the manual has it") || said.Expires.Before(time.Now().AddDate(0, 11, 0)) {
			t.Errorf("allowed %+v", said)
		}
		// When that has ended, the next scan that finds it says so.
		said.Made, said.Expires = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		w.must(w.memory.InTx(t.Context(), func(tx *store.Tx) error { return tx.Allow(t.Context(), said) }))
	}
	w.says(w.leak(g, "again", "b.env", unverifiable("DB")), "failure", "Nobody could tell")
	for e, err := range w.memory.AuditLog(t.Context()) {
		w.must(err)
		if strings.Contains(e.Detail["reason"], pasted) {
			t.Error("the audit log holds a secret")
		}
		if e.Verb == "dismiss" && !strings.HasPrefix(e.Detail["reason"], "the manual has it, unlike ") {
			t.Errorf("dismissed because of %q", e.Detail["reason"])
		}
	}
	if n := w.audited("dismiss"); n != 1 {
		t.Errorf("%d dismissals", n)
	}
}

// TestReasonsAreNotForEverybody: neither those of people, nor those of lists.
func TestReasonsAreNotForEverybody(t *testing.T) {
	w := newWorld(t, worldOptions{public: true, policy: app.DefaultPolicy()})
	g := w.seeded()
	listed := w.token("listed")
	w.silence()
	id := checks.NewSecret(listed).Fingerprint(w.keys.Fingerprint).AllowID(w.keys.Allow)
	w.judged(g, "allow", map[string]string{".github/stanch-allow.txt": string(id) + " 2999-12-31 @dana the spare door is open\n"})
	head, number := w.pulled(g, "reasons", "a.env", unverifiable("DB")+"TOKEN="+listed+"\n")
	w.check(head, "is red", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Text, "/stanch allow")
	})
	if got := w.say(number, "dana", "/stanch allow the cellar has a window"); got != "eyes +1" {
		t.Errorf("reactions %q", got)
	}
	run := w.check(head, "is green", completed("success"))
	told := run.Title + run.Summary + run.Text
	for _, c := range w.github.Comments(w.repoName, number) {
		if c.AppID == w.self.ID {
			told += c.Body
		}
	}
	if strings.Contains(told, "cellar") || strings.Contains(told, "spare door") || !strings.Contains(told, "1 not shown, allowed by ") {
		t.Errorf("everybody reads why something is allowed:\n%s", told)
	}
	w.must(w.github.SetPrivate(w.repoName, true))
	w.eventually("the visibility is known", func() bool {
		check, err := w.memory.Check(t.Context(), run.ExternalID)
		return err == nil && check.Repository.Private
	})
	if got := w.say(number, "dana", "/stanch status"); got != "eyes +1" {
		t.Errorf("reactions %q", got)
	}
	w.check(head, "tells colleagues why", func(r githubtest.CheckRun) bool {
		return strings.Contains(r.Summary, "cellar") && strings.Contains(r.Summary, "spare door")
	})
}

func TestBypass(t *testing.T) {
	t.Parallel() // it waits for the end of a bypass, before which the check run has to tell of it
	w := newWorld(t, worldOptions{policy: asking(app.People{BypassFor: 20 * time.Second})})
	g := w.seeded()
	head, number := w.pulled(g, "bypass", "a.env", unverifiable("DB"))
	w.check(head, "is red", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Text, "/stanch bypass")
	})
	if got := w.say(number, "dana", "/stanch bypass the demo is at noon"); got != "eyes +1" {
		t.Errorf("reactions %q", got)
	}
	run := w.check(head, "is neutral", completed("neutral"))
	if !strings.HasPrefix(run.Title, "Bypassed by dana until ") || !strings.Contains(run.Summary, "the demo is at noon") {
		t.Errorf("%q: %s", run.Title, run.Summary)
	}
	w.check(head, "is red again when the bypass has ended", completed("failure"))
	if w.audited("grant bypass") != 1 || w.audited("expire bypass") != 1 {
		t.Error("the audit log does not tell of the bypass")
	}
}

func TestBypassNeedsAnotherPerson(t *testing.T) {
	w := newWorld(t, worldOptions{policy: asking(app.People{Approvals: 1})})
	for _, who := range []string{"erin", "frank"} {
		w.person(who, "write")
	}
	w.github.SetEmail("frank", "dana@acme.example") // frank wrote the commits
	g := w.seeded()
	head := w.leak(g, "bypass", "a.env", unverifiable("DB"))
	run := w.check(head, "is red", func(r githubtest.CheckRun) bool { return strings.Contains(buttons(r), "bypass") })
	w.must(w.github.PressButton(run.ID, "bypass", "dana"))
	run = w.check(head, "waits for approval", func(r githubtest.CheckRun) bool { return strings.Contains(buttons(r), "approve_bypass") })
	w.must(w.github.PressButton(run.ID, "approve_bypass", "dana"))  // asked for it
	w.must(w.github.PressButton(run.ID, "approve_bypass", "frank")) // wrote it
	w.eventually("both are refused", func() bool { return w.audited("refuse approve_bypass") == 2 })
	w.must(w.github.PressButton(run.ID, "approve_bypass", "erin"))
	run = w.check(head, "is neutral", completed("neutral"))
	if !strings.Contains(run.Summary, "approved by erin") {
		t.Errorf("the summary does not say who approved:\n%s", run.Summary)
	}

	// The same secret in another commit is passed by too; a live one never is.
	leaked := w.token("live")
	again := g.commit("more", map[string]string{"b.txt": "b\n"})
	g.push("bypass")
	w.check(again, "brings nothing", completed("success"))
	head = g.commit("live", map[string]string{"c.env": env(leaked)})
	g.push("bypass")
	if run := w.check(head, "is red", completed("failure")); strings.Contains(buttons(run), "bypass") {
		t.Errorf("buttons %q for a live credential", buttons(run))
	}
}

func TestNoBypassWhereThePolicySaysSo(t *testing.T) {
	no := false
	w := newWorld(t, worldOptions{policy: asking(app.People{Bypass: &no})})
	g := w.seeded()
	head, number := w.pulled(g, "never", "a.env", unverifiable("DB"))
	run := w.check(head, "is red", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Text, "/stanch allow")
	})
	if strings.Contains(buttons(run)+run.Text, "bypass") {
		t.Errorf("a bypass is offered: %q, %s", buttons(run), run.Text)
	}
	if got := w.say(number, "dana", "/stanch bypass please"); got != "eyes -1" {
		t.Errorf("reactions %q", got)
	}
}
