package checks_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"

	"github.com/stanch-dev/stanch/checks"
)

// encoders wrap a text in each encoding.
var encoders = map[string]func(string) string{
	"base64":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 raw": func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64 URL": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"hex":        func(s string) string { return hex.EncodeToString([]byte(s)) },
	"percent": func(s string) string {
		return each(s, func(b byte) string { return fmt.Sprintf("%%%02X", b) })
	},
	"path":       url.PathEscape,
	"unicode":    func(s string) string { return each(s, func(b byte) string { return fmt.Sprintf(`\u%04x`, b) }) },
	"C":          func(s string) string { return each(s, func(b byte) string { return fmt.Sprintf(`\x%02x`, b) }) },
	"entities":   func(s string) string { return each(s, func(b byte) string { return fmt.Sprintf("&#%d;", b) }) },
	"HTML":       html.EscapeString,
	"gzip64":     func(s string) string { return base64.StdEncoding.EncodeToString(gzipped(s)) },
	"UTF-16":     utf16LE,
	"two levels": func(s string) string { return hex.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(s)))) },
}

func each(s string, f func(byte) string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteString(f(s[i]))
	}
	return b.String()
}

func utf16LE(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

func gzipped(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.Bytes()
}

// TestRecallThroughEncodings wants values of every kind found through every
// encoding.
func TestRecallThroughEncodings(t *testing.T) {
	s := scanner(t)
	for _, r := range catalogue(t) {
		name := nameFor(t, s, r)
		if name == "" {
			continue
		}
		t.Run(r.ID, func(t *testing.T) {
			t.Parallel()
			missed, tried, lost := make(map[string]int), 0, 0
			random := seeded(9) // the values of TestRecall
			for range rounds(recallValues) {
				_, value, err := r.Expand("", random)
				if err != nil {
					t.Fatal(err)
				}
				for encoding, encode := range encoders {
					tried++
					if !foundBy(s, r, "first line\ndata: "+encode(name+"=\""+value+"\"\n")+"\nlast line\n", value) {
						missed[encoding]++
						lost++
					}
				}
			}
			if float64(lost) > (1-leastRecall)*float64(tried) {
				t.Errorf("of %d in each encoding are missed: %v", tried/len(encoders), missed)
			}
		})
	}
}

// TestScanTellsWhereEncoded points at the encoded form.
func TestScanTellsWhereEncoded(t *testing.T) {
	s := scanner(t)
	pat := token(t, githubPAT, 1)
	for name, encode := range encoders {
		if name == "HTML" || name == "path" {
			continue // the token as it is
		}
		before, encoded := "one\ntwo = '", encode(strings.Repeat("-", 30)+pat+strings.Repeat("+", 30))
		f := one(t, scan(s, "file", []byte(before+encoded+"'\n")))
		if f.Line != 2 || f.Column < 8 || f.EndColumn > 8+len(encoded) || f.EndColumn <= f.Column || f.Credential.Secret().Expose() != pat || len(f.Encodings) == 0 {
			t.Errorf("%s: found %s at %d:%d to %d in %v", name, f.Rule.ID, f.Line, f.Column, f.EndColumn, f.Encodings)
		}
		if strings.Contains(f.Excerpt, encoded[len(encoded)/3:len(encoded)/2]) {
			t.Errorf("%s: the excerpt shows it", name)
		}
	}
}

// zstandard packs zeros tighter than any honest text.
func zstandard(t *testing.T, s string) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(s), nil)
}

// tarball is a tar file of members.
func tarball(t testing.TB, members ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: members[i], Size: int64(len(members[i+1])), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, members[i+1])
	}
	w.Close()
	return b.Bytes()
}

func zipped(t testing.TB, method uint16, members ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		m, err := w.CreateHeader(&zip.FileHeader{Name: members[i], Method: method})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(m, members[i+1])
	}
	w.Close()
	return b.Bytes()
}

func TestScanArchives(t *testing.T) {
	s := scanner(t)
	a, b := token(t, githubPAT, 1), token(t, githubPAT, 2)
	env := "A=1\nTOKEN=" + a + "\n"
	for _, test := range []struct {
		path string
		data []byte
		want []string
	}{
		{"app.env.gz", gzipped(env), []string{"app.env:2 gzip"}},
		{"c.tar", tarball(t, "etc/app.env", env, "etc/b", b), []string{"etc/app.env:2 tar", "etc/b:1 tar"}},
		{"c.tgz", gzipped(string(tarball(t, "etc/app.env", env))), []string{"c!etc/app.env:2 gzip tar"}},
		{"c.zip", zipped(t, zip.Deflate, "a/b.txt", env, "x.zip", string(zipped(t, zip.Store, "y", b))), []string{"a/b.txt:2 zip", "x.zip!y:1 zip zip"}},
		{"stored.zip", zipped(t, zip.Store, "a", env), []string{"a:2 zip"}},
		{"in a page.html", []byte("data:," + base64.StdEncoding.EncodeToString(zipped(t, zip.Deflate, "a", env, "b", b))), []string{"a:2 base64 zip", "b:1 base64 zip"}},
	} {
		var seekable, plain []checks.Finding
		found := scan(s, test.path, test.data)
		for f, err := range s.Scan(test.path, bytes.NewReader(test.data)) {
			if err != nil {
				t.Error(err)
			}
			seekable = append(seekable, f)
		}
		for f, err := range s.Scan(test.path, io.MultiReader(bytes.NewReader(test.data))) {
			if err != nil {
				t.Error(err)
			}
			plain = append(plain, f)
		}
		for how, found := range map[string][]checks.Finding{"memory": found, "file": seekable, "stream": plain} {
			var got []string
			for _, f := range found {
				got = append(got, f.Inside+" "+strings.Join(f.Encodings, " "))
				if f.Path != test.path || f.Line != 1 {
					t.Errorf("%s: a finding is at %s:%d", test.path, f.Path, f.Line)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%s, %s: found %q, want %q", test.path, how, got, test.want)
			}
		}
	}
}

// TestBombs ends as incomplete, in no time and little memory.
func TestBombs(t *testing.T) {
	s := scanner(t)
	zeros := strings.Repeat("\x00", 64<<20)
	bomb := gzipped(zeros)
	for range 2 { // a bomb of bombs: 64 MiB, 64 times, 64 times
		bomb = zipped(t, zip.Deflate, slices.Concat(slices.Repeat([]string{"m.gz", string(bomb)}, 64))...)
	}
	all := map[string][]byte{"in base64": []byte(base64.StdEncoding.EncodeToString(zstandard(t, zeros)))}
	if !raced { // a gibibyte
		all["bomb"] = bomb
	}
	for name, data := range all {
		_, err := s.Examine(name, data)
		var incomplete *checks.Incomplete
		if !errors.As(err, &incomplete) || isSealed(incomplete) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBombsTogether: what a file may cost is not asked for again by each of its
// encoded values.
func TestBombsTogether(t *testing.T) {
	s := scanner(t)
	s64 := base64.StdEncoding.EncodeToString(zipped(t, zip.Deflate, slices.Repeat([]string{"empty", ""}, 30_000)...))
	if _, err := s.Examine("one", []byte(s64)); err != nil {
		t.Errorf("one: %v", err)
	}
	var incomplete *checks.Incomplete
	if _, err := s.Examine("four", []byte(strings.Repeat(s64+"\n\n", 4))); !errors.As(err, &incomplete) || isSealed(incomplete) {
		t.Errorf("four: %v", err)
	}
}

// isSealed reports whether a scan ended because an archive is encrypted, damaged or of
// a format that is not read here.
func isSealed(e *checks.Incomplete) bool {
	return strings.HasPrefix(e.Reason, "the archive cannot be opened, or not all of it: ")
}

// TestSealedArchives are told from those that were not scanned to their end, and
// hide nothing that stands beside them.
func TestSealedArchives(t *testing.T) {
	s := scanner(t)
	key := token(t, githubPAT, 1)
	const broken = "\x1f\x8b\x08\x00broken"
	foreign := "7z\xbc\xaf\x27\x1c\x00\x04" + strings.Repeat("\x00", 100)
	bomb := string(gzipped(strings.Repeat("\x00", 4<<20)))
	for name, test := range map[string]struct {
		data   []byte
		found  int
		sealed bool
	}{
		"foreign":              {[]byte(foreign), 0, true},
		"foreign inside":       {gzipped(string(tarball(t, "a.7z", foreign, "b", key))), 1, true},
		"broken":               {[]byte(broken + key), 1, true},
		"broken inside":        {gzipped(string(tarball(t, "a.gz", broken, "b", key))), 1, true},
		"broken deep inside":   {gzipped(string(tarball(t, "a.zip", string(zipped(t, zip.Store, "a.gz", broken)), "b", key))), 1, true},
		"broken, and too deep": {gzipped(string(tarball(t, "a.gz", broken, "b", nested(bomb, 6)))), 0, false},
	} {
		found, err := s.Examine("file", test.data)
		var incomplete *checks.Incomplete
		if !errors.As(err, &incomplete) || strings.Contains(incomplete.Reason, "\n") || isSealed(incomplete) != test.sealed || len(found) != test.found {
			t.Errorf("%s: %d findings, %v", name, len(found), err)
		}
	}
}

// nested packs a text so many times.
func nested(s string, times int) string {
	for range times {
		s = string(gzipped(s))
	}
	return s
}

// TestScanFromWhereAFileIs begins where the reader stands, archives too.
func TestScanFromWhereAFileIs(t *testing.T) {
	s := scanner(t)
	packed := gzipped("\n" + token(t, githubPAT, 1))
	r := bytes.NewReader(append([]byte("before"), packed...))
	if _, err := r.Seek(6, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	n := 0
	for f, err := range s.Scan("file", r) {
		if err != nil || f.Inside != "file:2" {
			t.Errorf("%s, error %v", f.Inside, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d findings", n)
	}
}
