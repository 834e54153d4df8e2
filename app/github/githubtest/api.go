package githubtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// object is a JSON object on its way out.
type object = map[string]any

// who says who may call a route.
type who int

const (
	anyone       who = iota // a token is looked at when there is one
	nobody                  // callers with credentials are refused
	byApp                   // an App, by its JSON web token
	byInstalled             // an installation, by its token
	byTokenOwner            // whoever has a live token
	byClient                // an App, by the id and secret of its web flow
)

// A call is one request to the API, with what its address and its credentials
// were found to name.
type call struct {
	*http.Request
	*Server
	header http.Header // of the answer
	body   []byte
	app    *app        // the App that calls, by itself or by an installation
	token  *token      // the token that it calls with
	repo   *repository // what {owner}/{repo} names
}

// A handler answers a call with a status and a body that becomes JSON; no body
// at all when nil.
type handler func(*call) (int, any, error)

// A route is one operation of the API. need is the permission that an
// installation must have been given, such as "checks:write".
type route struct {
	pattern string
	who     who
	need    string
	handler handler
}

func routes() []route {
	return []route{
		{"GET /app", byApp, "", showApp},
		{"GET /app/installations", byApp, "", listInstallations},
		{"GET /app/installations/{id}", byApp, "", showInstallation},
		{"POST /app/installations/{id}/access_tokens", byApp, "", createInstallationToken},
		{"GET /repos/{owner}/{repo}/installation", byApp, "", showRepositoryInstallation},
		{"GET /orgs/{org}/installation", byApp, "", showOrganizationInstallation},
		{"GET /app/hook/config", byApp, "", showHookConfig},
		{"GET /app/hook/deliveries", byApp, "", listDeliveries},
		{"GET /app/hook/deliveries/{id}", byApp, "", showDelivery},
		{"POST /app/hook/deliveries/{id}/attempts", byApp, "", redeliver},

		{"DELETE /installation/token", byInstalled, "", revokeInstallationToken},
		{"GET /installation/repositories", byInstalled, "metadata:read", listInstallationRepositories},

		{"GET /user", byTokenOwner, "", showUser},
		{"DELETE /applications/{client_id}/token", byClient, "", deleteUserToken},
		{"POST /credentials/revoke", nobody, "", revokeCredentials},
		{"GET /search/code", byTokenOwner, "contents:read", searchCode},
		{"GET /rate_limit", anyone, "", showRateLimit},

		{"GET /repos/{owner}/{repo}", anyone, "metadata:read", showRepository},
		{"GET /repos/{owner}/{repo}/contents/{path...}", anyone, "contents:read", showContents},
		{"GET /repos/{owner}/{repo}/collaborators/{login}/permission", byTokenOwner, "metadata:read", showPermission},
		{"GET /repos/{owner}/{repo}/commits/{rest...}", anyone, "", commitRoutes},
		{"GET /repos/{owner}/{repo}/pulls", anyone, "pull_requests:read", listPulls},
		{"GET /repos/{owner}/{repo}/pulls/{number}", anyone, "pull_requests:read", showPull},

		{"GET /repos/{owner}/{repo}/pulls/{number}/comments", anyone, "pull_requests:read", listReviewComments},
		{"POST /repos/{owner}/{repo}/pulls/{number}/reviews", byTokenOwner, "pull_requests:write", createReview},

		{"POST /repos/{owner}/{repo}/check-runs", byInstalled, "checks:write", createCheckRun},
		{"GET /repos/{owner}/{repo}/check-runs/{id}", anyone, "checks:read", showCheckRun},
		{"PATCH /repos/{owner}/{repo}/check-runs/{id}", byInstalled, "checks:write", updateCheckRun},
		{"GET /repos/{owner}/{repo}/check-runs/{id}/annotations", anyone, "checks:read", listAnnotations},
		{"POST /repos/{owner}/{repo}/check-runs/{id}/rerequest", byInstalled, "checks:write", rerequest},

		{"GET /repos/{owner}/{repo}/secret-scanning/alerts/{number}", byInstalled, "secret_scanning_alerts:read", showAlert},
		{"PATCH /repos/{owner}/{repo}/secret-scanning/alerts/{number}", byInstalled, "secret_scanning_alerts:write", updateAlert},

		{"GET /repos/{owner}/{repo}/issues/{number}/{id}", anyone, "pull_requests:read", commentRoutes},
		{"POST /repos/{owner}/{repo}/issues/{number}/comments", byTokenOwner, "pull_requests:write", createComment},
		{"PATCH /repos/{owner}/{repo}/issues/comments/{id}", byTokenOwner, "pull_requests:write", updateComment},
		{"DELETE /repos/{owner}/{repo}/issues/comments/{id}", byTokenOwner, "pull_requests:write", deleteComment},
		{"POST /repos/{owner}/{repo}/issues/comments/{id}/reactions", byTokenOwner, "pull_requests:write", createReaction},

		{"GET /repos/{owner}/{repo}/keys", byInstalled, "administration:read", listDeployKeys},
		{"POST /repos/{owner}/{repo}/keys", byInstalled, "administration:write", addDeployKey},
		{"DELETE /repos/{owner}/{repo}/keys/{id}", byInstalled, "administration:write", removeDeployKey},

		{"GET /repos/{owner}/{repo}/actions/secrets/public-key", byInstalled, "secrets:read", showSecretKey},
		{"GET /repos/{owner}/{repo}/actions/secrets/{name}", byInstalled, "secrets:read", showSecret},
		{"PUT /repos/{owner}/{repo}/actions/secrets/{name}", byInstalled, "secrets:write", writeSecret},
		{"GET /repos/{owner}/{repo}/dependabot/secrets/public-key", byInstalled, "dependabot_secrets:read", showSecretKey},
		{"GET /repos/{owner}/{repo}/dependabot/secrets/{name}", byInstalled, "dependabot_secrets:read", showSecret},
		{"PUT /repos/{owner}/{repo}/dependabot/secrets/{name}", byInstalled, "dependabot_secrets:write", writeSecret},
		{"GET /repos/{owner}/{repo}/environments/{environment}/secrets/public-key", byInstalled, "environments:read", showSecretKey},
		{"GET /repos/{owner}/{repo}/environments/{environment}/secrets/{name}", byInstalled, "environments:read", showSecret},
		{"PUT /repos/{owner}/{repo}/environments/{environment}/secrets/{name}", byInstalled, "environments:write", writeSecret},
		{"GET /orgs/{org}/actions/secrets/public-key", byInstalled, "organization_secrets:read", showSecretKey},
		{"GET /orgs/{org}/actions/secrets/{name}", byInstalled, "organization_secrets:read", showSecret},
		{"GET /orgs/{org}/actions/secrets/{name}/repositories", byInstalled, "organization_secrets:read", listSecretRepositories},
		{"PUT /orgs/{org}/actions/secrets/{name}", byInstalled, "organization_secrets:write", writeSecret},
	}
}

// apiHandler serves the routes. An address that has none answers 404 and is
// remembered: see Unknown.
func (s *Server) apiHandler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range routes() {
		method, path, _ := strings.Cut(route.pattern, " ")
		mux.HandleFunc(method+" "+APIPrefix+path, func(w http.ResponseWriter, r *http.Request) {
			s.serveRoute(w, r, route)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			s.serveUnknown(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// unknownHeader tells package openapi that an address has no route.
const unknownHeader = "X-Unknown-Route"

func (s *Server) serveUnknown(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &call{Request: r, Server: s, header: w.Header()}
	_, _, err := c.unknownRoute()
	writeError(w, err)
}

// unknownRoute answers a call to an address that the API does not have.
func (c *call) unknownRoute() (int, any, error) {
	c.unknown = append(c.unknown, c.Method+" "+c.Request.URL.Path)
	c.header.Set(unknownHeader, "1")
	return 0, nil, errNotFound
}

// Unknown lists the calls to addresses that the API does not have, such as
// "GET /api/v3/zen".
func (s *Server) Unknown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.unknown...)
}

func (s *Server) serveRoute(w http.ResponseWriter, r *http.Request, route route) {
	body, err := readBody(r)
	if err != nil {
		writeError(w, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &call{Request: r, Server: s, header: w.Header(), body: body}
	if err := c.admit(route); err != nil {
		writeError(w, err)
		return
	}
	status, answer, err := route.handler(c)
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, status, answer)
}

// admit finds out who calls, and what for, and whether that is allowed.
func (c *call) admit(route route) error {
	if err := c.authenticate(route.who); err != nil {
		return err
	}
	if owner := c.PathValue("owner"); owner != "" {
		c.repo = c.repositories[key(owner+"/"+c.PathValue("repo"))]
		if c.repo == nil || !c.maySee(c.repo) {
			return errNotFound
		}
	}
	return c.permit(route.need)
}

// decode reads the body as JSON into v.
func (c *call) decode(v any) error {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return invalid("Invalid request.\n\nFor '%s', %s is not a %s.", kind.Field, kind.Value, kind.Type)
		}
		return &apiError{Status: http.StatusBadRequest, Message: "Problems parsing JSON"}
	}
	return nil
}

// An apiError is GitHub's way to refuse.
type apiError struct {
	Status  int
	Message string
	Errors  []any
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s", e.Status, e.Message) }

var (
	errNotFound       = &apiError{Status: http.StatusNotFound, Message: "Not Found"}
	errBadCredentials = &apiError{Status: http.StatusUnauthorized, Message: "Bad credentials"}
	errNeedsToken     = &apiError{Status: http.StatusUnauthorized, Message: "Requires authentication"}
	errNotAccessible  = &apiError{Status: http.StatusForbidden, Message: "Resource not accessible by integration"}
	errNeedsApp       = &apiError{Status: http.StatusForbidden, Message: "You must authenticate via a GitHub App."}
)

// invalid is GitHub's 422 with one sentence.
func invalid(format string, args ...any) *apiError {
	return &apiError{Status: http.StatusUnprocessableEntity, Message: fmt.Sprintf(format, args...)}
}

// invalidField is GitHub's 422 for one field of a resource.
func invalidField(resource, field, message string) *apiError {
	e := invalid("Validation Failed")
	e.Errors = []any{object{"resource": resource, "field": field, "code": "custom", "message": message}}
	return e
}

// documentation is where GitHub's refusals point.
const documentation = "https://docs.github.com/rest"

func writeError(w http.ResponseWriter, err error) {
	var refusal *apiError
	if !errors.As(err, &refusal) {
		refusal = &apiError{Status: http.StatusInternalServerError, Message: err.Error()}
	}
	body := object{
		"message":           refusal.Message,
		"documentation_url": documentation,
		"status":            fmt.Sprint(refusal.Status),
	}
	if refusal.Errors != nil {
		body["errors"] = refusal.Errors
	}
	writeJSON(w, refusal.Status, body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	data, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	io.Copy(w, bytes.NewReader(data)) // a reader that went away is no concern of ours
}

// key is a name as it is compared: GitHub's names have no letter case.
func key(name string) string { return strings.ToLower(name) }
