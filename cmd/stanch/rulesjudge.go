package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

func (env *environment) rulesLint(args []string) int {
	rest, err := env.parseFlags(flag.NewFlagSet("rules lint", flag.ContinueOnError), "Usage: stanch rules lint PATH…\n", args)
	switch {
	case err != nil:
		return env.exit(err)
	case len(rest) == 0:
		return env.fail(errors.New("rules lint takes rule files and folders: name at least one"))
	}
	files, err := ruleFiles(rest)
	if err != nil {
		return env.fail(err)
	}
	faults := 0
	for _, path := range files {
		for _, fault := range lintFile(path) {
			fmt.Fprintln(env.stdout, report.Printable(fault.Error()))
			faults++
		}
	}
	return env.concludeRules(report.Count(len(files), "file"), faults)
}

// lintFile says what is wrong with one rule file.
func lintFile(path string) (faults []error) {
	if !isYAML(path) {
		return lintTOML(path)
	}
	providers, lines, err := loadRules(path)
	if err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			faults = append(faults, errors.New(line))
		}
		return faults
	}
	for _, p := range providers {
		for _, fault := range rules.Lint(p) {
			fault.File, fault.Line = path, lines[fault.Rule]
			faults = append(faults, fault)
		}
	}
	if len(faults) == 0 {
		// What a scan would say.
		if _, err := checks.New(rules.Flatten(providers)...); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", path, err))
		}
	}
	return faults
}

// lintTOML says what of a gitleaks file is not applied as it was meant.
func lintTOML(path string) (faults []error) {
	all, warnings, err := withOwnRules([]string{path})
	if err != nil {
		return []error{err}
	}
	for _, w := range warnings {
		faults = append(faults, errors.New(w.String()))
	}
	if _, err := checks.New(all...); err != nil {
		faults = append(faults, fmt.Errorf("%s: %w", path, err))
	}
	return faults
}

// concludeRules tells how many faults there were and returns the status.
func (env *environment) concludeRules(what string, faults int) int {
	fmt.Fprintf(env.stderr, "%s: %s\n", what, report.Count(faults, "fault"))
	if faults > 0 {
		return exitFound
	}
	return exitDone
}

func (env *environment) rulesTest(args []string) int {
	paths, err := env.parseFlags(flag.NewFlagSet("rules test", flag.ContinueOnError), "Usage: stanch rules test [PATH…]\n", args)
	if err != nil {
		return env.exit(err)
	}
	if i := slices.IndexFunc(paths, func(p string) bool { return filepath.Ext(p) == ".toml" }); i >= 0 {
		return env.fail(fmt.Errorf("%s holds no examples, as none of gitleaks’ files does: judge it with “stanch rules lint”", paths[i]))
	}
	all, _, err := withOwnRules(paths)
	if err != nil {
		return env.fail(err)
	}
	scanner, err := checks.New(anywhereFound(all)...)
	if err != nil {
		return env.fail(err)
	}
	tested, faults := 0, 0
	random := rand.NewChaCha8([32]byte{1}) // a rule that is good today is good tomorrow
	for _, r := range all {
		if len(paths) > 0 && r.Builtin() {
			continue
		}
		tested++
		for _, fault := range testRule(scanner, r, random) {
			fmt.Fprintf(env.stdout, "%s: %s\n", r.ID, fault)
			faults++
		}
	}
	return env.concludeRules(report.Count(tested, "rule"), faults)
}

// anywhereFound returns the rules without the paths that they are for: an example
// has none.
func anywhereFound(all []*rules.Rule) []*rules.Rule {
	free := slices.Clone(all)
	for i, r := range all {
		if r.Detect.Path != "" && detection(&r.Detect) != "path" {
			c := *r
			c.Detect.Path = ""
			free[i] = &c
		}
	}
	return free
}

// testRule scans a rule's examples and counterexamples with all rules.
func testRule(scanner *checks.Scanner, r *rules.Rule, random io.Reader) (faults []string) {
	if len(r.Examples) == 0 {
		faults = append(faults, "there is no example: nothing proves that the rule finds anything")
	}
	for i, text := range r.Examples {
		expanded, _, err := r.Expand(text, random)
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		found, err := scanner.Examine("example", []byte(expanded))
		if fault := judgeExample(r.ID, found, err); fault != "" {
			faults = append(faults, fmt.Sprintf("example %d: %s", i+1, fault))
		}
	}
	for i, text := range r.Counterexamples {
		expanded, _, err := r.Expand(text, random)
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		found, err := scanner.Examine("counterexample", []byte(expanded))
		if err != nil {
			faults = append(faults, fmt.Sprintf("counterexample %d: %v", i+1, err))
		}
		for _, f := range found {
			faults = append(faults, fmt.Sprintf("counterexample %d: rule %s finds something", i+1, f.Rule.ID))
		}
	}
	return faults
}

// judgeExample says what is wrong with the findings in a rule's example.
func judgeExample(id string, found []checks.Finding, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case len(found) == 0:
		return "nothing is found"
	}
	for _, f := range found {
		if f.Rule.ID != id {
			return "rule " + f.Rule.ID + " finds something too"
		}
	}
	return ""
}
