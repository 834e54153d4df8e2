package main

import (
	"fmt"
	"io"
	"runtime/debug"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

// A session is what a scan needs besides its source: the rules, and the scanner
// made of them.
type session struct {
	catalogue []*rules.Rule
	scanner   *checks.Scanner
}

// startGCPercent is how much the heap grows before garbage is collected while the
// program starts: from nothing to the 20 MB or so that the rules take.
const startGCPercent = 1000

// newSession makes a scanner of the catalogue and of the user's own rule files.
func (env *environment) newSession(files []string) (*session, error) {
	// Almost all that is made here stays, so that looking for garbage is in vain.
	defer debug.SetGCPercent(debug.SetGCPercent(startGCPercent))
	catalogue, warnings, err := withOwnRules(files)
	if err != nil {
		return nil, err
	}
	for _, w := range grouped(warnings) {
		fmt.Fprintf(env.stderr, "stanch: %s\n", report.Printable(w))
	}
	key, err := env.fingerprintKey()
	if err != nil {
		return nil, err
	}
	scanner, err := checks.NewScanner(catalogue, key)
	if err != nil {
		return nil, err
	}
	return &session{catalogue, scanner}, nil
}

// hide takes credentials out of a text. Before there is a scanner nothing has been
// read that could hold one.
func (s *session) hide(text string) string {
	if s == nil {
		return text
	}
	return s.scanner.Hide(text)
}

// render writes findings in a format of stanch scan.
func (s *session) render(w io.Writer, format string, found scanned) error {
	return report.Write(w, format, found.findings, s.run(found), false)
}
