package app_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// A searched world keeps a leaked token at ci/shop, which files of the default branch
// name, and a copy of it at GitHub, which a workflow names. It remembers what was searched.
type searchedWorld struct {
	*world
	leaked, id string

	mu     sync.Mutex
	asked  []string
	answer *githubtest.LimitAnswer // instead of a search's
}

func newSearchedWorld(t *testing.T) *searchedWorld {
	t.Helper()
	s := &searchedWorld{world: newWorld(t, worldOptions{policy: policyOf(app.Ask, app.Ask), tamper: func(w *world, cfg *app.Config) {
		withAPI(w, cfg)
		c, err := app.ParseCopy("acme/shop:actions:DEPLOY_TOKEN=file:ci/shop#token")
		w.must(err)
		cfg.Copies = []app.Copy{c}
	}})}
	s.leaked = s.token("ci/shop")
	s.must(s.github.SetSecret("acme/shop:actions:DEPLOY_TOKEN", s.leaked))
	s.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if !strings.HasSuffix(r.URL.Path, "/search/code") {
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, r.URL.Query().Get("q"))
		return s.answer
	})
	g := s.seeded()
	head := g.commit("readers", map[string]string{
		"deploy/api.yaml": "secret: ci/shop\n", "deploy/run.sh": "stanch store get CI/shop\n", "ci shop": "nothing\n",
		".github/workflows/ci.yml": "env: {TOKEN: '${{ secrets.DEPLOY_TOKEN }}'}\n",
	})
	g.push("main")
	s.check(head, "is green", completed("success"))
	head = s.leak(g, "leak", "a.env", env(s.leaked))
	s.check(head, "is red", completed("failure"))
	s.id = s.incidentOf(s.leaked).ID
	return s
}

// risks are those of a plan, which comes whatever the search says.
func (s *searchedWorld) risks() []string {
	s.t.Helper()
	var plan app.Plan
	if status, text := s.call("ada", "GET", "/incidents/"+s.id+"/plan?verb=rotate", nil, &plan); status != 200 || plan.Stops != "" {
		s.t.Fatalf("%d: %s", status, text)
	}
	return plan.Risks
}

// searched is what was searched for since it was last asked.
func (s *searchedWorld) searched() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func (s *searchedWorld) answering(a *githubtest.LimitAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = a
}

// TestPlanNamesMentions: files of the default branches that name where the credential is
// kept are what could break. Only a plan searches, and only for names.
func TestPlanNamesMentions(t *testing.T) {
	s := newSearchedWorld(t)
	if asked := s.searched(); len(asked) > 0 {
		t.Errorf("searched for %q without a plan", asked)
	}
	risks := s.risks()
	for _, want := range []string{
		"acme/shop: .github/workflows/ci.yml names “secrets.DEPLOY_TOKEN”: it may read it from there",
		"acme/shop: deploy/api.yaml names “ci/shop”: it may read it from there",
		"acme/shop: deploy/run.sh names “ci/shop”: it may read it from there",
	} {
		if !slices.Contains(risks, want) {
			t.Errorf("%q is not among %q", want, risks)
		}
	}
	if strings.Contains(strings.Join(risks, "\n"), "ci shop") {
		t.Errorf("a file that names nothing: %q", risks)
	}
	if asked := s.searched(); !slices.Equal(asked, []string{`"secrets.DEPLOY_TOKEN" repo:acme/shop`, `"ci/shop" user:acme`}) {
		t.Errorf("searched for %q", asked)
	}
	s.findNone(s.leaked)
}

// TestPlanWithoutASearch: a plan that cannot search says so, and is made all the same.
func TestPlanWithoutASearch(t *testing.T) {
	s := newSearchedWorld(t)
	s.answering(githubtest.BadGateway())
	if risks := s.risks(); !slices.Contains(risks, "which files name “ci/shop” could not be searched for: Stanch’s log says why") {
		t.Errorf("an outage: %q", risks)
	}
	limit := githubtest.PrimaryLimit(time.Now().Add(time.Minute), true)
	limit.Header.Set("X-Ratelimit-Resource", "code_search")
	s.answering(limit)
	s.searched()
	risks := strings.Join(s.risks(), "\n")
	holds(t, risks, "which files name “secrets.DEPLOY_TOKEN” could not be searched for: GitHub takes the next search in ", "which files name “ci/shop” could not be searched for: GitHub takes")
	if asked := s.searched(); len(asked) != 1 {
		t.Errorf("searched for %q, at the limit", asked)
	}
}
