package checks

import (
	"testing"
	"time"

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

// TestResolveChains compares a chain with one that is eight times as long: work
// that grew with the square would take 64 times as long.
func TestResolveChains(t *testing.T) {
	const n = 8000
	took := func(n int) time.Duration {
		all := chain(n)
		start := time.Now()
		kept := resolve(all)
		took := time.Since(start)
		if len(kept) != n/2 {
			t.Fatalf("%d of %d are kept, want %d", len(kept), n, n/2)
		}
		for i, c := range kept {
			if c.rule.ID != "even" || i > 0 && kept[i-1].end > c.start {
				t.Fatalf("candidate %d is of rule %s, or overlaps", i, c.rule.ID)
			}
		}
		return took
	}
	// Another program may take the processor at any time, so the fastest of several
	// runs counts.
	short, long := took(n), took(8*n)
	for range 20 {
		if long <= 40*short {
			return
		}
		short, long = min(short, took(n)), min(long, took(8*n))
	}
	t.Errorf("a chain of %d takes %v, one of %d takes %v", n, short, 8*n, long)
}
