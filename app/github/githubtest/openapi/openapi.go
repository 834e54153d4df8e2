// Package openapi holds the simulated GitHub, and whoever calls it, against
// GitHub's own description of its API: every request and every answer of a test
// run is validated, and so are the bodies of webhooks.
//
// The description is a file of 13 MB that is not part of this repository: the
// npm package @octokit/openapi has it as generated/api.github.com.json.
package openapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// apiPrefix is what the simulated GitHub serves its API under, and the
// description does not know.
const apiPrefix = "/api/v3"

// A Violation is a request or an answer that the description does not allow.
type Violation struct {
	Method string
	Path   string
	What   string
}

// String is the violation on one line.
func (v Violation) String() string { return v.Method + " " + v.Path + ": " + v.What }

// A Validator knows GitHub's description and collects what breaks it.
type Validator struct {
	doc    *openapi3.T
	router routers.Router

	mu         sync.Mutex
	violations []Violation
}

// Load reads a description. It takes some seconds.
func Load(path string) (*Validator, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read GitHub's API description: %w", err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		return nil, fmt.Errorf("read GitHub's API description %s: %w", path, err)
	}
	// The document itself is not validated: some of its examples are wrong.
	doc.Servers = openapi3.Servers{{URL: "/"}}
	correct(doc)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("find the operations in %s: %w", path, err)
	}
	return &Validator{doc: doc, router: router}, nil
}

// correct mends an error of the description: in GET /app/installations an
// account has to be a user and an enterprise at once, where the schema of an
// installation has "or".
func correct(doc *openapi3.T) {
	path := doc.Paths.Value("/app/installations")
	if path == nil || path.Get == nil {
		return
	}
	ok := path.Get.Responses.Status(http.StatusOK)
	if ok == nil || ok.Value == nil {
		return
	}
	media := ok.Value.Content.Get("application/json")
	if media == nil || media.Schema == nil || media.Schema.Value.Items == nil {
		return
	}
	if account := media.Schema.Value.Items.Value.Properties["account"]; account != nil && account.Value != nil {
		account.Value.AnyOf, account.Value.AllOf = append(account.Value.AnyOf, account.Value.AllOf...), nil
	}
}

// Fresh is a Validator of the same description without violations.
func (v *Validator) Fresh() *Validator { return &Validator{doc: v.doc, router: v.router} }

// Violations lists what broke the description so far.
func (v *Validator) Violations() []Violation {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.violations)
}

func (v *Validator) report(r *http.Request, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.violations = append(v.violations, Violation{r.Method, r.URL.Path, fmt.Sprintf(format, args...)})
}

// Middleware validates what goes in and out of next.
func (v *Validator) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		input := v.request(r, body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		v.response(r, input, answer)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes()) // a reader that went away is no concern of ours
	})
}

// options validate everything, and report all of it.
var options = &openapi3filter.Options{
	MultiError:         true,
	AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
}

// request validates a request; nil when the description has no such operation.
func (v *Validator) request(r *http.Request, body []byte) *openapi3filter.RequestValidationInput {
	plain := r.Clone(r.Context())
	plain.URL.Path, plain.URL.RawPath = oneSegment(strings.TrimPrefix(r.URL.Path, apiPrefix))
	plain.Body = io.NopCloser(bytes.NewReader(body))
	route, params, err := v.router.FindRoute(plain)
	if err != nil {
		v.report(r, "GitHub has no such operation: %v", err)
		return nil
	}
	input := &openapi3filter.RequestValidationInput{
		Request: plain, PathParams: params, Route: route, QueryParams: plain.URL.Query(), Options: options,
	}
	if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
		v.report(r, "request: %s", short(err))
	}
	return input
}

// slashes finds the parameters that may hold slashes, which the router takes
// for the ends of segments.
var slashes = regexp.MustCompile(`^(/repos/[^/]+/[^/]+/(?:contents|commits)/)(.+?)(/check-runs|/check-suites|/pulls|/status)?$`)

// oneSegment is a path as the router shall see it, plain and escaped.
func oneSegment(path string) (plain, escaped string) {
	m := slashes.FindStringSubmatch(path)
	if m == nil {
		return path, ""
	}
	return path, m[1] + strings.ReplaceAll(m[2], "/", "%2F") + m[3]
}

// undescribed are the refusals that any operation may answer with, whether the
// description lists them or not.
var undescribed = []int{
	http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
	http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusTooManyRequests,
}

// response validates an answer.
func (v *Validator) response(r *http.Request, input *openapi3filter.RequestValidationInput, answer *httptest.ResponseRecorder) {
	if input == nil {
		return
	}
	if answer.Code == http.StatusNotFound && answer.Header().Get("X-Unknown-Route") != "" {
		v.report(r, "the simulated GitHub has no such operation")
		return
	}
	if input.Route.Operation.Responses.Status(answer.Code) == nil {
		if !slices.Contains(undescribed, answer.Code) {
			v.report(r, "response: status %d is not among those that GitHub describes", answer.Code)
		}
		return
	}
	err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: answer.Code, Header: answer.Header(), Options: options,
		Body: io.NopCloser(bytes.NewReader(answer.Body.Bytes())),
	})
	if err != nil {
		v.report(r, "response %d: %s", answer.Code, short(err))
	}
}

// Webhook validates a webhook's body against the schema of its event and
// action, such as "push" or "pull_request" and "opened".
func (v *Validator) Webhook(event, action string, payload []byte) error {
	name := "webhook-" + strings.ReplaceAll(event, "_", "-")
	if action != "" {
		name += "-" + strings.ReplaceAll(action, "_", "-")
	}
	schema := v.doc.Components.Schemas[name]
	if schema == nil {
		return fmt.Errorf("GitHub's description has no schema %s", name)
	}
	var body any
	if err := json.Unmarshal(payload, &body); err != nil {
		return fmt.Errorf("read the body of %s: %w", name, err)
	}
	if err := schema.Value.VisitJSON(body, openapi3.MultiErrors()); err != nil {
		return errors.New(name + ": " + short(err))
	}
	return nil
}

// short is a validation error without the schema and the value, which fill
// pages.
func short(err error) string {
	if list, ok := errors.AsType[openapi3.MultiError](err); ok {
		texts := make([]string, 0, len(list))
		for _, e := range list {
			texts = append(texts, short(e))
		}
		return strings.Join(texts, "; ")
	}
	if e, ok := errors.AsType[*openapi3.SchemaError](err); ok {
		return "/" + strings.Join(e.JSONPointer(), "/") + ": " + e.Reason
	}
	return strings.SplitN(err.Error(), "\n", 2)[0]
}
