package checks_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"go/build"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A forger makes texts of what stands in repositories and of credentials that are
// cut in two, and edits them.
type forger struct {
	*rand.Rand
	t     testing.TB
	rules []*rules.Rule
	lines [][]byte // of source code
}

func newForger(t testing.TB) *forger {
	f := &forger{t: t, rules: catalogue(t)}
	name := filepath.Join(build.Default.GOROOT, "src/net/http/server.go")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Skip("the standard library's source is not installed")
	}
	f.lines = bytes.SplitAfter(data, []byte("\n"))
	return f
}

// credential is an example of some rule, perhaps encoded.
func (f *forger) credential() string {
	r := f.rules[f.IntN(len(f.rules))]
	text, _ := expand(f.t, r, r.Examples[f.IntN(len(r.Examples))], byte(f.IntN(seeds)))
	if f.IntN(3) == 0 {
		text = f.spaced(text)
	}
	if f.IntN(4) == 0 { // far from where it begins to be encoded
		return f.wrapped(f.filler()+text+f.filler(), f.IntN(9))
	}
	return f.wrapped(text, f.IntN(18))
}

// spaced writes a text with more blanks and lines.
func (f *forger) spaced(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteByte(text[i])
		if strings.IndexByte(" :={([,\n", text[i]) >= 0 && f.IntN(2) == 0 {
			b.WriteString([]string{"\n", "", "\n    "}[f.IntN(3)] + strings.Repeat(" ", f.IntN(70)))
		}
	}
	return b.String()
}

// wrapped encodes a text in one of several ways, or not.
func (f *forger) wrapped(text string, how int) string {
	each := func(format string) string {
		var b strings.Builder
		for i := range len(text) {
			fmt.Fprintf(&b, format, text[i])
		}
		return b.String()
	}
	switch how {
	case 0:
		return base64.StdEncoding.EncodeToString([]byte(text))
	case 1:
		return broken(base64.StdEncoding.EncodeToString([]byte(text)), 40+f.IntN(40), "\n")
	case 2:
		return hex.EncodeToString([]byte(text))
	case 3:
		return each("%%%02X")
	case 4:
		return `"` + each(`\x%02x`) + `"`
	case 5:
		return each("&#%d;")
	case 6:
		return each("0x%02x, ")
	case 7:
		return `"` + broken(text, 10+f.IntN(20), "\" +\n\t\"") + `"`
	case 8:
		return strings.ReplaceAll(text, "=", "=3D")
	}
	return text
}

// broken breaks a text at a width.
func broken(text string, width int, by string) string {
	var b strings.Builder
	for len(text) > width {
		b.WriteString(text[:width] + by)
		text = text[width:]
	}
	return b.String() + text
}

// filler is text that is as a rule no credential.
func (f *forger) filler() string {
	switch f.IntN(8) {
	case 0:
		return strings.Repeat([]string{" ", "\n", "\t", "x", "=", "\"", ".", "0x", "ab ", "key", "a,"}[f.IntN(11)], f.IntN(100))
	case 1:
		data := make([]byte, f.IntN(600))
		for i := range data {
			data[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/-_=.:"[f.IntN(69)]
		}
		return string(data)
	case 2:
		return f.wrapped("some plain text that nobody needs to hide, as it is", f.IntN(10))
	case 3:
		return broken(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("plain text "), f.IntN(300))), 76, "\n")
	}
	from := f.IntN(len(f.lines))
	return string(bytes.Join(f.lines[from:min(len(f.lines), from+f.IntN(60))], nil))
}

// A written text knows where its pieces meet, and what keeps credentials apart: edits
// are made there.
type written struct {
	text   []byte
	seams  []int
	wounds []checks.Span
}

func (w *written) add(piece string) {
	w.text = append(w.text, piece...)
	w.seams = append(w.seams, len(w.text))
}

// write makes a text whose pieces are quiet by themselves.
func (f *forger) write(s *checks.Scanner) *written {
	w := new(written)
	add := func(piece string) {
		if _, quiet := s.Holds([]byte(piece), nil); quiet {
			w.add(piece)
		}
	}
	for range 1 + f.IntN(40) {
		if f.IntN(2) == 0 {
			add(f.filler())
			continue
		}
		c, apart := f.credential(), f.filler()
		if f.IntN(3) > 0 {
			apart = []string{"!", "\n", ";\n", "\n}\n", " x ", "\n\n", "<>", "\"", "-", "words\n"}[f.IntN(10)]
		}
		begin, at := len(w.text), f.IntN(len(c)+1)
		if f.IntN(4) == 0 {
			at = min(at, f.IntN(100))
		}
		if add(c[:at] + apart + c[at:]); len(w.text) > begin {
			w.wounds = append(w.wounds, checks.Span{Start: begin + at, End: begin + at + len(apart)})
		}
	}
	return w
}

// heal is the next wound of w from a place on, perhaps one after it.
func (f *forger) heal(w *written, at int) (checks.Span, bool) {
	for _, s := range w.wounds {
		if s.Start >= at && f.IntN(3) == 0 {
			return s, true
		}
	}
	return checks.Span{}, false
}

// seam is a place where pieces meet, or near that.
func (f *forger) seam(w *written) int {
	if len(w.seams) == 0 {
		return 0
	}
	at := w.seams[f.IntN(len(w.seams))]
	if f.IntN(3) == 0 {
		at += f.IntN(200) - 100
	}
	return max(0, min(len(w.text), at))
}

// An edit makes another text from pieces of one and new ones.
type edit struct {
	text    []byte
	changed []checks.Span
	follows int
}

func (e *edit) put(piece string) {
	e.changed = append(e.changed, checks.Span{Start: len(e.text), End: len(e.text) + len(piece)})
	e.text = append(e.text, piece...)
}

func (e *edit) keep(text []byte, from, to int) {
	if from == to {
		return
	}
	if from != e.follows {
		e.changed = append(e.changed, checks.Span{Start: len(e.text), End: len(e.text)})
	}
	e.text, e.follows = append(e.text, text[from:to]...), to
}

// edit changes a text in some places.
func (f *forger) edit(w *written) *edit {
	e := &edit{changed: []checks.Span{}}
	at := 0
	for range 1 + f.IntN(4) {
		if s, ok := f.heal(w, at); ok && f.IntN(3) > 0 {
			e.keep(w.text, at, s.Start)
			at = s.End
			continue
		}
		to := f.seam(w)
		if f.IntN(8) > 0 && to < at {
			continue
		}
		if to > at {
			e.keep(w.text, at, to)
		}
		at = to
		switch f.IntN(6) {
		case 0:
			e.put(f.credential())
		case 1:
			c := f.credential()
			e.put(c[:f.IntN(len(c)+1)])
		case 2:
			e.put(f.filler())
		case 3: // moved
			if from, to := f.seam(w), f.seam(w); from < to {
				e.keep(w.text, from, to)
			}
		}
		if f.IntN(4) == 0 { // left out
			at = max(at, f.seam(w))
		}
	}
	if at < len(w.text) && f.IntN(10) > 0 {
		e.keep(w.text, at, len(w.text))
	}
	if e.follows != len(w.text) {
		e.changed = append(e.changed, checks.Span{Start: len(e.text), End: len(e.text)})
	}
	return e
}

// checkHolds compares what is said of an edited text when only its changes are looked
// at with what is said when all of it is.
func checkHolds(t *testing.T, s *checks.Scanner, f *forger) (compared bool, held bool) {
	w := f.write(s)
	if _, quiet := s.Holds(w.text, nil); !quiet {
		return false, false
	}
	e := f.edit(w)
	holds, quiet := s.Holds(e.text, e.changed)
	wantHolds, wantQuiet := s.Holds(e.text, nil)
	found, err := s.Examine("", e.text)
	if wantHolds != (len(found) > 0 || err != nil) {
		t.Errorf("holds %v, but found %v, %v", wantHolds, ids(found), err)
	}
	if holds != wantHolds || quiet != wantQuiet {
		t.Errorf("by its changes %v: holds %v, quiet %v; as a whole: holds %v, quiet %v, found %v, %v", e.changed, holds, quiet, wantHolds, wantQuiet, ids(found), err)
	}
	return true, holds
}

func TestHoldsByChanges(t *testing.T) {
	s, f := scanner(t), newForger(t)
	compared, held, all := 0, 0, rounds(holdsRounds)
	for seed := range uint64(all) {
		f.Rand = rand.New(rand.NewPCG(seed, 1))
		ok, holds := checkHolds(t, s, f)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		if ok {
			compared++
		}
		if holds {
			held++
		}
	}
	if t.Logf("%d texts, %d hold something", compared, held); compared < all/4 || held < all/40 {
		t.Errorf("of %d texts only %d were quiet, and %d held something when they were changed", all, compared, held)
	}
}

const holdsRounds = 400

// FuzzHolds is TestHoldsByChanges for any seed.
func FuzzHolds(f *testing.F) {
	s, maker := scanner(f), newForger(f)
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		forger := *maker
		forger.Rand, forger.t = rand.New(rand.NewPCG(a, b)), t
		checkHolds(t, s, &forger)
	})
}

// TestHoldsSaysWhatIsQuiet lists what is not quiet although nothing is found in it.
func TestHoldsSaysWhatIsQuiet(t *testing.T) {
	own := func(d rules.Detect) *checks.Scanner {
		s, err := checks.New(&rules.Rule{ID: "own", Detect: d})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	all := scanner(t)
	long := own(rules.Detect{Keywords: []string{"start-"}, Pattern: "start-(?s:.{900}.{900})-end", Reach: 4096})
	lines := strings.Repeat("f(x);\n", 300)
	for _, c := range []struct {
		name  string
		s     *checks.Scanner
		text  string
		quiet bool
	}{
		{"source", all, lines, true},
		{"a pattern that goes on for long", long, "start-" + lines + "-and", false},
		{"one that does not", long, "start" + lines + "-end", true},
		{"a rule without keywords", own(rules.Detect{Pattern: "a.*b"}), lines, false},
		{"a value that is very long", all, "DATADOG_API_KEY=" + strings.Repeat("ab1", 100) + "\n", false},
		{"a shorter one", all, "DATADOG_API_KEY=" + strings.Repeat("ab1", 70) + "\n", true},
		{"NUL", all, "a\x00b", false},
		{"UTF-16", all, "\xff\xfea\x00", false},
		{"UTF-16 without NUL", all, "\xff\xfe\x4e\x4e", false},
		{"an archive", all, "\x1f\x8b\x08 and more", false},
		{"an archive in base64", all, base64.StdEncoding.EncodeToString([]byte("PK\x05\x06" + strings.Repeat("\x00", 18))), false},
	} {
		_, quiet := c.s.Holds([]byte(c.text), nil)
		if quiet != c.quiet {
			t.Errorf("%s: quiet %v", c.name, quiet)
		}
		if c.s == long && !quiet {
			text := strings.Replace(c.text, "-and", "-end", 1)
			if found := scan(c.s, "", []byte(text)); len(found) != 1 {
				t.Errorf("%s: found %v when its end is there", c.name, ids(found))
			}
		}
	}
}
