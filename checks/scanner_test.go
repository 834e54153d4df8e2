package checks_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// text returns what a finding's location encloses.
func text(data []byte, l checks.Location) string {
	lines := bytes.SplitAfter(data, []byte("\n"))
	offset := func(line, column int) int {
		n := column - 1
		for _, l := range lines[:line-1] {
			n += len(l)
		}
		return n
	}
	return string(data[offset(l.Line, l.Column):offset(l.EndLine, l.EndColumn)])
}

// one returns the only finding, or fails.
func one(t testing.TB, found []checks.Finding) checks.Finding {
	t.Helper()
	if len(found) != 1 {
		t.Fatalf("found %v, want one", ids(found))
	}
	return found[0]
}

// token returns a fresh credential of a rule.
func token(t testing.TB, template string, seed byte) string {
	t.Helper()
	value, err := rules.Expand(template, seeded(seed))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

const githubPAT = "ghp_{30:base62}{crc32}"

func TestScanTellsWhere(t *testing.T) {
	s := scanner(t)
	pat := token(t, githubPAT, 1)
	for _, test := range []struct {
		name, before, after string
		line, column        int
	}{
		{"alone", "", "", 1, 1},
		{"start of data", "", "\nmore", 1, 1},
		{"end of data", "a = ", "", 1, 5},
		{"third line", "one\ntwo\nx: ", "\n", 3, 4},
		{"CRLF", "one\r\ntwo\r\nx: ", "\r\nmore\r\n", 3, 4},
		{"glued to words", "TOKEN_", "_END", 1, 7},
		{"long line", strings.Repeat("x ", 1<<19), strings.Repeat(" y", 1<<19), 1, 1<<20 + 1},
		{"binary", "\x00\xff\xfe\x80", "\x00\xff", 1, 5},
		{"columns count bytes", "é: ", "", 1, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := []byte(test.before + pat + test.after)
			f := one(t, scan(s, "dir/file", data))
			want := checks.Location{Path: "dir/file", Line: test.line, Column: test.column,
				EndLine: test.line, EndColumn: test.column + len(pat), CharColumn: test.column, EndCharColumn: test.column + len(pat)}
			if test.name == "columns count bytes" {
				want.CharColumn, want.EndCharColumn = want.CharColumn-1, want.EndCharColumn-1
			}
			if diff := cmp.Diff(want, f.Location); diff != "" {
				t.Errorf("location (-want +got):\n%s", diff)
			}
			if text(data, f.Location) != pat || f.Credential.Secret().Expose() != pat {
				t.Error("the location or the credential is not the token's")
			}
		})
	}
}

// TestScanAnywhere puts every kind of credential between junk of many lengths and
// kinds, and wants it found where it is.
func TestScanAnywhere(t *testing.T) {
	s := scanner(t)
	for _, r := range catalogue(t) {
		t.Run(r.ID, func(t *testing.T) {
			for seed := range byte(seeds) {
				example, _ := expand(t, r, r.Examples[0], seed)
				want := one(t, scan(s, "file", []byte(example))).Credential.Secret().Expose()
				for _, eol := range []string{"\n", "\r\n"} {
					junk := junkBefore(seed)
					data := join(junk, eol, strings.ReplaceAll(example, "\n", eol), eol, junk)
					f := one(t, scan(s, "file", data))
					value := f.Credential.Secret().Expose()
					if strings.ReplaceAll(value, "\r\n", "\n") != want {
						t.Errorf("seed %d: another value", seed)
					}
					if text(data, f.Location) != value {
						t.Errorf("seed %d: the location encloses another text", seed)
					}
				}
			}
		})
	}
}

// TestScanBesideEscapes puts every credential that needs no name beside it into
// JSON within text, URLs and terminals' logs, where the character next to it is a
// letter that belongs to an escape.
func TestScanBesideEscapes(t *testing.T) {
	s := scanner(t)
	tried := 0
	for _, r := range catalogue(t) {
		_, sample := expand(t, r, "", 1)
		if found := scan(s, "file", []byte(sample)); len(found) != 1 || found[0].Rule.ID != r.ID {
			continue
		}
		tried++
		for _, before := range []string{`\n`, `\r\n`, `\t`, "%3D", "%0a", `\u0026`, `\u003c`, "\x1b[31m", "\x1b[1;31m"} {
			for _, after := range []string{"", `\n`, "%26", `\u0026`, "\x1b[0m"} {
				found := scan(s, "file", join("key", before, sample, after))
				if len(found) != 1 || found[0].Credential.Secret().Expose() != sample {
					t.Errorf("%s between %q and %q: found %v", r.ID, before, after, ids(found))
				}
			}
		}
	}
	if tried < 18 {
		t.Errorf("%d rules were tried, want 18 or more", tried)
	}
}

// join returns texts, one after the other, as bytes.
func join(texts ...string) []byte { return []byte(strings.Join(texts, "")) }

// junkBefore returns bytes that nothing is found in: random ones or a long text,
// by seed.
func junkBefore(seed byte) string {
	random := make([]byte, int(seed)*97)
	seeded(seed).Read(random)
	if seed%2 == 0 {
		return strings.Repeat("The quick brown fox. ", len(random)/8)
	}
	return string(random)
}

func TestScanOncePerSecret(t *testing.T) {
	s := scanner(t)
	pat := token(t, githubPAT, 1)
	// A password assignment, a URL and a token claim the same text.
	for _, text := range []string{
		`password = "` + pat + `"`,
		"GITHUB_TOKEN=" + pat,
		"postgres://shop:" + pat + "@db.acme.net/orders",
		`api_key: '` + pat + `'`,
	} {
		f := one(t, scan(s, "file", []byte(text)))
		if f.Rule.ID != "github-pat" {
			t.Errorf("%s won over github-pat", f.Rule.ID)
		}
	}
	twice := scan(s, "file", []byte(pat+" and "+pat))
	if len(twice) != 2 || twice[0].Fingerprint != twice[1].Fingerprint || twice[0].Column >= twice[1].Column {
		t.Errorf("the same token at two places: found %v", ids(twice))
	}
	// An installation token holds a JSON Web Token; the longer one wins.
	long := token(t, "ghs_{7:digit}_{jwt}", 1)
	if f := one(t, scan(s, "file", []byte(long))); f.Rule.ID != "github-installation-token" {
		t.Errorf("%s won over github-installation-token", f.Rule.ID)
	}
}

func TestScanOrdersFindings(t *testing.T) {
	s := scanner(t)
	for all := range slices.Chunk(catalogue(t), checks.MaxFindings/4) {
		var file strings.Builder
		for i, r := range all {
			example, _ := expand(t, r, r.Examples[0], byte(i))
			file.WriteString(example + strings.Repeat("\n", 20))
		}
		found := scan(s, "file", []byte(file.String()))
		if len(found) != len(all) {
			t.Errorf("found %d in one file, want %d: %v", len(found), len(all), ids(found))
		}
		for i := range found[1:] {
			if found[i].Line >= found[i+1].Line {
				t.Errorf("%v stands before %v", found[i].Location, found[i+1].Location)
			}
		}
	}
}

// TestScanBelievesNoCut tries words that are longer than any credential, so that
// their end lies where the scanner stops looking. Half a word is no credential.
func TestScanBelievesNoCut(t *testing.T) {
	s := scanner(t)
	for _, template := range []string{
		"hvs.{600:base62}",
		"AIza{2000:base62}",
		"github_pat_{22:base62}_{2000:base62}",
		"{2000:base62}glpat-{20:base62}{2000:base62}",
		"password={2000:base62}",
	} {
		for pad := range 16 {
			data := strings.Repeat(" ", pad*40) + token(t, template, byte(pad))
			if found := scan(s, "file", []byte(data)); len(found) != 0 {
				t.Errorf("%s: found %v in a longer word", template, ids(found))
			}
		}
	}
}

func TestScanPairsAWSKeys(t *testing.T) {
	s := scanner(t)
	var id, secret [2]string
	for i := range id {
		id[i], secret[i] = token(t, "AKIA{16:base32}", byte(i)), token(t, "{40:base64}", byte(10+i))
	}
	for name, file := range map[string]string{
		"id first":            "[a]\nid = %s\nkey = %s\n[b]\nid = %s\nkey = %s\n",
		"secret first":        "[a]\nkey = %[2]s\nid = %[1]s\n\n\n\n[b]\nkey = %[4]s\nid = %[3]s\n",
		"secret first, close": "key = %[2]s\nid = %[1]s\nkey = %[4]s\nid = %[3]s\n",
		"id first, close":     "id = %s\nkey = %s\nid = %s\nkey = %s\n",
		"on one line":         `{"id":"%s","key":"%s"},{"id":"%s","key":"%s"}`,
	} {
		t.Run(name, func(t *testing.T) {
			found := scan(s, "credentials", fmt.Appendf(nil, file, id[0], secret[0], id[1], secret[1]))
			if len(found) != 2 {
				t.Fatalf("found %v, want two pairs", ids(found))
			}
			for i, f := range found {
				if f.Credential.Parts["id"].Expose() != id[i] || f.Credential.Secret().Expose() != secret[i] {
					t.Errorf("pair %d holds the parts of different keys", i+1)
				}
			}
		})
	}
}

// TestScanPassesOverDocumentedKeys is the pair that AWS's own documentation uses,
// put together here so that nobody's scanner finds it in this file.
func TestScanPassesOverDocumentedKeys(t *testing.T) {
	data := join("aws_access_key_id = AKIA", "IOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/", "bPxRfiCYEXAMPLEKEY\n")
	if found := scan(scanner(t), "credentials", data); len(found) > 0 {
		t.Errorf("found %v in the documentation's example", ids(found))
	}
}

// TestScanPassesOverWhatIsNoKey puts a commit's id, which has the length of a
// secret access key, nearer to the key's id than the secret is.
func TestScanPassesOverWhatIsNoKey(t *testing.T) {
	secret := token(t, "{40:base64}", 1)
	file := "commit " + token(t, "{40:hex}", 1) + "\nid " + token(t, "AKIA{16:base32}", 1) +
		"\ncommit " + token(t, "{40:hex}", 2) + "\nsecret " + secret + "\n"
	if f := one(t, scan(scanner(t), "file", []byte(file))); f.Credential.Secret().Expose() != secret {
		t.Error("the commit's id was taken for the secret")
	}
}

func TestScanKeepsParts(t *testing.T) {
	s := scanner(t)
	file := "postgres://shop:" + token(t, "{6:lower}{4:digit}", 1) + "@db.acme.net:5000/orders"
	parts := one(t, scan(s, "file", []byte(file))).Credential.Parts
	got := map[string]string{}
	for name, part := range parts {
		if name != checks.PartSecret {
			got[name] = part.Expose()
		}
	}
	want := map[string]string{"user": "shop", "host": "db.acme.net:5000", "database": "orders"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
}

func TestScanHidesSecretsInPaths(t *testing.T) {
	s := scanner(t)
	pat, other := token(t, githubPAT, 1), token(t, githubPAT, 2)
	f := one(t, scan(s, "backup/"+pat+"/"+other+".txt", []byte("token: "+pat)))
	if f.Path != "backup/[redacted]/[redacted].txt" {
		t.Error("a path tells a secret")
	}
}

func TestRedactedTellsNothing(t *testing.T) {
	s := scanner(t)
	for _, r := range catalogue(t) {
		example, _ := expand(t, r, r.Examples[0], 3)
		f := one(t, scan(s, "file", []byte(example)))
		public, hidden := strings.CutSuffix(f.Redacted, strings.Repeat("*", min(12, f.Credential.Secret().Len())))
		if !hidden && strings.Trim(f.Redacted, "*") != "" || !strings.HasPrefix(r.Sample, public) {
			t.Errorf("%s: redacted is %q", r.ID, f.Redacted)
		}
	}
	if got := one(t, scan(s, "file", []byte(token(t, githubPAT, 1)))).Redacted; got != "ghp_************" {
		t.Errorf("redacted is %q, want ghp_ and twelve asterisks", got)
	}
}

func TestScanRefusesWrongChecksums(t *testing.T) {
	s := scanner(t)
	pat := []byte(token(t, githubPAT, 1))
	for i := 4; i < len(pat); i++ {
		wrong := bytes.Clone(pat)
		wrong[i] = map[bool]byte{true: 'b', false: 'a'}[wrong[i] == 'a']
		if found := scan(s, "file", wrong); len(found) != 0 {
			t.Errorf("found %v with character %d changed", ids(found), i)
		}
	}
}

func TestScannerIsForMany(t *testing.T) {
	s := scanner(t)
	var group sync.WaitGroup
	for i := range byte(8) {
		data := []byte(strings.Repeat("x = "+token(t, githubPAT, i)+"\n", 100))
		group.Go(func() {
			if found := scan(s, "file", data); len(found) != 100 {
				t.Errorf("found %d, want 100", len(found))
			}
		})
	}
	group.Wait()
}

func TestNewScannerRefuses(t *testing.T) {
	good := catalogue(t)
	broken := func(change func(*rules.Rule)) []*rules.Rule {
		r := *good[0]
		change(&r)
		return []*rules.Rule{&r}
	}
	for name, test := range map[string]struct {
		catalogue []*rules.Rule
		key       checks.FingerprintKey
		want      string
	}{
		"no rules":        {nil, testKey, "no rules"},
		"no key":          {good, nil, "no fingerprint key"},
		"empty keyword":   {broken(func(r *rules.Rule) { r.Detect.Keywords = []string{""} }), testKey, "keyword is empty"},
		"nothing to find": {broken(func(r *rules.Rule) { r.Detect = rules.Detect{} }), testKey, "pattern, a value or a path"},
		"no group":        {broken(func(r *rules.Rule) { r.Detect = rules.Detect{Pattern: "a(b)", Group: -2} }), testKey, "group -2"},
		"no such group":   {broken(func(r *rules.Rule) { r.Detect = rules.Detect{Pattern: "a(b)", Group: 2} }), testKey, "group 2"},
		"broken path":     {broken(func(r *rules.Rule) { r.Detect = rules.Detect{Path: "("} }), testKey, "path"},
		"a rule twice":    {append(good[:1:1], good[0]), testKey, "twice"},
		"negative reach":  {broken(func(r *rules.Rule) { r.Detect.Reach = -1 }), testKey, "reach -1"},
		"broken pattern":  {broken(func(r *rules.Rule) { r.Detect.Pattern = "(" }), testKey, "pattern"},
		"nameless helper": {broken(func(r *rules.Rule) { r.Detect.Companions = []rules.Companion{{Name: "id", Pattern: "x"}} }), testKey, "no group"},
	} {
		if _, err := checks.NewScanner(test.catalogue, test.key); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %v, want it to say %q", name, err, test.want)
		}
	}
}

// TestScanWithUsersRules scans with rules that the catalogue would not have.
func TestScanWithUsersRules(t *testing.T) {
	scanner := func(d rules.Detect) *checks.Scanner {
		s, err := checks.New(&rules.Rule{ID: "mine", Detect: d})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	far := strings.Repeat("x ", 2000)
	for _, test := range []struct {
		name, path, text, want string
		detect                 rules.Detect
	}{
		{"without keywords", "f", "id=ab12cd", "ab12cd", rules.Detect{Pattern: `[a-z]{2}\d{2}[a-z]{2}`}},
		{"a keyword far away", "f", "acme " + far + "ab12cd", "ab12cd", rules.Detect{Keywords: []string{"acme"}, Pattern: `[a-z]{2}\d{2}[a-z]{2}`}},
		{"the keyword is missing", "f", "ab12cd", "", rules.Detect{Keywords: []string{"acme"}, Pattern: `[a-z]{2}\d{2}[a-z]{2}`}},
		{"a group by number", "f", "acme-ab12cd", "ab12cd", rules.Detect{Keywords: []string{"acme"}, Pattern: `(acme)-(\w+)`, Group: 2}},
		{"the first group that is not empty", "f", "acme--ab12cd", "ab12cd", rules.Detect{Keywords: []string{"acme"}, Pattern: `\bacme-(x?)-(\w+)`, Group: rules.FirstGroup}},
		{"the whole without a group", "f", "acme-", "acme-", rules.Detect{Keywords: []string{"acme"}, Pattern: `acme-(x?)`, Group: rules.FirstGroup}},
		{"allowed by what stands before", "f", "doc acme-1", "", rules.Detect{Keywords: []string{"acme"}, Pattern: `acme-\d`, Allow: []rules.Allow{{Expression: `finding["fragment_raw"][finding["match_start_idx"] - 4:finding["match_start_idx"]] == "doc "`}}}},
		{"for such a path", "a/b.env", "acme-1", "acme-1", rules.Detect{Keywords: []string{"acme"}, Pattern: `acme-\d`, Path: `\.env$`}},
		{"not for such a path", "a/b.txt", "acme-1", "", rules.Detect{Keywords: []string{"acme"}, Pattern: `acme-\d`, Path: `\.env$`}},
		{"a path alone", "a/id_rsa", "", "a/id_rsa", rules.Detect{Path: `(?:^|/)id_rsa$`}},
		{"a group by number after a boundary", "f", "acme-ab12cd", "ab12cd", rules.Detect{Keywords: []string{"acme"}, Pattern: `\b(acme)-(\w+)`, Group: 2}},
		{"allowed by its line", "f", "acme-1 # fine", "", rules.Detect{Keywords: []string{"acme"}, Pattern: `acme-\d`, Allow: []rules.Allow{{Regexes: []string{"# fine$"}, Target: "line"}}}},
		{"not allowed by its line", "f", "acme-1 # bad", "acme-1", rules.Detect{Keywords: []string{"acme"}, Pattern: `acme-\d`, Allow: []rules.Allow{{Regexes: []string{"# fine$"}, Target: "line"}}}},
		{"allowed by its path", "test/f", "acme-1", "", rules.Detect{Keywords: []string{"acme"}, Pattern: `acme-\d`, Allow: []rules.Allow{{Paths: []string{"^test/"}}}}},
		{"allowed by a word", "f", "acme-1x", "", rules.Detect{Keywords: []string{"acme"}, Pattern: `acme-\d\w`, Allow: []rules.Allow{{Stopwords: []string{"1X"}}}}},
		{"another path", "a/id_rsa.pub", "", "", rules.Detect{Path: `(?:^|/)id_rsa$`}},
	} {
		for _, streams := range []bool{false, true} {
			s := scanner(test.detect)
			found := scan(s, test.path, []byte(test.text))
			if streams {
				found = nil
				for f := range s.Scan(test.path, strings.NewReader(test.text)) {
					found = append(found, f)
				}
			}
			got := ""
			if len(found) > 0 {
				got = found[0].Credential.Secret().Expose()
			}
			if got != test.want {
				t.Errorf("%s: found %q, want %q", test.name, got, test.want)
			}
		}
	}
}

// TestScanRequires reports a rule's findings only near those of another, which are
// not reported themselves.
func TestScanRequires(t *testing.T) {
	near := 2
	s, err := checks.New(
		&rules.Rule{ID: "key", Detect: rules.Detect{Keywords: []string{"acme"}, Pattern: `acme-\d`, Required: []rules.Requirement{{ID: "id", WithinLines: &near}}}},
		&rules.Rule{ID: "id", Detect: rules.Detect{Keywords: []string{"user"}, Pattern: `user-\d`, SkipReport: true}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"acme-1\nuser-1": 1, "acme-1": 0, "user-1": 0, "acme-1\n\n\nuser-1": 0, "user-1\n\nacme-1\n": 1} {
		if found := scan(s, "file", []byte(text)); len(found) != want {
			t.Errorf("%q: found %v, want %d", text, ids(found), want)
		}
		if found, err := streamed(s, strings.NewReader(text)); err != nil || len(found) != want {
			t.Errorf("%q: found %v in a stream, want %d", text, ids(found), want)
		}
	}
}
