package rules_test

import (
	"testing"

	"github.com/stanch-dev/stanch/rules"
)

func TestCatalogueIsClean(t *testing.T) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	linted := make(map[*rules.Provider]bool)
	for _, r := range catalogue {
		if linted[r.Provider] {
			continue
		}
		linted[r.Provider] = true
		for _, err := range rules.Lint(r.Provider) {
			t.Error(err)
		}
	}
}
