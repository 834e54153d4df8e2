package githubtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// An App is a registered GitHub App, with what its owner keeps secret.
type App struct {
	ID            int64
	Slug          string
	ClientID      string
	ClientSecret  string
	PrivateKeyPEM string
	WebhookSecret string
}

type app struct {
	id       int64
	name     string
	slug     string
	clientID string
	// clientSecret and callback are for people who sign in with the App.
	clientSecret string
	callback     string
	key          *rsa.PrivateKey
	created      time.Time
	bot          *account
	owner        *account
	hook         *hook
	// installed lists where the App is installed.
	installed   []*installation
	permissions map[string]string
}

// appPermissions are what every App here is given, and asks for, unless Allow says
// otherwise: Stanch's own list.
var appPermissions = map[string]string{
	"metadata": "read", "contents": "read", "checks": "write", "pull_requests": "write", "issues": "read",
	"merge_queues": "read", "secret_scanning_alerts": "write",
}

// appEvents are what every App here is subscribed to.
var appEvents = []string{"check_run", "check_suite", "issue_comment", "merge_group", "pull_request", "push", "repository", "secret_scanning_alert"}

var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

// CreateApp registers an App. Its webhook has a secret already and goes nowhere
// until SetWebhook.
func (s *Server) CreateApp(name string) (App, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return App{}, fmt.Errorf("make the key of App %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	made := &app{
		id: s.nextID(), name: name, key: private, created: s.now(),
		slug:     strings.Trim(notSlug.ReplaceAllString(strings.ToLower(name), "-"), "-"),
		clientID: "Iv23" + rand.Text()[:16], clientSecret: randomHex(20),
		owner: s.account("app-owner", "User"), permissions: maps.Clone(appPermissions),
	}
	made.bot = s.account(made.slug+"[bot]", "Bot")
	made.hook = &hook{id: s.nextID(), secret: randomHex(20)}
	s.apps[made.id] = made
	s.work.Go(func() { s.deliverAll(made) })
	return App{
		ID: made.id, Slug: made.slug, ClientID: made.clientID, ClientSecret: made.clientSecret, WebhookSecret: made.hook.secret,
		PrivateKeyPEM: string(pem.EncodeToMemory(&pem.Block{
			Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private),
		})),
	}, nil
}

// Allow gives an App a permission more, such as "secrets" with the level "write", which
// all of its installations accept; without a level it is taken away.
func (s *Server) Allow(appID int64, permission, level string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[appID]
	if a == nil {
		return fmt.Errorf("give App %d a permission: there is no such App", appID)
	}
	a.permissions[permission] = level
	if level == "" {
		delete(a.permissions, permission)
	}
	return nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand stops the program instead
	return hex.EncodeToString(b)
}

// json is the App as the API shows it.
func (a *app) json(s *Server) object {
	return object{
		"id": a.id, "slug": a.slug, "node_id": fmt.Sprintf("A_%d", a.id), "client_id": a.clientID,
		"owner": a.owner.simple(s), "name": a.name, "description": nil,
		"external_url": s.web("/apps/%s", a.slug), "html_url": s.web("/apps/%s", a.slug),
		"created_at": stamp(a.created), "updated_at": stamp(a.created),
		"permissions": a.permissions, "events": appEvents,
	}
}

func showApp(c *call) (int, any, error) {
	answer := c.app.json(c.Server)
	answer["installations_count"] = len(c.app.installed)
	return http.StatusOK, answer, nil
}

// An installation is an App at an account.
type installation struct {
	id           int64
	app          *app
	account      *account
	repositories map[int64]bool // nil for all of the account's
	created      time.Time
	suspended    time.Time // zero while it is not
}

// Install installs an App at an account, for the repositories named, or for
// all when none is, and returns the installation's id.
func (s *Server) Install(appID int64, login string, repositories ...string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[appID]
	if a == nil {
		return 0, fmt.Errorf("install App %d: there is no such App", appID)
	}
	made := &installation{id: s.nextID(), app: a, account: s.account(login, "User"), created: s.now()}
	for _, name := range repositories {
		repo, err := s.repository(name)
		if err != nil {
			return 0, err
		}
		if made.repositories == nil {
			made.repositories = map[int64]bool{}
		}
		made.repositories[repo.id] = true
	}
	s.installations[made.id] = made
	a.installed = append(a.installed, made)
	s.sendInstallation(made, "created")
	return made.id, nil
}

// Installed is the number of an App's installation at an account, 0 without one.
func (s *Server) Installed(appID int64, login string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.installations {
		if i.app.id == appID && key(i.account.login) == key(login) {
			return i.id
		}
	}
	return 0
}

// Uninstall removes an installation; its tokens die.
func (s *Server) Uninstall(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := s.installations[id]
	if gone == nil {
		return
	}
	s.sendInstallation(gone, "deleted")
	delete(s.installations, id)
	gone.app.installed = slices.DeleteFunc(gone.app.installed, func(i *installation) bool { return i == gone })
	for _, t := range s.tokens {
		t.dead = t.dead || t.installation == gone
	}
}

func (s *Server) sendInstallation(i *installation, action string) {
	s.send(i.app, i, nil, "installation", object{
		"action": action, "installation": i.json(s), "sender": i.account.simple(s),
		"repositories": each(s.repositoriesFor(i), func(r *repository) object {
			return object{"id": r.id, "node_id": r.nodeID(), "name": r.name, "full_name": r.fullName(), "private": r.private}
		}),
	})
}

// has reports whether the App may see a repository.
func (i *installation) has(repo *repository) bool {
	return !repo.deleted && repo.owner == i.account && (i.repositories == nil || i.repositories[repo.id])
}

func (a *app) installedAt(repo *repository) *installation {
	for _, i := range a.installed {
		if i.has(repo) {
			return i
		}
	}
	return nil
}

func (i *installation) selection() string {
	if i.repositories == nil {
		return "all"
	}
	return "selected"
}

func (i *installation) json(s *Server) object {
	return object{
		"id": i.id, "account": i.account.simple(s), "repository_selection": i.selection(),
		"access_tokens_url": s.api("/app/installations/%d/access_tokens", i.id),
		"repositories_url":  s.api("/installation/repositories"),
		"html_url":          s.web("/settings/installations/%d", i.id),
		"app_id":            i.app.id, "client_id": i.app.clientID, "app_slug": i.app.slug,
		"target_id": i.account.id, "target_type": i.account.kind,
		"permissions": i.app.permissions, "events": appEvents,
		"created_at": stamp(i.created), "updated_at": stamp(i.created),
		"single_file_name": nil, "has_multiple_single_files": false, "single_file_paths": []string{},
		"suspended_by": nil, "suspended_at": stamp(i.suspended),
	}
}

func listInstallations(c *call) (int, any, error) {
	list := page(c, c.app.installed)
	return http.StatusOK, each(list, func(i *installation) object { return i.json(c.Server) }), nil
}

// ownInstallation is the calling App's installation that the path names.
func (c *call) ownInstallation() (*installation, error) {
	i := c.installations[c.id("id")]
	if i == nil || i.app != c.app {
		return nil, errNotFound
	}
	return i, nil
}

func showInstallation(c *call) (int, any, error) {
	i, err := c.ownInstallation()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, i.json(c.Server), nil
}

func showRepositoryInstallation(c *call) (int, any, error) {
	i := c.app.installedAt(c.repo)
	if i == nil {
		return 0, nil, errNotFound
	}
	return http.StatusOK, i.json(c.Server), nil
}

func showOrganizationInstallation(c *call) (int, any, error) {
	for _, i := range c.app.installed {
		if i.account.kind == "Organization" && key(i.account.login) == key(c.PathValue("org")) {
			return http.StatusOK, i.json(c.Server), nil
		}
	}
	return 0, nil, errNotFound
}

// repositoriesFor lists what an installation may see, in order of age.
func (s *Server) repositoriesFor(i *installation) []*repository {
	var list []*repository
	for _, repo := range s.repositories {
		if i.has(repo) {
			list = append(list, repo)
		}
	}
	slices.SortFunc(list, byAge)
	return list
}

func listInstallationRepositories(c *call) (int, any, error) {
	list := slices.DeleteFunc(c.repositoriesFor(c.token.installation), func(r *repository) bool { return !c.token.reaches(r) })
	return http.StatusOK, object{
		"total_count":          len(list),
		"repository_selection": c.token.installation.selection(),
		"repositories":         each(page(c, list), func(r *repository) object { return r.json(c.Server) }),
	}, nil
}

// maxTokenRepositories is how many repositories a token may be narrowed to
// (REST API, "Create an installation access token for an app").
const maxTokenRepositories = 500

func createInstallationToken(c *call) (int, any, error) {
	i, err := c.ownInstallation()
	if err != nil {
		return 0, nil, err
	}
	if !i.suspended.IsZero() {
		return 0, nil, &apiError{Status: http.StatusForbidden, Message: "This installation has been suspended"}
	}
	var ask struct {
		Repositories  []string          `json:"repositories"`
		RepositoryIDs []int64           `json:"repository_ids"`
		Permissions   map[string]string `json:"permissions"`
	}
	if err := c.decode(&ask); err != nil {
		return 0, nil, err
	}
	if len(ask.Repositories)+len(ask.RepositoryIDs) > maxTokenRepositories {
		return 0, nil, invalid("Too many repositories for installation.")
	}
	made := &token{installation: i, expires: c.now().Add(InstallationTokenLife)}
	if made.repositories, err = c.narrow(i, ask.Repositories, ask.RepositoryIDs); err != nil {
		return 0, nil, err
	}
	if made.permissions, err = c.app.narrow(ask.Permissions); err != nil {
		return 0, nil, err
	}
	if made.value, err = c.newInstallationToken(c.app.id); err != nil {
		return 0, nil, err
	}
	c.tokens[made.value] = made
	return http.StatusCreated, made.json(c.Server), nil
}

// json is an installation's token as it is handed out, once.
func (t *token) json(s *Server) object {
	answer := object{
		"token": t.value, "expires_at": stamp(t.expires),
		"permissions": t.permissions, "repository_selection": t.installation.selection(),
	}
	if t.repositories != nil {
		list := slices.DeleteFunc(s.repositoriesFor(t.installation), func(r *repository) bool { return !t.reaches(r) })
		answer["repository_selection"] = "selected"
		answer["repositories"] = each(list, func(r *repository) object { return r.json(s) })
	}
	return answer
}

// narrow is the set of repositories that a token is asked for; nil for all.
func (c *call) narrow(i *installation, names []string, ids []int64) (map[int64]bool, error) {
	if len(names)+len(ids) == 0 {
		return nil, nil
	}
	set := map[int64]bool{}
	for _, repo := range c.repositoriesFor(i) {
		if slices.Contains(ids, repo.id) || slices.Contains(names, repo.name) {
			set[repo.id] = true
		}
	}
	if len(set) < max(len(names), len(ids)) {
		return nil, invalid("There is at least one repository that does not exist or is not accessible to the parent installation.")
	}
	return set, nil
}

// narrow is what a token may do: what was asked for, never more than the App has.
func (a *app) narrow(ask map[string]string) (map[string]string, error) {
	if len(ask) == 0 {
		return maps.Clone(a.permissions), nil
	}
	for name, level := range ask {
		if granted := a.permissions[name]; granted != level && granted != "write" {
			return nil, invalid("The permissions requested are not granted to this installation.")
		}
	}
	granted := maps.Clone(ask)
	granted["metadata"] = "read"
	return granted, nil
}
