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
	ends  [][]int    // state − first → the keywords that end there
	sizes []int      // keyword → its length
}

// maxStates is how many states fit in the table's entries.
const maxStates = 1 << 16

// newMatcher builds a matcher of keywords, which are ASCII.
func newMatcher(keywords []string) (*matcher, error) {
	t := newTrie()
	m := new(matcher)
	columns := 1
	for id, k := range keywords {
		k = strings.ToLower(k)
		m.sizes = append(m.sizes, len(k))
		for i := range len(k) {
			if m.class[k[i]] == 0 {
				m.class[k[i]] = uint8(columns)
				columns++
			}
		}
		t.add(k, id)
	}
	for upper := byte('A'); upper <= 'Z'; upper++ {
		m.class[upper] = m.class[upper+'a'-'A']
	}
	if len(t.nodes) >= maxStates {
		return nil, errors.New("the keywords of all rules need too large a table: load fewer rules")
	}
	m.shift = uint(bits.Len(uint(columns - 1)))
	m.fill(t)
	return m, nil
}

// find returns the first keyword occurrences at or after data[i:], entered in
// the given state: the keywords, the index one past their last byte, and the
// state to go on in. At the end of data it returns no keyword.
func (m *matcher) find(data []byte, i int, state uint16) (ids []int, end int, next uint16) {
	table, shift, first := m.next, m.shift, m.first
	for ; i < len(data); i++ {
		state = table[int(state)<<shift|int(m.class[data[i]])]
		if state >= first {
			return m.ends[state-first], i + 1, state
		}
	}
	return nil, i, state
}

// A trie is the keywords' prefixes as a tree, with the failure links of the
// automaton.
type trie struct{ nodes []trieNode }

type trieNode struct {
	child map[byte]int
	fail  int
	ends  []int
}

func newTrie() *trie { return &trie{nodes: []trieNode{{child: make(map[byte]int)}}} }

// add inserts a keyword.
func (t *trie) add(keyword string, id int) {
	at := 0
	for i := range len(keyword) {
		next, ok := t.nodes[at].child[keyword[i]]
		if !ok {
			next = len(t.nodes)
			t.nodes = append(t.nodes, trieNode{child: make(map[byte]int)})
			t.nodes[at].child[keyword[i]] = next
		}
		at = next
	}
	t.nodes[at].ends = append(t.nodes[at].ends, id)
}

// link sets the failure links and returns the nodes in breadth-first order.
func (t *trie) link() []int {
	order := []int{0}
	for i := 0; i < len(order); i++ {
		at := order[i]
		for b, child := range t.nodes[at].child {
			if at != 0 {
				t.nodes[child].fail = t.step(t.nodes[at].fail, b)
			}
			fail := t.nodes[child].fail
			t.nodes[child].ends = append(t.nodes[child].ends, t.nodes[fail].ends...)
			order = append(order, child)
		}
	}
	return order
}

// step follows byte b from a node, by failure links where there is no child.
func (t *trie) step(at int, b byte) int {
	for {
		if next, ok := t.nodes[at].child[b]; ok {
			return next
		}
		if at == 0 {
			return 0
		}
		at = t.nodes[at].fail
	}
}

// fill writes the table. States that end a keyword get the highest numbers, so
// that one comparison tells them.
func (m *matcher) fill(t *trie) {
	order := t.link()
	number := make([]uint16, len(t.nodes))
	var quiet, ending []int
	for _, n := range order {
		if len(t.nodes[n].ends) == 0 {
			quiet = append(quiet, n)
		} else {
			ending = append(ending, n)
		}
	}
	m.first = uint16(len(quiet))
	for i, n := range append(quiet, ending...) {
		number[n] = uint16(i)
	}
	for _, n := range ending {
		m.ends = append(m.ends, t.nodes[n].ends)
	}
	m.next = make([]uint16, len(t.nodes)<<m.shift)
	for _, n := range order {
		for b := range 256 {
			if c := m.class[b]; c != 0 && !(b >= 'A' && b <= 'Z') {
				m.next[int(number[n])<<m.shift|int(c)] = number[t.step(n, byte(b))]
			}
		}
	}
}
