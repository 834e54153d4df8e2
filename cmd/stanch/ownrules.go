package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stanch-dev/stanch/rules"
	"github.com/stanch-dev/stanch/rules/gitleaks"
)

// withOwnRules returns the rules to scan with, sorted by id: the catalogue and the
// rules in the user's files and folders. A gitleaks file says itself whether the
// catalogue is meant (useDefault), so with nothing but such files it is not added.
func withOwnRules(paths []string) (all []*rules.Rule, warnings []gitleaks.Warning, err error) {
	catalogue, err := rules.Catalogue()
	if err != nil || len(paths) == 0 {
		return catalogue, nil, err
	}
	files, err := ruleFiles(paths)
	if err != nil {
		return nil, nil, err
	}
	set := ruleSet{where: map[string]string{}}
	if slices.ContainsFunc(files, isYAML) {
		set.put("the built-in rules", catalogue)
	}
	for _, path := range files {
		if isYAML(path) {
			err = set.addYAML(path)
		} else {
			err = set.addTOML(path, catalogue)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if len(set.rules) == 0 {
		return nil, nil, fmt.Errorf("%s: there is no rule to scan with: write one, or “[extend] useDefault = true” for the built-in ones", strings.Join(paths, ", "))
	}
	slices.SortFunc(set.rules, func(a, b *rules.Rule) int { return strings.Compare(a.ID, b.ID) })
	return set.rules, set.warnings, nil
}

// A ruleSet is rules of several files.
type ruleSet struct {
	rules    []*rules.Rule
	where    map[string]string // the file of each rule, by id
	warnings []gitleaks.Warning
}

// put adds rules; one whose id is taken takes the other's place.
func (s *ruleSet) put(where string, all []*rules.Rule) {
	for _, r := range all {
		if _, taken := s.where[r.ID]; taken {
			s.rules = slices.DeleteFunc(s.rules, func(other *rules.Rule) bool { return other.ID == r.ID })
		}
		s.where[r.ID] = where
		s.rules = append(s.rules, r)
	}
}

// addYAML adds the rules of a file of ours. They need less than the built-in ones,
// which also prove themselves by examples: “stanch rules lint” asks for all.
func (s *ruleSet) addYAML(path string) error {
	providers, lines, err := loadRules(path)
	if err != nil {
		return err
	}
	own := rules.Flatten(providers)
	for _, r := range own {
		if err := usable(r); err != nil {
			return fmt.Errorf("%s:%d: %w", path, max(lines[r.ID], 1), err)
		}
		if where, taken := s.where[r.ID]; taken {
			return fmt.Errorf("%s: rule id %q is in %s already: choose another", path, r.ID, where)
		}
	}
	s.put(path, own)
	return nil
}

// addTOML adds the rules of a gitleaks file. It may say of a rule of the catalogue
// what is to be otherwise, and then its rule is meant.
func (s *ruleSet) addTOML(path string, catalogue []*rules.Rule) error {
	config, err := loadTOML(path, catalogue)
	if err != nil {
		return err
	}
	s.warnings = append(s.warnings, config.Warnings...)
	var changed []*rules.Rule
	for _, r := range config.Rules {
		if r = r.Allowing(config.Allow); !r.Builtin() || s.where[r.ID] == "" {
			changed = append(changed, r)
		}
	}
	s.put(path, changed)
	return nil
}

// ofRule is how warnings begin that are about one rule.
var ofRule = regexp.MustCompile(`^rule \S+: `)

// grouped writes warnings, those that say the same of several rules as one, with the
// lines.
func grouped(all []gitleaks.Warning) (texts []string) {
	type about struct{ file, text string }
	groups := map[about][]gitleaks.Warning{}
	var order []about
	for _, w := range all {
		key := about{w.File, ofRule.ReplaceAllString(w.Text, "")}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], w)
	}
	for _, key := range order {
		if same := groups[key]; len(same) == 1 {
			texts = append(texts, same[0].String())
		} else {
			texts = append(texts, fmt.Sprintf("%s:%s: %s", key.file, linesOf(same), key.text))
		}
	}
	return texts
}

// linesOf names the lines of warnings, the first few one by one.
func linesOf(all []gitleaks.Warning) string {
	const few = 3
	var lines []string
	for _, w := range all[:min(few, len(all))] {
		lines = append(lines, strconv.Itoa(w.Line))
	}
	text := strings.Join(lines, ", ")
	if more := len(all) - few; more > 0 {
		text += fmt.Sprintf(" and %d more, which “stanch rules lint” lists", more)
	}
	return text
}

// loadTOML reads a gitleaks file. What it extends is looked for beside it.
func loadTOML(path string, catalogue []*rules.Rule) (*gitleaks.Config, error) {
	data, err := readRules(path)
	if err != nil {
		return nil, err
	}
	beside := func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		return readRules(name)
	}
	return gitleaks.Loader{Catalogue: catalogue, Open: beside}.Load(path, data)
}

// usable refuses a rule whose findings could not be told.
func usable(r *rules.Rule) error {
	levels := []rules.Severity{rules.Critical, rules.High, rules.Medium, rules.Low}
	switch {
	case r.ID == "":
		return errors.New("a rule has no id: give it one")
	case r.Title == "":
		return fmt.Errorf("rule %s has no title: say what it finds", r.ID)
	case !slices.Contains(levels, r.Severity):
		return fmt.Errorf("rule %s has the severity %q: it must be critical, high, medium or low", r.ID, r.Severity)
	}
	return nil
}

// ruleFiles lists the rule files that the paths name: files, and those in folders.
func ruleFiles(paths []string) (files []string, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, errors.New("read rules: " + unread(path, err))
		case !info.IsDir() && !isRuleFile(path):
			return nil, fmt.Errorf("read rules: %s is no rule file: its name must end in .yaml, or in .toml for gitleaks’ format", path)
		case !info.IsDir():
			files = append(files, path)
			continue
		}
		found := 0
		err = filepath.WalkDir(path, func(below string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && isRuleFile(below) {
				found++
				files = append(files, below)
			}
			return err
		})
		switch {
		case err != nil:
			return nil, fmt.Errorf("read rules: %w", err)
		case found == 0:
			return nil, fmt.Errorf("read rules: %s has no rule file (*.yaml, *.toml): name another folder", path)
		}
	}
	return files, nil
}

func isRuleFile(path string) bool { return isYAML(path) || filepath.Ext(path) == ".toml" }

func isYAML(path string) bool { return filepath.Ext(path) == ".yaml" }

// maxRules is the size of the biggest rule file that is read.
const maxRules = 8 << 20

// loadRules reads a rule file of ours. Lines says where its rules are, by id.
func loadRules(path string) (all []*rules.Provider, lines map[string]int, err error) {
	data, err := readRules(path)
	if err != nil {
		return nil, nil, err
	}
	p, err := rules.Decode(path, data)
	if err != nil {
		return nil, nil, err
	}
	return []*rules.Provider{p}, rules.Lines(data), nil
}

func readRules(path string) ([]byte, error) {
	data, err := readSmall(path, maxRules)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return data, nil
}
