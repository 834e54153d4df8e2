package incident

import (
	"fmt"
	"slices"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// The resolutions that a person says and no proof stands behind, besides
// ResolutionFalsePositive; GitHub's words.
const (
	ResolutionUsedInTests Resolution = "used_in_tests"
	ResolutionWontFix     Resolution = "wont_fix"
)

// Resolutions are those that a person can say.
func Resolutions() []Resolution {
	return []Resolution{ResolutionFalsePositive, ResolutionUsedInTests, ResolutionWontFix, ResolutionRevoked}
}

// Dismissed reports whether the incident ended on somebody's word that nothing has to be
// done about the credential.
func (i *Incident) Dismissed() bool {
	return slices.Contains([]Resolution{ResolutionFalsePositive, ResolutionUsedInTests, ResolutionWontFix}, i.Resolution)
}

// Resolve ends the incident on a person's word. What the provider takes is not ended
// like that, whatever is said of it; but that it was revoked is believed where nobody could
// prove it.
func (i *Incident) Resolve(as Resolution, provable bool, at time.Time) error {
	switch {
	case !slices.Contains(Resolutions(), as):
		return fmt.Errorf("%q is no resolution", as)
	case i.State() == Resolved:
		return fmt.Errorf("incident %s is already resolved as %s", i.ID, i.Resolution)
	case as == ResolutionRevoked && (!i.Dead.IsZero() || !provable):
	case i.Validity == checks.Active:
		return fmt.Errorf("incident %s: the provider says that this credential is live; revoke or rotate it instead", i.ID)
	}
	i.Resolved, i.Resolution, i.Stuck = at, as, ""
	return nil
}
