package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/store/postgrestest"
	"github.com/stanch-dev/stanch/checks"
)

const (
	fleetCredentials = 20
	fleetPushes      = 100
	// soonDone is how long the others have for what a killed process leaves, and for their own.
	soonDone = 3 * time.Minute
)

// A fleet is several processes of stanch serve on one PostgreSQL database, behind
// something that spreads GitHub's deliveries over those that answer.
type fleet struct {
	t       *testing.T
	dir     string
	env     []string // of all processes
	github  *githubtest.Server
	self    githubtest.App
	secrets *secretstore.File
	leaked  []string // by number of its place in the store
	heads   []string // the commits that leak them
	members []*member

	mu     sync.Mutex
	next   int
	issues map[string]int // how often the broker answered to each operation
}

// A member is one process. What it asks GitHub and the broker goes through a proxy of
// its own.
type member struct {
	*fleet
	name    string
	process *exec.Cmd
	log     *os.File
	addr    string
	proxy   *httptest.Server

	deliveries int // that it took
	requests   int // that it sent
	brokered   int // of them, those to the broker
	dieAt      int // the request to the broker at which it is killed
	died       time.Time
}

func newFleet(t *testing.T, size int) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), issues: map[string]int{}}
	var err error
	f.github, err = githubtest.New(githubtest.Config{Dir: filepath.Join(f.dir, "github"), AnonymousFetch: true})
	f.must(err)
	f.github.Start()
	t.Cleanup(func() { f.github.Close() })
	f.self, err = f.github.CreateApp("Stanch")
	f.must(err)
	f.github.CreateOrganization("acme")
	f.github.CreateUser("bot")
	_, err = f.github.CreateRepository("acme", "shop", githubtest.RepoOptions{Private: true})
	f.must(err)
	f.must(f.github.SetPermission("acme/shop", "bot", "write"))
	f.configure()
	for n := range size {
		f.members = append(f.members, f.start(fmt.Sprint("replica", n+1)))
	}
	balancer := httptest.NewServer(http.HandlerFunc(f.balance))
	t.Cleanup(balancer.Close)
	f.must(f.github.SetWebhook(f.self.ID, balancer.URL+"/webhook", f.self.WebhookSecret))
	_, err = f.github.Install(f.self.ID, "acme")
	f.must(err)
	return f
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// configure makes what the processes share: the key, the policy, and a store with live
// credentials.
func (f *fleet) configure() {
	master, err := store.LoadKey(filepath.Join(f.dir, "stanch.key"))
	f.must(err)
	keys, err := store.NewKeys(master)
	f.must(err)
	path := filepath.Join(f.dir, "secrets.age")
	f.secrets, err = secretstore.OpenFile(path, path+".key", keys.Fingerprint)
	f.must(err)
	for n := range fleetCredentials {
		token, err := f.github.IssueToken("bot", githubtest.ClassicToken)
		f.must(err)
		_, err = f.secrets.Put(f.t.Context(), f.place(n), map[string]checks.Secret{"token": checks.NewSecret(token)}, "test")
		f.must(err)
		f.leaked = append(f.leaked, token)
	}
	f.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + f.dir, "STANCH_ADDR=127.0.0.1:0", "STANCH_STORE_FILE=" + path,
		"STANCH_KEY_FILE=" + filepath.Join(f.dir, "stanch.key"),
		"STANCH_GITHUB_APP_ID=" + strconv.FormatInt(f.self.ID, 10), "STANCH_GITHUB_WEBHOOK_SECRETS=" + f.self.WebhookSecret,
	}
	for name, text := range map[string]string{
		"STANCH_POLICY": "remediation: automatic\nautomatic_per_hour: 1000\n", "STANCH_GITHUB_PRIVATE_KEY_FILE": f.self.PrivateKeyPEM,
		"STANCH_DATABASE_URL_FILE": postgrestest.URL(f.t),
	} {
		file := filepath.Join(f.dir, name)
		f.must(os.WriteFile(file, []byte(text), 0o600))
		f.env = append(f.env, name+"="+file)
	}
}

func (f *fleet) place(n int) secretstore.Location {
	return secretstore.Location{Store: f.secrets.Name(), Path: fmt.Sprint("ci/", n), Field: "token"}
}

// stanch is this test's own binary, which is also stanch, with the fleet's settings.
func (f *fleet) stanch(env []string, args ...string) *exec.Cmd {
	f.t.Helper()
	self, err := os.Executable()
	f.must(err)
	return &exec.Cmd{Path: self, Args: append([]string{"stanch"}, args...), Env: append(env, f.env...)}
}

// start starts one process and waits until it is ready.
func (f *fleet) start(name string) *member {
	f.t.Helper()
	m := &member{fleet: f, name: name}
	target, err := url.Parse(f.github.URL())
	f.must(err)
	pass := httputil.NewSingleHostReverseProxy(target)
	m.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.forward(pass, w, r) }))
	f.t.Cleanup(m.proxy.Close)
	m.log, err = os.Create(filepath.Join(f.dir, name+".log"))
	f.must(err)
	m.process = f.stanch([]string{
		"STANCH_SCRATCH=" + filepath.Join(f.dir, name), "TMPDIR=" + f.t.TempDir(),
		"STANCH_GITHUB_URL=" + m.proxy.URL, "STANCH_BROKER_URL=" + m.proxy.URL + "/broker", "STANCH_BROKER_TOKEN=" + f.github.BrokerToken(),
	}, "serve")
	m.process.Stdout, m.process.Stderr = m.log, m.log
	f.must(m.process.Start())
	f.t.Cleanup(func() { m.process.Process.Kill(); m.process.Wait(); m.log.Close() })
	for deadline := time.Now().Add(servePatience); !m.ready(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("%s does not become ready\n%s", name, f.said())
		}
	}
	return m
}

func (m *member) ready() bool {
	b, err := os.ReadFile(m.log.Name())
	m.must(err)
	_, text, ok := strings.Cut(string(b), `msg="stanch serves" address=`)
	if !ok {
		return false
	}
	m.addr, _, _ = strings.Cut(text, " ")
	resp, err := http.Get("http://" + m.addr + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// forward passes on what the process sends, counts it, and kills the process where it
// is to die.
func (m *member) forward(pass http.Handler, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	broker := r.URL.Path == "/broker"
	m.mu.Lock()
	m.requests++
	if broker {
		m.brokered++
	}
	die := broker && m.brokered == m.dieAt
	if die {
		m.died = time.Now()
		m.process.Process.Kill()
	}
	m.mu.Unlock()
	if die {
		pass.ServeHTTP(httptest.NewRecorder(), r.WithContext(m.t.Context())) // done, and the answer is lost
		return
	}
	pass.ServeHTTP(w, r)
	var asked struct {
		Operation string `json:"operation"`
	}
	if broker && json.Unmarshal(body, &asked) == nil {
		m.mu.Lock()
		m.issues[asked.Operation]++
		m.mu.Unlock()
	}
}

// balance hands a delivery to the next process that answers.
func (f *fleet) balance(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	for range f.members {
		f.mu.Lock()
		m := f.members[f.next%len(f.members)]
		f.next++
		f.mu.Unlock()
		req, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+m.addr+r.URL.Path, bytes.NewReader(body))
		if err != nil {
			break
		}
		req.Header = r.Header
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		resp.Body.Close()
		f.mu.Lock()
		m.deliveries++
		f.mu.Unlock()
		w.WriteHeader(resp.StatusCode)
		return
	}
	http.Error(w, "no replica answers", http.StatusBadGateway)
}

// leak pushes many branches, each with one of the credentials, and has GitHub deliver
// them at once.
func (f *fleet) leak() {
	f.t.Helper()
	dir := f.t.TempDir()
	git := (&serveWorld{t: f.t}).git
	git(dir, "init", "--quiet", "--initial-branch=main")
	git(dir, "commit", "--quiet", "--allow-empty", "-m", "first")
	refs := []string{"main"}
	for n := range fleetPushes {
		branch := fmt.Sprint("leak-", n)
		git(dir, "checkout", "--quiet", "-b", branch, "main")
		f.must(os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.env", n)), []byte("GITHUB_TOKEN="+f.leaked[n%fleetCredentials]+"\n"), 0o600))
		git(dir, "add", "--all")
		git(dir, "commit", "--quiet", "-m", branch)
		f.heads = append(f.heads, git(dir, "rev-parse", "HEAD"))
		refs = append(refs, branch)
	}
	f.github.PauseDeliveries()
	git(dir, append([]string{"push", "--quiet", f.github.CloneURL("acme/shop")}, refs...)...)
	f.github.ResumeDeliveries()
}

// missing is what is not yet as it shall be in the end.
func (f *fleet) missing() error {
	for n, leaked := range f.leaked {
		now, err := f.secrets.Get(f.t.Context(), f.place(n))
		switch {
		case err != nil:
			return err
		case f.github.TokenLive(leaked):
			return fmt.Errorf("the leaked token %d lives", n)
		case !f.github.TokenLive(now.Fields["token"].Expose()):
			return fmt.Errorf("the store holds no live token at place %d", n)
		case now.Version != "2":
			return fmt.Errorf("place %d holds version %s, want the second", n, now.Version)
		}
	}
	if live := f.github.LiveTokens("bot"); live != fleetCredentials {
		return fmt.Errorf("%d live tokens: more were issued than are stored", live)
	}
	runs := map[string]int{}
	for _, run := range f.github.CheckRuns("acme/shop") {
		if runs[run.HeadSHA]++; runs[run.HeadSHA] > 1 {
			return fmt.Errorf("%d check runs of one commit", runs[run.HeadSHA])
		}
		if run.Status != "completed" {
			return fmt.Errorf("the check run of %s is %s", run.HeadSHA, run.Status)
		}
		if strings.Contains(run.Summary+run.Title, "GITHUB_TOKEN") || run.Conclusion == "failure" && !strings.Contains(run.Title, "dead") {
			return fmt.Errorf("the check run of %s says %q", run.HeadSHA, run.Title)
		}
	}
	for _, head := range f.heads {
		if runs[head] != 1 {
			return fmt.Errorf("%d check runs of %s", runs[head], head)
		}
	}
	return nil
}

// finish waits until nothing is missing.
func (f *fleet) finish() {
	f.t.Helper()
	err := errors.New("not looked yet")
	for deadline := time.Now().Add(2 * servePatience); err != nil; time.Sleep(50 * time.Millisecond) {
		if err = f.missing(); err != nil && time.Now().After(deadline) {
			f.t.Fatalf("in the end: %v\n%s", err, f.said())
		}
	}
}

// onceEach fails unless every credential was remediated once, as the audit log has it,
// whose chain is whole.
func (f *fleet) onceEach() {
	f.t.Helper()
	if out, err := f.stanch(nil, "audit", "verify").CombinedOutput(); err != nil {
		f.t.Errorf("stanch audit verify: %v\n%s", err, out)
	}
	if out, err := f.stanch(nil, "incidents", "list").CombinedOutput(); err != nil || strings.Count(string(out), "github-pat") != fleetCredentials {
		f.t.Errorf("stanch incidents list: %v\n%s", err, out)
	}
	if out, err := f.stanch(nil, "incidents", "halt", "--reason", "a test").CombinedOutput(); err == nil || !strings.Contains(string(out), "another stanch has it open") {
		f.t.Errorf("stanch incidents halt beside the replicas: %v\n%s", err, out)
	}
	out, err := f.stanch(nil, "audit", "export").Output()
	f.must(err)
	done := map[string]int{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var e struct{ Verb, Subject string }
		f.must(json.Unmarshal(lines.Bytes(), &e))
		if strings.HasPrefix(e.Verb, "done ") {
			done[e.Verb]++
			if done[e.Verb+" "+e.Subject]++; done[e.Verb+" "+e.Subject] > 1 {
				f.t.Errorf("%s twice for %s", e.Verb, e.Subject)
			}
		}
	}
	for _, verb := range []string{"done issue", "done put", "done verify_new", "done revoke_old", "done prove_dead"} {
		if done[verb] != fleetCredentials {
			f.t.Errorf("%q stands %d times in the audit log, want %d", verb, done[verb], fleetCredentials)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.issues) != fleetCredentials {
		f.t.Errorf("the broker was asked for %d replacements, want %d", len(f.issues), fleetCredentials)
	}
	for _, m := range f.members {
		f.t.Logf("%s took %d deliveries and sent %d requests, %d of them to the broker", m.name, m.deliveries, m.requests, m.brokered)
	}
}

func (f *fleet) said() string {
	var all strings.Builder
	for _, m := range f.members {
		b, _ := os.ReadFile(m.log.Name())
		fmt.Fprintf(&all, "%s:\n%s\n", m.name, b[max(0, len(b)-5000):])
	}
	return all.String()
}

// TestTwoReplicas: of a hundred leaks of twenty credentials at once, two processes on
// one database remediate each credential once.
func TestTwoReplicas(t *testing.T) {
	f := newFleet(t, 2)
	f.leak()
	begun := time.Now()
	f.finish()
	t.Logf("%d pushes that leak %d credentials were remediated and checked in %s", fleetPushes, fleetCredentials, time.Since(begun).Round(10*time.Millisecond))
	f.onceEach()
	for operation, times := range f.issues {
		if times != 1 {
			t.Errorf("operation %s was asked for %d times", operation, times)
		}
	}
	for _, m := range f.members {
		if m.deliveries == 0 || m.brokered == 0 {
			t.Errorf("%s did nothing", m.name)
		}
	}
}

// TestReplicaIsKilled: one of two processes is killed in the middle, as it waits for the
// broker's answer; the other one finishes all of it, soon.
func TestReplicaIsKilled(t *testing.T) {
	f := newFleet(t, 2)
	f.members[0].dieAt = 4
	f.leak()
	begun := time.Now()
	f.finish()
	f.mu.Lock()
	died := f.members[0].died
	f.mu.Unlock()
	if died.IsZero() {
		t.Fatal("nobody was killed")
	}
	took := time.Since(died)
	t.Logf("killed %s after the pushes; all was done %s later", died.Sub(begun).Round(10*time.Millisecond), took.Round(10*time.Millisecond))
	if took > soonDone {
		t.Errorf("that is more than %s", soonDone)
	}
	f.onceEach()
}
