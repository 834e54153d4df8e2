package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"io"
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
    "severity": "critical",
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
    "excerpt": "  grün: wdg-************ # \u001b[2Jgone",
    "encodings": [],
    "inside": "",
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
	log := sarif(t, []checks.Finding{finding("a dir/ü#1%.env")}, Run{Version: "1.2.3", Rules: []*rules.Rule{widget}})
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

// Columns in bytes are nothing that SARIF knows: better none than wrong ones.
func TestSARIFWithoutColumns(t *testing.T) {
	f := finding("a")
	f.CharColumn, f.EndCharColumn = 0, 0
	log := sarif(t, []checks.Finding{f}, Run{Rules: []*rules.Rule{widget}})
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

// GitHub refuses a run with more results, so the least severe stay out.
func TestSARIFIsNotTooLong(t *testing.T) {
	low := finding("low")
	low.Rule = &rules.Rule{ID: "low", Severity: rules.Low}
	findings := []checks.Finding{low}
	for range MaxResults {
		findings = append(findings, finding("a"))
	}
	log := sarif(t, findings, Run{})
	results := at(t, log, "runs", 0, "results").([]any)
	if len(results) != MaxResults || at(t, results, 0, "ruleId") != "widget-token" {
		t.Errorf("%d results, the first %v; want the most severe %d", len(results), at(t, results, 0, "ruleId"), MaxResults)
	}
	if at(t, log, "runs", 0, "invocations", 0, "executionSuccessful") != true {
		t.Error("all was scanned, and the log says otherwise")
	}
	at(t, log, "runs", 0, "invocations", 0, "toolExecutionNotifications", 0, "message", "text")
}

func TestCSV(t *testing.T) {
	hostile := finding("=cmd|'/c calc'!A0\n")
	hostile.Author, hostile.Excerpt, hostile.Encodings = "@evil", "\t+1, \"x\"", []string{"gzip", "base64"}
	var b bytes.Buffer
	if err := CSV(&b, []checks.Finding{hostile}); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v; want two", len(rows), err)
	}
	got := map[string]string{}
	for i, name := range rows[0] {
		got[name] = rows[1][i]
	}
	for name, want := range map[string]string{
		"rule": "widget-token", "file": `'=cmd|'/c calc'!A0\x0a`, "line": "3", "end_column": "32", "author": "'@evil",
		"excerpt": `'\x09+1, "x"`, "encodings": "gzip base64", "date": "2026-03-04T05:06:07Z", "fingerprint": "f00d",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestGitleaks(t *testing.T) {
	var b bytes.Buffer
	if err := Gitleaks(&b, []checks.Finding{finding("deploy/prod.env")}); err != nil {
		t.Fatal(err)
	}
	want := `[
  {
    "RuleID": "widget-token",
    "Description": "Widget API token",
    "StartLine": 3,
    "EndLine": 3,
    "StartColumn": 7,
    "EndColumn": 31,
    "Match": "wdg-************",
    "Secret": "wdg-************",
    "File": "deploy/prod.env",
    "SymlinkFile": "",
    "Commit": "1111111111111111111111111111111111111111",
    "Entropy": 0,
    "Author": "Ada",
    "Email": "ada@example.org",
    "Date": "2026-03-04T05:06:07Z",
    "Message": "",
    "Tags": [],
    "Fingerprint": "1111111111111111111111111111111111111111:deploy/prod.env:widget-token:3"
  }
]
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestAuthor(t *testing.T) {
	for in, want := range map[string][2]string{
		"Ada <ada@example.org>":     {"Ada", "ada@example.org"},
		"A. (b) [c] <x@y>":          {"A. (b) [c]", "x@y"},
		"nobody":                    {"nobody", ""},
		"":                          {"", ""},
		"Bot[bot] <1+b@users.test>": {"Bot[bot]", "1+b@users.test"},
	} {
		if name, email := author(in); name != want[0] || email != want[1] {
			t.Errorf("%q is %q, %q; want %q", in, name, email, want)
		}
	}
}

func junit(t *testing.T, findings []checks.Finding, problems []string) junitSuites {
	t.Helper()
	var b bytes.Buffer
	if err := JUnit(&b, findings, problems); err != nil {
		t.Fatal(err)
	}
	var document junitSuites
	if err := xml.Unmarshal(b.Bytes(), &document); err != nil {
		t.Fatalf("%v: %s", err, b.String())
	}
	return document
}

func TestJUnit(t *testing.T) {
	got := junit(t, []checks.Finding{finding("a\x00\"<b>")}, []string{"big.bin: too large\x1b"})
	if got.Tests != 2 || got.Failures != 1 || got.Errors != 1 {
		t.Errorf("%d tests, %d failures, %d errors; want 2, 1, 1", got.Tests, got.Failures, got.Errors)
	}
	failed, broken := got.Suite.Cases[0], got.Suite.Cases[1]
	if failed.File != `a\x00"<b>` || failed.Line != 3 || failed.Failure == nil || failed.Failure.Message != "Widget API token: wdg-************" {
		t.Errorf("the finding became %+v", failed)
	}
	if broken.Error == nil || broken.Error.Message != `not scanned: big.bin: too large\x1b` {
		t.Errorf("the problem became %+v", broken)
	}
	got = junit(t, nil, nil)
	if got.Tests != 1 || got.Failures+got.Errors != 0 || len(got.Suite.Cases) != 1 {
		t.Errorf("a clean scan became %+v, want one test that passed", got)
	}
}

func TestFirstStep(t *testing.T) {
	for runbook, want := range map[string]string{
		"":                               "",
		"Delete it: https://a.example/x": "Delete it: https://a.example/x",
		"Revoke it in v1.2 first. Then\nlook at https://a.example/x.": "Revoke it in v1.2 first. https://a.example/x",
		"One. Two.":    "One.",
		"No full stop": "No full stop",
	} {
		if got := firstStep(runbook); got != want {
			t.Errorf("%q begins with %q, want %q", runbook, got, want)
		}
	}
}

// No format shows the secret, wherever a stranger repeats it.
func TestNoFormatShowsTheSecret(t *testing.T) {
	f := finding("dir-" + value + "/file")
	f.Author, f.Excerpt, f.Inside = value, "key="+value, "a.zip!"+value
	for _, format := range Formats() {
		var b bytes.Buffer
		if err := Write(&b, format, []checks.Finding{f}, Run{Rules: []*rules.Rule{widget}, Problems: []string{value}}, true); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), value) {
			t.Errorf("%s shows the secret", format)
		}
		if !strings.Contains(b.String(), "widget") && format != "text" {
			t.Errorf("%s does not name the rule: %s", format, b.String())
		}
	}
	if err := Write(io.Discard, "xml", nil, Run{}, false); err == nil || !strings.Contains(err.Error(), "junit") {
		t.Errorf("an unknown format gives %v, want the known ones", err)
	}
}
