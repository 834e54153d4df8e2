package checks

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/stanch-dev/stanch/rules"
)

// An anchor tells at a keyword whether a rule's pattern can match around it, and
// how far a match can go. It is a deterministic automaton over bytes that is made
// from the pattern as far as texts ask for it: one table look-up a byte, where the
// regular expression itself takes a hundred times as long.
//
// It may say yes where the pattern says no, never the other way round: assertions
// such as \b hold everywhere, and a byte beyond ASCII may be part of any character
// beyond ASCII. What it lets pass, the pattern judges.
type anchor struct {
	prog   *syntax.Prog
	wide   []bool                   // instruction → it can match a character beyond ASCII
	class  [256]uint8               // byte → column of dfaState.next: bytes that no instruction tells apart
	width  int                      // number of columns
	lead   int                      // how many bytes of a match may stand before the keyword
	start  atomic.Pointer[dfaState] // where a match may be when the keyword begins
	adrift bool                     // a match without a keyword exists: nothing can be told

	with   *automata // the others of its scanner; may be nil
	mu     sync.Mutex
	states map[string]*dfaState
	passed []bool // instruction → it was met in the step that is being made
}

// A dfaState is a set of instructions, any of which a match may have come to.
type dfaState struct {
	pcs    []uint32
	accept bool // a match may end here
	dead   bool // no match can go on or end
	next   []atomic.Pointer[dfaState]
}

// Automata are those of one scanner. Together they keep at most maxAutomata bytes of
// states: then all are forgotten, and made again as they are needed.
type automata struct {
	mu    sync.Mutex
	all   []*anchor
	bytes int
}

const maxAutomata = 24 << 20

// add notes one more automaton.
func (m *automata) add(a *anchor) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, a)
}

// grown notes that an automaton has one more state. None of them may be locked.
func (m *automata) grown(size int) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes += size; m.bytes <= maxAutomata {
		return
	}
	m.bytes = 0
	for _, a := range m.all {
		a.forget()
	}
}

// forget drops all states but where the automaton begins.
func (a *anchor) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.states)
	a.start.Store(a.state(a.start.Load().pcs))
}

// newAnchor makes the automaton of a pattern and its rule's keywords, one of those of a
// scanner.
func newAnchor(with *automata, pattern string, keywords []string) (*anchor, error) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	a := &anchor{with: with, prog: prog, states: make(map[string]*dfaState), passed: make([]bool, len(prog.Inst))}
	a.wide = make([]bool, len(prog.Inst))
	for pc := range prog.Inst {
		a.wide[pc] = matchesWide(&prog.Inst[pc])
	}
	words, err := newMatcher(keywords)
	if err != nil {
		return nil, err
	}
	a.classify(words)
	a.begin(words)
	with.add(a)
	return a, nil
}

// matchesWide reports whether an instruction matches some character beyond ASCII.
// The two that are letters of ASCII in another case, the long s and the Kelvin
// sign, do not count: no credential is written with them.
func matchesWide(inst *syntax.Inst) bool {
	switch inst.Op {
	case syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		return true
	case syntax.InstRune, syntax.InstRune1:
	default:
		return false
	}
	if len(inst.Rune) == 1 {
		return inst.Rune[0] >= utf8.RuneSelf
	}
	for i := 0; i+1 < len(inst.Rune); i += 2 {
		low, high := inst.Rune[i], inst.Rune[i+1]
		folded := low == high && (low == '\u017F' || low == '\u212A')
		if high >= utf8.RuneSelf && !folded {
			return true
		}
	}
	return false
}

// matches reports whether the instruction at pc can take the byte b.
func (a *anchor) matches(pc uint32, b byte) bool {
	if b >= utf8.RuneSelf {
		return a.wide[pc]
	}
	inst := &a.prog.Inst[pc]
	switch inst.Op {
	case syntax.InstRune, syntax.InstRune1:
		return inst.MatchRune(rune(b))
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return b != '\n'
	}
	return false
}

// classify numbers the bytes that neither the pattern nor the keywords tell apart.
func (a *anchor) classify(words *matcher) {
	var edge [257]bool // a class may begin at this byte
	edge[0], edge[utf8.RuneSelf], edge['\n'], edge['\n'+1] = true, true, true, true
	for b := range utf8.RuneSelf {
		edge[b] = edge[b] || b > 0 && words.class[b] != words.class[b-1]
	}
	for pc := range a.prog.Inst {
		inst := &a.prog.Inst[pc]
		if inst.Op != syntax.InstRune && inst.Op != syntax.InstRune1 {
			continue
		}
		for b := 1; b < utf8.RuneSelf; b++ {
			edge[b] = edge[b] || inst.MatchRune(rune(b)) != inst.MatchRune(rune(b-1))
		}
	}
	n := -1
	for b := range 256 {
		if edge[b] {
			n++
		}
		a.class[b] = uint8(n)
	}
	a.width = n + 1
}

// begin finds every instruction that a match may have come to before it meets its
// first keyword: those are where it may be when a keyword begins. It also finds
// how many bytes that may take, and whether a match may end without any.
func (a *anchor) begin(words *matcher) {
	follows := make([][]uint32, len(a.prog.Inst)) // instruction → those after it
	for pc := range a.prog.Inst {
		if inst := &a.prog.Inst[pc]; takes(inst) {
			follows[pc] = a.close(inst.Out)
		}
	}
	bytes := a.representatives()
	first := a.close(uint32(a.prog.Start))
	before := make([]bool, len(a.prog.Inst))
	type progress struct {
		pc   uint32
		word uint16 // state of the matcher of keywords: how much of one was met
	}
	seen := make([]bool, len(a.prog.Inst)*(int(words.first)+1))
	var todo []progress
	reach := func(pcs []uint32, word uint16) {
		for _, pc := range pcs {
			if at := int(pc)*(int(words.first)+1) + int(word); !seen[at] {
				seen[at], before[pc] = true, true
				todo = append(todo, progress{pc, word})
			}
		}
	}
	reach(first, 0)
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		a.adrift = a.adrift || a.prog.Inst[p.pc].Op == syntax.InstMatch
		last := words.first // no word: what follows is the same after many bytes
		for _, b := range bytes {
			if !a.matches(p.pc, b) {
				continue
			}
			word := words.step(p.word, b)
			if b >= utf8.RuneSelf {
				reach([]uint32{p.pc}, word)
			}
			if word < words.first && word != last {
				reach(follows[p.pc], word)
				last = word
			}
		}
	}
	a.lead = longest(first, follows, before)
	var pcs []uint32
	for pc, ok := range before {
		if ok {
			pcs = append(pcs, uint32(pc))
		}
	}
	a.start.Store(a.state(pcs))
}

// takes reports whether an instruction takes a byte.
func takes(inst *syntax.Inst) bool {
	switch inst.Op {
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		return true
	}
	return false
}

// longest returns the most bytes that a match can take on instructions of a set,
// or rules.Lead if that is less.
func longest(first []uint32, follows [][]uint32, set []bool) int {
	const open = -1
	known := make(map[uint32]int)
	var from func(pcs []uint32) int
	from = func(pcs []uint32) int {
		most := 0
		for _, pc := range pcs {
			if !set[pc] || follows[pc] == nil {
				continue
			}
			n, ok := known[pc]
			switch {
			case n == open: // a loop
				n = rules.Lead
			case !ok:
				known[pc] = open
				n = min(rules.Lead, 1+from(follows[pc]))
				known[pc] = n
			}
			most = max(most, n)
		}
		return most
	}
	return from(first)
}

// representatives returns one byte of each class.
func (a *anchor) representatives() []byte {
	var all []byte
	for b := range 256 {
		if int(a.class[b]) == len(all) {
			all = append(all, byte(b))
		}
	}
	return all
}

// step returns, sorted, the instructions that follow those of a set when they
// take b. A byte beyond ASCII may be one of several of its character, so that an
// instruction that takes it may also stay.
func (a *anchor) step(set []uint32, b byte) []uint32 {
	var after []uint32
	clear(a.passed)
	for _, pc := range set {
		if !a.matches(pc, b) {
			continue
		}
		if b >= utf8.RuneSelf && !a.passed[pc] {
			a.passed[pc] = true
			after = append(after, pc)
		}
		after = a.reach(after, a.prog.Inst[pc].Out)
	}
	slices.Sort(after)
	return after
}

// close returns the instructions that take a byte, or end the match, and that are
// reached from pc without one.
func (a *anchor) close(pc uint32) []uint32 {
	clear(a.passed)
	return a.reach(nil, pc)
}

// reach is close for those that were not passed yet.
func (a *anchor) reach(set []uint32, pc uint32) []uint32 {
	if a.passed[pc] {
		return set
	}
	a.passed[pc] = true
	inst := &a.prog.Inst[pc]
	switch inst.Op {
	case syntax.InstFail:
	case syntax.InstAlt, syntax.InstAltMatch:
		set = a.reach(a.reach(set, inst.Out), inst.Arg)
	case syntax.InstCapture, syntax.InstEmptyWidth, syntax.InstNop:
		set = a.reach(set, inst.Out)
	default:
		set = append(set, pc)
	}
	return set
}

// state returns the state of a sorted set of instructions.
func (a *anchor) state(pcs []uint32) *dfaState {
	key := make([]byte, 0, 4*len(pcs))
	for _, pc := range pcs {
		key = binary.LittleEndian.AppendUint32(key, pc)
	}
	if s := a.states[string(key)]; s != nil {
		return s
	}
	s := &dfaState{pcs: pcs, dead: len(pcs) == 0, next: make([]atomic.Pointer[dfaState], a.width)}
	s.accept = slices.ContainsFunc(pcs, func(pc uint32) bool { return a.prog.Inst[pc].Op == syntax.InstMatch })
	a.states[string(key)] = s
	return s
}

// extend returns the state that follows s after b, and remembers it.
func (a *anchor) extend(s *dfaState, b byte) *dfaState {
	next, size := a.made(s, b)
	if size > 0 {
		a.with.grown(size)
	}
	return next
}

// made is extend, and tells how many bytes more are kept.
func (a *anchor) made(s *dfaState, b byte) (next *dfaState, size int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := len(a.states)
	next = a.state(a.step(s.pcs, b))
	s.next[a.class[b]].Store(next)
	if len(a.states) > known {
		const fixed = 160 // the state, its key and its place in the map
		size = fixed + 8*len(next.pcs) + 8*len(next.next)
	}
	return next, size
}

// follow reports whether a match may stand around the keyword data[start:end], and
// how far: no match that holds this keyword as its first ends after last. It looks
// at data[:limit] at most, and has looked at that much when last is limit.
func (a *anchor) follow(data []byte, start, end, limit int) (last int, ok bool) {
	s := a.start.Load()
	for i := start; i < limit; i++ {
		b := data[i]
		next := s.next[a.class[b]].Load()
		if next == nil {
			next = a.extend(s, b)
		}
		if s = next; s.dead {
			return i, ok
		}
		ok = ok || s.accept && i >= end-1
	}
	return limit, ok
}
