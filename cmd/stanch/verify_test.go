package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// A fakeGitLab takes one token and counts who else it was asked about.
type fakeGitLab struct {
	*httptest.Server
	mu    sync.Mutex
	live  string
	asked map[string]int
}

func newFakeGitLab(t *testing.T, live string) *fakeGitLab {
	t.Helper()
	g := startFakeGitLab(live)
	t.Cleanup(g.Close)
	return g
}

func startFakeGitLab(live string) *fakeGitLab {
	g := &fakeGitLab{live: live, asked: map[string]int{}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("PRIVATE-TOKEN")
		g.mu.Lock()
		g.asked[token]++
		g.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if token != g.live {
			w.WriteHeader(http.StatusUnauthorized)
			w.Write([]byte(`{"message":"401 Unauthorized"}`))
			return
		}
		w.Write([]byte(`{"id":42,"user_id":7,"name":"deploy","active":true,"revoked":false,"scopes":["api"]}`))
	}))
	return g
}

// gitlab SECRET starts a GitLab that takes the token in the file SECRET, and has the
// commands that follow ask it.
func gitlab(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gitlab SECRET")
	}
	g := startFakeGitLab(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Defer(g.Close)
	ts.Setenv("STANCH_PROVIDER_URLS", "gitlab:"+g.URL)
}

// A dead one ends with the status of what was done; Vault's answers are of its
// documentation.
func TestVerifyDead(t *testing.T) {
	dead := sampleOf(t, "vault-service-token")
	vault := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		w.Write([]byte(`{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`))
	}))
	t.Cleanup(vault.Close)
	var out, errs strings.Builder
	code := run(t.Context(), []string{"verify"}, strings.NewReader("VAULT_TOKEN="+dead), &out, &errs, func(name string) string {
		return map[string]string{"VAULT_ADDR": vault.URL}[name]
	})
	if code != exitDone || !strings.Contains(out.String(), "inactive") || !strings.Contains(out.String(), "Nothing: its provider refuses it.") {
		t.Errorf("status %d\n%s%s", code, out.String(), errs.String())
	}
	if strings.Contains(out.String()+errs.String(), dead) {
		t.Error("the credential is printed")
	}
}

func (g *fakeGitLab) times(token string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked[token]
}

func TestScanVerify(t *testing.T) {
	isolateGit(t)
	t.Chdir(t.TempDir())
	live, dead, other := sampleOf(t, "gitlab-pat"), sampleOf(t, "gitlab-pat"), sampleOf(t, "github-pat")
	gitlab := newFakeGitLab(t, live)
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("dead.env", dead+"\n")
	env := map[string]string{"STANCH_PROVIDER_URLS": "gitlab:" + gitlab.URL, "STANCH_GITHUB_URL": gitlab.URL}
	scan := func(args ...string) (int, string) {
		t.Helper()
		var out, errs strings.Builder
		code := run(t.Context(), append([]string{"scan"}, args...), strings.NewReader(""), &out, &errs, func(name string) string { return env[name] })
		text := out.String() + errs.String()
		for _, secret := range []string{live, dead, other} {
			if strings.Contains(text, secret) {
				t.Errorf("scan %q prints a secret", args)
			}
		}
		return code, text
	}
	if code, _ := scan("."); code != exitFound || gitlab.times(dead) > 0 {
		t.Errorf("without --verify: status %d, the provider was asked %d times", code, gitlab.times(dead))
	}
	// An installation of ours refused it; gitlab.com was not asked.
	code, text := scan("--verify", ".")
	if code != exitFound || !strings.Contains(text, "validity    unknown") || !strings.Contains(text, "1 secret neither live nor dead for certain") {
		t.Errorf("a dead one: status %d\n%s", code, text)
	}
	write("live.env", live+"\n")
	write("again.env", live+"\n")
	before := gitlab.times(live)
	code, text = scan("--verify", ".")
	if code != exitLive || strings.Count(text, "validity    active") != 2 {
		t.Errorf("a live one: status %d, want %d\n%s", code, exitLive, text)
	}
	if got := gitlab.times(live) - before; got != 1 {
		t.Errorf("the provider was asked %d times about one secret", got)
	}
	// Nothing excuses what is live.
	write("live.env", live+" # stanch:allow\n")
	write("again.env", "")
	if code, text = scan("live.env"); code != exitDone {
		t.Errorf("a marker: status %d\n%s", code, text)
	}
	if code, text = scan("--verify", "live.env"); code != exitLive {
		t.Errorf("a live one with a marker: status %d\n%s", code, text)
	}
	write("live.env", live+"\n")
	write("again.env", live+"\n")
	if code, _, errs := runHere(t, "baseline", "create"); code != exitDone {
		t.Fatal(errs)
	}
	if code, text = scan("--baseline", baselineDefault, "."); code != exitDone {
		t.Errorf("a baseline: status %d\n%s", code, text)
	}
	code, text = scan("--verify", "--baseline", baselineDefault, ".")
	if code != exitLive || !strings.Contains(text, "2 secrets found, 1 more in the baseline") {
		t.Errorf("a live one in the baseline: status %d\n%s", code, text)
	}
	// A provider that cannot be asked is no reason to fail, nor to say “dead”.
	gitlab.Close()
	if code, text = scan("--verify", "live.env"); code != exitFound || !strings.Contains(text, "validity    unknown") {
		t.Errorf("no answer: status %d\n%s", code, text)
	}
	env["STANCH_PROVIDER_URLS"] = "gitlba:" + gitlab.URL
	if code, text = scan("--verify", "live.env"); code != exitFailed || !strings.Contains(text, "there is no provider") {
		t.Errorf("a wrong name: status %d\n%s", code, text)
	}
}

// Only the catalogue and the operator name hosts: what stands beside a secret in
// the scanned text is never asked.
func TestScanVerifyAsksNobodyElse(t *testing.T) {
	isolateGit(t)
	token := sampleOf(t, "gitlab-pat")
	stranger := newFakeGitLab(t, token)
	ours := newFakeGitLab(t, "")
	name := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(name, []byte("gitlab_url: "+stranger.URL+"\ntoken: "+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	code := run(t.Context(), []string{"scan", "--verify", name}, strings.NewReader(""), &out, &errs, func(variable string) string {
		return map[string]string{"STANCH_PROVIDER_URLS": "gitlab:" + ours.URL}[variable]
	})
	if code != exitFound || ours.times(token) != 1 || len(stranger.asked) != 0 {
		t.Errorf("status %d, asked our host %d times and the stranger's %d times\n%s", code, ours.times(token), len(stranger.asked), errs.String())
	}
}

// The operator says whether anybody is asked, about what, and through what.
func TestScanVerifyIsTheOperators(t *testing.T) {
	isolateGit(t)
	token := sampleOf(t, "gitlab-pat")
	gitlab := newFakeGitLab(t, token)
	name := filepath.Join(t.TempDir(), "live.env")
	if err := os.WriteFile(name, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		variable, value string
		code            int
		says            string
	}{
		{"STANCH_VERIFY", "on", exitLive, "active"},
		{"STANCH_VERIFY", "off", exitFound, "not verified"},
		{"STANCH_VERIFY", "maybe", exitFailed, `STANCH_VERIFY is "maybe": it must be on or off`},
		{"STANCH_VERIFY_RULES", "gitlab-pat,github-pat", exitLive, "active"},
		{"STANCH_VERIFY_RULES", "github-pat", exitFound, "not verified"},
		{"STANCH_VERIFY_RULES", "gitlab-pad", exitFailed, `there is no rule "gitlab-pad"`},
		{"STANCH_OUTBOUND_PROXY", "http://127.0.0.1:1", exitLive, "active"}, // the operator's own host is dialled directly
		{"STANCH_OUTBOUND_PROXY", "ftp://joe:sesame@proxy", exitFailed, "must be an http, https or socks5 URL"},
		{"STANCH_OUTBOUND_PROXY", "http://joe:sesame@%zz", exitFailed, "STANCH_OUTBOUND_PROXY is no URL"},
	} {
		before := gitlab.times(token)
		var out, errs strings.Builder
		code := run(t.Context(), []string{"scan", "--verify", name}, strings.NewReader(""), &out, &errs, func(variable string) string {
			return map[string]string{"STANCH_PROVIDER_URLS": "gitlab:" + gitlab.URL, test.variable: test.value}[variable]
		})
		text := out.String() + errs.String()
		if asked := gitlab.times(token) > before; code != test.code || asked != (code == exitLive) || !strings.Contains(text, test.says) || strings.Contains(text, "sesame") {
			t.Errorf("%s=%s: status %d, asked: %t\n%s", test.variable, test.value, code, asked, text)
		}
	}
}
