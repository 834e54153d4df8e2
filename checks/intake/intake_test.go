package intake

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// sample is a made-up credential of a kind.
func sample(t testing.TB, id, template string) string {
	t.Helper()
	for _, r := range catalogue(t) {
		if r.ID != id {
			continue
		}
		text, _, err := r.Expand(template, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	t.Fatalf("no rule %s", id)
	return ""
}

func catalogue(t testing.TB) []*rules.Rule {
	t.Helper()
	all, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func scanner(t testing.TB) *checks.Scanner {
	t.Helper()
	s, err := checks.New(catalogue(t)...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const sha = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// A report holds %s where the secret stands.
var reports = map[string]string{
	"gitleaks": `[{"RuleID": "gitlab-pat", "Description": "GitLab", "StartLine": 12, "EndLine": 12, "StartColumn": 3, "EndColumn": 29,
		"Match": "token = %s", "Secret": "%[1]s", "File": "src/app.env", "SymlinkFile": "", "Commit": "` + sha + `", "Entropy": 4.5,
		"Author": "Ada", "Email": "ada@acme.example", "Date": "2026-01-02T03:04:05Z", "Message": "m", "Tags": [], "Fingerprint": "f"}]`,
	"betterleaks": `{"schema_version": "2", "scan": {"state": "complete"}, "findings": [{"ruleID": "gitlab-pat", "description": "GitLab",
		"match": "token = %s", "secret": "%[1]s", "attributes": {"path": "src/app.env", "git.sha": "` + sha + `", "git.author_name": "Ada",
		"git.author_email": "ada@acme.example", "git.date": "2026-01-02T03:04:05Z"},
		"location": {"startLine": 12, "endLine": 12, "startColumn": 3, "endColumn": 29}, "tags": []}]}`,
	"trufflehog": `{"SourceMetadata": {"Data": {"Git": {"commit": "` + sha + `", "file": "src/app.env", "email": "Ada <ada@acme.example>",
		"repository": "https://github.com/acme/shop.git", "timestamp": "2026-01-02 03:04:05 +0000", "line": 12}}},
		"SourceID": 1, "DetectorType": 9, "DetectorName": "Gitlab", "Verified": true, "Raw": "%s", "RawV2": "%[1]shttps://gitlab.com", "Redacted": ""}
		{"level": "info-0", "ts": "2026-01-02T03:04:05Z", "msg": "finished scanning"}`,
	"kingfisher": `{"findings": [{"rule": {"name": "GitLab", "id": "kingfisher.gitlab.1"}, "finding": {"snippet": "%s", "fingerprint": "1",
		"confidence": "medium", "entropy": "4.5", "validation": {"status": "Not Attempted", "response": ""}, "language": "Unknown", "line": 12,
		"column_start": 3, "column_end": 29, "path": "src/app.env", "git_metadata": {"repository_url": "https://github.com/acme/shop",
		"commit": {"id": "` + sha + `", "committer": {"name": "Ada", "email": "ada@acme.example"}}}}}], "audit": {}, "access_map": []}
		{"findings": 1, "rules_applied": 488}`,
	"github": `[{"number": 2, "secret_type": "gitlab_access_token", "secret": "%s", "state": "open", "validity": "active",
		"repository": {"full_name": "acme/shop"}, "first_location_detected": {"path": "/src/app.env", "start_line": 12, "end_line": 12,
		"start_column": 3, "end_column": 29, "commit_sha": "` + sha + `"}},
		{"number": 1, "secret_type": "gitlab_access_token", "secret": "gone", "state": "resolved", "resolution": "revoked"}]`,
	"sarif": `{"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [{"tool": {"driver": {"name": "gitleaks"}},
		"results": [{"ruleId": "gitlab-pat", "message": {"text": "found"}, "locations": [{"physicalLocation": {"artifactLocation": {"uri": "src/app.env"},
		"region": {"startLine": 12, "startColumn": 3, "endLine": 12, "endColumn": 29, "snippet": {"text": "%s"}}}}],
		"partialFingerprints": {"commitSha": "` + sha + `", "author": "Ada", "email": "ada@acme.example", "date": "2026-01-02T03:04:05Z"}}]}]}`,
}

func TestFormats(t *testing.T) {
	s := scanner(t)
	secret := sample(t, "gitlab-pat", "{sample}")
	for format, text := range reports {
		t.Run(format, func(t *testing.T) {
			r, err := Read(strings.NewReader(fmt.Sprintf(text, secret)))
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Formats(); !slices.Equal(got, []string{format}) {
				t.Errorf("the format is taken for %v", got)
			}
			found, left := r.Resolve(s)
			if len(found) != 1 || len(left) != 0 {
				t.Fatalf("%d findings, left %v", len(found), left)
			}
			f := found[0]
			if f.Rule.ID != "gitlab-pat" || f.Credential.Secret().Expose() != secret {
				t.Errorf("it is taken for %s", f.Rule.ID)
			}
			if f.Path != "src/app.env" || f.Line != 12 || f.Commit != sha {
				t.Errorf("it is at %+v", f.Location)
			}
			// A server is told the same.
			var told bytes.Buffer
			if err := Write(&told, r.Leaks); err != nil {
				t.Fatal(err)
			}
			again, err := Read(&told)
			if err != nil {
				t.Fatal(err)
			}
			if same, _ := again.Resolve(s); len(same) != 1 || !reflect.DeepEqual(same[0].Location, f.Location) || same[0].Fingerprint != f.Fingerprint {
				t.Errorf("written and read again: %+v, want %+v", same, f.Location)
			}
			if format == "github" && r.Closed != 1 {
				t.Errorf("%d are closed", r.Closed)
			}
		})
	}
}

// Both halves of a pair are one credential, however a scanner tells them.
func TestPairs(t *testing.T) {
	s := scanner(t)
	id := sample(t, "aws-access-key", "AKIA{16:base32}")
	secret := sample(t, "aws-access-key", "{sample}")
	for name, text := range map[string]string{
		"TruffleHog's parts":  `{"DetectorName": "AWS", "Raw": "%[1]s", "SecretParts": {"aws_access_key_id": "%[1]s", "aws_secret_access_key": "%[2]s"}}`,
		"betterleaks' parts":  `[{"ruleID": "aws-secret", "secret": "%[2]s", "match": "aws_secret_access_key = %[2]s", "location": {}, "componentSets": [{"components": [{"ruleID": "id", "match": "aws_access_key_id = %[1]s", "secret": "%[1]s"}]}]}]`,
		"the lines around it": `[{"RuleID": "aws", "Secret": "%[1]s", "Match": "aws_access_key_id = %[1]s\naws_secret_access_key = %[2]s\n"}]`,
	} {
		r, err := Read(strings.NewReader(fmt.Sprintf(text, id, secret)))
		if err != nil {
			t.Fatal(err)
		}
		found, left := r.Resolve(s)
		if len(found) != 1 || len(found[0].Credential.Parts) < 2 || found[0].Credential.Secret().Expose() != secret {
			t.Errorf("%s: %d findings, left %v", name, len(found), left)
		}
	}
}

func TestWhatIsLeft(t *testing.T) {
	secret := sample(t, "gitlab-pat", "{sample}")
	for name, test := range map[string]struct{ text, want string }{
		"redacted by gitleaks":   {`[{"RuleID": "x", "Match": "t = REDACTED", "Secret": "REDACTED"}]`, redacted},
		"in part":                {`[{"RuleID": "x", "Secret": "` + secret[:9] + `..."}]`, redacted},
		"redacted by Kingfisher": {`{"rule": {"id": "k"}, "finding": {"snippet": "[REDACTED:0a1b2c]"}}`, redacted},
		"hidden by GitHub":       {`[{"secret_type": "x", "secret": null, "state": "open"}]`, noSecret},
		"SARIF without texts":    {`{"runs": [{"results": [{"ruleId": "x", "locations": []}]}]}`, noSecret},
		"SARIF with masks":       {`{"runs": [{"results": [{"ruleId": "x", "locations": [{"physicalLocation": {"region": {"snippet": {"text": "t = ********"}}}}]}]}]}`, redacted},
		"of no kind":             {`[{"RuleID": "acme internal", "Secret": "swordfish"}]`, unknown + ": acme internal"},
		"a secret as the kind":   {`[{"RuleID": "` + secret + `", "Secret": "swordfish"}]`, unknown + ": [redacted]"},
	} {
		r, err := Read(strings.NewReader(test.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		found, left := r.Resolve(scanner(t))
		if len(found) != 0 || left[test.want] != 1 {
			t.Errorf("%s: %d findings, left %v", name, len(found), left)
		}
	}
	got := Reasons(map[string]int{"b": 1, "a": 1, "c": 7})
	if want := []string{"7 c", "1 a", "1 b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReadRefuses(t *testing.T) {
	many := "[" + strings.Repeat(`{"RuleID": "x", "Secret": "y"},`, MaxLeaks) + `{"RuleID": "x", "Secret": "y"}]`
	for name, test := range map[string]struct{ text, want string }{
		"nothing":         {" \n", "the report is empty"},
		"a page":          {"<html>", "line 1 is not JSON"},
		"text":            {"[\n{\"RuleID\": \"x\"},\nhello", "line 3 is not JSON"},
		"half":            {`[{"RuleID": "x"`, "ends in the middle"},
		"a number":        {"7", "no record of a scanner"},
		"another file":    {`{"name": "shop", "version": "1.0.0"}`, "none of SARIF, gitleaks"},
		"a bad field":     {`[{"RuleID": "x"}, {"RuleID": 7}]`, "record 2: a field of it is not what gitleaks writes there"},
		"bad findings":    {`{"findings": "7"}`, "none of SARIF, gitleaks"},
		"a summary alone": {`{"findings": 7, "rules_applied": 488}`, "a summary and no findings"},
		"too many":        {many, "more than 10000 leaks"},
		"too large":       {strings.Repeat(" ", MaxSize+1), "more than 32 MiB"},
		"too deep":        {strings.Repeat("[", 100_000), "JSON"},
		"deep and closed": {strings.Repeat(`{"findings":[`, 20_000) + strings.Repeat("]}", 20_000), "JSON"},
	} {
		_, err := Read(strings.NewReader(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if r, err := Read(strings.NewReader("[]")); err != nil || len(r.Leaks) != 0 {
		t.Errorf("no findings: %v", err)
	}
}

// Names of files and people are a stranger's.
func TestHostilePlaces(t *testing.T) {
	secret := sample(t, "gitlab-pat", "{sample}")
	text := fmt.Sprintf(`[{"RuleID": "x", "Secret": "%s", "File": "../../etc/%[1]s", "StartLine": -7, "Commit": "--upload-pack=x", "Author": "%[1]s"}]`, secret)
	r, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	found, _ := r.Resolve(scanner(t))
	if len(found) != 1 {
		t.Fatalf("%d findings", len(found))
	}
	at := found[0].Location
	if at.Path != "etc/[redacted]" || at.Author != "[redacted]" || at.Line != 0 || at.Commit != "" {
		t.Errorf("it is at %+v", at)
	}
	if shown := fmt.Sprintf("%+v %v %v", found, r.Leaks[0].Secret, r.Leaks[0].Texts); strings.Contains(shown, secret) {
		t.Errorf("the secret is shown: %s", shown)
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range reports {
		f.Add([]byte(fmt.Sprintf(text, "secret")))
	}
	f.Add([]byte(`{"runs":[{"results":[{"locations":[{}]}]}]}`))
	f.Add([]byte(`{"findings":[{"findings":[]}]}`))
	f.Add([]byte("\ufeff[]"))
	s := scanner(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		found, left := r.Resolve(s)
		n := 0
		for _, times := range left {
			n += times
		}
		if n > len(r.Leaks) {
			t.Errorf("%d leaks are left of %d", n, len(r.Leaks))
		}
		for _, finding := range found {
			if finding.Line < 0 || strings.HasPrefix(finding.Path, "/") || strings.HasPrefix(finding.Path, "..") {
				t.Errorf("a finding is at %+v", finding.Location)
			}
		}
		var told bytes.Buffer
		if err := Write(&told, r.Leaks); err != nil {
			t.Fatal(err)
		}
		if again, err := Read(&told); len(r.Leaks) > 0 && (err != nil || len(again.Leaks) != len(r.Leaks)) {
			t.Errorf("written and read again: %v", err)
		}
	})
}
