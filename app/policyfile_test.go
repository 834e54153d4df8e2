package app_test

import (
	"html"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// silence makes the provider answer with an error, so that nobody knows what is live.
func (w *world) silence() {
	w.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if strings.HasSuffix(r.URL.Path, "/user") {
			return githubtest.BadGateway()
		}
		return nil
	})
}

// judged pushes files to the default branch, and waits until its check is done.
func (w *world) judged(g *tree, message string, files map[string]string) string {
	w.t.Helper()
	g.git("checkout", "--quiet", "main")
	head := g.commit(message, files)
	g.push("main")
	w.settled(head)
	return head
}

// says waits until the check run of a commit has a conclusion and a text in it.
func (w *world) says(sha, conclusion, text string) {
	w.t.Helper()
	w.check(sha, "is "+conclusion+" and says "+text, func(r githubtest.CheckRun) bool {
		plain := strings.ReplaceAll(html.UnescapeString(r.Summary), "\u200b", "") // as it is read
		return completed(conclusion)(r) && strings.Contains(plain, text)
	})
}

const lenientDocs = "paths:\n  - {glob: 'docs/**', conclusion: neutral}\n"

// TestPolicyOfTheBase: what is judged has no say in how it is judged.
func TestPolicyOfTheBase(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	w.silence()
	unknown := func(name string) string { return env(w.token(name)) }

	// A push that brings a policy is judged without it, also on the default branch.
	w.says(w.judged(g, "policy and leak", map[string]string{".github/stanch.yml": lenientDocs, "docs/a.env": unknown("a")}), "failure", "Nobody could tell")
	// From then on it counts, for the default branch, for others, and for pull requests.
	w.says(w.judged(g, "leak", map[string]string{"docs/b.env": unknown("b")}), "neutral", "Allowed: .github/stanch.yml:2")
	w.says(w.leak(g, "topic", "docs/c.env", unknown("c")), "neutral", "Allowed: .github/stanch.yml:2")
	w.says(w.leak(g, "other", "src/d.env", unknown("d")), "failure", "Nobody could tell")

	g.git("checkout", "--quiet", "-b", "feature", "main")
	head := g.commit("weaken the judge", map[string]string{".github/stanch.yml": "conclusion: {critical: success, high: success}\n", "src/e.env": unknown("e")})
	g.push("feature")
	_, err := w.github.OpenPull(w.repoName, "feature", "main", "Weaken")
	w.must(err)
	w.settled(head)
	w.says(head, "failure", "Nobody could tell")

	// Nor does it help to force the default branch.
	g.git("checkout", "--quiet", "main")
	g.git("reset", "--quiet", "--hard", "HEAD~1")
	forced := g.commit("another history", map[string]string{".github/stanch.yml": "conclusion: {critical: success, high: success}\n", "src/f.env": unknown("f")})
	g.push("--force", "main")
	w.settled(forced)
	w.says(forced, "failure", "Nobody could tell")
}

// TestLiveOverrulesThePolicy: nothing that a repository says makes a live key pass, or
// keeps it from being acted on.
func TestLiveOverrulesThePolicy(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	leaked := w.token("live")
	id := checks.NewSecret(leaked).Fingerprint(w.keys.Fingerprint).AllowID(w.keys.Allow)
	w.judged(g, "say that all is well", map[string]string{
		".github/stanch.yml":       "conclusion: {critical: success, high: success, medium: success, low: success}\nrules: {github-pat: {enabled: false, conclusion: success}}\npaths: [{glob: '**', conclusion: success}]\n",
		".github/stanch-allow.txt": string(id) + " 2999-12-31 @dana it is a test's\n",
		".gitleaks.toml":           "[allowlist]\npaths = ['.*']\n",
		".gitleaksignore":          "a.env:github-pat:2\n",
	})
	head := w.leak(g, "live", "a.env", "REGION=eu\nGITHUB_TOKEN="+leaked+" # gitleaks:allow\n")
	w.check(head, "is red with buttons", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && buttons(r) == "rotate revoke" && strings.Contains(r.Title, "live")
	})
}

func TestWrongPolicyFile(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	w.silence()
	w.judged(g, "wrong", map[string]string{".github/stanch.yml": "comment: true\nconclusion: {high: neutrl}\n"})
	clean := w.leak(g, "clean", "b.txt", "nothing\n")
	w.says(clean, "neutral", ".github/stanch.yml:2: conclusion.high is")
	w.says(w.leak(g, "leaky", "b.env", env(w.token("b"))), "failure", ".github/stanch.yml:2")

	// What it may not say is told too; the rest counts.
	w.judged(g, "too much", map[string]string{".github/stanch.yml": "remediation: automatic\n" + lenientDocs})
	w.says(w.leak(g, "much", "docs/b.env", env(w.token("c"))), "neutral", "let repositories change remediation")

	// The change that mends it passes, and then all is well.
	w.judged(g, "mended", map[string]string{".github/stanch.yml": lenientDocs})
	w.says(w.leak(g, "well", "c.txt", "nothing\n"), "success", "No credentials found")

	g.git("checkout", "--quiet", "main")
	w.must(os.Remove(filepath.Join(g.dir, ".github/stanch.yml")))
	w.must(os.Symlink("../a.txt", filepath.Join(g.dir, ".github/stanch.yml")))
	w.judged(g, "a link", nil)
	w.says(w.leak(g, "link", "d.txt", "nothing\n"), "neutral", "symbolic link")
}

func TestPolicyOfTheOrganisation(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	w.silence()
	_, err := w.github.CreateRepository("acme", ".github", githubtest.RepoOptions{Private: true})
	w.must(err)
	own := w.clone()
	own.commit("policy", map[string]string{".github/stanch.yml": "conclusion: {critical: neutral, high: neutral}\npaths: [{glob: 'prod/**', conclusion: failure}]\n"})
	own.git("push", "--quiet", w.github.CloneURL("acme/.github"), "main")

	g := w.seeded()
	w.says(w.leak(g, "one", "a.env", env(w.token("a"))), "neutral", "Allowed: acme/.github/.github/stanch.yml:1")
	w.says(w.leak(g, "two", "prod/a.env", env(w.token("b"))), "failure", "Nobody could tell")
	w.judged(g, "own policy", map[string]string{".github/stanch.yml": "conclusion: {critical: success, high: success}\n"})
	w.says(w.leak(g, "three", "a.env", env(w.token("c"))), "success", "Allowed: .github/stanch.yml:1")
}

// TestOrganisationIsSilent: while the organisation's policy cannot be read the last one
// holds, and nothing is judged without one that there may be.
func TestOrganisationIsSilent(t *testing.T) {
	var later atomic.Int64
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy(), tamper: func(_ *world, c *app.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	}})
	var broken atomic.Bool
	w.github.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if strings.HasSuffix(r.URL.Path, "/user") || broken.Load() && strings.Contains(r.URL.Path, "/acme/.github/contents/") {
			return githubtest.BadGateway()
		}
		return nil
	})
	_, err := w.github.CreateRepository("acme", ".github", githubtest.RepoOptions{Private: true})
	w.must(err)
	own := w.clone()
	own.commit("policy", map[string]string{".github/stanch.yml": "conclusion: {critical: neutral, high: neutral}\n"})
	own.git("push", "--quiet", w.github.CloneURL("acme/.github"), "main")
	g := w.seeded()
	broken.Store(true)
	later.Store(int64(time.Hour))
	w.says(w.leak(g, "one", "a.env", env(w.token("a"))), "neutral", "Allowed: acme/.github/.github/stanch.yml:1")

	// After a start nothing is known: the scan waits until it can be read.
	w.restart(worldOptions{policy: app.DefaultPolicy()})
	head := w.leak(g, "two", "a.env", env(w.token("b")))
	w.eventually("the scan waits", func() bool { return strings.Contains(w.logs.String(), "read acme/.github/.github/stanch.yml") })
	broken.Store(false)
	w.says(head, "neutral", "Allowed: acme/.github/.github/stanch.yml:1")
}

// TestAllowlist: entries count by content, until their day, wherever the secret stands.
func TestAllowlist(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	w.silence()
	id := func(token string) string {
		return string(checks.NewSecret(token).Fingerprint(w.keys.Fingerprint).AllowID(w.keys.Allow))
	}
	allowed, over, other := w.token("allowed"), w.token("over"), w.token("other")
	w.judged(g, "allow", map[string]string{".github/stanch-allow.txt": "# what is no leak\n" +
		id(allowed) + " 2999-12-31 @dana a key of the test server\n" +
		id(over) + " 2001-12-31 @dana a key of the old test server\n"})
	w.says(w.leak(g, "allowed", "a.env", env(allowed)), "success", "1 not shown, allowed by .github/stanch-allow.txt:2, by @dana until 2999-12-31: a key of the test server")
	w.says(w.leak(g, "elsewhere", "b/c.yml", env(allowed)+env(other)), "failure", "1 credential found")
	w.says(w.leak(g, "over", "a.env", env(over)), "failure", "Nobody could tell")
	// The check run shows the line to write.
	w.says(w.leak(g, "line", "d.env", env(other)), "failure", id(other)+" YYYY-MM-DD @owner reason")

	w.judged(g, "a wrong entry", map[string]string{".github/stanch-allow.txt": id(allowed) + " 2999-12-31 dana\n"})
	w.says(w.leak(g, "wrong", "a.txt", "b\n"), "neutral", ".github/stanch-allow.txt:1: this entry does not count")
}

// TestAllowanceOfAPerson: what was said with a button or a command counts for the
// repository's checks, until it ends.
func TestAllowanceOfAPerson(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	w.silence()
	token := w.token("allowed")
	first := w.leak(g, "first", "a.env", env(token))
	run := w.check(first, "is red", completed("failure"))
	check, err := w.memory.Check(t.Context(), run.ExternalID)
	w.must(err)
	a := store.Allowance{
		Installation: check.Installation, Repository: check.Repository.ID, Fingerprint: checks.NewSecret(token).Fingerprint(w.keys.Fingerprint),
		Reason: "a key of the test server", Owner: "@dana", Made: time.Now(), Expires: time.Now().Add(24 * time.Hour),
	}
	w.must(w.memory.InTx(t.Context(), func(tx *store.Tx) error { return tx.Allow(t.Context(), a) }))
	w.says(w.leak(g, "second", "b.env", env(token)), "success", "Allowed: @dana until ")
	a.Made, a.Expires = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	w.must(w.memory.InTx(t.Context(), func(tx *store.Tx) error { return tx.Allow(t.Context(), a) }))
	w.says(w.leak(g, "third", "c.env", env(token)), "failure", "Nobody could tell")
}

// TestOtherScannersFiles: who comes from another scanner keeps what he has.
func TestOtherScannersFiles(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	w.silence()
	// Comments count without any file.
	line := func(token, comment string) string { return "KEY=" + token + " # " + comment + "\n" }
	w.says(w.leak(g, "marked", "m.env", line(w.token("m"), "gitleaks:allow")), "neutral", "Allowed: the comment gitleaks:allow beside it")
	w.says(w.leak(g, "marked2", "m.env", line(w.token("n"), "trufflehog:ignore")), "neutral", "trufflehog:ignore")

	w.judged(g, "files", map[string]string{
		".gitleaks.toml": "[[rules]]\nid = 'acme-serial'\ndescription = 'Acme serial number'\nregex = '''ACME-([0-9]{12})'''\nkeywords = ['acme-']\n\n" +
			"[[allowlists]]\npaths = ['^fixtures/']\n",
		".gitleaksignore":    "a.env:github-pat:2\n",
		".github/stanch.yml": "inline_markers: false\nrules: {acme-serial: {conclusion: neutral}}\n",
	})
	w.says(w.leak(g, "ignored", "a.env", env(w.token("a"))), "success", "1 not shown, allowed by .gitleaksignore")
	w.says(w.leak(g, "fixture", "fixtures/a.env", env(w.token("b"))), "success", "1 not shown, allowed by .gitleaks.toml")
	w.says(w.leak(g, "found", "b.env", env(w.token("c"))), "failure", "Nobody could tell")
	w.says(w.leak(g, "own", "c.txt", "serial: ACME-"+strings.Repeat("493817", 2)+"\n"), "neutral", "Acme serial number")
	w.says(w.leak(g, "off", "m.env", line(w.token("d"), "gitleaks:allow")), "failure", "Nobody could tell")
}

// TestPolicyWithoutComment: who wants no comment gets none, and the check all the same.
func TestPolicyWithoutComment(t *testing.T) {
	w := newWorld(t, worldOptions{policy: app.DefaultPolicy()})
	g := w.seeded()
	w.judged(g, "quiet", map[string]string{".github/stanch.yml": "comment: false\n"})
	g.git("checkout", "--quiet", "-b", "feature", "main")
	head := g.commit("leak", map[string]string{"a.env": env(w.token("a"))})
	g.push("feature")
	number, err := w.github.OpenPull(w.repoName, "feature", "main", "Leak")
	w.must(err)
	w.check(head, "is red", completed("failure"))
	w.settled(head)
	if comments := w.github.Comments(w.repoName, number); len(comments) > 0 {
		t.Errorf("the pull request has %d comments; want none", len(comments))
	}
}
