package report

import (
	"bytes"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// TestSARIFValidates holds our SARIF against the schema that OASIS publishes, in the
// file that STANCH_SARIF_SCHEMA names: lib/schemas/sarif-2.1.0-rtm.5.json of npm's
// @microsoft/jest-sarif.
func TestSARIFValidates(t *testing.T) {
	path := os.Getenv("STANCH_SARIF_SCHEMA")
	if path == "" {
		if os.Getenv("STANCH_CI") == "1" {
			t.Fatal("STANCH_SARIF_SCHEMA names no file with the schema of SARIF 2.1.0")
		}
		t.Skip("STANCH_SARIF_SCHEMA names no file with the schema of SARIF 2.1.0")
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(path)
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	if schema.Validate(map[string]any{"version": "2.1.0", "runs": []any{map[string]any{}}}) == nil {
		t.Fatalf("%s takes a run without a tool: it is not the schema of SARIF", path)
	}
	odd := finding("a dir/ü\n\x00\xff:b?.env")
	odd.Commit, odd.Author, odd.CharColumn, odd.Validity = "", "\x1b", 0, checks.Active
	for _, findings := range [][]checks.Finding{nil, {finding("/abs/olute"), odd}} {
		for _, run := range []Run{{}, {Version: "1.2.3", Rules: catalogue, Problems: []string{"\x00"}}} {
			var b bytes.Buffer
			if err := SARIF(&b, findings, run); err != nil {
				t.Fatal(err)
			}
			log, err := jsonschema.UnmarshalJSON(&b)
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(log); err != nil {
				t.Errorf("%d findings, %d rules: %v", len(findings), len(run.Rules), err)
			}
		}
	}
}
