// Package cloudtest is what stands in tests for Google Cloud and for Azure: a server
// that hands out tokens to who proves to be Stanch's account, and lets through only
// calls with such a token and the permission that they need.
package cloudtest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// An Operation is what a call asks for: the permission that it needs, and how it is
// done. Doing it runs alone.
type Operation struct {
	Needs string
	Do    func() (status int, body any)
}

// A Cloud is one of the two.
type Cloud struct {
	URL string

	t       *testing.T
	server  *httptest.Server
	login   func(*http.Request) (scope string, ok bool)
	isLogin func(*http.Request) bool
	refuse  func(status int, code string) any // the body of an error
	finds   []func(*http.Request) (Operation, bool)
	public  []func(w http.ResponseWriter, r *http.Request) bool // answer what needs no token

	mu      sync.Mutex
	tokens  map[string]string // scopes by token
	granted []string          // nil for all
	lose    []string          // beginnings of "METHOD /path" whose next answer is lost
	Calls   []string          // "METHOD /path" of all calls that were done
}

// start serves a cloud until the test ends.
func (c *Cloud) start(t *testing.T) {
	c.t, c.tokens = t, map[string]string{}
	c.server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.server.Close)
	c.URL = c.server.URL
}

// Find adds to what the cloud can do.
func (c *Cloud) Find(find func(*http.Request) (Operation, bool)) { c.finds = append(c.finds, find) }

// Public adds what answers those who have no token, and reports whether it did.
func (c *Cloud) Public(public func(http.ResponseWriter, *http.Request) bool) {
	c.public = append(c.public, public)
}

func (c *Cloud) find(r *http.Request) (o Operation, ok bool) {
	for _, find := range c.finds {
		if o, ok = find(r); ok {
			break
		}
	}
	return o, ok
}

// Grant gives the account these permissions and no others.
func (c *Cloud) Grant(permissions ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.granted = append([]string{}, permissions...)
}

// Lose has the next call whose "METHOD /path" begins so be done, and its answer lost.
func (c *Cloud) Lose(beginning string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose = append(c.lose, beginning)
}

// Forget makes all tokens worth nothing.
func (c *Cloud) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens = map[string]string{}
}

// Do changes what the cloud holds, alone.
func (c *Cloud) Do(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// Count is how many calls have this in them.
func (c *Cloud) Count(part string) (n int) {
	c.Do(func() {
		for _, call := range c.Calls {
			if strings.Contains(call, part) {
				n++
			}
		}
	})
	return n
}

func (c *Cloud) serve(w http.ResponseWriter, r *http.Request) {
	if c.isLogin(r) {
		c.logIn(w, r)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(c.public, func(answers func(http.ResponseWriter, *http.Request) bool) bool { return answers(w, r) }) {
		return
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	scope, known := c.tokens[token]
	if !ok || !known {
		c.answer(w, http.StatusUnauthorized, c.refuse(http.StatusUnauthorized, "UNAUTHENTICATED"))
		return
	}
	r.Header.Set("Scope", scope)
	operation, ok := c.find(r)
	switch {
	case !ok:
		c.t.Errorf("nobody calls %s %s", r.Method, r.URL.Path)
		c.answer(w, http.StatusNotFound, c.refuse(http.StatusNotFound, "NOT_FOUND"))
		return
	case c.granted != nil && !slices.Contains(c.granted, operation.Needs):
		c.answer(w, http.StatusForbidden, c.refuse(http.StatusForbidden, "PERMISSION_DENIED"))
		return
	}
	status, body := operation.Do()
	call := r.Method + " " + r.URL.Path
	c.Calls = append(c.Calls, call)
	if n := slices.IndexFunc(c.lose, func(b string) bool { return strings.HasPrefix(call, b) }); n >= 0 {
		c.lose = slices.Delete(c.lose, n, n+1)
		panic(http.ErrAbortHandler)
	}
	c.answer(w, status, body)
}

func (c *Cloud) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	if status != http.StatusNoContent {
		json.NewEncoder(w).Encode(body)
	}
}

func (c *Cloud) logIn(w http.ResponseWriter, r *http.Request) {
	scope, ok := c.login(r)
	if !ok {
		c.answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_codes": []int{7000215}})
		return
	}
	token := "token-" + rand.Text()
	c.mu.Lock()
	c.tokens[token] = scope
	c.mu.Unlock()
	c.answer(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3599})
}

// Body reads a call's JSON.
func Body[T any](r *http.Request) (into T) {
	json.NewDecoder(r.Body).Decode(&into)
	return into
}

// base is the URL of the cloud as who calls it sees it.
func base(r *http.Request) string { return "http://" + r.Host }
