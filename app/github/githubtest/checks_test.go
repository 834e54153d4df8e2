package githubtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (x shop) check(head string) string {
	x.t.Helper()
	id := x.as("POST", "/check-runs", object{
		"name": "Stanch", "head_sha": head, "status": "in_progress", "external_id": "row-1",
	}).want(201).id()
	return fmt.Sprintf("/check-runs/%d", id)
}

func (x shop) onlyRun() CheckRun {
	x.t.Helper()
	runs := x.CheckRuns(x.repo)
	if len(runs) != 1 {
		x.t.Fatalf("%d check runs, want one", len(runs))
	}
	return runs[0]
}

func annotations(n int) []object {
	list := make([]object, n)
	for i := range list {
		list[i] = object{
			"path": "a.txt", "start_line": i + 1, "end_line": i + 1, "start_column": 2, "end_column": 5,
			"annotation_level": "failure", "message": fmt.Sprintf("remark %d", i),
		}
	}
	return list
}

func TestCheckRun(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	path := x.check(x.first)
	x.as("PATCH", path, object{"output": object{"title": "Wait", "summary": "…", "annotations": annotations(50)}}).want(200)
	done := x.as("PATCH", path, object{
		"status": "completed", "conclusion": "failure",
		"output":  object{"title": "Leak", "summary": "**one** key", "annotations": annotations(7)},
		"actions": []object{{"label": "Rotate", "description": "Rotate it now", "identifier": "rotate"}},
	}).want(200).object()
	if got := done["output"].(object)["annotations_count"]; got != 57.0 {
		t.Errorf("%v annotations, want 57: they are added, never replaced", got)
	}
	run := x.onlyRun()
	got := object{"status": run.Status, "conclusion": run.Conclusion, "title": run.Title, "n": len(run.Annotations), "updates": run.Updates, "external": run.ExternalID}
	want := object{"status": "completed", "conclusion": "failure", "title": "Leak", "n": 57, "updates": 2, "external": "row-1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("check run (-want +got):\n%s", diff)
	}
	first := x.as("GET", path+"/annotations?per_page=50", nil).want(200)
	if !strings.Contains(first.header.Get("Link"), `rel="next"`) || len(first.list()) != 50 {
		t.Errorf("the first page has %d annotations and links to %q", len(first.list()), first.header.Get("Link"))
	}
	if rest := x.as("GET", path+"/annotations?per_page=50&page=2", nil).want(200).list(); len(rest) != 7 {
		t.Errorf("the second page has %d annotations, want 7", len(rest))
	}
	x.take("check_run")
	if err := x.PressButton(run.ID, "rotate", "carol"); err != nil {
		t.Fatal(err)
	}
	pressed := x.one("check_run")
	if pressed["action"] != "requested_action" || pressed["requested_action"].(object)["identifier"] != "rotate" ||
		pressed["sender"].(object)["login"] != "carol" || pressed["check_run"].(object)["external_id"] != "row-1" {
		t.Errorf("pressed = %v", pick(pressed, "action", "requested_action"))
	}
	if err := x.PressButton(run.ID, "explode", "carol"); err == nil {
		t.Error("a button that is not there could be pressed")
	}
	if err := x.Rerequest(run.ID, "carol"); err != nil {
		t.Fatal(err)
	}
	if got := x.one("check_run")["action"]; got != "rerequested" {
		t.Errorf("action %v, want rerequested", got)
	}
	x.as("POST", path+"/rerequest", nil).want(201)
}

func TestCheckRunList(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	for _, name := range []string{"Stanch", "Stanch", "Other"} {
		x.as("POST", "/check-runs", object{"name": name, "head_sha": x.first}).want(201)
	}
	for query, want := range map[string]float64{
		"": 2, "?filter=all": 3, "?check_name=Stanch": 1, "?check_name=Stanch&filter=all": 2,
		"?app_id=1": 0, fmt.Sprintf("?app_id=%d", x.app.ID): 2, "?status=completed": 0,
	} {
		for _, ref := range []string{x.first, "main"} {
			if got := x.as("GET", "/commits/"+ref+"/check-runs"+query, nil).want(200).object()["total_count"]; got != want {
				t.Errorf("%s%s: %v check runs, want %v", ref, query, got, want)
			}
		}
	}
	x.as("GET", "/commits/nowhere/check-runs", nil).want(422)
}

func TestCheckRunBelongsToItsApp(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	path := x.check(x.first)
	other, err := x.CreateApp("Other")
	if err != nil {
		t.Fatal(err)
	}
	id, err := x.Install(other.ID, "acme")
	if err != nil {
		t.Fatal(err)
	}
	token := shop{Server: x.Server, t: t, app: other}.installationToken(id)
	x.call(token, "PATCH", "/repos/acme/shop"+path, object{"status": "queued"}).want(403)
	x.call(token, "GET", "/repos/acme/shop"+path, nil).want(200)
	person, err := x.IssueToken("acme", ClassicToken)
	if err != nil {
		t.Fatal(err)
	}
	x.call(person, "POST", "/repos/acme/shop/check-runs", object{"name": "X", "head_sha": x.first}).want(403)
	x.call("", "POST", "/repos/acme/shop/check-runs", object{"name": "X", "head_sha": x.first}).want(401)
}

// TestCheckRunRules breaks GitHub's rules one by one.
func TestCheckRunRules(t *testing.T) {
	x := openShop(t, startLoose(t, Config{}))
	path := x.check(x.first)
	output := func(more object) object {
		out := object{"title": "T", "summary": "S"}
		for field, value := range more {
			out[field] = value
		}
		return object{"output": out}
	}
	remark := func(more object) object {
		a := annotations(1)[0]
		for field, value := range more {
			a[field] = value
		}
		return output(object{"annotations": []object{a}})
	}
	button := func(field string, n int) object {
		b := object{"label": "L", "description": "D", "identifier": "I"}
		b[field] = strings.Repeat("ü", n)
		return object{"actions": []object{b}}
	}
	four := object{"actions": []object{{"label": "L", "description": "D", "identifier": "1"}, {"label": "L", "description": "D", "identifier": "2"},
		{"label": "L", "description": "D", "identifier": "3"}, {"label": "L", "description": "D", "identifier": "4"}}}
	for name, test := range map[string]struct {
		body object
		says string // "" when it is allowed
	}{
		"no conclusion":      {object{"status": "completed"}, "conclusion"},
		"odd conclusion":     {object{"conclusion": "stale"}, "conclusion"},
		"odd status":         {object{"status": "waiting"}, "status"},
		"no summary":         {object{"output": object{"title": "T"}}, "summary"},
		"no title":           {object{"output": object{"summary": "S"}}, "title"},
		"summary fits":       {output(object{"summary": strings.Repeat("a", 65535)}), ""},
		"summary too long":   {output(object{"summary": strings.Repeat("a", 65536)}), "summary exceeds a maximum bytesize of 65535"},
		"summary in bytes":   {output(object{"summary": strings.Repeat("ü", 32768)}), "summary exceeds a maximum bytesize of 65535"},
		"text too long":      {output(object{"text": strings.Repeat("a", 65536)}), "text exceeds a maximum bytesize of 65535"},
		"50 annotations":     {output(object{"annotations": annotations(50)}), ""},
		"51 annotations":     {output(object{"annotations": annotations(51)}), "No more than 50 items"},
		"columns over lines": {remark(object{"end_line": 2}), "columns"},
		"column 0":           {remark(object{"start_column": 0}), "columns start at 1"},
		"line 0":             {remark(object{"start_line": 0}), "start_line"},
		"backwards":          {remark(object{"start_line": 3}), "end_line"},
		"odd level":          {remark(object{"annotation_level": "error"}), "annotation_level"},
		"long message":       {remark(object{"message": strings.Repeat("a", 65537)}), "message exceeds"},
		"long title":         {remark(object{"title": strings.Repeat("a", 256)}), "title is too long"},
		"no path":            {remark(object{"path": ""}), "path"},
		"4 buttons":          {four, "No more than 3 items"},
		"label fits":         {button("label", 20), ""},
		"label":              {button("label", 21), "Only 20 characters"},
		"description":        {button("description", 41), "Only 40 characters"},
		"identifier":         {button("identifier", 21), "Only 20 characters"},
		"empty label":        {button("label", 0), "label"},
		"wrong type":         {object{"name": 7}, "name"},
	} {
		got := x.as("PATCH", path, test.body)
		switch {
		case test.says == "" && got.status != 200:
			t.Errorf("%s: refused: %s", name, got.body)
		case test.says != "" && (got.status != 422 || !strings.Contains(string(got.body), test.says)):
			t.Errorf("%s: status %d %.200s, want 422 that says %q", name, got.status, got.body, test.says)
		}
	}
	for name, body := range map[string]object{
		"no name":   {"head_sha": x.first},
		"no commit": {"name": "Stanch"},
		"a branch":  {"name": "Stanch", "head_sha": "main"},
		"a ghost":   {"name": "Stanch", "head_sha": strings.Repeat("ab", 20)},
	} {
		if got := x.as("POST", "/check-runs", body); got.status != 422 {
			t.Errorf("%s: status %d, want 422", name, got.status)
		}
	}
	r := x.call(x.token, "PATCH", "/repos/acme/shop"+path, nil)
	r.want(200)
}
