package app_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// A timetable is a world in which a token is rotated every 30 days, and time passes.
type timetable struct {
	*world
	ahead atomic.Int64
	told  app.ScheduleList
}

func newTimetable(t *testing.T, tamper func(*app.Config, *app.Scheduled)) *timetable {
	t.Helper()
	s := &timetable{}
	policy := app.DefaultPolicy()
	policy.WithoutReplacement = app.RevokeAnyway // of leaks; nothing is killed because it is old
	s.world = newWorld(t, worldOptions{sweep: app.Sweep{Schedule: often}, policy: policy, tamper: func(w *world, cfg *app.Config) {
		withAPI(w, cfg)
		entry := app.Scheduled{Secret: "file:ci/deploy", Every: 720 * time.Hour}
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
		if tamper != nil {
			tamper(cfg, &entry)
		}
		cfg.Policy.Schedule = []app.Scheduled{entry}
	}})
	return s
}

// pass lets time pass.
func (s *timetable) pass(d time.Duration) { s.ahead.Add(int64(d)) }

// schedule is what the API tells of the one entry, once it is as wanted.
func (s *timetable) schedule(what string, want func(app.TellScheduled) bool) (told app.TellScheduled) {
	s.t.Helper()
	s.eventually(what, func() bool {
		s.told = app.ScheduleList{}
		if status, text := s.call("ada", "GET", "/schedule", nil, &s.told); status != http.StatusOK || len(s.told.Schedule) != 1 {
			s.t.Fatalf("%d: %s", status, text)
		}
		told = s.told.Schedule[0]
		return told.Checked != nil && want(told)
	})
	return told
}

// begun waits until the token is replaced, and returns the incident.
func (s *timetable) begun(old string) string {
	s.t.Helper()
	s.eventually("the replacement is in its place", func() bool { return s.stored("ci/deploy") != old })
	s.issued = append(s.issued, s.stored("ci/deploy"))
	return s.incidentOf(old).ID
}

// TestScheduledRotation: what is old enough is replaced, its old one lives until a person
// says that nobody uses it, and then the new one is left alone until it is old.
func TestScheduledRotation(t *testing.T) {
	s := newTimetable(t, nil)
	old := s.token("ci/deploy")
	told := s.schedule("it is seen", func(told app.TellScheduled) bool { return told.Since != nil })
	if told.Problem != "" || told.Incident != "" || told.Due.Sub(*told.Since) != 720*time.Hour || !told.Overlap {
		t.Fatalf("%+v", told)
	}
	s.pass(719 * time.Hour)
	seen := *told.Checked
	s.schedule("it is looked at again", func(told app.TellScheduled) bool { return told.Checked.After(seen.Add(700 * time.Hour)) })
	if s.stored("ci/deploy") != old {
		t.Fatal("it was replaced too early")
	}
	s.pass(2 * time.Hour)
	id := s.begun(old)
	s.eventually("it waits for its users", func() bool {
		steps, _ := s.attempted(id)
		return len(steps) > 0 && steps[len(steps)-1] == incident.Confirm
	})
	if i := s.incidentOf(old); !s.github.TokenLive(old) || !s.github.TokenLive(s.stored("ci/deploy")) || i.Approver != "schedule" {
		t.Errorf("they do not both live, on the word of %q", i.Approver)
	}
	var whole app.WholeIncident
	if status, text := s.call("ada", "GET", "/incidents/"+id, nil, &whole); status != http.StatusOK || strings.Join(whole.Sources, " ") != "schedule" {
		t.Errorf("%d %v: %s", status, whole.Sources, text)
	}
	fresh := s.schedule("the new one is seen", func(told app.TellScheduled) bool {
		return told.Incident == "" && told.Due.After(seen.Add(1400*time.Hour))
	})
	if fresh.Problem != "" {
		t.Errorf("%+v", fresh)
	}
	if status, text := s.call("ada", "POST", "/incidents/"+id+"/confirm", handed{"reason": "the jobs have run"}, nil); status != http.StatusOK {
		t.Fatalf("%d: %s", status, text)
	}
	s.eventually("the incident is resolved", func() bool { return s.incidentOf(old).Resolution == incident.ResolutionRotated })
	s.mustRotate("ci/deploy", old)
	if n := s.audited("find due"); n != 1 {
		t.Errorf("it was due %d times", n)
	}
	times, err := s.memory.TimesToDead(t.Context(), time.Time{}, 10)
	if err != nil || len(times) != 0 {
		t.Errorf("the age of what had not leaked counts as a time to dead: %v %v", times, err)
	}
	s.findNone(old)
}

// TestScheduledWithoutOverlap: nobody is waited for.
func TestScheduledWithoutOverlap(t *testing.T) {
	s := newTimetable(t, func(_ *app.Config, entry *app.Scheduled) { entry.Overlap = new(bool) })
	old := s.token("ci/deploy")
	s.pass(721 * time.Hour)
	s.eventually("the incident is resolved", func() bool {
		i, err := s.memory.IncidentOf(t.Context(), checks.NewSecret(old).Fingerprint(s.keys.Fingerprint))
		return err == nil && i.Resolution == incident.ResolutionRotated
	})
	s.mustRotate("ci/deploy", old)
}

// TestLeakEndsOverlap: an old credential that leaks while it lives on dies at once, also
// if a person was being waited for.
func TestLeakEndsOverlap(t *testing.T) {
	for name, late := range map[string]time.Duration{"at once": 0, "when a person is asked": 49 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			s := newTimetable(t, nil)
			g := s.seeded()
			old := s.token("ci/deploy")
			s.pass(721 * time.Hour)
			id := s.begun(old)
			s.eventually("it waits for its users", func() bool {
				steps, _ := s.attempted(id)
				return len(steps) > 0 && steps[len(steps)-1] == incident.Confirm
			})
			if late > 0 {
				s.pass(late)
				s.stop() // River would look again in minutes
				s.start(worldOptions{policy: app.DefaultPolicy(), tamper: func(w *world, cfg *app.Config) {
					cfg.Now = func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
				}})
				s.must(s.memory.InTx(t.Context(), func(tx *store.Tx) error {
					i, err := tx.Incident(t.Context(), id)
					i.Verb, i.Stuck = "", "a person is asked"
					if err != nil {
						return err
					}
					return tx.SaveIncident(t.Context(), i)
				}))
			}
			head := s.leak(g, "overlap", "a.env", env(old))
			s.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
			s.mustRotate("ci/deploy", old)
			if n := s.audited("end overlap"); n != 1 {
				t.Errorf("the overlap was ended %d times", n)
			}
		})
	}
}

// TestScheduleTellsProblems: what cannot be rotated is told, and nothing is killed for it.
func TestScheduleTellsProblems(t *testing.T) {
	put := func(s *timetable, values map[string]string) {
		fields := map[string]checks.Secret{}
		for name, value := range values {
			fields[name] = checks.NewSecret(value)
		}
		_, err := s.secrets.Put(s.t.Context(), secretstore.Location{Store: "file", Path: "ci/deploy"}, fields, "test")
		s.must(err)
	}
	issue := func(s *timetable) string {
		token, err := s.github.IssueToken("bot", githubtest.ClassicToken)
		s.must(err)
		s.issued = append(s.issued, token)
		return token
	}
	for name, test := range map[string]struct {
		entry  func(*app.Config, *app.Scheduled)
		secret func(*timetable) (alive string)
		want   string
	}{
		"no such secret": {secret: func(*timetable) string { return "" }, want: "get file: ci/deploy: no such secret"},
		"nothing known": {secret: func(s *timetable) string {
			put(s, map[string]string{"colour": "green"})
			return ""
		}, want: "it holds no credential that is known by its shape"},
		"two": {secret: func(s *timetable) string {
			a := issue(s)
			put(s, map[string]string{"a": a, "b": issue(s)})
			return a
		}, want: "it holds 2 credentials: say which is meant, by its field or its rule: github-pat"},
		"no such field": {entry: func(_ *app.Config, e *app.Scheduled) { e.Field = "c" }, secret: func(s *timetable) string {
			a := issue(s)
			put(s, map[string]string{"a": a, "b": issue(s)})
			return a
		}, want: `it has no field "c" that is text`},
		"another kind": {entry: func(_ *app.Config, e *app.Scheduled) { e.Rule = "gitlab-pat" }, secret: func(s *timetable) string { return s.token("ci/deploy") },
			want: "it holds no credential of the kind gitlab-pat"},
		"dead": {secret: func(s *timetable) string {
			s.github.KillToken(s.token("ci/deploy"))
			return ""
		}, want: "its provider does not say that it is live"},
		"nobody issues": {entry: func(cfg *app.Config, _ *app.Scheduled) { cfg.Providers.BrokerURL = "" }, secret: func(s *timetable) string { return s.token("ci/deploy") },
			want: "waits for a person: No program can issue a replacement"},
		"observed": {entry: func(cfg *app.Config, _ *app.Scheduled) { cfg.Policy.Remediation = app.Observe }, secret: func(s *timetable) string { return s.token("ci/deploy") },
			want: "the policy says observe"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTimetable(t, test.entry)
			alive := test.secret(s)
			s.pass(721 * time.Hour)
			told := s.schedule("the problem is told", func(told app.TellScheduled) bool {
				return told.Problem != "" && strings.Contains(told.Problem, test.want)
			})
			if alive != "" && !s.github.TokenLive(alive) {
				t.Error("it was killed")
			}
			if told.Incident != "" && s.audited("find due") != 1 {
				t.Errorf("it was begun %d times", s.audited("find due"))
			}
			for _, token := range s.issued {
				s.findNone(token)
			}
		})
	}
}

// TestScheduleNamesAStore: a schedule of what Stanch cannot read is refused at the start.
func TestScheduleNamesAStore(t *testing.T) {
	policy, err := app.ParsePolicy("policy.yml", []byte("schedule:\n  - {secret: 'vault:ci/deploy', every: 720h}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = app.New(app.Config{Policy: policy, WithoutGitHub: true, Scratch: filepath.Join(t.TempDir(), "s")}, nil)
	if err == nil || !strings.Contains(err.Error(), "policy.yml:2: schedule: vault:ci/deploy is in the secret store vault, which is not configured") {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"schedule: [{secret: ci/deploy, every: 720h}]":                                         `schedule has the secret "ci/deploy"`,
		"schedule: [{secret: 'vault:a'}]":                                                      "schedule has vault:a every 0s",
		"schedule: [{secret: 'vault:a', every: 1m}]":                                           "schedule has vault:a every 1m0s",
		"schedule: [{secret: 'vault:a', every: 2h, rule: nothing}]":                            `schedule has vault:a with the rule "nothing"`,
		"schedule: [{secret: 'vault:a', every: 2h}, {secret: 'vault:a', every: 3h}]":           "schedule has vault:a twice",
		"schedule: [{secret: 'vault:a', every: 2h, order: revoke_first}]":                      "order is no setting of a policy",
		"schedule: [{secret: 'vault:a', field: a, every: 2h}, {secret: 'vault:a', every: 3h}]": "",
	} {
		_, err := app.ParsePolicy("policy.yml", []byte(text), nil)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	_, problems := app.DefaultPolicy().Merge(nil, app.PolicyFile{Name: ".github/stanch.yml", Text: []byte("schedule: [{secret: 'file:a', every: 2h}]")})
	if len(problems) != 1 || !strings.Contains(problems[0].Text, "does not let repositories change schedule") {
		t.Errorf("a repository has a schedule: %v", problems)
	}
}

// TestOverlapByHand: what has not leaked can be replaced like that on a person's word, and
// what has cannot.
func TestOverlapByHand(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: withAPI, policy: app.DefaultPolicy()})
	token, leaked := w.token("hand"), w.token("leaked")
	var done app.Ordered
	if status, text := w.call("ada", "POST", "/remediations", handed{"text": token, "verb": "rotate", "order": "overlap"}, &done); status != http.StatusOK {
		t.Fatalf("%d: %s", status, text)
	}
	w.eventually("it waits for its users", func() bool {
		steps, _ := w.attempted(done.Incident.ID)
		return len(steps) > 0 && steps[len(steps)-1] == incident.Confirm
	})
	if !w.github.TokenLive(token) || w.stored("hand") == token {
		t.Error("it is no overlap")
	}
	w.issued = append(w.issued, w.stored("hand"))
	head := w.leak(w.seeded(), "leaked", "a.env", env(leaked))
	w.check(head, "is red with buttons", func(r githubtest.CheckRun) bool { return buttons(r) == "rotate revoke" })
	for _, dry := range []bool{true, false} {
		status, text := w.call("ada", "POST", "/remediations", handed{"text": leaked, "verb": "rotate", "order": "overlap", "dry_run": dry}, nil)
		if status != http.StatusConflict || !strings.Contains(text, "it has leaked") {
			t.Errorf("%d: %s", status, text)
		}
	}
	for order, verb := range map[string]string{"sideways": "rotate", "overlap": "revoke"} {
		if status, text := w.call("ada", "POST", "/remediations", handed{"text": leaked, "verb": verb, "order": order}, nil); status != http.StatusBadRequest {
			t.Errorf("%s %s: %d: %s", verb, order, status, text)
		}
	}
	if !w.github.TokenLive(leaked) {
		t.Error("it was killed")
	}
}
