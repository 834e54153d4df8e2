package githubtest

import (
	"fmt"
	"testing"
)

func TestReactions(t *testing.T) {
	x := openPulled(t, start(t, Config{}))
	id, err := x.Comment(x.repo, 1, "carol", "/stanch rotate")
	if err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/issues/comments/%d/reactions", id)
	first := x.as("POST", path, object{"content": "eyes"}).want(201).object()
	again := x.as("POST", path, object{"content": "eyes"}).want(200).object()
	if first["id"] != again["id"] || first["content"] != "eyes" {
		t.Errorf("the same reaction again is %v, was %v", again, first)
	}
	x.as("POST", path, object{"content": "+1"}).want(201)
	got := x.Comments(x.repo, 1)[0].Reactions
	if len(got) != 2 || got[0] != (Reaction{"eyes", "stanch[bot]"}) || got[1].Content != "+1" {
		t.Errorf("reactions %v", got)
	}
	shown := x.as("GET", fmt.Sprintf("/issues/comments/%d", id), nil).want(200).object()["reactions"].(object)
	if shown["total_count"] != 2.0 || shown["eyes"] != 1.0 || shown["heart"] != 0.0 {
		t.Errorf("the comment counts %v", shown)
	}
}

func TestRoles(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	for _, test := range []struct{ name, base, permission string }{
		{"maintain", "maintain", "write"}, {"triage", "triage", "read"}, {"release-captain", "maintain", "write"}, {"admin", "admin", "admin"},
	} {
		if err := x.SetRole(x.repo, "carol", test.name, test.base); err != nil {
			t.Fatal(err)
		}
		got := x.as("GET", "/collaborators/carol/permission", nil).want(200).object()
		can := got["user"].(object)["permissions"].(object)
		if got["permission"] != test.permission || got["role_name"] != test.name || can["maintain"] != (test.base != "triage") || can["triage"] != true {
			t.Errorf("%+v: %v, role %v, may %v", test, got["permission"], got["role_name"], can)
		}
	}
	if err := x.SetRole(x.repo, "carol", "king", "king"); err == nil {
		t.Error("there is no such base")
	}
}

func TestCommitAuthor(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	if got := x.as("GET", "/commits/main", nil).want(200).object(); got["author"] != nil {
		t.Errorf("an address that nobody has belongs to %v", got["author"])
	}
	x.SetEmail("carol", "Ada@example.com")
	got := x.as("GET", "/commits/main", nil).want(200).object()
	if author, ok := got["author"].(object); !ok || author["login"] != "carol" {
		t.Errorf("the author is %v", got["author"])
	}
	x.as("GET", "/commits/nothing", nil).want(422)
}
