package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// An account is a person, an organisation or an App's bot.
type account struct {
	id      int64
	login   string
	kind    string // User, Organization or Bot
	created time.Time
	emails  []string // by which commits are known to be theirs
}

// CreateUser makes a person's account; one that exists stays as it is.
func (s *Server) CreateUser(login string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account(login, "User")
}

// CreateOrganization makes an organisation's account; one that exists stays as
// it is.
func (s *Server) CreateOrganization(login string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account(login, "Organization")
}

// SetEmail makes commits with an address an account's.
func (s *Server) SetEmail(login, email string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := s.account(login, "User")
	who.emails = append(who.emails, email)
}

// accountOf finds the account that an address of a commit belongs to; nil for
// nobody's.
func (s *Server) accountOf(email string) *account {
	for _, a := range s.accounts {
		if slices.ContainsFunc(a.emails, func(own string) bool { return key(own) == key(email) }) {
			return a
		}
	}
	return nil
}

// account finds an account, or makes one of that kind.
func (s *Server) account(login, kind string) *account {
	found := s.accounts[key(login)]
	if found == nil {
		found = &account{id: s.nextID(), login: login, kind: kind, created: s.now()}
		s.accounts[key(login)] = found
	}
	return found
}

// simple is the account as it stands in other resources.
func (a *account) simple(s *Server) object {
	at := s.api("/users/%s", a.login)
	return object{
		"login": a.login, "id": a.id, "node_id": fmt.Sprintf("U_%d", a.id),
		"avatar_url": s.web("/avatars/%d", a.id), "gravatar_id": "",
		"url": at, "html_url": s.web("/%s", a.login),
		"followers_url":       at + "/followers",
		"following_url":       at + "/following{/other_user}",
		"gists_url":           at + "/gists{/gist_id}",
		"starred_url":         at + "/starred{/owner}{/repo}",
		"subscriptions_url":   at + "/subscriptions",
		"organizations_url":   at + "/orgs",
		"repos_url":           at + "/repos",
		"events_url":          at + "/events{/privacy}",
		"received_events_url": at + "/received_events",
		"type":                a.kind, "site_admin": false, "user_view_type": "public",
	}
}

// organization is the account as webhooks carry it beside a repository; nil
// for a person.
func (a *account) organization(s *Server) object {
	if a.kind != "Organization" {
		return nil
	}
	at := s.api("/orgs/%s", a.login)
	return object{
		"login": a.login, "id": a.id, "node_id": fmt.Sprintf("O_%d", a.id),
		"url": at, "repos_url": at + "/repos", "events_url": at + "/events",
		"hooks_url": at + "/hooks", "issues_url": at + "/issues",
		"members_url":        at + "/members{/member}",
		"public_members_url": at + "/public_members{/member}",
		"avatar_url":         s.web("/avatars/%d", a.id), "description": nil,
	}
}

// private is the account as its owner sees it.
func (a *account) private(s *Server) object {
	user := a.simple(s)
	for field, value := range (object{
		"name": a.login, "company": nil, "blog": "", "location": nil,
		"email": a.login + "@users.noreply.example.com", "hireable": nil, "bio": nil,
		"twitter_username": nil, "public_repos": s.repositoriesOf(a, false), "public_gists": 0,
		"followers": 0, "following": 0, "created_at": stamp(a.created), "updated_at": stamp(a.created),
		"private_gists": 0, "total_private_repos": s.repositoriesOf(a, true),
		"owned_private_repos": s.repositoriesOf(a, true), "disk_usage": 0, "collaborators": 0,
		"two_factor_authentication": true, "user_view_type": "private",
	}) {
		user[field] = value
	}
	return user
}

func (s *Server) repositoriesOf(a *account, private bool) int {
	n := 0
	for _, repo := range s.repositories {
		if repo.owner == a && repo.private == private {
			n++
		}
	}
	return n
}

// showUser answers GET /user.
func showUser(c *call) (int, any, error) {
	if c.token.user == nil {
		return 0, nil, errNotAccessible
	}
	if scopes := c.token.scopes(); scopes != "" {
		c.header.Set("X-OAuth-Scopes", scopes)
		c.header.Set("X-Accepted-OAuth-Scopes", "")
	}
	if !c.token.expires.IsZero() {
		c.header.Set("GitHub-Authentication-Token-Expiration", c.token.expires.UTC().Format("2006-01-02 15:04:05 MST"))
	}
	return http.StatusOK, c.token.user.private(c.Server), nil
}

// A role is what a person may do with a repository: one of GitHub's roles, or one
// that the organisation named itself and that has a base among them.
type role struct{ name, base string }

// legacy is the role in the four words that GitHub's "permission" knows (REST API,
// "Get repository permissions for a user").
func (r role) legacy() string {
	switch r.base {
	case "maintain":
		return "write"
	case "triage":
		return "read"
	}
	return r.base
}

// SetPermission gives a person a role on a repository: admin, maintain, write,
// triage, read or none.
func (s *Server) SetPermission(repository, login, permission string) error {
	return s.SetRole(repository, login, permission, permission)
}

// SetRole gives a person a role that the organisation named itself, on top of one
// of GitHub's.
func (s *Server) SetRole(repository, login, name, base string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return err
	}
	switch base {
	case "admin", "maintain", "write", "triage", "read", "none":
	default:
		return fmt.Errorf("permission %q: want admin, maintain, write, triage, read or none", base)
	}
	repo.roles[key(s.account(login, "User").login)] = role{name, base}
	return nil
}

// roleOf is the role of a person in a repository.
func (r *repository) roleOf(login string) role {
	if set, ok := r.roles[key(login)]; ok {
		return set
	}
	switch {
	case key(r.owner.login) == key(login):
		return role{"admin", "admin"}
	case r.private:
		return role{"none", "none"}
	}
	return role{"read", "read"}
}

// permissionOf is what a person may do with a repository: admin, write, read or
// none.
func (r *repository) permissionOf(login string) string { return r.roleOf(login).legacy() }

// showPermission answers with a collaborator's permission.
func showPermission(c *call) (int, any, error) {
	user := c.accounts[key(c.PathValue("login"))]
	if user == nil {
		return 0, nil, errNotFound
	}
	held := c.repo.roleOf(user.login)
	least := func(roles ...string) bool { return slices.Contains(roles, held.base) }
	can := object{
		"pull": held.base != "none", "triage": least("triage", "write", "maintain", "admin"),
		"push": least("write", "maintain", "admin"), "maintain": least("maintain", "admin"), "admin": least("admin"),
	}
	person := user.simple(c.Server)
	person["permissions"], person["role_name"] = can, held.name
	return http.StatusOK, object{"permission": held.legacy(), "role_name": held.name, "user": person}, nil
}
