package github

import (
	"bytes"
	"container/list"
	"context"
	"io"
	"net/http"
	"sync"
)

const (
	// maxAnswer is the largest answer that is kept, and maxAnswers what all of an
	// App's may take together.
	maxAnswer  = 1 << 20
	maxAnswers = 16 << 20
)

type conditionalKey struct{}

// conditionally marks questions that are asked again and again, and mostly answered
// alike. Only answers to these are kept: others may hold secrets.
func conditionally(ctx context.Context) context.Context {
	return context.WithValue(ctx, conditionalKey{}, true)
}

// A conditional transport asks GitHub whether an answer has changed since it was
// given last. Where it has not, GitHub sends none, and does not count the request.
// Source: https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate
type conditional struct {
	base    http.RoundTripper
	answers *answers
	owner   int64 // the installation, 0 for the App itself
}

// RoundTrip implements http.RoundTripper.
func (c *conditional) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet || req.Context().Value(conditionalKey{}) == nil {
		return c.base.RoundTrip(req)
	}
	key := question{c.owner, req.URL.String(), req.Header.Get("Accept")}
	known := c.answers.get(key)
	if known != nil {
		req = req.Clone(req.Context())
		req.Header.Set("If-None-Match", known.header.Get("ETag"))
	}
	resp, err := c.base.RoundTrip(req)
	switch {
	case err != nil:
		return nil, err
	case known != nil && resp.StatusCode == http.StatusNotModified:
		resp.Body.Close()
		return known.again(resp), nil
	case resp.StatusCode == http.StatusOK && resp.Header.Get("ETag") != "":
		return c.answers.keep(key, resp)
	}
	return resp, nil
}

// A question names an answer. Who asks belongs to it: others may see less.
type question struct {
	owner       int64
	url, accept string
}

// An answer is one of GitHub's with status 200.
type answer struct {
	question question
	header   http.Header
	body     []byte
}

// again makes GitHub's "not modified" the answer that it stands for. What its
// headers say, such as the rate limit, is newer.
func (a *answer) again(resp *http.Response) *http.Response {
	header := a.header.Clone()
	for name, values := range resp.Header {
		header[name] = values
	}
	header.Del("Content-Length")
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: resp.Proto, ProtoMajor: resp.ProtoMajor, ProtoMinor: resp.ProtoMinor,
		Header: header, Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: resp.Request,
	}
}

// answers keeps those that were used last, as long as there is room.
type answers struct {
	mu    sync.Mutex
	size  int
	order *list.List // of *answer, the last used first
	by    map[question]*list.Element
}

func newAnswers() *answers {
	return &answers{order: list.New(), by: map[question]*list.Element{}}
}

func (s *answers) get(key question) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.by[key]
	if e == nil {
		return nil
	}
	s.order.MoveToFront(e)
	return e.Value.(*answer)
}

// keep reads an answer, keeps it unless it is large, and returns it unread.
func (s *answers) keep(key question, resp *http.Response) (*http.Response, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	if len(body) > maxAnswer {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(body), resp.Body), resp.Body}
		return resp, nil
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	s.put(&answer{key, resp.Header.Clone(), body})
	return resp, nil
}

func (s *answers) put(a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.by[a.question]; old != nil {
		s.drop(old)
	}
	s.by[a.question] = s.order.PushFront(a)
	for s.size += len(a.body); s.size > maxAnswers; {
		s.drop(s.order.Back())
	}
}

func (s *answers) drop(e *list.Element) {
	a := s.order.Remove(e).(*answer)
	delete(s.by, a.question)
	s.size -= len(a.body)
}
