package githubtest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (x shop) fork(owner string) (string, workTree) {
	x.t.Helper()
	fork, err := x.Fork(x.repo, owner)
	if err != nil {
		x.t.Fatal(err)
	}
	return fork, clone(x.t, x.CloneURL(fork))
}

func (x shop) open(head string) int {
	x.t.Helper()
	n, err := x.OpenPull(x.repo, head, "main", "Try this")
	if err != nil {
		x.t.Fatal(err)
	}
	return n
}

func TestPullFromBranch(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	head := x.work.commit("a.txt", "1\n2\n")
	x.work.git("push", "-q", "origin", "HEAD:refs/heads/feature/x")
	x.take("push")
	n := x.open("feature/x")
	opened := x.one("pull_request")
	shown := opened["pull_request"].(object)
	want := object{"number": 1.0, "state": "open", "commits": 1.0, "changed_files": 1.0, "additions": 2.0, "deletions": 0.0}
	if diff := cmp.Diff(want, pick(shown, "number", "state", "commits", "changed_files", "additions", "deletions")); diff != "" {
		t.Errorf("pull request (-want +got):\n%s", diff)
	}
	next := x.work.commit("a.txt", "3\n")
	x.work.git("push", "-q", "origin", "HEAD:refs/heads/feature/x")
	moved := x.one("pull_request")
	want = object{"action": "synchronize", "before": head, "after": next}
	if diff := cmp.Diff(want, pick(moved, "action", "before", "after")); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if got := x.as("GET", "/pulls/1", nil).want(200).object()["head"].(object)["sha"]; got != next {
		t.Errorf("head is %v, want %s", got, next)
	}
	if got := x.as("GET", "/pulls?head=acme:feature/x", nil).want(200).list(); len(got) != 1 {
		t.Errorf("%d pull requests with that head, want 1", len(got))
	}
	if got := x.as("GET", "/commits/feature/x/pulls", nil).want(200).list(); len(got) != 1 {
		t.Errorf("%d pull requests of the branch's commit, want 1", len(got))
	}
	if err := x.ClosePull(x.repo, n); err != nil {
		t.Fatal(err)
	}
	if got := x.one("pull_request")["action"]; got != "closed" {
		t.Errorf("action %v, want closed", got)
	}
	if got := x.as("GET", "/pulls", nil).want(200).list(); len(got) != 0 {
		t.Errorf("%d open pull requests, want none", len(got))
	}
}

func TestPullFromFork(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	fork, work := x.fork("ada")
	head := work.commit("a.txt", "1\n")
	work.git("push", "-q", "origin", "HEAD:refs/heads/fix")
	if got := x.take("push"); len(got) != 0 {
		t.Errorf("the App got %d pushes of a fork where it is not installed", len(got))
	}
	x.open("ada:fix")
	opened := x.one("pull_request")["pull_request"].(object)
	if got := opened["head"].(object)["repo"].(object)["full_name"]; got != fork {
		t.Errorf("head is in %v, want %s", got, fork)
	}
	// The head can be had from the base, and a check run hangs on it there.
	mine := clone(t, x.CloneURL(x.repo))
	mine.git("fetch", "-q", "origin", "pull/1/head")
	if got := strings.TrimSpace(mine.git("rev-parse", "FETCH_HEAD")); got != head {
		t.Errorf("pull/1/head is %s, want %s", got, head)
	}
	run := x.as("POST", "/check-runs", object{"name": "Stanch", "head_sha": head}).want(201).object()
	if got := run["pull_requests"].([]any); len(got) != 0 {
		t.Errorf("the check run of a fork's head names %d pull requests, want none", len(got))
	}
	if out, err := runGit(mine.dir, "push", "origin", "HEAD:refs/pull/1/head"); err == nil {
		t.Errorf("refs/pull could be pushed to: %s", out)
	}
	next := work.commit("a.txt", "2\n")
	work.git("push", "-q", "origin", "HEAD:refs/heads/fix")
	if got := x.one("pull_request")["after"]; got != next {
		t.Errorf("synchronize to %v, want %s", got, next)
	}
}
