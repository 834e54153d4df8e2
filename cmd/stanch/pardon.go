package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

// maxIgnores is the size of the biggest list of ignored findings that is read.
const maxIgnores = 8 << 20

// ignoreLists reads the lists of ignored findings that --ignore names. What of them
// has no effect as it is meant is told.
func (env *environment) ignoreLists(paths []string, catalogue []*rules.Rule) ([]*checks.Ignores, error) {
	known := func(id string) bool {
		return slices.ContainsFunc(catalogue, func(r *rules.Rule) bool { return r.ID == id })
	}
	var lists []*checks.Ignores
	for _, path := range paths {
		data, err := readSmall(path, maxIgnores)
		if err != nil {
			return nil, fmt.Errorf("--ignore: %w", err)
		}
		list, warnings := checks.ParseIgnores(data, known)
		for _, w := range warnings {
			fmt.Fprintf(env.stderr, "stanch: %s:%d: %s\n", report.Printable(path), w.Line, report.Printable(w.Text))
		}
		lists = append(lists, list)
	}
	return lists, nil
}

// readSmall reads a file of the user's that is to be kept in memory.
func readSmall(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, errors.New(unread(path, err))
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder: name a file", path)
	case info.Size() > most:
		return nil, fmt.Errorf("%s has %d MB: %d are read at most", path, info.Size()>>20, most>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.New(unread(path, err))
	}
	return data, nil
}

// pardon takes out what a marker on its line says is no leak, and what a list of
// ignored findings has. What is live is one, whatever they say.
func (s *scanned) pardon(lists []*checks.Ignores) {
	s.findings = slices.DeleteFunc(s.findings, func(f checks.Finding) bool {
		switch {
		case isLive(f):
			return false
		case f.Marker != "":
			s.marked++
			return true
		}
		listed := slices.ContainsFunc(lists, func(l *checks.Ignores) bool { return l.Ignore(&f) })
		if listed {
			s.ignored++
		}
		return listed
	})
}

// spared says how many more findings there are that are not reported, and why.
func (s *scanned) spared() (text string) {
	for _, n := range []struct {
		count int
		why   string
	}{{s.marked, "allowed by their lines"}, {s.ignored, "ignored"}, {s.known, "in the baseline"}} {
		if n.count > 0 {
			text += fmt.Sprintf(", %d more %s", n.count, n.why)
		}
	}
	return text
}
