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
	for _, order := range []Order{ReplaceFirst, RevokeFirst} {
		plan := Plan(Rotate, order, nil)
		if !before(plan, Issue, Put) || !before(plan, Put, VerifyNew) || !before(plan, RevokeOld, ProveDead) {
			t.Errorf("%s: plan %v is out of order", order, plan)
		}
		if !before(plan, ProveDead, Retire) || !before(plan, VerifyNew, Retire) {
			t.Errorf("%s: plan %v destroys the stored value before the proof", order, plan)
		}
		if got := before(plan, VerifyNew, RevokeOld); got != (order == ReplaceFirst) {
			t.Errorf("%s: verify_new before revoke_old = %v", order, got)
		}
	}
}

func TestIncidentLife(t *testing.T) {
	clock := time.Unix(1000, 0)
	tests := []struct {
		name  string
		verb  Verb
		order Order
		want  []State // after each step of the plan
		end   Resolution
	}{
		{"replace first", Rotate, ReplaceFirst, []State{Open, Open, Open, Rotated, ProvedDead, Resolved}, ResolutionRotated},
		{"revoke first", Rotate, RevokeFirst, []State{Contained, ProvedDead, ProvedDead, ProvedDead, ProvedDead, Resolved}, ResolutionRotated},
		{"revoke only", Revoke, ReplaceFirst, []State{Contained, Resolved}, ResolutionRevoked},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := Incident{ID: "i", Stuck: "press the button"}
			plan := Plan(tt.verb, tt.order, nil)
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
	plan := Plan(Rotate, ReplaceFirst, nil)
	for n := range plan {
		for _, step := range plan[n+1:] {
			i := Incident{}
			if err := i.Done(plan, plan[:n], step, time.Now()); !errors.Is(err, ErrOutOfOrder) || i.State() != Open {
				t.Errorf("%s after %v: error %v, state %s; want it refused", step, plan[:n], err, i.State())
			}
		}
	}
	if err := MayRun(Plan(Revoke, ReplaceFirst, nil), nil, Issue); !errors.Is(err, ErrOutOfOrder) {
		t.Errorf("issue in a plan without it: %v", err)
	}
}

// TestAbandonedRotations changes its mind after each step of a rotation.
func TestAbandonedRotations(t *testing.T) {
	for _, order := range []Order{ReplaceFirst, RevokeFirst} {
		rotation := Plan(Rotate, order, nil)
		for n := range rotation {
			i, done := Incident{}, slices.Clone(rotation[:n])
			plan := Plan(Revoke, order, done)
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
