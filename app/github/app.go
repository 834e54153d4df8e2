// Package github is the door out to GitHub: everything that Stanch asks of
// GitHub or writes there goes through it, as a GitHub App.
//
// An App speaks for itself only about its webhook deliveries; all else is done
// as one of its installations, each of which has its own token, its own rate
// limits and therefore its own client. Nothing here waits out a rate limit:
// the caller gets a *RateLimited and puts its job off. Writing twice is safe:
// check runs and comments are looked up before they are created, because
// GitHub offers no idempotency key.
package github

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v62/github"
)

// maxInstallations bounds the cache of installations. One that is pushed out
// costs a new token at its next use and nothing else.
const maxInstallations = 1000

// Config says which App this is and on which GitHub.
type Config struct {
	AppID      int64
	PrivateKey []byte // PEM, as GitHub hands it out
	// URL is GitHub's address in a browser: empty for github.com, or that of a
	// GitHub Enterprise Server or of an enterprise on ghe.com.
	URL string
	// APIURL is where the API is, with a slash at its end, if that cannot be told
	// from URL.
	APIURL    string
	Transport http.RoundTripper // nil means a copy of http.DefaultTransport
	Logger    *slog.Logger      // nil means no log
}

// An App is a registered GitHub App on one GitHub. It is safe for concurrent
// use.
type App struct {
	id   int64
	key  *rsa.PrivateKey
	web  *url.URL // ends in "/"
	api  *url.URL // ends in "/"
	door http.RoundTripper
	log  *slog.Logger

	self    *client // authenticated as the App itself, by JWT
	answers *answers

	mu            sync.Mutex
	installations map[int64]*Installation
}

// New returns the App that cfg describes. It asks GitHub nothing.
func New(cfg Config) (*App, error) {
	if cfg.AppID <= 0 {
		return nil, errors.New("GitHub App id is missing: it is the number on the App's settings page")
	}
	key, err := parseKey(cfg.PrivateKey)
	if err != nil {
		return nil, err
	}
	web, api, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.APIURL != "" {
		if api, err = url.Parse(cfg.APIURL); err != nil {
			return nil, errors.New("GitHub API URL cannot be read")
		}
	}
	a := &App{
		id: cfg.AppID, key: key, web: web, api: api,
		door:          newDoor(cfg.Transport),
		log:           cfg.Logger,
		answers:       newAnswers(),
		installations: make(map[int64]*Installation),
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.self = newClient(a.appTransport(a.door), a.api, a.answers, 0)
	return a, nil
}

// URL is GitHub's address in a browser, without a slash at its end.
func (a *App) URL() string { return strings.TrimSuffix(a.web.String(), "/") }

// APIURL is the address of the REST API, with a slash at its end.
func (a *App) APIURL() string { return a.api.String() }

// CloneURL is the address that git fetches repo from. It carries no token.
func (a *App) CloneURL(repo Repository) string {
	return a.web.JoinPath(repo.Owner, repo.Name+".git").String()
}

// IsServer reports whether this GitHub is an Enterprise Server.
func (a *App) IsServer() bool { return strings.HasSuffix(a.api.Path, "/api/v3/") }

// Login asks GitHub under what name the App does what it does.
func (a *App) Login(ctx context.Context) (string, error) {
	var app *gh.App
	err := a.self.do(ctx, func(c *gh.Client) (err error) {
		app, _, err = c.Apps.Get(ctx, "")
		return err
	})
	if err != nil {
		return "", fmt.Errorf("ask for the App's name: %w", err)
	}
	return app.GetSlug() + "[bot]", nil
}

// Installations lists where the App is installed and not suspended.
func (a *App) Installations(ctx context.Context) ([]int64, error) {
	ctx = conditionally(ctx)
	var ids []int64
	opts := &gh.ListOptions{PerPage: perPage, Page: 1}
	for range maxPages {
		var page []*gh.Installation
		var resp *gh.Response
		err := a.self.do(ctx, func(c *gh.Client) (err error) {
			page, resp, err = c.Apps.ListInstallations(ctx, opts)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list installations: %w", err)
		}
		for _, i := range page {
			if i.SuspendedAt == nil {
				ids = append(ids, i.GetID())
			}
		}
		if opts.Page = resp.NextPage; opts.Page == 0 {
			return ids, nil
		}
	}
	return nil, fmt.Errorf("list installations: more than %d pages", maxPages)
}

// Installation returns the App's installation of that id. Nothing is asked of
// GitHub until it is used; whether it exists shows then, as ErrGone.
func (a *App) Installation(id int64) *Installation {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i, ok := a.installations[id]; ok {
		return i
	}
	for old := range a.installations {
		if len(a.installations) < maxInstallations {
			break
		}
		delete(a.installations, old)
	}
	i := newInstallation(a, id)
	a.installations[id] = i
	return i
}

// appTransport returns a transport that signs requests as the App and sends them
// through base. Every installation needs one of its own: ghinstallation writes to
// it when it asks for a token.
func (a *App) appTransport(base http.RoundTripper) *ghinstallation.AppsTransport {
	tr := ghinstallation.NewAppsTransportFromPrivateKey(base, a.id, a.key)
	tr.BaseURL = strings.TrimSuffix(a.api.String(), "/")
	return tr
}

// parseKey reads an RSA private key. Its errors never quote the input.
func parseKey(text []byte) (*rsa.PrivateKey, error) {
	const next = "; give the .pem file that GitHub let you download when the App's key was made"
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("GitHub App private key is not PEM" + next)
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("GitHub App private key is PEM but holds no readable private key" + next)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("GitHub App private key is a %T, and GitHub takes RSA only%s", parsed, next)
	}
	return key, nil
}

// APIURL returns the address of the API of the GitHub at a web address, with a
// slash at its end.
func APIURL(web string) (string, error) {
	_, api, err := parseURL(web)
	if err != nil {
		return "", err
	}
	return api.String(), nil
}

// parseURL turns GitHub's web address into itself and the API's address.
//
// Source of the three forms: https://docs.github.com/rest/using-the-rest-api
// (github.com, ghe.com) and the "servers" of GitHub's OpenAPI files (Enterprise
// Server).
func parseURL(text string) (web, api *url.URL, err error) {
	if text == "" {
		text = "https://github.com"
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, nil, fmt.Errorf("GitHub URL %q is not a web address such as https://github.example.com", text)
	}
	host := strings.ToLower(u.Hostname())
	switch {
	case u.User != nil:
		return nil, nil, errors.New("GitHub URL carries a user name or password; give the bare address")
	case u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, nil, fmt.Errorf("GitHub URL %q has more than a host; give the bare address", text)
	case u.Scheme == "http" && !isLoopback(host):
		return nil, nil, fmt.Errorf("GitHub URL %q is not https, and tokens would travel in the clear", text)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, nil, fmt.Errorf("GitHub URL %q does not start with https://", text)
	case host == "api.github.com", strings.HasPrefix(host, "api.") && strings.HasSuffix(host, ".ghe.com"):
		return nil, nil, fmt.Errorf("GitHub URL %q is the API's address; give the one that a browser shows", text)
	}
	web = &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: "/"}
	switch {
	case host == "github.com":
		api = &url.URL{Scheme: u.Scheme, Host: "api.github.com", Path: "/"}
	case strings.HasSuffix(host, ".ghe.com"):
		api = &url.URL{Scheme: u.Scheme, Host: "api." + web.Host, Path: "/"}
	default:
		api = web.JoinPath("api/v3/")
	}
	return web, api, nil
}

// isLoopback reports whether host is this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
