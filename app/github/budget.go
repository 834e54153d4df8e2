package github

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// reserved is the part of an hour's requests, one in so many, that is left to what
// somebody waits for: of the 5,000 that every installation has at least, 1,000.
// Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#primary-rate-limit-for-github-app-installations
const reserved = 5

type backgroundKey struct{}

// InBackground marks what nobody waits for, such as a backfill or a sweep. Its
// requests are not sent when the hour's are nearly used up.
func InBackground(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

func isBackground(ctx context.Context) bool { return ctx.Value(backgroundKey{}) != nil }

// A budget is what GitHub said last of an identity's primary rate limit. Its zero
// value knows of none: an Enterprise Server has none unless it is told to.
type budget struct {
	mu               sync.Mutex
	limit, remaining int
	reset            time.Time
}

// note reads the headers of an answer. Limits of other resources, such as searches,
// are not the one that is spent here.
// Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#checking-the-status-of-your-rate-limit
func (b *budget) note(h http.Header) {
	if resource := h.Get("X-RateLimit-Resource"); resource != "" && resource != "core" {
		return
	}
	limit, err := strconv.Atoi(h.Get("X-RateLimit-Limit"))
	if err != nil {
		return
	}
	remaining, err := strconv.Atoi(h.Get("X-RateLimit-Remaining"))
	if err != nil {
		return
	}
	reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Unix(reset, 0)
	if at.Equal(b.reset) && remaining > b.remaining {
		return // an answer that was overtaken
	}
	b.limit, b.remaining, b.reset = limit, remaining, at
}

// wait is how long to leave what remains to others: until the limit is renewed.
func (b *budget) wait() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limit == 0 || b.remaining > b.limit/reserved {
		return 0
	}
	return min(time.Until(b.reset), maxWait)
}

// A meter notes what the answers say of a budget.
type meter struct {
	base   http.RoundTripper
	budget *budget
}

// RoundTrip implements http.RoundTripper.
func (m *meter) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := m.base.RoundTrip(req)
	if err == nil {
		m.budget.note(resp.Header)
	}
	return resp, err
}
