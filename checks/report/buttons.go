package report

import "slices"

// The identifiers of the buttons, as they come back from GitHub.
const (
	ButtonRotate        = "rotate"
	ButtonRevoke        = "revoke"
	ButtonNotASecret    = "not_a_secret"
	ButtonBypass        = "bypass"
	ButtonConfirmRotate = "confirm_rotate"
	ButtonConfirmRevoke = "confirm_revoke"
	ButtonApproveBypass = "approve_bypass"
)

// allButtons are in the order of their weight: where more would apply than GitHub
// shows, the first win, and commands do the rest. In public none is there because a
// credential is not live.
var allButtons = []struct {
	Button
	shown func(Scan, Leak) bool // whether it would do something about a leak
}{
	{Button{"Confirm rotation", "Agree: replace it, then kill this one", ButtonConfirmRotate},
		func(_ Scan, l Leak) bool { return l.Actionable && l.CanRotate && l.asked(verbRotate) != nil }},
	{Button{"Confirm revocation", "Agree: kill it, without a replacement", ButtonConfirmRevoke},
		func(_ Scan, l Leak) bool { return l.Actionable && l.CanRevoke && l.asked(verbRevoke) != nil }},
	{Button{"Approve bypass", "Agree that the check may pass for now", ButtonApproveBypass},
		func(_ Scan, l Leak) bool { return l.CanBypass && l.asked(verbBypass) != nil }},
	{Button{"Rotate now", "Replace it in its store, kill this one", ButtonRotate},
		func(_ Scan, l Leak) bool { return l.Actionable && l.CanRotate && l.asked(verbRotate) == nil }},
	{Button{"Revoke now", "Kill it now, without a replacement", ButtonRevoke},
		func(_ Scan, l Leak) bool { return l.Actionable && l.CanRevoke && l.asked(verbRevoke) == nil }},
	{Button{"Not a secret", "Dismiss what is not known to be live", ButtonNotASecret},
		func(_ Scan, l Leak) bool { return l.dismissable() }},
	{Button{"Ask for bypass", "Somebody else must then agree to it", ButtonBypass},
		Scan.offersBypass},
}

// buttons are the first three that would do something.
func (s Scan) buttons() []Button {
	var buttons []Button
	for _, b := range allButtons {
		shown := slices.ContainsFunc(s.Leaks, func(l Leak) bool { return b.shown(s, l) })
		if shown && len(buttons) < MaxButtons {
			buttons = append(buttons, b.Button)
		}
	}
	return buttons
}

// offersBypass says that the button is worth its place: what is dead waits for an
// edit of the file, which is no more work than asking.
func (s Scan) offersBypass(l Leak) bool {
	return !s.Public && s.bypassable() && l.bypassable() && l.phase() < exposed && l.asked(verbBypass) == nil
}

// bypassable says that a bypass would change what the leak does to the check.
func (l Leak) bypassable() bool { return l.CanBypass && !l.phase().passes() }

// bypassable says that bypasses would let the check pass. What was not scanned, and
// what is live, is not passed by.
func (s Scan) bypassable() bool {
	return s.complete() && !slices.ContainsFunc(s.Leaks, func(l Leak) bool { return !l.phase().passes() && !l.CanBypass })
}
