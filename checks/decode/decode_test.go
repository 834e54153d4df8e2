package decode

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"mime/quotedprintable"
	"net/url"
	"strings"
	"testing"
	"unicode/utf16"
)

// A found is a layer that a test keeps.
type found struct {
	encoding   string
	start, end int
	text       string
	places     [][2]int
}

// layersOf returns the layers of data, and checks what holds for all of them.
func layersOf(t testing.TB, data []byte) []found {
	t.Helper()
	var d Decoder
	var all []found
	total := 0
	d.Layers(data, func(l *Layer) bool {
		f := found{encoding: l.Encoding, start: l.Start, end: l.End, text: string(l.Text)}
		if l.Start < 0 || l.End > len(data) || l.Start >= l.End {
			t.Fatalf("%s: the stretch is [%d:%d] of %d bytes", l.Encoding, l.Start, l.End, len(data))
		}
		last := l.Start
		for i := range l.Text {
			start, end := l.Place(i)
			if start < l.Start || end > l.End || start >= end {
				t.Fatalf("%s: byte %d of %d is placed at [%d:%d], outside [%d:%d]", l.Encoding, i, len(l.Text), start, end, l.Start, l.End)
			}
			if start < last {
				t.Fatalf("%s: byte %d is placed before the one before it", l.Encoding, i)
			}
			last = start
			f.places = append(f.places, [2]int{start, end})
		}
		total += len(l.Text)
		all = append(all, f)
		return true
	})
	if total > max(leastGrowth, growth*len(data)) {
		t.Fatalf("%d bytes were made of %d", total, len(data))
	}
	return all
}

// lookup returns the layer of an encoding that holds text, and where it begins.
func lookup(t *testing.T, data, encoding, text string) (found, int) {
	t.Helper()
	all := layersOf(t, []byte(data))
	for _, f := range all {
		if i := strings.Index(f.text, text); f.encoding == encoding && i >= 0 {
			return f, i
		}
	}
	var seen []string
	for _, f := range all {
		seen = append(seen, f.encoding+": "+f.text)
	}
	t.Fatalf("no %s layer has %q\nin %q\nlayers: %q", encoding, text, data, seen)
	return found{}, 0
}

const (
	short = "user:Tr0ub4dor"
	long  = "# production\nDB_HOST=db.internal\nDB_USER=app\nSESSION=0123456789abcdef-Zyxwvut\nnote=für alle Fälle, 日本\n"
)

func wrapped(text, end string, width int) string {
	var b strings.Builder
	for len(text) > width {
		b.WriteString(text[:width] + end)
		text = text[width:]
	}
	return b.String() + text
}

func quotedPrintable(text string) string {
	var b strings.Builder
	w := quotedprintable.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.String()
}

func each(format string) func(string) string {
	return func(text string) string {
		var b strings.Builder
		for i := range len(text) {
			fmt.Fprintf(&b, format, text[i])
		}
		return b.String()
	}
}

func utf16of(text string, order func([]byte, uint16) []byte) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = order(b, u)
	}
	return string(b)
}

func little(b []byte, u uint16) []byte { return append(b, byte(u), byte(u>>8)) }
func big(b []byte, u uint16) []byte    { return append(b, byte(u>>8), byte(u)) }

// encoders wrap a text as programs do.
var encoders = []struct {
	name, encoding string
	encode         func(string) string
	least          int  // the shortest text that is found
	ascii          bool // texts of other characters are not
}{
	{"base64", "base64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }, 12, false},
	{"base64 unpadded", "base64", func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) }, 12, false},
	{"base64 url", "base64", func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }, 12, false},
	{"base64 url unpadded", "base64", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }, 12, false},
	{"base64 at 76", "base64", func(s string) string { return wrapped(base64.StdEncoding.EncodeToString([]byte(s)), "\r\n", 76) }, 12, false},
	{"base64 at 64", "base64", func(s string) string { return wrapped(base64.StdEncoding.EncodeToString([]byte(s)), "\n", 64) }, 12, false},
	{"base64 in yaml", "base64", func(s string) string {
		return "|\n    " + wrapped(base64.StdEncoding.EncodeToString([]byte(s)), "\n    ", 60)
	}, 12, false},
	{"base64 in a string", "base64", func(s string) string { return wrapped(base64.StdEncoding.EncodeToString([]byte(s)), `\n`, 64) + `\n` }, 12, false},
	{"base64 in PHP's JSON", "base64", func(s string) string {
		return strings.ReplaceAll(base64.StdEncoding.EncodeToString([]byte(s)), "/", `\/`)
	}, 24, false},
	{"hex", "hex", func(s string) string { return hex.EncodeToString([]byte(s)) }, 16, false},
	{"hex upper", "hex", func(s string) string { return "0x" + strings.ToUpper(hex.EncodeToString([]byte(s))) }, 16, false},
	{"hex at 60", "hex", func(s string) string { return wrapped(hex.EncodeToString([]byte(s)), "\n", 60) }, 30, false},
	{"hex list", "hex", func(s string) string { return "{" + strings.TrimSuffix(each("0x%02x, ")(s), ", ") + "}" }, 16, false},
	{"hex list on lines", "hex", func(s string) string { return wrapped(each("0x%02X,")(s), "\n\t", 60) }, 16, false},
	{"escape x", "escape", each(`\x%02x`), 4, false},
	{"escape X", "escape", each(`\x%02X`), 4, false},
	{"escape octal", "escape", each(`\%03o`), 4, false},
	{"escape u", "escape", func(s string) string {
		var b strings.Builder
		for _, r := range s {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		return b.String()
	}, 4, false},
	{"escape u of some", "escape", func(s string) string {
		return strings.NewReplacer("e", `\u0065`, ":", `\u003a`, "\n", `\n`).Replace(s)
	}, 4, false},
	{"escape u in braces", "escape", func(s string) string { return strings.NewReplacer("r", `\u{72}`, "\n", `\n`).Replace(s) }, 4, false},
	{"percent", "percent", func(s string) string { return url.QueryEscape(strings.ReplaceAll(s, " ", "~")) }, 4, false},
	{"percent all", "percent", each("%%%02X"), 4, false},
	{"entity", "entity", func(s string) string { return strings.ReplaceAll(html.EscapeString(s+`<">`), "\n", "&#10;") }, 4, false},
	{"entity decimal", "entity", func(s string) string {
		var b strings.Builder
		for _, r := range s {
			fmt.Fprintf(&b, "&#%d;", r)
		}
		return b.String()
	}, 4, false},
	{"entity hex", "entity", func(s string) string {
		var b strings.Builder
		for _, r := range s {
			fmt.Fprintf(&b, "&#x%X;", r)
		}
		return b.String()
	}, 4, false},
	{"utf-16 le", "utf-16", func(s string) string { return utf16of(s, little) }, 8, true},
	{"utf-16 be", "utf-16", func(s string) string { return "\xff" + utf16of(s, big) }, 8, true},
}

// around puts an encoded text between others, as files do. A text must come out
// whole of each.
var around = []string{"%s", "key = \"%s\"\n", "const x = '%s';\nconst y = 1;\n", "data:\n  token: %s\nkind: Secret\n", "Authorization: Basic %s\r\n\r\n", "echo %s | decode\n"}

func TestLayersFindWhatWasEncoded(t *testing.T) {
	for _, e := range encoders {
		t.Run(e.name, func(t *testing.T) {
			for _, text := range []string{short + "&3", long} {
				if e.ascii {
					text = strings.Map(func(r rune) rune {
						if r > 0x7e {
							return -1
						}
						return r
					}, text)
				}
				want := text
				switch {
				case e.name == "percent":
					want = strings.ReplaceAll(text, " ", "~")
				}
				for _, frame := range around {
					encoded := e.encode(text)
					data := fmt.Sprintf(frame, encoded)
					f, at := lookup(t, data, e.encoding, want)
					checkPlaces(t, data, f, at, want, encoded)
				}
			}
		})
	}
}

// checkPlaces checks that a text that was found in a layer is placed within its
// encoded form, all of it.
func checkPlaces(t *testing.T, data string, f found, at int, want, encoded string) {
	t.Helper()
	start, end := f.places[at][0], f.places[at+len(want)-1][1]
	from := strings.Index(data, encoded)
	if start < from || end > from+len(encoded) {
		t.Errorf("%s: placed at %q, want within %q", f.encoding, data[start:end], encoded)
	}
	if lost := len(encoded) - (end - start); lost > len("|\n    ")+len(`&lt;&#34;&gt;`) {
		t.Errorf("%s: %d bytes of %q are not covered by %q", f.encoding, lost, encoded, data[start:end])
	}
}

func TestQuotedPrintable(t *testing.T) {
	text := "Dear all, the new value is SESSION=0123456789abcdef and it is good for the whole of next week, für alle.\r\nBye\r\n"
	data := "Subject: x\r\n\r\n" + quotedPrintable(text)
	f, at := lookup(t, data, "quoted-printable", "SESSION=0123456789abcdef and it is good for the whole of next week, für alle.")
	if got := data[f.places[at][0]:f.places[at+7][1]]; got != "SESSION=3D" {
		t.Errorf("SESSION= is placed at %q", got)
	}
	plain := strings.Repeat("word ", 14) + "0123456789abcdef and more of it that makes the line longer than allowed\r\n"
	lookup(t, quotedPrintable(plain), "quoted-printable", "0123456789abcdef and more")
	for _, other := range []string{"PASSWORD=\nHOST=localhost\n", "x: YWJj=\ny: 1\n"} {
		if all := layersOf(t, []byte(other)); len(all) > 0 {
			t.Errorf("%q is taken for quoted-printable: %q", other, all[0].text)
		}
	}
}

func TestJoinedLiterals(t *testing.T) {
	for _, data := range []string{
		`key = "abcd" + "efgh"`,
		`key = "ab" + "cd" + "efgh";`,
		`key = 'abcd' . 'efgh';`,
		`key = "abcd" .. "efgh"`,
		`key = "abcd"+'efgh'`,
		`key = "abcd" & "efgh"`,
		"key = \"abcd\" & _\r\n      \"efgh\"",
		"key = \"abcd\" +\n\t\"efgh\"",
		"key = \"abcd\"\n    + \"efgh\"",
		"key = \"abcd\"\n    \"efgh\"",
		"key = (\"abcd\"\n    f\"efgh\")",
		"key = \"abcd\" \\\n  \"efgh\"",
		"key = \"abcd\\\nefgh\"",
		"key = \"ab\\\ncdef\\\r\ngh\"",
		"key = `abcd` + `efgh`",
	} {
		f, at := lookup(t, data, "joined", "abcdefgh")
		if !strings.Contains(f.text, "key = ") {
			t.Errorf("%q lost its name: %q", data, f.text)
		}
		for i, c := range []byte("abcdefgh") {
			if got := data[f.places[at+i][0]:f.places[at+i][1]]; got != string(c) {
				t.Errorf("%q: %c is placed at %q", data, c, got)
			}
		}
	}
	for _, data := range []string{`f("abcd", "efgh")`, `"abcd" "efgh"`, `it's . "no`, `a := "x" + y`, "\"abcd\",\n\"efgh\"", `"`, `" +`, `"a" + "`} {
		if all := layersOf(t, []byte(data)); len(all) > 0 {
			t.Errorf("%q is joined to %q", data, all[0].text)
		}
	}
}

func TestContextStaysWithTheValue(t *testing.T) {
	value := "0123456789abcdefghijklmn"
	data := "x: 1\napi_key: " + base64.StdEncoding.EncodeToString([]byte(value)) + "\n"
	f, at := lookup(t, data, "base64", "api_key: "+value)
	if got := data[f.places[at][0]:f.places[at+7][1]]; got != "api_key:" {
		t.Errorf("the name is placed at %q", got)
	}
	start, end := f.places[at+9][0], f.places[at+len("api_key: "+value)-1][1]
	if got := data[start:end]; got != base64.StdEncoding.EncodeToString([]byte(value)) {
		t.Errorf("the value is placed at %q", got)
	}
}

func TestArchivesInBase64(t *testing.T) {
	packed := gzipped(t, []byte(long))
	data := "blob: " + wrapped(base64.StdEncoding.EncodeToString(packed), "\n", 76)
	f, at := lookup(t, data, "base64", string(packed))
	if at != 0 || Format([]byte(f.text)) != "gzip" {
		t.Errorf("the archive begins at byte %d of its layer", at)
	}
	text := base64.StdEncoding.EncodeToString([]byte(utf16of("$token = 'abc'; Get-Item", little)))
	lookup(t, "powershell -enc "+text, "base64", "$\x00t\x00o\x00")
}

func TestPlainTextHasNoLayers(t *testing.T) {
	for _, data := range []string{
		"func TestArchitectureRulesBiteEverybodyAndEverything(t *testing.T) { return internationalisation/localisation }",
		"sha256-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		`fmt.Printf("%d %5d %2d %-10s 100%\n", a, b, "\x1b[0m", "\x00\x01")`,
		"see https://example.com/some/long/path/with/many/parts?page=1&size=20 for more",
		`regexp.MustCompile("^[a-z]+\\.[a-z]+$")`,
		"\x00\x00\x00\x00\x01\x00\x02\x00\x7fELF\x02\x01\x01\x00\x00",
		"int x = a & b; y = &value; if (a && b) return",
		"",
		"\n", "=\n", "%", "\\", "&", "\x00", "\"",
	} {
		if all := layersOf(t, []byte(data)); len(all) > 0 {
			t.Errorf("%q has the %s layer %q", data, all[0].encoding, all[0].text)
		}
	}
}

func TestLayersEnd(t *testing.T) {
	data := []byte(strings.Repeat(base64.StdEncoding.EncodeToString([]byte(short+"&3"))+"\n", 10))
	var d Decoder
	n := 0
	if d.Layers(data, func(*Layer) bool { n++; return n < 3 }) || n != 3 {
		t.Errorf("the search went on to %d layers after yield ended it at 3", n)
	}
	n = 0
	if !d.Layers(data, func(*Layer) bool { n++; return true }) || n != 10 {
		t.Errorf("%d layers of 10", n)
	}
}

func TestLayersAllocateNothing(t *testing.T) {
	data := bytes.Repeat([]byte("func name(longParameterNameOfSomething string) error { return fmt.Errorf(\"%d: %w\\n\", 0x1f, err) }\n"), 100)
	var d Decoder
	yield := func(*Layer) bool { return true }
	if n := testing.AllocsPerRun(10, func() { d.Layers(data, yield) }); n > 0 {
		t.Errorf("clean text costs %v allocations", n)
	}
}

// TestSmallTextsMayGrow takes the wrappings off a line that is encoded in several
// ways: more than twice as much comes out, and that is no reason to stop.
func TestSmallTextsMayGrow(t *testing.T) {
	word := base64.StdEncoding.EncodeToString([]byte("a few more words"))
	text := []byte(`user%20name%20is%3A%20me\u0026more\u0020of\u0020it&quot;and&#32;so&#32;on&quot;:` + word + "\n")
	total := 0
	var d Decoder
	if !d.Layers(text, func(l *Layer) bool { total += len(l.Text); return true }) {
		t.Errorf("of %d bytes only %d were taken out", len(text), total)
	}
	if total <= growth*len(text) {
		t.Errorf("%d bytes grow to %d only: this shows nothing", len(text), total)
	}
}
