package app_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// TestPushes pushes by git what people push, and looks at the check run.
func TestPushes(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.seeded()

	// red waits for the red check run with one annotation, and for the rotation.
	red := func(t *testing.T, sha, path, leaked, file string, line int) {
		t.Helper()
		w.settled(sha)
		run := w.check(sha, "is red", completed("failure"))
		if len(run.Annotations) != 1 || run.Annotations[0].Path != file || run.Annotations[0].StartLine != line {
			t.Errorf("annotations %+v, want one at %s:%d", run.Annotations, file, line)
		}
		w.mustRotate(path, leaked)
	}

	w.run("a commit with a live token", func(t *testing.T) {
		leaked := w.token("one")
		g.git("checkout", "--quiet", "-b", "one", "main")
		head := g.commit("leak", map[string]string{"deploy/prod.env": env(leaked)})
		g.push("one")
		red(t, head, "one", leaked, "deploy/prod.env", 2)
	})

	w.run("three commits that add and remove it again", func(t *testing.T) {
		leaked := w.token("three")
		g.git("checkout", "--quiet", "-b", "three", "main")
		g.commit("harmless", map[string]string{"b.txt": "b\n"})
		guilty := g.commit("leak", map[string]string{"c.env": env(leaked)})
		head := g.commit("remove it", map[string]string{"c.env": ""})
		g.push("three")
		// Proved dead and gone from the tip: the honest fix is green.
		run := w.check(head, "is green after the rotation", func(r githubtest.CheckRun) bool {
			return completed("success")(r) && len(r.Annotations) > 0
		})
		w.mustRotate("three", leaked)
		if !strings.Contains(run.Summary, guilty[:7]) {
			t.Errorf("the summary does not name commit %s:\n%s", guilty[:7], run.Summary)
		}
	})

	w.run("a merge commit that alone carries it", func(t *testing.T) {
		leaked := w.token("merge")
		g.git("checkout", "--quiet", "-b", "side", "main")
		g.commit("side", map[string]string{"side.txt": "s\n"})
		g.git("checkout", "--quiet", "-b", "merge", "main")
		g.commit("ours", map[string]string{"ours.txt": "o\n"})
		g.git("merge", "--quiet", "--no-commit", "--no-ff", "side")
		head := g.commit("merge side", map[string]string{"side.txt": "s\n" + env(leaked)})
		if parents := strings.Fields(g.git("log", "-1", "--format=%P")); len(parents) != 2 {
			t.Fatalf("not a merge: %v", parents)
		}
		g.push("merge")
		red(t, head, "merge", leaked, "side.txt", 3)
	})

	w.run("a force push", func(t *testing.T) {
		leaked := w.token("force")
		g.git("checkout", "--quiet", "-b", "force", "main")
		before := g.commit("before", map[string]string{"x.txt": "x\n"})
		g.push("force")
		w.check(before, "is green", completed("success"))
		g.git("reset", "--quiet", "--hard", "main")
		head := g.commit("after", map[string]string{"y.env": env(leaked)})
		g.push("--force", "force")
		red(t, head, "force", leaked, "y.env", 2)
	})

	w.run("a new branch with nothing in it", func(t *testing.T) {
		head := g.git("rev-parse", "main")
		runs := len(w.github.CheckRuns(w.repoName))
		g.push("main:refs/heads/empty")
		w.must(w.github.WaitDeliveries(t.Context()))
		w.check(head, "stays green", completed("success"))
		if now := len(w.github.CheckRuns(w.repoName)); now != runs {
			t.Errorf("%d check runs, then %d: the commit has one already", runs, now)
		}
	})

	w.run("a tag with a message", func(t *testing.T) {
		leaked := w.token("tag")
		g.git("checkout", "--quiet", "--detach", "main")
		head := g.commit("only a tag has it", map[string]string{"t.env": env(leaked)})
		g.git("tag", "-a", "v1", "-m", "version 1")
		g.push("v1")
		red(t, head, "tag", leaked, "t.env", 2)
	})

	w.run("301 files", func(t *testing.T) {
		leaked := w.token("many")
		g.git("checkout", "--quiet", "-b", "many", "main")
		files := map[string]string{"many/zzz.env": env(leaked)}
		for i := range 300 {
			files[fmt.Sprintf("many/%03d.txt", i)] = fmt.Sprintf("%d\n", i)
		}
		head := g.commit("many", files)
		g.push("many")
		red(t, head, "many", leaked, "many/zzz.env", 2)
		run := w.check(head, "is red", completed("failure"))
		if !strings.Contains(run.Summary+run.Text, "301") {
			t.Errorf("the coverage does not tell of 301 blobs:\n%s\n%s", run.Summary, run.Text)
		}
	})

	w.run("a pull request", func(t *testing.T) {
		leaked := w.token("pull")
		g.git("checkout", "--quiet", "-b", "pull", "main")
		first := g.commit("harmless", map[string]string{"p.txt": "p\n"})
		g.push("pull")
		w.check(first, "is green", completed("success"))
		number, err := w.github.OpenPull(w.repoName, "pull", "main", "A pull request")
		w.must(err)
		head := g.commit("leak", map[string]string{"p.env": env(leaked)})
		g.push("pull")
		red(t, head, "pull", leaked, "p.env", 2)
		w.oneComment(t, number, "dead")
		// The honest fix: out of the file, and the next check run is green.
		fixed := g.commit("take it out", map[string]string{"p.env": "REGION=eu\n"})
		g.push("pull")
		w.check(fixed, "is green", completed("success"))
		w.oneComment(t, number, "dead")
	})

	w.run("a pull request from a fork", func(t *testing.T) {
		leaked := w.token("fork")
		w.github.CreateUser("stranger")
		fork, err := w.github.Fork(w.repoName, "stranger")
		w.must(err)
		g.git("checkout", "--quiet", "-b", "fork", "main")
		head := g.commit("leak from afar", map[string]string{"f.env": env(leaked)})
		g.git("push", "--quiet", w.github.CloneURL(fork), "fork")
		number, err := w.github.OpenPull(w.repoName, "stranger:fork", "main", "From a fork")
		w.must(err)
		red(t, head, "fork", leaked, "f.env", 2)
		w.oneComment(t, number, "dead")
	})

	w.run("equal commits", func(t *testing.T) {
		g.git("checkout", "--quiet", "-b", "equal", "main")
		head := g.commit("never pushed as such", map[string]string{"e.txt": "e\n"})
		g.push("HEAD:refs/heads/equal-base")
		w.check(head, "is green", completed("success"))
		guid, err := w.github.Send(w.self.ID, w.repoName, "push", map[string]any{
			"ref": "refs/heads/equal", "before": head, "after": head, "created": false, "deleted": false, "forced": false,
			"head_commit": map[string]any{"id": head}, "commits": []any{},
		})
		w.must(err)
		w.must(w.github.WaitDeliveries(t.Context()))
		w.scanned(t, guid)
		w.check(head, "stays green", completed("success"))
	})

	w.run("a deleted branch", func(t *testing.T) {
		runs := len(w.github.CheckRuns(w.repoName))
		g.push("--delete", "equal-base")
		w.must(w.github.WaitDeliveries(t.Context()))
		if now := len(w.github.CheckRuns(w.repoName)); now != runs {
			t.Errorf("a deleted branch made %d check runs", now-runs)
		}
	})

	w.run("a replayed delivery", func(t *testing.T) {
		head := g.git("rev-parse", "one")
		before := w.check(head, "is red", completed("failure"))
		for _, d := range w.github.Deliveries() {
			if d.Event == "push" && bytes.Contains(d.Payload, []byte(head)) {
				w.must(w.github.Redeliver(d.GUID))
			}
		}
		w.must(w.github.WaitDeliveries(t.Context()))
		time.Sleep(300 * time.Millisecond) // time for what must not happen
		after := w.check(head, "is red", completed("failure"))
		if len(after.Annotations) != len(before.Annotations) || !after.CompletedAt.Equal(before.CompletedAt) {
			t.Errorf("a redelivery changed the check run from %+v to %+v", before, after)
		}
	})

	w.run("nothing twice, nothing not at all", func(t *testing.T) {
		w.must(w.github.WaitDeliveries(t.Context()))
		heads := map[string]int{}
		for _, r := range w.github.CheckRuns(w.repoName) {
			heads[r.HeadSHA]++
			if r.Status != "completed" {
				t.Errorf("the check run of %s is %s", r.HeadSHA, r.Status)
			}
		}
		for sha, n := range heads {
			if n != 1 {
				t.Errorf("%d check runs of %s", n, sha)
			}
		}
		for _, d := range w.github.Deliveries() {
			if d.StatusCode != 202 && d.Event != "installation" { // it was installed before the webhook was set
				t.Errorf("delivery %s of %s was answered with %d %s", d.GUID, d.Event, d.StatusCode, d.Answer)
			}
		}
		for _, p := range w.github.Pushes() {
			if p.Repository == w.repoName && strings.Trim(p.After, "0") != "" && heads[g.git("rev-parse", p.After+"^{commit}")] != 1 {
				t.Errorf("push of %s to %s has no check run", p.After, p.Ref)
			}
		}
	})

	w.run("no credential slipped out", func(t *testing.T) {
		if len(w.issued) < 16 {
			t.Errorf("only %d credentials were used", len(w.issued))
		}
		w.findNone(w.issued...)
	})

	w.run("the audit log is whole", func(t *testing.T) {
		last, err := w.keys.Audit.Verify(w.memory.AuditLog(t.Context()))
		if err != nil || last.Seq == 0 {
			t.Errorf("%d entries: %v", last.Seq, err)
		}
	})
}

// oneComment fails unless a pull request has exactly one comment and it says so.
func (w *world) oneComment(t *testing.T, number int, says string) {
	t.Helper()
	var all []githubtest.Comment
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		all = w.github.Comments(w.repoName, number)
		if len(all) == 1 && strings.Contains(strings.ToLower(all[0].Body), says) {
			return
		}
	}
	t.Errorf("comments %+v, want one that says %q", all, says)
}

// scanned waits until a delivery's scan is finished.
func (w *world) scanned(t *testing.T, delivery string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if s, err := w.memory.Scan(t.Context(), delivery); err == nil && !s.Finished.IsZero() {
			return
		}
	}
	t.Errorf("delivery %s was not scanned\n%s", delivery, w.logs)
}

// TestRefusals delivers what must not be believed, or cannot be understood.
func TestRefusals(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.seeded()
	w.await("nothing to be under way", func() bool {
		n, err := w.memory.Working(t.Context())
		w.must(err)
		return n == 0 && slices.ContainsFunc(w.github.Requests(), func(r githubtest.Request) bool { return strings.HasSuffix(r.Path, "/app") })
	})
	requests := len(w.github.Requests())
	sign := func(body []byte) string {
		mac := hmac.New(sha256.New, []byte(w.self.WebhookSecret))
		mac.Write(body)
		return "sha256=" + hex.EncodeToString(mac.Sum(nil))
	}
	good := []byte(`{"installation":{"id":1}}`)
	broken := []byte(`{"ref":`)
	huge := bytes.Repeat([]byte(" "), 26<<20)
	tests := []struct {
		name, event, signature string
		body                   []byte
		want                   int
	}{
		{"a bad signature", "push", sign([]byte("another")), good, 401},
		{"a missing signature", "push", "", good, 401},
		{"26 MiB", "push", sign(huge), huge, 413},
		{"an unknown event", "solar_eclipse", sign(good), good, 202},
		{"malformed JSON", "push", sign(broken), broken, 400},
		{"a push without a repository", "push", sign(good), good, 400},
	}
	for n, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := fmt.Sprintf("00000000-0000-0000-0000-%012d", n)
			header := map[string]string{"X-GitHub-Event": tt.event, "X-GitHub-Delivery": id}
			if tt.signature != "" {
				header["X-Hub-Signature-256"] = tt.signature
			}
			if got := w.deliver(tt.body, header).StatusCode; got != tt.want {
				t.Errorf("answer %d, want %d", got, tt.want)
			}
			_, err := w.memory.Delivery(t.Context(), id)
			if recorded := err == nil; recorded != (tt.want == 202) {
				t.Errorf("recorded: %v", recorded)
			}
		})
	}
	time.Sleep(200 * time.Millisecond) // time for what must not happen
	if now := len(w.github.Requests()); now != requests {
		t.Errorf("refused deliveries caused %d requests to GitHub", now-requests)
	}
}
