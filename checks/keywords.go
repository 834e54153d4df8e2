package checks

import (
	"errors"
	"math/bits"
	"strings"
)

// A matcher finds every occurrence of many keywords in one pass, in whatever
// letter case they stand. It is the automaton of Aho and Corasick as a flat table
// over the few bytes that keywords use, so that it stays in the processor's cache.
type matcher struct {
	class [256]uint8 // byte → column of next; 0 is "in no keyword"
	shift uint       // log2 of the number of columns
	next  []uint16   // state<<shift | column → state
	first uint16     // states from here on end a keyword
	last  uint16     // the highest state
	ends  [][]uint16 // last − state → the keywords that end there
	sizes []int      // keyword → its length
	most  int        // the length of the longest keyword
}

// maxStates is how many states fit in the table's entries.
const maxStates = 1 << 16

// newMatcher builds a matcher of keywords, which are ASCII. Of some that are the same
// but for the case of letters only the last one is found.
func newMatcher(keywords []string) (*matcher, error) {
	m := new(matcher)
	columns := 1
	t := trie{nodes: make([]trieNode, 1, 1+8*len(keywords))}
	for id, k := range keywords {
		k = strings.ToLower(k)
		m.sizes = append(m.sizes, len(k))
		m.most = max(m.most, len(k))
		for i := range len(k) {
			if m.class[k[i]] == 0 {
				m.class[k[i]] = uint8(columns)
				columns++
			}
		}
		t.add(k, uint16(id))
	}
	for upper := byte('A'); upper <= 'Z'; upper++ {
		m.class[upper] = m.class[upper+'a'-'A']
	}
	if len(t.nodes) >= maxStates {
		return nil, errors.New("the keywords of all rules need too large a table: load fewer rules")
	}
	m.shift = uint(bits.Len(uint(columns - 1)))
	m.fill(&t)
	return m, nil
}

// step returns the state that follows after b.
func (m *matcher) step(state uint16, b byte) uint16 {
	return m.next[int(state)<<m.shift|int(m.class[b])]
}

// A hit is one byte of the data after which a keyword ends, or several.
type hit struct {
	end   int // one past the keyword's last byte
	state uint16
}

const (
	// lanes is how many parts of a block are gone through at the same time. Each
	// step waits for the table; four that do not wait for each other take little
	// longer than one.
	lanes = 4
	// minLane is from how many bytes a part is worth it.
	minLane = 128
)

// find appends to hits[0] to hits[3], in the order of their places, all hits that
// end in data[from:to], also of keywords that begin before.
func (m *matcher) find(hits *[lanes][]hit, data []byte, from, to int) {
	for i := range hits {
		hits[i] = hits[i][:0]
	}
	n := (to - from) / lanes
	if n < minLane {
		hits[0] = m.tail(hits[0], data, from, to, m.warm(data, from))
		return
	}
	p0, p1, p2, p3 := from, from+n, from+2*n, from+3*n
	s0, s1, s2, s3 := m.warm(data, p0), m.warm(data, p1), m.warm(data, p2), m.warm(data, p3)
	d0 := data[p0:p1]
	d1, d2, d3 := data[p1:p2][:len(d0)], data[p2:p3][:len(d0)], data[p3:to][:len(d0)]
	table, shift, first := m.next, m.shift&15, m.first
	for i := range d0 {
		s0 = table[int(s0)<<shift|int(m.class[d0[i]])]
		s1 = table[int(s1)<<shift|int(m.class[d1[i]])]
		s2 = table[int(s2)<<shift|int(m.class[d2[i]])]
		s3 = table[int(s3)<<shift|int(m.class[d3[i]])]
		if s0 >= first {
			hits[0] = append(hits[0], hit{p0 + i + 1, s0})
		}
		if s1 >= first {
			hits[1] = append(hits[1], hit{p1 + i + 1, s1})
		}
		if s2 >= first {
			hits[2] = append(hits[2], hit{p2 + i + 1, s2})
		}
		if s3 >= first {
			hits[3] = append(hits[3], hit{p3 + i + 1, s3})
		}
	}
	hits[3] = m.tail(hits[3], data, p3+n, to, s3)
}

// warm returns the state that the automaton is in before data[at].
func (m *matcher) warm(data []byte, at int) (state uint16) {
	for i := max(0, at-m.most); i < at; i++ {
		state = m.step(state, data[i])
	}
	return state
}

// tail appends to hits those in data[from:to], entered in a state.
func (m *matcher) tail(hits []hit, data []byte, from, to int, state uint16) []hit {
	for i := from; i < to; i++ {
		if state = m.step(state, data[i]); state >= m.first {
			hits = append(hits, hit{i + 1, state})
		}
	}
	return hits
}

// keywords returns the keywords that end in a state.
func (m *matcher) keywords(state uint16) []uint16 { return m.ends[m.last-state] }

// A trie is the keywords' prefixes as a tree, with the failure links of the
// automaton.
type trie struct{ nodes []trieNode }

type trieNode struct {
	byte           byte   // on the way from the parent
	ends           bool   // a keyword ends here
	keyword        uint16 // that one
	fail           uint16 // the state of the longest end of this prefix that is one too
	child, sibling int32  // the first child, the parent's next child; 0 is none
}

// child returns the child of a node by b, or 0.
func (t *trie) child(at int32, b byte) int32 {
	c := t.nodes[at].child
	for c != 0 && t.nodes[c].byte != b {
		c = t.nodes[c].sibling
	}
	return c
}

// add inserts a keyword.
func (t *trie) add(keyword string, id uint16) {
	at := int32(0)
	for i := range len(keyword) {
		next := t.child(at, keyword[i])
		if next == 0 {
			next = int32(len(t.nodes))
			t.nodes = append(t.nodes, trieNode{byte: keyword[i], sibling: t.nodes[at].child})
			t.nodes[at].child = next
		}
		at = next
	}
	t.nodes[at].ends, t.nodes[at].keyword = true, id
}

// fill writes the table, breadth first. A node's row is that of its failure link, but
// for its own children. States that end a keyword get the highest numbers, from the
// top down, so that one comparison tells them.
func (m *matcher) fill(t *trie) {
	n := len(t.nodes)
	m.next = make([]uint16, n<<m.shift)
	m.first, m.last = uint16(n), uint16(n-1)
	state := make([]uint16, n) // of the nodes that were met
	order := make([]int32, 1, n)
	quiet := uint16(1) // the root is 0
	for i := 0; i < len(order); i++ {
		at := order[i]
		row := m.next[int(state[at])<<m.shift:][:1<<m.shift]
		if at != 0 {
			copy(row, m.next[int(t.nodes[at].fail)<<m.shift:])
		}
		for c := t.nodes[at].child; c != 0; c = t.nodes[c].sibling {
			child := &t.nodes[c]
			column := m.class[child.byte]
			child.fail = row[column]
			if ends := m.endingAt(child); len(ends) > 0 {
				m.first--
				state[c] = m.first
				m.ends = append(m.ends, ends)
			} else {
				state[c] = quiet
				quiet++
			}
			row[column] = state[c]
			order = append(order, c)
		}
	}
}

// endingAt returns the keywords that end at a node: its own, and those that are an end
// of it.
func (m *matcher) endingAt(n *trieNode) []uint16 {
	var shorter []uint16
	if n.fail >= m.first {
		shorter = m.keywords(n.fail)
	}
	if !n.ends {
		return shorter
	}
	return append([]uint16{n.keyword}, shorter...)
}
