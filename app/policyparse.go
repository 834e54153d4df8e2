package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/stanch-dev/stanch/rules"
)

// maxPolicy is the size of the biggest policy file that is read, in bytes. A policy
// with an exception for every rule of the catalogue has a third of that.
const maxPolicy = 128 << 10

// A Problem is what is wrong with a file that people wrote, in words that say what
// to do.
type Problem struct {
	File string
	Line int // 0 for the file as a whole
	Text string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Problems are what is wrong with a policy, as an error.
type Problems []Problem

func (all Problems) Error() string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.String()
	}
	return strings.Join(texts, "\n")
}

// LoadPolicy reads an operator's policy file. Keys it does not know are errors, so
// that a misspelt safeguard is not silently off.
func LoadPolicy(path string, catalogue []*rules.Rule) (Policy, error) {
	f, err := os.Open(path)
	if err != nil {
		return Policy{}, fmt.Errorf("read policy: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPolicy+1))
	if err != nil {
		return Policy{}, fmt.Errorf("read policy: %w", err)
	}
	return ParsePolicy(path, text, catalogue)
}

// ParsePolicy reads an operator's policy. The error is a list of Problems.
func ParsePolicy(file string, text []byte, catalogue []*rules.Rule) (Policy, error) {
	l, problems := parseLayer(file, text, catalogue)
	if len(problems) > 0 {
		return Policy{}, problems
	}
	p := l.policy
	p.Remedy = p.or(DefaultPolicy().Remedy)
	p.Origins = l.origins()
	return p, nil
}

// A layer is what one policy file says.
type layer struct {
	file     string
	policy   Policy
	settings []setting
	lines    map[string]int // where each key stands, by the names that lead to it
}

// A setting is one value of a policy file, and the names of the keys that lead to it.
type setting struct {
	path  []string
	line  int
	value *yaml.Node
}

func (s setting) name() string { return strings.Join(s.path, ".") }

// origins tells where the layer's settings stand.
func (l layer) origins() map[string]Origin {
	all := map[string]Origin{}
	for _, s := range l.settings {
		all[s.name()] = Origin{l.file, s.line}
	}
	return all
}

// parseLayer reads a policy file strictly.
func parseLayer(file string, text []byte, catalogue []*rules.Rule) (layer, Problems) {
	l := layer{file: file}
	if len(text) > maxPolicy {
		return l, Problems{{file, 0, fmt.Sprintf("it is larger than the %d bytes that a policy may have: shorten it", maxPolicy)}}
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return l, readable(file, err)
	}
	if line := referring(&root); line > 0 {
		return l, Problems{{file, line, "anchors, aliases and merges have no place in a policy: write the value out"}}
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&l.policy); err != nil && !errors.Is(err, io.EOF) {
		return l, readable(file, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return l, Problems{{file, 0, "it holds more than one document: a policy is one"}}
	}
	l.lines = map[string]int{}
	for _, n := range root.Content {
		l.walk(nil, n.Line, n)
	}
	return l, l.check(catalogue)
}

// referring returns the line of the first anchor, alias or merge, or 0. Nothing in a
// policy needs them, and a few of them make a file of any size.
func referring(n *yaml.Node) int {
	if n.Anchor != "" || n.Kind == yaml.AliasNode || n.Tag == "!!merge" {
		return n.Line
	}
	for _, child := range n.Content {
		if line := referring(child); line > 0 {
			return line
		}
	}
	return 0
}

// walk notes the settings of a part of the file. A list is one setting; null is none.
func (l *layer) walk(path []string, line int, n *yaml.Node) {
	s := setting{slices.Clip(path), line, n}
	l.lines[s.name()] = line
	switch {
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			l.walk(append(s.path, n.Content[i].Value), n.Content[i].Line, n.Content[i+1])
		}
	case n.Tag != "!!null":
		l.settings = append(l.settings, s)
		l.place(s)
	}
}

// place notes where each of the paths, or of what is scheduled, stands.
func (l *layer) place(s setting) {
	for i, entry := range s.value.Content {
		at := Origin{l.file, entry.Line}
		switch {
		case s.name() == "paths" && i < len(l.policy.Paths):
			l.policy.Paths[i].Origin = at
		case s.name() == "schedule" && i < len(l.policy.Schedule):
			l.policy.Schedule[i].Origin = at
		}
	}
}

var atLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?((?s).*)$`)

// readable puts the decoder's complaints into words of ours.
func readable(file string, err error) Problems {
	texts := []string{err.Error()}
	var wrong *yaml.TypeError
	if errors.As(err, &wrong) {
		texts = wrong.Errors
	}
	var all Problems
	for _, text := range texts {
		m := atLine.FindStringSubmatch(text)
		line, _ := strconv.Atoi(m[1])
		all = append(all, Problem{file, line, unknownField.ReplaceAllString(m[2], "$1 is no setting of a policy")})
	}
	return all
}

var unknownField = regexp.MustCompile(`field (\S+) not found in type \S+`)
