package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/store"
)

// importTo runs stanch import against a server.
func importTo(t *testing.T, address, token, report string, args ...string) (int, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(file, []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	args = append([]string{"import", "--server", address, file}, args...)
	code := run(t.Context(), args, strings.NewReader(""), &out, &errs, func(name string) string {
		return map[string]string{"STANCH_API_TOKEN": token}[name]
	})
	return code, out.String() + errs.String()
}

// A leaked token that another scanner found goes to the server, which replaces it.
func TestImportToServer(t *testing.T) {
	const token = "the API token of these tests, long enough"
	w := newServeWorld(t, func(w *serveWorld, keys store.Keys) {
		withGitHubToken(w, keys)
		w.env = append(w.env, "STANCH_API_TOKEN="+token)
	})
	report := fmt.Sprintf(`[{"RuleID": "github-pat", "Secret": %q, "File": "ci.env", "StartLine": 3}, {"RuleID": "x", "Secret": "REDACTED"}]`, w.leaked)
	code, text := importTo(t, "http://"+w.addr, "another token than the server's", report)
	if code != exitFailed || !strings.Contains(text, "it answers 401: say the API's token") {
		t.Errorf("another token: status %d\n%s", code, text)
	}
	code, text = importTo(t, "http://"+w.addr, token, report)
	for _, want := range []string{"ci.env:3: GitHub personal access token (classic)", "validity  active", "grade     A",
		"can do    acts as bot; may repo, workflow (write)", "incident  0", "not imported: 1 redacted", "imported 2 findings of gitleaks: 1 secret, 1 live"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if code != exitFailed || strings.Contains(text, w.leaked) { // not all could be imported
		t.Errorf("status %d\n%s", code, text)
	}
	for deadline := time.Now().Add(servePatience); w.github.TokenLive(w.leaked) || w.stored() == w.leaked; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the leaked token was not replaced\n%s", w.tail())
		}
	}
}

// What is no Stanch, or one without an API, is told from one that refuses.
func TestImportToNobody(t *testing.T) {
	answer := http.NotFound
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	t.Cleanup(server.Close)
	const report = `[{"RuleID": "x", "Secret": "swordfish"}]`
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		want   string
	}{
		"no API":     {http.NotFound, "has the server a STANCH_API_TOKEN?"},
		"a page":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "not as a Stanch does"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, "it answers 302 Found, and not as a Stanch"},
		"busy": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"message": "try again in a while"}`)
		}, "it answers 503: try again in a while (0 of 1 findings were taken"},
	} {
		answer = test.answer
		if code, text := importTo(t, server.URL, "token", report); code != exitFailed || !strings.Contains(text, test.want) {
			t.Errorf("%s: status %d\n%s", name, code, text)
		}
	}
	server.Close()
	if code, text := importTo(t, server.URL, "token", report); code != exitFailed || !strings.Contains(text, "refused") {
		t.Errorf("nobody: status %d\n%s", code, text)
	}
}
