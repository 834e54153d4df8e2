package app_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

var lifecycleCases = []coverageCase{
	{"installation", "created", "the whole history of all refs is scanned, behind everything else", false, func(s *scene) {
		o := newOwner(s, "created")
		o.await("the backfill to end", o.backfilled)
		o.expect(o.tip, "failure", at(o.guilty, "old.env", 2))
		o.expect(o.branch, "failure", at(o.branch, "branch.env", 2))
	}, nil},
	{"installation", "created, with credentials in what commits and tags say", "they are found at their commits", false, func(s *scene) {
		o := newOwner(s, "said", func(s *scene) {
			s.commit("next\n\nThe token is\n"+s.leak(), nil)
			s.git("tag", "-a", "-m", "v1\n\n"+s.leak(), "v1", "main")
			s.commit("and on", nil)
		})
		o.await("the backfill to end", o.backfilled)
		said := o.git("rev-parse", "v1^{commit}")
		run := o.expect(o.tip, "failure", at(o.guilty, "old.env", 2), at(said, "(message)", 4))
		for _, a := range run.Annotations {
			if a.Path == "(message)" {
				o.t.Errorf("an annotation on no file: %+v", a)
			}
		}
		o.expect(said, "failure", at(said, "(message)", 3))
	}, nil},
	{"installation", "deleted", "what is kept is erased, and the audit log says so", false, func(s *scene) {
		o := newOwner(s, "deleted")
		o.await("the backfill to end", o.backfilled)
		o.github.Uninstall(o.installation)
		o.await("the repository to be erased", o.gone)
	}, nil},
	{"installation", "suspended, and no longer", "nothing is done meanwhile; then what was missed is scanned", false, func(s *scene) {
		o := newOwner(s, "suspended")
		o.await("the backfill to end", o.backfilled)
		o.quiet()
		o.must(o.github.Suspend(o.installation, true))
		o.quiet()
		found := o.lose()
		head := o.commit("leak", map[string]string{"new.env": env(o.leak())})
		o.push("main")
		found()
		o.must(o.github.Suspend(o.installation, false))
		o.expect(head, "failure", at(head, "new.env", 2))
	}, nil},
	{"installation", "new permissions accepted", "they are used from then on", false, func(s *scene) {
		o := newOwner(s, "permitted")
		o.await("the backfill to end", o.backfilled)
		tokens := o.tokensAsked()
		o.must(o.github.AcceptPermissions(o.installation))
		o.await("a new token", func() bool { return o.tokensAsked() > tokens })
	}, nil},
	{"installation_repositories", "removed and added", "what is kept is erased; then the history is scanned again", false, func(s *scene) {
		o := newOwner(s, "regranted")
		o.await("the backfill to end", o.backfilled)
		o.must(o.github.Withdraw(o.installation, o.repoName))
		o.await("the repository to be erased", o.gone)
		o.must(o.github.Grant(o.installation, o.repoName))
		o.await("the backfill to end", o.backfilled)
		o.await("the old leak to be found again", func() bool { return len(o.places(o.tip)) == 1 })
	}, nil},
	{"repository", "renamed", "work goes on under the new name", false, func(s *scene) {
		s.began()
		name, err := s.github.Rename(s.repoName, "renamed-"+s.tail())
		s.must(err)
		s.moved(name)
	}, nil},
	{"repository", "transferred", "work goes on with the new owner's installation", false, func(s *scene) {
		head := s.began()
		s.github.CreateOrganization("buyer")
		if s.github.Installed(s.self.ID, "buyer") == 0 {
			_, err := s.github.Install(s.self.ID, "buyer")
			s.must(err)
		}
		s.quiet()
		name, err := s.github.Transfer(s.repoName, "buyer")
		s.must(err)
		s.moved(name)
		if n := s.runs(); n != 2 {
			s.t.Errorf("%d check runs, want that of %s and the new one", n, head)
		}
	}, nil},
	{"repository", "made public, and private again", "what is said of open incidents helps no thief", false, func(s *scene) {
		s.began()
		head := s.commit("leak", map[string]string{"a.env": env(s.leak())})
		s.push("main")
		s.expect(head, "failure", at(head, "a.env", 2))
		says := func(live bool) func(githubtest.CheckRun) bool {
			return func(r githubtest.CheckRun) bool {
				return r.Status == "completed" && strings.Contains(strings.ToLower(r.Title+r.Summary), "live") == live
			}
		}
		s.check(head, "says that it is live", says(true))
		s.must(s.github.SetPrivate(s.repoName, false))
		s.check(head, "does not say that it is live", says(false))
		s.must(s.github.SetPrivate(s.repoName, true))
		s.check(head, "says that it is live again", says(true))
	}, nil},
	{"repository", "another default branch", "new branches are compared with that one", false, func(s *scene) {
		s.began()
		s.git("checkout", "--quiet", "-b", "trunk")
		guilty := s.commit("leak", map[string]string{"a.env": env(s.leak())})
		s.push("trunk")
		s.expect(guilty, "failure", at(guilty, "a.env", 2))
		s.must(s.github.SetDefaultBranch(s.repoName, "trunk"))
		s.quiet()
		head := s.commit("next", map[string]string{"b.txt": "b\n"})
		s.push("HEAD:refs/heads/topic")
		s.expect(head, "success")
	}, nil},
	{"repository", "deleted", "what is kept is erased", false, func(s *scene) {
		s.began()
		s.quiet()
		_, id := s.ids()
		s.must(s.github.DeleteRepository(s.repoName))
		s.await("the repository to be erased", func() bool {
			r, err := s.memory.Repository(s.t.Context(), id)
			return err == nil && r.State == store.Gone
		})
	}, nil},
	{"secret_scanning_alert", "created, of a secret that is dead", "the alert is resolved at GitHub with a comment", false, func(s *scene) {
		s.began()
		token := s.leak()
		s.github.KillToken(token)
		number, err := s.github.FindSecret(s.repoName, "github_personal_access_token", token)
		s.must(err)
		s.await("the alert to be resolved", func() bool { return s.github.Alerts(s.repoName)[number-1].State == "resolved" })
		if a := s.github.Alerts(s.repoName)[number-1]; a.Resolution != "revoked" || !strings.Contains(a.Comment, "refuses") {
			s.t.Errorf("the alert is %+v", a)
		}
	}, nil},
	{"secret_scanning_alert", "created, validated, publicly leaked, of a live secret", "an incident, and the alert stays open until the secret is dead", false, func(s *scene) {
		s.began()
		token := s.leak()
		number, err := s.github.FindSecret(s.repoName, "github_personal_access_token", token)
		s.must(err)
		for _, action := range []string{"validated", "publicly_leaked"} {
			s.must(s.github.TellAlert(s.repoName, number, action))
		}
		fingerprint := checks.NewSecret(token).Fingerprint(s.keys.Fingerprint)
		s.await("an incident", func() bool {
			i, err := s.memory.IncidentOf(s.t.Context(), fingerprint)
			return err == nil && i.Validity == checks.Active
		})
		s.quiet()
		if a := s.github.Alerts(s.repoName)[number-1]; a.State != "open" {
			s.t.Errorf("the alert is %+v while the secret is live", a)
		}
		s.github.KillToken(token)
		s.must(s.github.TellAlert(s.repoName, number, "reopened"))
		s.await("the alert to be resolved", func() bool { return s.github.Alerts(s.repoName)[number-1].State == "resolved" })
	}, nil},
	{"ping", "the webhook is set", "is recorded", false, func(s *scene) {
		s.must(s.github.SetWebhook(s.self.ID, s.hook.URL+"/webhook", ""))
		s.recorded("ping", "nothing to do")
	}, nil},
	{"any other", "an event that nobody knows", "is recorded", false, func(s *scene) {
		_, err := s.github.Send(s.self.ID, s.repoName, "solar_eclipse", map[string]any{"action": "total"})
		s.must(err)
		s.recorded("solar_eclipse", "nothing to do")
	}, nil},
}

// recorded waits until the last delivery of an event is recorded as ignored.
func (s *scene) recorded(event, why string) {
	s.t.Helper()
	s.must(s.github.WaitDeliveries(s.t.Context()))
	for _, d := range s.github.Deliveries() {
		if d.Event != event {
			continue
		}
		kept, err := s.memory.Delivery(s.t.Context(), d.GUID)
		if d.StatusCode == 0 && errors.Is(err, store.ErrNotFound) {
			continue // sent before anybody listened
		}
		if d.StatusCode != 202 || err != nil || !strings.Contains(kept.Outcome, "ignored") {
			s.t.Errorf("%s was answered with %d and recorded as %+v, %v; want %q", event, d.StatusCode, kept, err, why)
		}
		return
	}
	s.t.Errorf("no %s was delivered", event)
}

// moved expects a push under a repository's new name to be checked.
func (s *scene) moved(name string) {
	s.t.Helper()
	s.repoName = name
	s.tree.url = s.github.CloneURL(name)
	s.quiet()
	head := s.commit("leak", map[string]string{"a.env": env(s.leak())})
	s.push("main")
	s.expect(head, "failure", at(head, "a.env", 2))
}

// An owner is an account with a repository that has a history, at which the App is
// installed only then.
type owner struct {
	*scene
	installation, repository int64
	guilty, tip, branch      string
}

func newOwner(s *scene, name string, more ...func(*scene)) *owner {
	s.t.Helper()
	o := &owner{scene: s}
	login := fmt.Sprintf("%s-%s", name, s.tail())
	s.github.CreateOrganization(login)
	var err error
	s.repoName, err = s.github.CreateRepository(login, "old", githubtest.RepoOptions{Private: true})
	s.must(err)
	s.tree = s.clone()
	s.commit("first", map[string]string{"a.txt": "a\n"})
	o.guilty = s.commit("leak", map[string]string{"old.env": env(s.leak())})
	s.git("branch", "side")
	for _, add := range more {
		add(s)
	}
	o.tip = s.commit("next", map[string]string{"b.txt": "b\n"})
	s.git("checkout", "--quiet", "side")
	o.branch = s.commit("leak on a branch", map[string]string{"branch.env": env(s.leak())})
	s.git("checkout", "--quiet", "main")
	s.push("--all", "--follow-tags")
	o.installation, err = s.github.Install(s.self.ID, login)
	s.must(err)
	s.await("the repository to be known", func() bool {
		_, o.repository = s.ids()
		return o.repository != 0
	})
	return o
}

func (o *owner) backfilled() bool {
	b, err := o.memory.Backfill(o.t.Context(), o.repository)
	return err == nil && !b.Finished.IsZero()
}

// gone reports whether nothing is kept of the repository but that it is gone.
func (o *owner) gone() bool {
	r, err := o.memory.Repository(o.t.Context(), o.repository)
	if err != nil || r.State != store.Gone {
		return false
	}
	refs, err := o.memory.Refs(o.t.Context(), o.installation, o.repository)
	o.must(err)
	if len(refs) > 0 || len(o.places(o.tip)) > 0 {
		o.t.Errorf("kept: refs %v, places %v", refs, o.places(o.tip))
	}
	for e, err := range o.memory.AuditLog(o.t.Context()) {
		o.must(err)
		if e.Verb == "erase repository" && e.Subject == o.repoName {
			return true
		}
	}
	return false
}

// tokensAsked counts the tokens that were asked for the installation.
func (o *owner) tokensAsked() (n int) {
	for _, r := range o.github.Requests() {
		if strings.HasSuffix(r.Path, fmt.Sprintf("/app/installations/%d/access_tokens", o.installation)) {
			n++
		}
	}
	return n
}
