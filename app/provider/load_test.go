package provider

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A crowd is many providers, in one, that count what they are asked.
type crowd struct {
	mu      sync.Mutex
	byHost  map[string][]time.Time // when each was asked
	bySaid  map[string][]time.Time // and about what
	answers int
}

// RoundTrip answers as a provider does that tells live credentials by their last digit,
// a while after it was asked.
func (c *crowd) RoundTrip(r *http.Request) (*http.Response, error) {
	said := r.Header.Get("X-Key")
	c.mu.Lock()
	c.byHost[r.Host] = append(c.byHost[r.Host], time.Now())
	c.bySaid[said] = append(c.bySaid[said], time.Now())
	c.answers++
	c.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	w := httptest.NewRecorder()
	if strings.HasSuffix(said, "LIVE") {
		answer(w, 200, "application/json", `{"owner":"joe"}`)
	} else {
		answer(w, 401, "application/json", `{"error":"invalid"}`)
	}
	return w.Result(), nil
}

// crowdOf makes the rules of so many providers, whose rates differ.
func crowdOf(n int) []*rules.Rule {
	var all []*rules.Rule
	rates := []string{"", "1/s", "3/s", "20/m", "500/h"}
	for i := range n {
		name := fmt.Sprintf("p%d", i)
		all = append(all, &rules.Rule{
			ID: name, Sample: "{20:hex}", Provider: &rules.Provider{Name: name, Base: "https://" + name + ".example", Rate: rates[i%len(rates)]},
			Verify: rules.Action{
				Request: &rules.Request{Method: "GET", Path: "/me", Header: map[string]string{"X-Key": "{secret}"}},
				Answers: []rules.Answer{
					{Status: 200, Means: rules.MeansActive, Identity: []string{"owner"}},
					{Status: 401, JSON: map[string]string{"error": "invalid"}, Means: rules.MeansInactive},
				},
			},
		})
	}
	return all
}

// TestLoad asks about 10,000 findings with 300 credentials of 40 providers, while the
// time of its own runs as fast as the work allows.
func TestLoad(t *testing.T) {
	const findings, distinct, providers, atOnce = 10_000, 300, 40, 64
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		all := crowdOf(providers)
		c := &crowd{byHost: map[string][]time.Time{}, bySaid: map[string][]time.Time{}}
		p := newProviders(t, Config{Catalogue: all})
		p.web.guarded.Transport = c
		creds := make([]checks.Credential, distinct)
		for i := range creds {
			word := []string{"LIVE", "DEAD"}[i/providers%2]
			creds[i] = credential(all[i%providers].ID, fmt.Sprintf("key%d-%s", i, word))
		}
		ask := func(findings int) (told map[checks.Validity]int) {
			told = map[checks.Validity]int{}
			var mu sync.Mutex
			group, ctx := errgroup.WithContext(context.Background())
			group.SetLimit(atOnce)
			for range findings {
				cred := creds[rand.IntN(distinct)]
				group.Go(func() error {
					v, err := p.Verify(ctx, cred)
					mu.Lock()
					defer mu.Unlock()
					told[v.Validity]++
					if live := strings.HasSuffix(cred.Secret().Expose(), "LIVE"); v.Validity != checks.Unknown && live != (v.Validity == checks.Active) {
						t.Errorf("%s: %+v", cred.Rule, v)
					}
					return err
				})
			}
			if err := group.Wait(); err != nil {
				t.Error(err)
			}
			return told
		}
		told := ask(findings)
		took := time.Since(began)
		if told[checks.Unknown] > 0 {
			t.Errorf("%d findings are unknown", told[checks.Unknown])
		}
		asked, most := c.judge(t, all)
		t.Logf("%d findings, %d credentials, %d providers, %d at once: %d questions, %d of them controls, in %s of the providers' time; each credential asked about %d time at the most; told %v",
			findings, distinct, providers, atOnce, c.answers, c.answers-asked, took.Round(time.Millisecond), most, told)
		time.Sleep(activeFor + time.Second)
		ask(findings)
		c.judge(t, all)
	})
}

// judge checks that nobody was asked more often than it may be, and returns how many
// questions were about the credentials and how often the most asked one was.
func (c *crowd) judge(t *testing.T, all []*rules.Rule) (asked, most int) {
	for said, at := range c.bySaid {
		if !strings.HasPrefix(said, "key") {
			continue
		}
		asked, most = asked+len(at), max(most, len(at))
		lives := inactiveFor
		if strings.HasSuffix(said, "LIVE") {
			lives = activeFor
		}
		for i := 1; i < len(at); i++ {
			if between := at[i].Sub(at[i-1]); between < lives {
				t.Errorf("a credential was asked about twice in %s", between)
			}
		}
	}
	for _, rule := range all {
		rate := rule.Provider.Rate
		if rate == "" {
			rate = rules.DefaultRate
		}
		times, in, _ := rules.ParseRate(rate)
		at := c.byHost[rule.ID+".example"]
		for i := times; i < len(at); i++ {
			if between := at[i].Sub(at[i-times]); between < in {
				t.Errorf("%s: %d questions in %s, and its rate is %s", rule.ID, times+1, between, rate)
			}
		}
	}
	return asked, most
}
