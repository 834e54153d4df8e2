package githubtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Rate limits (REST API, "Rate limits").
const (
	perHourInstalled = 5000
	perHourAnonymous = 60
)

// A LimitAnswer is what the API answers instead of doing what it was asked.
type LimitAnswer struct {
	Status  int
	Header  http.Header
	Message string // of GitHub's JSON; the answer is an HTML page when empty
}

// Limit asks f before every call to the API; where it returns an answer, that
// is given and the call is not made. A nil f ends that.
func (s *Server) Limit(f func(*http.Request) *LimitAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = f
}

// PrimaryLimit is GitHub's answer to who has used up the hour: 403, or 429
// when tooMany.
func PrimaryLimit(reset time.Time, tooMany bool) *LimitAnswer {
	h := http.Header{}
	h.Set("X-Ratelimit-Limit", strconv.Itoa(perHourInstalled))
	h.Set("X-Ratelimit-Remaining", "0")
	h.Set("X-Ratelimit-Used", strconv.Itoa(perHourInstalled))
	h.Set("X-Ratelimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	h.Set("X-Ratelimit-Resource", "core")
	answer := &LimitAnswer{Status: http.StatusForbidden, Header: h, Message: "API rate limit exceeded for installation."}
	if tooMany {
		answer.Status = http.StatusTooManyRequests
	}
	return answer
}

// SecondaryLimit is GitHub's answer to who calls too fast. It says when to come
// back unless after is zero.
func SecondaryLimit(after time.Duration) *LimitAnswer {
	h := http.Header{}
	if after > 0 {
		h.Set("Retry-After", strconv.Itoa(int(after.Seconds())))
	}
	return &LimitAnswer{
		Status: http.StatusForbidden, Header: h,
		Message: "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
	}
}

// BadGateway is the HTML page that GitHub shows on its bad days.
func BadGateway() *LimitAnswer { return &LimitAnswer{Status: http.StatusBadGateway} }

// A quota counts calls by the hour.
type quota struct {
	limit int // no limit when 0
	used  int
	reset time.Time
}

// take uses up one call; false when none is left.
func (q *quota) take(now time.Time) bool {
	if !now.Before(q.reset) {
		q.used, q.reset = 0, now.Add(time.Hour)
	}
	q.used++
	return q.limit == 0 || q.used <= q.limit
}

func (s *Server) quotaOf(name string, limit int) *quota {
	q := s.quota[name]
	if q == nil {
		q = &quota{limit: limit}
		s.quota[name] = q
	}
	return q
}

// UseUp leaves an installation so many requests in this hour.
func (s *Server) UseUp(installation int64, left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.quotaOf(fmt.Sprintf("installation %d", installation), perHourInstalled)
	q.used = q.limit - left
	if now := s.now(); !now.Before(q.reset) {
		q.reset = now.Add(time.Hour)
	}
}

// limited puts the rate limit's headers on every answer, and refuses what it
// was told to refuse. What has not changed since the caller saw it is not told
// again, and is not counted.
func (s *Server) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		limit, counted := s.limit, (*quota)(nil)
		if !s.cfg.Enterprise {
			counted = s.caller(r)
			counted.show(w.Header(), s.now())
		}
		s.mu.Unlock()
		w.Header().Set("X-GitHub-Request-Id", newGUID())
		w.Header().Set("X-GitHub-Media-Type", "github.v3; format=json")
		if limit != nil {
			if answer := limit(r); answer != nil {
				answer.write(w)
				return
			}
		}
		if r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		answer := &tagWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(answer, r)
		if answer.send(r.Header.Get("If-None-Match")) && counted != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			counted.used--
		}
	})
}

// A tagWriter holds an answer back until its tag is known.
type tagWriter struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *tagWriter) WriteHeader(status int) { w.status = status }

func (w *tagWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

// send sends the answer, and reports whether that only says that it is known.
func (w *tagWriter) send(known string) (notModified bool) {
	if w.status == http.StatusOK {
		tag := fmt.Sprintf(`W/"%x"`, sha256.Sum256(w.body.Bytes()))
		w.Header().Set("ETag", tag)
		if known == tag {
			w.ResponseWriter.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	w.ResponseWriter.WriteHeader(w.status)
	w.body.WriteTo(w.ResponseWriter) // a reader that went away is no concern of ours
	return false
}

// caller is the quota of whoever calls. The simulated GitHub counts and does
// not enforce it: what is enforced, Limit says.
func (s *Server) caller(r *http.Request) *quota {
	_, credential := bearer(r)
	switch t := s.tokens[credential]; {
	case t == nil && strings.Count(credential, ".") == 2: // a JSON web token
		return s.quotaOf("App", perHourInstalled)
	case t == nil:
		return s.quotaOf("anonymous", perHourAnonymous)
	case t.installation != nil:
		return s.quotaOf(fmt.Sprintf("installation %d", t.installation.id), perHourInstalled)
	default:
		return s.quotaOf("user "+t.user.login, perHourInstalled)
	}
}

func (q *quota) show(h http.Header, now time.Time) {
	q.take(now)
	h.Set("X-Ratelimit-Limit", strconv.Itoa(q.limit))
	h.Set("X-Ratelimit-Remaining", strconv.Itoa(q.remaining()))
	h.Set("X-Ratelimit-Used", strconv.Itoa(q.used))
	h.Set("X-Ratelimit-Reset", strconv.FormatInt(q.reset.Unix(), 10))
	h.Set("X-Ratelimit-Resource", "core")
}

func (q *quota) remaining() int { return max(1, q.limit-q.used) }

func (a *LimitAnswer) write(w http.ResponseWriter) {
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	if a.Message != "" {
		writeError(w, &apiError{Status: a.Status, Message: a.Message})
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(a.Status)
	fmt.Fprintf(w, "<!DOCTYPE html><title>%s</title><p>We are having a problem.</p>\n", http.StatusText(a.Status))
}

func showRateLimit(c *call) (int, any, error) {
	q := c.caller(c.Request)
	rate := object{"limit": q.limit, "remaining": q.remaining(), "used": q.used, "reset": q.reset.Unix()}
	return http.StatusOK, object{"resources": object{"core": rate, "search": rate}, "rate": rate}, nil
}
