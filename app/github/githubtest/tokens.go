package githubtest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/stanch-dev/stanch/rules"
)

// InstallationTokenLife is how long an installation's token works
// (REST API, "Create an installation access token for an app").
const InstallationTokenLife = time.Hour

// statelessLength is about how long an installation token of the new kind is
// (GitHub changelog, 2026-05-15).
const statelessLength = 520

// A Kind is a kind of token, named by its prefix.
type Kind string

// The kinds of users' tokens.
const (
	ClassicToken     Kind = "ghp"        // personal access token (classic)
	FineGrainedToken Kind = "github_pat" // fine-grained personal access token
	OAuthToken       Kind = "gho"        // OAuth App's user token
	UserToServer     Kind = "ghu"        // GitHub App's user token
	RefreshToken     Kind = "ghr"        // GitHub App's refresh token
)

// shapes are the templates of tokens by kind; see rules.Expand.
var shapes = map[Kind]string{
	ClassicToken:     "ghp_{30:base62}{crc32}",
	FineGrainedToken: "github_pat_{22:base62}_{59:base62}",
	OAuthToken:       "gho_{30:base62}{crc32}",
	UserToServer:     "ghu_{30:base62}{crc32}",
	RefreshToken:     "ghr_{70:base62}{crc32}",
}

// installationShape is the template of an installation's token of the old kind.
const installationShape = "ghs_{30:base62}{crc32}"

// A token is a credential that the simulated GitHub handed out.
type token struct {
	value        string
	kind         Kind
	user         *account      // whose, unless it is an installation's
	installation *installation // whose, unless it is a user's
	client       *app          // to which it was given for the user, if it was
	repositories map[int64]bool
	permissions  map[string]string
	expires      time.Time // zero for never
	dead         bool
}

func (t *token) live(now time.Time) bool {
	return t != nil && !t.dead && (t.expires.IsZero() || now.Before(t.expires))
}

// scopes are what X-OAuth-Scopes says of a token; only classic and OAuth
// tokens have any.
func (t *token) scopes() string {
	switch t.kind {
	case ClassicToken, OAuthToken:
		return "repo, workflow"
	}
	return ""
}

// IssueToken makes a live token for a person, whose account it makes if need be.
func (s *Server) IssueToken(login string, kind Kind) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issue(s.account(login, "User"), kind)
}

func (s *Server) issue(user *account, kind Kind) (string, error) {
	shape, ok := shapes[kind]
	if !ok {
		return "", fmt.Errorf("issue a token: no kind %q", kind)
	}
	value, err := rules.Expand(shape, rand.Reader)
	if err != nil {
		return "", fmt.Errorf("issue a token of kind %s: %w", kind, err)
	}
	s.tokens[value] = &token{value: value, kind: kind, user: user}
	return value, nil
}

// TokenLive reports whether a token, of a user or of an installation, works now.
func (s *Server) TokenLive(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens[value].live(s.now())
}

// LiveTokens counts a person's tokens that work now.
func (s *Server) LiveTokens(login string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, t := range s.tokens {
		if t.user != nil && key(t.user.login) == key(login) && t.live(s.now()) {
			n++
		}
	}
	return n
}

// KillToken ends a token at once, as its owner does in GitHub's settings.
func (s *Server) KillToken(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tokens[value]; t != nil {
		t.dead = true
	}
}

// newInstallationToken makes the text of an installation's token.
func (s *Server) newInstallationToken(appID int64) (string, error) {
	if !s.cfg.StatelessTokens {
		return rules.Expand(installationShape, rand.Reader)
	}
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","typ":"JWT"}`))
	prefix := fmt.Sprintf("ghs_%d_%s.", appID, head)
	body := make([]byte, (statelessLength-len(prefix)-87)*3/4)
	signature := make([]byte, 64)
	for _, part := range [][]byte{body, signature} {
		if _, err := rand.Read(part); err != nil {
			return "", fmt.Errorf("read random bytes: %w", err)
		}
	}
	return prefix + base64.RawURLEncoding.EncodeToString(body) + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// revokeInstallationToken kills the token that it is called with.
func revokeInstallationToken(c *call) (int, any, error) {
	c.token.dead = true
	return http.StatusNoContent, nil, nil
}
