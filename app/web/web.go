// Package web is the dashboard: pages on which the people of a repository see its
// incidents, with all that was found out and done, and decide as they do by the check
// run's buttons.
//
// GitHub says who somebody is and, each time, what that person may do: who may write
// to a repository sees everything about it, who may read a private one sees how far
// its incidents have come, and for everybody else there is no such page. Pages are
// plain HTML: no script runs on them.
package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

//go:embed site
var site embed.FS

// contentPolicy lets the pages load their own style sheet and nothing else, and send
// forms nowhere but here. What strangers wrote cannot make them do more.
const contentPolicy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// maxForm bounds what a form may send.
const maxForm = 64 << 10

// A Config is what the dashboard shows, and who does what is ordered on it.
type Config struct {
	URL    string // public, without a slash at its end
	GitHub *github.App
	SignIn *github.SignIn
	Store  *store.Store
	// Providers tell which of them are held at grade C, and what they said.
	Providers *provider.Providers
	Rules     []*rules.Rule
	// Scan tells what is known of a check, as its check run does.
	Scan func(context.Context, store.Check) (report.Scan, error)
	// Obey carries out an order, or says why not.
	Obey func(context.Context, Order) (Answer, error)
	// Plan tells what would be done about an incident by a verb, rotate or revoke.
	Plan   func(ctx context.Context, incident, verb string) (Plan, error)
	Now    func() time.Time
	Logger *slog.Logger
}

// An Order is what a person wants to be done about an incident of a check.
type Order struct {
	Check   string
	Button  string // the identifier of a check run's button, or EndAllowance
	Finding checks.Fingerprint
	Reason  string
	Until   time.Time // of what is allowed; zero for as long as possible
	By      github.Person
}

// EndAllowance is the order that takes back what was called no secret.
const EndAllowance = "end_allowance"

// An Answer is what became of an order.
type Answer struct {
	Done bool
	Why  string // nothing was done
}

// CallbackPath is where GitHub sends people back to who sign in.
const CallbackPath = "/sign-in/callback"

// A server serves the dashboard.
type server struct {
	Config
	rules  map[string]*rules.Rule
	pages  *template.Template
	access *access
	cookie cookies
}

// New makes the dashboard's handler, for all paths that nothing else has.
func New(cfg Config) (http.Handler, error) {
	origin, err := url.Parse(cfg.URL)
	if err != nil || origin.Host == "" || origin.Scheme != "https" && origin.Scheme != "http" || strings.Trim(origin.Path, "/") != "" {
		return nil, fmt.Errorf("the dashboard's URL %q is not of the form https://HOST", cfg.URL)
	}
	s := &server{Config: cfg, rules: map[string]*rules.Rule{}, cookie: cookies{secure: origin.Scheme == "https"}}
	s.access = newAccess(cfg.GitHub, cfg.Now)
	for _, r := range cfg.Rules {
		s.rules[r.ID] = r
	}
	if s.pages, err = template.New("").Funcs(s.functions()).ParseFS(site, "site/*.html"); err != nil {
		return nil, err
	}
	guard := http.NewCrossOriginProtection()
	if err := guard.AddTrustedOrigin(origin.Scheme + "://" + origin.Host); err != nil {
		return nil, err
	}
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, github.Person{}, refused(http.StatusForbidden, "This form was sent by another site. Open the page here and try again."))
	}))
	return secured(guard.Handler(s.routes())), nil
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=300")
		http.ServeFileFS(w, r, site, "site/style.css")
	})
	mux.HandleFunc("GET /sign-in", s.showSignIn)
	mux.HandleFunc("GET /sign-in/github", s.beginSignIn)
	mux.HandleFunc("GET "+CallbackPath, s.endSignIn)
	mux.HandleFunc("POST /sign-out", s.signOut)
	for pattern, show := range map[string]page{
		"GET /{$}":                                     s.showStart,
		"GET /incidents":                               s.showIncidents,
		"GET /incidents/{id}":                          s.showIncident,
		"GET /incidents/{id}/plan":                     s.showPlan,
		"POST /incidents/{id}/orders":                  s.takeOrder,
		"GET /checks/{owner}/{repo}/{sha}":             s.showCheck,
		"GET /repositories/{owner}/{repo}":             s.showRepository,
		"GET /providers":                               s.showProviders,
		"GET /times":                                   s.showTimes,
		"POST /repositories/{owner}/{repo}/allowances": s.takeAllowance,
		"/": func(*http.Request, github.Person) (view, error) { return view{}, errNotFound },
	} {
		mux.Handle(pattern, s.signedIn(show))
	}
	return mux
}

// secured sets the headers that keep pages from being framed, sniffed, cached, or
// telling where their reader came from.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

// A page shows something to a person who is signed in.
type page func(*http.Request, github.Person) (view, error)

// A view is what a page shows, or where it leads.
type view struct {
	template string
	title    string
	data     any
	status   int    // 200 when zero
	refresh  int    // seconds after which the page is loaded again; never when zero
	redirect string // instead of all that
}

// A frame is what surrounds every page.
type frame struct {
	Title   string
	Who     string // login of the reader; empty when nobody is signed in
	Refresh int
	Data    any
}

// write shows a view.
func (s *server) write(w http.ResponseWriter, r *http.Request, who github.Person, v view) {
	if v.redirect != "" {
		http.Redirect(w, r, v.redirect, http.StatusSeeOther)
		return
	}
	var out bytes.Buffer
	if err := s.pages.ExecuteTemplate(&out, v.template, frame{v.title, who.Login, v.refresh, v.data}); err != nil {
		s.Logger.ErrorContext(r.Context(), "a page of the dashboard is broken", "page", v.template, "error", err)
		http.Error(w, "This page is broken; the log of Stanch says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if v.status != 0 {
		w.WriteHeader(v.status)
	}
	w.Write(out.Bytes()) // a reader that went away is no concern of ours
}

// A refusal is an error that people may read.
type refusal struct {
	status int
	text   string
}

func (e *refusal) Error() string { return e.text }

func refused(status int, text string) error { return &refusal{status, text} }

// errNotFound is said of what there is not and of what the reader may not see, alike.
var errNotFound = refused(http.StatusNotFound, "There is no such page, or you have no access to its repository on GitHub.")

// fail shows an error. What only the operator may know goes to the log.
func (s *server) fail(w http.ResponseWriter, r *http.Request, who github.Person, err error) {
	known := new(refusal)
	limited := new(github.RateLimited)
	tooLong := new(http.MaxBytesError)
	switch {
	case errors.As(err, &known):
	case errors.Is(err, store.ErrNotFound):
		known = errNotFound.(*refusal)
	case errors.As(err, &tooLong):
		known = &refusal{http.StatusRequestEntityTooLarge, "The form holds too much."}
	case errors.As(err, &limited):
		known = &refusal{http.StatusServiceUnavailable, fmt.Sprintf("GitHub wants no more questions for now. Try again in %s.", limited.RetryAfter.Round(time.Second))}
	default:
		s.Logger.WarnContext(r.Context(), "a page of the dashboard could not be shown", "path", r.URL.Path, "error", err)
		known = &refusal{http.StatusBadGateway, "This page cannot be shown now: GitHub or the database does not answer. The log of Stanch says more."}
	}
	s.write(w, r, who, view{template: "error.html", title: http.StatusText(known.status), status: known.status, data: known.text})
}
