package github

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"golang.org/x/oauth2"

	"github.com/stanch-dev/stanch/checks"
)

// maxUser bounds what is read of the answer about a user, which is some kilobytes.
const maxUser = 1 << 20

// ErrSignIn means that GitHub did not say who signs in: the code was used or is too
// old, or the App's client id, secret or callback URL is wrong.
var ErrSignIn = errors.New("GitHub refuses the sign-in")

// A SignIn lets people show who they are on GitHub, by the web flow of the App
// itself. The token that it brings is used once, to ask whose it is, and then given
// back: what people may do is asked as the installation, as for buttons and commands.
//
// Source: https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app
type SignIn struct {
	app    *App
	config oauth2.Config // without the secret
	secret checks.Secret
	http   *http.Client
}

// SignIn returns the web flow of the App's client id and secret. GitHub sends
// people back to the callback URL, which the App's settings must name.
func (a *App) SignIn(clientID string, secret checks.Secret, callback string) *SignIn {
	return &SignIn{
		app: a, secret: secret,
		http: &http.Client{Transport: a.door, Timeout: requestTimeout, CheckRedirect: checkRedirect},
		config: oauth2.Config{
			ClientID: clientID, RedirectURL: callback,
			Endpoint: oauth2.Endpoint{
				AuthURL:   a.web.JoinPath("login/oauth/authorize").String(),
				TokenURL:  a.web.JoinPath("login/oauth/access_token").String(),
				AuthStyle: oauth2.AuthStyleInParams,
			},
		},
	}
}

// NewVerifier makes a secret that ties the two halves of one sign-in together (PKCE).
func NewVerifier() string { return oauth2.GenerateVerifier() }

// URL is where a browser goes to sign in. It comes back with state and a code.
func (s *SignIn) URL(state, verifier string) string {
	return s.config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
}

// Person asks GitHub who came back with a code.
func (s *SignIn) Person(ctx context.Context, code, verifier string) (Person, error) {
	config := s.config
	config.ClientSecret = s.secret.Expose()
	token, err := config.Exchange(context.WithValue(ctx, oauth2.HTTPClient, s.http), code, oauth2.VerifierOption(verifier))
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused):
		// Its own text may repeat what was sent.
		return Person{}, fmt.Errorf("%w: %s", ErrSignIn, refusalOf(refused))
	case err != nil:
		return Person{}, fmt.Errorf("exchange the code of a sign-in: %w", err)
	}
	who, err := s.whose(ctx, token)
	if err := s.giveBack(ctx, token); err != nil {
		s.app.log.WarnContext(ctx, "a sign-in's token lives until GitHub ends it", "error", err)
	}
	return who, err
}

// refusalOf is GitHub's word for what is wrong, if it is one.
func refusalOf(e *oauth2.RetrieveError) string {
	if pathElement.MatchString(e.ErrorCode) {
		return e.ErrorCode
	}
	return "status " + e.Response.Status
}

// whose asks whom a user's token belongs to.
func (s *SignIn) whose(ctx context.Context, token *oauth2.Token) (who Person, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.app.api.JoinPath("user").String(), nil)
	if err != nil {
		return Person{}, err
	}
	token.SetAuthHeader(req)
	resp, err := s.http.Do(req)
	if err != nil {
		return Person{}, fmt.Errorf("ask who signs in: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Person{}, fmt.Errorf("ask who signs in: %w", classifyResponse(resp, fmt.Errorf("%w: status %s", ErrSignIn, resp.Status)))
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxUser)).Decode(&who); err != nil || who.ID == 0 || who.Login == "" {
		return Person{}, fmt.Errorf("%w: the answer names nobody", ErrSignIn)
	}
	return who, nil
}

// giveBack ends a user's token, which has done all that it is for.
func (s *SignIn) giveBack(ctx context.Context, token *oauth2.Token) error {
	body, err := json.Marshal(map[string]string{"access_token": token.AccessToken})
	if err != nil {
		return err
	}
	at := s.app.api.JoinPath("applications", url.PathEscape(s.config.ClientID), "token").String()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, at, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(s.config.ClientID, s.secret.Expose())
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("give back the token of a sign-in: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusNotFound {
		return fmt.Errorf("give back the token of a sign-in: status %s", resp.Status)
	}
	return nil
}
