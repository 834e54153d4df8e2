package incident

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// TestPlansNeverLoseTheOnlyWorkingCredential holds the order of every plan to
// the laws: proof after deed, and no old one dead before the new one is verified
// unless the order says so.
func TestPlansNeverLoseTheOnlyWorkingCredential(t *testing.T) {
	before := func(plan []Step, a, b Step) bool { return slices.Index(plan, a) < slices.Index(plan, b) }
	for _, order := range []Order{ReplaceFirst, RevokeFirst, Overlap} {
		for _, reversible := range []bool{false, true} {
			plan := Remedy{Rotate, order, reversible}.Plan(nil)
			kill := RevokeOld
			if reversible {
				kill = DisableOld
				if !before(plan, ProveDead, Hold) || !before(plan, Hold, RevokeOld) {
					t.Errorf("%s: plan %v deletes before the proof and the hold", order, plan)
				}
			}
			if !before(plan, Issue, Put) || !before(plan, Put, VerifyNew) || !before(plan, kill, ProveDead) {
				t.Errorf("%s: plan %v is out of order", order, plan)
			}
			if !before(plan, ProveDead, Retire) || !before(plan, VerifyNew, Retire) || !before(plan, RevokeOld, Retire) {
				t.Errorf("%s: plan %v destroys the stored value before the proof", order, plan)
			}
			if got := before(plan, VerifyNew, kill); got != (order != RevokeFirst) {
				t.Errorf("%s: verify_new before %s = %v", order, kill, got)
			}
			if slices.Contains(plan, Confirm) && !before(plan, Confirm, kill) || slices.Contains(plan, Confirm) != (order == Overlap) {
				t.Errorf("%s: plan %v does not wait for those who use it", order, plan)
			}
		}
	}
}

// Where data is encrypted with the leaked one, a person says when it may end, whatever was
// done before; and a newer version is never taken away.
func TestRewrapPlans(t *testing.T) {
	for done, want := range map[string][]Step{
		"":           {Issue, VerifyNew, Confirm, DisableOld, ProveDead, Hold, RevokeOld},
		"revoke":     {DisableOld, ProveDead, Hold, RevokeOld},
		"undo":       {EnableOld, VerifyOld},
		"revoke now": {DisableOld, ProveDead, Hold, RevokeOld},
	} {
		r, steps := Remedy{Rotate, Rewrap, true}, []Step(nil)
		switch done {
		case "revoke":
			r.Verb = Revoke
		case "revoke now":
			r.Verb, steps = Revoke, []Step{Issue, VerifyNew}
		case "undo":
			r.Verb, steps = Undo, []Step{Issue, VerifyNew, Confirm, DisableOld, ProveDead}
		}
		if got := r.Plan(steps); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", done, got, want)
		}
	}
	if !Rewrap.Confirmed() || !Overlap.Confirmed() || ReplaceFirst.Confirmed() || RevokeFirst.Confirmed() {
		t.Error("it is not the overlapping orders that wait")
	}
}

func TestIncidentLife(t *testing.T) {
	clock := time.Unix(1000, 0)
	tests := []struct {
		name   string
		remedy Remedy
		want   []State // after each step of the plan
		end    Resolution
	}{
		{"replace first", Remedy{Rotate, ReplaceFirst, false}, []State{Open, Open, Open, Rotated, ProvedDead, Resolved}, ResolutionRotated},
		{"revoke first", Remedy{Rotate, RevokeFirst, false}, []State{Contained, ProvedDead, ProvedDead, ProvedDead, ProvedDead, Resolved}, ResolutionRotated},
		{"revoke only", Remedy{Revoke, ReplaceFirst, false}, []State{Contained, Resolved}, ResolutionRevoked},
		{"replace first, held", Remedy{Rotate, ReplaceFirst, true}, []State{Open, Open, Open, Rotated, ProvedDead, ProvedDead, ProvedDead, Resolved}, ResolutionRotated},
		{"revoke first, held", Remedy{Rotate, RevokeFirst, true}, []State{Contained, ProvedDead, ProvedDead, ProvedDead, ProvedDead, ProvedDead, ProvedDead, Resolved}, ResolutionRotated},
		{"revoke only, held", Remedy{Revoke, ReplaceFirst, true}, []State{Contained, ProvedDead, ProvedDead, Resolved}, ResolutionRevoked},
		{"rewrap", Remedy{Rotate, Rewrap, true}, []State{Open, Open, Open, Rotated, ProvedDead, ProvedDead, Resolved}, ResolutionRotated},
		{"overlap", Remedy{Rotate, Overlap, false}, []State{Open, Open, Open, Open, Rotated, ProvedDead, Resolved}, ResolutionRotated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := Incident{ID: "i", Stuck: "press the button"}
			plan := tt.remedy.Plan(nil)
			for n, step := range plan {
				clock = clock.Add(time.Second)
				if err := i.Done(plan, plan[:n], step, clock); err != nil {
					t.Fatal(err)
				}
				if i.State() != tt.want[n] || i.Stuck != "" {
					t.Fatalf("after %s: state %s, stuck %q; want %s and not stuck", step, i.State(), i.Stuck, tt.want[n])
				}
			}
			if i.Resolution != tt.end || i.Contained.IsZero() || i.Dead.IsZero() {
				t.Errorf("ended as %+v, want %s, contained and dead", i, tt.end)
			}
		})
	}
}

func TestStepsOutOfOrderAreRefused(t *testing.T) {
	plan := Remedy{Verb: Rotate, Order: ReplaceFirst}.Plan(nil)
	for n := range plan {
		for _, step := range plan[n+1:] {
			i := Incident{}
			if err := i.Done(plan, plan[:n], step, time.Now()); !errors.Is(err, ErrOutOfOrder) || i.State() != Open {
				t.Errorf("%s after %v: error %v, state %s; want it refused", step, plan[:n], err, i.State())
			}
		}
	}
	if err := MayRun(Remedy{Verb: Revoke, Order: ReplaceFirst}.Plan(nil), nil, Issue); !errors.Is(err, ErrOutOfOrder) {
		t.Errorf("issue in a plan without it: %v", err)
	}
}

// TestAbandonedRotations changes its mind after each step of a rotation.
func TestAbandonedRotations(t *testing.T) {
	for _, order := range []Order{ReplaceFirst, RevokeFirst} {
		rotation := Remedy{Verb: Rotate, Order: order}.Plan(nil)
		for n := range rotation {
			i, done := Incident{}, slices.Clone(rotation[:n])
			plan := Remedy{Verb: Revoke, Order: order}.Plan(done)
			orphan := slices.Contains(done, Issue) && !slices.Contains(done, Put)
			if slices.Contains(plan, Discard) != orphan {
				t.Errorf("after %v the plan is %v", done, plan)
			}
			for _, step := range plan {
				if slices.Contains(done, step) {
					continue
				}
				if err := i.Done(plan, done, step, time.Unix(9, 0)); err != nil {
					t.Fatal(err)
				}
				done = append(done, step)
			}
			if !i.ResolveIfDone(plan, done, time.Unix(9, 0)) || i.State() != Resolved {
				t.Errorf("%s, revoked after %v: not resolved", order, rotation[:n])
			}
			if want := slices.Contains(rotation[:n], VerifyNew); (i.Resolution == ResolutionRotated) != want {
				t.Errorf("%s, revoked after %v: resolved as %s", order, rotation[:n], i.Resolution)
			}
		}
	}
}

func TestFoundDeadAndReopened(t *testing.T) {
	i := Incident{Validity: checks.Unknown, Stuck: "do something"}
	if i.FoundDead(time.Unix(7, 0)); i.State() != Open || i.Validity != checks.Inactive || i.Stuck != "" {
		t.Errorf("never live, found dead: %+v", i)
	}
	i = Incident{Validity: checks.Active, Stuck: "do something"}
	if i.FoundDead(time.Unix(7, 0)); i.State() != Resolved || i.Resolution != ResolutionRevoked || i.Dead.IsZero() {
		t.Errorf("live, then found dead: %+v", i)
	}
	if i.Reopen(); i.State() != Open || i.Resolution != Unresolved || !i.Dead.IsZero() {
		t.Errorf("reopened: %+v", i)
	}
}

func TestDismiss(t *testing.T) {
	now := time.Unix(5, 0)
	for _, v := range []checks.Validity{checks.Unverified, checks.Unknown, checks.Inactive} {
		i := Incident{Validity: v}
		if err := i.Dismiss(now); err != nil || i.Resolution != ResolutionFalsePositive {
			t.Errorf("dismissing %q: %v, %s", v, err, i.Resolution)
		}
		if err := i.Dismiss(now); err == nil {
			t.Errorf("dismissing %q twice: no error", v)
		}
	}
	i := Incident{Validity: checks.Active}
	if err := i.Dismiss(now); err == nil || i.State() != Open {
		t.Errorf("a live credential was dismissed: %v, %s", err, i.State())
	}
}

// TestUndo takes back a rotation after each step that allows it.
func TestUndo(t *testing.T) {
	for _, remedy := range []Remedy{{Rotate, ReplaceFirst, true}, {Rotate, RevokeFirst, true}, {Revoke, ReplaceFirst, true}} {
		plan := remedy.Plan(nil)
		for n := range plan {
			i, done := Incident{Validity: checks.Active}, []Step(nil)
			for _, step := range plan[:n] {
				if err := i.Done(plan, done, step, time.Unix(5, 0)); err != nil {
					t.Fatal(err)
				}
				done = append(done, step)
			}
			if !Undoable(done) {
				if slices.Contains(done, DisableOld) && !slices.Contains(done, RevokeOld) {
					t.Errorf("after %v it cannot be undone", done)
				}
				continue
			}
			back := Remedy{Verb: Undo}.Plan(done)
			if slices.Contains(back, Restore) != slices.Contains(done, Put) || slices.Contains(back, Discard) != slices.Contains(done, Issue) {
				t.Errorf("after %v the plan is %v", done, back)
			}
			for m, step := range back {
				if step == Discard && !slices.Contains(back[:m], VerifyOld) {
					t.Errorf("%v: the new one goes before the old one works", back)
				}
				if err := i.Done(back, done, step, time.Unix(9, 0)); err != nil {
					t.Fatal(err)
				}
				done = append(done, step)
			}
			if i.State() != Open || !i.Dead.IsZero() || !i.Contained.IsZero() {
				t.Errorf("undone after %v: %s, dead %v", plan[:n], i.State(), i.Dead)
			}
		}
	}
}
