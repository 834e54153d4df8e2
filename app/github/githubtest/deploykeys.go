package githubtest

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// A DeployKey is one of a repository.
type DeployKey struct {
	ID       int64
	Title    string
	Key      string // as in authorized_keys, without a comment
	ReadOnly bool
	LastUsed time.Time // the zero Time for never
}

// SetDeployKey adds a key to a repository, as its owners do in GitHub's settings, and
// returns its id.
func (s *Server) SetDeployKey(repository string, k DeployKey) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return 0, err
	}
	k.ID = s.nextID()
	repo.deployKeys = append(repo.deployKeys, k)
	return k.ID, nil
}

// DeployKeys lists a repository's keys.
func (s *Server) DeployKeys(repository string) []DeployKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return nil
	}
	return slices.Clone(repo.deployKeys)
}

func (k DeployKey) json(c *call) object {
	return object{
		"id": k.ID, "key": k.Key, "title": k.Title, "read_only": k.ReadOnly, "verified": true, "created_at": stamp(c.repo.created),
		"url": c.api("/repos/%s/keys/%d", c.repo.fullName(), k.ID), "added_by": nil, "last_used": stamp(k.LastUsed), "enabled": true,
	}
}

func listDeployKeys(c *call) (int, any, error) {
	return http.StatusOK, each(page(c, c.repo.deployKeys), func(k DeployKey) object { return k.json(c) }), nil
}

// addDeployKey answers POST. One key opens one repository of all.
func addDeployKey(c *call) (int, any, error) {
	var ask struct {
		Title    string `json:"title"`
		Key      string `json:"key"`
		ReadOnly bool   `json:"read_only"`
	}
	if err := c.decode(&ask); err != nil {
		return 0, nil, err
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(ask.Key))
	if err != nil {
		return 0, nil, invalidField("PublicKey", "key", "key is invalid. You must supply a key in OpenSSH public key format")
	}
	made := DeployKey{ID: c.nextID(), Title: ask.Title, Key: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(parsed))), ReadOnly: ask.ReadOnly}
	for _, repo := range c.repositories {
		if slices.ContainsFunc(repo.deployKeys, func(k DeployKey) bool { return k.Key == made.Key }) {
			return 0, nil, invalidField("PublicKey", "key", "key is already in use")
		}
	}
	c.repo.deployKeys = append(c.repo.deployKeys, made)
	return http.StatusCreated, made.json(c), nil
}

func removeDeployKey(c *call) (int, any, error) {
	n := slices.IndexFunc(c.repo.deployKeys, func(k DeployKey) bool { return k.ID == c.id("id") })
	if n < 0 {
		return 0, nil, errNotFound
	}
	c.repo.deployKeys = slices.Delete(c.repo.deployKeys, n, n+1)
	return http.StatusNoContent, nil, nil
}
