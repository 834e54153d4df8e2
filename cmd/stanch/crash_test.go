package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// These variables make a process of these tests tell where its remediations are, and
// wait for the answer: the test kills it there.
const tellVariable = "STANCH_TEST_TELL"

// mortalMain is main for processes that are to be killed.
func mortalMain() {
	if url := os.Getenv(tellVariable); url != "" {
		onStep = func(p app.Progress) {
			resp, err := http.Get(fmt.Sprintf("%s/%s/%s", url, p.Step, p.Moment))
			if err == nil {
				resp.Body.Close()
			}
		}
	}
	main()
}

// A crashKind is a kind of credential in a crash test, at the real server that gives
// it out.
type crashKind interface {
	// begin makes a live credential, as the fields in which a store keeps it, and the
	// text that leaks it.
	begin(*testing.T) crashCase
}

// A crashCase is one leaked credential.
type crashCase interface {
	stored() map[string]string // what the store holds before
	rule() string
	secret() string
	leak() string // the line that leaks it
	// env is what stanch serve needs to know. Servers are reached through via.
	env(via func(addr string) string) []string
	// works asks the server whether what a store holds works.
	works(fields map[string]string) bool
	// leakedWorks asks whether the leaked credential works.
	leakedWorks() bool
	// live counts the credentials of the account that work.
	live() int
}

// A crashHelper is a credential of which people do their part: what an incident waits for.
type crashHelper interface {
	// help does it, and reports whether there was something to be done.
	help(w *crashWorld, i store.Incident) bool
	// people says what that is.
	people() string
}

// A crashStore is where the credential is kept.
type crashStore interface {
	// begin makes an empty store.
	begin(t *testing.T, dir string, key checks.FingerprintKey) crashPlace
}

// A crashPlace is one secret of a store.
type crashPlace interface {
	put(fields map[string]string)
	fields() map[string]string
	env(via func(addr string) string) []string
}

// A crashWorld is stanch serve as a process, without a GitHub, and one leak.
type crashWorld struct {
	t      *testing.T
	dir    string
	kind   crashCase
	place  crashPlace
	order  incident.Order
	keys   store.Keys
	reaper *reaper
	log    *os.File
	addr   string
}

const crashToken = "the API token of the crash tests, long enough"

func newCrashWorld(t *testing.T, kind crashKind, s crashStore, order incident.Order) *crashWorld {
	t.Helper()
	w := &crashWorld{t: t, dir: t.TempDir(), order: order, reaper: newReaper(t)}
	master, err := store.LoadKey(filepath.Join(w.dir, "stanch.key"))
	w.must(err)
	w.keys, err = store.NewKeys(master)
	w.must(err)
	w.kind = kind.begin(t)
	w.place = s.begin(t, w.dir, w.keys.Fingerprint)
	w.place.put(w.kind.stored())
	w.must(os.WriteFile(filepath.Join(w.dir, "policy.yml"), fmt.Appendf(nil, "remediation: automatic\norder: %s\nhold: 0s\n", order), 0o600))
	w.must(os.WriteFile(filepath.Join(w.dir, "app.pem"), []byte(crashAppKey()), 0o600))
	w.must(os.Mkdir(filepath.Join(w.dir, "tmp"), 0o700))
	w.log, err = os.Create(filepath.Join(w.dir, "log"))
	w.must(err)
	t.Cleanup(func() { w.reaper.kill(); w.log.Close() })
	return w
}

func (w *crashWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, w.tail())
	}
}

// start starts the process.
func (w *crashWorld) start() {
	w.t.Helper()
	self, err := os.Executable()
	w.must(err)
	process := &exec.Cmd{Path: self, Args: []string{"stanch", "serve"}, Stdout: w.log, Stderr: w.log, Env: joinURLs(slices.Concat([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + filepath.Join(w.dir, "tmp"),
		"STANCH_ADDR=127.0.0.1:0", "STANCH_LOG_LEVEL=debug", "STANCH_API_TOKEN=" + crashToken,
		"STANCH_DATABASE_URL=sqlite:" + filepath.Join(w.dir, "stanch.db"), "STANCH_POLICY=" + filepath.Join(w.dir, "policy.yml"),
		"STANCH_GITHUB_APP_ID=1", "STANCH_GITHUB_PRIVATE_KEY_FILE=" + filepath.Join(w.dir, "app.pem"),
		"STANCH_GITHUB_WEBHOOK_SECRETS=changeme", "STANCH_GITHUB_URL=http://127.0.0.1:1",
		tellVariable + "=" + w.reaper.control.URL,
	}, w.place.env(w.reaper.via), w.kind.env(w.reaper.via)))}
	info, err := w.log.Stat()
	w.must(err)
	w.must(process.Start())
	w.reaper.watch(process)
	w.eventually("stanch serve is ready", func() error { return w.ready(info.Size()) })
}

// joinURLs makes one setting of the base URLs of providers that a kind and a store name.
func joinURLs(env []string) (joined []string) {
	const name = "STANCH_PROVIDER_URLS="
	var all []string
	for _, setting := range env {
		if urls, ok := strings.CutPrefix(setting, name); ok {
			if !slices.Contains(all, urls) {
				all = append(all, urls)
			}
		} else {
			joined = append(joined, setting)
		}
	}
	return append(joined, name+strings.Join(all, ","))
}

func (w *crashWorld) ready(from int64) error {
	b, err := os.ReadFile(w.log.Name())
	if err != nil {
		return err
	}
	_, text, ok := strings.Cut(string(b[from:]), `msg="stanch serves" address=`)
	if !ok {
		return errors.New("it does not listen")
	}
	w.addr, _, _ = strings.Cut(text, " ")
	resp, err := http.Get("http://" + w.addr + "/readyz")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// leak tells the process of the leaked credential.
func (w *crashWorld) leak() {
	w.t.Helper()
	w.report([]map[string]any{{"RuleID": w.kind.rule(), "Secret": w.kind.secret(), "Match": w.kind.leak(), "File": "prod.env", "StartLine": 1}})
}

// report imports what another scanner found.
func (w *crashWorld) report(found []map[string]any) {
	w.t.Helper()
	report, err := json.Marshal(found)
	w.must(err)
	req, err := http.NewRequest("POST", "http://"+w.addr+"/api/v1/import", bytes.NewReader(report))
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+crashToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return // it was killed before it could answer
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		w.t.Fatalf("import: %d %s", resp.StatusCode, body)
	}
}

// dies waits until the process is killed, or its work is done, in which case it never
// came to the point.
func (w *crashWorld) dies() (died bool) {
	w.t.Helper()
	for deadline := time.Now().Add(servePatience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if w.reaper.reaped() {
			return true
		}
		if over, _ := w.over(); over {
			w.eventually("it is told that the last step is recorded", w.reaper.toldAll)
			died := w.reaper.reaped()
			w.reaper.kill()
			return died
		}
	}
	w.t.Fatalf("neither killed nor done\n%s", w.tail())
	return false
}

// incident is the one of the leaked credential.
func (w *crashWorld) incident() (store.Incident, error) {
	s, err := store.View(w.t.Context(), "sqlite:"+filepath.Join(w.dir, "stanch.db"), w.keys)
	if err != nil {
		return store.Incident{}, err
	}
	defer s.Close()
	return s.IncidentOf(w.t.Context(), checks.NewSecret(w.kind.secret()).Fingerprint(w.keys.Fingerprint))
}

// over reports whether the incident is resolved, or waits for a person, and with what
// words.
func (w *crashWorld) over() (bool, string) {
	i, err := w.incident()
	if err != nil {
		return false, ""
	}
	stuck := i.Stuck != "" && i.Verb == ""
	if h, ok := w.kind.(crashHelper); ok && stuck && h.help(w, i) {
		return false, i.Stuck
	}
	return i.State() == incident.Resolved || stuck, i.Stuck
}

func (w *crashWorld) eventually(what string, f func() error) {
	w.t.Helper()
	var err error
	for deadline := time.Now().Add(servePatience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	w.t.Fatalf("%s: %v\n%s", what, err, w.tail())
}

func (w *crashWorld) tail() string {
	b, _ := os.ReadFile(w.log.Name())
	return string(b[max(0, len(b)-6000):])
}

// A guard looks at a place all the time: whether what is there works.
type guard struct {
	stop func()
	mu   sync.Mutex
	lost int
	n    int
}

func (w *crashWorld) guard() *guard {
	g, done := &guard{}, make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(15 * time.Millisecond):
				works := w.working()
				g.mu.Lock()
				g.n++
				if !works {
					g.lost++
				}
				g.mu.Unlock()
			}
		}
	})
	g.stop = sync.OnceFunc(func() { close(done); wg.Wait() })
	w.t.Cleanup(g.stop)
	return g
}

// A crashCopies is a place with copies elsewhere, which must work as well.
type crashCopies interface{ copies() []map[string]string }

// working reports whether the place holds a credential that works. Between the reading
// and the asking it may have been replaced, so that it is read again.
func (w *crashWorld) working() bool {
	for range 3 {
		all := []map[string]string{w.place.fields()}
		if p, ok := w.place.(crashCopies); ok {
			all = append(all, p.copies()...)
		}
		if !slices.ContainsFunc(all, func(fields map[string]string) bool { return !w.kind.works(fields) }) {
			return true
		}
	}
	return false
}

// command orders something over the API, as “stanch incidents” does.
func (w *crashWorld) command(what, body string) {
	w.t.Helper()
	i, err := w.incident()
	w.must(err)
	w.eventually("the order is taken", func() error {
		req, err := http.NewRequest("POST", "http://"+w.addr+"/api/v1/incidents/"+i.ID+"/"+what, strings.NewReader(body))
		w.must(err)
		req.Header.Set("Authorization", "Bearer "+crashToken)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil // it was killed before it could answer
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}
