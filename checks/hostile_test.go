package checks_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/checks"
)

// hostile are units that make a file malicious when they are repeated: keywords,
// credentials and near misses without anything between them.
func hostile(t testing.TB) map[string]string {
	t.Helper()
	units := map[string]string{
		"tokens glued":       "password=secret:eyJeyJ.eyJghp_AKIA",
		"boundaries":         "a://b:c@postgres://x:y@",
		"frames":             strings.Repeat("-", 5) + "BEGIN PRIVATE" + " KEY-----\n",
		"overlapping chain":  token(t, "{jwt}-hvs.{24:base62}-", 1),
		"pairs":              token(t, "AKIA{16:base32} {40:base64} ", 1),
		"ids without secret": token(t, "AKIA{16:base32} ", 1),
	}
	for _, r := range catalogue(t) {
		example, _ := expand(t, r, r.Examples[0], 1)
		units["keyword of "+r.ID] = r.Detect.Keywords[0]
		units["cut example of "+r.ID] = example[:len(example)-1-len(example)/20]
	}
	return units
}

func filled(unit string, size int) []byte {
	return []byte(strings.Repeat(unit, size/len(unit)+1)[:size])
}

// TestHostileInput scans each and gets an answer that is bounded and true. How
// the work grows is BenchmarkHostileInput's to tell.
func TestHostileInput(t *testing.T) {
	s := scanner(t)
	for name, unit := range hostile(t) {
		data := filled(unit, rounds(32<<10))
		found := scan(s, "file", data)
		if len(found) > checks.MaxFindings {
			t.Errorf("%s: %d findings", name, len(found))
		}
		for _, f := range found {
			if got := text(data, f.Location); got != f.Credential.Secret().Expose() {
				t.Errorf("%s: a finding is not where it says", name)
				break
			}
		}
	}
}

// BenchmarkHostileInput takes eight times as long for eight times the size; work
// that grew with the square would take 64 times as long.
func BenchmarkHostileInput(b *testing.B) {
	s, units := scanner(b), hostile(b)
	for _, name := range slices.Sorted(maps.Keys(units)) {
		for _, size := range []int{8 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				data := filled(units[name], size)
				b.SetBytes(int64(size))
				for b.Loop() {
					scan(s, "file", data)
				}
			})
		}
	}
}

// TestBlanksAtTheLimit puts blanks where the text that belongs to a name ends: passing
// them leads across its limit.
func TestBlanksAtTheLimit(t *testing.T) {
	s := scanner(t)
	blank := strings.Repeat(" ", 60)
	for _, name := range []string{"password:", "password :", "password =", "password", "Password:\r", "password: |", "'password'", "password" + blank + ":"} {
		for n := range 350 {
			for _, text := range []string{
				name + "\n" + strings.Repeat("a", n) + "\n" + blank + "b: c\n",
				name + "\n" + blank + strings.Repeat("a", n) + blank + "\n" + blank + "b",
				name + strings.Repeat(blank+"\n", n/50) + strings.Repeat("a", n%50) + "\n" + blank + "'b'",
			} {
				if found := scan(s, "file", []byte(text)); len(found) > 0 {
					t.Fatalf("%q: found %v", text, ids(found))
				}
			}
		}
	}
}
