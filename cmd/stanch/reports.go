package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/stanch-dev/stanch/checks/report"
)

// A reportFile is a value of --report.
type reportFile struct{ format, path string }

// listOf collects the values of a flag that may be repeated.
func listOf(list *[]string) func(string) error {
	return func(value string) error {
		if value == "" {
			return errors.New("it is empty")
		}
		*list = append(*list, value)
		return nil
	}
}

// addReport takes a value of --report.
func (o *scanOptions) addReport(value string) error {
	format, path, found := strings.Cut(value, "=")
	if !found || format == "" || path == "" {
		return errors.New("write FORMAT=FILE, such as sarif=stanch.sarif")
	}
	o.reports = append(o.reports, reportFile{format, path})
	return nil
}

// checkReports refuses reports that could not be written, before the time of a scan
// is spent on them.
func (o *scanOptions) checkReports() error {
	if o.color != "" && !slices.Contains([]string{"auto", "always", "never"}, o.color) {
		return fmt.Errorf("--color is %q: it must be auto, always or never", o.color)
	}
	if o.format != "" {
		if err := checkFormat("--format", o.format); err != nil {
			return err
		}
	}
	if o.output != "" {
		if err := checkTarget("--output", o.output); err != nil {
			return err
		}
	}
	taken := []string{filepath.Clean(o.output)}
	for _, r := range o.reports {
		if err := errors.Join(checkFormat("--report", r.format), checkTarget("--report", r.path)); err != nil {
			return err
		}
		if slices.Contains(taken, filepath.Clean(r.path)) {
			return fmt.Errorf("two reports would be written to %s: name another file for one of them", r.path)
		}
		taken = append(taken, filepath.Clean(r.path))
	}
	return nil
}

func checkFormat(name, format string) error {
	if all := report.Formats(); !slices.Contains(all, format) {
		return fmt.Errorf("%s is %q: it must be one of %s", name, format, strings.Join(all, ", "))
	}
	return nil
}

// checkTarget refuses files that could not be made.
func checkTarget(name, path string) error {
	if path == "-" {
		return fmt.Errorf("%s - is no file: without --output the findings go to standard output", name)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s %s is a folder: name a file in it", name, path)
	}
	folder := filepath.Dir(path)
	info, err := os.Stat(folder)
	switch {
	case err != nil:
		return fmt.Errorf("%s %s: the folder %s is not there: make it first", name, path, folder)
	case !info.IsDir():
		return fmt.Errorf("%s %s: %s is no folder", name, path, folder)
	}
	return nil
}

// report writes the findings to standard output or to the file asked for, and to
// the other files.
func (env *environment) report(o scanOptions, s scanned, ses *session) error {
	if o.output != "" {
		if err := writeFile(o.output, func(w io.Writer) error { return ses.render(w, o.format, s) }); err != nil {
			return err
		}
	} else if err := report.Write(env.stdout, o.format, s.findings, ses.run(s), env.colour(o.color)); err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	for _, r := range o.reports {
		if err := writeFile(r.path, func(w io.Writer) error { return ses.render(w, r.format, s) }); err != nil {
			return err
		}
	}
	return nil
}

// run is what a report says beside the findings.
func (s *session) run(found scanned) report.Run {
	return report.Run{Version: version(), Rules: s.catalogue, Problems: found.problems}
}

// colour says whether to colour standard output: when asked to, or when it is a
// terminal whose owner wants colours (https://no-color.org).
func (env *environment) colour(when string) bool {
	if when == "always" || when == "never" {
		return when == "always"
	}
	f, ok := env.stdout.(*os.File)
	return ok && env.getenv("NO_COLOR") == "" && env.getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
