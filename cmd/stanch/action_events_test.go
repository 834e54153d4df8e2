package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A history is a repository on a server, with a leak that is older than all that
// the tests' events bring.
type history struct {
	gitRepo
	old  string // the last commit of main
	leak func(rule string) string
}

func newHistory(t *testing.T) history {
	t.Helper()
	isolateGit(t)
	h := history{gitRepo: newGitRepo(t)}
	h.leak = func(rule string) string { return "token = " + sampleOf(t, rule) + "\n" }
	h.commit("readme", "hello\n")
	h.commit("old.env", h.leak("github-pat"))
	for i := range 40 { // more than the first step of deepening
		h.old = h.commit("count", fmt.Sprintf("%d\n", i))
	}
	return h
}

func TestActionPush(t *testing.T) {
	for _, depth := range []string{"0", "1", "2"} {
		t.Run("depth "+depth, func(t *testing.T) {
			h := newHistory(t)
			secret := h.leak("gitlab-pat")
			h.commit("a b/new.env", "\n"+secret)
			h.commit("a b/new.env", "")
			tip := h.commit("done", "x\n")
			clone := h.checkout("refs/heads/main", depth)
			s := newStep(t, "push", pushEvent(t, "refs/heads/main", h.old, tip), clone.dir).run(nil)
			s.found("a%20b/new.env:2")
			if want := `"commits":3,`; !strings.Contains(s.outputs["coverage"], want) {
				t.Errorf("coverage is %s, want %s", s.outputs["coverage"], want)
			}
			if s.outputs["findings"] != "1" || !strings.Contains(s.summary, "in the history") {
				t.Errorf("findings %s, summary:\n%s", s.outputs["findings"], s.summary)
			}
			value := strings.TrimSpace(strings.TrimPrefix(secret, "token = "))
			sarif, err := os.ReadFile(s.outputs["sarif"])
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"log": s.log, "summary": s.summary, "coverage": s.outputs["coverage"], "SARIF file": string(sarif)} {
				if strings.Contains(text, value) {
					t.Errorf("the %s holds the secret", name)
				}
			}
		})
	}
}

func TestActionPushOfRefs(t *testing.T) {
	h := newHistory(t)
	h.git("checkout", "-q", "-b", "feature")
	h.commit("one.env", h.leak("gitlab-pat"))
	tip := h.commit("two.env", h.leak("github-pat"))
	h.git("tag", "-a", "-m", "release", "v1")
	tag := h.git("rev-parse", "v1")
	h.git("checkout", "-q", "-b", "elsewhere", h.old)
	forced := h.commit("three.env", h.leak("gitlab-pat"))
	for _, test := range []struct {
		what, depth        string
		ref, before, after string
		code               int
		places             string
	}{
		{"a new branch", "1", "refs/heads/feature", noCommit, tip, exitFound, "one.env:1 two.env:1"},
		{"a new tag", "0", "refs/tags/v1", noCommit, tag, exitFound, "one.env:1 two.env:1"},
		{"a forced push", "1", "refs/heads/feature", tip, forced, exitFound, "three.env:1"},
		{"a forced push of what is gone", "1", "refs/heads/feature", strings.Repeat("12", 20), forced, exitFound, "three.env:1"},
		{"a tag on main", "1", "refs/tags/v0", noCommit, h.old, exitDone, ""},
		{"a deletion", "1", "refs/heads/feature", tip, noCommit, exitDone, ""},
		{"nothing", "1", "refs/heads/feature", tip, tip, exitDone, ""},
		{"the first push", "1", "refs/heads/main", noCommit, h.old, exitFound, "old.env:1"},
		{"what the server lost", "0", "refs/heads/lost", h.old, strings.Repeat("34", 20), exitFailed, ""},
	} {
		clone := h.checkout("refs/heads/elsewhere", test.depth)
		s := newStep(t, "push", pushEvent(t, test.ref, test.before, test.after), clone.dir).run(nil)
		switch {
		case s.code != test.code:
			t.Errorf("%s: status %d, want %d; log:\n%s", test.what, s.code, test.code, s.log)
		case test.places != "":
			s.found(strings.Fields(test.places)...)
		case test.code == exitDone && s.outputs["conclusion"] != concludedSuccess, test.code == exitFailed && s.outputs["conclusion"] != concludedIncomplete:
			t.Errorf("%s: the conclusion is %q", test.what, s.outputs["conclusion"])
		}
	}
}

// A runner keeps nothing between runs; code scanning must know its alerts again all
// the same.
func TestActionFingerprintsAreSteady(t *testing.T) {
	h := newHistory(t)
	tip := h.commit("new.env", h.leak("gitlab-pat"))
	clone := h.checkout("refs/heads/main", "0").dir
	fingerprint := func(repository, key string) string {
		t.Setenv("XDG_CONFIG_HOME", t.TempDir())
		s := newStep(t, "push", pushEvent(t, "refs/heads/main", h.old, tip), clone)
		s.env["GITHUB_REPOSITORY"], s.env["STANCH_FINGERPRINT_KEY"] = repository, key
		s.run(nil).found("new.env:1")
		data, err := os.ReadFile(s.outputs["sarif"])
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), `"stanchFingerprint/v1": "`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	first := fingerprint("octo/repo", "")
	if len(first) < 32 || fingerprint("octo/repo", "") != first {
		t.Errorf("the fingerprint %q is another one in the next run", first)
	}
	if fingerprint("octo/other", "") == first || fingerprint("octo/repo", strings.Repeat("0f", 32)) == first {
		t.Error("another repository, or a key of one's own, has the same fingerprint")
	}
}

// forkPull makes the refs that GitHub makes for a pull request from a fork: the
// fork's commits are there under refs/pull alone.
func forkPull(h history) (base, head string) {
	h.git("checkout", "-q", "--detach", h.old)
	h.commit("fork.env", h.leak("gitlab-pat"))
	h.commit("fork.env", "")
	head = h.commit("fork", "x\n")
	h.git("update-ref", "refs/pull/7/head", head)
	h.git("checkout", "-q", "main")
	base = h.commit("base.env", h.leak("github-pat")) // after the fork was made
	h.git("checkout", "-q", "--detach", base)
	h.git("merge", "-q", "-m", "merge", head)
	h.git("update-ref", "refs/pull/7/merge", "HEAD")
	h.git("checkout", "-q", "main")
	return base, head
}

func TestActionForkPullRequest(t *testing.T) {
	h := newHistory(t)
	base, head := forkPull(h)
	for event, ref := range map[string]string{"pull_request": "refs/pull/7/merge", "pull_request_target": "refs/heads/main"} {
		clone := h.checkout(ref, "1")
		newStep(t, event, pullEvent(t, 7, base, head), clone.dir).run(nil).found("fork.env:1")
		if refs := clone.git("for-each-ref", "refs/stanch"); refs != "" {
			t.Errorf("refs were left behind: %s", refs)
		}
	}
	newStep(t, "pull_request", pullEvent(t, 7, base, head), h.checkout("refs/pull/7/merge", "0").dir).run(nil).found("fork.env:1")
}

func TestActionMergeGroup(t *testing.T) {
	h := newHistory(t)
	h.git("checkout", "-q", "-b", "gh-readonly-queue/main/pr-1")
	tip := h.commit("queue.env", h.leak("gitlab-pat"))
	p := example(t, "merge_group", anyExample)
	at(p, "merge_group")["base_sha"], at(p, "merge_group")["head_sha"] = h.old, tip
	newStep(t, "merge_group", p, h.checkout("refs/heads/gh-readonly-queue/main/pr-1", "1").dir).run(nil).found("queue.env:1")
}

func TestActionWithoutServer(t *testing.T) {
	h := newHistory(t)
	tip := h.commit("new.env", h.leak("gitlab-pat"))
	clone := h.checkout("refs/heads/main", "1")
	clone.git("remote", "set-url", "origin", "file://"+filepath.Join(t.TempDir(), "gone"))
	s := newStep(t, "push", pushEvent(t, "refs/heads/main", h.old, tip), clone.dir).run(nil)
	s.ended(exitFailed, concludedIncomplete)
	if !strings.Contains(s.log, "::error title=Stanch could not scan::") || !strings.Contains(s.summary, "cannot pass") {
		t.Errorf("log:\n%s\nsummary:\n%s", s.log, s.summary)
	}
}

func TestActionPartialClone(t *testing.T) {
	h := newHistory(t)
	h.git("config", "uploadpack.allowFilter", "true")
	h.commit("new.env", h.leak("gitlab-pat"))
	tip := h.commit("new.env", "")
	clone := gitRepo{t, t.TempDir()}
	clone.git("clone", "-q", "--filter=blob:none", "--no-checkout", "file://"+h.dir, ".")
	newStep(t, "push", pushEvent(t, "refs/heads/main", h.old, tip), clone.dir).run(nil).found("new.env:1")
}

// What a pull request brings along does not excuse it.
func TestActionJudgesByTheBase(t *testing.T) {
	h := newHistory(t)
	h.git("checkout", "-q", "-b", "feature")
	secret := h.leak("gitlab-pat")
	h.commit("leak.env", secret)
	t.Chdir(h.dir)
	if code, _, errs := runHere(t, "baseline", "create"); code != exitDone {
		t.Fatalf("baseline create: status %d: %s", code, errs)
	}
	list, err := os.ReadFile(baselineDefault)
	if err != nil {
		t.Fatal(err)
	}
	head := h.commit(baselineDefault, string(list))
	inputs := map[string]string{"baseline": baselineDefault}
	event := pullEvent(t, 3, h.old, head)
	s := newStep(t, "pull_request", event, h.checkout("refs/heads/feature", "1").dir).run(inputs)
	s.found("leak.env:1")
	if !strings.Contains(s.log, baselineDefault+" does not count: the base, "+h.old[:7]+", does not have it") {
		t.Errorf("the log does not say why the baseline did not count:\n%s", s.log)
	}
	// Once it is merged it counts.
	h.git("checkout", "-q", "main")
	base := h.commit(baselineDefault, string(list))
	s = newStep(t, "pull_request", pullEvent(t, 3, base, head), h.checkout("refs/heads/feature", "1").dir).run(inputs)
	s.found()
	if !strings.Contains(s.log, "1 known to the baseline") {
		t.Errorf("the log does not count what is known:\n%s", s.log)
	}
}

// A repository's own rules are those of the base too, and of a push its own.
func TestActionRules(t *testing.T) {
	h := newHistory(t)
	rule := func(pattern string) string {
		return "provider: own\nrules:\n  - id: our-word\n    title: A word of ours\n    severity: low\n" +
			"    detect: {keywords: [zwo], pattern: '" + pattern + "'}\n"
	}
	base := h.commit("ci/own.yaml", rule("zwo[0-9]{4}rt"))
	h.commit("word", "zwo1234rt\n")
	head := h.commit("ci/own.yaml", rule("zwo[0-9]{5}rt"))
	clone := h.checkout("refs/heads/main", "1").dir
	inputs := map[string]string{"rules": "ci/own.yaml"}
	newStep(t, "pull_request", pullEvent(t, 3, base, head), clone).run(inputs).found("word:1")
	newStep(t, "push", pushEvent(t, "refs/heads/main", base, head), clone).run(inputs).found()
	inputs["rules"] = "ci/nowhere.yaml"
	newStep(t, "push", pushEvent(t, "refs/heads/main", base, head), clone).run(inputs).ended(exitFailed, concludedIncomplete)
}

// runHere runs the program in the working directory.
func runHere(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr strings.Builder
	code = run(t.Context(), args, strings.NewReader(""), &stdout, &stderr, func(string) string { return "" })
	return code, stdout.String(), stderr.String()
}
