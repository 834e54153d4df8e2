package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/rules"
)

// withOwnRules returns the catalogue and the rules in the user's files and folders,
// sorted by id.
func withOwnRules(paths []string) ([]*rules.Rule, error) {
	all, err := rules.Catalogue()
	if err != nil || len(paths) == 0 {
		return all, err
	}
	own, err := ownRules(paths)
	if err != nil {
		return nil, err
	}
	seen := map[string]string{}
	for _, r := range all {
		seen[r.ID] = "the built-in rules"
	}
	for _, r := range own {
		if where, taken := seen[r.ID]; taken {
			return nil, fmt.Errorf("rule id %q is in %s already: choose another", r.ID, where)
		}
		seen[r.ID] = "your rule files"
	}
	all = append(all, own...)
	slices.SortFunc(all, func(a, b *rules.Rule) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// ownRules reads the rules in files and folders. They need less than the built-in
// ones, which also prove themselves by examples: “stanch rules lint” asks for all.
func ownRules(paths []string) ([]*rules.Rule, error) {
	files, err := ruleFiles(paths)
	if err != nil {
		return nil, err
	}
	var own []*rules.Rule
	for _, path := range files {
		providers, err := loadRules(path)
		if err != nil {
			return nil, err
		}
		for _, r := range rules.Flatten(providers) {
			if err := usable(r); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			own = append(own, r)
		}
	}
	return own, nil
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
			return nil, fmt.Errorf("read rules: %s is no rule file: its name must end in .yaml", path)
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
			return nil, fmt.Errorf("read rules: %s has no rule file (*.yaml): name another folder", path)
		}
	}
	return files, nil
}

func isRuleFile(path string) bool { return filepath.Ext(path) == ".yaml" }

// maxRules is the size of the biggest rule file that is read.
const maxRules = 8 << 20

// loadRules reads one rule file, in the format that its name tells.
func loadRules(path string) ([]*rules.Provider, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	if info.Size() > maxRules {
		return nil, fmt.Errorf("read rules: %s has %d MB: a rule file has %d at most", path, info.Size()>>20, maxRules>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	p, err := rules.Decode(path, data)
	if err != nil {
		return nil, err
	}
	return []*rules.Provider{p}, nil
}
