package provider

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
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
// again before long, and, while it goes on to fail, after twice as long each time.
const (
	passedFor     = 10 * time.Minute
	failedFor     = time.Minute
	longestFailed = time.Hour
	// usedFor is how long a control is repeated on schedule after it was last needed.
	usedFor = time.Hour
)

// maxControls bounds how many outcomes are remembered.
const maxControls = 4096

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
	failures int       // in a row
	since    time.Time // when the first of them was
	used     time.Time // when a verdict last rested on it

	rule  *rules.Rule
	host  string
	probe checks.Credential // a random one, to ask again with
}

// Held is a kind of credential whose provider did not refuse a random value: until it
// does, nothing that it says is of a better grade than C.
type Held struct {
	Provider string    `json:"provider"`
	Rule     string    `json:"rule"`
	Host     string    `json:"host"`
	Named    bool      `json:"named"`  // Host holds what stands beside a credential, such as its account
	Answer   string    `json:"answer"` // what it said of the random value
	Since    time.Time `json:"since"`
}

// Held returns what is held at grade C, by provider and rule.
func (p *Providers) Held() []Held {
	p.control.mu.Lock()
	defer p.control.mu.Unlock()
	var all []Held
	for _, c := range p.control.known {
		if c.failures > 0 {
			all = append(all, Held{
				Provider: providerName(c.rule), Rule: c.rule.ID, Host: c.host, Answer: c.answer, Since: c.since,
				Named: c.host != p.verifier(c.rule).host(c.rule, checks.Credential{}),
			})
		}
	}
	slices.SortFunc(all, func(a, b Held) int {
		return cmp.Or(strings.Compare(a.Provider, b.Provider), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Host, b.Host))
	})
	return all
}

func providerName(rule *rules.Rule) string {
	if rule.Provider == nil {
		return ""
	}
	return rule.Provider.Name
}

// settle returns the outcome for a rule and the host that a credential is asked of,
// asking only when none is fresh.
func (p *Providers) settle(ctx context.Context, v verifier, rule *rules.Rule, cred checks.Credential) (controlled, error) {
	host := v.host(rule, cred)
	key := rule.ID + " " + host
	if c, ok := p.control.fresh(key); ok {
		return c, nil
	}
	outcome, err, _ := p.control.flights.Do(key, func() (any, error) {
		if c, ok := p.control.fresh(key); ok { // from the flight before
			return c, nil
		}
		return p.tryRandom(ctx, v, rule, cred, key, p.now())
	})
	if err != nil {
		return controlled{}, err
	}
	return outcome.(controlled), nil
}

// tryRandom asks about a random value and remembers what came of it.
func (p *Providers) tryRandom(ctx context.Context, v verifier, rule *rules.Rule, cred checks.Credential, key string, used time.Time) (controlled, error) {
	c := controlled{rule: rule, host: v.host(rule, cred), used: used, validity: checks.Unknown, answer: "the rule has no sample"}
	if rule.Sample != "" {
		random, err := randomLike(rule, cred)
		if err != nil {
			return controlled{}, err
		}
		if c, ok := v.(chooser); ok {
			random = c.random(random)
		}
		verdict, err := p.bounded(ctx, v, rule, random)
		if err != nil {
			return controlled{}, err
		}
		c.probe, c.validity, c.answer = random, verdict.Validity, verdict.Evidence.Answer
		if verdict.Reason == ReasonNotAsked {
			return c, nil // nothing was learnt
		}
	}
	p.control.remember(key, c)
	return c, nil
}

// fresh returns the outcome under a key while it holds.
func (c *control) fresh(key string) (controlled, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.known[key]
	if !ok || !c.now().Before(known.until) {
		return controlled{}, false
	}
	known.used = c.now()
	c.known[key] = known
	return known, true
}

// remember keeps an outcome for as long as it holds.
func (c *control) remember(key string, fresh controlled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	before, known := c.known[key]
	fresh.until = now.Add(passedFor)
	if fresh.validity != checks.Inactive {
		fresh.failures, fresh.since = before.failures+1, before.since
		if before.failures == 0 {
			fresh.since = now
		}
		fresh.until = now.Add(min(longestFailed, failedFor<<min(before.failures, 10)))
	}
	if !known {
		makeRoom(c.known, maxControls)
	}
	c.known[key] = fresh
}

// due returns the controls that are to be repeated: those that failed, and those that
// verdicts rested on not long ago.
func (c *control) due() map[string]controlled {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, all := c.now(), map[string]controlled{}
	for key, k := range c.known {
		if k.rule.Sample != "" && !now.Before(k.until) && (k.failures > 0 || now.Sub(k.used) < usedFor) {
			all[key] = k
		}
	}
	return all
}

// Recontrol repeats the negative controls whose outcome does not hold any more. It is
// to be called from time to time: a provider that has begun to accept anything is found
// out before its next credential leaks, and one that was held is let go.
func (p *Providers) Recontrol(ctx context.Context) error {
	var failed []error
	for key, c := range p.control.due() {
		v := p.verifier(c.rule)
		if ctx.Err() != nil || v == nil || p.closed(c.rule, v) != "" {
			continue
		}
		_, err := p.tryRandom(ctx, v, c.rule, c.probe, key, c.used)
		failed = append(failed, err)
	}
	return errors.Join(failed...)
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
	names, err := pieces(rule)
	if err != nil || len(names) == 0 {
		return checks.Credential{Rule: cred.Rule, Parts: parts}, err
	}
	random, err := dissect(rule)
	if err != nil {
		return checks.Credential{}, err
	}
	parts[checks.PartSecret] = checks.NewSecret(random[checks.PartSecret])
	for _, name := range names {
		if _, has := cred.Parts[name]; has && !label(rule, name) {
			parts[name] = checks.NewSecret(random[name])
		}
	}
	return checks.Credential{Rule: cred.Rule, Parts: parts}, nil
}

// pieces returns the names of the groups of a rule's pattern that lie within the secret.
func pieces(rule *rules.Rule) ([]string, error) {
	tree, err := syntax.Parse(cmp.Or(rule.Detect.Pattern, rule.Detect.Value), syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("rule %s: %w", rule.ID, err)
	}
	elsewhere := slices.ContainsFunc(rule.Detect.Companions, func(c rules.Companion) bool { return c.Name == checks.PartSecret })
	if elsewhere {
		return nil, nil
	}
	within := !slices.Contains(tree.CapNames(), checks.PartSecret) // else the whole of it is the secret
	var names []string
	var walk func(*syntax.Regexp, bool)
	walk = func(re *syntax.Regexp, within bool) {
		if within && re.Op == syntax.OpCapture && re.Name != "" {
			names = append(names, re.Name)
		}
		for _, sub := range re.Sub {
			walk(sub, within || re.Name == checks.PartSecret)
		}
	}
	walk(tree, within)
	return names, nil
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
		v.Validity, v.Grade, v.LacksScope, v.Reason = checks.Unknown, GradeC, false, ReasonLies
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
