package report

import (
	"fmt"
	"time"
)

// An Advice is where a leak stands and what a person does next, as plain text for
// pages that only those see who may know everything.
type Advice struct {
	Title string
	Next  string
	Tone  Tone
}

// A Tone is how urgent something is.
type Tone string

// The tones.
const (
	Urgent  Tone = "urgent"  // somebody must act, or a thief can
	Pending Tone = "pending" // something is under way, or left to do
	Settled Tone = "settled" // nothing to do
)

// Advise says where a leak stands.
func Advise(l Leak) Advice {
	l = Scan{Leaks: []Leak{l}}.masked().Leaks[0]
	p, one := l.phase(), []Leak{l}
	a := Advice{Title: leakTitle(p, one), Tone: tone(p)}
	switch {
	case len(l.Asked) > 0 && !p.passes():
		a.Next = l.Asked[0].advice()
	case p == stuck && l.Stuck != "":
		a.Next = l.Stuck
	case p == stuck:
		a.Next = "A person must act; the log of Stanch says why."
	case p == live && l.Actionable:
		a.Next = "A button on the page of the incident replaces it, or kills it. Then take it out of the file in a new commit."
	case p == excused:
		a.Next = "Nothing to do: " + l.Why + "."
	case p.proved() && l.Stuck != "":
		a.Next = "It cannot be used any more. Still to do: " + l.Stuck
	default:
		a.Next = nextStep(p, one)
	}
	return a
}

// advice says what a second person does.
func (r Request) advice() string {
	reason := ""
	if r.Reason != "" {
		reason = ": “" + r.Reason + "”"
	}
	return fmt.Sprintf("%s asked for %s%s. A second person with the permission, who is not %[1]s, can agree until %[4]s.",
		r.By, deed(r.Verb), reason, r.Until.UTC().Format(time.DateOnly))
}

// proved says that what is in this phase is dead.
func (p phase) proved() bool { return p == exposed || p == gone }

func tone(p phase) Tone {
	switch {
	case p == live || p == stuck || p == unverified:
		return Urgent
	case !p.passes() || p == bypassed:
		return Pending
	}
	return Settled
}

// Offers are all buttons that would do something about one of the scan's leaks.
func (s Scan) Offers(l Leak) []Button {
	var offers []Button
	for _, b := range allButtons {
		if b.shown(s, l) {
			offers = append(offers, b.Button)
		}
	}
	return offers
}
