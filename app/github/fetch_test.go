package github_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/rules"
)

// fetchToken is the token that a gitServer takes. It is no token of GitHub's.
const fetchToken = "not-a-real-token-0123456789"

// A gitServer serves one repository over HTTP with git's own backend.
type gitServer struct {
	t    *testing.T
	url  string
	work string // the repository's work tree

	mu       sync.Mutex
	requests []string              // "POST git-upload-pack fetch", with repetitions
	before   func(r *http.Request) // called before each answer
	answer   http.HandlerFunc      // instead of git's, when set
}

func newGitServer(t *testing.T, options ...string) *gitServer {
	t.Helper()
	s := &gitServer{t: t, work: filepath.Join(t.TempDir(), "shop.git")}
	if err := os.Mkdir(s.work, 0o755); err != nil {
		t.Fatal(err)
	}
	s.git(append([]string{"init", "-q", "-b", "main"}, options...)...)
	s.git("config", "uploadpack.allowFilter", "true")
	s.git("config", "uploadpack.allowAnySHA1InWant", "true")
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL + "/shop.git"
	return s
}

func (s *gitServer) git(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = s.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit commits files, given as paths and contents, and returns the commit.
func (s *gitServer) commit(subject string, files ...string) string {
	s.t.Helper()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(s.work, files[i]), []byte(files[i+1]), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	s.git("add", "-A")
	s.git("commit", "-q", "--allow-empty", "-m", subject)
	return s.git("rev-parse", "HEAD")
}

// ServeHTTP checks the token and lets git answer.
func (s *gitServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	if s.before != nil {
		s.before(r)
	}
	user, password, _ := r.BasicAuth()
	switch {
	case user != "x-access-token" || password != fetchToken:
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
	case s.answer != nil:
		s.answer(w, r)
	default:
		s.backend(w, r)
	}
}

// backend lets git answer.
func (s *gitServer) backend(w http.ResponseWriter, r *http.Request) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		s.t.Error(err)
	}
	backend := cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + filepath.Dir(s.work), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "REMOTE_USER=x"},
	}
	r.Header.Del("Authorization")
	backend.ServeHTTP(w, r)
}

// A stalling answer stops after some bytes and keeps the connection open.
type stalling struct {
	http.ResponseWriter
	left int
	ctx  context.Context
}

func (w *stalling) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		w.ResponseWriter.(http.Flusher).Flush()
		<-w.ctx.Done()
	}
	return w.ResponseWriter.Write(p)
}

// taken returns the number of requests since the last call.
func (s *gitServer) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.requests)
	s.requests = nil
	return n
}

func (s *gitServer) remote() github.Remote {
	return github.Remote{URL: s.url, Token: checks.NewSecret(fetchToken)}
}

// mirror fetches spec.
func (s *gitServer) mirror(spec github.FetchSpec) *github.Mirror {
	s.t.Helper()
	m, err := github.Fetch(s.t.Context(), s.remote(), filepath.Join(s.t.TempDir(), "mirror"), spec, github.FetchLimits{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { m.Close() })
	return m
}

// leakedKey is a token-shaped text that the rules find.
func leakedKey(t *testing.T, seed byte) string {
	t.Helper()
	text, err := rules.Expand("ghp_{30:base62}{crc32}", rand.NewChaCha8([32]byte{seed}))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func scanMirror(t *testing.T, m *github.Mirror) git.Result {
	t.Helper()
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	s, err := checks.NewScanner(catalogue, bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	result, err := m.Repository().Scan(t.Context(), m.Range(), s, m.FetchBlobs)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// missingObjects counts the objects of the range that the mirror does not have.
func missingObjects(t *testing.T, m *github.Mirror) int {
	t.Helper()
	cmd := git.Command(t.Context(), m.Repository().Dir(), "rev-list", "--objects", "--missing=print", m.Range().Tip)
	out, err := git.Run(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count("\n"+string(out), "\n?")
}

func TestFetchIsBloblessAndInBatches(t *testing.T) {
	s := newGitServer(t)
	files := func(prefix string) (pairs []string) {
		for i := range 50 {
			pairs = append(pairs, fmt.Sprintf("f%02d", i), fmt.Sprintf("%s %d\n", prefix, i))
		}
		return pairs
	}
	base := s.commit("one", files("old")...)
	s.commit("two", append(files("new"), "leak", "key = "+leakedKey(t, 1)+"\n")...)
	tip := s.commit("three", "leak", "nothing\n")

	m := s.mirror(github.FetchSpec{Tip: tip, Bases: []string{base, strings.Repeat("0", 40)}})
	if diff := cmp.Diff(git.Range{Bases: []string{base}, Tip: tip}, m.Range()); diff != "" {
		t.Errorf("range (-want +got):\n%s", diff)
	}
	if n := s.taken(); n > 2 {
		t.Errorf("the history took %d requests, want the greeting and one fetch", n)
	}
	const blobs = 50 + 50 + 2
	if n := missingObjects(t, m); n != blobs {
		t.Errorf("%d objects are missing, want all %d files", n, blobs)
	}
	result := scanMirror(t, m)
	if len(result.Findings) != 1 || result.Findings[0].InTip || !result.Coverage.Complete() || result.Coverage.Blobs != 52 {
		t.Errorf("%d findings, coverage %+v", len(result.Findings), result.Coverage)
	}
	// The commit with the leak is compared with what its other files were before.
	if n := s.taken(); n > 4 {
		t.Errorf("102 files took %d requests, want two batches", n)
	}
}

// Reading what is missing must not connect, however git comes to read it.
func TestMirrorNeverFetchesLazily(t *testing.T) {
	s := newGitServer(t)
	tip := s.commit("one", "a", "a\n", "b", "b\n")
	m := s.mirror(github.FetchSpec{Tip: tip})
	s.taken()
	blob := s.git("rev-parse", tip+":a")
	cmd := exec.Command("git", "cat-file", "-p", blob) // a git without our hardening
	cmd.Dir = m.Repository().Dir()
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("the file is there: %s", out)
	}
	if n := s.taken(); n != 0 {
		t.Errorf("%d requests", n)
	}
	if err := m.FetchBlobs(t.Context(), []string{blob}); err != nil {
		t.Error(err)
	}
	if missing := missingObjects(t, m); missing != 1 {
		t.Errorf("%d files are missing, want 1", missing)
	}
}

func TestFetchRefsAndTags(t *testing.T) {
	s := newGitServer(t)
	one := s.commit("one", "a", "a\n")
	s.git("tag", "-a", "-m", "tag", "v1")
	s.git("checkout", "-q", "-b", "fork")
	head := s.commit("two", "b", "b\n")
	s.git("update-ref", "refs/pull/7/head", head)
	s.git("checkout", "-q", "main")
	s.git("branch", "-qD", "fork")

	m := s.mirror(github.FetchSpec{Tip: "refs/pull/7/head", Bases: []string{"refs/heads/main"}})
	if diff := cmp.Diff(git.Range{Bases: []string{one}, Tip: head}, m.Range()); diff != "" {
		t.Errorf("pull request (-want +got):\n%s", diff)
	}
	// The mirror has refs now. The server must not conclude that it has their files.
	if err := m.FetchBlobs(t.Context(), []string{s.git("rev-parse", head+":b")}); err != nil || missingObjects(t, m) != 1 {
		t.Errorf("%d files are missing, want 1; error %v", missingObjects(t, m), err)
	}
	for _, tag := range []string{"refs/tags/v1", s.git("rev-parse", "refs/tags/v1")} {
		m := s.mirror(github.FetchSpec{Tip: tag})
		if got := m.Range().Tip; got != one {
			t.Errorf("tag %s is %s, want %s", tag, got, one)
		}
		if got, err := m.Resolve(t.Context(), tag); got != one || err != nil {
			t.Errorf("resolve %s: %s, %v", tag, got, err)
		}
		if _, err := m.Resolve(t.Context(), head); !errors.Is(err, github.ErrMissing) {
			t.Errorf("resolve what is missing: %v", err)
		}
	}
}

// A force-push leaves a base that no ref reaches, or one that is gone.
func TestFetchBases(t *testing.T) {
	s := newGitServer(t)
	root := s.commit("root", "a", "a\n")
	lost := s.commit("lost", "b", "b\n")
	s.git("reset", "-q", "--hard", root)
	tip := s.commit("new", "c", "c\n")
	gone := strings.Repeat("ab", 20)
	m := s.mirror(github.FetchSpec{Tip: tip, Bases: []string{gone, lost, root, "refs/heads/none"}})
	if diff := cmp.Diff(git.Range{Bases: []string{lost, root}, Tip: tip}, m.Range()); diff != "" {
		t.Errorf("range (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{gone, "refs/heads/none"}, m.MissingBases()); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

func TestFetchBlobsLeavesOutWhatIsGone(t *testing.T) {
	s := newGitServer(t)
	tip := s.commit("one", "a", "a\n", "b", "b\n")
	m := s.mirror(github.FetchSpec{Tip: tip})
	ids := []string{strings.Repeat("ab", 20), s.git("rev-parse", tip+":a"), strings.Repeat("cd", 20), s.git("rev-parse", tip+":b")}
	if err := m.FetchBlobs(t.Context(), ids); err != nil {
		t.Error(err)
	}
	if n := missingObjects(t, m); n != 0 {
		t.Errorf("%d files are missing", n)
	}
	var many []string
	for i := range 20 {
		many = append(many, fmt.Sprintf("%040x", i+1))
	}
	if err := m.FetchBlobs(t.Context(), many); !errors.Is(err, github.ErrMissing) {
		t.Errorf("20 missing files: %v", err)
	}
	if err := m.FetchBlobs(t.Context(), []string{"--upload-pack=x"}); err == nil {
		t.Error("an option for an id: no error")
	}
}

func TestFetchSHA256(t *testing.T) {
	s := newGitServer(t, "--object-format=sha256")
	tip := s.commit("one", "a", leakedKey(t, 1)+"\n")
	result := scanMirror(t, s.mirror(github.FetchSpec{Tip: tip}))
	if len(result.Findings) != 1 || result.Findings[0].Commit != tip || len(tip) != 64 {
		t.Errorf("%d findings, coverage %+v", len(result.Findings), result.Coverage)
	}
}

func TestFetchErrors(t *testing.T) {
	s := newGitServer(t)
	tip := s.commit("one", "a", "a\n")
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
	}
	elsewhere := newGitServer(t)
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.url+strings.TrimPrefix(r.URL.String(), "/shop.git"), http.StatusMovedPermanently)
	}
	good := s.remote()
	for name, test := range map[string]struct {
		remote github.Remote
		tip    string
		answer http.HandlerFunc
		want   error
	}{
		"no such commit": {good, strings.Repeat("ab", 20), nil, github.ErrMissing},
		"no such ref":    {good, "refs/heads/none", nil, github.ErrMissing},
		"no repository":  {github.Remote{URL: s.url + "x", Token: good.Token}, tip, nil, github.ErrNotFound},
		"404":            {good, tip, status(404), github.ErrNotFound},
		"no token":       {github.Remote{URL: s.url}, tip, nil, github.ErrUnauthorized},
		"another token":  {github.Remote{URL: s.url, Token: checks.NewSecret("wrong-0123456789")}, tip, nil, github.ErrUnauthorized},
		"403":            {good, tip, status(403), github.ErrForbidden},
		"redirected":     {good, tip, redirect, github.ErrRedirected},
	} {
		t.Run(name, func(t *testing.T) {
			s.mu.Lock()
			s.answer = test.answer
			s.mu.Unlock()
			dir := filepath.Join(t.TempDir(), "mirror")
			_, err := github.Fetch(t.Context(), test.remote, dir, github.FetchSpec{Tip: test.tip}, github.FetchLimits{})
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if strings.Contains(fmt.Sprint(err), "0123456789") {
				t.Error("the error shows the token")
			}
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Error("the folder is left behind")
			}
		})
	}
	if n := elsewhere.taken(); n != 0 {
		t.Errorf("the redirect was followed: %d requests", n)
	}
	s.answer = status(http.StatusTooManyRequests)
	var limited *github.RateLimited
	if _, err := github.Fetch(t.Context(), good, t.TempDir(), github.FetchSpec{Tip: tip}, github.FetchLimits{}); !errors.As(err, &limited) || limited.RetryAfter <= 0 {
		t.Errorf("429: %v", err)
	}
}

func TestFetchRefuses(t *testing.T) {
	id := strings.Repeat("ab", 20)
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ url, dir, tip string }{
		"another protocol":      {"ext::sh -c evil", "", id},
		"a local path":          {"/etc", "", id},
		"ssh":                   {"ssh://host/x", "", id},
		"credentials":           {"https://user:" + fetchToken + "@127.0.0.1:1/x", "", id},
		"not a URL":             {"https://user:" + fetchToken + "@[::1/x", "", id},
		"an option":             {"http://127.0.0.1:1/x", "", "--upload-pack=evil"},
		"a branch's short name": {"http://127.0.0.1:1/x", "", "main"},
		"a refspec":             {"http://127.0.0.1:1/x", "", "refs/heads/a:refs/heads/b"},
		"two lines":             {"http://127.0.0.1:1/x", "", "refs/heads/a\nrefs/heads/b"},
		"a full folder":         {"http://127.0.0.1:1/x", full, id},
	} {
		dir := test.dir
		if dir == "" {
			dir = filepath.Join(t.TempDir(), "mirror")
		}
		_, err := github.Fetch(t.Context(), github.Remote{URL: test.url}, dir, github.FetchSpec{Tip: test.tip}, github.FetchLimits{})
		if err == nil || strings.Contains(err.Error(), fetchToken) || strings.Contains(err.Error(), "unable to access") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(full, "precious")); err != nil {
		t.Error("somebody's file was wiped")
	}
}

// While git runs, its arguments can be read by everybody on the machine; what it
// writes stays on disk.
func TestTokenStaysInTheEnvironment(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("this system has no /proc")
	}
	s := newGitServer(t)
	tip := s.commit("one", "a", "a\n")
	forms := []string{fetchToken, base64.StdEncoding.EncodeToString([]byte("x-access-token:" + fetchToken))}
	seen := 0
	s.before = func(*http.Request) {
		processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, path := range processes {
			line, _ := os.ReadFile(path) // it may have ended
			if bytes.Contains(line, []byte("remote-http")) {
				seen++
			}
			for _, form := range forms {
				if bytes.Contains(line, []byte(form)) {
					t.Errorf("a command line shows the token")
				}
			}
		}
	}
	m := s.mirror(github.FetchSpec{Tip: tip})
	if err := m.FetchBlobs(t.Context(), []string{s.git("rev-parse", tip+":a")}); err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("no git was seen at work")
	}
	dir := m.Repository().Dir()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, form := range append(forms, s.url) {
			if bytes.Contains(text, []byte(form)) {
				t.Errorf("%s holds the token or the server's address", path)
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files looked at, error %v", files, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Close leaves the mirror")
	}
}

func TestFetchSizeLimit(t *testing.T) {
	s := newGitServer(t)
	noise := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	tip := s.commit("one", "noise", string(noise))
	dir := filepath.Join(t.TempDir(), "mirror")
	m, err := github.Fetch(t.Context(), s.remote(), dir, github.FetchSpec{Tip: tip}, github.FetchLimits{Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err) // without its files the history is small
	}
	defer m.Close()
	if err := m.FetchBlobs(t.Context(), []string{s.git("rev-parse", tip+":noise")}); !errors.Is(err, github.ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
}

// A server that never ends its answer is cut off, by the limit or the deadline.
func TestFetchIsCutOff(t *testing.T) {
	s := newGitServer(t)
	noise := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	tip := s.commit("one", "noise", string(noise))
	s.git("config", "uploadpack.allowFilter", "false") // so that all files come
	s.answer = func(w http.ResponseWriter, r *http.Request) {
		s.backend(&stalling{w, 4 << 20, r.Context()}, r)
	}
	for name, test := range map[string]struct {
		limit   int64
		timeout time.Duration
		want    error
	}{
		"limit":    {1 << 20, 30 * time.Second, github.ErrTooLarge},
		"deadline": {0, time.Second, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
			defer cancel()
			dir := filepath.Join(t.TempDir(), "mirror")
			_, err := github.Fetch(ctx, s.remote(), dir, github.FetchSpec{Tip: tip}, github.FetchLimits{Bytes: test.limit})
			if !errors.Is(err, test.want) || ctx.Err() != nil != (name == "deadline") {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Error("the folder is left behind")
			}
		})
	}
}
