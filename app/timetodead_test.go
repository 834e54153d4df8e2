package app_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
)

// leaks is how many live tokens TestTimeToDead leaks, a push each; fewLeaks where
// somebody waits for the tests, and manyLeaks in CI.
var leaks = flag.Int("leaks", 0, "have the test of the time to dead leak so many tokens")

const (
	fewLeaks  = 16
	manyLeaks = 200
)

// TestTimeToDead leaks live tokens of the simulated GitHub and of a real OpenBao, all of
// which OpenBao keeps, and tells how long after its push each was proved dead.
func TestTimeToDead(t *testing.T) {
	count := fewLeaks
	if os.Getenv("STANCH_CI") != "" && !raced {
		count = manyLeaks
	}
	count = cmp.Or(*leaks, count)
	for _, test := range []struct {
		developers int
		distance   time.Duration // of GitHub, there and back
	}{{1, 0}, {4, 0}, {4, 100 * time.Millisecond}} {
		developers := test.developers
		t.Run(fmt.Sprintf("developers=%d,distance=%s", developers, test.distance), func(t *testing.T) {
			r := newRace(t)
			r.seeded()
			r.github.Limit(func(*http.Request) *githubtest.LimitAnswer {
				time.Sleep(test.distance)
				return nil
			})
			var wg sync.WaitGroup
			for n := range developers {
				pushes := count / developers
				tree, tokens := r.developer(n, pushes)
				wg.Go(func() { r.pushAll(tree, tokens) })
			}
			wg.Wait()
			r.tell(count)
		})
	}
}

// A race is a world in which Stanch runs against the clock.
type race struct {
	*world
	bao *baotest.Server

	mu     sync.Mutex
	pushed map[string]time.Time // by the head commit
	kinds  map[string]string    // what it leaks
}

// newRace is a world whose secrets are kept by a real OpenBao.
func newRace(t *testing.T) *race {
	r := &race{bao: baotest.Start(t), pushed: map[string]time.Time{}, kinds: map[string]string{}}
	for name, file := range map[string]string{"stanch": "stanch.hcl", "stanch-issue": "stanch-issue.hcl"} {
		r.bao.Policy(name, "@"+filepath.Join("..", "deploy", "vault", file))
	}
	r.bao.Policy("ci-deploy", `path "secret/data/app/*" { capabilities = ["read"] }`)
	r.bao.Must("POST", "auth/token/roles/stanch-issue", map[string]any{"orphan": true, "renewable": true, "allowed_policies_glob": "ci-*"})
	own := checks.NewSecret(r.bao.Token(map[string]any{"policies": []string{"stanch", "stanch-issue"}}))
	r.world = newWorld(t, worldOptions{cloud: true, tamper: func(w *world, cfg *app.Config) {
		vault, err := secretstore.NewVault(secretstore.VaultConfig{Addr: r.bao.Addr, Token: own, Mounts: []string{"secret"}, Key: w.keys.Fingerprint})
		w.must(err)
		cfg.SecretStores = []app.SecretStore{vault}
		cfg.Providers.VaultAddr, cfg.Providers.VaultToken, cfg.Providers.VaultIssueRole = r.bao.Addr, own, "stanch-issue"
	}})
	r.github.OnPush(func(p githubtest.Push) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pushed[p.After] = p.At
	})
	return r
}

// A leakable token is one that is live and kept.
type leakable struct{ kind, value, path string }

// developer is a work tree with a branch of its own, and what is going to be pushed there.
func (r *race) developer(number, pushes int) (*tree, []leakable) {
	r.t.Helper()
	g := r.clone()
	g.git("fetch", "--quiet", g.url, "main")
	g.git("checkout", "--quiet", "-b", fmt.Sprintf("dev-%d", number), "FETCH_HEAD")
	var tokens []leakable
	for n := range pushes {
		token := leakable{kind: "github-classic-token", path: fmt.Sprintf("secret/data/dev-%d/%d", number, n)}
		if n%2 == 0 {
			token.kind, token.value = "vault-token", r.bao.Token(map[string]any{"policies": []string{"ci-deploy"}, "ttl": "2h"})
		} else {
			var err error
			token.value, err = r.github.IssueToken("bot", githubtest.ClassicToken)
			r.must(err)
		}
		r.bao.Must("POST", token.path, map[string]any{"data": map[string]any{"user": "ci", "token": token.value}})
		tokens = append(tokens, token)
	}
	return g, tokens
}

// pushAll leaks each token in a push of its own when the one before is dead.
func (r *race) pushAll(g *tree, tokens []leakable) {
	branch := g.git("branch", "--show-current")
	for n, token := range tokens {
		text := env(token.value)
		if token.kind == "vault-token" {
			text = "export VAULT_TOKEN=" + token.value + "\n"
		}
		head := g.commit("work", map[string]string{fmt.Sprintf("job-%d.env", n): text})
		r.mu.Lock()
		r.kinds[head] = token.kind
		r.mu.Unlock()
		g.push(branch)
		r.settled(head)
		r.replaced(token)
	}
}

// replaced fails unless a token is dead and another one stands where it stood.
func (r *race) replaced(token leakable) {
	status, data := r.bao.Do(r.bao.Root, "GET", token.path, nil)
	kept, _ := data["data"].(map[string]any)
	if now := kept["token"]; status != 200 || now == token.value || now == "" {
		r.t.Errorf("%s is not replaced where it is kept: %d", token.kind, status)
	}
	live := r.github.TokenLive(token.value)
	if token.kind == "vault-token" {
		status, _ := r.bao.Do(token.value, "GET", "auth/token/lookup-self", nil)
		live = status == 200
	}
	if live {
		r.t.Errorf("a leaked %s is live", token.kind)
	}
}

// tell says how long after the pushes each stage was passed.
func (r *race) tell(pushes int) {
	r.t.Helper()
	took := map[string]map[app.Stage][]time.Duration{}
	r.world.mu.Lock()
	defer r.world.mu.Unlock()
	for _, e := range r.events {
		pushed, ok := r.pushed[e.HeadSHA]
		kind := r.kinds[e.HeadSHA]
		if !ok || kind == "" {
			continue
		}
		for _, k := range []string{kind, "all"} {
			if took[k] == nil {
				took[k] = map[app.Stage][]time.Duration{}
			}
			took[k][e.Stage] = append(took[k][e.Stage], e.At.Sub(pushed))
		}
	}
	if n := len(took["all"][app.ProvedDead]); n != pushes {
		r.t.Errorf("%d tokens were proved dead, %d were leaked", n, pushes)
	}
	for _, kind := range slices.Sorted(maps.Keys(took)) {
		var line strings.Builder
		for _, stage := range []app.Stage{app.Delivered, app.Detected, app.Verified, app.Contained, app.Rotated, app.ProvedDead, app.Checked} {
			all := took[kind][stage]
			slices.Sort(all)
			if len(all) > 0 {
				at := func(part float64) float64 { return all[int(part*float64(len(all)-1))].Seconds() }
				fmt.Fprintf(&line, "  %s %.2f/%.2f/%.2f s", stage, at(0.5), at(0.95), at(1))
			}
		}
		r.t.Logf("%d %s, seconds after the push as p50/p95/most:%s", len(took[kind][app.Delivered]), kind, &line)
	}
}
