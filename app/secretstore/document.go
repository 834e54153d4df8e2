package secretstore

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/stanch-dev/stanch/checks"
)

// WholeText is the name of the one field of a text that is no JSON object.
const WholeText = ""

// fieldsOf takes a secret's text apart, for stores that keep one text a version: the
// values of a JSON object that are text, or else the whole text under WholeText.
func fieldsOf(text string) map[string]string {
	var values map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &values) != nil || values == nil {
		return map[string]string{WholeText: text}
	}
	fields := map[string]string{}
	for name, raw := range values {
		var value string
		if bytes.HasPrefix(raw, []byte(`"`)) && json.Unmarshal(raw, &value) == nil {
			fields[name] = value
		}
	}
	return fields
}

// withFields is a secret's text with some of its fields changed. The others stay as
// they are; a JSON object's are sorted by name.
func withFields(text string, changed map[string]checks.Secret) (string, error) {
	if whole, ok := changed[WholeText]; ok && len(changed) == 1 {
		return whole.Expose(), nil
	}
	values := map[string]json.RawMessage{}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &values); err != nil {
			return "", errNoFields
		}
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		var raw bytes.Buffer
		encoder := json.NewEncoder(&raw)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(changed[name].Expose()); err != nil {
			return "", err
		}
		values[name] = bytes.TrimSpace(raw.Bytes())
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(values)
	return string(bytes.TrimSpace(out.Bytes())), err
}
