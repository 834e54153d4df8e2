package app

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

var writeSchema = flag.Bool("write-schema", false, "write the schema of policies anew")

// schemaPath is where the schema is published for editors.
const schemaPath = "../docs/stanch.schema.json"

// described says of each setting what an editor shows. A setting without a row fails
// the test below.
var described = map[string]string{
	"remediation":         "How far Stanch goes by itself with a live credential: observe reports only, ask waits for a person, automatic acts when the evidence is of the highest grade.",
	"order":               "Whether the replacement is in its place before the leaked credential dies (replace_first), or after.",
	"without_replacement": "What to do with a live credential that no store holds or nobody can issue anew: ask, or revoke; adopt puts the replacement of what no store holds where adopt says, and asks otherwise.",
	"adopt":               "The secret store, and the path in it, for replacements of credentials that no store holds: vault:secret/adopted.",
	"hold":                "For how long a leaked credential that its provider can disable is kept disabled, so that it can be enabled again, before it is deleted. Default: 24h.",
	"automatic_per_hour":  "In the operator's policy alone: how many remediations may begin in an hour without a person. Default: 30.",
	"comment":             "Whether pull requests get a comment about live credentials. Default: true.",
	"public":              "For whom checks are written: auto goes by the visibility of the repository, always shows nothing that would help a thief.",
	"conclusion":          "What a finding does to the check unless it is live: failure, neutral, or success, when it is only listed. In conclusion, by severity. Default: failure.",
	"people":              "Who may press the check run's buttons and give commands.",
	"press":               "The least permission on the repository. Default: write.",
	"approvals":           "1 when a second person must agree to what is not undone. Default: 0.",
	"bypass":              "Whether a bypass can be asked for. Default: true.",
	"bypass_for":          "The longest bypass, such as 168h. Default: 168h.",
	"suggestions":         "Whether review suggestions replace a literal by the place where the secret is kept. Default: false.",
	"inline_markers":      "Whether comments such as gitleaks:allow make a finding neutral unless it is live. Default: true.",
	"rules":               "Exceptions for kinds of credential, by the rule's id: stanch rules list shows them.",
	"enabled":             "false: nothing of the kind is shown unless it is live. Default: true.",
	"severity":            "How bad a live credential of the kind is.",
	"paths":               "Exceptions for places. The first that fits counts.",
	"glob":                "A pattern for paths: ** stands for any number of folders; without a slash it is for names at any depth.",
	"allowlist":           "The file of the repository that lists what is no leak. Default: .github/stanch-allow.txt.",
	"repositories":        "In the operator's policy alone: what organisations and repositories may change of it.",
	"schedule":            "In the operator's policy alone: credentials that are replaced when they are of an age, though they have not leaked.",
	"secret":              "The secret store, and the path in it, of what is replaced: vault:secret/ci/deploy.",
	"field":               "The field that holds it, where the secret holds several credentials.",
	"rule":                "Of what kind it is, by the rule's id, where its shape does not tell.",
	"every":               "How old it may get, such as 720h; at least 1h.",
	"overlap":             "false: the old one dies as soon as the replacement works. Default: true, it lives on until nobody uses it any more.",
	"may":                 "Names of settings. What is stricter is always allowed.",
}

// values are what settings of a type may be.
var values = map[reflect.Type][]string{
	reflect.TypeFor[incident.Order]():    strs(incident.ReplaceFirst, incident.RevokeFirst),
	reflect.TypeFor[Publicity]():         strs(PublicAuto, PublicAlways),
	reflect.TypeFor[rules.Severity]():    strs(severities...),
	reflect.TypeFor[report.Conclusion](): strs(conclusions...),
	reflect.TypeFor[Permission]():        strs(permissions...),
}

func strs[T ~string](all ...T) (s []string) {
	for _, v := range all {
		s = append(s, string(v))
	}
	return s
}

type object = map[string]any

// schemaOf writes the schema of a type from the struct that the parser reads into.
func schemaOf(t *testing.T, name string, of reflect.Type) object {
	switch {
	case name == "remediation":
		return object{"enum": strs(Observe, Ask, Automatic)}
	case name == "without_replacement":
		return object{"enum": strs(Ask, RevokeAnyway, Adopt)}
	case name == "may":
		return object{"type": "array", "items": object{"enum": changeable}}
	case name == "approvals":
		return object{"enum": []int{0, 1}}
	case of == reflect.TypeFor[time.Duration]():
		return object{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}
	case values[of] != nil:
		return object{"enum": values[of]}
	}
	switch of.Kind() {
	case reflect.Pointer:
		return schemaOf(t, name, of.Elem())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int:
		return object{"type": "integer", "minimum": 1}
	case reflect.String:
		return object{"type": "string", "minLength": 1}
	case reflect.Slice:
		return object{"type": "array", "items": schemaOf(t, name, of.Elem())}
	case reflect.Map:
		s := object{"type": "object", "additionalProperties": schemaOf(t, "", of.Elem())}
		if keys := values[of.Key()]; keys != nil {
			s["propertyNames"] = object{"enum": keys}
		}
		return s
	case reflect.Struct:
		return structSchema(t, of)
	}
	t.Fatalf("%s is of type %s, which the schema does not know", name, of)
	return nil
}

func structSchema(t *testing.T, of reflect.Type) object {
	properties := object{}
	var required []string
	for f := range of.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-":
			continue
		case options == "inline":
			for inner, s := range schemaOf(t, "", f.Type)["properties"].(object) {
				properties[inner] = s
			}
			continue
		case options != "omitempty":
			required = append(required, name)
		}
		s := schemaOf(t, name, f.Type)
		if s["description"] = described[name]; described[name] == "" {
			t.Errorf("nothing says what %s is: add it to described", name)
		}
		properties[name] = s
	}
	s := object{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// TestPolicySchema: the published schema is that of the struct that is read.
func TestPolicySchema(t *testing.T) {
	s := schemaOf(t, "", reflect.TypeFor[Policy]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Policy of Stanch"
	s["description"] = "What a finding does to a check, and what may be done to a live credential: .github/stanch.yml, or the file that STANCH_POLICY names."
	var want bytes.Buffer
	encoder := json.NewEncoder(&want)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		t.Fatal(err)
	}
	if *writeSchema {
		if err := os.WriteFile(schemaPath, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaPath)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not the schema of what is read (%v): go test ./app -run TestPolicySchema -write-schema writes it anew", schemaPath, err)
	}
}

// TestPolicySchemaAgreesWithTheParser: what an editor marks is what the parser refuses.
func TestPolicySchemaAgreesWithTheParser(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	schema, err := compiler.Compile(schemaPath)
	if err != nil {
		t.Fatal(err)
	}
	all := catalogue(t)
	for _, text := range []string{
		"remediation: ask", "comment: true\npublic: always", "conclusion: {low: neutral, high: failure}", "suggestions: true\ninline_markers: false",
		"people: {press: maintain, approvals: 1, bypass: false, bypass_for: 24h}", "people: {bypass_for: 1h30m}",
		"rules: {github-pat: {remediation: observe, enabled: false, severity: low, conclusion: neutral, order: revoke_first, without_replacement: revoke}}",
		"paths: [{glob: 'docs/**', conclusion: neutral}]", "allowlist: sec/allow.txt", "repositories: {may: [comment, rules]}",

		"remediaton: ask", "remediation: always", "without_replacement: automatic", "order: sideways", "public: never", "comment: maybe",
		"conclusion: {worst: neutral}", "conclusion: {low: skipped}", "people: {press: read}", "people: {approvals: 2}", "people: {bypass_for: a week}",
		"people: {who: all}", "rules: {github-pat: {severity: dire}}", "rules: {github-pat: {on: true}}", "rules: [github-pat]",
		"paths: [{conclusion: neutral}]", "paths: [{glob: docs}]", "paths: {glob: docs}", "repositories: {may: [everything]}", "suggestions: 3",
		`remediation: ""`, "allowlist: ''", `people: {press: ""}`, `rules: {github-pat: {conclusion: ""}}`, "conclusion: {low: ''}",
	} {
		var document any
		if err := yaml.Unmarshal([]byte(text), &document); err != nil {
			t.Fatal(err)
		}
		// The validator takes what encoding/json makes.
		b, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		bySchema := schema.Validate(instance)
		_, byParser := ParsePolicy("stanch.yml", []byte(text), all)
		if (bySchema == nil) != (byParser == nil) {
			t.Errorf("%q: the schema says %v, the parser %v", text, bySchema, byParser)
		}
	}
}

// TestDocumentedPolicies: the examples of the documentation are policies.
func TestDocumentedPolicies(t *testing.T) {
	all := catalogue(t)
	for _, name := range []string{"../docs/policy.md", "../README.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(text), "```yaml\n")[1:]
		policies := 0
		for _, b := range blocks {
			b, _, _ = strings.Cut(b, "```")
			if !strings.Contains(b, "remediation:") && !strings.Contains(b, "repositories:") {
				continue
			}
			policies++
			if _, err := ParsePolicy(name, []byte(b), all); err != nil {
				t.Error(err)
			}
		}
		if policies == 0 {
			t.Errorf("%s shows no policy", name)
		}
	}
}
