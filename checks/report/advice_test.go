package report

import (
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

func TestAdvise(t *testing.T) {
	asked := []Request{{Verb: verbRotate, By: "dana", Reason: "it is <live>", Until: time.Date(2030, 1, 2, 3, 0, 0, 0, time.UTC)}}
	for _, test := range []struct {
		name        string
		leak        Leak
		title, next string // what they hold
		tone        Tone
	}{
		{"live", Leak{Finding: checks.Finding{Validity: checks.Active}, Actionable: true}, "1 live credential", "A button on the page", Urgent},
		{"asked", Leak{Finding: checks.Finding{Validity: checks.Active}, Actionable: true, Asked: asked}, "second person", "dana asked for a rotation: “it is <live>”. A second person with the permission, who is not dana, can agree until 2030-01-02", Urgent},
		{"stuck", Leak{State: StateStuck, Stuck: "Do this."}, "a person must act", "Do this.", Urgent},
		{"nobody knows", Leak{Finding: checks.Finding{Validity: checks.Unknown}}, "validity unknown", "counts as stolen", Urgent},
		{"revoked", Leak{Finding: checks.Finding{Validity: checks.Active}, State: StateContained}, "proof pending", "Nothing to press", Pending},
		{"dead, in the file", Leak{State: StateProvedDead, InTip: true}, "dead", "cannot be used any more", Pending},
		{"dead, something left", Leak{State: StateProvedDead, Stuck: "Destroy the version."}, "dead", "Still to do: Destroy the version.", Settled},
		{"dead", Leak{State: StateResolved, Resolution: resolvedRotated}, "Rotated, dead", "Nothing to do.", Settled},
		{"allowed", Leak{Finding: checks.Finding{Validity: checks.Unknown}, Conclusion: Success, Why: "docs are docs"}, "allowed", "docs are docs", Settled},
		{"never live", Leak{Finding: checks.Finding{Validity: checks.Inactive}}, "not live", "Nothing to do.", Settled},
	} {
		got := Advise(test.leak)
		if !strings.Contains(got.Title, test.title) || !strings.Contains(got.Next, test.next) || got.Tone != test.tone {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
}

func TestOffers(t *testing.T) {
	l := Leak{Finding: checks.Finding{Validity: checks.Active}, Actionable: true, CanRotate: true, CanRevoke: true}
	l.Asked = []Request{{Verb: verbRotate, By: "dana"}}
	s := Scan{Leaks: []Leak{l}, Coverage: []checks.Coverage{{Tip: "aa"}}}
	var got []string
	for _, b := range s.Offers(l) {
		got = append(got, b.Identifier)
	}
	if strings.Join(got, " ") != "confirm_rotate revoke" {
		t.Errorf("offers %v", got)
	}
	if offers := s.Offers(Leak{State: StateResolved, Resolution: resolvedRevoked}); len(offers) > 0 {
		t.Errorf("offers %v for what is dead", offers)
	}
}
