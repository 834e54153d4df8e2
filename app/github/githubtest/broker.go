package githubtest

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
)

// A broker issues replacements for users' tokens, which GitHub's own API does
// not. It stands for the service that an operator of Stanch runs.
type broker struct {
	token  string
	issued map[string]string // by Idempotency-Key
}

func newBroker() broker {
	return broker{token: rand.Text(), issued: map[string]string{}}
}

// BrokerURL is the address of the token broker.
func (s *Server) BrokerURL() string { return s.web("/broker") }

// BrokerToken is what the token broker wants to see in Authorization.
func (s *Server) BrokerToken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broker.token
}

// brokerKinds says which kind of token is issued for which rule of the
// catalogue.
var brokerKinds = map[string]Kind{
	"github-pat":              ClassicToken,
	"github-fine-grained-pat": FineGrainedToken,
	"github-oauth-token":      OAuthToken,
	"github-app-user-token":   UserToServer,
	"github-refresh-token":    RefreshToken,
}

// brokerRequest is what the broker is asked.
type brokerRequest struct {
	Rule     string `json:"rule"`
	Provider string `json:"provider"`
	Identity struct {
		Login string `json:"login"`
	} `json:"identity"`
	Reason    string `json:"reason"`
	Operation string `json:"operation"`
}

func (s *Server) serveBroker(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err != nil {
		writeError(w, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	value, err := s.replacement(r, body)
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusCreated, object{"parts": object{"secret": value}})
}

// replacement issues a token, or finds the one that the same operation got.
func (s *Server) replacement(r *http.Request, body []byte) (string, error) {
	scheme, credential := bearer(r)
	if scheme != "bearer" || subtle.ConstantTimeCompare([]byte(credential), []byte(s.broker.token)) != 1 {
		return "", errBadCredentials
	}
	operation := r.Header.Get("Idempotency-Key")
	if operation == "" {
		return "", &apiError{Status: http.StatusBadRequest, Message: "Idempotency-Key is missing."}
	}
	if value := s.broker.issued[operation]; value != "" {
		return value, nil
	}
	var ask brokerRequest
	if err := json.Unmarshal(body, &ask); err != nil {
		return "", &apiError{Status: http.StatusBadRequest, Message: "Problems parsing JSON"}
	}
	kind, known := brokerKinds[ask.Rule]
	user := s.accounts[key(ask.Identity.Login)]
	switch {
	case !known || ask.Provider != "github":
		return "", invalid("No replacement can be issued for %s.", ask.Rule)
	case user == nil || user.kind != "User":
		return "", &apiError{Status: http.StatusNotFound, Message: fmt.Sprintf("There is no user %q.", ask.Identity.Login)}
	}
	value, err := s.issue(user, kind)
	if err != nil {
		return "", err
	}
	s.broker.issued[operation] = value
	return value, nil
}
