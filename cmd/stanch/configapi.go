package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/checks"
)

// leastAPIToken is how long a token must be that nobody can guess.
const leastAPIToken = 32

// apiTokens are what callers of the API say: the one for all, and those of their own.
func (s settings) apiTokens() (all checks.Secret, own map[string]checks.Secret, err error) {
	if s.APIToken != "" && len(s.APIToken) < leastAPIToken {
		return all, nil, fmt.Errorf("STANCH_API_TOKEN has fewer than %d characters: make one that nobody can guess, for instance with “openssl rand -hex 32”", leastAPIToken)
	}
	own = map[string]checks.Secret{}
	seen, named := map[string]bool{s.APIToken: true}, map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(s.APITokens)) {
		token := s.APITokens[name]
		switch {
		case !app.IsCaller(name): // not repeated: it may be a token
			return all, nil, errors.New("STANCH_API_TOKENS names a caller otherwise than by at most 64 letters, digits and @._+-: write ada:TOKEN,bob:TOKEN")
		case len(token) < leastAPIToken:
			return all, nil, fmt.Errorf("STANCH_API_TOKENS: the token of %s has fewer than %d characters: make one that nobody can guess, for instance with “openssl rand -hex 32”", name, leastAPIToken)
		case named[strings.ToLower(name)]:
			return all, nil, fmt.Errorf("STANCH_API_TOKENS names %s twice: capitals make no difference", name)
		case seen[token]:
			return all, nil, fmt.Errorf("STANCH_API_TOKENS: %s has the same token as another caller: give each one of their own", name)
		}
		seen[token], named[strings.ToLower(name)] = true, true
		own[name] = checks.NewSecret(token)
	}
	return checks.NewSecret(s.APIToken), own, nil
}
