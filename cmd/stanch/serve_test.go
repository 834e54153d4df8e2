package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/store/postgrestest"
	"github.com/stanch-dev/stanch/checks"
)

// servePatience is how long a restarted server has to bring everything to its end.
const servePatience = 2 * time.Minute

// A serveWorld is stanch serve as a process of its own, between a developer's
// pushes and a simulated GitHub. All that the process sends to GitHub, to git and
// to the broker passes a proxy, which can kill it at any request: before the
// request is answered, or after GitHub acted but before the answer arrives.
type serveWorld struct {
	t      *testing.T
	dir    string
	addr   string
	github *githubtest.Server
	self   githubtest.App
	proxy  *httptest.Server
	log    *os.File

	// What prepare sets: the credential that leaks, in what text, where it is
	// kept, and the environment that tells the server so.
	leaked  string
	line    string
	secrets app.SecretStore
	place   secretstore.Location
	env     []string
	order   string // of the policy

	database string // its URL

	mu      sync.Mutex
	process *exec.Cmd
	killAt  func(request) bool
	after   bool // kill when GitHub has acted
	killed  chan struct{}
}

// A request is what the proxy looks at.
type request struct {
	method, path, token, body string
}

func newServeWorld(t *testing.T, prepare func(*serveWorld, store.Keys)) *serveWorld {
	t.Helper()
	w := &serveWorld{t: t, dir: t.TempDir(), killed: make(chan struct{})}
	w.database = "sqlite:" + filepath.Join(w.dir, "stanch.db")
	var err error
	w.github, err = githubtest.New(githubtest.Config{Dir: filepath.Join(w.dir, "github"), AnonymousFetch: true})
	w.must(err)
	w.github.Start()
	t.Cleanup(func() { w.github.Close() })
	w.proxy = w.newProxy(w.github.URL())

	w.self, err = w.github.CreateApp("Stanch")
	w.must(err)
	w.github.CreateOrganization("acme")
	w.github.CreateUser("bot")
	_, err = w.github.CreateRepository("acme", "shop", githubtest.RepoOptions{Private: true})
	w.must(err)
	w.must(w.github.SetPermission("acme/shop", "bot", "write"))
	master, err := store.LoadKey(filepath.Join(w.dir, "stanch.key"))
	w.must(err)
	keys, err := store.NewKeys(master)
	w.must(err)
	prepare(w, keys)
	_, err = w.secrets.Put(t.Context(), w.place, map[string]checks.Secret{w.place.Field: checks.NewSecret(w.leaked)}, "test")
	w.must(err)

	w.log, err = os.Create(filepath.Join(w.dir, "log"))
	w.must(err)
	t.Cleanup(func() { w.kill(); w.log.Close() })
	w.serve()
	_, err = w.github.Install(w.self.ID, "acme")
	w.must(err)
	return w
}

func (w *serveWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// withGitHubToken leaks a GitHub token that an encrypted file keeps.
func withGitHubToken(w *serveWorld, keys store.Keys) {
	var err error
	w.leaked, err = w.github.IssueToken("bot", githubtest.ClassicToken)
	w.must(err)
	w.line = "GITHUB_TOKEN=" + w.leaked
	path := filepath.Join(w.dir, "secrets.age")
	w.secrets, err = secretstore.OpenFile(path, path+".key", keys.Fingerprint)
	w.must(err)
	w.place = secretstore.Location{Store: w.secrets.Name(), Path: "ci", Field: "token"}
	w.env = []string{"STANCH_STORE_FILE=" + path}
}

// stored is the credential that users of the store get.
func (w *serveWorld) stored() string {
	w.t.Helper()
	now, err := w.secrets.Get(w.t.Context(), w.place)
	w.must(err)
	return now.Fields[w.place.Field].Expose()
}

// serve starts the process: this test's own binary, which is also stanch.
func (w *serveWorld) serve() {
	w.t.Helper()
	policy, key := filepath.Join(w.dir, "policy.yml"), filepath.Join(w.dir, "app.pem")
	w.must(os.WriteFile(policy, []byte("remediation: automatic\norder: "+cmp.Or(w.order, "replace_first")+"\n"), 0o600))
	w.must(os.WriteFile(key, []byte(w.self.PrivateKeyPEM), 0o600))
	w.must(os.MkdirAll(filepath.Join(w.dir, "tmp"), 0o700))
	self, err := os.Executable()
	w.must(err)
	cmd := &exec.Cmd{Path: self, Args: []string{"stanch", "serve"}, Stdout: w.log, Stderr: w.log, Env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + filepath.Join(w.dir, "tmp"),
		"STANCH_ADDR=127.0.0.1:0", "STANCH_LOG_LEVEL=debug",
		"STANCH_DATABASE_URL=" + w.database, "STANCH_KEY_FILE=" + filepath.Join(w.dir, "stanch.key"),
		"STANCH_SCRATCH=" + filepath.Join(w.dir, "scratch"),
		"STANCH_POLICY=" + policy,
		"STANCH_GITHUB_APP_ID=" + strconv.FormatInt(w.self.ID, 10), "STANCH_GITHUB_PRIVATE_KEY_FILE=" + key,
		"STANCH_GITHUB_WEBHOOK_SECRETS=old," + w.self.WebhookSecret, "STANCH_GITHUB_URL=" + w.proxy.URL,
		"STANCH_BROKER_URL=" + w.proxy.URL + "/broker", "STANCH_BROKER_TOKEN=" + w.github.BrokerToken(),
	}}
	cmd.Env = append(cmd.Env, w.env...)
	info, err := w.log.Stat()
	w.must(err)
	said := info.Size()
	w.must(cmd.Start())
	w.mu.Lock()
	w.process = cmd
	w.mu.Unlock()
	for deadline := time.Now().Add(servePatience); !w.ready(said); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("stanch serve does not become ready\n%s", w.tail())
		}
	}
	w.must(w.github.SetWebhook(w.self.ID, "http://"+w.addr+"/webhook", w.self.WebhookSecret))
}

// ready reads from the log, behind what was said before, where the process
// listens, and asks it whether it is ready.
func (w *serveWorld) ready(said int64) bool {
	w.t.Helper()
	b, err := os.ReadFile(w.log.Name())
	w.must(err)
	_, text, ok := strings.Cut(string(b[said:]), `msg="stanch serves" address=`)
	if !ok {
		return false
	}
	w.addr, _, _ = strings.Cut(text, " ")
	resp, err := http.Get("http://" + w.addr + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// kill ends the process as kill -9 does.
func (w *serveWorld) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.process.Process.Kill()
	w.process.Wait()
}

// newProxy passes everything on to an address, and kills the process at the
// chosen request.
func (w *serveWorld) newProxy(to string) *httptest.Server {
	target, err := url.Parse(to)
	w.must(err)
	pass := httputil.NewSingleHostReverseProxy(target)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		w.mu.Lock()
		fatal := w.killAt != nil && w.killAt(request{r.Method, r.URL.Path, token, string(body)})
		if fatal {
			w.killAt = nil
		}
		after := w.after
		w.mu.Unlock()
		if !fatal {
			pass.ServeHTTP(rw, r)
			return
		}
		if after {
			pass.ServeHTTP(httptest.NewRecorder(), r.WithContext(w.t.Context()))
		}
		w.kill()
		close(w.killed)
	}))
	w.t.Cleanup(s.Close)
	return s
}

// killWhen chooses the request at which the process is killed: before it is
// answered, or after the other side has acted.
func (w *serveWorld) killWhen(after bool, at func(request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killAt, w.after = at, after
}

// mustDie waits until the process was killed.
func (w *serveWorld) mustDie() {
	w.t.Helper()
	select {
	case <-w.killed:
	case <-time.After(servePatience):
		w.t.Fatalf("the server never came to this point\n%s", w.tail())
	}
}

func (w *serveWorld) git(dir string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_AUTHOR_NAME=D", "GIT_AUTHOR_EMAIL=d@acme.example", "GIT_COMMITTER_NAME=D", "GIT_COMMITTER_EMAIL=d@acme.example")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %s: %v\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

// push leaks the token.
func (w *serveWorld) push() (head string) {
	w.t.Helper()
	dir := w.t.TempDir()
	w.git(dir, "init", "--quiet", "--initial-branch=main")
	w.must(os.WriteFile(filepath.Join(dir, "prod.env"), []byte(w.line+"\n"), 0o600))
	w.git(dir, "add", "--all")
	w.git(dir, "commit", "--quiet", "-m", "leak")
	w.git(dir, "push", "--quiet", w.github.CloneURL("acme/shop"), "main")
	return w.git(dir, "rev-parse", "HEAD")
}

// finish waits until nothing is missing.
func (w *serveWorld) finish(missing func() error) {
	w.t.Helper()
	var err error
	for deadline := time.Now().Add(servePatience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = missing(); err == nil {
			return
		}
	}
	w.t.Fatalf("in the end: %v\n%s", err, w.tail())
}

// finished reports what is still missing from the good end.
func (w *serveWorld) finished(head string) error {
	now := w.stored()
	runs := w.github.CheckRuns("acme/shop")
	switch {
	case !w.github.TokenLive(now):
		return fmt.Errorf("the store holds no working credential")
	case w.github.TokenLive(w.leaked) || now == w.leaked:
		return fmt.Errorf("the leaked token is live, or still in the store")
	case len(runs) != 1:
		return fmt.Errorf("%d check runs", len(runs))
	case runs[0].HeadSHA != head || runs[0].Conclusion != "failure" || !strings.Contains(runs[0].Title, "dead"):
		return fmt.Errorf("the check run says %q, %q", runs[0].Conclusion, runs[0].Title)
	case len(runs[0].Annotations) != 1:
		return fmt.Errorf("%d annotations", len(runs[0].Annotations))
	case w.github.LiveTokens("bot") != 1:
		return fmt.Errorf("%d live tokens: one was issued and forgotten", w.github.LiveTokens("bot"))
	}
	return nil
}

func (w *serveWorld) tail() string {
	b, _ := os.ReadFile(w.log.Name())
	return string(b[max(0, len(b)-6000):])
}

// TestKill9 kills the server at every request of a remediation that it sends.
// After the restart the check run is completed, once; the store never lacks a
// working credential, and the leaked one ends dead.
func TestKill9(t *testing.T) {
	user := func(r request, leaked string, isLeaked bool) bool {
		return r.method == "GET" && r.path == "/api/v3/user" && (r.token == leaked) == isLeaked
	}
	revoked := func(w *serveWorld) bool { return !w.github.TokenLive(w.leaked) }
	points := []struct {
		name  string
		after bool
		at    func(*serveWorld, request) bool
	}{ // the first ones are tried on PostgreSQL too
		{"the replacement was issued, the answer lost", true, func(_ *serveWorld, r request) bool { return r.path == "/broker" }},
		{"stored, before the replacement is verified", false, func(w *serveWorld, r request) bool {
			return user(r, w.leaked, false) && r.token == w.stored()
		}},
		{"the check run was made, the answer lost", true, func(_ *serveWorld, r request) bool {
			return r.method == "POST" && strings.HasSuffix(r.path, "/check-runs")
		}},
		{"accepted, before the check run", false, func(_ *serveWorld, r request) bool {
			return r.method == "POST" && strings.HasSuffix(r.path, "/check-runs")
		}},
		{"while fetching", false, func(_ *serveWorld, r request) bool { return strings.HasSuffix(r.path, "/git-upload-pack") }},
		{"before it is verified", false, func(w *serveWorld, r request) bool { return user(r, w.leaked, true) }},
		{"before the replacement is issued", false, func(_ *serveWorld, r request) bool { return r.path == "/broker" }},
		{"the replacement was verified, the answer lost", true, func(w *serveWorld, r request) bool {
			return user(r, w.leaked, false) && r.token == w.stored()
		}},
		{"before the revocation", false, func(_ *serveWorld, r request) bool { return strings.HasSuffix(r.path, "/credentials/revoke") }},
		{"revoked, the answer lost", true, func(_ *serveWorld, r request) bool { return strings.HasSuffix(r.path, "/credentials/revoke") }},
		{"before the proof", false, func(w *serveWorld, r request) bool { return user(r, w.leaked, true) && revoked(w) }},
		{"proved, the answer lost", true, func(w *serveWorld, r request) bool { return user(r, w.leaked, true) && revoked(w) }},
		{"before the check run is completed", false, func(_ *serveWorld, r request) bool {
			return r.method == "PATCH" && strings.Contains(r.path, "/check-runs/")
		}},
		{"the check run was completed, the answer lost", true, func(_ *serveWorld, r request) bool {
			return r.method == "PATCH" && strings.Contains(r.path, "/check-runs/")
		}},
	}
	const onPostgres = 3
	for n, order := range []string{"replace_first", "revoke_first", "replace_first"} {
		try, name := points, order
		if n == 2 {
			try, name = points[:onPostgres], "postgres"
		}
		for _, p := range try {
			t.Run(name+"/"+p.name, func(t *testing.T) {
				t.Parallel()
				w := newServeWorld(t, func(w *serveWorld, keys store.Keys) {
					withGitHubToken(w, keys)
					w.order = order
					if name == "postgres" {
						w.database = postgrestest.URL(t)
					}
				})
				w.killWhen(p.after, func(r request) bool { return p.at(w, r) })
				head := w.push()
				w.mustDie()
				// “Revoke first” accepts an outage; nothing else does.
				if order == "replace_first" && !w.github.TokenLive(w.stored()) {
					t.Error("at the crash the store holds no working credential")
				}
				w.serve()
				w.finish(func() error { return w.finished(head) })
				w.findNoSecret()
			})
		}
	}
}

// findNoSecret looks for the leaked token and its replacement, in every form in
// which they could have slipped out, in all that the server wrote.
func (w *serveWorld) findNoSecret() {
	w.t.Helper()
	for _, value := range []string{w.leaked, w.stored()} {
		for name, text := range w.written() {
			if githubtest.Holds(text, value) {
				w.t.Errorf("%s holds a credential", name)
			}
		}
	}
}

// written is everything that the server wrote: files, and what it told GitHub.
func (w *serveWorld) written() map[string][]byte {
	w.t.Helper()
	all := map[string][]byte{"GitHub": w.github.Everything()}
	if strings.HasPrefix(w.database, "postgres:") {
		all["the database"] = postgrestest.Everything(w.t, w.database)
	}
	for _, page := range []string{"http://" + w.addr + "/metrics", w.github.URL() + "/", w.github.CheckRuns("acme/shop")[0].URL} {
		resp, err := http.Get(page)
		w.must(err)
		all[page], err = io.ReadAll(resp.Body)
		w.must(err)
		resp.Body.Close()
	}
	w.must(filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // a file of the database that came and went
		case d.IsDir() && path == filepath.Join(w.dir, "github"):
			return filepath.SkipDir // GitHub's own copy of what was pushed
		case d.Type().IsRegular():
			if b, err := os.ReadFile(path); err == nil {
				all[path] = b
			}
		}
		return nil
	}))
	if len(all) < 8 {
		w.t.Errorf("only %d places were searched: this test looks in the wrong ones", len(all))
	}
	return all
}
