package provider

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
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

// randomLike returns cred with a random secret of the rule's shape, and with the
// parts that are pieces of the secret, as the token in a webhook's URL is, of that
// one. The other parts stay: they say which account is meant, and are no secret by
// themselves; so does what names a host.
func randomLike(rule *rules.Rule, cred checks.Credential) (checks.Credential, error) {
	value, err := rules.Expand(rule.Sample, rand.Reader)
	if err != nil {
		return checks.Credential{}, fmt.Errorf("rule %s: random value: %w", rule.ID, err)
	}
	parts := maps.Clone(cred.Parts)
	parts[checks.PartSecret] = checks.NewSecret(value)
	var pieces map[string]string
	for name, part := range cred.Parts {
		if name == checks.PartSecret || label(rule, name) || !strings.Contains(cred.Secret().Expose(), part.Expose()) {
			continue
		}
		if pieces == nil {
			if pieces, err = dissect(rule); err != nil {
				return checks.Credential{}, err
			}
			parts[checks.PartSecret] = checks.NewSecret(pieces[checks.PartSecret])
		}
		parts[name] = checks.NewSecret(pieces[name])
	}
	return checks.Credential{Rule: cred.Rule, Parts: parts}, nil
}

// label says whether a part stands for a label of the host that is asked.
func label(rule *rules.Rule, part string) bool {
	return slices.ContainsFunc(rule.Verify.Steps(), func(s rules.Step) bool { return rules.FirstLabel(s.Request.Base) == part })
}

// dissect finds a random secret in an example, with the pieces that the rule's
// pattern gives names to.
func dissect(rule *rules.Rule) (map[string]string, error) {
	pattern, err := regexp.Compile(cmp.Or(rule.Detect.Pattern, "(?P<secret>"+rule.Detect.Value+")"))
	if err != nil {
		return nil, fmt.Errorf("rule %s: %w", rule.ID, err)
	}
	for _, example := range rule.Examples {
		text, sample, err := rule.Expand(example, rand.Reader)
		if err != nil {
			return nil, err
		}
		for _, m := range pattern.FindAllStringSubmatch(text, -1) {
			pieces := map[string]string{}
			for i, name := range pattern.SubexpNames() {
				if name != "" {
					pieces[name] = m[i]
				}
			}
			if pieces[checks.PartSecret] = m[max(0, pattern.SubexpIndex(checks.PartSecret))]; pieces[checks.PartSecret] == sample {
				return pieces, nil
			}
		}
	}
	return nil, fmt.Errorf("rule %s: no example shows the pieces of a random value", rule.ID)
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
