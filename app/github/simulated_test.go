package github_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/checks/report"
)

// A stage is a simulated GitHub with our App installed on acme/shop, a clone
// of that, and whatever webhooks arrived.
type stage struct {
	t      *testing.T
	hub    *githubtest.Server
	app    *github.App
	appID  int64
	inst   int64
	clone  string
	token  string // the owner's, for pushing
	mu     sync.Mutex
	events []github.Event
	status int // what webhooks are answered
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageWith(t, githubtest.Config{})
}

func newStageWith(t *testing.T, cfg githubtest.Config) *stage {
	t.Helper()
	cfg.Dir = t.TempDir()
	hub, err := githubtest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	hub.Start()
	t.Cleanup(func() { hub.Close() })
	s := &stage{t: t, hub: hub, clone: t.TempDir(), status: http.StatusAccepted}
	receiver := httptest.NewServer(http.HandlerFunc(s.receive))
	t.Cleanup(receiver.Close)

	registered, err := hub.CreateApp("Stanch")
	s.must(err)
	s.appID = registered.ID
	_, err = hub.CreateRepository("acme", "shop", githubtest.RepoOptions{Private: true})
	s.must(err)
	s.token, err = hub.IssueToken("acme", githubtest.ClassicToken)
	s.must(err)
	s.must(hub.SetWebhook(registered.ID, receiver.URL, registered.WebhookSecret))
	s.inst, err = hub.Install(registered.ID, "acme", "acme/shop")
	s.must(err)
	s.app, err = github.New(github.Config{AppID: registered.ID, PrivateKey: []byte(registered.PrivateKeyPEM), URL: hub.URL()})
	s.must(err)
	return s
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.status == http.StatusAccepted {
		event, err := github.ParseEvent(r.Header.Get("X-GitHub-Event"), body)
		if err != nil {
			s.t.Errorf("%s: %v", r.Header.Get("X-GitHub-Event"), err)
		}
		s.events = append(s.events, event)
	}
	w.WriteHeader(s.status)
}

// answer sets what webhooks are answered from now on.
func (s *stage) answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// last waits for all webhooks and returns the newest event that is a T.
func last[T github.Event](s *stage) T {
	s.t.Helper()
	s.must(s.hub.WaitDeliveries(s.t.Context()))
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := len(s.events) - 1; n >= 0; n-- {
		if event, ok := s.events[n].(T); ok {
			return event
		}
	}
	var none T
	s.t.Fatalf("no %T arrived among %d events", none, len(s.events))
	return none
}

// git runs git in the clone as the repository's owner.
func (s *stage) git(args ...string) string {
	s.t.Helper()
	return s.gitAs(s.token, args...)
}

// gitAs runs git in the clone, untouched by the user's configuration, with a
// token that stays out of what git may print.
func (s *stage) gitAs(token string, args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "git", append([]string{"-c", "user.name=Ann", "-c", "user.email=ann@acme.example"}, args...)...)
	cmd.Dir = s.clone
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader",
		"GIT_CONFIG_VALUE_0=Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("x-access-token:"+token)))
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("git %s: %v\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

// push pushes a commit on a branch and returns the commit.
func (s *stage) push(branch string) string {
	s.t.Helper()
	if _, err := os.Stat(filepath.Join(s.clone, ".git")); err != nil {
		s.git("init", "-q", "-b", "main")
		s.git("remote", "add", "origin", s.hub.CloneURL("acme/shop"))
	}
	s.git("checkout", "-q", "-B", branch)
	s.git("commit", "-q", "--allow-empty", "-m", "change "+branch)
	s.git("push", "-q", "origin", branch)
	return s.git("rev-parse", "HEAD")
}

func TestSimulatedPushAndCheck(t *testing.T) {
	s := newStage(t)
	sha := s.push("main")
	push := last[github.Push](s)
	if push.After != sha || push.HeadCommit != sha || push.Ref != "refs/heads/main" || !push.Created || push.Installation != s.inst {
		t.Fatalf("got %+v", push)
	}
	if repo := push.Repository; repo.FullName() != "acme/shop" || !repo.Private || repo.DefaultBranch != "main" {
		t.Fatalf("got %+v", repo)
	}
	i := s.app.Installation(s.inst)
	id, err := i.EnsureCheck(t.Context(), push.Repository, sha, "job-1", "https://stanch.example/1")
	s.must(err)
	if again, err := i.EnsureCheck(t.Context(), push.Repository, sha, "job-1", ""); err != nil || again != id {
		t.Fatalf("the second time it is %d, %v, not %d", again, err, id)
	}
	run := report.CheckRun{
		Conclusion: report.Failure, Title: "120 secrets", Summary: "All over the place",
		Actions: []report.Button{{Label: "Rotate", Description: "Rotate it", Identifier: "rotate:1"}},
	}
	for n := range 120 {
		run.Annotations = append(run.Annotations, report.Annotation{
			Path: "a.go", StartLine: n + 1, EndLine: n + 1, StartColumn: 1, EndColumn: 5, Level: "failure", Title: "Key", Message: fmt.Sprint(n),
		})
	}
	for range 2 { // the second time is after a crash
		s.must(i.CompleteCheck(t.Context(), push.Repository, id, run))
	}
	s.checkRun(id, run)
	s.pressButton(i, push.Repository, id)
	if unknown := s.hub.Unknown(); len(unknown) > 0 {
		t.Errorf("GitHub has no %v", unknown)
	}
}

// checkRun checks what the simulated GitHub shows of run.
func (s *stage) checkRun(id int64, run report.CheckRun) {
	s.t.Helper()
	got, ok := s.hub.CheckRun(id)
	if !ok || got.Name != "Stanch" || got.Status != "completed" || got.Conclusion != "failure" || got.Title != run.Title ||
		got.ExternalID != "job-1" || len(got.Actions) != 1 || got.Updates != 4 {
		s.t.Errorf("the check run is %+v", got)
	}
	if len(got.Annotations) != len(run.Annotations) {
		s.t.Errorf("the check run has %d annotations, not %d", len(got.Annotations), len(run.Annotations))
	}
}

// pressButton presses the check's button and checks the event and who did it.
func (s *stage) pressButton(i *github.Installation, repo github.Repository, id int64) {
	s.t.Helper()
	s.hub.CreateUser("ann")
	s.must(s.hub.SetPermission("acme/shop", "ann", "write"))
	s.must(s.hub.PressButton(id, "rotate:1", "ann"))
	pressed := last[github.CheckRunEvent](s)
	if pressed.Action != "requested_action" || pressed.Identifier != "rotate:1" || pressed.CheckRunID != id ||
		pressed.ExternalID != "job-1" || pressed.Sender.Login != "ann" || pressed.SenderType != "User" || pressed.AppID != s.appID {
		s.t.Errorf("got %+v", pressed)
	}
	for login, want := range map[string]string{"ann": "write", "nobody-known": "none"} {
		if got, err := i.Permission(s.t.Context(), repo, github.Person{Login: login}); err != nil || got != want {
			s.t.Errorf("%s: got %q, %v", login, got, err)
		}
	}
}

func TestSimulatedPullRequest(t *testing.T) {
	s := newStage(t)
	s.push("main")
	sha := s.push("feature")
	number, err := s.hub.OpenPull("acme/shop", "feature", "main", "A feature")
	s.must(err)
	pull := last[github.PullRequest](s)
	if pull.Action != "opened" || pull.Number != number || pull.HeadSHA != sha || pull.HeadRef != "feature" || pull.BaseRef != "main" || pull.Fork {
		t.Fatalf("got %+v", pull)
	}
	i := s.app.Installation(pull.Installation)
	if got, err := i.PullsFor(t.Context(), pull.Repository, sha); err != nil || len(got) != 1 || got[0] != number {
		t.Errorf("got %v, %v", got, err)
	}
	const marker = "<!-- stanch -->"
	s.hub.CreateUser("mallory")
	_, err = s.hub.Comment("acme/shop", number, "mallory", marker+" all is well")
	s.must(err)
	for n, text := range []string{"one", "one", "two"} {
		created, err := i.UpsertComment(t.Context(), pull.Repository, number, marker, marker+" "+text)
		if err != nil || created != (n == 0) {
			t.Fatalf("%s: %v, %v", text, created, err)
		}
	}
	comments := s.hub.Comments("acme/shop", number)
	if len(comments) != 2 || comments[0].Body != marker+" all is well" || comments[1].Body != marker+" two" {
		t.Errorf("got %+v", comments)
	}
	s.push("feature")
	if got := last[github.PullRequest](s); got.Action != "synchronize" || got.Before != sha {
		t.Errorf("got %+v", got)
	}
}

func TestSimulatedGitToken(t *testing.T) {
	s := newStage(t)
	sha := s.push("main")
	repo := last[github.Push](s).Repository
	if got := s.app.CloneURL(repo); got != s.hub.CloneURL("acme/shop") {
		t.Errorf("clone from %s", got)
	}
	i := s.app.Installation(s.inst)
	token, err := i.GitToken(t.Context(), repo)
	s.must(err)
	if got := s.gitAs(token.Expose(), "ls-remote", s.app.CloneURL(repo), "refs/heads/main"); !strings.HasPrefix(got, sha) {
		t.Error("the token does not read the repository")
	}
	_, err = i.GitToken(t.Context(), github.Repository{ID: repo.ID + 1000, Owner: "acme", Name: "other"})
	if !errors.Is(err, github.ErrNotFound) {
		t.Errorf("a token for a repository that is not ours: %v", err)
	}
	again, err := i.GitToken(t.Context(), repo)
	s.must(err)
	if again.Expose() != token.Expose() {
		t.Error("a second token was asked for")
	}
	s.hub.Uninstall(s.inst)
	if _, err := github.ListRefs(t.Context(), github.Remote{URL: s.app.CloneURL(repo), Token: again}, t.TempDir()); !errors.Is(err, github.ErrUnauthorized) {
		t.Errorf("git after the App was removed: %v", err)
	}
	i.DoubtGitToken(repo)
	if _, err := i.GitToken(t.Context(), repo); !errors.Is(err, github.ErrGone) {
		t.Errorf("after the App was removed: %v", err)
	}
}

func TestSimulatedRemoval(t *testing.T) {
	s := newStage(t)
	sha := s.push("main")
	repo := last[github.Push](s).Repository
	i := s.app.Installation(s.inst)
	_, err := i.EnsureCheck(t.Context(), repo, sha, "job-1", "")
	s.must(err)
	s.hub.Uninstall(s.inst)
	if _, err := i.EnsureCheck(t.Context(), repo, sha, "job-1", ""); !errors.Is(err, github.ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestSimulatedRedelivery(t *testing.T) {
	s := newStage(t)
	s.must(s.hub.WaitDeliveries(t.Context()))
	since := time.Now().Add(-time.Hour)
	s.answer(http.StatusServiceUnavailable)
	sha := s.push("main")
	s.must(s.hub.WaitDeliveries(t.Context()))
	failed, err := s.app.FailedDeliveries(t.Context(), since)
	if err != nil || len(failed) == 0 {
		t.Fatalf("got %v, %v", failed, err)
	}
	s.answer(http.StatusAccepted)
	for _, d := range failed {
		if d.Installation != s.inst || d.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("got %+v", d)
		}
		s.must(s.app.Redeliver(t.Context(), d.ID))
	}
	if push := last[github.Push](s); push.After != sha {
		t.Errorf("got %+v", push)
	}
	if left, err := s.app.FailedDeliveries(t.Context(), since); err != nil || len(left) != 0 {
		t.Errorf("still failed: %v, %v", left, err)
	}
}

func TestSimulatedLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		answer *githubtest.LimitAnswer
		want   time.Duration
	}{
		"primary":          {githubtest.PrimaryLimit(time.Now().Add(20*time.Minute), false), 20 * time.Minute},
		"primary 429":      {githubtest.PrimaryLimit(time.Now().Add(20*time.Minute), true), 20 * time.Minute},
		"secondary":        {githubtest.SecondaryLimit(20 * time.Second), 20 * time.Second},
		"secondary, moody": {githubtest.SecondaryLimit(0), time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			sha := s.push("main")
			repo := last[github.Push](s).Repository
			s.hub.Limit(func(*http.Request) *githubtest.LimitAnswer { return tt.answer })
			_, err := s.app.Installation(s.inst).EnsureCheck(t.Context(), repo, sha, "job-1", "")
			var limited *github.RateLimited
			if !errors.As(err, &limited) {
				t.Fatalf("got %v", err)
			}
			if wait := limited.RetryAfter; wait > tt.want || wait < tt.want-10*time.Second {
				t.Errorf("wait %s, want %s", wait, tt.want)
			}
		})
	}
}

func TestSimulatedBadGateway(t *testing.T) {
	s := newStage(t)
	sha := s.push("main")
	repo := last[github.Push](s).Repository
	s.hub.Limit(func(*http.Request) *githubtest.LimitAnswer { return githubtest.BadGateway() })
	_, err := s.app.Installation(s.inst).EnsureCheck(t.Context(), repo, sha, "job-1", "")
	var limited *github.RateLimited
	if err == nil || errors.As(err, &limited) || errors.Is(err, github.ErrGone) || errors.Is(err, github.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	s.hub.Limit(nil)
	if _, err := s.app.Installation(s.inst).EnsureCheck(t.Context(), repo, sha, "job-1", ""); err != nil {
		t.Error(err)
	}
}
