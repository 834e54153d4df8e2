package app_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/app/secretstore/kubetest"
	"github.com/stanch-dev/stanch/checks"
)

// A clusterWorld has a token in a secret of a cluster, which a deployment reads when it
// starts, and another one as files.
type clusterWorld struct {
	*world
	cluster *kubetest.Server
	leaked  string
	early   atomic.Bool // the token was revoked before the deployment was restarted
}

func newClusterWorld(t *testing.T, order incident.Order, restart bool, tamper func(*clusterWorld, *app.Config)) *clusterWorld {
	t.Helper()
	c := &clusterWorld{cluster: kubetest.Start(t)}
	c.cluster.Allow("stanch", kubetest.RulesOf(t, secretstore.KubernetesPolicy(restart)))
	pods := func(by kubetest.Object) kubetest.Object {
		return kubetest.Object{"spec": kubetest.Object{"replicas": 1, "template": kubetest.Object{"spec": by}}}
	}
	c.cluster.Set("apps", "deployments", "shop", "api", pods(kubetest.Object{"containers": []any{
		kubetest.Object{"envFrom": []any{kubetest.Object{"secretRef": kubetest.Object{"name": "deploy"}}}},
	}}))
	c.cluster.Set("apps", "deployments", "shop", "web", pods(kubetest.Object{"volumes": []any{
		kubetest.Object{"name": "v", "secret": kubetest.Object{"secretName": "deploy"}},
	}}))
	policy := policyOf(app.Automatic, app.Ask)
	policy.Order, policy.AutomaticPerHour = order, 100
	c.world = newWorld(t, worldOptions{policy: policy, tamper: func(w *world, cfg *app.Config) {
		withAPI(w, cfg)
		k, err := secretstore.NewKubernetes(secretstore.KubernetesConfig{
			URL: c.cluster.URL, TokenFile: c.cluster.Path("stanch"), CAFile: c.cluster.Path("ca.crt"), Restart: restart, Key: w.keys.Fingerprint,
		})
		w.must(err)
		cfg.SecretStores = append(cfg.SecretStores, k)
		if tamper != nil {
			tamper(c, cfg)
		}
	}})
	var err error
	c.leaked, err = c.github.IssueToken("bot", githubtest.ClassicToken)
	c.must(err)
	c.cluster.Secret("shop", "deploy", map[string]string{"token": c.leaked}, nil)
	c.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if strings.HasSuffix(r.URL.Path, "/credentials/revoke") && c.restarts("api") == "" {
			c.early.Store(true)
		}
		return nil
	})
	return c
}

// restarts is for which version of the secret a deployment was restarted.
func (c *clusterWorld) restarts(name string) string {
	spec, _ := c.cluster.Get("apps", "deployments", "shop", name)["spec"].(kubetest.Object)
	template, _ := spec["template"].(kubetest.Object)
	meta, _ := template["metadata"].(kubetest.Object)
	notes, _ := meta["annotations"].(kubetest.Object)
	version, _ := notes["stanch.dev/restart-for"].(string)
	return version
}

// rotated leaks the token, and waits until it is dead and its replacement stored.
func (c *clusterWorld) rotated() map[incident.Step]map[string]string {
	c.t.Helper()
	head := c.leak(c.seeded(), "leak", "a.env", env(c.leaked))
	c.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	now := c.cluster.Value("shop", "deploy", "token")
	if now == c.leaked || !c.github.TokenLive(now) || c.github.TokenLive(c.leaked) {
		c.t.Error("it is not rotated")
	}
	_, details := c.attempted(c.incidentOf(c.leaked).ID)
	return details
}

// TestConsumersAreRestarted: what reads a secret only when it starts has the replacement
// before the leaked one dies.
func TestConsumersAreRestarted(t *testing.T) {
	c := newClusterWorld(t, incident.ReplaceFirst, true, nil)
	told := c.rotated()[incident.VerifyNew]["consumers"]
	if c.early.Load() || c.restarts("api") == "" || c.restarts("web") != "" {
		t.Errorf("early %t, restarted for %q and %q", c.early.Load(), c.restarts("api"), c.restarts("web"))
	}
	if told != "deployment shop/api is restarted; deployment shop/web reads it anew by itself" {
		t.Errorf("the audit log says %q", told)
	}
	c.findNone(c.leaked)
}

// TestConsumersThatAreNotRestarted keep no leaked credential alive, and are told of.
func TestConsumersThatAreNotRestarted(t *testing.T) {
	t.Run("switched off", func(t *testing.T) {
		c := newClusterWorld(t, incident.ReplaceFirst, false, nil)
		if told := c.rotated()[incident.VerifyNew]["consumers"]; !strings.Contains(told, "deployment shop/api has to be restarted;") || c.restarts("api") != "" {
			t.Errorf("the audit log says %q", told)
		}
	})
	for name, refused := range map[string]struct{ verb, says string }{
		"unknown":     {"list", "who reads kubernetes: shop/deploy, field token, version "},
		"not allowed": {"patch", "deployment shop/api has to be restarted, which the cluster does not let Stanch do"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClusterWorld(t, incident.ReplaceFirst, true, nil)
			var some []kubetest.Rule
			for _, r := range kubetest.RulesOf(t, secretstore.KubernetesPolicy(true)) {
				if !slices.Contains(r.APIGroups, "apps") || !slices.Contains(r.Verbs, refused.verb) {
					some = append(some, r)
				}
			}
			c.cluster.Allow("stanch", some)
			if told := c.rotated()[incident.VerifyNew]["consumers"]; !strings.Contains(told, refused.says) || c.restarts("api") != "" {
				t.Errorf("the audit log says %q", told)
			}
		})
	}
}

// TestOverlapWaitsForConsumers: after two days a person is told which of them may still
// have the old one.
func TestOverlapWaitsForConsumers(t *testing.T) {
	c := newClusterWorld(t, incident.Overlap, true, func(c *clusterWorld, cfg *app.Config) {
		cfg.Now = func() time.Time {
			if c.restarts("api") != "" {
				return time.Now().Add(49 * time.Hour)
			}
			return time.Now()
		}
	})
	head := c.leak(c.seeded(), "leak", "a.env", env(c.leaked))
	c.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "deployment shop/api&#58; its rollout has not begun") && strings.Contains(r.Summary, "deployment shop/web&#58; running pods")
	})
	if !c.github.TokenLive(c.leaked) {
		t.Fatal("the old one is dead")
	}
	c.eventually("it is confirmed", func() bool {
		return c.app.Confirm(t.Context(), c.incidentOf(c.leaked).ID, "api:dana", "all are new") == nil
	})
	c.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
}

// TestPlanNamesConsumers: and who has read the secret, where an audit log says so.
func TestPlanNamesConsumers(t *testing.T) {
	c := newClusterWorld(t, incident.ReplaceFirst, true, nil)
	var plan app.Plan
	if status, text := c.call("ada", "POST", "/remediations", handed{"text": c.leaked, "verb": incident.Rotate, "dry_run": true}, &plan); status != 200 {
		t.Fatalf("%d: %s", status, text)
	}
	risks := strings.Join(plan.Risks, "\n")
	holds(t, risks, "deployment shop/api reads it (environment), that only when its pods start: a rotation restarts it",
		"deployment shop/web reads it (files), it reads it anew by itself")
	if c.restarts("api") != "" {
		t.Error("a plan has restarted it")
	}
}

func TestPlanNamesReaders(t *testing.T) {
	b, log := baotest.StartAudited(t)
	w := newWorld(t, worldOptions{tamper: func(w *world, cfg *app.Config) {
		withAPI(w, cfg)
		v, err := secretstore.NewVault(secretstore.VaultConfig{
			Addr: b.Addr, Token: checks.NewSecret(b.Root), Mounts: []string{"secret"}, Key: w.keys.Fingerprint, AuditLog: log, AuditDevice: "file",
		})
		w.must(err)
		cfg.SecretStores = append(cfg.SecretStores, v)
	}})
	leaked, err := w.github.IssueToken("bot", githubtest.ClassicToken)
	w.must(err)
	b.Must("POST", "secret/data/ci", map[string]any{"data": map[string]any{"token": leaked}})
	b.Policy("ci", `path "secret/data/*" { capabilities = ["read"] }`)
	deploy := b.Token(map[string]any{"policies": []string{"ci"}, "display_name": "deploy"})
	for range 2 {
		b.Do(deploy, "GET", "secret/data/ci", nil)
	}
	var plan app.Plan
	if status, text := w.call("ada", "POST", "/remediations", handed{"text": leaked, "verb": incident.Rotate, "dry_run": true}, &plan); status != 200 {
		t.Fatalf("%d: %s", status, text)
	}
	holds(t, strings.Join(plan.Risks, "\n"), "token-deploy at 127.0.0.1 has read the leaked value, 2 times, last at ")
}
