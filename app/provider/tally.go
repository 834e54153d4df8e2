package provider

import (
	"maps"
	"sync"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A Count is a kind of verdict, as Counts counts them.
type Count struct {
	Provider string
	Validity checks.Validity
	Grade    Grade
	Reason   Reason
}

// A tally counts the verdicts that were asked for.
type tally struct {
	mu  sync.Mutex
	all map[Count]int
}

func (t *tally) add(rule *rules.Rule, v Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[Count{providerName(rule), v.Validity, v.Grade, v.Reason}]++
}

// Counts tells how often providers were asked about a credential since the start, by
// what came of it. What was remembered is not counted, and neither are controls.
func (p *Providers) Counts() map[Count]int {
	p.tally.mu.Lock()
	defer p.tally.mu.Unlock()
	return maps.Clone(p.tally.all)
}
