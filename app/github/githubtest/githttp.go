package githubtest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"strings"
)

// serveGit serves git's smart HTTP protocol by git's own server.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("owner") + "/" + strings.TrimSuffix(r.PathValue("repo"), ".git")
	push := strings.HasSuffix(r.URL.Path, "/git-receive-pack") || r.URL.Query().Get("service") == "git-receive-pack"
	repo, pusher, status := s.admitGit(r, name, push)
	if status != http.StatusOK {
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		http.Error(w, gitRefusals[status], status)
		return
	}
	if push && r.Method == http.MethodPost {
		s.receive(w, r, repo, pusher)
		return
	}
	if !push && r.Header.Get("Git-Protocol") == "version=2" {
		s.serveFetch(w, r, repo)
		return
	}
	s.backend(w, r, repo)
}

// gitRefusals are what git shows to people.
var gitRefusals = map[int]string{
	http.StatusUnauthorized: "Authentication failed.",
	http.StatusForbidden:    "Write access to repository not granted.",
	http.StatusNotFound:     "Repository not found.",
}

// admitGit says which repository a git client means, who it is, and whether it
// may.
func (s *Server) admitGit(r *http.Request, name string, push bool) (*repository, *account, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, password, given := r.BasicAuth()
	t := s.tokens[password]
	if given && !t.live(s.now()) {
		return nil, nil, http.StatusUnauthorized
	}
	if !given {
		t = nil
	}
	repo := s.repositories[key(name)]
	anybody := t == nil && s.cfg.AnonymousFetch
	if repo == nil || !anybody && !t.mayFetch(repo) {
		if given {
			return nil, nil, http.StatusNotFound
		}
		return nil, nil, http.StatusUnauthorized // GitHub asks before it denies that there is one
	}
	if !push {
		return repo, nil, http.StatusOK
	}
	pusher, status := s.pusher(t, repo)
	return repo, pusher, status
}

// mayFetch reports whether the bearer of a token, or of none, may clone.
func (t *token) mayFetch(repo *repository) bool {
	switch {
	case t == nil:
		return !repo.private
	case t.user != nil:
		return repo.permissionOf(t.user.login) != "none"
	}
	return t.reaches(repo) && t.permissions["contents"] != ""
}

// pusher says who pushes: the token's owner, or the repository's when anybody
// may.
func (s *Server) pusher(t *token, repo *repository) (*account, int) {
	switch {
	case t == nil && s.cfg.PushNeedsToken:
		return nil, http.StatusUnauthorized
	case t == nil:
		return repo.owner, http.StatusOK
	case t.user == nil:
		return nil, http.StatusForbidden // Stanch's App has contents:read alone
	}
	switch repo.permissionOf(t.user.login) {
	case "admin", "write":
		return t.user, http.StatusOK
	}
	return nil, http.StatusForbidden
}

// serveFetch serves what a client of git's protocol 2 asks without git http-backend,
// which would only start the program that is started here. What a repository can do
// never changes, and is asked once.
func (s *Server) serveFetch(w http.ResponseWriter, r *http.Request, repo *repository) {
	upload := func(out io.Writer, in io.Reader, args ...string) error {
		cmd := exec.CommandContext(r.Context(), "git", append([]string{"upload-pack", "--stateless-rpc"}, append(args, repo.dir)...)...)
		cmd.Dir, cmd.Env = s.git.dir, append(s.git.environment(), "GIT_PROTOCOL=version=2")
		cmd.Stdin, cmd.Stdout = in, out
		return cmd.Run()
	}
	w.Header().Set("Cache-Control", "no-cache")
	if r.Method == http.MethodGet {
		able, known := s.git.able.Load(repo.dir)
		if !known {
			var answer bytes.Buffer
			if err := upload(&answer, nil, "--http-backend-info-refs"); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			able = answer.Bytes()
			s.git.able.Store(repo.dir, able)
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		w.Write(able.([]byte)) // a client that went away is no concern of ours
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		plain, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = plain
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	if err := upload(w, body); err != nil { // the client is told by git itself
		s.log.Debug("git upload-pack", "repository", repo.fullName(), "error", err)
	}
}

// backend hands a request to git http-backend.
func (s *Server) backend(w http.ResponseWriter, r *http.Request, repo *repository) {
	body, err := whole(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer body.Close()
	request := r.Clone(r.Context())
	request.Body, request.TransferEncoding = body, nil
	service := strings.SplitN(r.URL.Path, "/", 4)[3] // what follows /owner/repo.git/
	request.URL.Path = strings.TrimPrefix(repo.dir, s.git.dir) + "/" + service
	request.ContentLength = body.size
	server := &cgi.Handler{
		Path: s.git.backend, Root: "/", Dir: s.git.dir, Stderr: io.Discard,
		Env: append(s.git.environment(),
			"GIT_PROJECT_ROOT="+s.git.dir, "GIT_HTTP_EXPORT_ALL=1",
			"GIT_PROTOCOL="+r.Header.Get("Git-Protocol"), "REMOTE_USER=git"),
	}
	server.ServeHTTP(w, request)
}

// A spool is a request's body in a file that goes away when it is closed.
type spool struct {
	*os.File
	size int64
}

// whole reads a body to its end. CGI needs to know its length, which git does
// not say of a large push.
func whole(r *http.Request) (*spool, error) {
	file, err := os.CreateTemp("", "githubtest-push-")
	if err != nil {
		return nil, fmt.Errorf("keep a request: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, fmt.Errorf("keep a request: %w", err)
	}
	size, err := io.Copy(file, r.Body)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("read a request: %w", err)
	}
	return &spool{file, size}, nil
}
