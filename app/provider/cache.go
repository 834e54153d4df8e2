package provider

import (
	"sync"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// How long a verdict holds. What is live may be dead soon, and then its owners want
// to see it; what is dead stays so; what nobody knows is worth another question.
const (
	activeFor   = 2 * time.Minute
	inactiveFor = time.Hour
	unknownFor  = 15 * time.Second
)

// maxRemembered bounds how many verdicts are remembered.
const maxRemembered = 20_000

// A cache remembers verdicts for their lifetime, by a keyed hash of the rule, the
// host and the credential: it holds no secret, and no verdict can be taken for
// another rule's or host's.
type cache struct {
	now func() time.Time

	mu    sync.Mutex
	known map[string]remembered
}

// remembered is a verdict, or, without one, the moment before which all were wrong.
type remembered struct {
	verdict Verdict
	since   time.Time
	until   time.Time
}

func lifetime(v Verdict) time.Duration {
	switch {
	case v.Reason == ReasonNotAsked:
		return 0
	case v.Validity == checks.Unknown, v.Grade == GradeC: // the control may pass soon
		return unknownFor
	case v.Validity == checks.Active:
		return activeFor
	}
	return inactiveFor
}

// get returns the verdict under a key if it still holds.
func (c *cache) get(key string) (Verdict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.known[key]
	if !ok || r.verdict.Validity == "" || !c.now().Before(r.until) {
		return Verdict{}, false
	}
	return r.verdict.clone(), true
}

// put remembers a verdict, unless it is older than what made the last one wrong.
func (c *cache) put(key string, v Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if r, ok := c.known[key]; ok && r.verdict.Validity == "" && !v.Evidence.At.After(r.since) {
		return
	}
	c.room(now)
	if lives := lifetime(v); lives > 0 {
		c.known[key] = remembered{verdict: v.clone(), until: now.Add(lives)}
	}
}

// forget makes verdicts wrong that were asked for until now.
func (c *cache) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	c.room(now)
	c.known[key] = remembered{since: now, until: now.Add(activeFor)}
}

// room forgets what does not hold any more, and, if that is too little, anything.
func (c *cache) room(now time.Time) {
	if len(c.known) < maxRemembered {
		return
	}
	for key, r := range c.known {
		if !now.Before(r.until) {
			delete(c.known, key)
		}
	}
	makeRoom(c.known, maxRemembered*9/10)
}
