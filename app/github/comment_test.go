package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const marker = "<!-- stanch -->"

// A conversation is the comments of pull request 1.
type conversation struct {
	comments []object
	appID    int64 // who writes
}

func (c *conversation) serve(s *server) {
	s.mux.HandleFunc("GET /repos/acme/shop/issues/1/comments", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, 200, page(w, r, c.comments))
	})
	s.mux.HandleFunc("POST /repos/acme/shop/issues/1/comments", func(w http.ResponseWriter, r *http.Request) {
		made := object{"id": 5000, "performed_via_github_app": object{"id": c.appID}}
		json.NewDecoder(r.Body).Decode(&made)
		c.comments = append(c.comments, made)
		writeJSON(w, 201, made)
	})
	s.mux.HandleFunc("PATCH /repos/acme/shop/issues/comments/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, one := range c.comments {
			if fmt.Sprint(one["id"]) == r.PathValue("id") {
				json.NewDecoder(r.Body).Decode(&one)
				writeJSON(w, 200, one)
				return
			}
		}
		writeJSON(w, 404, object{"message": "Not Found"})
	})
}

// strangers are n comments of other people and Apps that carry our marker.
func strangers(n int) (out []object) {
	for i := range n {
		one := object{"id": i + 1, "body": marker + " fake", "performed_via_github_app": nil}
		if i%2 == 0 {
			one["performed_via_github_app"] = object{"id": testApp + 1}
		}
		out = append(out, one)
	}
	return out
}

func TestUpsertComment(t *testing.T) {
	s, app := newServer(t)
	talk := &conversation{comments: strangers(250), appID: testApp}
	talk.comments = append(talk.comments, object{"id": 400, "body": "ours, about something else", "performed_via_github_app": object{"id": testApp}})
	talk.serve(s)
	i := app.Installation(testInst)
	upsert := func(text string) bool {
		created, err := i.UpsertComment(t.Context(), testRepo, 1, marker, marker+"\n"+text)
		if err != nil {
			t.Fatal(err)
		}
		return created
	}
	if !upsert("one") {
		t.Error("not created")
	}
	talk.comments = append(talk.comments, strangers(3)...)
	if upsert("one") || s.count("PATCH") != 0 {
		t.Error("the same text was written again")
	}
	if upsert("two") || s.count("PATCH") != 1 || s.count("POST") != 1 {
		t.Errorf("not edited in place: %v", s.asked())
	}
	if got := talk.comments[251]["body"]; got != marker+"\ntwo" {
		t.Errorf("our comment says %q", got)
	}
	for _, one := range append(talk.comments[:250:250], talk.comments[252:]...) {
		if one["body"] != marker+" fake" {
			t.Errorf("a stranger's comment was edited: %v", one)
		}
	}
}

func TestEditCommentNeverCreates(t *testing.T) {
	s, app := newServer(t)
	talk := &conversation{comments: strangers(3), appID: testApp}
	talk.serve(s)
	i := app.Installation(testInst)
	if found, err := i.EditComment(t.Context(), testRepo, 1, marker, marker); found || err != nil {
		t.Fatalf("found %v, %v", found, err)
	}
	talk.comments = append(talk.comments, object{"id": 9, "body": marker + " old\r\nlines\n", "performed_via_github_app": object{"id": testApp}})
	if found, err := i.EditComment(t.Context(), testRepo, 1, marker, marker+" old\nlines"); !found || err != nil {
		t.Fatalf("found %v, %v", found, err)
	}
	if got := s.count("PATCH"); got != 0 {
		t.Error("line ends alone made it write")
	}
	if found, err := i.EditComment(t.Context(), testRepo, 1, marker, marker+" new"); !found || err != nil {
		t.Fatalf("found %v, %v", found, err)
	}
	if got := talk.comments[3]["body"]; got != marker+" new" || s.count("POST") != 0 {
		t.Errorf("it says %q; asked %v", got, s.asked())
	}
}

func TestCommentNeedsItsMarker(t *testing.T) {
	s, app := newServer(t)
	i := app.Installation(testInst)
	for _, tt := range []struct {
		pull         int
		marker, body string
	}{{1, marker, "no marker"}, {1, "", "empty marker"}, {0, marker, marker}, {-1, marker, marker}} {
		if _, err := i.UpsertComment(t.Context(), testRepo, tt.pull, tt.marker, tt.body); err == nil {
			t.Errorf("took %+v", tt)
		}
	}
	if len(s.asked()) != 0 {
		t.Errorf("asked %v", s.asked())
	}
}

func TestCommentsClosed(t *testing.T) {
	for status, message := range map[int]string{410: "Issues are disabled", 403: "Unable to create comment because issue is locked."} {
		s, app := newServer(t)
		s.answer("GET /repos/acme/shop/issues/1/comments", 200, []object{})
		s.answer("POST /repos/acme/shop/issues/1/comments", status, object{"message": message})
		created, err := app.Installation(testInst).UpsertComment(t.Context(), testRepo, 1, marker, marker)
		if created || !errors.Is(err, ErrCommentsClosed) || !strings.Contains(err.Error(), "acme/shop#1") {
			t.Errorf("%d: %v, %v", status, created, err)
		}
	}
}
