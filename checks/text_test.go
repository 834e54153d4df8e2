package checks_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// encoded returns text in UTF-16 with a byte order mark.
func encoded(order binary.AppendByteOrder, text string) []byte {
	var data []byte
	for _, unit := range utf16.Encode([]rune("\uFEFF" + text)) {
		data = order.AppendUint16(data, unit)
	}
	return data
}

func TestScanUTF16(t *testing.T) {
	s := scanner(t)
	pat := token(t, githubPAT, 1)
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		data := encoded(order, "grün 😀\r\nkey = "+pat+"\r\n")
		f := one(t, scan(s, "file", data))
		if f.Line != 2 || f.Column != 7 || f.EndColumn != 47 || text(checks.Text(data), f.Location) != pat {
			t.Errorf("%v: found at %d:%d to %d", order, f.Line, f.Column, f.EndColumn)
		}
		odd := append(encoded(order, "key = "+pat), 'x')
		one(t, scan(s, "file", odd))
		lone := append(encoded(order, "key = "+pat), encoded(order, "")...)
		one(t, scan(s, "file", order.AppendUint16(lone, 0xD800)))
	}
	// What only begins like UTF-16 is scanned as it is, too.
	mixed := append(encoded(binary.LittleEndian, "key = "+pat+"\n"), "\n"+token(t, githubPAT, 2)...)
	if found := scan(s, "file", mixed); len(found) != 2 {
		t.Errorf("found %v, want two", ids(found))
	}
	if plain := []byte("plain"); &checks.Text(plain)[0] != &plain[0] {
		t.Error("plain text is copied")
	}
}

func TestHide(t *testing.T) {
	s := scanner(t)
	pat, other := token(t, githubPAT, 1), token(t, githubPAT, 2)
	jwt := token(t, "{jwt}", 1)
	for in, want := range map[string]string{
		"":                                      "",
		"Ada <ada@example.org>":                 "Ada <ada@example.org>",
		"bob " + pat + " <" + other + "@x.net>": "bob [redacted] <[redacted]@x.net>",
		"a/" + jwt + "/ghs_1234567_" + jwt:      "a/[redacted]/[redacted]",
		pat:                                     "[redacted]",
		"url postgres://u:" + token(t, "{6:lower}{4:digit}", 1) + "@db/x": "url postgres://u:[redacted]@db/x",
	} {
		if got := s.Hide(in); got != want {
			t.Errorf("want %q, got another text of %d bytes", want, len(got))
		}
	}
	// Overlapping credentials leave no piece of either.
	hvs := token(t, "hvs.{24:base62}", 1)
	if got := s.Hide(jwt + "-" + hvs + "-" + jwt); strings.Contains(got, hvs[4:]) || strings.Contains(got, "eyJ") {
		t.Error("a piece of a credential is left")
	}
}

func TestScanListsSoMany(t *testing.T) {
	s := scanner(t)
	line := "key = " + token(t, githubPAT, 1) + "\n"
	found, err := s.Examine("file", []byte(strings.Repeat(line, checks.MaxFindings)))
	if len(found) != checks.MaxFindings || err != nil {
		t.Errorf("%d findings, %v", len(found), err)
	}
	for _, n := range []int{checks.MaxFindings + 1, 20 * checks.MaxFindings} {
		found, err := s.Examine("file", []byte(strings.Repeat(line, n)))
		if len(found) != checks.MaxFindings || err == nil {
			t.Fatalf("%d tokens: %d findings, %v", n, len(found), err)
		}
		if last := found[len(found)-1]; last.Line != checks.MaxFindings {
			t.Errorf("the last one is in line %d: they are not the first ones", last.Line)
		}
	}
	if shown := s.Hide(strings.Repeat(line, 20*checks.MaxFindings)); strings.Contains(shown, line[6:]) {
		t.Error("with many credentials some are shown")
	}
}

// TestScanSaysThatItStopped: where many rules claim the same text, the scan ends
// before the list is full.
func TestScanSaysThatItStopped(t *testing.T) {
	var twins []*rules.Rule
	for i := range 20 {
		for _, r := range catalogue(t) {
			if r.ID == "github-pat" {
				twin := *r
				twin.ID = fmt.Sprintf("twin-%d", i)
				twins = append(twins, &twin)
			}
		}
	}
	s, err := checks.NewScanner(twins, testKey)
	if err != nil {
		t.Fatal(err)
	}
	line := "key = " + token(t, githubPAT, 1) + "\n"
	found, err := s.Examine("file", []byte(strings.Repeat(line, checks.MaxFindings-1)))
	if err == nil || len(found) >= checks.MaxFindings {
		t.Errorf("%d findings, %v; want fewer than %d, and an error", len(found), err, checks.MaxFindings)
	}
}
