package rules

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:generate go test -run=^TestDecoded$ -update .

//go:embed *.yaml
var embedded embed.FS

// Catalogue returns the rules that are built in, sorted by id. They are as the files
// say that come with the program.
func Catalogue() ([]*Rule, error) {
	decoded := make(map[string]*decodedFile, len(decodedFiles))
	for i := range decodedFiles {
		decoded[decodedFiles[i].name] = &decodedFiles[i]
	}
	piece := make([]byte, 4<<10)
	providers, err := load(embedded, func(name string) (*Provider, error) {
		d := decoded[name]
		if d == nil || d.sum != checksum(name, piece) {
			return read(embedded, name)
		}
		return d.provider.copy(), nil
	})
	if err != nil {
		return nil, err
	}
	for _, p := range providers {
		p.builtin = true
	}
	return Flatten(providers), nil
}

// A decodedFile is what Decode makes of a file. To read all of them as YAML takes
// longer than most scans, so decoded.go, which a test writes, has them as they come
// out; a file that was changed since is read.
type decodedFile struct {
	name     string
	sum      uint32 // the file's CRC-32
	provider Provider
}

// checksum returns the CRC-32 of a built-in file. It reads piece by piece: to read all
// files as a whole takes as long as everything else here.
func checksum(name string, piece []byte) uint32 {
	f, err := embedded.Open(name)
	if err != nil {
		return 0
	}
	defer f.Close()
	sum := uint32(0)
	for {
		n, err := f.Read(piece)
		if sum = crc32.Update(sum, crc32.IEEETable, piece[:n]); err != nil {
			return sum
		}
	}
}

// copy returns a provider whose rules may be changed without changing those of p.
func (p *Provider) copy() *Provider {
	c := *p
	c.Rules = make([]*Rule, len(p.Rules))
	all := make([]Rule, len(p.Rules))
	for i, r := range p.Rules {
		all[i] = *r
		all[i].Provider = &c
		c.Rules[i] = &all[i]
	}
	return &c
}

// Flatten returns the rules of all providers, sorted by id.
func Flatten(providers []*Provider) []*Rule {
	var all []*Rule
	for _, p := range providers {
		all = append(all, p.Rules...)
	}
	slices.SortFunc(all, func(a, b *Rule) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Load reads the provider files (*.yaml) at the root of fsys, sorted by name.
// Decoding is strict: an unknown field is an error that names file and line.
// Load says whether the files can be read; Lint says whether they are good.
func Load(fsys fs.FS) ([]*Provider, error) {
	return load(fsys, func(name string) (*Provider, error) { return read(fsys, name) })
}

// read reads one provider file.
func read(fsys fs.FS, name string) (*Provider, error) {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("read rule file %s: %w", name, err)
	}
	return Decode(name, data)
}

func load(fsys fs.FS, read func(name string) (*Provider, error)) ([]*Provider, error) {
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list rule files: %w", err)
	}
	if len(names) == 0 {
		return nil, errors.New("no rule file (*.yaml) here: name a directory that has some")
	}
	seen := make(map[string]string) // rule id → file
	var providers []*Provider
	for _, name := range names {
		p, err := read(name)
		if err != nil {
			return nil, err
		}
		for _, r := range p.Rules {
			if other, dup := seen[r.ID]; dup {
				return nil, fmt.Errorf("%s: rule id %q is already taken by %s: choose another", name, r.ID, other)
			}
			seen[r.ID] = name
		}
		providers = append(providers, p)
	}
	return providers, nil
}

// Decode reads one provider file. It is named after its provider, and errors name
// it.
func Decode(name string, data []byte) (*Provider, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	p := new(Provider)
	if err := dec.Decode(p); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s:1: the file is empty: describe a provider in it", name)
		}
		return nil, located(name, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one YAML document: one file describes one provider", name)
	}
	if want := strings.TrimSuffix(path.Base(name), ".yaml"); p.Name != want {
		return nil, fmt.Errorf("%s: provider is %q: it must be %q, as the file is named", name, p.Name, want)
	}
	for i, r := range p.Rules {
		if r == nil {
			return nil, fmt.Errorf("%s: rule %d is empty: describe it or remove it", name, i+1)
		}
		r.Provider = p
	}
	return p, nil
}

// yamlLine finds the line in the decoder's messages, which are text only.
var yamlLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)

// Lines returns the line of each rule of a provider file, by the rule's id.
func Lines(data []byte) map[string]int {
	lines := make(map[string]int)
	var document yaml.Node
	if yaml.Unmarshal(data, &document) != nil || len(document.Content) == 0 {
		return lines
	}
	if all := field(document.Content[0], "rules"); all != nil {
		for _, rule := range all.Content {
			if id := field(rule, "id"); id != nil {
				lines[id.Value] = id.Line
			}
		}
	}
	return lines
}

// field returns the value of a mapping's key, or nil.
func field(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; mapping.Kind == yaml.MappingNode && i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// decoderWords find in the decoder's messages what only speaks to programmers.
var decoderWords = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`field (\S+) not found in type rules\.\w+`), `there is no field “$1” here: look at its spelling and its indentation`},
	{regexp.MustCompile(`cannot unmarshal !!\w+ (.*) into \[\]\S+`), `$1 stands where a list belongs`},
	{regexp.MustCompile(`cannot unmarshal !!(?:seq|map) (?:.* )?into (?:string|rules\.\w+)`), `a list or a table stands where a text belongs`},
	{regexp.MustCompile(`cannot unmarshal !!\w+ (.*) into u?(?:int|float)\d*`), `$1 stands where a number belongs`},
	{regexp.MustCompile(`cannot unmarshal !!\w+ (.*) into bool`), `$1 stands where true or false belongs`},
	{regexp.MustCompile(`cannot unmarshal !!\w+ (.*) into rules\.\w+`), `$1 stands where a table belongs`},
	{regexp.MustCompile(`mapping key ("[^"]*") already defined at line (\d+)`), `$1 is there already on line $2`},
}

// plain writes a message of the decoder for people.
func plain(message string) string {
	for _, w := range decoderWords {
		message = w.from.ReplaceAllString(message, w.to)
	}
	return message
}

// located rewrites a decoding error to "file:line: message", one a line, the
// form that editors understand.
func located(name string, err error) error {
	var typed *yaml.TypeError
	messages := []string{err.Error()}
	if errors.As(err, &typed) {
		messages = typed.Errors
	}
	for i, m := range messages {
		m = plain(m)
		if yamlLine.MatchString(m) {
			messages[i] = yamlLine.ReplaceAllString(m, name+":$1: ")
		} else {
			messages[i] = name + ":1: " + strings.TrimPrefix(m, "yaml: ")
		}
	}
	return errors.New(strings.Join(messages, "\n"))
}
