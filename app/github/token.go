package github

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
)

const (
	// maxTokens bounds the tokens that are kept of an installation. One that is
	// pushed out costs a request for another.
	maxTokens = 500
	// maxTokenAge is after how long another token is asked for. GitHub's are good for an
	// hour; git may use one for the whole of a scan, so that one must be left for it.
	// Source: https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app
	maxTokenAge = 45 * time.Minute
)

// A permission is what a token lets its bearer do; with each comes the permission
// to read metadata.
type permission string

const (
	readMetadata permission = "metadata:read"
	readContents permission = "contents:read"
	writeChecks  permission = "checks:write"
	readPulls    permission = "pull_requests:read"
	writePulls   permission = "pull_requests:write"
	readAlerts   permission = "secret_scanning_alerts:read"
	writeAlerts  permission = "secret_scanning_alerts:write"

	writeSecrets     permission = "secrets:write"
	writeDependabot  permission = "dependabot_secrets:write"
	writeEnvironment permission = "environments:write"
	writeOrgSecrets  permission = "organization_secrets:write"

	readAdministration  permission = "administration:read"
	writeAdministration permission = "administration:write"
)

// grant is how GitHub writes it in an App's settings.
func (p permission) grant() string { return strings.Replace(string(p), ":", ": ", 1) }

// A scope is what a token is for: one permission in one repository, or in all of
// the installation's.
type scope struct {
	permission permission
	id         int64  // the repository's number
	name       string // its name, where the number is not known
}

// in is the scope of a permission in a repository.
func (p permission) in(repo Repository) scope {
	if repo.ID != 0 {
		return scope{permission: p, id: repo.ID}
	}
	return scope{permission: p, name: repo.Name}
}

// everywhere is the scope of a permission in all that the installation sees.
func (p permission) everywhere() scope { return scope{permission: p} }

// request is the body of a request for such a token.
func (s scope) request() []byte {
	name, level, _ := strings.Cut(string(s.permission), ":")
	body := map[string]any{"permissions": map[string]string{name: level}}
	switch {
	case s.id != 0:
		body["repository_ids"] = []int64{s.id}
	case s.name != "":
		body["repositories"] = []string{s.name}
	}
	text, _ := json.Marshal(body) // words and a number
	return text
}

// A narrowing transport writes the body of a request for a token, and leaves all other
// requests as they are. The client's own type of it does not know all permissions.
type narrowing struct {
	base http.RoundTripper
	body []byte
}

// RoundTrip implements http.RoundTripper.
func (n narrowing) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Path, "/access_tokens") {
		return n.base.RoundTrip(req)
	}
	req = req.Clone(req.Context())
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(n.body)), nil }
	req.Body, _ = req.GetBody()
	req.ContentLength = int64(len(n.body))
	req.Header.Set("Content-Type", "application/json")
	return n.base.RoundTrip(req)
}

// tokens are an installation's, by what they are for. An Installation belongs to one
// App on one host, and so do they. It is the transport that sends requests with them.
type tokens struct {
	app *App
	id  int64 // of the installation

	mu   sync.Mutex
	kept map[scope]keptToken
}

// A keptToken asks GitHub for itself when it is first used.
type keptToken struct {
	*ghinstallation.Transport
	made time.Time
}

// of is the token of a scope. Whoever asks for one at the same time gets the same.
func (t *tokens) of(s scope) *ghinstallation.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if kept, ok := t.kept[s]; ok && time.Since(kept.made) < maxTokenAge {
		return kept.Transport
	}
	for old := range t.kept {
		if len(t.kept) < maxTokens {
			break
		}
		delete(t.kept, old)
	}
	made := ghinstallation.NewFromAppsTransport(t.app.appTransport(narrowing{t.app.door, s.request()}), t.id)
	t.kept[s] = keptToken{made, time.Now()}
	return made
}

// forget gives up a token, unless somebody else did and asked for another.
func (t *tokens) forget(s scope, old *ghinstallation.Transport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept[s].Transport == old {
		delete(t.kept, s)
	}
}

// forgetAll gives up all tokens.
func (t *tokens) forgetAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.kept)
}

type scopeKey struct{}

// errNoScope is a fault of this package's.
var errNoScope = errors.New("a request to GitHub does not say what its token is for")

// RoundTrip implements http.RoundTripper.
func (t *tokens) RoundTrip(req *http.Request) (*http.Response, error) {
	s, ok := req.Context().Value(scopeKey{}).(scope)
	if !ok {
		return nil, errNoScope
	}
	return t.of(s).RoundTrip(req)
}

// tokenRefusal names why no token was issued: 404 and 403 speak of the
// installation, 422 of a repository or permission that it does not have.
func tokenRefusal(resp *http.Response, err error) error {
	body, readErr := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body.Close() // left open for us
	got := classifyResponse(resp, err)
	switch {
	case errors.Is(got, ErrNotFound), errors.Is(got, ErrForbidden):
		return fmt.Errorf("%w: %w", ErrGone, err)
	case !errors.Is(got, ErrInvalid) || readErr != nil:
		return got
	case strings.Contains(string(body), "permissions"):
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	return fmt.Errorf("%w: %w", ErrNotFound, err)
}
