package githubtest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// RepoOptions says how a repository is made.
type RepoOptions struct {
	Private       bool
	DefaultBranch string // "main" when empty
	SHA256        bool   // git's newer object format
}

type repository struct {
	id            int64
	owner         *account
	name          string
	dir           string // the bare repository
	private       bool
	defaultBranch string
	parent        *repository // what it was forked from
	roles         map[string]role
	deleted       bool
	alerts        []*alert
	deployKeys    []DeployKey
	pulls         []*pull
	lastNumber    int
	created       time.Time
	pushed        time.Time

	// writing is held while somebody pushes, so that what a push changed can be
	// told from what it found.
	writing sync.Mutex
}

func (r *repository) fullName() string { return r.owner.login + "/" + r.name }

func (r *repository) nodeID() string { return fmt.Sprintf("R_%d", r.id) }

func byAge(a, b *repository) int { return int(a.id - b.id) }

// repository finds a repository by its full name.
func (s *Server) repository(name string) (*repository, error) {
	repo := s.repositories[key(name)]
	if repo == nil {
		return nil, fmt.Errorf("the simulated GitHub has no repository %s", name)
	}
	return repo, nil
}

// CreateRepository makes an empty repository, and its owner's account if need
// be, and returns its full name.
func (s *Server) CreateRepository(owner, name string, o RepoOptions) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.DefaultBranch == "" {
		o.DefaultBranch = "main"
	}
	repo := s.newRepository(s.account(owner, "User"), name, o)
	if s.repositories[key(repo.fullName())] != nil {
		return "", fmt.Errorf("create repository %s: it exists", repo.fullName())
	}
	if err := s.git.initialise(repo.dir, o.DefaultBranch, o.SHA256); err != nil {
		return "", err
	}
	s.repositories[key(repo.fullName())] = repo
	s.sendAbout(repo, "repository", object{"action": "created"})
	return repo.fullName(), nil
}

func (s *Server) newRepository(owner *account, name string, o RepoOptions) *repository {
	return &repository{
		id: s.nextID(), owner: owner, name: name,
		dir:     filepath.Join(s.git.dir, key(owner.login), key(name)+".git"),
		private: o.Private, defaultBranch: o.DefaultBranch,
		roles: map[string]role{}, created: s.now(), pushed: s.now(),
	}
}

// Fork copies a repository, with all its branches and tags, to another
// account and returns the copy's full name. The copy shares the objects that
// exist now.
func (s *Server) Fork(repository, owner string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parent, err := s.repository(repository)
	if err != nil {
		return "", err
	}
	fork := s.newRepository(s.account(owner, "User"), parent.name,
		RepoOptions{Private: parent.private, DefaultBranch: parent.defaultBranch})
	if s.repositories[key(fork.fullName())] != nil {
		return "", fmt.Errorf("fork %s to %s: it exists", repository, owner)
	}
	fork.parent = parent
	if err := s.git.fork(parent.dir, fork.dir); err != nil {
		return "", err
	}
	s.repositories[key(fork.fullName())] = fork
	return fork.fullName(), nil
}

// CloneURL is the address to clone a repository from and to push to.
func (s *Server) CloneURL(repository string) string { return s.web("/%s.git", repository) }

// RepositoryDir is the bare repository itself, for a test that looks into it.
func (s *Server) RepositoryDir(repository string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return "", err
	}
	return repo.dir, nil
}

// repositoryLinks are the addresses below a repository's own, by field.
var repositoryLinks = map[string]string{
	"archive_url":       "/{archive_format}{/ref}",
	"assignees_url":     "/assignees{/user}",
	"blobs_url":         "/git/blobs{/sha}",
	"branches_url":      "/branches{/branch}",
	"collaborators_url": "/collaborators{/collaborator}",
	"comments_url":      "/comments{/number}",
	"commits_url":       "/commits{/sha}",
	"compare_url":       "/compare/{base}...{head}",
	"contents_url":      "/contents/{+path}",
	"contributors_url":  "/contributors",
	"deployments_url":   "/deployments",
	"downloads_url":     "/downloads",
	"events_url":        "/events",
	"forks_url":         "/forks",
	"git_commits_url":   "/git/commits{/sha}",
	"git_refs_url":      "/git/refs{/sha}",
	"git_tags_url":      "/git/tags{/sha}",
	"hooks_url":         "/hooks",
	"issue_comment_url": "/issues/comments{/number}",
	"issue_events_url":  "/issues/events{/number}",
	"issues_url":        "/issues{/number}",
	"keys_url":          "/keys{/key_id}",
	"labels_url":        "/labels{/name}",
	"languages_url":     "/languages",
	"merges_url":        "/merges",
	"milestones_url":    "/milestones{/number}",
	"notifications_url": "/notifications{?since,all,participating}",
	"pulls_url":         "/pulls{/number}",
	"releases_url":      "/releases{/id}",
	"stargazers_url":    "/stargazers",
	"statuses_url":      "/statuses/{sha}",
	"subscribers_url":   "/subscribers",
	"subscription_url":  "/subscription",
	"tags_url":          "/tags",
	"teams_url":         "/teams",
	"trees_url":         "/git/trees{/sha}",
}

// json is the repository as the API and the webhooks show it.
func (r *repository) json(s *Server) object {
	at, html := s.api("/repos/%s", r.fullName()), s.web("/%s", r.fullName())
	answer := object{
		"id": r.id, "node_id": r.nodeID(), "name": r.name, "full_name": r.fullName(),
		"owner": r.owner.simple(s), "private": r.private, "visibility": r.visibility(),
		"html_url": html, "url": at, "description": nil, "fork": r.parent != nil,
		"clone_url": html + ".git", "git_url": "git:" + strings.TrimPrefix(html, "http:") + ".git",
		"ssh_url": "git@127.0.0.1:" + r.fullName() + ".git", "svn_url": html, "mirror_url": nil,
		"homepage": nil, "language": nil, "license": nil, "topics": []string{}, "size": 0,
		"forks": 0, "forks_count": 0, "stargazers_count": 0, "watchers": 0, "watchers_count": 0,
		"open_issues": len(r.pulls), "open_issues_count": len(r.pulls), "default_branch": r.defaultBranch,
		"has_issues": true, "has_projects": false, "has_wiki": false, "has_pages": false,
		"has_downloads": false, "has_discussions": false, "is_template": false,
		"archived": false, "disabled": false, "allow_forking": true, "web_commit_signoff_required": false,
		"created_at": stamp(r.created), "updated_at": stamp(r.pushed), "pushed_at": stamp(r.pushed),
	}
	for field, path := range repositoryLinks {
		answer[field] = at + path
	}
	return answer
}

func (r *repository) visibility() string {
	if r.private {
		return "private"
	}
	return "public"
}

func showRepository(c *call) (int, any, error) {
	answer := c.repo.json(c.Server)
	answer["network_count"], answer["subscribers_count"] = 0, 0
	if c.repo.parent != nil {
		parent := c.repo.parent.json(c.Server)
		answer["parent"], answer["source"] = parent, parent
	}
	return http.StatusOK, answer, nil
}

// maxContents is the size up to which the contents of a file are embedded
// (REST API, "Get repository content").
const maxContents = 1 << 20

// showContents answers with a file of a commit.
func showContents(c *call) (int, any, error) {
	path, ref := c.PathValue("path"), c.query().Get("ref")
	if ref == "" {
		ref = c.repo.defaultBranch
	}
	sha, data, err := c.git.file(c.repo.dir, ref, path)
	switch {
	case errors.Is(err, errNoFile):
		return 0, nil, errNotFound
	case err != nil:
		return 0, nil, err
	case len(data) > maxContents:
		return 0, nil, &apiError{Status: http.StatusForbidden, Message: "This API returns blobs up to 1 MB in size."}
	}
	self := c.api("/repos/%s/contents/%s?ref=%s", c.repo.fullName(), path, ref)
	blob := c.api("/repos/%s/git/blobs/%s", c.repo.fullName(), sha)
	html := c.web("/%s/blob/%s/%s", c.repo.fullName(), ref, path)
	return http.StatusOK, object{
		"type": "file", "encoding": "base64", "size": len(data), "name": filepath.Base(path), "path": path,
		"content": base64.StdEncoding.EncodeToString(data), "sha": sha, "url": self, "git_url": blob,
		"html_url": html, "download_url": c.web("/%s/raw/%s/%s", c.repo.fullName(), ref, path),
		"_links": object{"self": self, "git": blob, "html": html},
	}, nil
}
