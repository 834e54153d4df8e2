package gitleaks_test

import (
	"fmt"
	"log"

	"github.com/stanch-dev/stanch/rules/gitleaks"
)

// The rules of a file, for checks.New, and what of it is not applied.
func ExampleLoader_Load() {
	file := `
[[rules]]
id = "shop-key"
description = "Shop key"
regex = '''shop_[a-z0-9]{16}'''
keywords = ["shop_"]
validate = "true"
`
	config, err := gitleaks.Loader{}.Load(".gitleaks.toml", []byte(file))
	if err != nil {
		log.Fatal(err)
	}
	for _, rule := range config.Rules {
		fmt.Println(rule.ID, rule.Detect.Keywords, rule.Detect.Pattern)
	}
	for _, warning := range config.Warnings {
		fmt.Println(warning)
	}
	// Output:
	// shop-key [shop_] shop_[a-z0-9]{16}
	// .gitleaks.toml:7: rule shop-key: validate is not applied: Stanch asks providers only as its own catalogue says
}
