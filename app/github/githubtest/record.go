package githubtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Request is one that the simulated GitHub received, git's among them.
type Request struct {
	Method string
	Path   string
	Query  url.Values
	Header http.Header // without Authorization
	Body   []byte      // of calls to the API and to the broker
	Status int
	At     time.Time

	// Authorized says that the request carried credentials.
	Authorized bool
	// CarriesTokens says that the call's purpose is to hand a token over, so
	// that its body may hold one.
	CarriesTokens bool
}

// Requests lists everything that was asked, in the order in which it was
// answered.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Everything is all that the simulated GitHub was told and shows to people, as
// text to look for something that must not be in it: the addresses and bodies
// of all calls to the API, the check runs, the comments, and what receivers
// answered to webhooks. Left out are the calls whose purpose is to hand a token
// over, git's own traffic, and the credentials that came in Authorization.
func (s *Server) Everything() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out bytes.Buffer
	for _, r := range s.requests {
		if r.CarriesTokens {
			continue
		}
		out.WriteString(r.Method + " " + r.Path + "?" + r.Query.Encode() + "\n")
		for name, values := range r.Header {
			out.WriteString(name + ": " + strings.Join(values, ", ") + "\n")
		}
		out.Write(append(plain(r.Body), '\n'))
	}
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	for _, run := range s.checkRuns {
		encoder.Encode(run.CheckRun) // writing to a buffer does not fail
	}
	for _, c := range s.comments {
		encoder.Encode(c.Comment)
	}
	for _, d := range s.deliveries {
		out.WriteString(d.Answer + "\n")
	}
	return out.Bytes()
}

// plain undoes what JSON hides: a body in which "\u003c" stands for "<" is
// written the plain way.
func plain(body []byte) []byte {
	var value any
	if json.Unmarshal(body, &value) != nil {
		return body
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(value) != nil {
		return body
	}
	return append(out.Bytes(), body...)
}

// recorded remembers every request but those for pages.
func (s *Server) recorded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api := strings.HasPrefix(r.URL.Path, APIPrefix+"/") || r.URL.Path == "/broker"
		if !api && !gitRequest(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		kept := Request{
			Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone(), At: s.now(),
			Authorized: r.Header.Get("Authorization") != "", CarriesTokens: carriesTokens(r.URL.Path),
		}
		kept.Header.Del("Authorization")
		if api {
			body, err := readBody(r)
			if err != nil {
				writeError(w, err)
				return
			}
			kept.Body, r.Body = body, io.NopCloser(bytes.NewReader(body))
		}
		answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(answer, r)
		kept.Status = answer.status
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, kept)
	})
}

func gitRequest(path string) bool {
	return strings.HasSuffix(path, "/info/refs") || strings.HasSuffix(path, "/git-upload-pack") ||
		strings.HasSuffix(path, "/git-receive-pack")
}

func carriesTokens(path string) bool {
	switch path {
	case "/broker", APIPrefix + "/user", APIPrefix + "/credentials/revoke":
		return true
	}
	return strings.HasPrefix(path, APIPrefix+"/applications/")
}

// A statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController flush what git sends.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
