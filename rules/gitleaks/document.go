package gitleaks

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// A table is a table of a TOML document that remembers its lines, and what of it
// was read.
type table struct {
	line int
	keys map[string]*entry
}

// An entry is a key's value: a text, int64, float64, bool, []any of these, *table,
// or []*table.
type entry struct {
	line  int
	value any
	read  bool
}

// A text is a string, and the line that it begins on.
type text struct {
	string
	line int
}

// parse reads a TOML document.
func parse(name string, data []byte) (*table, error) {
	if err := toml.Unmarshal(data, new(map[string]any)); err != nil {
		if failed := new(toml.DecodeError); errors.As(err, &failed) {
			line, column := failed.Position()
			return nil, fmt.Errorf("%s:%d:%d: %s", name, line, column, strings.TrimPrefix(failed.Error(), "toml: "))
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	d := &reader{data: data, line: 1, root: newTable(1)}
	d.parser.Reset(data)
	at := d.root
	for d.parser.NextExpression() {
		e := d.parser.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			at = d.open(e)
		case unstable.KeyValue:
			d.keyValue(at, e)
		}
	}
	return d.root, d.parser.Error()
}

func newTable(line int) *table { return &table{line, make(map[string]*entry)} }

// A reader makes tables of a parser's nodes.
type reader struct {
	parser unstable.Parser
	data   []byte
	root   *table
	offset int // up to here lines are counted
	line   int
}

// lineOf returns the line of an offset.
func (d *reader) lineOf(offset uint32) int {
	if int(offset) < d.offset {
		return d.line // nodes come in order but for keys and their values
	}
	d.line += bytes.Count(d.data[d.offset:offset], []byte{'\n'})
	d.offset = int(offset)
	return d.line
}

// key returns the parts of a dotted key, and the line of the first.
func (d *reader) key(n *unstable.Node) (parts []string, line int) {
	for keys := n.Key(); keys.Next(); {
		part := keys.Node()
		if parts == nil {
			line = d.lineOf(part.Raw.Offset)
		}
		parts = append(parts, string(part.Data))
	}
	return parts, line
}

// open returns the table that a header opens.
func (d *reader) open(n *unstable.Node) *table {
	parts, line := d.key(n)
	at := d.root.descend(parts[:len(parts)-1], line)
	last := parts[len(parts)-1]
	if n.Kind == unstable.Table {
		return at.descend([]string{last}, line)
	}
	next := newTable(line)
	if e := at.keys[last]; e != nil {
		if all, ok := e.value.([]*table); ok {
			e.value = append(all, next)
		}
		return next
	}
	at.keys[last] = &entry{line: line, value: []*table{next}}
	return next
}

// descend returns the table at a path below t, which is made where it is missing. Of
// an array of tables it is the last one.
func (t *table) descend(parts []string, line int) *table {
	for _, part := range parts {
		e := t.keys[part]
		if e == nil {
			e = &entry{line: line, value: newTable(line)}
			t.keys[part] = e
		}
		switch v := e.value.(type) {
		case *table:
			t = v
		case []*table:
			t = v[len(v)-1]
		}
	}
	return t
}

// keyValue puts a value into a table.
func (d *reader) keyValue(t *table, n *unstable.Node) {
	parts, line := d.key(n)
	t = t.descend(parts[:len(parts)-1], line)
	t.keys[parts[len(parts)-1]] = &entry{line: line, value: d.value(n.Value(), line)}
}

// value returns what a node holds. Dates are texts.
func (d *reader) value(n *unstable.Node, line int) any {
	if n.Raw.Length > 0 {
		line = d.lineOf(n.Raw.Offset)
	}
	switch n.Kind {
	case unstable.Bool:
		return string(n.Data) == "true"
	case unstable.Integer:
		i, err := strconv.ParseInt(strings.ReplaceAll(string(n.Data), "_", ""), 0, 64)
		if err == nil {
			return i
		}
	case unstable.Float:
		f, err := strconv.ParseFloat(strings.ReplaceAll(string(n.Data), "_", ""), 64)
		if err == nil {
			return f
		}
	case unstable.Array:
		return d.array(n, line)
	case unstable.InlineTable:
		t := newTable(line)
		for children := n.Children(); children.Next(); {
			d.keyValue(t, children.Node())
		}
		return t
	case unstable.String:
		return text{string(n.Data), line + d.trimmed(n)}
	}
	return text{string(n.Data), line}
}

// trimmed is 1 if a line's end after the quotation marks of a text is not part of
// it.
func (d *reader) trimmed(n *unstable.Node) int {
	raw := d.data[n.Raw.Offset : n.Raw.Offset+n.Raw.Length]
	if len(raw) > 3 && (string(raw[:3]) == `"""` || string(raw[:3]) == "'''") && (raw[3] == '\n' || raw[3] == '\r') {
		return 1
	}
	return 0
}

// array returns a list: of tables, if it has nothing else.
func (d *reader) array(n *unstable.Node, line int) any {
	all, tables := []any{}, []*table{}
	for children := n.Children(); children.Next(); {
		v := d.value(children.Node(), line)
		all = append(all, v)
		if t, ok := v.(*table); ok {
			tables = append(tables, t)
		}
	}
	if len(all) > 0 && len(tables) == len(all) {
		return tables
	}
	return all
}

// take returns the entry of a key, which counts as read then, or nil.
func (t *table) take(key string) *entry {
	e := t.keys[key]
	if e != nil {
		e.read = true
	}
	return e
}

// unread returns the keys that nobody read, in order of their lines.
func (t *table) unread() []string {
	var left []string
	for key, e := range t.keys {
		if !e.read {
			left = append(left, key)
		}
	}
	slices.SortFunc(left, func(a, b string) int {
		if n := t.keys[a].line - t.keys[b].line; n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	return left
}
