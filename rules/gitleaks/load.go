// Package gitleaks reads the rules of gitleaks and betterleaks, TOML files that
// teams have written for years, as they are. What of a file cannot be honoured is
// said, by line: a rule that is silently not applied is a leak that is silently not
// found.
//
// Where a file says useDefault, it extends Stanch's own catalogue, in the place of
// the one that gitleaks brings. Of a rule that the file only changes, by an id that
// the catalogue or an extended file has, all stays that the file does not name.
package gitleaks

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/rules"
	"github.com/stanch-dev/stanch/rules/condition"
)

// A Config is what a file says.
type Config struct {
	Title    string
	Rules    []*rules.Rule // all that there is to scan with, sorted by id
	Allow    []rules.Allow // for all rules, or those that an Allow names
	Warnings []Warning
}

// A Warning says what of a file is not applied as it was meant, and where.
type Warning struct {
	File string
	Line int
	Text string
}

func (w Warning) String() string { return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text) }

// A Loader reads files.
type Loader struct {
	// Catalogue is what useDefault means.
	Catalogue []*rules.Rule
	// Open reads a file that another extends; nil means that none may be read.
	Open func(path string) ([]byte, error)
}

// maxExtends is how many files deep a file may extend others: gitleaks' README
// says two.
const maxExtends = 2

// Load reads a file. Errors and warnings name it. It is an error if the file is no
// TOML, or a file that it extends cannot be read.
func (l Loader) Load(name string, data []byte) (*Config, error) {
	return l.load(name, data, 0)
}

func (l Loader) load(name string, data []byte, depth int) (*Config, error) {
	root, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	f := &file{loader: l, name: name, config: new(Config), rules: make(map[string]*rules.Rule), own: make(map[string]int)}
	f.config.Title = f.text(root, "title").string
	for _, key := range []string{"description", "minVersion", "betterleaksMinVersion"} {
		root.take(key) // they change nothing that is found
	}
	if err := f.extend(root, depth); err != nil {
		return nil, err
	}
	f.expressions(root)
	f.config.Allow = append(f.config.Allow, f.allowances(root, true)...)
	f.provider = &rules.Provider{Name: providerName(name), Title: f.title()}
	for _, t := range f.tables(root, "rules") {
		f.rule(t)
	}
	f.leftOver(root, "")
	f.finish()
	return f.config, nil
}

// providerName names the provider of a file's rules after it.
func providerName(file string) string {
	name := strings.Trim(path.Base(strings.ReplaceAll(file, `\`, "/")), ".")
	return strings.TrimSuffix(name, ".toml")
}

// A file is one that is being read.
type file struct {
	loader   Loader
	name     string
	config   *Config
	provider *rules.Provider
	rules    map[string]*rules.Rule // by id
	own      map[string]int         // the ids that this file has → their lines
}

func (f *file) title() string {
	if f.config.Title != "" {
		return f.config.Title
	}
	return f.name
}

// warn notes what is not applied.
func (f *file) warn(line int, format string, args ...any) {
	f.config.Warnings = append(f.config.Warnings, Warning{f.name, line, fmt.Sprintf(format, args...)})
}

// extend takes in what the file extends.
func (f *file) extend(root *table, depth int) error {
	t := f.table(root, "extend")
	if t == nil {
		return nil
	}
	useDefault := f.boolean(t, "useDefault")
	base := f.text(t, "path")
	switch {
	case useDefault && base.string != "":
		f.warn(base.line, "extend: useDefault and path exclude each other: path is not read")
		fallthrough
	case useDefault:
		for _, r := range f.loader.Catalogue {
			f.rules[r.ID] = r
		}
	case base.string != "":
		if err := f.extendFile(base, depth); err != nil {
			return err
		}
	}
	for _, id := range f.texts(t, "disabledRules") {
		if f.rules[id.string] == nil {
			f.warn(id.line, "extend: there is no rule %q to disable: Stanch's rules have their own ids, which “stanch rules list” shows", id.string)
		}
		delete(f.rules, id.string)
	}
	f.leftOver(t, "extend: ")
	return nil
}

// extendFile takes in another file.
func (f *file) extendFile(base text, depth int) error {
	if f.loader.Open == nil || depth >= maxExtends {
		f.warn(base.line, "extend: %s is not read: a file may extend others %d deep, where it may at all", base.string, maxExtends)
		return nil
	}
	data, err := f.loader.Open(base.string)
	if err != nil {
		return fmt.Errorf("%s:%d: extend %s: %w", f.name, base.line, base.string, err)
	}
	parent, err := f.loader.load(base.string, data, depth+1)
	if err != nil {
		return err
	}
	for _, r := range parent.Rules {
		f.rules[r.ID] = r
	}
	f.config.Allow = append(f.config.Allow, parent.Allow...)
	f.config.Warnings = append(f.config.Warnings, parent.Warnings...)
	return nil
}

// expressions takes in the filters for all rules.
func (f *file) expressions(root *table) {
	for _, key := range []string{"prefilter", "filter"} {
		if allow := f.filter(root, key); allow != nil {
			f.config.Allow = append(f.config.Allow, *allow)
		}
	}
}

// filter returns an expression as what it allows, or nil.
func (f *file) filter(t *table, key string) *rules.Allow {
	source := f.text(t, key)
	if strings.TrimSpace(source.string) == "" {
		return nil
	}
	lineOf := func(offset int) int { return source.line + strings.Count(source.string[:offset], "\n") }
	c, err := condition.Parse(source.string)
	if failed, ok := err.(*condition.SyntaxError); ok {
		f.warn(lineOf(failed.Offset), "%s is not applied: %s", key, failed.Text)
		return nil
	}
	for _, note := range c.Notes() {
		f.warn(lineOf(note.Offset), "%s: %s", key, note.Text)
	}
	return &rules.Allow{Description: key, Expression: source.string}
}

// leftOver warns of keys that nobody read.
func (f *file) leftOver(t *table, where string) {
	for _, key := range t.unread() {
		f.warn(t.keys[key].line, "%sthe key %q is not known and has no effect", where, key)
	}
}

// finish checks what rules say of each other, and sorts them.
func (f *file) finish() {
	for id, line := range f.own {
		for _, r := range f.rules[id].Detect.Required {
			if f.rules[r.ID] == nil {
				f.warn(line, "rule %s requires the rule %q, which is not there: it finds nothing", id, r.ID)
			}
		}
	}
	for _, r := range f.rules {
		f.config.Rules = append(f.config.Rules, r)
	}
	slices.SortFunc(f.config.Rules, func(a, b *rules.Rule) int { return strings.Compare(a.ID, b.ID) })
	slices.SortStableFunc(f.config.Warnings, func(a, b Warning) int {
		if a.File != b.File {
			return 0 // those of an extended file come first
		}
		return a.Line - b.Line
	})
}
