package provider

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A counted is a GitHub that knows one live token, counts the questions about it and
// about others, and can be told what else to say.
type counted struct {
	live, dead    checks.Credential
	about, others atomic.Int32
	instead       atomic.Pointer[http.HandlerFunc] // of the answers about live
	random        atomic.Pointer[http.HandlerFunc] // of the answers about random values
	now           time.Time
	p             *Providers
}

func newCounted(t *testing.T, change func(*Config)) *counted {
	c := &counted{live: sample(t, "github-pat"), dead: sample(t, "github-pat"), now: time.Now()}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		about := func(cred checks.Credential) bool {
			return strings.HasSuffix(r.Header.Get("Authorization"), cred.Secret().Expose())
		}
		say := c.random.Load()
		if about(c.live) || about(c.dead) {
			c.about.Add(1)
			say = c.instead.Load()
		} else {
			c.others.Add(1)
		}
		if say != nil {
			(*say)(w, r)
			return
		}
		gitHub(c.live)(w, r)
	})
	cfg := Config{BaseURLs: map[string]string{"github": server.URL}, Now: func() time.Time { return c.now }}
	if change != nil {
		change(&cfg)
	}
	c.p = newProviders(t, cfg)
	return c
}

// ask asks and says how often the provider was asked in all.
func (c *counted) ask(t *testing.T, cred checks.Credential, about int32) Verdict {
	t.Helper()
	v, err := c.p.Verify(t.Context(), cred)
	if err != nil {
		t.Fatal(err)
	}
	if n := c.about.Load(); n != about {
		t.Errorf("asked %d times, want %d: %+v", n, about, v)
	}
	return v
}

func say(status int, body string) *http.HandlerFunc {
	h := always(status, "application/json", body)
	return &h
}

func TestVerdictsHoldForTheirLifetime(t *testing.T) {
	c := newCounted(t, nil)
	first := c.ask(t, c.live, 1)
	first.Evidence.Identity["login"] = "somebody else" // the caller's own
	c.now = c.now.Add(activeFor - 1)
	if v := c.ask(t, c.live, 1); v.Validity != checks.Active || v.Evidence.Identity["login"] != "octocat" {
		t.Errorf("%+v", v)
	}
	c.now = c.now.Add(1)
	c.ask(t, c.live, 2)

	c.ask(t, c.dead, 3)
	c.now = c.now.Add(inactiveFor - 1)
	c.ask(t, c.dead, 3)
	c.now = c.now.Add(1)
	c.ask(t, c.dead, 4)

	c.instead.Store(say(403, `{"message":"Strange"}`))
	if v := c.ask(t, c.live, 5); v.Validity != checks.Unknown || v.Reason != ReasonUnfit {
		t.Errorf("%+v", v)
	}
	c.now = c.now.Add(unknownFor - 1)
	c.ask(t, c.live, 5)
	c.now = c.now.Add(1)
	c.instead.Store(nil)
	if v := c.ask(t, c.live, 6); v.Validity != checks.Active {
		t.Errorf("%+v", v)
	}
	if v, err := c.p.VerifyAgain(t.Context(), c.live); err != nil || v.Validity != checks.Active || c.about.Load() != 7 {
		t.Errorf("again: %+v, %v after %d questions", v, err, c.about.Load())
	}
}

// That it was live before something happened is not enough; that it was dead is.
func TestVerifySince(t *testing.T) {
	c := newCounted(t, nil)
	ask := func(cred checks.Credential, since time.Time, about int32) {
		t.Helper()
		if v, err := c.p.VerifySince(t.Context(), cred, since); err != nil || v.Validity == checks.Unknown || c.about.Load() != about {
			t.Errorf("%+v, %v after %d questions, want %d", v, err, c.about.Load(), about)
		}
	}
	c.ask(t, c.live, 1)
	ask(c.live, c.now, 1)
	since := c.now.Add(time.Second)
	ask(c.live, since, 2) // its clock is behind ours; so be it
	c.now = c.now.Add(2 * time.Second)
	ask(c.live, since, 3)
	ask(c.live, since, 3)
	c.ask(t, c.dead, 4)
	ask(c.dead, c.now.Add(time.Minute), 4)
}

// A verdict is of one rule, one host and all parts of a credential.
func TestVerdictsDoNotCross(t *testing.T) {
	c := newCounted(t, nil)
	c.ask(t, c.live, 1)
	other := credential("github-fine-grained-pat", c.live.Secret().Expose())
	c.ask(t, other, 2)
	rule := acme(t, twoSteps)
	p := newProviders(t, Config{Catalogue: []*rules.Rule{rule}})
	names := map[string]string{}
	for _, change := range []string{"", "user", "dc", "secret"} {
		cred := exampleCredential(t, rule)
		for name := range cred.Parts {
			cred.Parts[name] = checks.NewSecret("x")
		}
		if change != "" {
			cred.Parts[change] = checks.NewSecret("y")
		}
		name := p.question(rule, cred)
		if names[name] != "" {
			t.Errorf("%q is as %q", change, names[name])
		}
		names[name] = "what has another " + change
	}
}

func TestRevocationMakesForgotten(t *testing.T) {
	c := newCounted(t, nil)
	c.ask(t, c.live, 1)
	c.now = c.now.Add(time.Second)
	if _, err := c.p.Revoke(t.Context(), Target{Credential: c.live}); err == nil { // gitHub knows no revocation: how it ended is not known
		t.Error("no error")
	}
	before := c.others.Load()
	c.ask(t, c.live, 2)
	if c.others.Load() != before {
		t.Error("the control was repeated")
	}
	// What was asked before the revocation is not remembered after it.
	key := c.p.question(c.p.rules["github-pat"], c.live)
	c.p.cache.forget(key)
	c.p.cache.put(key, Verdict{Validity: checks.Active, Grade: GradeA, Evidence: Evidence{At: c.now.Add(-time.Second)}})
	c.ask(t, c.live, 3)
}

func TestMemoryIsBounded(t *testing.T) {
	now := time.Now()
	c := cache{now: func() time.Time { return now }, known: map[string]remembered{}}
	l := newLimits(c.now)
	k := control{now: c.now, known: map[string]controlled{}}
	for i := range maxRemembered + 100 {
		name := time.Duration(i).String()
		c.put(name, Verdict{Validity: checks.Inactive, Grade: GradeB})
		l.learn(name, Verdict{Reason: ReasonUnreachable})
		k.remember(name, controlled{})
	}
	if len(c.known) > maxRemembered || len(l.hosts) > maxHosts || len(k.known) > maxControls {
		t.Errorf("%d verdicts, %d hosts, %d controls", len(c.known), len(l.hosts), len(k.known))
	}
	if _, ok := c.get(time.Duration(maxRemembered + 99).String()); !ok {
		t.Error("the newest is forgotten")
	}
}

func TestHostsThatFailRest(t *testing.T) {
	c := newCounted(t, nil)
	c.instead.Store(say(502, `{}`))
	for n := range int32(failuresToRest) {
		c.now = c.now.Add(unknownFor)
		if v := c.ask(t, c.live, n+1); v.Reason != ReasonServerError {
			t.Fatalf("%+v", v)
		}
	}
	resting := func(about int32) {
		t.Helper()
		if v := c.ask(t, c.dead, about); v.Reason != ReasonNotAsked || !strings.Contains(v.Evidence.Answer, "is left alone until") {
			t.Errorf("%+v", v)
		}
	}
	resting(failuresToRest)
	c.now = c.now.Add(shortestRest)
	c.ask(t, c.live, failuresToRest+1) // fails again
	c.now = c.now.Add(2*shortestRest - 1)
	resting(failuresToRest + 1)
	c.now = c.now.Add(1)
	c.instead.Store(nil)
	if v := c.ask(t, c.live, failuresToRest+2); v.Validity != checks.Active {
		t.Errorf("%+v", v)
	}
	c.ask(t, c.dead, failuresToRest+3)
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for wish, want := range map[string]time.Duration{"a date": 2 * time.Minute, "90": 90 * time.Second, "": time.Second, "-5": time.Second, "nonsense": time.Second, "999999999": longestWish} {
		c := newCounted(t, nil)
		c.now = c.now.Truncate(time.Second)
		if wish == "a date" {
			wish = c.now.Add(want).UTC().Format(http.TimeFormat)
		}
		limit := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", wish)
			answer(w, 429, "application/json", `{}`)
		})
		c.instead.Store(&limit)
		if v := c.ask(t, c.live, 1); v.Reason != ReasonLimited {
			t.Errorf("%+v", v)
		}
		c.now = c.now.Add(want - 1)
		c.ask(t, c.dead, 1)
		c.now = c.now.Add(1)
		c.ask(t, c.dead, 2)
	}
}

// A provider that begins to accept anything is found out by schedule, and held until
// it refuses a random value again.
func TestControlsAreRepeatedOnSchedule(t *testing.T) {
	c := newCounted(t, nil)
	recontrol := func(others int32, held int) {
		t.Helper()
		if err := c.p.Recontrol(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := c.others.Load(); n != others || len(c.p.Held()) != held {
			t.Fatalf("%d random values, held %+v; want %d and %d", n, c.p.Held(), others, held)
		}
	}
	c.ask(t, c.live, 1)
	recontrol(1, 0)
	c.now = c.now.Add(passedFor)
	recontrol(2, 0)
	c.random.Store(say(200, whoIs))
	c.now = c.now.Add(passedFor)
	recontrol(3, 1)
	if h := c.p.Held()[0]; h.Provider != "github" || h.Rule != "github-pat" || h.Answer != "200 with identity" || !h.Since.Equal(c.now) || h.Named {
		t.Errorf("%+v", h)
	}
	if v := c.ask(t, c.live, 2); v.Validity != checks.Unknown || v.Grade != GradeC || v.Reason != ReasonLies {
		t.Errorf("%+v", v)
	}
	since := c.now
	recontrol(3, 1)
	c.now = c.now.Add(failedFor)
	recontrol(4, 1)
	c.now = c.now.Add(2*failedFor - 1)
	recontrol(4, 1)
	c.now = c.now.Add(1)
	recontrol(5, 1)
	if h := c.p.Held()[0]; !h.Since.Equal(since) {
		t.Errorf("held since %s, want %s", h.Since, since)
	}
	c.random.Store(nil)
	c.now = c.now.Add(longestFailed)
	recontrol(6, 0)
	if v := c.ask(t, c.live, 3); v.Grade != GradeA {
		t.Errorf("%+v", v)
	}
	c.now = c.now.Add(usedFor + passedFor) // nobody needs it any more
	recontrol(6, 0)
}

func TestSwitches(t *testing.T) {
	off := newCounted(t, func(cfg *Config) { cfg.Off = true })
	if v := off.ask(t, off.live, 0); v.Reason != ReasonNotAsked || v.Evidence.Answer != "verification is switched off" {
		t.Errorf("%+v", v)
	}
	if can := off.p.Can("github-pat"); can.Verify {
		t.Errorf("%+v", can)
	}
	if _, err := off.p.VerifyAgain(t.Context(), off.live); err != nil || off.about.Load() != 0 {
		t.Errorf("asked %d times, %v", off.about.Load(), err)
	}
	some := newCounted(t, func(cfg *Config) { cfg.Only = []string{"github-pat"} })
	some.ask(t, some.live, 1)
	other := some.live
	other.Rule = "github-oauth-token"
	if v := some.ask(t, other, 1); v.Reason != ReasonNotAsked {
		t.Errorf("%+v", v)
	}
	if _, err := New(Config{Catalogue: catalogue(t), Only: []string{"github-pad"}}); err == nil || !strings.Contains(err.Error(), "github-pad") {
		t.Errorf("a kind that is none: %v", err)
	}
}

// A question that would wait too long for its turn is not asked; commands are.
func TestPatienceEnds(t *testing.T) {
	slow := catalogueRule(t, "github-pat")
	slow.Provider.Rate = "2/h"
	c := newCounted(t, func(cfg *Config) { cfg.Catalogue = []*rules.Rule{slow} })
	c.ask(t, c.live, 1) // and the control
	v := c.ask(t, c.dead, 1)
	if v.Reason != ReasonNotAsked || !strings.Contains(v.Evidence.Answer, "wait") {
		t.Errorf("%+v", v)
	}
	c.p.Revoke(t.Context(), Target{Credential: c.dead})
	c.now = c.now.Add(time.Hour)
	c.ask(t, c.dead, 2) // the revocation was one of the two
	if v := c.ask(t, c.live, 2); !strings.Contains(v.Evidence.Answer, "wait") {
		t.Errorf("%+v", v)
	}
	slow.Provider.Rate = "often"
	if _, err := newProviders(t, Config{Catalogue: []*rules.Rule{slow}}).Verify(t.Context(), c.live); err == nil {
		t.Error("a rate that is none is a mistake of the catalogue, and there was no error")
	}
}

// However many ask at the same time and one after the other, the provider is asked once.
func TestOneQuestionPerLifetime(t *testing.T) {
	c := newCounted(t, nil)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 20 {
				if v, err := c.p.Verify(t.Context(), c.live); err != nil || v.Grade != GradeA {
					t.Errorf("%+v, %v", v, err)
				}
			}
		})
	}
	wg.Wait()
	if c.about.Load() != 1 || c.others.Load() != 1 {
		t.Errorf("%d questions and %d controls", c.about.Load(), c.others.Load())
	}
}

// What names an account or a host in scanned text is told apart from what the catalogue
// and the operator name.
func TestHeldTellsWhoNamedTheHost(t *testing.T) {
	p := newProviders(t, Config{VerifyHosts: []string{"db.example.net"}})
	for rule, named := range map[string]bool{"postgres-url": true, "github-pat": false} {
		r := p.rules[rule]
		host := p.verifier(r).host(r, account(rule, "db.example.net"))
		p.control.remember(rule, controlled{rule: r, host: host, validity: checks.Active, answer: "yes"})
		for _, h := range p.Held() {
			if h.Rule == rule && (h.Named != named || h.Host == "") {
				t.Errorf("%+v, want named = %t", h, named)
			}
		}
	}
	if n := len(p.Held()); n != 2 {
		t.Errorf("%d are held, want 2", n)
	}
}
