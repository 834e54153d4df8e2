package githubtest

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Times of the web flow (GitHub Apps, "Generating a user access token for a GitHub
// App" and "Refreshing user access tokens").
const (
	codeLife         = 10 * time.Minute
	userTokenLife    = 8 * time.Hour
	refreshTokenLife = 15897600 * time.Second
)

// A grant is a code that a browser carries from GitHub to an App.
type grant struct {
	app       *app
	user      *account
	redirect  string // that the browser was sent with
	challenge string // of PKCE; empty without
	expires   time.Time
}

// oauth serves the web flow by which people show an App who they are.
func (s *Server) oauth(mux *http.ServeMux, page *template.Template) {
	mux.HandleFunc("POST /login/oauth/access_token", s.serveUserToken)
	mux.HandleFunc("GET /login/oauth/authorize", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		asked, err := s.authorize(r)
		s.mu.Unlock()
		if asked.redirect != "" {
			http.Redirect(w, r, asked.redirect, http.StatusFound)
			return
		}
		s.servePage(w, r, page, func(*Server, *http.Request) (any, error) { return asked, err })
	})
}

// SetCallback sets where people are sent back to who sign in with an App.
func (s *Server) SetCallback(appID int64, callback string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.apps[appID]; a != nil {
		a.callback = callback
	}
}

// BrowseAs says who sits in front of the browser. Until it is called, the page
// that asks for consent lets its reader choose.
func (s *Server) BrowseAs(login string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.browser = s.account(login, "User")
}

// An authorization is what the page that asks for consent shows.
type authorization struct {
	App      string
	People   []choice
	redirect string // where the browser goes instead; empty to show the page
}

// A choice is one who may sit in front of the browser.
type choice struct{ Login, URL string }

// authorize answers GET /login/oauth/authorize: consent is given at once, by who
// the request suggests, or who sits there. The page is shown to nobody in particular.
func (s *Server) authorize(r *http.Request) (authorization, error) {
	q := r.URL.Query()
	a := s.appOf(q.Get("client_id"))
	if a == nil || a.callback == "" {
		return authorization{}, errNotFound
	}
	back := cmp.Or(q.Get("redirect_uri"), a.callback)
	if back != a.callback {
		return authorization{redirect: comeBack(a.callback, url.Values{
			"error": {"redirect_uri_mismatch"}, "state": {q.Get("state")},
			"error_description": {"The redirect_uri MUST match the registered callback URL for this application."},
		})}, nil
	}
	user := s.browser
	if login := q.Get("login"); login != "" {
		user = s.accounts[key(login)]
	}
	if user == nil || user.kind != "User" {
		return authorization{App: a.name, People: s.choices(r.URL)}, nil
	}
	code := rand.Text()[:20]
	s.grants[code] = &grant{app: a, user: user, redirect: q.Get("redirect_uri"), challenge: challengeOf(q), expires: s.now().Add(codeLife)}
	return authorization{redirect: comeBack(back, url.Values{"code": {code}, "state": {q.Get("state")}})}, nil
}

// challengeOf is the PKCE challenge; GitHub takes S256 only.
func challengeOf(q url.Values) string {
	if q.Get("code_challenge_method") != "S256" {
		return ""
	}
	return q.Get("code_challenge")
}

func comeBack(to string, with url.Values) string {
	u, err := url.Parse(to)
	if err != nil {
		return to
	}
	q := u.Query()
	for name, values := range with {
		if values[0] != "" {
			q[name] = values
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// choices are the people of the simulated GitHub, each with a link to be one.
func (s *Server) choices(here *url.URL) []choice {
	var all []choice
	for _, who := range s.accounts {
		if who.kind != "User" {
			continue
		}
		q := here.Query()
		q.Set("login", who.login)
		all = append(all, choice{who.login, here.Path + "?" + q.Encode()})
	}
	slices.SortFunc(all, func(a, b choice) int { return strings.Compare(a.Login, b.Login) })
	return all
}

func (s *Server) appOf(clientID string) *app {
	for _, a := range s.apps {
		if a.clientID == clientID {
			return a
		}
	}
	return nil
}

// serveUserToken answers POST /login/oauth/access_token. Refusals come with the
// status 200, as GitHub's do.
func (s *Server) serveUserToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	answer := s.exchange(r.Form)
	s.mu.Unlock()
	if strings.Contains(r.Header.Get("Accept"), "json") {
		writeJSON(w, http.StatusOK, answer)
		return
	}
	form := url.Values{}
	for name, value := range answer {
		form.Set(name, fmt.Sprint(value))
	}
	w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	io.WriteString(w, form.Encode()) // a reader that went away is no concern of ours
}

// exchange turns a code into a user's token, once.
func (s *Server) exchange(form url.Values) object {
	a := s.appOf(form.Get("client_id"))
	if a == nil || subtle.ConstantTimeCompare([]byte(a.clientSecret), []byte(form.Get("client_secret"))) == 0 {
		return refusal("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.")
	}
	code := form.Get("code")
	g := s.grants[code]
	delete(s.grants, code)
	switch {
	case g == nil, g.app != a, !s.now().Before(g.expires), !g.proves(form.Get("code_verifier")):
		return refusal("bad_verification_code", "The code passed is incorrect or expired.")
	case form.Get("redirect_uri") != "" && form.Get("redirect_uri") != g.redirect:
		return refusal("redirect_uri_mismatch", "The redirect_uri MUST match the registered callback URL for this application.")
	}
	access, err := s.issue(g.user, UserToServer)
	if err != nil {
		return refusal("server_error", err.Error())
	}
	refresh, err := s.issue(g.user, RefreshToken)
	if err != nil {
		return refusal("server_error", err.Error())
	}
	s.tokens[access].expires, s.tokens[refresh].expires = s.now().Add(userTokenLife), s.now().Add(refreshTokenLife)
	s.tokens[access].client, s.tokens[refresh].client = a, a
	return object{
		"access_token": access, "expires_in": int(userTokenLife.Seconds()), "scope": "", "token_type": "bearer",
		"refresh_token": refresh, "refresh_token_expires_in": int(refreshTokenLife.Seconds()),
	}
}

// proves reports whether a verifier is the one that the challenge was made of.
func (g *grant) proves(verifier string) bool {
	if g.challenge == "" {
		return true
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == g.challenge
}

func refusal(name, description string) object {
	return object{"error": name, "error_description": description, "error_uri": documentation}
}

// deleteUserToken answers DELETE /applications/{client_id}/token: an App gives back
// a token that it was given for somebody.
func deleteUserToken(c *call) (int, any, error) {
	var ask struct {
		Token string `json:"access_token"`
	}
	if err := c.decode(&ask); err != nil {
		return 0, nil, err
	}
	t := c.tokens[ask.Token]
	if !t.live(c.now()) || t.client != c.app {
		return 0, nil, errNotFound
	}
	t.dead = true
	return http.StatusNoContent, nil, nil
}

// authenticateClient checks the id and the secret of an App's web flow.
func (c *call) authenticateClient() error {
	id, secret, ok := c.BasicAuth()
	a := c.appOf(id)
	if !ok || a == nil || subtle.ConstantTimeCompare([]byte(a.clientSecret), []byte(secret)) == 0 || c.PathValue("client_id") != id {
		return errNotFound
	}
	c.app = a
	return nil
}
