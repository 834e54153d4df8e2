package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

const apiToken = "an API token of the tests, which is long enough"

func withAPI(_ *world, cfg *app.Config) { cfg.APIToken = checks.NewSecret(apiToken) }

// post sends a report to the API and returns the answer.
func (w *world) post(query, token, report string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequest("POST", w.hook.URL+"/api/v1/import"+query, strings.NewReader(report))
	w.must(err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	w.must(err)
	return resp.StatusCode, string(body)
}

func gitleaksReport(secrets ...string) string {
	var all []string
	for n, secret := range secrets {
		all = append(all, fmt.Sprintf(`{"RuleID": "github-pat", "Secret": %q, "Match": %[1]q, "File": "ci.env", "StartLine": %d}`, secret, n+1))
	}
	return "[" + strings.Join(all, ",") + "]"
}

// TestImportIsRemediated has another scanner find a live credential that a store
// holds: it is replaced and proved dead, and no secret is left anywhere.
func TestImportIsRemediated(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: withAPI})
	w.seeded()
	leaked := w.token("import")
	status, body := w.post("", apiToken, gitleaksReport(leaked, "REDACTED", "swordfish"))
	var done app.Imported
	w.must(json.Unmarshal([]byte(body), &done))
	if status != 200 || len(done.Findings) != 1 || len(done.NotImported) != 2 {
		t.Fatalf("%d: %s", status, body)
	}
	f := done.Findings[0]
	if f.Rule != "github-pat" || f.File != "ci.env" || f.Line != 1 || f.Validity != checks.Active || f.Grade != "A" || f.Incident == "" ||
		f.Reach != "acts as bot; may repo, workflow (write)" {
		t.Errorf("the finding is %+v", f)
	}
	if strings.Contains(body, leaked) {
		t.Error("the answer repeats the secret")
	}
	w.eventually("the leaked token is dead and the incident over", func() bool {
		i, err := w.memory.Incident(t.Context(), f.Incident)
		return err == nil && !i.Resolved.IsZero()
	})
	w.mustRotate("import", leaked)
	if w.audited("import") != 1 || w.audited("open incident") != 1 {
		t.Error("the audit log does not tell of the import")
	}
	// Told again it is the same incident.
	status, body = w.post("", apiToken, gitleaksReport(leaked))
	w.must(json.Unmarshal([]byte(body), &done))
	if status != 200 || done.Findings[0].Incident != f.Incident || done.Findings[0].State != "resolved" {
		t.Errorf("%d: %s", status, body)
	}
	w.findNone(w.issued...)
}

// TestImportIntoRepository follows the policy of the repository that it names.
func TestImportIntoRepository(t *testing.T) {
	policy := automatic
	policy.Repositories.May = []string{"remediation", "paths", "rules"}
	w := newWorld(t, worldOptions{tamper: withAPI, policy: policy})
	g := w.seeded()
	head := g.commit("policy", map[string]string{".github/stanch.yml": "remediation: ask\nrules: {github-fine-grained-pat: {enabled: false}}\n"})
	g.push("main")
	w.settled(head)
	leaked := w.token("ask")
	status, body := w.post("?repository=Acme/Shop", apiToken, gitleaksReport(leaked))
	if status != 200 || !strings.Contains(body, `"validity":"active"`) || !strings.Contains(body, `"state":"open"`) {
		t.Errorf("%d: %s", status, body)
	}
	if w.audited("approve rotate") != 0 || !w.github.TokenLive(leaked) {
		t.Error("something was done that the repository's policy wants to be asked about")
	}
	never, err := w.github.IssueToken("bot", githubtest.FineGrainedToken)
	w.must(err)
	w.github.KillToken(never)
	if status, body = w.post("?repository=acme/shop", apiToken, gitleaksReport(never)); status != 200 || !strings.Contains(body, "allowed by the repository: the rule github-fine-grained-pat is off") {
		t.Errorf("a kind that is off: %d: %s", status, body)
	}
	if status, body = w.post("?repository=acme/other", apiToken, gitleaksReport(leaked)); status != 404 || !strings.Contains(body, "no such repository") {
		t.Errorf("another repository: %d: %s", status, body)
	}
}

func TestImportRefuses(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: withAPI})
	many := make([]string, app.MaxImported+1)
	for n := range many {
		many[n] = "swordfish"
	}
	for name, test := range map[string]struct {
		token, report string
		status        int
		want          string
	}{
		"no token":        {"", "[]", 401, "say the API's token"},
		"another token":   {apiToken + "x", "[]", 401, "say the API's token"},
		"the beginning":   {apiToken[:20], "[]", 401, "say the API's token"},
		"no report":       {apiToken, "", 400, "the report is empty"},
		"no JSON":         {apiToken, "hello", 400, "line 1 is not JSON"},
		"another file":    {apiToken, `{"name": "shop"}`, 400, "none of SARIF"},
		"too many":        {apiToken, gitleaksReport(many...), 413, "501 findings, and one import takes 500"},
		"nothing to do":   {apiToken, "[]", 200, `"findings":[]`},
		"too large":       {apiToken, strings.Repeat(" ", 33<<20), 413, "more than 32 MiB"},
		"nested too deep": {apiToken, strings.Repeat("[", 1<<20), 400, "JSON"},
	} {
		status, body := w.post("", test.token, test.report)
		if status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s: %d: %s", name, status, body)
		}
	}
	w.restart(worldOptions{})
	if status, body := w.post("", "", "[]"); status != 404 {
		t.Errorf("without a token of its own the API answers %d: %s", status, body)
	}
}

// TestImportedIsAskedAgain: what nobody knew when it was imported is rotated by itself as
// soon as the provider tells, if the policy that counts for it lets it.
func TestImportedIsAskedAgain(t *testing.T) {
	var m moody
	var ahead atomic.Int64
	bad := http.HandlerFunc(unwell)
	m.mood.Store(&bad)
	policy := automatic
	policy.Repositories.May = []string{"remediation"}
	w := newWorld(t, worldOptions{policy: policy, sweep: app.Sweep{Verdicts: often}, tamper: func(w *world, cfg *app.Config) {
		m.put(t, &ahead)(w, cfg)
		withAPI(w, cfg)
	}})
	g := w.seeded()
	head := g.commit("policy", map[string]string{".github/stanch.yml": "remediation: ask\n"})
	g.push("main")
	w.settled(head)
	free, asked := w.token("free"), w.token("asked")
	for query, token := range map[string]string{"": free, "?repository=acme/shop": asked} {
		if status, body := w.post(query, apiToken, gitleaksReport(token)); status != 200 || !strings.Contains(body, `"validity":"unknown"`) {
			t.Fatalf("%d: %s", status, body)
		}
	}
	m.mood.Store(nil)
	ahead.Add(int64(20 * time.Minute))
	w.eventually("one is rotated", func() bool { return !w.incidentOf(free).Resolved.IsZero() })
	w.mustRotate("free", free)
	w.eventually("the other is known to be live", func() bool { return w.incidentOf(asked).Validity == checks.Active })
	if !w.github.TokenLive(asked) || w.audited("approve rotate") != 1 {
		t.Error("the other one was rotated, which its repository's policy wants to be asked about")
	}
	w.must(w.memory.InTx(t.Context(), func(tx *store.Tx) error {
		shop, err := tx.RepositoryNamed(t.Context(), "acme", "shop")
		w.must(err)
		_, err = tx.EraseRepository(t.Context(), shop.ID)
		return err
	}))
	if _, err := w.memory.Unseal(t.Context(), w.incidentOf(asked).ID, store.Leaked); !errors.Is(err, store.ErrErased) {
		t.Errorf("its repository is erased and its credential kept: %v", err)
	}
}
