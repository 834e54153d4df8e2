package provider

import (
	"crypto/rand"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// How long the outcome of a negative control holds. A host that told a random
// value from a live one does not change its mind soon; one that failed is asked
// again before long.
const (
	passedFor = 10 * time.Minute
	failedFor = time.Minute
)

// A control remembers, for each rule and host, whether the host refused a random
// value of the rule's shape. A host that accepts it accepts everything, and its
// word about a real credential is worth nothing.
type control struct {
	now     func() time.Time
	flights singleflight.Group

	mu    sync.Mutex
	known map[string]controlled
}

// controlled is the outcome of one control.
type controlled struct {
	validity checks.Validity // of the random value: Inactive is what it must be
	answer   string
	until    time.Time
}

// settle returns the outcome under a key, asking only when none is fresh.
func (c *control) settle(key string, ask func() (Verdict, error)) (controlled, error) {
	c.mu.Lock()
	known, ok := c.known[key]
	c.mu.Unlock()
	if ok && c.now().Before(known.until) {
		return known, nil
	}
	outcome, err, _ := c.flights.Do(key, func() (any, error) {
		verdict, err := ask()
		if err != nil {
			return controlled{}, err
		}
		fresh := controlled{validity: verdict.Validity, answer: verdict.Evidence.Answer}
		fresh.until = c.now().Add(failedFor)
		if fresh.validity == checks.Inactive {
			fresh.until = c.now().Add(passedFor)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.known[key] = fresh
		return fresh, nil
	})
	if err != nil {
		return controlled{}, err
	}
	return outcome.(controlled), nil
}

// randomLike returns cred with a random secret of the rule's shape. The other
// parts stay: they say which account is meant, and are no secret by themselves.
func randomLike(rule *rules.Rule, cred checks.Credential) (checks.Credential, error) {
	value, err := rules.Expand(rule.Sample, rand.Reader)
	if err != nil {
		return checks.Credential{}, fmt.Errorf("rule %s: random value: %w", rule.ID, err)
	}
	parts := maps.Clone(cred.Parts)
	parts[checks.PartSecret] = checks.NewSecret(value)
	return checks.Credential{Rule: cred.Rule, Parts: parts}, nil
}

// A chooser is a verifier that changes the random credential, where a random secret
// is not enough to make one.
type chooser interface {
	random(checks.Credential) checks.Credential
}

// judge grades a yes or a no by the outcome of the control.
func (v *Verdict) judge(c controlled) {
	v.Evidence.Control = c.answer
	switch {
	case c.validity == checks.Active:
		v.Validity, v.Grade, v.LacksScope = checks.Unknown, GradeC, false
		v.Evidence.Identity = nil
		v.Evidence.Control = "accepted a random value: " + c.answer
	case c.validity == checks.Inactive:
		v.Grade = GradeB
		if v.Validity == checks.Active && len(v.Evidence.Identity) > 0 {
			v.Grade = GradeA
		}
		v.Evidence.Control = "refused a random value: " + c.answer
	default:
		v.Grade = GradeC
		v.Evidence.Control = "no answer about a random value: " + c.answer
	}
}
