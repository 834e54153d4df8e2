package checks_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// madeUp makes a random value of a template, so that no example holds one.
func madeUp(template string) string {
	value, err := rules.Expand(template, rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// acme is a rule of one's own.
func acme() *rules.Rule {
	return &rules.Rule{
		ID: "acme-token", Title: "ACME deploy token", Severity: rules.High,
		Detect: rules.Detect{Keywords: []string{"acme_"}, Pattern: `\bacme_[0-9A-Za-z]{24}\b`},
	}
}

// All that is built in, on anything that can be read, of whatever size.
func Example() {
	catalogue, err := rules.Catalogue()
	if err != nil {
		log.Fatal(err)
	}
	scanner, err := checks.New(catalogue...)
	if err != nil {
		log.Fatal(err)
	}
	file := strings.NewReader("# deploy\nTOKEN=" + madeUp("glpat-{20:base62}") + "\n")
	for finding, err := range scanner.Scan("deploy.env", file) {
		if err != nil {
			log.Fatal(err) // not everything was scanned
		}
		fmt.Printf("%s:%d:%d: %s: %s\n", finding.Path, finding.Line, finding.Column, finding.Rule.ID, finding.Redacted)
	}
	// Output: deploy.env:2:7: gitlab-pat: glpat-************
}

// With a rule of one's own, alone or beside others. The secret itself cannot be
// printed by mistake.
func ExampleNew() {
	scanner, err := checks.New(acme())
	if err != nil {
		log.Fatal(err)
	}
	text := "deploy with " + madeUp("acme_{24:base62}")
	for finding := range scanner.Scan("readme.md", strings.NewReader(text)) {
		fmt.Println(finding.Rule.Title, "in column", finding.Column)
		fmt.Println(finding.Excerpt)
		fmt.Printf("%v %+v\n", finding.Credential.Secret(), finding.Credential.Parts)
	}
	// Output:
	// ACME deploy token in column 13
	// deploy with ************
	// [redacted] map[secret:[redacted]]
}

// NewScanner takes the key of the fingerprints: under one key, findings of other
// runs and machines can be compared.
func ExampleNewScanner() {
	key := checks.FingerprintKey(strings.Repeat("k", 32)) // keep a random one secret
	secret := madeUp("acme_{24:base62}")
	var fingerprints []checks.Fingerprint
	for range 2 {
		scanner, err := checks.NewScanner([]*rules.Rule{acme()}, key)
		if err != nil {
			log.Fatal(err)
		}
		found, err := scanner.Examine("a.env", []byte(secret))
		if err != nil {
			log.Fatal(err)
		}
		fingerprints = append(fingerprints, found[0].Fingerprint)
	}
	fmt.Println(fingerprints[0] == fingerprints[1])
	// Output: true
}

// Examine is for what is in memory. A scan that could not see everything says so;
// what was found until then is true.
func ExampleScanner_Examine() {
	scanner, err := checks.New(acme())
	if err != nil {
		log.Fatal(err)
	}
	findings, err := scanner.Examine("config.json", []byte(`{"token": "`+madeUp("acme_{24:base62}")+`"}`))
	if incomplete := new(checks.Incomplete); errors.As(err, &incomplete) {
		fmt.Println("not everything was scanned:", incomplete.Reason)
	}
	fmt.Println(len(findings), "found")
	// Output: 1 found
}

// Hide makes texts fit for a log.
func ExampleScanner_Hide() {
	scanner, err := checks.New(acme())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(scanner.Hide("cannot reach https://ci:" + madeUp("acme_{24:base62}") + "@acme.example"))
	// Output: cannot reach https://ci:[redacted]@acme.example
}
