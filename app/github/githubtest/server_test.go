package githubtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stanch-dev/stanch/app/github/githubtest/openapi"
)

// description loads GitHub's API description once for all tests; nil when the
// environment names none, which TestDescription judges.
var description = sync.OnceValues(func() (*openapi.Validator, error) {
	path := os.Getenv(openapi.Variable)
	if path == "" {
		return nil, nil
	}
	return openapi.Load(path)
})

// TestDescription says whether the other tests were judged: without the
// description start judges nothing.
func TestDescription(t *testing.T) {
	openapi.Path(t)
	if _, err := description(); err != nil {
		t.Error(err)
	}
}

// start runs a simulated GitHub. At the test's end nothing that went in or out
// may have broken GitHub's description of its API and of its webhooks.
func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	loaded, err := description()
	if err != nil {
		t.Fatal(err)
	}
	if loaded == nil {
		return startLoose(t, cfg)
	}
	v := loaded.Fresh()
	cfg.Wrap = v.Middleware
	s := startLoose(t, cfg)
	t.Cleanup(func() {
		for _, violation := range v.Violations() {
			t.Error(violation)
		}
		for _, d := range s.Deliveries() {
			if err := v.Webhook(d.Event, d.Action, d.Payload); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// startLoose is start for tests that break the rules on purpose.
func startLoose(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Dir = t.TempDir()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A workTree is somebody's clone.
type workTree struct {
	t   *testing.T
	dir string
}

func clone(t *testing.T, url string) workTree {
	t.Helper()
	w := workTree{t, filepath.Join(t.TempDir(), "clone")}
	git(t, "", "clone", "-q", url, w.dir)
	return w
}

func (w workTree) git(args ...string) string {
	w.t.Helper()
	return git(w.t, w.dir, args...)
}

func (w workTree) commit(path, content string) string {
	w.t.Helper()
	file := filepath.Join(w.dir, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.git("add", "-A")
	w.git("commit", "-q", "-m", "change "+path)
	return w.head()
}

func (w workTree) head() string { return strings.TrimSpace(w.git("rev-parse", "HEAD")) }

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := runGit(dir, args...)
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}

func runGit(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_TERMINAL_PROMPT=0", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestClonePush(t *testing.T) {
	s := start(t, Config{})
	repo, err := s.CreateRepository("acme", "shop", RepoOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := clone(t, s.CloneURL(repo))
	first := w.commit("a.txt", "one\n")
	w.git("push", "-q", "origin", "HEAD:main")
	big := w.commit("big.bin", strings.Repeat("0123456789abcdef\n", 400_000)) // sent in chunks when compressed badly
	w.git("-c", "http.postBuffer=65536", "-c", "core.compression=0", "push", "-q", "origin", "HEAD:main")
	got := s.Pushes()
	if len(got) != 2 || got[0].After != first || got[1].Before != first || got[1].After != big {
		t.Errorf("pushes = %+v, want %s, then %s", got, first, big)
	}
	again := clone(t, s.CloneURL(repo))
	if again.head() != big {
		t.Errorf("a new clone is at %s, want %s", again.head(), big)
	}
}
