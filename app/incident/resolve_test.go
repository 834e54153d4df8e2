package incident

import (
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

func TestResolve(t *testing.T) {
	at := time.Unix(5, 0)
	for _, as := range Resolutions() {
		i := Incident{Validity: checks.Unknown, Stuck: "look"}
		if err := i.Resolve(as, true, at); err != nil || i.State() != Resolved || i.Resolution != as || i.Stuck != "" {
			t.Errorf("%s: %v, %+v", as, err, i)
		}
		if i.Dismissed() != (as != ResolutionRevoked) {
			t.Errorf("%s: dismissed is %t", as, i.Dismissed())
		}
		if err := i.Resolve(as, true, at); err == nil {
			t.Errorf("%s twice: no error", as)
		}
		live := Incident{Validity: checks.Active}
		if err := live.Resolve(as, true, at); err == nil || live.State() != Open {
			t.Errorf("a live one was resolved as %s: %v", as, err)
		}
		mute := Incident{Validity: checks.Active}
		if err := mute.Resolve(as, false, at); (err == nil) != (as == ResolutionRevoked) {
			t.Errorf("one that nobody can prove dead as %s: %v", as, err)
		}
		dead := Incident{Validity: checks.Active, Contained: at, Dead: at}
		if err := dead.Resolve(as, true, at); (err == nil) != (as == ResolutionRevoked) {
			t.Errorf("a dead one as %s: %v", as, err)
		}
	}
	for _, as := range []Resolution{"", ResolutionRotated, "whatever"} {
		if err := new(Incident).Resolve(as, true, at); err == nil {
			t.Errorf("resolved as %q", as)
		}
	}
}
