package githubtest

import (
	"net/http"
	"strings"
	"time"
)

// Limits of revoking tokens (REST API, "Revoke a list of credentials").
const (
	// MaxRevocations is how many tokens one request may name.
	MaxRevocations = 1000
	// RevocationsPerHour is how many requests GitHub answers each hour; see
	// Config.RevocationLimit.
	RevocationsPerHour = 60
)

// revocable are the prefixes of tokens that anybody may revoke.
var revocable = []string{"ghp_", "github_pat_", "gho_", "ghu_", "ghr_"}

// revokeCredentials answers POST /credentials/revoke: whoever holds a token
// may end it, without saying who he is.
func revokeCredentials(c *call) (int, any, error) {
	if c.cfg.Enterprise {
		return 0, nil, errNotFound
	}
	if !c.quotaOf("revoke", c.cfg.RevocationLimit).take(c.now()) {
		return 0, nil, &apiError{Status: http.StatusForbidden, Message: "API rate limit exceeded for 127.0.0.1."}
	}
	var ask struct {
		Credentials []string `json:"credentials"`
	}
	if err := c.decode(&ask); err != nil {
		return 0, nil, err
	}
	if n := len(ask.Credentials); n < 1 || n > MaxRevocations {
		return 0, nil, invalid("Invalid request.\n\ncredentials must have between 1 and 1000 items; %d were supplied.", n)
	}
	for _, value := range ask.Credentials {
		if !hasPrefix(value, revocable) {
			return 0, nil, invalid("Invalid request.\n\nA credential is of a type that cannot be revoked.")
		}
	}
	c.kill(ask.Credentials)
	return http.StatusAccepted, object{}, nil
}

func hasPrefix(s string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// kill ends tokens, after the time that a revocation takes.
func (s *Server) kill(values []string) {
	if s.cfg.RevocationDelay <= 0 {
		s.end(values)
		return
	}
	s.work.Go(func() {
		select {
		case <-s.stop:
			return
		case <-time.After(s.cfg.RevocationDelay):
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end(values)
	})
}

func (s *Server) end(values []string) {
	for _, value := range values {
		if t := s.tokens[value]; t != nil {
			t.dead = true
		}
	}
}
