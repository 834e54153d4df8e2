package provider

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
)

// lookup returns what stands at a dotted path of the body, of which "." is the whole.
func (r reply) lookup(path string) (any, bool) {
	at, ok := r.value, r.json || r.xml
	if path == "." {
		return at, ok
	}
	for _, name := range strings.Split(path, ".") {
		switch inside := at.(type) {
		case map[string]any:
			if at, ok = inside[name]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(inside) {
				return nil, false
			}
			at = inside[i]
		default:
			return nil, false
		}
	}
	return at, ok
}

// field returns the text, number or boolean at a path of the body as text.
func (r reply) field(path string) (string, bool) {
	at, _ := r.lookup(path)
	switch value := at.(type) {
	case string:
		return value, true
	case json.Number:
		return value.String(), true
	case bool:
		return strconv.FormatBool(value), true
	}
	return "", false
}

// text returns whatever is at a path of the body as text: lists, objects and null as
// compact JSON.
func (r reply) text(path string) (string, bool) {
	if text, ok := r.field(path); ok {
		return text, true
	}
	at, ok := r.lookup(path)
	encoded, err := json.Marshal(at)
	return string(encoded), ok && err == nil
}

// headerText returns a field of the header.
func (r reply) headerText(name string) (string, bool) {
	values := r.header.Values(name)
	return strings.Join(values, ", "), len(values) > 0
}

// maxDepth bounds how deep the elements of an XML body stand in one another.
const maxDepth = 32

var errTooDeep = errors.New("elements stand too deep in one another")

// decodeXML takes an XML body in.
func (r *reply) decodeXML(body []byte) string {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	root, err := nextElement(decoder)
	if err != nil {
		return "broken xml"
	}
	if strings.EqualFold(root.Name.Local, "html") {
		return "html"
	}
	value, err := readElement(decoder, maxDepth)
	if err != nil {
		return "broken xml"
	}
	if _, err := nextElement(decoder); !errors.Is(err, io.EOF) {
		return "broken xml"
	}
	r.xml, r.value = true, value
	return ""
}

// nextElement skips to the beginning of an element.
func nextElement(decoder *xml.Decoder) (xml.StartElement, error) {
	for {
		token, err := decoder.Token()
		if err != nil {
			return xml.StartElement{}, err
		}
		if start, ok := token.(xml.StartElement); ok {
			return start, nil
		}
	}
}

// readElement reads an element to its end: its text, or what elements it has, by
// their names.
func readElement(decoder *xml.Decoder, depth int) (any, error) {
	if depth == 0 {
		return nil, errTooDeep
	}
	var text strings.Builder
	inside := map[string]any{}
	for {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.CharData:
			text.Write(token)
		case xml.StartElement:
			value, err := readElement(decoder, depth-1)
			if err != nil {
				return nil, err
			}
			add(inside, token.Name.Local, value)
		case xml.EndElement:
			if len(inside) == 0 {
				return strings.TrimSpace(text.String()), nil
			}
			return inside, nil
		}
	}
}

// add adds an element to those that stand beside it. Equal names make a list.
func add(inside map[string]any, name string, value any) {
	switch before := inside[name].(type) {
	case nil:
		inside[name] = value
	case []any:
		inside[name] = append(before, value)
	default:
		inside[name] = []any{before, value}
	}
}
