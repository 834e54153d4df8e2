package checks

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stanch-dev/stanch/rules"
)

// chain returns n candidates each of which overlaps its neighbours: those of even
// number are longer, win and leave nothing of the rest.
func chain(n int) []candidate {
	even, odd := &compiled{Rule: &rules.Rule{ID: "even"}}, &compiled{Rule: &rules.Rule{ID: "odd"}}
	all := make([]candidate, n)
	for i := range all {
		if i%2 == 0 {
			all[i] = candidate{rule: even, start: i * 10, end: i*10 + 16}
		} else {
			all[i] = candidate{rule: odd, start: i*10 + 2, end: i*10 + 14}
		}
	}
	return all
}

func TestResolveChains(t *testing.T) {
	const n = 8000
	kept := resolve(chain(n))
	if len(kept) != n/2 {
		t.Fatalf("%d of %d are kept, want %d", len(kept), n, n/2)
	}
	for i, c := range kept {
		if c.rule.ID != "even" || i > 0 && kept[i-1].end > c.start {
			t.Fatalf("candidate %d is of rule %s, or overlaps", i, c.rule.ID)
		}
	}
}

// BenchmarkResolveChains takes eight times as long for a chain eight times as
// long; work that grew with the square would take 64 times as long.
func BenchmarkResolveChains(b *testing.B) {
	for _, n := range []int{8_000, 64_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			all := chain(n)
			for b.Loop() {
				resolve(slices.Clone(all))
			}
		})
	}
}
