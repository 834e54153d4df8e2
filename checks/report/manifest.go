package report

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// manifest is the table of what was scanned.
func (s Scan) manifest() string {
	if len(s.Coverage) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("#### What was scanned\n\n| From | To | Commits | Files | Size | Skipped |\n|---|---|--:|--:|--:|--:|\n")
	var skipped []checks.Skip
	coverage := distinct(s.Coverage)
	for i, c := range coverage {
		skipped = append(skipped, c.Skipped...)
		if i < maxRanges {
			fmt.Fprintf(&b, "| %s | %s | %d | %d | %s | %d |\n",
				base(c.Base), commit(c.Tip), c.Commits, c.Blobs, Size(c.Bytes), len(c.Skipped))
		}
	}
	if more := len(coverage) - maxRanges; more > 0 {
		fmt.Fprintf(&b, "\nand %s more.\n", Count(more, "range"))
	}
	b.WriteString(skips(skipped))
	b.WriteString(elsewhereIn(coverage))
	return b.String()
}

// elsewhereIn lists what belongs to other repositories.
func elsewhereIn(coverage []checks.Coverage) string {
	var paths []string
	for _, c := range coverage {
		for _, p := range c.Elsewhere {
			paths = append(paths, code(shorten(p.Path)))
		}
	}
	slices.Sort(paths)
	if paths = slices.Compact(paths); len(paths) == 0 {
		return ""
	}
	text := strings.Join(paths[:min(len(paths), maxSkips)], ", ")
	if more := len(paths) - maxSkips; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return "\nOf other repositories, whose own pushes bring what they hold: " + text + ".\n"
}

// distinct is the coverage without ranges that were scanned twice, as when a branch
// is pushed and its pull request opened.
func distinct(all []checks.Coverage) []checks.Coverage {
	var once []checks.Coverage
	for _, c := range all {
		if !slices.ContainsFunc(once, func(other checks.Coverage) bool { return reflect.DeepEqual(c, other) }) {
			once = append(once, c)
		}
	}
	return once
}

// base is the commit before a range; a new branch has none.
func base(id string) string {
	if strings.Trim(id, "0") == "" {
		return "new branch"
	}
	return commit(id)
}

// skips lists what was not scanned, and why.
func skips(skipped []checks.Skip) string {
	if len(skipped) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\nNot scanned:\n\n")
	for _, one := range skipped[:min(len(skipped), maxSkips)] {
		b.WriteString("- " + skip(one) + "\n")
	}
	if more := len(skipped) - maxSkips; more > 0 {
		fmt.Fprintf(&b, "- and %d more\n", more)
	}
	return b.String()
}

// skip says what was not scanned, and why.
func skip(s checks.Skip) string {
	return fmt.Sprintf("%s in %s: %s", code(shorten(s.Path)), commit(s.Commit), plain(shorten(s.Reason)))
}
