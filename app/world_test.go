package app_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/github/githubtest/openapi"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/store/postgrestest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// patience is how long a test waits for what must happen.
const patience = 2 * time.Minute

// testDatabase names the variable that makes all worlds remember in another database
// than SQLite: "postgres".
const testDatabase = "STANCH_TEST_DATABASE"

// A world is a simulated GitHub with the real App behind it, a database, a
// secret store, and a developer with git.
type world struct {
	t        *testing.T
	dir      string
	github   *githubtest.Server
	database string             // its URL
	api      *openapi.Validator // nil without GitHub's description
	app      *app.App
	cloud    bool
	memory   *store.Store
	secrets  *secretstore.File
	keys     store.Keys
	self     githubtest.App
	hook     *httptest.Server
	stop     func() // ends the App
	logs     *lockedBuffer
	mu       sync.Mutex
	events   []app.Event
	repoName string
	issued   []string // every token that was leaked or replaced one
}

type worldOptions struct {
	policy app.Policy // automatic when zero
	cloud  bool       // the API has a host of its own, as github.com's has
	sweep  app.Sweep
	public bool
	sim    githubtest.Config
	tamper func(*world, *app.Config)
}

var automatic = app.Policy{Remedy: app.Remedy{Remediation: app.Automatic, Order: incident.ReplaceFirst, WithoutReplacement: app.Ask}, AutomaticPerHour: 1_000_000}

func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("these tests push with git: install it")
	}
	w := &world{t: t, dir: t.TempDir(), logs: &lockedBuffer{}, repoName: "acme/shop", cloud: o.cloud}
	// Without GitHub's description these tests hold all the same; with it, no
	// request and no answer may contradict it.
	if os.Getenv(openapi.Variable) != "" || os.Getenv("STANCH_CI") != "" {
		w.api = described(t).Fresh()
		o.sim.Wrap = w.api.Middleware
	}
	var err error
	o.sim.APIHost = o.cloud
	o.sim.AnonymousFetch = true // the developers'; the App comes with a token
	o.sim.Dir = filepath.Join(w.dir, "github")
	w.github, err = githubtest.New(o.sim)
	w.must(err)
	w.github.Start()
	t.Cleanup(func() { w.must(w.github.Close()) })
	w.self, err = w.github.CreateApp("Stanch")
	w.must(err)
	w.github.CreateOrganization("acme")
	w.github.CreateUser("bot")
	w.github.CreateUser("dana")
	_, err = w.github.CreateRepository("acme", "shop", githubtest.RepoOptions{Private: !o.public})
	w.must(err)
	for _, who := range []string{"bot", "dana"} {
		w.must(w.github.SetPermission(w.repoName, who, "write"))
	}
	_, err = w.github.Install(w.self.ID, "acme")
	w.must(err)
	w.database = "sqlite:" + filepath.Join(w.dir, "stanch.db")
	if os.Getenv(testDatabase) == "postgres" {
		w.database = postgrestest.URL(t)
	}
	w.start(o)
	t.Cleanup(w.noViolations)
	return w
}

// start puts the App in front of the world's database and secret store.
func (w *world) start(o worldOptions) {
	w.t.Helper()
	catalogue, err := rules.Catalogue()
	w.must(err)
	master, err := store.LoadKey(filepath.Join(w.dir, "stanch.key"))
	w.must(err)
	w.keys, err = store.NewKeys(master)
	w.must(err)
	log := slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.secrets, err = secretstore.OpenFile(filepath.Join(w.dir, "secrets.age"), filepath.Join(w.dir, "secrets.key"), w.keys.Fingerprint)
	w.must(err)
	if o.policy.Remediation == "" {
		o.policy = automatic
	}
	cfg := app.Config{
		Catalogue: catalogue, Keys: w.keys, Policy: o.policy, Logger: log, Observe: w.observe,
		GitHub:         github.Config{AppID: w.self.ID, PrivateKey: []byte(w.self.PrivateKeyPEM), URL: w.github.URL(), Logger: log},
		WebhookSecrets: []string{w.self.WebhookSecret},
		SecretStores:   []app.SecretStore{w.secrets},
		Scratch:        filepath.Join(w.dir, "scratch"),
		Sweep:          o.sweep,
		Providers: provider.Config{
			BaseURLs:  map[string]string{"github": w.github.APIURL()},
			BrokerURL: w.github.BrokerURL(), BrokerToken: checks.NewSecret(w.github.BrokerToken()), Logger: log,
		},
	}
	if w.cloud {
		cfg.GitHub.APIURL = w.github.APIURL()
	}
	if o.tamper != nil {
		o.tamper(w, &cfg)
	}
	w.memory, err = store.Open(w.t.Context(), w.database, w.keys, log)
	w.must(err)
	w.app, err = app.New(cfg, w.memory)
	w.must(err)
	handler, err := w.app.Handler()
	w.must(err)
	w.must(w.app.Start(context.WithoutCancel(w.t.Context())))
	w.hook = httptest.NewServer(handler)
	hook, a, memory := w.hook, w.app, w.memory
	w.stop = sync.OnceFunc(func() {
		hook.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		w.must(a.Stop(ctx))
		w.must(memory.Close())
	})
	w.t.Cleanup(w.stop)
	w.must(w.github.SetWebhook(w.self.ID, w.hook.URL+"/webhook", w.self.WebhookSecret))
}

// run runs a part of a test in the same world.
func (w *world) run(name string, f func(*testing.T)) {
	parent := w.t
	defer func() { w.t = parent }()
	parent.Run(name, func(t *testing.T) {
		w.t = t
		f(t)
	})
}

// restart ends the App and starts it again, with other options, on what it
// remembers.
func (w *world) restart(o worldOptions) {
	w.t.Helper()
	w.stop()
	w.start(o)
}

func (w *world) observe(e app.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

var (
	describedOnce sync.Once
	description   *openapi.Validator
)

// described loads GitHub's description, which takes seconds, once.
func described(t *testing.T) *openapi.Validator {
	t.Helper()
	describedOnce.Do(func() { description = openapi.ForTest(t) })
	if description == nil {
		t.Fatal("GitHub's API description could not be loaded")
	}
	return description
}

func (w *world) noViolations() {
	if w.api != nil {
		for _, v := range w.api.Violations() {
			w.t.Errorf("GitHub's API description is violated: %s", v)
		}
	}
	for _, u := range w.github.Unknown() {
		w.t.Errorf("a request that the simulated GitHub does not know: %s", u)
	}
}

// token issues a live token of the bot and keeps it in the secret store.
func (w *world) token(path string) string {
	w.t.Helper()
	token, err := w.github.IssueToken("bot", githubtest.ClassicToken)
	w.must(err)
	_, err = w.secrets.Put(w.t.Context(), secretstore.Location{Store: w.secrets.Name(), Path: path, Field: "token"}, map[string]checks.Secret{"token": checks.NewSecret(token)}, "test")
	w.must(err)
	w.issued = append(w.issued, token)
	return token
}

// stored is what the secret store holds.
func (w *world) stored(path string) string {
	w.t.Helper()
	now, err := w.secrets.Get(w.t.Context(), secretstore.Location{Store: w.secrets.Name(), Path: path, Field: "token"})
	w.must(err)
	return now.Fields["token"].Expose()
}

// mustRotate fails unless the leaked token is dead and its place in the store
// holds a live one.
func (w *world) mustRotate(path, leaked string) {
	w.t.Helper()
	now := w.stored(path)
	if w.github.TokenLive(leaked) {
		w.t.Errorf("the leaked token is still live\n%s", w.logs)
	}
	if now == leaked || !w.github.TokenLive(now) {
		w.t.Error("the secret store does not hold a live replacement")
	}
	w.issued = append(w.issued, now)
}

// check waits until the check run of a commit satisfies want.
func (w *world) check(sha string, what string, want func(githubtest.CheckRun) bool) githubtest.CheckRun {
	w.t.Helper()
	var last []githubtest.CheckRun
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		last = nil
		for _, run := range w.github.CheckRuns(w.repoName) {
			if run.HeadSHA == sha {
				last = append(last, run)
			}
		}
		if len(last) == 1 && want(last[0]) {
			return last[0]
		}
	}
	w.t.Fatalf("no check run of %s that %s; there are %d: %+v\n%s", sha, what, len(last), last, w.logs)
	return githubtest.CheckRun{}
}

func completed(conclusion string) func(githubtest.CheckRun) bool {
	return func(r githubtest.CheckRun) bool { return r.Status == "completed" && r.Conclusion == conclusion }
}

// settled waits until Stanch says that nothing about a commit is under way.
func (w *world) settled(sha string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		w.mu.Lock()
		for _, e := range w.events {
			if e.Stage == app.Checked && e.HeadSHA == sha {
				w.mu.Unlock()
				return
			}
		}
		w.mu.Unlock()
	}
	w.t.Fatalf("%s is not settled after %s\n%s", sha, patience, w.logs)
}

// A tree is a developer's work tree.
type tree struct {
	w   *world
	dir string
	url string
}

func (w *world) clone(options ...string) *tree {
	w.t.Helper()
	g := &tree{w: w, dir: w.t.TempDir(), url: w.github.CloneURL(w.repoName)}
	g.git(append([]string{"init", "--quiet", "--initial-branch=main"}, options...)...)
	return g
}

func (g *tree) git(args ...string) string {
	g.w.t.Helper()
	return g.feed("", args...)
}

// feed runs git with something to read.
func (g *tree) feed(input string, args ...string) string {
	g.w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = g.dir, strings.NewReader(input)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Dana", "GIT_AUTHOR_EMAIL=dana@acme.example", "GIT_COMMITTER_NAME=Dana", "GIT_COMMITTER_EMAIL=dana@acme.example")
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.w.t.Fatalf("git %s: %v\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files and commits them; a file without content is removed.
func (g *tree) commit(message string, files map[string]string) string {
	g.w.t.Helper()
	for name, text := range files {
		path := filepath.Join(g.dir, name)
		if text == "" {
			g.w.must(os.Remove(path))
			continue
		}
		g.w.must(os.MkdirAll(filepath.Dir(path), 0o755))
		g.w.must(os.WriteFile(path, []byte(text), 0o644))
	}
	g.git("add", "--all")
	g.git("commit", "--quiet", "--allow-empty", "-m", message)
	return g.git("rev-parse", "HEAD")
}

func (g *tree) push(refs ...string) {
	g.w.t.Helper()
	g.git(append([]string{"push", "--quiet", g.url}, refs...)...)
}

// seeded is a work tree whose first commit is pushed and checked.
func (w *world) seeded() *tree {
	w.t.Helper()
	g := w.clone()
	head := g.commit("first", map[string]string{"README.md": "# shop\n", "a.txt": "a\n"})
	g.push("main")
	w.check(head, "is green", completed("success"))
	w.settled(head)
	return g
}

func env(token string) string { return "REGION=eu\nGITHUB_TOKEN=" + token + "\n" }

// deliver posts a payload to the webhook as a stranger could.
func (w *world) deliver(body []byte, header map[string]string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequest("POST", w.hook.URL+"/webhook", bytes.NewReader(body))
	w.must(err)
	req.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	resp.Body.Close()
	return resp
}

// lockedBuffer collects the log of many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) all() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b.Bytes())
}

// String is the end of the log, for failures.
func (b *lockedBuffer) String() string {
	s := string(b.all())
	if len(s) > 8000 {
		s = "…" + s[len(s)-8000:]
	}
	return s
}
