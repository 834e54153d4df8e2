package report

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

func TestText(t *testing.T) {
	hostile := finding("bad\x1b[2Jname\n")
	hostile.Location.Commit, hostile.Author = "", ""
	findings := []checks.Finding{finding("deploy/prod.env"), hostile}
	var plain, coloured bytes.Buffer
	if err := Text(&plain, findings, false); err != nil {
		t.Fatal(err)
	}
	if err := Text(&coloured, findings, true); err != nil {
		t.Fatal(err)
	}
	golden(t, "text.txt", plain.String())
	if strings.Contains(plain.String(), "\x1b") {
		t.Error("colours that nobody asked for")
	}
	if !strings.Contains(coloured.String(), bold) || strings.Contains(coloured.String(), "\x1b[2J") {
		t.Errorf("want our own colours and no others: %q", coloured.String())
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, []checks.Finding{finding("deploy/prod.env")}); err != nil {
		t.Fatal(err)
	}
	want := `[
  {
    "rule": "widget-token",
    "description": "Widget API token",
    "file": "deploy/prod.env",
    "line": 3,
    "column": 7,
    "end_line": 3,
    "end_column": 32,
    "commit": "1111111111111111111111111111111111111111",
    "author": "Ada <ada@example.org>",
    "date": "2026-03-04T05:06:07Z",
    "fingerprint": "f00d",
    "redacted": "wdg-************",
    "validity": ""
  }
]
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	if err := JSON(&b, nil); err != nil || b.String() != "[]\n" {
		t.Errorf("no findings give %q, %v; want an empty array", b.String(), err)
	}
}

func TestJSONLines(t *testing.T) {
	var b bytes.Buffer
	if err := JSONLines(&b, []checks.Finding{finding("a"), finding("b")}); err != nil {
		t.Fatal(err)
	}
	var files []string
	for line := range strings.Lines(b.String()) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q is no JSON: %v", line, err)
		}
		files = append(files, r.File)
	}
	if diff := cmp.Diff([]string{"a", "b"}, files); diff != "" {
		t.Error(diff)
	}
}

func sarif(t *testing.T, findings []checks.Finding, run Run) map[string]any {
	t.Helper()
	var b bytes.Buffer
	if err := SARIF(&b, findings, run); err != nil {
		t.Fatal(err)
	}
	var log map[string]any
	if err := json.Unmarshal(b.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	return log
}

// at follows a path of keys and indexes into decoded JSON.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch key := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			if m[key] == nil {
				t.Fatalf("no %q in %v", key, v)
			}
			v = m[key]
		case int:
			list, _ := v.([]any)
			if key >= len(list) {
				t.Fatalf("no element %d in %v", key, v)
			}
			v = list[key]
		}
	}
	return v
}

// What the standard requires: §3.13 sarifLog, §3.14 run, §3.19 toolComponent,
// §3.20 invocation, §3.27 result, §3.30 region, §3.49 reportingDescriptor.
func TestSARIFKeepsTheStandard(t *testing.T) {
	columns := func(checks.Finding) (int, int, bool) { return 5, 30, true }
	log := sarif(t, []checks.Finding{finding("a dir/ü#1%.env")}, Run{Version: "1.2.3", Rules: []*rules.Rule{widget}, Columns: columns})
	for _, test := range []struct {
		path []any
		want any
	}{
		{[]any{"version"}, "2.1.0"},
		{[]any{"runs", 0, "tool", "driver", "name"}, "Stanch"},
		{[]any{"runs", 0, "tool", "driver", "rules", 0, "id"}, "widget-token"},
		{[]any{"runs", 0, "tool", "driver", "rules", 0, "shortDescription", "text"}, "Widget API token"},
		{[]any{"runs", 0, "tool", "driver", "rules", 0, "defaultConfiguration", "level"}, "error"},
		{[]any{"runs", 0, "invocations", 0, "executionSuccessful"}, true},
		{[]any{"runs", 0, "columnKind"}, "unicodeCodePoints"},
		{[]any{"runs", 0, "results", 0, "ruleId"}, "widget-token"},
		{[]any{"runs", 0, "results", 0, "ruleIndex"}, 0.0},
		{[]any{"runs", 0, "results", 0, "level"}, "error"},
		{[]any{"runs", 0, "results", 0, "message", "text"}, "Widget API token: wdg-************"},
		{[]any{"runs", 0, "results", 0, "partialFingerprints", "stanchFingerprint/v1"}, "f00d"},
		{[]any{"runs", 0, "results", 0, "locations", 0, "physicalLocation", "region"},
			map[string]any{"startLine": 3.0, "startColumn": 5.0, "endLine": 3.0, "endColumn": 30.0}},
	} {
		if diff := cmp.Diff(test.want, at(t, log, test.path...)); diff != "" {
			t.Errorf("%v: %s", test.path, diff)
		}
	}
	raw := at(t, log, "runs", 0, "results", 0, "locations", 0, "physicalLocation", "artifactLocation", "uri").(string)
	u, err := url.Parse(raw)
	if err != nil || u.Path != "a dir/ü#1%.env" || strings.ContainsAny(raw, " #ü") {
		t.Errorf("URI %q leads to %q, %v", raw, u.Path, err)
	}
}

func TestSARIFWithoutFindings(t *testing.T) {
	log := sarif(t, nil, Run{Problems: []string{"big.bin: too large"}})
	if got := at(t, log, "runs", 0, "results"); len(got.([]any)) != 0 {
		t.Errorf("results are %v, want an empty array", got)
	}
	if at(t, log, "runs", 0, "invocations", 0, "executionSuccessful") != false {
		t.Error("an incomplete scan calls itself successful")
	}
	at(t, log, "runs", 0, "invocations", 0, "toolExecutionNotifications", 0, "message", "text")
}

// Our columns count bytes, which SARIF does not know: better none than wrong ones.
func TestSARIFWithoutColumns(t *testing.T) {
	log := sarif(t, []checks.Finding{finding("a")}, Run{Rules: []*rules.Rule{widget}})
	region := at(t, log, "runs", 0, "results", 0, "locations", 0, "physicalLocation", "region")
	if diff := cmp.Diff(map[string]any{"startLine": 3.0, "endLine": 3.0}, region); diff != "" {
		t.Error(diff)
	}
}

func TestURI(t *testing.T) {
	for path, want := range map[string]string{
		"a/b.go":     "a/b.go",
		"c:d":        "./c:d",
		"/etc/x y":   "file:///etc/x%20y",
		"a?b":        "a%3Fb",
		"back\\lash": "back%5Clash",
		"bad\xff":    "bad%FF",
	} {
		if got := uri(path); got != want {
			t.Errorf("uri(%q) = %q, want %q", path, got, want)
		}
	}
}
