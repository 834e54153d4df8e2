package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// findingOf is a finding of a made-up secret.
func findingOf(secret, path string) checks.Finding {
	s := checks.NewSecret(secret)
	return checks.Finding{
		Rule: &rules.Rule{ID: "a-rule"}, Fingerprint: s.Fingerprint(checks.FingerprintKey("key")),
		Credential: checks.Credential{Rule: "a-rule", Parts: map[string]checks.Secret{checks.PartSecret: s}},
		Location:   checks.Location{Path: path, Line: 1},
	}
}

func keep(s string) string { return s }

// written is a baseline of findings as its file has it.
func written(t *testing.T, b *baseline, findings ...checks.Finding) string {
	t.Helper()
	if _, err := b.add(t.Context(), findings, keep); err != nil {
		t.Fatal(err)
	}
	if err := b.write(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func knows(t *testing.T, text string, findings ...checks.Finding) []bool {
	t.Helper()
	b, err := parseBaseline("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.compare(t.Context(), findings)
	if err != nil {
		t.Fatal(err)
	}
	return c.known
}

func TestBaselineKnowsContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	odd := "odd \"name\"\nwith lines"
	text := written(t, newBaseline(path), findingOf("one", "a b"), findingOf("second-value", odd), findingOf("one", "c"))
	if strings.Contains(text, "second-value") {
		t.Errorf("the file tells a secret:\n%s", text)
	}
	got := knows(t, text, findingOf("one", "moved"), findingOf("three", "a b"), findingOf("second-value", "x"))
	if diff := cmp.Diff([]bool{true, false, true}, got); diff != "" {
		t.Errorf("known (-want +got):\n%s", diff)
	}
	b, err := readBaseline(path)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range b.entries {
		paths = append(paths, e.path)
	}
	if len(paths) != 2 || !(paths[0] == odd || paths[1] == odd) {
		t.Errorf("paths are %q", paths)
	}
	// To write it again changes nothing.
	if again := written(t, b, findingOf("one", "elsewhere")); again != text {
		t.Errorf("the file changed:\n%s\n%s", text, again)
	}
}

func TestBaselineMerges(t *testing.T) {
	dir := t.TempDir()
	base := written(t, newBaseline(filepath.Join(dir, "list")), findingOf("one", "a"))
	branch := func(secret string) string {
		b, err := parseBaseline(filepath.Join(dir, secret), []byte(base))
		if err != nil {
			t.Fatal(err)
		}
		return written(t, b, findingOf(secret, secret))
	}
	foreign := written(t, newBaseline(filepath.Join(dir, "foreign")), findingOf("four", "d"), findingOf("one", "a"))
	lines := strings.SplitAfter(branch("two")+branch("three")+foreign, "\n")
	rand.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	merged := strings.ReplaceAll(strings.Join(lines, ""), "\n", "\r\n") // as git may check it out
	got := knows(t, merged, findingOf("one", "a"), findingOf("two", "a"), findingOf("three", "a"), findingOf("four", "a"), findingOf("five", "a"))
	if diff := cmp.Diff([]bool{true, true, true, true, false}, got); diff != "" {
		t.Errorf("known (-want +got):\n%s", diff)
	}
	b, err := parseBaseline(filepath.Join(dir, "merged"), []byte(merged))
	if err != nil {
		t.Fatal(err)
	}
	if text := written(t, b, findingOf("four", "d")); strings.Count(text, " d\n") != 1 {
		t.Errorf("what another salt knows was added again:\n%s", text)
	}
	c, err := b.compare(t.Context(), []checks.Finding{findingOf("two", "a")})
	if err != nil {
		t.Fatal(err)
	}
	var stale []string
	for _, e := range c.stale {
		stale = append(stale, e.path)
	}
	if diff := cmp.Diff([]string{"a", "a", "d", "three"}, stale); diff != "" {
		t.Errorf("stale (-want +got):\n%s", diff)
	}
}

func TestBaselineRefuses(t *testing.T) {
	good := strings.TrimSpace(newBaseline("x").derive[0].String())
	for name, test := range map[string]struct{ text, want string }{
		"nothing":            {"", "it is none"},
		"something else":     {"{\n}\n", "line 1: it is no entry"},
		"marks of a merge":   {good + "\n<<<<<<< HEAD\n", "line 2: a merge left its mark here"},
		"middle of a merge":  {good + "\n=======\n", "line 2: a merge left its mark here"},
		"half a key":         {good + "\nabcd rule path\n", "line 2: it is no entry"},
		"no path":            {good + "\n" + strings.Repeat("ab", keySize) + " rule\n", "line 2: it is no entry"},
		"open quotes":        {good + "\n" + strings.Repeat("ab", keySize) + " rule \"path\n", "its path is quoted"},
		"a later version":    {"stanch-baseline 2 argon2id time=1\n", "update Stanch"},
		"a cost of a day":    {strings.Replace(good, "time=1", "time=100000", 1), "time must be 1 to 16"},
		"all of the memory":  {strings.Replace(good, "memory=8192", "memory=4294967295", 1), "memory 8192 to 262144"},
		"hardly any cost":    {strings.Replace(good, "memory=8192", "memory=8", 1), "memory 8192 to 262144"},
		"no salt":            {good[:strings.Index(good, "salt=")] + "salt=00\n", "its salt must be 16 bytes"},
		"salts without end":  {manySalts(maxSalts + 1), "merged from more than 8"},
		"words for numbers":  {strings.Replace(good, "time=1", "time=x", 1), "it must be “stanch-baseline 1"},
		"an empty path line": {good + "\n" + strings.Repeat("ab", keySize) + " rule  \n", "line 2: it is no entry"},
	} {
		if _, err := parseBaseline("list", []byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one that says %q", name, err, test.want)
		}
	}
}

func manySalts(n int) string {
	var b strings.Builder
	for range n {
		fmt.Fprintln(&b, newBaseline("x").derive[0])
	}
	return b.String()
}

// FuzzParseBaseline: no file crashes, and what was read can be written and read
// again.
func FuzzParseBaseline(f *testing.F) {
	f.Add(newBaseline("x").derive[0].String() + "\n" + strings.Repeat("ab", keySize) + " rule \"a\\nb\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parseBaseline("list", []byte(text))
		if err != nil {
			return
		}
		var again strings.Builder
		for _, d := range b.derive {
			fmt.Fprintln(&again, d)
		}
		for _, e := range b.entries {
			fmt.Fprintln(&again, e)
		}
		c, err := parseBaseline("list", []byte(again.String()))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(b.entries, c.entries, cmp.AllowUnexported(baselineEntry{})); diff != "" {
			t.Errorf("entries changed (-want +got):\n%s", diff)
		}
	})
}

// BenchmarkBaseline is a scan with a thousand different secrets, each at five places.
func BenchmarkBaseline(b *testing.B) {
	var findings []checks.Finding
	for i := range 5000 {
		findings = append(findings, findingOf(fmt.Sprint(i%1000), "a"))
	}
	list := newBaseline("x")
	for b.Loop() {
		start := time.Now()
		if _, err := list.compare(b.Context(), findings); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s/5000-findings")
	}
}
