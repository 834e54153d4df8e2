package checks_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// testKey is the fingerprint key of every test.
var testKey = checks.FingerprintKey(bytes.Repeat([]byte{7}, 32))

// catalogue returns the built-in rules.
func catalogue(t testing.TB) []*rules.Rule {
	t.Helper()
	all, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// scanner returns a scanner of the built-in rules.
func scanner(t testing.TB) *checks.Scanner {
	t.Helper()
	s, err := checks.NewScanner(catalogue(t), testKey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// scan returns what is found in data.
func scan(s *checks.Scanner, path string, data []byte) []checks.Finding {
	found, _ := s.Examine(path, data)
	return found
}

// seeded returns a source of random bytes that is the same in every run.
func seeded(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// expand fills an example of a rule.
func expand(t testing.TB, r *rules.Rule, text string, seed byte) (expanded, sample string) {
	t.Helper()
	expanded, sample, err := r.Expand(text, seeded(seed))
	if err != nil {
		t.Fatal(err)
	}
	return expanded, sample
}

const seeds = 8

// rounds is how often a test repeats itself with other values that wants to n times.
func rounds(n int) int {
	if raced {
		return (n + 7) / 8
	}
	return n
}

// TestExamples holds the catalogue to its word: every example is found by its own
// rule and no other, and no counterexample by any.
func TestExamples(t *testing.T) {
	s := scanner(t)
	for _, r := range catalogue(t) {
		t.Run(r.ID, func(t *testing.T) {
			for seed := range byte(rounds(seeds)) {
				for i, text := range r.Examples {
					expanded, _ := expand(t, r, text, seed)
					found := scan(s, "file", []byte(expanded))
					if len(found) != 1 || found[0].Rule.ID != r.ID {
						t.Errorf("example %d, seed %d: found %v, want one of %s", i+1, seed, ids(found), r.ID)
					}
				}
				for i, text := range r.Counterexamples {
					expanded, _ := expand(t, r, text, seed)
					if found := scan(s, "file", []byte(expanded)); len(found) != 0 {
						t.Errorf("counterexample %d, seed %d: found %v, want nothing", i+1, seed, ids(found))
					}
				}
			}
		})
	}
}

// ids lists what was found, without telling it.
func ids(found []checks.Finding) []string {
	var all []string
	for _, f := range found {
		all = append(all, fmt.Sprintf("%s at %d:%d", f.Rule.ID, f.Line, f.Column))
	}
	return all
}
