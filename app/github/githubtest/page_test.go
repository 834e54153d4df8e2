package githubtest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func (x shop) page(path string) answer {
	x.t.Helper()
	r, err := http.NewRequest("GET", x.URL()+path, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	return send(x.t, r)
}

func TestPages(t *testing.T) {
	x := openPulled(t, start(t, Config{}))
	hostile := `<script>alert(1)</script><img src=x onerror=alert(1)>`
	a := annotations(1)
	a[0]["path"], a[0]["message"], a[0]["title"] = hostile, hostile, hostile
	id := x.as("POST", "/check-runs", object{
		"name": "Stanch", "head_sha": x.first, "conclusion": "failure",
		"output": object{
			"title": "One key leaked " + hostile, "annotations": a,
			"summary": "| Rule | File |\n|---|---|\n| pat | `a.txt` |\n\n[x](javascript:alert(1)) " + hostile,
		},
		"actions": []object{{"label": "Rotate", "description": hostile[:40], "identifier": "rotate"}},
	}).want(201).id()
	if _, err := x.Comment(x.repo, 1, "carol", "hello <!-- marker --> "+hostile); err != nil {
		t.Fatal(err)
	}
	run := fmt.Sprintf("/%s/runs/%d", x.repo, id)
	for path, wants := range map[string][]string{
		"/":                          {"acme/shop", "change readme.md", run},
		"/acme/shop":                 {"git clone", "Try this"},
		run:                          {"One key leaked", "<table>", "<td>pat</td>", "Rotate", "line 1", `badge bad">failure`},
		"/" + x.repo + "/pull/1":     {"hello", "carol", "acme:topic"},
		"/" + x.repo + ".git/pull/1": {"Try this"},
	} {
		got := x.page(path).want(200)
		for _, want := range wants {
			if !strings.Contains(string(got.body), want) {
				t.Errorf("%s does not say %q", path, want)
			}
		}
		for _, bad := range []string{"<script", "<img", "javascript:"} {
			if strings.Contains(string(got.body), bad) {
				t.Errorf("%s has %q in it", path, bad)
			}
		}
		if policy := got.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") {
			t.Errorf("%s: Content-Security-Policy: %q", path, policy)
		}
	}
	x.page("/style.css").want(200)
	for _, path := range []string{"/acme/nothing", "/acme/shop/runs/1", "/acme/shop/pull/9", "/a/b/c/d"} {
		x.page(path).want(404)
	}
}

func TestPageButton(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	id := x.as("POST", "/check-runs", object{
		"name": "Stanch", "head_sha": x.first, "conclusion": "failure",
		"actions": []object{{"label": "Rotate", "description": "Now", "identifier": "rotate"}},
	}).want(201).id()
	x.take("check_run")
	press := func(site, identifier string) answer {
		r, err := http.NewRequest("POST", fmt.Sprintf("%s/%s/runs/%d/actions/%s", x.URL(), x.repo, id, identifier), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Site", site)
		return send(t, r)
	}
	press("cross-site", "rotate").want(403)
	press("same-origin", "explode").want(404)
	if got := x.take("check_run"); len(got) != 0 {
		t.Errorf("%d events without a press", len(got))
	}
	press("same-origin", "rotate").want(303)
	if got := x.one("check_run"); got["action"] != "requested_action" || got["sender"].(object)["login"] != "acme" {
		t.Errorf("pressed: %v", pick(got, "action", "sender"))
	}
}
