package web

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
)

const (
	// sessionLife is a working day: then GitHub is asked again who it is.
	sessionLife = 8 * time.Hour
	// signInLife is how long people may take at GitHub. Its codes live as long.
	signInLife = 10 * time.Minute
)

// cookies writes the two cookies of the dashboard. Scripts, other sites, and over
// https other hosts of the domain cannot read or set them.
type cookies struct{ secure bool }

const (
	sessionCookie = "stanch_session"
	signInCookie  = "stanch_sign_in"
)

func (c cookies) name(name string) string {
	if c.secure {
		return "__Host-" + name
	}
	return name
}

// set writes a cookie; without a value it is removed.
func (c cookies) set(w http.ResponseWriter, name, value string, life time.Duration) {
	age := int(life.Seconds())
	if value == "" {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: c.name(name), Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: c.secure, SameSite: http.SameSiteLaxMode,
	})
}

func (c cookies) get(r *http.Request, name string) string {
	cookie, err := r.Cookie(c.name(name))
	if err != nil {
		return ""
	}
	return cookie.Value
}

// signedIn serves a page to people who are signed in, and lets the others sign in
// first, whatever they asked for.
func (s *server) signedIn(show page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.Store.Session(r.Context(), s.cookie.get(r, sessionCookie), s.Now())
		switch {
		case errors.Is(err, store.ErrNotFound):
			next := "/"
			if r.Method == http.MethodGet {
				next = r.URL.RequestURI()
			}
			http.Redirect(w, r, "/sign-in?"+url.Values{"next": {next}}.Encode(), http.StatusSeeOther)
			return
		case err != nil:
			s.fail(w, r, github.Person{}, err)
			return
		}
		v, err := show(r, who)
		if err != nil {
			s.fail(w, r, who, err)
			return
		}
		s.write(w, r, who, v)
	})
}

func (s *server) showSignIn(w http.ResponseWriter, r *http.Request) {
	s.write(w, r, github.Person{}, view{template: "sign-in.html", title: "Sign in", data: local(r.FormValue("next"))})
}

// local is where to go after signing in: a page of the dashboard, whatever a link says.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(next, "/") ||
		strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return u.RequestURI()
}

// A pass ties what comes back from GitHub to the browser that went there.
type pass struct {
	State    string
	Verifier string
	Next     string
}

func (s *server) beginSignIn(w http.ResponseWriter, r *http.Request) {
	p := pass{rand.Text(), github.NewVerifier(), local(r.FormValue("next"))}
	b, err := json.Marshal(p)
	if err != nil {
		s.fail(w, r, github.Person{}, err)
		return
	}
	s.cookie.set(w, signInCookie, base64.RawURLEncoding.EncodeToString(b), signInLife)
	http.Redirect(w, r, s.SignIn.URL(p.State, p.Verifier), http.StatusSeeOther)
}

// passOf reads the pass of the browser.
func (s *server) passOf(r *http.Request) (p pass, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(s.cookie.get(r, signInCookie))
	return p, err == nil && json.Unmarshal(b, &p) == nil && p.State != "" && p.Verifier != ""
}

var (
	errNoPass = refused(http.StatusBadRequest, "This browser did not begin this sign-in, or took too long. Sign in again.")
	errSignIn = refused(http.StatusForbidden, "GitHub refused the sign-in. Sign in again; if it stays so, the log of Stanch says why.")
	errDenied = refused(http.StatusForbidden, "You did not let GitHub say who you are, so nobody is signed in.")
)

// endSignIn takes who comes back from GitHub.
func (s *server) endSignIn(w http.ResponseWriter, r *http.Request) {
	p, ok := s.passOf(r)
	s.cookie.set(w, signInCookie, "", 0)
	q := r.URL.Query()
	switch {
	case !ok || subtle.ConstantTimeCompare([]byte(p.State), []byte(q.Get("state"))) == 0:
		s.fail(w, r, github.Person{}, errNoPass)
		return
	case q.Get("error") == "access_denied":
		s.fail(w, r, github.Person{}, errDenied)
		return
	}
	who, err := s.SignIn.Person(r.Context(), q.Get("code"), p.Verifier)
	if errors.Is(err, github.ErrSignIn) {
		s.Logger.WarnContext(r.Context(), "a sign-in failed: see STANCH_GITHUB_CLIENT_ID, STANCH_GITHUB_CLIENT_SECRET, and the callback URL in the App's settings", "error", err)
		err = errSignIn
	}
	if err == nil {
		err = s.open(w, r, who)
	}
	if err != nil {
		s.fail(w, r, github.Person{}, err)
		return
	}
	http.Redirect(w, r, local(p.Next), http.StatusSeeOther)
}

// open begins a session, and ends the one that the browser had.
func (s *server) open(w http.ResponseWriter, r *http.Request, who github.Person) error {
	secret, now := rand.Text(), s.Now()
	err := s.Store.InTx(r.Context(), func(tx *store.Tx) error {
		if err := tx.EndSession(r.Context(), s.cookie.get(r, sessionCookie)); err != nil {
			return err
		}
		return tx.AddSession(r.Context(), secret, who, now, now.Add(sessionLife))
	})
	if err != nil {
		return err
	}
	s.cookie.set(w, sessionCookie, secret, sessionLife)
	return nil
}

func (s *server) signOut(w http.ResponseWriter, r *http.Request) {
	if err := s.Store.InTx(r.Context(), func(tx *store.Tx) error {
		return tx.EndSession(r.Context(), s.cookie.get(r, sessionCookie))
	}); err != nil {
		s.fail(w, r, github.Person{}, err)
		return
	}
	s.cookie.set(w, sessionCookie, "", 0)
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}
