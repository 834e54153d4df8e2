package app_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestOneValueTwoKinds: a value that is found as a token of Vault in one line and as
// something unknown in others is asked about, and replaced, as the token that it is;
// even if nobody could tell of it what it was when it leaked first.
func TestOneValueTwoKinds(t *testing.T) {
	r := newRace(t)
	g := r.seeded()
	_, tokens := r.developer(0, 24)
	var before, after strings.Builder
	for n, token := range tokens {
		if token.kind != "vault-token" { // every other one
			continue
		}
		fmt.Fprintf(&after, "export VAULT_TOKEN=%s\nexport GITHUB_TOKEN=%[1]s\n", token.value)
		if n%4 == 0 {
			fmt.Fprintf(&before, "GITHUB_TOKEN=%s\n", token.value)
		}
	}
	for n, text := range []string{before.String(), after.String()} {
		head := r.leak(g, fmt.Sprintf("leak-%d", n), "jobs.env", text)
		r.settled(head)
	}
	for _, token := range tokens {
		if token.kind == "vault-token" {
			r.replaced(token)
		}
	}
}
