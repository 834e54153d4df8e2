package app_test

import (
	"bytes"
	"fmt"
	"strings"
)

var pushCases = []coverageCase{
	{"push", "the first push of a repository", "its whole history is scanned", false, func(s *scene) {
		leaked := s.leak()
		guilty := s.commit("leak", map[string]string{"a.env": env(leaked)})
		head := s.commit("next", map[string]string{"b.txt": "b\n"})
		s.push("main")
		s.expect(head, "failure", at(guilty, "a.env", 2))
	}, nil},
	{"push", "more commits than one run of the scan takes", "all of them, in parts: the check run says how far it is, is red as soon as something is found, and never green before the end", false, nil, longPush},
	{"push", "a credential in what a commit says", "it is found at the commit", false, func(s *scene) {
		s.began()
		guilty := s.commit("leak\n\nThe token is\n"+s.leak(), nil)
		head := s.commit("next", map[string]string{"b.txt": "b\n"})
		s.push("main")
		s.expect(head, "failure", at(guilty, "(message)", 4))
	}, nil},
	{"push", "a credential in what a tag says", "it is found at the commit that the tag is about", false, func(s *scene) {
		head := s.began()
		s.git("tag", "-a", "-m", "v1\n\n"+s.leak(), "v1")
		s.push("v1")
		s.expect(head, "failure", at(head, "(message)", 3))
	}, nil},
	{"push", "a branch that moves on", "every commit since, also what a later one removes", false, func(s *scene) {
		s.began()
		guilty := s.commit("leak", map[string]string{"a.env": env(s.leak())})
		head := s.commit("remove it", map[string]string{"a.env": ""})
		s.push("main")
		s.expect(head, "failure", at(guilty, "a.env", 2))
	}, nil},
	{"push", "a new branch", "what it has and the default branch has not", false, func(s *scene) {
		s.began()
		s.git("checkout", "--quiet", "-b", "new")
		head := s.commit("leak", map[string]string{"a.env": env(s.leak())})
		s.push("new")
		s.expect(head, "failure", at(head, "a.env", 2))
	}, nil},
	{"push", "a new branch with nothing new", "the commit's check run stays as it is", false, func(s *scene) {
		head := s.began()
		s.push("main:refs/heads/empty")
		s.quiet()
		s.expect(head, "success")
		if n := s.runs(); n != 1 {
			s.t.Errorf("%d check runs, want 1", n)
		}
	}, nil},
	{"push", "a merge that adds lines of its own", "they are found at the merge", false, func(s *scene) {
		s.began()
		s.git("checkout", "--quiet", "-b", "side")
		s.commit("side", map[string]string{"side.txt": "s\n"})
		s.git("checkout", "--quiet", "main")
		s.commit("ours", map[string]string{"ours.txt": "o\n"})
		s.git("merge", "--quiet", "--no-commit", "--no-ff", "side")
		head := s.commit("merge", map[string]string{"side.txt": "s\n" + env(s.leak())})
		s.push("main")
		s.expect(head, "failure", at(head, "side.txt", 3))
	}, nil},
	{"push", "a forced push", "the new side", false, func(s *scene) {
		first := s.began()
		before := s.commit("before", map[string]string{"x.txt": "x\n"})
		s.push("main")
		s.expect(before, "success")
		s.git("reset", "--quiet", "--hard", first)
		head := s.commit("after", map[string]string{"y.env": env(s.leak())})
		s.push("--force", "main")
		s.expect(head, "failure", at(head, "y.env", 2))
	}, nil},
	{"push", "a forced push over commits that were never scanned", "the lost side too, as long as GitHub has it", false, func(s *scene) {
		first := s.began()
		found := s.lose()
		lost := s.commit("lost", map[string]string{"lost.env": env(s.leak())})
		s.push("main")
		found()
		s.git("reset", "--quiet", "--hard", first)
		head := s.commit("after", map[string]string{"y.txt": "y\n"})
		s.push("--force", "main")
		s.expect(head, "failure", at(lost, "lost.env", 2))
	}, nil},
	{"push", "the delivery before it was lost", "what that one would have brought, too", false, func(s *scene) {
		s.began()
		found := s.lose()
		guilty := s.commit("leak", map[string]string{"a.env": env(s.leak())})
		s.push("main")
		found()
		head := s.commit("next", map[string]string{"b.txt": "b\n"})
		s.push("main")
		s.expect(head, "failure", at(guilty, "a.env", 2))
	}, nil},
	{"push", "a delivery that comes after the next one", "its own range; what was scanned is not forgotten", false, func(s *scene) {
		s.began()
		found := s.lose()
		late := s.commit("leak", map[string]string{"a.env": env(s.leak())})
		s.push("main")
		found()
		head := s.commit("next", map[string]string{"b.txt": "b\n"})
		s.push("main")
		s.expect(head, "failure", at(late, "a.env", 2))
		s.redeliver(late)
		s.expect(late, "failure", at(late, "a.env", 2))
		if last := s.ref("refs/heads/main"); last != head {
			s.t.Errorf("main was last scanned at %s, want %s", last, head)
		}
	}, nil},
	{"push", "the same delivery twice", "is scanned once", false, func(s *scene) {
		head := s.began()
		before := s.check(head, "is green", completed("success"))
		s.redeliver(head)
		s.quiet()
		if after := s.check(head, "is green", completed("success")); after.Updates != before.Updates {
			s.t.Errorf("%d updates, then %d", before.Updates, after.Updates)
		}
	}, nil},
	{"push", "equal commits before and after", "nothing to do: success", false, func(s *scene) {
		head := s.began()
		_, err := s.github.Send(s.self.ID, s.repoName, "push", map[string]any{
			"ref": "refs/heads/main", "before": head, "after": head, "created": false, "deleted": false, "forced": false,
			"head_commit": map[string]any{"id": head}, "commits": []any{},
		})
		s.must(err)
		s.quiet()
		s.expect(head, "success")
	}, nil},
	{"push", "a deleted branch", "is recorded; there is nothing to scan", false, func(s *scene) {
		s.began()
		s.push("main:refs/heads/short-lived")
		s.quiet()
		if s.ref("refs/heads/short-lived") == "" {
			s.t.Error("the branch was not remembered")
		}
		runs := s.runs()
		s.push("--delete", "short-lived")
		s.quiet()
		if n := s.runs(); n != runs || s.ref("refs/heads/short-lived") != "" {
			s.t.Errorf("%d check runs, then %d; the branch is remembered at %q", runs, n, s.ref("refs/heads/short-lived"))
		}
	}, nil},
	{"push", "a lightweight tag", "what it has and the default branch has not", false, func(s *scene) {
		tagCase(s, "tag", "v1")
	}, nil},
	{"push", "a tag with a message", "the same, reported on the commit", false, func(s *scene) {
		tagCase(s, "tag", "-a", "v1", "-m", "version 1")
	}, nil},
	{"push", "a tag of a tag", "the same, reported on the commit", false, func(s *scene) {
		s.began()
		s.git("checkout", "--quiet", "--detach")
		head := s.commit("only a tag has it", map[string]string{"t.env": env(s.leak())})
		s.git("tag", "-a", "inner", "-m", "inner")
		s.git("-c", "advice.nestedTag=false", "tag", "-a", "outer", "inner", "-m", "outer")
		s.push("outer")
		s.expect(head, "failure", at(head, "t.env", 2))
	}, nil},
	{"push", "a tag of a folder", "its files; no check run can stand on it, the incident does", false, func(s *scene) {
		s.began()
		s.commit("never pushed", map[string]string{"t.env": env(s.leak())})
		s.tagged("HEAD^{tree}", "t.env", 2)
	}, nil},
	{"push", "a tag of a file", "its content; no check run can stand on it, the incident does", false, func(s *scene) {
		s.began()
		s.commit("never pushed", map[string]string{"t.env": env(s.leak())})
		s.tagged("HEAD:t.env", "(tagged file)", 2)
	}, nil},
}

func tagCase(s *scene, args ...string) {
	s.began()
	s.git("checkout", "--quiet", "--detach")
	head := s.commit("only a tag has it", map[string]string{"t.env": env(s.leak())})
	s.git(args...)
	s.push("v1")
	s.expect(head, "failure", at(head, "t.env", 2))
}

// tagged pushes a tag with a message of what is no commit, and waits for what is
// found there.
func (s *scene) tagged(what, path string, line int) {
	s.t.Helper()
	s.git("tag", "-a", "odd", "-m", "odd", what)
	tag := s.git("rev-parse", "odd")
	s.push("odd")
	want := at(tag, path, line)
	s.await("a find at "+want, func() bool {
		installation, repo := s.ids()
		check, err := s.memory.CheckOf(s.t.Context(), installation, repo, tag)
		if err != nil {
			return false
		}
		found, err := s.memory.Occurrences(s.t.Context(), check)
		return err == nil && len(found) == 1 && at(found[0].Commit, found[0].Path, found[0].Line) == want
	})
}

// redeliver sends again what told of a commit's push.
func (s *scene) redeliver(sha string) {
	s.t.Helper()
	after := fmt.Appendf(nil, `"after":"%s"`, sha)
	for _, d := range s.github.Deliveries() {
		if d.Event == "push" && bytes.Contains(d.Payload, after) {
			s.must(s.github.Redeliver(d.GUID))
			return
		}
	}
	s.t.Fatalf("no delivery told of %s", sha)
}

var pullCases = []coverageCase{
	{"pull_request", "opened, and pushed to", "every commit that the base has not", false, func(s *scene) {
		s.began()
		s.git("checkout", "--quiet", "-b", "topic")
		first := s.commit("leak", map[string]string{"a.env": env(s.leak())})
		s.push("topic")
		s.openPull("topic")
		s.expect(first, "failure", at(first, "a.env", 2))
		head := s.commit("remove it", map[string]string{"a.env": ""})
		s.push("topic")
		s.expect(head, "failure", at(first, "a.env", 2))
	}, nil},
	{"pull_request", "closed and reopened", "what was not told of meanwhile", false, func(s *scene) {
		s.began()
		number := s.harmlessPull("topic")
		s.must(s.github.ClosePull(s.repoName, number))
		head := s.unseen("topic")
		s.must(s.github.Reopen(s.repoName, number))
		s.expect(head, "failure", at(head, "a.env", 2))
	}, nil},
	{"pull_request", "a draft that becomes ready", "what was not told of meanwhile", false, func(s *scene) {
		s.began()
		number := s.harmlessPull("topic")
		head := s.unseen("topic")
		s.must(s.github.Ready(s.repoName, number))
		s.expect(head, "failure", at(head, "a.env", 2))
	}, nil},
	{"pull_request", "another base branch", "what that one has not", false, func(s *scene) {
		s.began()
		s.git("checkout", "--quiet", "-b", "release")
		s.push("release")
		s.git("checkout", "--quiet", "-b", "topic")
		found := s.lose()
		guilty := s.commit("leak", map[string]string{"a.env": env(s.leak())})
		s.push("HEAD:refs/heads/main", "HEAD:refs/heads/topic")
		found()
		head := s.commit("next", map[string]string{"b.txt": "b\n"})
		s.push("topic")
		s.quiet()
		number := s.openPull("topic")
		s.quiet()
		s.must(s.github.Retarget(s.repoName, number, "release"))
		s.expect(head, "failure", at(guilty, "a.env", 2))
	}, nil},
	{"pull_request", "from a fork", "its commits, from the base repository", false, func(s *scene) {
		s.began()
		_, head, _ := s.fork("stranger-" + s.tail())
		s.expect(head, "failure", at(head, "f.env", 2))
	}, nil},
	{"pull_request", "from a fork that is deleted", "its commits: the base repository keeps them", false, func(s *scene) {
		s.began()
		s.git("branch", "release")
		s.push("release")
		found := s.lose()
		fork, head, number := s.fork("gone-" + s.tail())
		s.must(s.github.DeleteRepository(fork))
		found()
		s.must(s.github.Retarget(s.repoName, number, "release"))
		s.expect(head, "failure", at(head, "f.env", 2))
	}, nil},
	{"merge_group", "checks requested", "the same check on the group's commit", true, func(s *scene) {
		s.began()
		number := s.harmlessPull("topic")
		head, err := s.github.Enqueue(s.repoName, number)
		s.must(err)
		if run := s.expect(head, "success"); run.Name != "Stanch" {
			s.t.Errorf("the check run is called %q", run.Name)
		}
	}, nil},
	{"merge_group", "destroyed", "is recorded", true, func(s *scene) {
		s.began()
		number := s.harmlessPull("topic")
		head, err := s.github.Enqueue(s.repoName, number)
		s.must(err)
		s.expect(head, "success")
		runs := s.runs()
		s.must(s.github.Dequeue(s.repoName, "main", head))
		s.quiet()
		if n := s.runs(); n != runs {
			s.t.Errorf("%d check runs, then %d", runs, n)
		}
	}, nil},
	{"check_run", "rerequested", "everything that it reports on is scanned again", false, func(s *scene) {
		rerunCase(s, s.github.Rerequest)
	}, nil},
	{"check_suite", "rerequested", "the same", false, func(s *scene) {
		rerunCase(s, s.github.RerequestSuite)
	}, nil},
}

func rerunCase(s *scene, again func(int64, string) error) {
	s.began()
	head := s.commit("leak", map[string]string{"a.env": env(s.leak())})
	s.push("main")
	run := s.expect(head, "failure", at(head, "a.env", 2))
	s.quiet()
	scans := s.scans()
	s.must(again(run.ID, "dana"))
	s.quiet()
	s.expect(head, "failure", at(head, "a.env", 2))
	if n := s.scans(); n != scans+1 {
		s.t.Errorf("%d scans, then %d: want one more", scans, n)
	}
}

// scans counts the scans that the audit log tells of.
func (s *scene) scans() (n int) {
	for e, err := range s.memory.AuditLog(s.t.Context()) {
		s.must(err)
		if e.Verb == "scan" && e.Detail["repository"] == s.repoName {
			n++
		}
	}
	return n
}

// tail is what makes names of this scene differ from those of others.
func (s *scene) tail() string { return s.repoName[strings.LastIndexByte(s.repoName, '-')+1:] }

func (s *scene) openPull(branch string) int {
	s.t.Helper()
	number, err := s.github.OpenPull(s.repoName, branch, "main", "A pull request")
	s.must(err)
	return number
}

// harmlessPull opens a pull request with one commit and awaits its check run.
func (s *scene) harmlessPull(branch string) int {
	s.t.Helper()
	s.git("checkout", "--quiet", "-b", branch)
	head := s.commit("harmless", map[string]string{"p.txt": "p\n"})
	s.push(branch)
	number := s.openPull(branch)
	s.expect(head, "success")
	return number
}

// unseen pushes a leak of which no webhook tells, and returns its commit.
func (s *scene) unseen(branch string) string {
	s.t.Helper()
	found := s.lose()
	defer found()
	head := s.commit("leak", map[string]string{"a.env": env(s.leak())})
	s.push(branch)
	return head
}

// fork opens a pull request with a leak from a fork.
func (s *scene) fork(owner string) (fork, head string, number int) {
	s.t.Helper()
	s.github.CreateUser(owner)
	fork, err := s.github.Fork(s.repoName, owner)
	s.must(err)
	s.git("checkout", "--quiet", "-b", "fork")
	head = s.commit("leak from afar", map[string]string{"f.env": env(s.leak())})
	s.git("push", "--quiet", s.github.CloneURL(fork), "fork")
	number, err = s.github.OpenPull(s.repoName, owner+":fork", "main", "From a fork")
	s.must(err)
	return fork, head, number
}
