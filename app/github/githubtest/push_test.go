package githubtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const noCommit = "0000000000000000000000000000000000000000"

// pick is the part of a payload that a test is about.
func pick(payload object, fields ...string) object {
	part := object{}
	for _, field := range fields {
		part[field] = payload[field]
	}
	return part
}

func TestPushEvent(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	x.work.commit("dir/a.txt", "one\n")
	second := x.work.commit("dir/a.txt", "two\n")
	x.work.git("push", "-q", "origin", "HEAD:main")
	push := x.one("push")
	want := object{
		"ref": "refs/heads/main", "before": x.first, "after": second,
		"created": false, "deleted": false, "forced": false, "base_ref": nil,
	}
	if diff := cmp.Diff(want, pick(push, "ref", "before", "after", "created", "deleted", "forced", "base_ref")); diff != "" {
		t.Errorf("push (-want +got):\n%s", diff)
	}
	commits := push["commits"].([]any)
	if len(commits) != 2 {
		t.Fatalf("%d commits, want 2", len(commits))
	}
	last := commits[1].(object)
	wantLast := object{
		"id": second, "message": "change dir/a.txt", "distinct": true,
		"added": []any{}, "modified": []any{"dir/a.txt"}, "removed": []any{},
	}
	if diff := cmp.Diff(wantLast, pick(last, "id", "message", "distinct", "added", "modified", "removed")); diff != "" {
		t.Errorf("last commit (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(last, push["head_commit"]); diff != "" {
		t.Errorf("head_commit is not the last commit (-last +head):\n%s", diff)
	}
}

func TestPushNewBranchOfOldCommits(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	x.work.git("push", "-q", "origin", "HEAD:refs/heads/feature/x")
	push := x.one("push")
	want := object{"before": noCommit, "after": x.first, "created": true, "base_ref": "refs/heads/main", "commits": []any{}}
	if diff := cmp.Diff(want, pick(push, "before", "after", "created", "base_ref", "commits")); diff != "" {
		t.Errorf("push (-want +got):\n%s", diff)
	}
	if id := push["head_commit"].(object)["id"]; id != x.first {
		t.Errorf("head_commit = %v, want %s", id, x.first)
	}
	x.work.git("push", "-q", "origin", ":refs/heads/feature/x")
	gone := x.one("push")
	want = object{"before": x.first, "after": noCommit, "deleted": true, "head_commit": nil, "commits": []any{}}
	if diff := cmp.Diff(want, pick(gone, "before", "after", "deleted", "head_commit", "commits")); diff != "" {
		t.Errorf("deletion (-want +got):\n%s", diff)
	}
}

func TestPushForced(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	lost := x.work.commit("a.txt", "secret\n")
	x.work.git("push", "-q", "origin", "HEAD:main")
	x.one("push")
	x.work.git("reset", "-q", "--hard", x.first)
	found := x.work.commit("a.txt", "clean\n")
	x.work.git("push", "-q", "--force", "origin", "HEAD:main")
	want := object{"before": lost, "after": found, "forced": true}
	if diff := cmp.Diff(want, pick(x.one("push"), "before", "after", "forced")); diff != "" {
		t.Errorf("push (-want +got):\n%s", diff)
	}
	// What was forced away can still be fetched by its name.
	fresh := clone(t, x.CloneURL(x.repo))
	fresh.git("fetch", "-q", "--filter=blob:none", "origin", lost)
	if got := fresh.git("show", "FETCH_HEAD:a.txt"); got != "secret\n" {
		t.Errorf("the lost commit has %q", got)
	}
}

func TestPushTags(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	x.work.git("tag", "-a", "-m", "release", "v1")
	tag := strings.TrimSpace(x.work.git("rev-parse", "v1"))
	x.work.git("push", "-q", "origin", "v1")
	push := x.one("push")
	want := object{"ref": "refs/tags/v1", "after": tag, "created": true, "base_ref": nil}
	if diff := cmp.Diff(want, pick(push, "ref", "after", "created", "base_ref")); diff != "" {
		t.Errorf("push (-want +got):\n%s", diff)
	}
	if id := push["head_commit"].(object)["id"]; id != x.first {
		t.Errorf("head_commit = %v, want the commit %s", id, x.first)
	}
	for _, n := range []int{3, 4} {
		for i := range n {
			x.work.git("tag", fmt.Sprintf("t%d-%d", n, i))
		}
		x.work.git("push", "-q", "origin", "--tags")
		events := len(x.take("push"))
		if want := map[int]int{3: 3, 4: 0}[n]; events != want {
			t.Errorf("%d tags at once made %d events, want %d", n, events, want)
		}
	}
}

func TestPushMerge(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	x.work.git("checkout", "-q", "-b", "side")
	side := x.work.commit("side.txt", "s\n")
	x.work.git("push", "-q", "origin", "side")
	x.one("push")
	x.work.git("checkout", "-q", "-")
	x.work.commit("main.txt", "m\n")
	x.work.git("merge", "-q", "--no-edit", "side")
	x.work.git("push", "-q", "origin", "HEAD:main")
	distinct := map[any]any{}
	for _, c := range x.one("push")["commits"].([]any) {
		distinct[c.(object)["id"]] = c.(object)["distinct"]
	}
	if len(distinct) != 3 || distinct[side] != false || distinct[x.work.head()] != true {
		t.Errorf("commits and whether they are new: %v; want three, %s not new", distinct, side)
	}
}

func TestPushOddNames(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	name := "A\nb \"c\" ü"
	x.work.commit(name, "1\n")
	if err := os.Remove(filepath.Join(x.work.dir, name)); err != nil {
		t.Fatal(err)
	}
	x.work.commit("M", "2\n")
	x.work.git("commit", "-q", "--allow-empty", "--allow-empty-message", "-m", "")
	x.work.git("push", "-q", "origin", "HEAD:main")
	var files []any
	for _, c := range x.one("push")["commits"].([]any) {
		files = append(files, c.(object)["added"], c.(object)["removed"])
	}
	want := []any{[]any{name}, []any{}, []any{"M"}, []any{name}, []any{}, []any{}}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestOnPush(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	var got []Push
	x.OnPush(func(p Push) { got = append(got, p) })
	head := x.work.commit("a.txt", "1\n")
	x.work.git("push", "-q", "origin", "HEAD:main", "HEAD:refs/heads/b")
	x.settle()
	if len(got) != 2 || got[0].Ref != "refs/heads/b" || got[0].Before != noCommit || got[1].After != head {
		t.Errorf("pushes = %+v", got)
	}
}

func TestGitAccess(t *testing.T) {
	s := start(t, Config{PushNeedsToken: true})
	repo, err := s.CreateRepository("acme", "hidden", RepoOptions{Private: true})
	if err != nil {
		t.Fatal(err)
	}
	owner, err := s.IssueToken("acme", ClassicToken)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := s.IssueToken("mallory", ClassicToken)
	if err != nil {
		t.Fatal(err)
	}
	with := func(token string) string {
		return strings.Replace(s.CloneURL(repo), "://", "://x-access-token:"+token+"@", 1)
	}
	w := clone(t, with(owner))
	w.commit("a.txt", "1\n")
	w.git("push", "-q", "origin", "HEAD:main")
	for who, url := range map[string]string{"nobody": s.CloneURL(repo), "a stranger": with(stranger)} {
		if out, err := runGit(t.TempDir(), "clone", "-q", url, "x"); err == nil {
			t.Errorf("%s could clone a private repository: %s", who, out)
		}
	}
	app, err := s.CreateApp("Stanch")
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Install(app.ID, "acme")
	if err != nil {
		t.Fatal(err)
	}
	token := shop{Server: s, t: t, app: app}.installationToken(id)
	copied := clone(t, with(token))
	copied.commit("b.txt", "2\n")
	if out, err := runGit(copied.dir, "push", "-q", "origin", "HEAD:main"); err == nil {
		t.Errorf("the App, which may only read, could push: %s", out)
	}
	s.KillToken(owner)
	if _, err := runGit(t.TempDir(), "clone", "-q", with(owner), "x"); err == nil {
		t.Error("a dead token could clone")
	}
}

func TestAnonymousFetch(t *testing.T) {
	s := start(t, Config{AnonymousFetch: true})
	repo, err := s.CreateRepository("acme", "hidden", RepoOptions{Private: true})
	if err != nil {
		t.Fatal(err)
	}
	w := clone(t, s.CloneURL(repo))
	w.commit("a.txt", "1\n")
	w.git("push", "-q", "origin", "HEAD:main")
	callAPI(t, s, "", "GET", "/repos/"+repo, nil).want(404) // git alone is open
}
