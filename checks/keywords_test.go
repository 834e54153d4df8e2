package checks

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// hits lists where a matcher finds which keyword.
func hits(m *matcher, data []byte) [][2]int {
	var all [][2]int
	var found [lanes][]hit
	m.find(&found, data, 0, len(data))
	for _, h := range slices.Concat(found[:]...) {
		for _, id := range m.keywords(h.state) {
			all = append(all, [2]int{h.end, int(id)})
		}
	}
	slices.SortFunc(all, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	return all
}

// searched lists the same by looking for every keyword everywhere.
func searched(keywords []string, data []byte) [][2]int {
	lower := bytes.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, bytes.ToValidUTF8(data, []byte("?")))
	var all [][2]int
	for end := 1; end <= len(lower); end++ {
		for id, k := range keywords {
			if bytes.HasSuffix(lower[:end], []byte(strings.ToLower(k))) {
				all = append(all, [2]int{end, id})
			}
		}
	}
	return all
}

func FuzzMatcher(f *testing.F) {
	f.Add("he she his hers", "uSHErs and THIS")
	f.Add("aaa aa ab", "aaaaab")
	f.Add("password passw pwd", "PassWORD=pwd")
	f.Add("ghp_ - -----", "------ghp_-")
	f.Fuzz(func(t *testing.T, words, text string) {
		keywords := strings.Fields(strings.ToLower(strings.Map(ascii, words)))
		slices.Sort(keywords)
		keywords = slices.Compact(keywords)
		data := []byte(strings.Map(ascii, text))
		m, err := newMatcher(keywords)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := hits(m, data), searched(keywords, data); !slices.Equal(got, want) {
			t.Errorf("keywords %q in %q: got %v, want %v", keywords, data, got, want)
		}
	})
}

// ascii drops what keywords do not have.
func ascii(r rune) rune {
	if r >= 0x80 {
		return -1
	}
	return r
}

func TestMatcherPassesForeignBytes(t *testing.T) {
	m, err := newMatcher([]string{"key"})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]byte, 0, 256*6)
	for b := range 256 {
		all = append(all, byte(b))
		all = append(all, "kEy"...)
		all = append(all, byte(b), 'k', 'e')
	}
	if got := len(hits(m, all)); got < 256 {
		t.Errorf("found %d keywords between all bytes, want 256 or more", got)
	}
}
