package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/checks"
)

const (
	repositoryCopy  = "acme/shop:actions:DEPLOY_TOKEN"
	environmentCopy = "acme/shop:env/production:DEPLOY_TOKEN"
)

// copied has the place “ci” of the world's secret store copied to GitHub, and another
// field beside it.
func copied(w *world, cfg *app.Config) {
	for _, entry := range []string{repositoryCopy + "=file:ci#token", environmentCopy + "=file:ci#token", "acme/shop:actions:OTHER=file:ci#region"} {
		c, err := app.ParseCopy(entry)
		w.must(err)
		cfg.Copies = append(cfg.Copies, c)
	}
}

func newCopiedWorld(t *testing.T) (*world, string) {
	w := newWorld(t, worldOptions{tamper: func(w *world, cfg *app.Config) { copied(w, cfg) }})
	w.must(w.github.Allow(w.self.ID, "environments", "write"))
	leaked := w.token("ci")
	region := secretstore.Location{Store: w.secrets.Name(), Path: "ci", Field: "region", Version: "1"}
	_, err := w.secrets.Put(t.Context(), region, map[string]checks.Secret{"region": checks.NewSecret("eu")}, "test")
	w.must(err)
	for _, to := range []string{repositoryCopy, environmentCopy} {
		w.must(w.github.SetSecret(to, leaked))
	}
	w.must(w.github.SetSecret("acme/shop:actions:OTHER", "untouched"))
	return w, leaked
}

func (w *world) mustBeCopied() {
	w.t.Helper()
	now := w.stored("ci")
	for _, to := range []string{repositoryCopy, environmentCopy} {
		if got, _ := w.github.Secret(to); got != now {
			w.t.Errorf("%s does not hold what its place does", to)
		}
	}
	if got, writes := w.github.Secret("acme/shop:actions:OTHER"); got != "untouched" || writes > 0 {
		w.t.Error("another secret was written")
	}
}

// TestCopies: before the leaked token dies its copies hold the replacement.
func TestCopies(t *testing.T) {
	w, leaked := newCopiedWorld(t)
	w.must(w.github.Allow(w.self.ID, "secrets", "write"))
	early := false
	w.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if strings.HasSuffix(r.URL.Path, "/credentials/revoke") {
			got, _ := w.github.Secret(repositoryCopy)
			early = early || got == leaked
		}
		return nil
	})
	g := w.seeded()
	head := w.leak(g, "leak", "a.env", env(leaked))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.mustRotate("ci", leaked)
	w.mustBeCopied()
	if early {
		t.Error("it was revoked while a copy still held it")
	}
	told := false
	for e, err := range w.memory.AuditLog(t.Context()) {
		w.must(err)
		told = told || e.Verb == "done put" && e.Detail["copies"] == repositoryCopy+"; "+environmentCopy
	}
	if !told {
		t.Error("the audit log does not name the copies")
	}
	w.findNone(leaked)
}

// TestCopyThatCannotBeWritten: the leaked token lives until a person has mended it.
func TestCopyThatCannotBeWritten(t *testing.T) {
	w, leaked := newCopiedWorld(t) // without the permission for secrets of Actions
	g := w.seeded()
	head := w.leak(g, "leak", "a.env", env(leaked))
	run := w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "a copy of file&#58; ci, field token, cannot be written") && strings.Contains(buttons(r), "rotate")
	})
	if !w.github.TokenLive(leaked) || !w.github.TokenLive(w.stored("ci")) {
		t.Fatal("the leaked token or its replacement is dead")
	}
	w.must(w.github.Allow(w.self.ID, "secrets", "write"))
	w.must(w.github.PressButton(run.ID, "rotate", "dana"))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.mustRotate("ci", leaked)
	w.mustBeCopied()
}

// TestCopiesAfterAFailure: the second copy fails twice; all of them are written again.
func TestCopiesAfterAFailure(t *testing.T) {
	w, leaked := newCopiedWorld(t)
	w.must(w.github.Allow(w.self.ID, "secrets", "write"))
	refused := 0
	w.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/environments/") && refused < 2 {
			refused++
			return &githubtest.LimitAnswer{Status: http.StatusBadGateway}
		}
		return nil
	})
	g := w.seeded()
	head := w.leak(g, "leak", "a.env", env(leaked))
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	w.mustRotate("ci", leaked)
	w.mustBeCopied()
	if _, writes := w.github.Secret(repositoryCopy); refused != 2 || writes != 3 {
		t.Errorf("refused %d times, and the first copy was written %d times", refused, writes)
	}
}

func TestParseCopy(t *testing.T) {
	c, err := app.ParseCopy("acme/shop:env/production:TOKEN=vault:secret/ci#1/deploy#token")
	if err != nil || c.Of.Store != "vault" || c.Of.Path != "secret/ci#1/deploy" || c.Of.Field != "token" || c.To.String() != "acme/shop:env/production:TOKEN" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = app.ParseCopy("acme:actions:TOKEN=aws:deploy"); err != nil || c.Of.Path != "deploy" || c.Of.Field != "" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, text := range []string{"", "acme/shop:actions:TOKEN", "acme/shop:actions:TOKEN=vault", "acme/shop:actions:TOKEN=:a#b", "acme/shop=vault:a#b"} {
		if c, err := app.ParseCopy(text); err == nil {
			t.Errorf("%q became %+v", text, c)
		}
	}
}
