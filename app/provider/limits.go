package provider

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stanch-dev/stanch/rules"
)

const (
	// patience is how long a question waits for its turn. What would wait longer is
	// not asked now; a sweep asks again.
	patience = 30 * time.Second

	// A host that failed failuresToRest times in a row is left alone for shortestRest,
	// and, while it goes on to fail, for twice as long each time up to longestRest.
	failuresToRest = 5
	shortestRest   = 15 * time.Second
	longestRest    = 5 * time.Minute
	// longestWish bounds what a host's own Retry-After is believed.
	longestWish = time.Hour

	// maxHosts bounds how many hosts are remembered: a label of some is chosen by
	// whoever writes what is scanned.
	maxHosts = 4096
)

// Limits hold every provider's questions to its rate, and give a host that fails a
// rest. They count for one process.
type limits struct {
	now func() time.Time

	mu    sync.Mutex
	paces map[string]*pace // by the provider's name
	hosts map[string]*health
}

// A pace is when the last questions to a provider went out, or will.
type pace struct {
	in   time.Duration
	at   []time.Time // as many as may go out in that time
	next int         // the oldest of them
}

// Health is how a host does.
type health struct {
	failures int       // in a row
	until    time.Time // it is left alone
}

func newLimits(now func() time.Time) *limits {
	return &limits{now: now, paces: map[string]*pace{}, hosts: map[string]*health{}}
}

// turn waits until a provider may be asked. It returns why it is not asked now.
func (l *limits) turn(ctx context.Context, provider *rules.Provider) (why string, err error) {
	at, ok, err := l.reserve(provider, patience)
	if err != nil || !ok {
		return fmt.Sprintf("not asked: more than %s of questions to this provider wait", patience), err
	}
	wait := at.Sub(l.now())
	if wait <= 0 {
		return "", nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return "cancelled", nil
	case <-timer.C:
		return "", nil
	}
}

// count has a command counted, which waits for nobody: the questions after it do.
func (l *limits) count(provider *rules.Provider) error {
	_, _, err := l.reserve(provider, 1<<62)
	return err
}

// reserve takes the next moment at which a provider may be asked, unless that is
// farther away than within.
func (l *limits) reserve(provider *rules.Provider, within time.Duration) (time.Time, bool, error) {
	now := l.now()
	if provider == nil {
		return now, true, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.paces[provider.Name]
	if p == nil {
		times, in, err := rules.ParseRate(cmp.Or(provider.Rate, rules.DefaultRate))
		if err != nil {
			return now, false, fmt.Errorf("provider %s: %w", provider.Name, err)
		}
		p = &pace{in: in, at: make([]time.Time, times)}
		l.paces[provider.Name] = p
	}
	at := now
	if oldest := p.at[p.next]; !oldest.IsZero() && oldest.Add(p.in).After(now) {
		at = oldest.Add(p.in)
	}
	if at.Sub(now) > within {
		return at, false, nil
	}
	p.at[p.next] = at
	p.next = (p.next + 1) % len(p.at)
	return at, true, nil
}

// resting returns until when a host is left alone. The first question after a rest
// goes out; the others wait for what becomes of it.
func (l *limits) resting(host string) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, now := l.hosts[host], l.now()
	switch {
	case h == nil || h.until.IsZero():
		return time.Time{}, false
	case now.Before(h.until):
		return h.until, true
	case h.failures >= failuresToRest:
		h.until = now.Add(answerWithin)
	}
	return time.Time{}, false
}

// learn takes in how a host answered.
func (l *limits) learn(host string, v Verdict) {
	if v.Reason == ReasonNotAsked {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !v.Reason.failure() {
		delete(l.hosts, host)
		return
	}
	h := l.hosts[host]
	if h == nil {
		makeRoom(l.hosts, maxHosts)
		h = &health{}
		l.hosts[host] = h
	}
	h.failures++
	rest := time.Duration(0)
	if over := h.failures - failuresToRest; over >= 0 {
		rest = min(longestRest, shortestRest<<min(over, 10))
	}
	if v.Reason == ReasonLimited {
		rest = max(rest, min(longestWish, max(v.RetryAfter, time.Second)))
	}
	if rest > 0 {
		h.until = l.now().Add(rest)
	}
}

// makeRoom forgets any of what is remembered, so that there is room for one more.
func makeRoom[T any](known map[string]T, most int) {
	for name := range known {
		if len(known) < most {
			return
		}
		delete(known, name)
	}
}
