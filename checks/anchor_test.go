package checks

import (
	"slices"
	"testing"

	"github.com/stanch-dev/stanch/rules"
)

// TestEveryRuleIsAnchored refuses a rule of the catalogue whose pattern matches
// text without any of its keywords: it would be missed there.
func TestEveryRuleIsAnchored(t *testing.T) {
	all, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		e, err := compile(&r.Detect, nil)
		if err != nil {
			t.Fatalf("%s: %v", r.ID, err)
		}
		if e.anchor != nil && e.anchor.adrift {
			t.Errorf("%s: its pattern matches text that holds none of its keywords %q", r.ID, r.Detect.Keywords)
		}
	}
}

func TestAnchor(t *testing.T) {
	for _, test := range []struct {
		pattern, keyword, text string
		lead                   int
		adrift, ok             bool
	}{
		{`\bkey_[0-9]{4}\b`, "key_", "key_1234", 4, false, true},
		{`\bkey_[0-9]{4}\b`, "key_", "key_123x", 4, false, false},
		{`(?i)key=[a-f]+`, "key=", "KEY=Ab", 4, false, true},
		{`[a-z]{2,5}_key`, "_key", "ab_key", 9, false, true},
		{`[0-9]+`, "key", "key", rules.Lead, true, false},
		{`(?:key|[0-9]{3})x`, "key", "keyx", 4, true, true},
		{`key.é.`, "key", "key-é-", 3, false, true},
		{`key.é.`, "key", "key-e-", 3, false, false},
		{`.*key`, "key", "any key", rules.Lead, false, true},
		{`(?i)ks?`, "k", "k", 1, false, true}, // the Kelvin sign does not count
	} {
		a, err := newAnchor(nil, test.pattern, []string{test.keyword})
		if err != nil {
			t.Fatal(err)
		}
		m, err := newMatcher([]string{test.keyword})
		if err != nil {
			t.Fatal(err)
		}
		var found [lanes][]hit
		m.find(&found, []byte(test.text), 0, len(test.text))
		h := found[0][0]
		_, ok := a.follow([]byte(test.text), h.end-len(test.keyword), h.end, len(test.text))
		if a.adrift != test.adrift || ok != test.ok || a.lead != test.lead {
			t.Errorf("%s in %q: lead %d, adrift %v, ok %v", test.pattern, test.text, a.lead, a.adrift, ok)
		}
	}
}

// FuzzAnchor holds the automaton to its promise: wherever the pattern matches, the
// automaton lets some keyword of the match pass, and the window is wide enough.
func FuzzAnchor(f *testing.F) {
	const pattern = `\bke?y[_-][a-c]{2,}(?:é|x*)\b|a.{0,3}word\d`
	keywords := []string{"key", "ky", "word"}
	a, err := newAnchor(nil, pattern, keywords)
	if err != nil {
		f.Fatal(err)
	}
	rule := &rules.Rule{ID: "rule", Detect: rules.Detect{Keywords: keywords, Pattern: pattern}}
	s, err := New(rule)
	if err != nil || a.adrift {
		f.Fatal(err, a.adrift)
	}
	whole := s.rules[0].expressions().pattern
	f.Add("key_abcé ky-aax")
	f.Add("a12 word3 akey word4")
	f.Add("ky_aa 7720772077207720")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > rules.DefaultReach {
			return
		}
		x := s.borrow()
		defer s.giveBack(x)
		x.begin("", len(text)) // and not what it may be decoded to
		x.plain([]byte(text), window{0, len(text)})
		sorted(x.found)
		var got, want [][]int
		for _, c := range x.found {
			got = append(got, []int{c.start, c.end})
		}
		for _, m := range whole.FindAllStringIndex(text, -1) {
			if credible(&rule.Detect, "", text[m[0]:m[1]]) {
				want = append(want, m)
			}
		}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
