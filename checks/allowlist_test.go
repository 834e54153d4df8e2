package checks_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

var allowKey = checks.FingerprintKey("the key of a test's allowlists..")

func allowIDOf(secret string) checks.AllowID {
	return checks.NewSecret(secret).Fingerprint(checks.FingerprintKey("another key")).AllowID(allowKey)
}

func TestAllowIDs(t *testing.T) {
	id := allowIDOf("one")
	if id != allowIDOf("one") || id == allowIDOf("two") {
		t.Error("an id does not name one credential")
	}
	fp := checks.NewSecret("one").Fingerprint(checks.FingerprintKey("another key"))
	if id == fp.AllowID(checks.FingerprintKey("a third key")) || strings.Contains(string(id), string(fp[:16])) {
		t.Error("the id does not depend on its key")
	}
}

func TestAllowlistEntries(t *testing.T) {
	first := string(allowIDOf("one")) + " 2030-12-31 @acme/security a key of the test server"
	list, warnings := checks.ParseAllowlist([]byte("# comment\n\n" + first + "\r\n  " +
		string(allowIDOf("two")) + "   2029-01-01\t@dana  once   more \n" +
		string(allowIDOf("one")) + " 2028-01-01 @dana another line for the same\n"))
	if len(warnings) > 0 {
		t.Fatal(warnings)
	}
	e, found := list.Find(allowIDOf("one"))
	if !found || e.String() != first || e.Line != 3 || e.Owner != "@acme/security" {
		t.Errorf("found %+v; want the entry that counts for longest, as it was written", e)
	}
	if e, _ := list.Find(allowIDOf("two")); e.Reason != "once more" || e.Line != 4 {
		t.Errorf("found %+v", e)
	}
	if _, found := list.Find(allowIDOf("three")); found {
		t.Error("found what is not there")
	}
	for at, want := range map[string]bool{"2030-12-31T23:59:59Z": false, "2031-01-01T00:00:00Z": true} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil || e.Expired(now) != want {
			t.Errorf("at %s expired is %t, %v", at, e.Expired(now), err)
		}
	}
}

// TestAllowlistMerges: two branches' lists, put together line by line, allow what
// either allowed, whatever the order.
func TestAllowlistMerges(t *testing.T) {
	var lines []string
	for _, secret := range []string{"a", "b", "c"} {
		lines = append(lines, checks.AllowEntry{ID: allowIDOf(secret), Until: time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC), Owner: "@dana", Reason: "a test's"}.String())
	}
	slices.Sort(lines)
	union := append(slices.Clone(lines[1:]), lines[:2]...) // one of them twice
	list, warnings := checks.ParseAllowlist([]byte(strings.Join(union, "\n")))
	for _, secret := range []string{"a", "b", "c"} {
		if _, found := list.Find(allowIDOf(secret)); !found || len(warnings) > 0 {
			t.Errorf("%s is not allowed any more; warnings %v", secret, warnings)
		}
	}
}

func TestWrongAllowEntries(t *testing.T) {
	id := string(allowIDOf("one"))
	for line, want := range map[string]string{
		id:                                                   "1 of the four parts",
		id + " 2030-12-31 @dana":                             "3 of the four parts",
		"sha256:00 2030-12-31 @d r":                          "does not begin with allow1-",
		strings.ToUpper(id) + " 2030-12-31 @d r":             "does not begin with allow1-",
		id + " 2030-02-30 @d r":                              "no day",
		id + " never @d r":                                   "no day",
		id + " 2030-12-31 dana r":                            "no owner",
		id + " 2030-12-31 @da/na/x r":                        "no owner",
		id + " 2030-12-31 @dana a\x1b[2Jb":                   "cannot be shown",
		id + " 2030-12-31 @dana a\u202eb":                    "cannot be shown",
		id + " 2030-12-31 @dana " + strings.Repeat("x", 301): "longer than 300 bytes",
	} {
		list, warnings := checks.ParseAllowlist([]byte("# first\n" + line + "\n"))
		if len(warnings) != 1 || warnings[0].Line != 2 || !strings.Contains(warnings[0].Text, want) {
			t.Errorf("%q: %v; want a warning for line 2 with %q", line, warnings, want)
		}
		if _, found := list.Find(checks.AllowID(id)); found {
			t.Errorf("%q allows all the same", line)
		}
	}
}

func FuzzParseAllowlist(f *testing.F) {
	f.Add([]byte("# list\n" + string(allowIDOf("one")) + " 2030-12-31 @dana a reason\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		// Whatever stands before an entry, it counts.
		id := checks.AllowID("allow1-" + strings.Repeat("0f", 16))
		last := string(id) + " 9999-12-31 @dana a reason"
		list, warnings := checks.ParseAllowlist(append(slices.Clip(text), "\n"+last...))
		checkWarnings(t, warnings, bytes.Count(text, []byte("\n"))+1)
		if e, found := list.Find(id); !found || e.Until.Year() != 9999 {
			t.Errorf("the last entry does not count: %+v, %v", e, found)
		}
		for line := range strings.Lines(string(text)) {
			e, err := checks.ParseAllowEntry(line)
			if err != nil {
				continue
			}
			e2, err := checks.ParseAllowEntry(e.String())
			if err != nil || e2 != e {
				t.Errorf("%q is written as %q, which is another entry: %v", line, e.String(), err)
			}
		}
	})
}

func FuzzParseIgnores(f *testing.F) {
	f.Add([]byte("# list\na/b.txt:rule:3\n" + strings.Repeat("0a", 20) + ":a.txt:rule:1\n" + strings.Repeat("ab", 32)))
	f.Fuzz(func(t *testing.T, text []byte) {
		// Whatever stands before a line, it counts.
		last := "a/b.txt:rule:7"
		list, warnings := checks.ParseIgnores(append(slices.Clip(text), "\n"+last...), func(rule string) bool { return rule == "rule" })
		checkWarnings(t, warnings, bytes.Count(text, []byte("\n"))+1)
		f := checks.Finding{Rule: &rules.Rule{ID: "rule"}, Location: checks.Location{Path: "a/b.txt", Line: 7}}
		if !list.Ignore(&f) {
			t.Errorf("%q does not count", last)
		}
	})
}

// checkWarnings checks that there is no more than one for each line, in their order.
func checkWarnings(t *testing.T, all []checks.ListWarning, lines int) {
	t.Helper()
	last := 0
	for _, w := range all {
		if w.Line <= last || w.Line > lines || w.Text == "" {
			t.Errorf("a warning in %d lines, after line %d: %+v", lines, last, w)
		}
		last = w.Line
	}
}
