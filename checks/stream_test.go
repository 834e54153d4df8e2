package checks_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
)

// streamed returns what Scan finds, and its error.
func streamed(s *checks.Scanner, r io.Reader) (found []checks.Finding, err error) {
	for f, e := range s.Scan("file", r) {
		if e != nil {
			return found, e
		}
		found = append(found, f)
	}
	return found, nil
}

// long is a text of several megabytes with credentials all over it, also across
// every place where it may be cut.
func long(t testing.TB) []byte {
	var data []byte
	for i := range 200 {
		secret := token(t, githubPAT, byte(i))
		if i%3 == 0 {
			secret = "aws = AKIA" + token(t, "{16:base32}", byte(i)) + "\nsecret_key = " + token(t, "{40:base62}", byte(i))
		}
		data = fmt.Appendf(data, "é key%d = %s\n%s", i, secret, strings.Repeat("Lorem ipsum. ", 1000+i*17))
		if i%2 == 0 {
			data = append(data, '\n')
		}
	}
	return data
}

// TestScanStreams finds in a stream what is found in memory, wherever the stream
// is cut.
func TestScanStreams(t *testing.T) {
	s := scanner(t)
	data := long(t)
	for name, data := range map[string][]byte{
		"text":         data,
		"UTF-16":       encoded(binary.BigEndian, string(data)),
		"mixed":        append(encoded(binary.LittleEndian, string(data)), data...),
		"one line":     bytes.ReplaceAll(data, []byte("\n"), []byte(" ")),
		"at the edges": edges(t),
		"empty":        nil,
		"tiny":         []byte("x = " + token(t, githubPAT, 1)),
	} {
		want, err := s.Examine("file", data)
		if err != nil {
			t.Fatal(err)
		}
		if len(want) < 50 && len(data) > 100 {
			t.Fatalf("%s: only %d findings", name, len(want))
		}
		for _, r := range []io.Reader{bytes.NewReader(data), iotest.HalfReader(bytes.NewReader(data))} {
			got, err := streamed(s, r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(places(want), places(got)); diff != "" {
				t.Errorf("%s: %d findings, want %d (-want +got):\n%.1000s", name, len(got), len(want), diff)
			}
		}
	}
}

// edges is a text with a credential at every few bytes around where streams are
// cut.
func edges(t testing.TB) []byte {
	data := bytes.Repeat([]byte("filler text "), 4<<20/12)
	for i := range 60 {
		copy(data[(1<<20)*(i%3+1)-3000+i*100:], " "+token(t, githubPAT, byte(i))+" ")
	}
	return data
}

// places tells findings' places and values, without the values.
func places(found []checks.Finding) []string {
	var all []string
	for _, f := range found {
		all = append(all, fmt.Sprintf("%s %s %v %v %s", f.Rule.ID, f.Fingerprint[:8], f.Location, len(f.Credential.Parts), f.Excerpt))
	}
	return all
}

func TestScanTellsWhatItsReaderSays(t *testing.T) {
	s := scanner(t)
	broken := errors.New("the disk is broken")
	found, err := streamed(s, io.MultiReader(strings.NewReader("key = "+token(t, githubPAT, 1)+"\n"), iotest.ErrReader(broken)))
	if len(found) != 1 || !errors.Is(err, broken) {
		t.Errorf("%d findings, %v; want one, and the reader's error", len(found), err)
	}
	var incomplete *checks.Incomplete
	found, err = streamed(s, strings.NewReader(strings.Repeat("key = "+token(t, githubPAT, 1)+"\n", checks.MaxFindings+1)))
	if len(found) != checks.MaxFindings || !errors.As(err, &incomplete) {
		t.Errorf("%d findings, %v", len(found), err)
	}
	for range s.Scan("file", bytes.NewReader(long(t))) {
		break // nothing more is asked of it
	}
}

func TestExcerpt(t *testing.T) {
	s := scanner(t)
	pat, other := token(t, githubPAT, 1), token(t, githubPAT, 2)
	for _, test := range []struct{ before, after, want string }{
		{"first\na = ", " # ours\nlast", "a = ghp_************ # ours"},
		{"a = " + other + ", b = ", "\r\n", "a = [redacted], b = ghp_************"},
		{"a = ", " ## " + pat[:20], "a = ghp_************ ## " + pat[:20]},
		{"é" + strings.Repeat("x", 78) + "=", "", strings.Repeat("x", 78) + "=ghp_************"},
	} {
		found := scan(s, "file", []byte(test.before+pat+test.after))
		if got := found[len(found)-1].Excerpt; got != test.want {
			t.Errorf("got %q", got)
		}
	}
}
