package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks/report"
)

// A check is a check run as the fake GitHub keeps it: annotations are added to
// it, all else is replaced.
type check struct {
	annotations []object
	updates     []object
	refuse      map[int]bool // by number of update, from 1: applied, answered 502
}

func (c *check) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPatch {
		var update object
		if err := json.NewDecoder(r.Body).Decode(&update); err != nil {
			writeJSON(w, 400, object{"message": err.Error()})
			return
		}
		c.updates = append(c.updates, update)
		sent, _ := update["output"].(object)["annotations"].([]any)
		if len(sent) > 50 {
			writeJSON(w, 422, object{"message": "too many annotations"})
			return
		}
		for _, a := range sent {
			c.annotations = append(c.annotations, a.(object))
		}
		if c.refuse[len(c.updates)] {
			writeJSON(w, 502, object{"message": "Server Error"})
			return
		}
	}
	writeJSON(w, 200, object{"id": 12, "output": object{"annotations_count": len(c.annotations)}})
}

// manyFindings is a failed run with n annotations.
func manyFindings(n int) report.CheckRun {
	run := report.CheckRun{
		Conclusion: report.Failure, Title: "Found", Summary: "sum", Text: "text",
		Actions: []report.Button{{Label: "Rotate", Description: "Rotate it now", Identifier: "rotate:1"}},
	}
	for i := range n {
		run.Annotations = append(run.Annotations, report.Annotation{
			Path: "a.go", StartLine: i + 1, EndLine: i + 1, StartColumn: 3, EndColumn: 9,
			Level: "failure", Title: "secret", Message: fmt.Sprintf("finding %d", i),
		})
	}
	return run
}

// messages are the annotations that the check has, in order.
func (c *check) messages() (out []string) {
	for _, a := range c.annotations {
		out = append(out, a["message"].(string))
	}
	return out
}

func wantMessages(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("finding %d", i))
	}
	return out
}

// checkBatches checks what every update must have, and that the last alone
// concludes.
func checkBatches(t *testing.T, updates []object) {
	t.Helper()
	for n, u := range updates {
		output := u["output"].(object)
		if u["name"] != "Stanch" || output["title"] != "Found" || output["summary"] != "sum" || output["text"] != "text" {
			t.Errorf("update %d lacks name, title, summary or text: %v", n, u)
		}
		last := n == len(updates)-1
		if _, ok := u["conclusion"]; ok != last {
			t.Errorf("update %d of %d: conclusion %v", n+1, len(updates), u["conclusion"])
		}
		if _, ok := u["actions"]; ok != last {
			t.Errorf("update %d of %d: actions %v", n+1, len(updates), u["actions"])
		}
		if status := u["status"]; last && status != "completed" || !last && status != nil {
			t.Errorf("update %d of %d: status %v", n+1, len(updates), status)
		}
	}
}

func TestCompleteCheckBatches(t *testing.T) {
	for n, requests := range map[int]int{0: 1, 1: 1, 50: 1, 51: 2, 100: 2, 120: 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s, app := newServer(t)
			kept := &check{}
			s.mux.Handle("/repos/acme/shop/check-runs/12", kept)
			if err := app.Installation(testInst).CompleteCheck(t.Context(), testRepo, 12, manyFindings(n)); err != nil {
				t.Fatal(err)
			}
			if len(kept.updates) != requests {
				t.Errorf("%d updates, want %d", len(kept.updates), requests)
			}
			if diff := cmp.Diff(wantMessages(n), kept.messages()); diff != "" {
				t.Error(diff)
			}
			checkBatches(t, kept.updates)
		})
	}
}

// Wherever it breaks off, with GitHub having taken the last batch or not, the
// next attempt completes the check with each annotation once.
func TestCompleteCheckAgain(t *testing.T) {
	for broken := 1; broken <= 3; broken++ {
		t.Run(fmt.Sprint(broken), func(t *testing.T) {
			s, app := newServer(t)
			kept := &check{refuse: map[int]bool{broken: true}}
			s.mux.Handle("/repos/acme/shop/check-runs/12", kept)
			i := app.Installation(testInst)
			if err := i.CompleteCheck(t.Context(), testRepo, 12, manyFindings(120)); err == nil {
				t.Fatal("a 502 went unnoticed")
			}
			first := len(kept.updates)
			for range 2 {
				if err := i.CompleteCheck(t.Context(), testRepo, 12, manyFindings(120)); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(wantMessages(120), kept.messages()); diff != "" {
				t.Error(diff)
			}
			checkBatches(t, kept.updates[first:len(kept.updates)-1])
			checkBatches(t, kept.updates[len(kept.updates)-1:])
		})
	}
}

func TestCompleteCheckTakesButtonsAway(t *testing.T) {
	s, app := newServer(t)
	kept := &check{}
	s.mux.Handle("/repos/acme/shop/check-runs/12", kept)
	run := report.CheckRun{Conclusion: report.Success, Title: "Clean", Summary: "sum"}
	if err := app.Installation(testInst).CompleteCheck(t.Context(), testRepo, 12, run); err != nil {
		t.Fatal(err)
	}
	want := object{
		"name": "Stanch", "status": "completed", "conclusion": "success", "actions": []any{},
		"output": object{"title": "Clean", "summary": "sum", "text": ""},
	}
	if diff := cmp.Diff(want, kept.updates[0]); diff != "" {
		t.Error(diff)
	}
}

func TestCompleteCheckDeleted(t *testing.T) {
	s, app := newServer(t)
	s.answer("/repos/acme/shop/check-runs/12", 404, object{"message": "Not Found"})
	err := app.Installation(testInst).CompleteCheck(t.Context(), testRepo, 12, manyFindings(1))
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestAnnotationColumns(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   report.Annotation
		want bool
	}{
		{"one line", report.Annotation{StartLine: 3, EndLine: 3, StartColumn: 2, EndColumn: 8}, true},
		{"several lines", report.Annotation{StartLine: 3, EndLine: 4, StartColumn: 2, EndColumn: 8}, false},
		{"no columns", report.Annotation{StartLine: 3, EndLine: 3}, false},
		{"an end before the start", report.Annotation{StartLine: 3, EndLine: 3, StartColumn: 8, EndColumn: 2}, false},
	} {
		got := annotation(tt.in)
		if (got.StartColumn != nil) != tt.want || (got.EndColumn != nil) != tt.want {
			t.Errorf("%s: columns %v to %v", tt.name, got.StartColumn, got.EndColumn)
		}
	}
}

func TestEnsureCheck(t *testing.T) {
	s, app := newServer(t)
	ours := object{"id": testApp}
	runs := []object{
		{"id": 1, "name": "Stanch", "external_id": "job-1", "app": object{"id": 1}},
		{"id": 2, "name": "Other", "external_id": "job-1", "app": ours},
		{"id": 3, "name": "Stanch", "external_id": "job-0", "app": ours},
	}
	for n := range 230 {
		runs = append(runs, object{"id": 1000 + n, "name": "Stanch", "external_id": "old", "app": ours})
	}
	s.mux.HandleFunc("GET /repos/acme/shop/commits/"+testSHA+"/check-runs", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, 200, object{"total_count": len(runs), "check_runs": page(w, r, runs)})
	})
	s.mux.HandleFunc("POST /repos/acme/shop/check-runs", func(w http.ResponseWriter, r *http.Request) {
		var made object
		json.NewDecoder(r.Body).Decode(&made)
		want := object{
			"name": "Stanch", "head_sha": testSHA, "external_id": "job-1", "status": "in_progress",
			"details_url": "https://stanch.example/1",
		}
		if diff := cmp.Diff(want, made); diff != "" {
			t.Error(diff)
		}
		made["id"], made["app"] = 12, ours
		runs = append(runs, made)
		writeJSON(w, 201, made)
	})
	for range 3 {
		id, err := app.Installation(testInst).EnsureCheck(t.Context(), testRepo, testSHA, "job-1", "https://stanch.example/1")
		if err != nil || id != 12 {
			t.Fatalf("got %d, %v", id, err)
		}
	}
	if got := s.count("POST"); got != 1 {
		t.Errorf("%d check runs were created", got)
	}
	for _, want := range []string{"filter=all", "check_name=Stanch", "app_id=77", "per_page=100"} {
		if query := s.requests[0].Query; !strings.Contains(query, want) {
			t.Errorf("the list was asked for with %s, without %s", query, want)
		}
	}
}

func TestNamesCannotChangeTheRequest(t *testing.T) {
	s, app := newServer(t)
	i := app.Installation(testInst)
	for _, name := range []string{"", ".", "..", "shop/../evil", "shop?x", "shop#x", "sh op", "shop\n", "%2e%2e", strings.Repeat("a", 101)} {
		bad := Repository{ID: 1, Owner: "acme", Name: name}
		worse := Repository{ID: 1, Owner: name, Name: "shop"}
		calls := map[string]error{}
		_, calls["sha"] = i.EnsureCheck(t.Context(), testRepo, name, "x", "")
		_, calls["repo"] = i.EnsureCheck(t.Context(), bad, testSHA, "x", "")
		calls["complete"] = i.CompleteCheck(t.Context(), worse, 1, manyFindings(1))
		_, calls["comment"] = i.UpsertComment(t.Context(), bad, 1, "m", "m")
		_, calls["login"] = i.Permission(t.Context(), testRepo, Person{Login: name})
		_, calls["pulls"] = i.PullsFor(t.Context(), worse, testSHA)
		for call, err := range calls {
			if err == nil {
				t.Errorf("%s took %q", call, name)
			}
		}
	}
	if got := s.asked(); len(got) > 0 {
		t.Errorf("GitHub was asked %v", got)
	}
}
