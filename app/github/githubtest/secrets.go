package githubtest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/nacl/box"
)

// A secretBox is where secrets of one kind are: a repository's for Actions, for
// Dependabot or for an environment, or an organisation's. Whoever writes one seals it
// with the box's public key.
type secretBox struct {
	id              string
	public, private *[32]byte
	secrets         map[string]*secret // by name
}

// A secret is one that workflows can use. Selected are the repositories whose workflows
// can use an organisation's, if not all can.
type secret struct {
	name             string
	value            string
	created, updated time.Time
	visibility       string
	selected         []int64
	writes           int
}

// newKey gives a box another key pair.
func (b *secretBox) newKey(id int64) (err error) {
	b.id = fmt.Sprintf("%018d", id)
	b.public, b.private, err = box.GenerateKey(rand.Reader)
	return err
}

// secretPlace takes OWNER/REPO:actions:NAME and its like apart.
func secretPlace(text string) (where, name string) {
	at := strings.LastIndex(text, ":")
	return key(text[:max(at, 0)]), strings.ToUpper(text[at+1:])
}

// SetSecret makes a secret, as its owners do in GitHub's settings: OWNER/REPO:actions:NAME,
// OWNER/REPO:dependabot:NAME, OWNER/REPO:env/ENVIRONMENT:NAME or ORGANISATION:actions:NAME.
// One of an organisation is for the repositories that are named, or for all.
func (s *Server) SetSecret(place, value string, repositories ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	where, name := secretPlace(place)
	in, err := s.box(where)
	if err != nil {
		return err
	}
	made := &secret{name: name, value: value, created: s.now(), updated: s.now(), visibility: "all"}
	for _, full := range repositories {
		repo, err := s.repository(full)
		if err != nil {
			return err
		}
		made.visibility, made.selected = "selected", append(made.selected, repo.id)
	}
	in.secrets[name] = made
	return nil
}

// box is the box of a place, made when it is first asked for.
func (s *Server) box(where string) (*secretBox, error) {
	if b := s.secrets[where]; b != nil {
		return b, nil
	}
	b := &secretBox{secrets: map[string]*secret{}}
	s.secrets[where] = b
	return b, b.newKey(s.nextID())
}

// Secret is a secret's value, which the API shows to nobody, and how often it was
// written by the API.
func (s *Server) Secret(place string) (value string, writes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	where, name := secretPlace(place)
	if b := s.secrets[where]; b != nil && b.secrets[name] != nil {
		return b.secrets[name].value, b.secrets[name].writes
	}
	return "", 0
}

// SecretRepositories lists the repositories that an organisation's secret is for.
func (s *Server) SecretRepositories(place string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	where, name := secretPlace(place)
	var names []string
	for _, repo := range s.repositories {
		if b := s.secrets[where]; b != nil && b.secrets[name] != nil && slices.Contains(b.secrets[name].selected, repo.id) {
			names = append(names, repo.fullName())
		}
	}
	slices.Sort(names)
	return names
}

// RenewSecretKey gives the box of a secret another key pair. What was sealed with the
// old one is refused from then on.
func (s *Server) RenewSecretKey(place string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	where, _ := secretPlace(place)
	b, err := s.box(where)
	if err != nil {
		return err
	}
	return b.newKey(s.nextID())
}

// secretBox is the one that a call is about.
func (c *call) secretBox() (*secretBox, error) {
	switch environment, org := c.PathValue("environment"), c.PathValue("org"); {
	case org != "":
		if account := c.token.installation.account; account.kind != "Organization" || key(account.login) != key(org) {
			return nil, errNotFound
		}
		return c.box(key(org) + ":actions")
	case environment != "":
		if b := c.secrets[key(c.repo.fullName()+":env/"+environment)]; b != nil {
			return b, nil
		}
		return nil, errNotFound // environments are not made by asking for them
	case strings.Contains(c.Request.URL.Path, "/dependabot/"):
		return c.box(key(c.repo.fullName() + ":dependabot"))
	}
	return c.box(key(c.repo.fullName() + ":actions"))
}

func showSecretKey(c *call) (int, any, error) {
	b, err := c.secretBox()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{"key_id": b.id, "key": base64.StdEncoding.EncodeToString(b.public[:])}, nil
}

// secret is the one that a call names.
func (c *call) secret() (*secretBox, *secret, error) {
	b, err := c.secretBox()
	if err != nil {
		return nil, nil, err
	}
	return b, b.secrets[strings.ToUpper(c.PathValue("name"))], nil
}

func showSecret(c *call) (int, any, error) {
	_, found, err := c.secret()
	switch {
	case err != nil:
		return 0, nil, err
	case found == nil:
		return 0, nil, errNotFound
	}
	answer := object{"name": found.name, "created_at": stamp(found.created), "updated_at": stamp(found.updated)}
	if c.PathValue("org") != "" {
		answer["visibility"] = found.visibility
	}
	if found.visibility == "selected" {
		answer["selected_repositories_url"] = c.api("/orgs/%s/actions/secrets/%s/repositories", c.PathValue("org"), found.name)
	}
	return http.StatusOK, answer, nil
}

func listSecretRepositories(c *call) (int, any, error) {
	_, found, err := c.secret()
	switch {
	case err != nil:
		return 0, nil, err
	case found == nil:
		return 0, nil, errNotFound
	}
	list := slices.DeleteFunc(c.repositoriesFor(c.token.installation), func(r *repository) bool { return !slices.Contains(found.selected, r.id) })
	return http.StatusOK, object{
		"total_count": len(list), "repositories": each(page(c, list), func(r *repository) object { return r.json(c.Server) }),
	}, nil
}

// writeSecret answers PUT: what is not sealed with the key that is in force is refused.
func writeSecret(c *call) (int, any, error) {
	b, kept, err := c.secret()
	if err != nil {
		return 0, nil, err
	}
	var ask struct {
		Sealed     string  `json:"encrypted_value"`
		KeyID      string  `json:"key_id"`
		Visibility string  `json:"visibility"`
		Selected   []int64 `json:"selected_repository_ids"`
	}
	if err := c.decode(&ask); err != nil {
		return 0, nil, err
	}
	sealed, err := base64.StdEncoding.DecodeString(ask.Sealed)
	value, opened := box.OpenAnonymous(nil, sealed, b.public, b.private)
	switch {
	case ask.KeyID != b.id:
		return 0, nil, invalid("Invalid request.\n\nThe key_id is not that of the current public key.")
	case err != nil || !opened:
		return 0, nil, invalid("Bad request - failed to decrypt the encrypted value.")
	case c.PathValue("org") != "" && !slices.Contains([]string{"all", "private", "selected"}, ask.Visibility):
		return 0, nil, invalid("Invalid request.\n\n\"visibility\" wasn't supplied.")
	}
	status, answer := http.StatusNoContent, any(nil)
	if kept == nil {
		status, answer = http.StatusCreated, object{}
		kept = &secret{name: strings.ToUpper(c.PathValue("name")), created: c.now()}
		b.secrets[kept.name] = kept
	}
	kept.value, kept.updated, kept.visibility, kept.selected = string(value), c.now(), ask.Visibility, ask.Selected
	kept.writes++
	return status, answer, nil
}
