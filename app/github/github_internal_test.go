package github

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

const (
	testApp  = 77
	testInst = 5
	testSHA  = "0123456789012345678901234567890123456789"
)

var testRepo = Repository{ID: 9, Owner: "acme", Name: "shop"}

// testKey is an App's private key, made once.
var testKey = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
})

// A request is one that the server got, with its body as it arrived.
type request struct {
	Method, Path, Query, Body string
	Header                    http.Header
}

// A server is a GitHub that answers as a test tells it. It keeps what it was
// asked; requests for installation tokens are kept apart.
type server struct {
	*httptest.Server
	mux *http.ServeMux

	mu       sync.Mutex
	requests []request
	tokens   []request
	// refuseToken answers a request for a token instead, when it is not nil.
	refuseToken http.HandlerFunc
}

// newServer returns a server and an App that talks to it.
func newServer(t *testing.T) (*server, *App) {
	t.Helper()
	s := &server{mux: http.NewServeMux()}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	app, err := New(Config{AppID: testApp, PrivateKey: testKey(), URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return s, app
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	got := request{r.Method, strings.TrimPrefix(r.URL.Path, "/api/v3"), r.URL.RawQuery, string(body), r.Header}
	if err != nil {
		got.Body = "cut off: " + err.Error()
	}
	r.Body = io.NopCloser(strings.NewReader(got.Body))
	s.mu.Lock()
	isToken := strings.HasSuffix(r.URL.Path, "/access_tokens")
	if isToken {
		s.tokens = append(s.tokens, got)
	} else {
		s.requests = append(s.requests, got)
	}
	number, refuse := len(s.tokens), s.refuseToken
	s.mu.Unlock()
	switch {
	case isToken && refuse != nil:
		refuse(w, r)
	case isToken:
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token":"token-%d","expires_at":"2099-01-01T00:00:00Z"}`, number)
	default:
		http.StripPrefix("/api/v3", s.mux).ServeHTTP(w, r)
	}
}

// answer makes the server answer pattern with v as JSON.
func (s *server) answer(pattern string, status int, v any) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, status, v) })
}

// asked is what the server was asked so far, "METHOD PATH" each.
func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.requests {
		out = append(out, r.Method+" "+r.Path)
	}
	return out
}

// count is how many requests there were with that method.
func (s *server) count(method string) (n int) {
	for _, r := range s.asked() {
		if strings.HasPrefix(r, method+" ") {
			n++
		}
	}
	return n
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// page answers a numbered page of all, with a Link to the next as GitHub does.
func page[T any](w http.ResponseWriter, r *http.Request, all []T) []T {
	number, size := 1, 30
	fmt.Sscan(r.URL.Query().Get("page"), &number)
	fmt.Sscan(r.URL.Query().Get("per_page"), &size)
	if number*size < len(all) {
		w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?page=%d&per_page=%d>; rel="next"`, r.Host, r.URL.Path, number+1, size))
	}
	from := min((number-1)*size, len(all))
	return append([]T{}, all[from:min(from+size, len(all))]...)
}

// object is a JSON object.
type object = map[string]any

// ping makes the simplest request that has a body.
func ping(app *App) error {
	i := app.Installation(testInst)
	return i.writeComment(context.Background(), testRepo, http.MethodPost, "repos/acme/shop/issues/1/comments", "hello")
}
