package githubtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func openPulled(t *testing.T, s *Server) shop {
	t.Helper()
	x := openShop(t, s)
	x.work.commit("a.txt", "1\n")
	x.work.git("push", "-q", "origin", "HEAD:refs/heads/topic")
	x.open("topic")
	x.settle()
	return x
}

func TestComments(t *testing.T) {
	x := openPulled(t, start(t, Config{}))
	made := x.as("POST", "/issues/1/comments", object{"body": "first"}).want(201).object()
	if made["user"].(object)["login"] != "stanch[bot]" || made["performed_via_github_app"].(object)["slug"] != "stanch" {
		t.Errorf("the comment is by %v, through %v", made["user"], made["performed_via_github_app"])
	}
	path := fmt.Sprintf("/issues/comments/%.0f", made["id"])
	x.as("PATCH", path, object{"body": "second"}).want(200)
	if got := x.as("GET", path, nil).want(200).object()["body"]; got != "second" {
		t.Errorf("body %v, want second", got)
	}
	if _, err := x.Comment(x.repo, 1, "carol", "/stanch rotate"); err != nil {
		t.Fatal(err)
	}
	var who []string
	for _, c := range x.Comments(x.repo, 1) {
		who = append(who, c.User+": "+c.Body)
	}
	if diff := cmp.Diff([]string{"stanch[bot]: second", "carol: /stanch rotate"}, who); diff != "" {
		t.Errorf("comments (-want +got):\n%s", diff)
	}
	var actions []any
	for _, e := range x.take("issue_comment") {
		actions = append(actions, e["action"], e["comment"].(object)["author_association"])
	}
	want := []any{"created", "NONE", "edited", "NONE", "created", "NONE"}
	if diff := cmp.Diff(want, actions); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	x.as("DELETE", path, nil).want(204)
	x.as("GET", path, nil).want(404)
	x.as("GET", "/issues/9/comments", nil).want(404)
	if got := x.one("issue_comment")["action"]; got != "deleted" {
		t.Errorf("action %v, want deleted", got)
	}
}

func TestCommentPages(t *testing.T) {
	x := openPulled(t, start(t, Config{}))
	for i := range 7 {
		x.as("POST", "/issues/1/comments", object{"body": fmt.Sprint(i)}).want(201)
	}
	var all []any
	path := "/repos/acme/shop/issues/1/comments?per_page=3"
	for range 3 {
		got := x.call(x.token, "GET", path, nil).want(200)
		for _, c := range got.list() {
			all = append(all, c["body"])
		}
		link := got.header.Get("Link")
		for part := range strings.SplitSeq(link, ", ") {
			if address, ok := strings.CutSuffix(part, `>; rel="next"`); ok {
				path = strings.TrimPrefix(address, "<"+x.URL()+APIPrefix)
			}
		}
	}
	if diff := cmp.Diff([]any{"0", "1", "2", "3", "4", "5", "6"}, all); diff != "" {
		t.Errorf("three pages (-want +got):\n%s", diff)
	}
}

func TestCommentRules(t *testing.T) {
	x := openPulled(t, startLoose(t, Config{}))
	x.as("POST", "/issues/1/comments", object{"body": strings.Repeat("ü", 65536)}).want(201)
	long := x.as("POST", "/issues/1/comments", object{"body": strings.Repeat("a", 65537)}).want(422)
	if !strings.Contains(string(long.body), "Body is too long (maximum is 65536 characters)") {
		t.Errorf("a body too long: %s", long.body)
	}
	x.as("POST", "/issues/1/comments", object{"body": ""}).want(422)
	theirs, err := x.Comment(x.repo, 1, "carol", "hello")
	if err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/issues/comments/%d", theirs)
	x.as("PATCH", path, object{"body": "changed"}).want(403)
	stranger, err := x.IssueToken("mallory", ClassicToken)
	if err != nil {
		t.Fatal(err)
	}
	x.call(stranger, "DELETE", "/repos/acme/shop"+path, nil).want(403)
	x.call(stranger, "POST", "/repos/acme/shop/issues/1/comments", object{"body": "hi"}).want(201)
	x.call("", "POST", "/repos/acme/shop/issues/1/comments", object{"body": "hi"}).want(401)
}
