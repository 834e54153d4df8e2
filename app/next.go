package app

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// chances are what a person can do about an incident now, the best of them first.
func (a *App) chances(i store.Incident, p Policy, done []incident.Step) []string {
	can := []string{}
	if i.State() == incident.Resolved {
		return can
	}
	if a.actionable(i, p) {
		if a.providers.Can(i.Rule).Issue {
			can = append(can, string(incident.Rotate))
		}
		can = append(can, string(incident.Revoke))
	}
	if i.Verb == "" {
		can = append(can, "resolve")
	}
	if incident.Undoable(done) && i.Verb != incident.Undo {
		can = append(can, string(incident.Undo))
	}
	if !i.Held.IsZero() {
		can = append(can, "end-hold")
	}
	if i.Order.Confirmed() && slices.Contains(done, incident.VerifyNew) && !slices.Contains(done, incident.Confirm) {
		can = append(can, "confirm")
	}
	return can
}

// next says what comes next, with the command where a person decides.
func (a *App) next(i store.Incident, can []string, asked []RequestMade) string {
	approve := ""
	if len(can) > 0 && (can[0] == string(incident.Rotate) || can[0] == string(incident.Revoke)) {
		approve = fmt.Sprintf("“stanch incidents plan %s %s” shows what would be done, and “stanch incidents approve %[1]s %[2]s” has it done.", i.ID, can[0])
	}
	waiting := slices.IndexFunc(asked, func(r RequestMade) bool { return r.Granted == nil && r.Ended == nil && r.Verb != verbBypass })
	switch {
	case i.State() == incident.Resolved:
		if left := leftOf(i); left != "" {
			return "This one is over, but the same password is in use: " + left + "."
		}
		return "Nothing."
	case !i.Held.IsZero():
		return fmt.Sprintf("Nothing: it is disabled and proved dead, and is deleted after %s. Until then “stanch incidents undo %s” brings it back.", i.Held.UTC().Format("2006-01-02 15:04:05 MST"), i.ID)
	case i.Verb != "" && i.Stuck != "":
		return i.Stuck
	case i.Verb != "":
		return "Nothing: it is under way."
	case waiting >= 0:
		return fmt.Sprintf("A second person must agree to what %s asked for: %s.", asked[waiting].Asker, asked[waiting].Verb)
	case i.Stuck != "":
		return strings.TrimSpace(i.Stuck + " " + buttonsHere(i.ID, can))
	case i.Validity == checks.Inactive:
		return "Nothing: its provider refuses it."
	case approve != "":
		return "Decide: " + approve
	}
	return a.byHandOnly(i.Rule)
}

// buttonsHere says what the buttons, of which what waits for a person speaks, are on the
// command line.
func buttonsHere(id string, can []string) string {
	var texts []string
	for _, b := range [][2]string{{string(incident.Rotate), "Rotate now"}, {string(incident.Revoke), "Revoke now"}} {
		if slices.Contains(can, b[0]) {
			texts = append(texts, fmt.Sprintf("“%s” is “stanch incidents approve %s %s” here.", b[1], id, b[0]))
		}
	}
	return strings.Join(texts, " ")
}

// byHandOnly says what a person does about what no program does anything about.
func (a *App) byHandOnly(rule string) string {
	why := cmp.Or(a.providers.Can(rule).Reason, "the policy lets nothing be done about it")
	if known := a.rules[rule]; known != nil && known.Runbook != "" {
		return fmt.Sprintf("A person does it (%s): %s", why, strings.Join(strings.Fields(known.Runbook), " "))
	}
	return fmt.Sprintf("A person does it (%s).", why)
}
