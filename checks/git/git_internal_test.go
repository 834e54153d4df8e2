package git

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
)

// rawID is an object id of equal hexadecimal digits.
func rawID(digit string) string { return strings.Repeat(digit, 40) }

// render writes entries in a form that tests can read.
func render(commit objectID, entries []entry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%.1s", commit)
	for _, e := range entries {
		fmt.Fprintf(&b, " %q %o %.1s<", e.path, e.mode, e.blob)
		for _, p := range e.parents {
			fmt.Fprintf(&b, "%.1s", p)
		}
	}
	return b.String()
}

func parse(text []byte) (lines []string, err error) {
	err = parseRaw(bufio.NewReaderSize(bytes.NewReader(text), 16), func(commit objectID, entries []entry) error {
		lines = append(lines, render(commit, entries))
		return nil
	})
	return lines, err
}

func TestParseRaw(t *testing.T) {
	a, b, c, d, zero := rawID("a"), rawID("b"), rawID("c"), rawID("d"), rawID("0")
	text := strings.Join([]string{
		a,
		":000000 100644 " + zero + " " + b + " A", "new\nline",
		":100644 000000 " + b + " " + zero + " D", a, // a path that looks like an id
		":100644 160000 " + b + " " + c + " T", ":sub",
		b,
		c,
		":::100644 100755 000000 100644 " + a + " " + b + " " + zero + " " + d + " MMA", "merged\xff",
		"",
	}, "\x00")
	got, err := parse([]byte(text))
	want := []string{
		fmt.Sprintf(`a "new\nline" 100644 b<0 %q 0 0<b ":sub" 160000 0<b`, a),
		"b",
		`c "merged\xff" 100644 d<ab0`,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

func TestParseRawRefuses(t *testing.T) {
	a := rawID("a")
	record := ":100644 100644 " + a + " " + a + " M"
	for name, text := range map[string]string{
		"no commit":      record + "\x00p\x00",
		"no path":        a + "\x00" + record + "\x00",
		"cut path":       a + "\x00" + record + "\x00pa",
		"cut record":     a + "\x00" + record[:30],
		"no end":         a,
		"empty path":     a + "\x00" + record + "\x00\x00",
		"short id":       a + "\x00:100644 100644 aaaa aaaa M\x00p\x00",
		"no status":      a + "\x00:100644 100644 " + a + " " + a + "\x00p\x00",
		"wrong count":    a + "\x00::100644 100644 " + a + " " + a + " M\x00p\x00",
		"strange mode":   a + "\x00:100644 10o644 " + a + " " + a + " M\x00p\x00",
		"strange commit": "fatal: no\x00",
		"endless path":   a + "\x00" + record + "\x00" + strings.Repeat("p", maxToken+100) + "\x00",
	} {
		if got, err := parse([]byte(text)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v, error %v", name, got, err)
		}
	}
}

// FuzzAdded: of what a parent has nothing is new, of what no parent has everything is,
// and a file whose line ends change adds nothing.
func FuzzAdded(f *testing.F) {
	f.Add([]byte("a = 1\n\ttoken = x y\r\ntoken = x y"), []byte("x y"))
	f.Add([]byte("\n\nbegin\nend\nbegin\nend"), []byte("begin\nend"))
	f.Fuzz(func(t *testing.T, data, secret []byte) {
		if len(secret) == 0 {
			return
		}
		findings := found(data, secret)
		b := &blob{keys: occurrences(data, findings)}
		if n := len(added(b, nil)); n != len(findings) {
			t.Errorf("%d of %d are new without a parent", n, len(findings))
		}
		if fresh := added(b, []*blob{{}, b}); len(fresh) != 0 {
			t.Errorf("%v are new, which a parent has", fresh)
		}
		twice := &blob{keys: slices.Concat(b.keys, b.keys)}
		if n := len(added(twice, []*blob{b, b})); n != len(findings) {
			t.Errorf("%d of %d second copies are new", n, len(findings))
		}
		if len(data) > lineContext || bytes.ContainsAny(secret, "\r\n") {
			return // a part of the line counts, or the secret is another one
		}
		dos := bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
		if fresh := added(&blob{keys: occurrences(dos, found(dos, secret))}, []*blob{b}); len(fresh) != 0 {
			t.Errorf("%v are new by the ends of lines", fresh)
		}
	})
}

// found is where a secret stands in data.
func found(data, secret []byte) (all []checks.Finding) {
	for at := 0; ; {
		n := bytes.Index(data[at:], secret)
		if n < 0 {
			return all
		}
		start, end := at+n, at+n+len(secret)
		f := checks.Finding{Fingerprint: "f"}
		f.Line, f.Column = position(data, start)
		f.EndLine, f.EndColumn = position(data, end)
		all = append(all, f)
		at = end
	}
}

// position is the line and the column of an offset, from 1.
func position(data []byte, offset int) (line, column int) {
	before := data[:offset]
	return bytes.Count(before, []byte("\n")) + 1, offset - bytes.LastIndexByte(before, '\n')
}

func FuzzParseRaw(f *testing.F) {
	a := rawID("a")
	f.Add([]byte(a + "\x00:100644 100644 " + a + " " + rawID("b") + " M\x00path\x00"))
	f.Add([]byte(a + "\x00::100644 100644 000000 " + a + " " + a + " " + rawID("0") + " DD\x00a\nb\x00" + a + "\x00"))
	f.Add([]byte(strings.Repeat("e", 64) + "\x00" + a))
	f.Fuzz(func(t *testing.T, text []byte) {
		words := bytes.Count(text, []byte{0})
		seen := 0
		err := parseRaw(bufio.NewReaderSize(bytes.NewReader(text), 16), func(commit objectID, entries []entry) error {
			seen++
			for _, e := range entries {
				seen += 2
				if len(e.parents) == 0 || e.path == "" || !bytes.Contains(text, []byte(e.path+"\x00")) {
					t.Errorf("entry %+v", e)
				}
			}
			for _, c := range newBlobs(commit, entries) {
				if c.blob.none() || c.mode == modeAbsent || c.mode == modeGitlink {
					t.Errorf("change %+v", c)
				}
			}
			return nil
		})
		if err == nil && seen != words {
			t.Errorf("%d words understood of %d", seen, words)
		}
	})
}

func TestParseAuthor(t *testing.T) {
	for text, want := range map[string]string{
		"tree x\nauthor A B <a@b> 1700000000 -0500\ncommitter C <c> 1 +0000\n\nauthor X <x> 2 +0000\n": "A B <a@b> 2023-11-14T17:13:20-05:00",
		"author A> <<a@b>> 0 +0000\n\n":               "A> <<a@b>> 1970-01-01T00:00:00Z",
		"author \xe9 <a> 1700000000 +9999\n\n":        "\uFFFD <a> 2023-11-14T22:13:20Z",
		"author A <a>\n\n":                            "A <a> 0001-01-01T00:00:00Z",
		"author A <a> 99999999999999999999 +0000\n\n": "A <a> 0001-01-01T00:00:00Z",
		"author A <a> 999999999999999 +0000\n\n":      "A <a> 0001-01-01T00:00:00Z",
		"author no address 1700000000 +0000\n\n":      " 0001-01-01T00:00:00Z",
		"tree x\n\nauthor A <a> 1700000000 +0000\n":   " 0001-01-01T00:00:00Z",
		"": " 0001-01-01T00:00:00Z",
	} {
		author, date := parseAuthor([]byte(text))
		if got := author + " " + date.Format(time.RFC3339); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestGoodVersion(t *testing.T) {
	for _, good := range []string{"git version 2.32.0", "git version 2.39.5 (Apple Git-154)", "git version 2.51.0.windows.1", "git version 3.0.0"} {
		if err := goodVersion(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"git version 2.31.9", "git version 1.99.0", "", "hub version 2.40"} {
		if goodVersion(bad) == nil {
			t.Errorf("%q is good", bad)
		}
	}
}

// The line of a secret in a minified file is as long as the file.
func TestLineAroundIsBounded(t *testing.T) {
	data := []byte("first\n" + strings.Repeat("x", 1<<20) + "SECRET" + strings.Repeat("y", 1<<20))
	f := checks.Finding{Location: checks.Location{Line: 2, EndLine: 2, Column: 1<<20 + 1, EndColumn: 1<<20 + 7}}
	got := lineAround(data[len("first\n"):], f)
	want := strings.Repeat("x", lineContext) + "SECRET" + strings.Repeat("y", lineContext)
	if string(got) != want {
		t.Errorf("%d bytes around, want %d", len(got), len(want))
	}
}

func TestLineAroundSeveralLines(t *testing.T) {
	data := []byte("zero\r\nkey: BEGIN\r\nmiddle\r\nEND tail\r\nlast\r\n")
	f := checks.Finding{Location: checks.Location{Line: 2, EndLine: 4, Column: 6, EndColumn: 4}}
	if got := string(lineAround(data[len("zero\r\n"):], f)); got != "key: BEGIN\nmiddle\nEND tail" {
		t.Errorf("%q", got)
	}
}
