package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// checkGlobs refuses patterns that match nothing because they are none.
func checkGlobs(globs []string) error {
	for _, g := range globs {
		if !doublestar.ValidatePattern(anywhere(g)) {
			return fmt.Errorf("--exclude %q is no pattern: look for a bracket or a brace that is not closed", g)
		}
	}
	return nil
}

// excluded says whether a path is left out. A pattern without a slash is for names
// at any depth, one with a slash for the whole path as it is reported; ** stands for
// any number of folders. What lies in a folder that is left out is never looked at.
func excluded(globs []string, path string) bool {
	path = strings.TrimPrefix(filepath.ToSlash(path), "./")
	for _, g := range globs {
		if doublestar.MatchUnvalidated(anywhere(g), path) {
			return true
		}
	}
	return false
}

// anywhere makes a pattern of one that is for names, and takes away the slash that
// says that a folder is meant.
func anywhere(glob string) string {
	glob = strings.TrimPrefix(strings.TrimSuffix(glob, "/"), "./")
	if !strings.Contains(glob, "/") {
		return "**/" + glob
	}
	return glob
}
